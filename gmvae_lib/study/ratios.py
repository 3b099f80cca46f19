"""How many times the labels of our decoders a rival needs for 80 %: results/ratios.json.

One ratio says little: it depends on the rival. There are three here, against XGBoost on pixels (the
article's choice), against the best network on the labels alone, and against the best method that
sees the unlabelled images too and owes nothing to the mixture.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.study.comparison import FEWEST
from gmvae_lib.study.metrics import labels_at_accuracy, labels_at_accuracy_interval
from gmvae_lib.study.programs import program

TARGET = 0.8
AGAINST = {  # candidates by name of the comparison; the one that needs the fewest labels counts
    "XGBoost": ("xgboost",),
    "the best network on labels alone": ("convolutional net", "mlp", "mlp (article)"),
    "the best semi-supervised": (
        "fixmatch",
        "contrast only: label spreading",
        "contrast only: k-means + hard",
        "contrast only: mixture + hard",
        "contrast only: k-NN",
    ),
}
OURS = ("soft", "neighbours")
COMMAND = "python -m gmvae_lib.study.ratios"


def curve_near(table, method, target=TARGET, seeds=None):
    """The part of a method's curve around a target that most draws have.

    Parameters
    ----------
    table : DataFrame, from `experiments.sweep`; draws and label counts may be missing.
    seeds : draws to look at; all by default.

    Returns
    -------
    (n_labels [M], accuracy [S, M], seeds [S])
        The S draws that were measured at the two counts between which their mean passes the target
        (or at the last count, if it never does), and the M counts at which all of them were.
        None where the method was not measured.
    """
    rows = table[table["method"] == method]
    if seeds is not None:
        rows = rows[rows["seed"].isin(seeds)]
    if rows.empty:
        return None
    wide = rows.pivot(index="seed", columns="n_labels", values="accuracy")
    means = wide.mean()
    reached = np.flatnonzero(means >= target)
    last = reached[0] if len(reached) else len(means) - 1
    wide = wide.dropna(subset=wide.columns[max(0, last - 1) : last + 1]).dropna(axis=1)
    if wide.empty:  # no draw has both
        return None
    return wide.columns.to_numpy(), wide.to_numpy(), wide.index.to_numpy()


def best_of(table, methods, target=TARGET):
    """The method that reaches a target with the fewest labels; None if none was measured.

    If none reaches it, the one with the greatest mean accuracy at its greatest number of labels.
    Methods with fewer than `FEWEST` draws, which may be lucky ones, count where all are such.
    """
    measured = {m: found for m in methods if (found := curve_near(table, m, target)) is not None}
    if not measured:
        return None
    enough = {m: found for m, found in measured.items() if len(found[2]) >= FEWEST}
    measured = enough or measured

    def order(method):
        n_labels, accuracy, _ = measured[method]
        means = accuracy.mean(axis=0)
        needed = labels_at_accuracy(n_labels, means, target)
        return (0, needed) if np.isfinite(needed) else (1, -means[-1])

    return min(measured, key=order)


def ratio(ours, rival, target=TARGET):
    """Labels that a rival needs for a target accuracy, over those that we need.

    Parameters
    ----------
    ours, rival : (table, method)
        Draws that both have are paired, if there are `FEWEST`; otherwise each curve has its own.

    Returns
    -------
    dict
        ours_needed, rival_needed, ratio, low, high (95 %, by resampling the draws), draws (of the
        rival), paired, at_most (the rival's greatest number of labels). A number is None where the
        target is not reached, or has no bound; low and high with fewer draws than `FEWEST`.
        None where one of the two was not measured.
    """
    second = curve_near(*rival, target)
    first = curve_near(*ours, target)
    if first is None or second is None:
        return None
    shared = np.intersect1d(first[2], second[2])
    paired = len(shared) >= FEWEST
    if paired:
        first, second = (curve_near(*one, target, shared) for one in (ours, rival))
    first, second = first[:2], second[:2]
    value, low, high = labels_at_accuracy_interval(first, target, against=second)
    if len(second[1]) < FEWEST:
        low = high = np.nan
    found = {
        "ours_needed": labels_at_accuracy(first[0], first[1].mean(axis=0), target),
        "rival_needed": labels_at_accuracy(second[0], second[1].mean(axis=0), target),
        "ratio": value,
        "low": low,
        "high": high,
    }
    found = {name: float(v) if np.isfinite(v) else None for name, v in found.items()}
    return found | {"draws": len(second[1]), "paired": paired, "at_most": int(second[0].max())}


def ratios(ours, rivals, target=TARGET, model="this book's recipe", decoders=OURS):
    """The three ratios of each decoder.

    Parameters
    ----------
    ours, rivals : DataFrames, from `experiments.sweep`
    model : name of the model whose decoders ``ours`` holds

    Returns
    -------
    list of dict
        model, ours, against, rival, target, those of `ratio`, and command. Comparisons of which one
        side was not measured are left out.
    """
    rows = []
    for against, candidates in AGAINST.items():
        rival = best_of(rivals, candidates, target)
        for decoder in decoders if rival is not None else ():
            found = ratio((ours, decoder), (rivals, rival), target)
            if found is not None:
                named = {"model": model, "ours": decoder, "against": against, "rival": rival}
                rows.append(named | {"target": target} | found | {"command": COMMAND})
    return rows


def said(row) -> str:
    """A row in words.

    Examples
    --------
    >>> row = {"ours": "soft", "against": "XGBoost", "rival": "xgboost", "ratio": 75.7, "draws": 5,
    ...        "low": 70.9, "high": 81.1, "target": 0.8, "model": "m", "at_most": 14560}
    >>> said(row)
    'm, soft, 80 %: 75.7 times (70.9 to 81.1; 5 draws) against XGBoost'
    """
    name = row["against"] + (f" ({row['rival']})" if row["against"] != "XGBoost" else "")
    start = f"{row['model']}, {row['ours']}, {row['target']:.0%}".replace("%", " %")
    if row["ratio"] is None:
        return f"{start}: not reached by both within {row['at_most']:,} labels, against {name}"
    bounds = "" if row["low"] is None else f"{row['low']:.1f} to {row['high'] or np.inf:.1f}; "
    draws = f"{row['draws']} draw" + "s" * (row["draws"] != 1)
    return f"{start}: {row['ratio']:.1f} times ({bounds}{draws}) against {name}"


def write(results: Path) -> list[dict]:
    """Write ratios.json from sweep.csv and, where it is there, rivals.csv."""
    measured = pd.read_csv(results / "sweep.csv")
    if (results / "rivals.csv").is_file():
        rivals = pd.read_csv(results / "rivals.csv")
        rivals = rivals[~rivals["method"].isin(measured["method"].unique())]
        measured = pd.concat([measured, rivals], ignore_index=True)
    rows = ratios(measured, measured)
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    write_atomically(results / "ratios.json", lambda p: p.write_text(text, encoding="utf-8"))
    return rows


@program("ratios")
def main(argv=None):
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    for row in write(parser.parse_args(argv).results):
        print(said(row))


if __name__ == "__main__":
    sys.exit(main())
