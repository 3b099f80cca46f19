"""What the claims are computed from: tables of results/, and intervals over draws."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.study.article import BOOK as BOOK_RUN
from gmvae_lib.study.article import CORRECTIONS, PUBLIC, SWEEP, exact
from gmvae_lib.study.metrics import mean_and_interval
from gmvae_lib.study.two_way import CELLS, load_cells, two_way
from gmvae_lib.study.verdicts import Interval
from gmvae_lib.vae.runs import Run, load_run

ARTICLE, BOOK, NETWORK = "article's recipe", "this book's recipe", "labels only"
CONVOLUTIONAL = "convolutional net"  # its method in sweep.csv


@dataclass(frozen=True)
class Evidence:
    """What the claims are computed from; a table that was not measured is None."""

    run: Run  # the published run
    sweep: pd.DataFrame  # sweep.csv
    article: pd.DataFrame | None = None  # article_sweep.csv
    corrections: pd.DataFrame | None = None  # corrections.csv
    cells: dict | None = None  # two_way_cells.npz
    network: pd.DataFrame | None = None  # rows of the network on labels alone
    article_epochs: int | None = None  # of the published trainings of the article's recipe


def evidence(results) -> Evidence:
    """Read what a folder of results holds."""
    results = Path(results)

    def table(name):
        return pd.read_csv(results / name) if (results / name).is_file() else None

    sweep = table("sweep.csv")
    cells = load_cells(results / CELLS) if (results / CELLS).is_file() else None
    run = load_run(results / BOOK_RUN)
    network = sweep[sweep["method"] == CONVOLUTIONAL]
    network = None if network.empty else network
    history = table(f"{PUBLIC}/history.csv")
    epochs = None if history is None else len(history)
    return Evidence(run, sweep, table(SWEEP), table(CORRECTIONS), cells, network, epochs)


def curve(table, method, least=2):
    """Label counts [M] that at least so many seeds have, and accuracies [S, M], nan where missing.

    ``least`` is lowered to the number of seeds where there are fewer.
    """
    wide = table[table["method"] == method].pivot(
        index="seed", columns="n_labels", values="accuracy"
    )
    wide = wide.loc[:, wide.notna().sum() >= min(least, len(wide))]
    return wide.columns.to_numpy(), wide.to_numpy()


def accuracy_at(table, method, n_labels):
    """Accuracies over seeds, in the order of the seeds: float [S]."""
    rows = table[(table["method"] == method) & (table["n_labels"] == n_labels)]
    return rows.sort_values("seed")["accuracy"].to_numpy()


def article_accuracies(table, method, n_labels):
    """Accuracies of the article's exact architecture: [draws], or [models, draws] if several."""
    rows = exact(table)
    rows = rows[(rows["method"] == method) & (rows["n_labels"] == n_labels)]
    wide = rows.pivot(index="model", columns="seed", values="accuracy").dropna(axis=1)
    return wide.to_numpy() if len(wide) > 1 else wide.to_numpy().ravel()


def article_cells(table) -> dict:
    """`article_accuracies` by (method, number of labels), always [models, draws]."""
    pairs = exact(table)[["method", "n_labels"]].drop_duplicates()
    return {(m, int(n)): np.atleast_2d(article_accuracies(table, m, n)) for m, n in pairs.values}


def over_trainings(table):
    """article_sweep.csv's rows of the exact architecture, their mean over trainings by draw."""
    rows = exact(table).groupby(["method", "n_labels", "seed"], as_index=False)
    return rows["accuracy"].mean()


def accuracies(ev: Evidence, model, method, n_labels):
    """Accuracies [draws], or [models, draws] where several trainings met the same draws."""
    if model == ARTICLE:
        return article_accuracies(ev.article, method, n_labels)
    if model == NETWORK:
        return accuracy_at(ev.network, CONVOLUTIONAL, n_labels)
    if model == BOOK and ev.cells and (method, n_labels) in ev.cells:
        return ev.cells[method, n_labels]
    return accuracy_at(ev.sweep, method, n_labels)


def interval(values, confidence=0.95) -> Interval:
    """Mean and interval over the draws [D], or over models and draws at once [M, D]."""
    if np.ndim(values) == 2:
        return Interval(*two_way(values, confidence)[:3])
    return Interval(*mean_and_interval(values, confidence))


def trainings(values) -> str:
    """How many trainings a table [draws] or [models, draws] holds, in words."""
    return "one training" if np.ndim(values) < 2 else f"{len(values)} trainings"


def measured_on(ev, model, values) -> str:
    """What the interval of some accuracies covers, in words."""
    draws = f"{np.shape(values)[-1]} draws of the labels"
    if model == NETWORK:
        return f"{data(ev)}; {draws}, one training for each"
    return f"{data(ev)}; {trainings(values)}, {draws}"


def data(ev):
    name = ev.run.provenance["data"]["name"]
    of = "EMNIST letters" if "emnist" in name else f"images of {name}"
    return f"{len(ev.run.labels):,} {of}"
