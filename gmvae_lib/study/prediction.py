"""Theory and experiment: accuracy predicted from the clusters, and accuracy measured."""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from gmvae_lib import bounds
from gmvae_lib.label.decoding import HardDecoder, SoftDecoder
from gmvae_lib.study.experiments import summarise, sweep

RULES = {"soft": SoftDecoder(), "hard": HardDecoder(), "hard (no fallback)": HardDecoder("none")}
TARGETS = {"soft": 0.03, "hard": 0.015, "hard (no fallback)": 0.015}  # of the difference
FEW_LABELS = 291  # up to here 20 draws scatter by more than the targets
MORE_DRAWS = range(100, 160)  # other seeds than the sweep's


def sample_cells(q, y, size: int = 10_000, seed: int = 0) -> bounds.PosteriorCells:
    """A random sample of images, in the form that the predictions read."""
    size = min(size, len(q))
    rows = np.random.default_rng(seed).choice(len(q), size, replace=False)
    return bounds.PosteriorCells(q[rows], y[rows], np.full(size, 1 / size))


def predict(table: bounds.ClusterTable, cells: bounds.PosteriorCells, n_labels: int) -> dict:
    """Expected accuracy of the three rules of `RULES` with ``n_labels`` random labels.

    Sizes and letters of the clusters come from ``table``; the next likely clusters of an image from
    ``cells``: a sample of images, or the table's own.
    """
    p, pi = table.label_given_cluster, table.weights
    simulations = 150 if n_labels < 500 else 30  # with many labels, draws hardly differ
    return {
        "soft": bounds.expected_soft_accuracy(cells, n_labels, simulations)[0],
        "hard": bounds.expected_hard_accuracy(p, pi, n_labels, cells=cells),
        "hard (no fallback)": bounds.expected_hard_accuracy(p, pi, n_labels, fallback="first"),
    }


def predicted_and_measured(q, y, summary, n_jobs: int = 1) -> pd.DataFrame:
    """Both, for every rule and label count of the sweep.

    Parameters
    ----------
    q : array [N, K]. y : int array [N].
    summary : DataFrame, from `experiments.summarise` of the sweep. Up to ``FEW_LABELS`` labels its
        draws are too few to judge a prediction by, and ``MORE_DRAWS`` others are measured.

    Returns
    -------
    DataFrame
        method, n_labels, predicted (from a sample of images), from_table (from the cluster table
        alone), measured, low, high (95 % t interval), draws.
    """
    summary = summary[summary["method"].isin(RULES)]
    counts = sorted(int(n) for n in summary["n_labels"].unique())
    few = [n for n in counts if n <= FEW_LABELS]
    again = summarise(
        sweep({"q": q}, y, {"q": RULES}, few, MORE_DRAWS, n_jobs=n_jobs, progress=False)
    )
    measured = pd.concat([again, summary[summary["n_labels"] > FEW_LABELS]])
    table, cells = bounds.cluster_table(q, y), sample_cells(q, y)
    with threadpool_limits(1):  # many small products, for which more threads are slower
        by_sample = {n: predict(table, cells, n) for n in counts}
        by_table = {n: predict(table, table.cells, n) for n in counts}
    rows = [
        (
            row.method, row.n_labels, by_sample[row.n_labels][row.method],
            by_table[row.n_labels][row.method], row.measured, row.low, row.high, row.n_seeds,
        )
        for row in measured.rename(columns={"mean": "measured"}).itertuples()
    ]  # fmt: skip
    columns = "method n_labels predicted from_table measured low high draws".split()
    return pd.DataFrame(rows, columns=columns).round(5)
