"""`GMVAEClassifier` on small data sets, compared with simple methods.

``python -m gmvae_lib.study.small_sets`` writes results/small_sets.csv, in a quarter of an hour on
one core, and resumes after an interruption. Sets of scikit-learn: digits as images and as rows,
wine, and breast cancer. Sets of pictures from elsewhere are in `real_sets`.

The GMVAE is not always ahead: from 50 labels on, logistic regression is better on both tables (wine
and breast cancer), whose classes are linearly separable; on digits as rows, label spreading does as
well without any training. On digits as images, where random views apply, the GMVAE leads.

K is chosen without labels, by `choose_components`. That rule, the views of rows (`views.CORRUPTED`)
and their encoder were developed with the labels of these sets in view.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.preprocessing import scale

from gmvae_lib.classifier import GMVAEClassifier
from gmvae_lib.data.outputs import write_table
from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import HardDecoder
from gmvae_lib.label.neighbours import adjacency
from gmvae_lib.study.baselines import logistic_regression
from gmvae_lib.study.clusterings import kmeans_posterior
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.latent_maps import euclidean_neighbours
from gmvae_lib.study.metrics import mean_and_interval
from gmvae_lib.study.rivals import Spreading
from gmvae_lib.study.studies import accuracy_with, criteria

SETS = ("digits, images", "digits, rows", "wine", "breast cancer")
GRID = (10, 20, 40)  # K; where there are five rows for each
LABELS = (10, 20, 50, 100)
DRAWS = range(10)  # of the labels
ENOUGH = 0.9  # of the largest agreement
COLUMNS = "data n method K agreement n_labels draws mean low high".split()
OUT = "results/small_sets.csv"


def load(name: str):
    """(X, y) of one of `SETS`: images [N, H, W] or rows of features [N, D]; labels [N]."""
    from sklearn import datasets

    if name not in SETS:
        raise InputError(f"set: found {name!r}, expected one of {', '.join(SETS)}")
    if name.startswith("digits"):
        bunch = datasets.load_digits()
        return (bunch.images if name == "digits, images" else bunch.data / 16), bunch.target
    return getattr(datasets, f"load_{name.replace(' ', '_')}")(return_X_y=True)


def choose_components(agreement: dict[int, float]) -> int:
    """The smallest K whose agreement is within a tenth of the largest; no label is needed.

    Agreement, the mutual information of the clusters of two random views (`studies.criteria`), only
    tends to rise with K, and levels off when further components describe no further structure. Of
    those near the best the smallest is taken, since fewer components need fewer labels.

    agreement : K to nats.
    """
    enough = ENOUGH * max(agreement.values())
    return min(K for K, value in agreement.items() if value >= enough)


def chosen(table: pd.DataFrame) -> dict[str, int]:
    """K that `choose_components` takes for each set of the finished table."""
    ours = table[table["method"] == "GMVAE"]
    return {
        data: choose_components(dict(zip(part["K"].astype(int), part["agreement"], strict=True)))
        for data, part in ours.groupby("data", sort=False)
    }


def measure(name: str, method: str, K: int = 0, **parameters) -> list[dict]:
    """Rows of the table of one method on one set: accuracy on the rows without a label.

    K : of "GMVAE" and "k-means, then labels". parameters : of `GMVAEClassifier`.
    """
    X, y = load(name)
    agreement = np.nan
    if method == "GMVAE":
        model = GMVAEClassifier(K, decoder="neighbours", device="cpu", **parameters).fit(X)
        agreement = criteria(model.run_.model, model._scale.apply(X))["agreement"]

        def accuracy(labelled):
            model.fit_labels(labelled, y[labelled])
            unlabelled = np.setdiff1d(np.arange(len(y)), labelled)
            return (model.transduction_ == y)[unlabelled].mean()

    else:
        flat = X.reshape(len(X), -1)  # on the scale that the GMVAE sees
        pixels = name.startswith("digits")
        scaled = flat / flat.max() if pixels else scale(flat)
        decoder, seen = _rival(method, scaled, K)

        def accuracy(labelled):
            return accuracy_with(decoder, seen, y, labelled)

    rows = []
    for n_labels in LABELS:
        found = [accuracy(draw_labelled(len(y), n_labels, seed)) for seed in DRAWS]
        mean, low, high = mean_and_interval(found)
        values = name, len(y), method, K, agreement, n_labels, len(DRAWS), mean, low, high
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def _rival(method, scaled, K):
    """A classifier to compare with, and its input for all rows."""
    if method == "logistic regression":
        return logistic_regression(None, 0, 1), scaled
    if method == "label spreading":
        return Spreading(adjacency(euclidean_neighbours(scaled))), np.arange(len(scaled))
    return HardDecoder(), kmeans_posterior(scaled, K)


def cells(name: str) -> list[tuple[str, int]]:
    """The combinations measured on a set: (method, K)."""
    n = len(load(name)[1])
    grid = [K for K in GRID if 5 * K <= n]
    return [
        *(("GMVAE", K) for K in grid),
        *(("k-means, then labels", K) for K in grid),
        ("label spreading", 0),
        ("logistic regression", 0),
    ]


def study(out=OUT, sets=SETS, **parameters) -> pd.DataFrame:
    """Measure what is missing in the table at ``out``, which is written after every cell."""
    out = Path(out)
    rows = pd.read_csv(out).to_dict("records") if out.is_file() else []
    done = {(row["data"], row["method"], int(row["K"])) for row in rows}
    for name in sets:
        for method, K in cells(name):
            if (name, method, K) in done:
                continue
            rows += measure(name, method, K, **parameters)
            order = [(data, *cell) for data in SETS for cell in cells(data)]
            rows.sort(key=lambda row: order.index((row["data"], row["method"], int(row["K"]))))
            table = pd.DataFrame(rows, columns=COLUMNS).round(4)
            write_table(out, table)
    return pd.read_csv(out)


def main(argv=None):
    """Run the study and print it: accuracy by set, method and labels; K where it was chosen."""
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.small_sets", description=__doc__
    )
    parser.add_argument("--out", default=OUT)
    table = study(parser.parse_args(argv).out)
    K = chosen(table)
    shown = table[(table["K"] == 0) | (table["K"] == table["data"].map(K))]
    wide = shown.pivot(index=["data", "method", "K"], columns="n_labels", values="mean")
    print(wide.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
