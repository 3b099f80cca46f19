"""Tables of the study of real sets: accuracies, mean ranks, wins and losses, the aim."""

import numpy as np
import pandas as pd

from gmvae_lib.study.metrics import mean_and_interval, percentiles

OURS, FULL = "GMVAE", 20  # draws of a method that takes part in the ranks
AIM = {"sets": ("flowers", "trash", "cifar10"), 10: 5.0, 4: 8.0}  # points above log. regression


def accuracies(table: pd.DataFrame, labels: str = "random") -> pd.DataFrame:
    """Mean accuracy and its 95 % t interval over the draws, in per cent.

    Parameters
    ----------
    table : of `real_sets.study`. labels : "random" or "suggested".

    Returns
    -------
    DataFrame
        set, input, method, per_class, mean, low, high, draws
    """
    some = table[table["labels"] == labels]
    keys = ["set", "input", "method", "per_class"]
    rows = [
        (*key, *(100 * np.array(mean_and_interval(part["accuracy"]))), len(part))
        for key, part in some.groupby(keys, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*keys, "mean", "low", "high", "draws"])


def by_budget(table: pd.DataFrame, labels: str = "random") -> pd.DataFrame:
    """Mean accuracy in per cent: a row for each set, input and method, a column a budget."""
    found = accuracies(table, labels)
    index = ["set", "input", "method"]
    wide = found.pivot(index=index, columns="per_class", values="mean")
    return wide.reindex(pd.MultiIndex.from_frame(found[index].drop_duplicates()))


def mean_ranks(table: pd.DataFrame, n_resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mean rank over the sets of each input and method, by labels a class; 1 is the best.

    Methods of both kinds of input are ranked together, those with all draws. The interval is a
    bootstrap over the sets: few of them, so a wide one.

    Returns
    -------
    DataFrame
        per_class, input, method, rank, low, high, sets
    """
    found = accuracies(table)
    found = found[found["draws"] >= FULL]
    rng, rows = np.random.default_rng(seed), []
    for per_class, part in found.groupby("per_class"):
        wide = part.pivot(index="set", columns=["input", "method"], values="mean").dropna(axis=1)
        ranks = wide.rank(axis=1, ascending=False)
        drawn = rng.integers(0, len(ranks), (n_resamples, len(ranks)))
        for (kind, method), column in ranks.items():
            bounds = percentiles(column.to_numpy()[drawn].mean(axis=1))
            rows.append((per_class, kind, method, column.mean(), *bounds, len(ranks)))
    names = ["per_class", "input", "method", "rank", "low", "high", "sets"]
    return pd.DataFrame(rows, columns=names).sort_values(["per_class", "rank"], ignore_index=True)


def duels(table: pd.DataFrame) -> pd.DataFrame:
    """The GMVAE against each rival on the same input, paired over the draws of random labels.

    Returns
    -------
    DataFrame
        set, input, per_class, method (the rival), gain (points), low, high, outcome: "win" or
        "loss" where the 95 % interval of the mean difference leaves out 0, else "tie"
    """
    some = table[table["labels"] == "random"]
    rows = []
    for key, part in some.groupby(["set", "input", "per_class"], sort=False):
        wide = part.pivot(index="draw", columns="method", values="accuracy")
        if OURS not in wide:
            continue
        for method in wide.columns.drop(OURS):
            gain, low, high = mean_and_interval(100 * (wide[OURS] - wide[method]).dropna())
            outcome = "win" if low > 0 else "loss" if high < 0 else "tie"
            rows.append((*key, method, gain, low, high, outcome))
    names = ["set", "input", "per_class", "method", "gain", "low", "high", "outcome"]
    return pd.DataFrame(rows, columns=names)


def wins_and_losses(found: pd.DataFrame) -> pd.DataFrame:
    """Wins, ties and losses by input and rival, over sets and budgets, of `duels`."""
    counts = found.groupby(["input", "method"])["outcome"].value_counts().unstack(fill_value=0)
    return counts.reindex(columns=["win", "tie", "loss"], fill_value=0)


def aim(found: pd.DataFrame) -> pd.DataFrame:
    """What the aim was and what came of it: the gain over logistic regression on features.

    found : of `duels`.
    """
    some = found[(found["input"] == "features") & (found["method"] == "logistic regression")]
    some = some[some["set"].isin(AIM["sets"]) & some["per_class"].isin([4, 10])].copy()
    some["aim"] = some["per_class"].map(AIM)
    some["reached"] = np.where(some["gain"] >= some["aim"], "yes", "no")
    return some[["set", "per_class", "gain", "low", "high", "aim", "reached"]]
