"""The rivals of chapter 7: their groups and names, and who leads whom on the same draws."""

import pandas as pd

from gmvae_lib.study.metrics import mean_and_interval

FEWEST = 3  # draws that two methods share, for an interval of their difference

# group: method in sweep.csv or rivals.csv to its name in a figure or table, from the top down
GROUPS = {
    "this book's model": {
        "neighbours": "graph and neighbours",
        "smoothed": "graph, smoothed posterior",
        "soft": "soft",
        "hard": "hard",
        "pseudo-labels": "encoder fine-tuned on pseudo-labels",
    },
    "its features, without its mixture": {
        "label spreading": "label spreading",
        "Poisson learning": "Poisson learning",
        "Poisson learning, uncorrected": "Poisson learning, uncorrected",
        "mixture on the embedding": "Gaussian mixture + hard",
        "k-means on the embedding": "k-means + hard",
        "self-training on the embedding": "self-training",
        "logistic regression on the embedding": "logistic regression",
        "k-NN on the embedding": "k-NN",
        "1-NN on the embedding": "1-NN",
    },
    "features of contrast alone": {
        "contrast only: label spreading": "label spreading",
        "contrast only: mixture + graph and neighbours": "Gaussian mixture + neighbours",
        "contrast only: k-means + graph and neighbours": "k-means + neighbours",
        "contrast only: mixture + hard": "Gaussian mixture + hard",
        "contrast only: k-means + hard": "k-means + hard",
        "contrast only: k-NN": "k-NN",
        "contrast only: 1-NN": "1-NN",
    },
    "labels and all images, one network": {"fixmatch": "FixMatch"},
    "clusterings of pixels, hard rule": {
        "mixture on PCA": "Gaussian mixture, 50 components",
        "k-means on PCA": "k-means, 50 components",
        "k-means on pixels": "k-means, pixels",
        "mixture on pixels": "Gaussian mixture, pixels",
    },
    "labels only, on pixels": {
        "convolutional net": "convolutional network",
        "mlp, tuned": "MLP, tuned",
        "mlp": "MLP of this book",
        "mlp (article)": "MLP of the article",
        "logistic regression, tuned": "logistic regression, tuned",
        "logistic regression": "logistic regression",
        "xgboost, tuned": "XGBoost, tuned",
        "xgboost": "XGBoost",
    },
}
OURS = "this book's model"
LABELS_ONLY = "labels only, on pixels"


def leads(table, ours, rivals, counts) -> pd.DataFrame:
    """By how much one method leads others on the draws that both have.

    Parameters
    ----------
    table : DataFrame, from `experiments.sweep`. ours : a method. rivals : methods.
    counts : numbers of labels.

    Returns
    -------
    DataFrame
        rival, n_labels, mean, low, high (in accuracy; t interval over the paired draws), draws and
        verdict: "ahead", "behind", or "level" where the interval holds 0. Rivals with fewer than
        `FEWEST` draws in common at a count have no row for it. One interval in twenty is wrong by
        chance, and no correction is made for their number.
    """
    wide = table.pivot(index=["n_labels", "seed"], columns="method", values="accuracy")
    rows = []
    for n in counts:
        if n not in wide.index.get_level_values(0) or ours not in wide:
            continue
        for rival in rivals:
            if rival not in wide or rival == ours:
                continue
            difference = (wide[ours] - wide[rival]).loc[n].dropna()
            if len(difference) >= FEWEST:
                mean, low, high = mean_and_interval(difference)
                verdict = "ahead" if low > 0 else "behind" if high < 0 else "level"
                rows.append((rival, n, mean, low, high, len(difference), verdict))
    return pd.DataFrame(
        rows, columns=["rival", "n_labels", "mean", "low", "high", "draws", "verdict"]
    )


def best_at(summary, methods, n_labels, least=FEWEST):
    """The method with the greatest mean at a number of labels, and that mean.

    summary : from `experiments.summarise`. Methods with fewer draws than ``least`` do not count;
    None where that leaves none.
    """
    at = summary[
        (summary["n_labels"] == n_labels)
        & summary["method"].isin(list(methods))
        & (summary["n_seeds"] >= least)
    ]
    if at.empty:
        return None
    best = at.loc[at["mean"].idxmax()]
    return best["method"], float(best["mean"])
