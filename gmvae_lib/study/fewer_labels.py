"""What was tried to name the letters with fewer labels: sizes of the classes, several models.

Each way is measured on the same trainings and draws of the labels as graph and neighbours, so that
the gain is paired. Constants of what is tried were chosen on models 1 and 8 and draws 200 to 205.
Random labels: models 0, 2 and 3 and draws 0 to 19; what is slow, model 0 and the first draws alone.
Chosen labels: all ten models, 1 and 8 among them.

- *sizes told*: the names of graph and neighbours, balanced (`study.balanced`) so that each letter
  gets its true share of the 100,000 images. That is what PoissonMBO is told. Letters that none of
  the labelled images shows cannot be named; the others fill their place.
- *sizes taken as equal*, *sizes of the labels*: the same without being told.
- *three models*: the product of the names by three trainings; *three models, sizes told*.
- *with Poisson learning*: the product of graph and neighbours and Poisson learning.
- *balanced diffusion, sizes told*: as on MNIST.
- *one graph of three models*: each model's clusters on the union of the three graphs; the product.

``python -m gmvae_lib.study.fewer_labels FOLDER --labels IDX`` resumes after an interruption and
writes results/fewer_labels.csv; with ``--part chosen`` the labels are those that `suggest` chooses,
and with ``--part limits`` it writes results/purity_limits.csv.
"""

import argparse
import sys
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.images import load_images
from gmvae_lib.data.outputs import write_table
from gmvae_lib.errors import InputError
from gmvae_lib.label.choosing import suggest
from gmvae_lib.label.neighbours import adjacency, neighbour_decoder, smooth_posterior
from gmvae_lib.study.balanced import BalancedDiffusion, balance, evidence
from gmvae_lib.study.evidence import interval
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.metrics import purity
from gmvae_lib.study.mnist_few_labels import accuracy
from gmvae_lib.study.programs import program
from gmvae_lib.study.rivals import PoissonLearning
from gmvae_lib.study.two_way import models

MODELS = (0, 2, 3)
COUNTS, CHOSEN = (73, 100, 291), (40, 73, 100)
DRAWS, FEW_DRAWS = 20, 8  # the second for what is slow or does not help
BASE, TOLD = "graph and neighbours", "sizes told"
TOGETHER, TOGETHER_TOLD = "three models", "three models, sizes told"
EQUAL, ESTIMATED = "sizes taken as equal", "sizes of the labels"
POISSON, DIFFUSION = "with Poisson learning", "balanced diffusion, sizes told"
UNION = "one graph of three models"
PRIOR = 3  # images added to the count of each label, for the sizes of the labels
COLUMNS = ["labels", "n_labels", "draw", "model", "method", "accuracy"]
OUT, LIMITS = Path("results/fewer_labels.csv"), Path("results/purity_limits.csv")


def true_shares(y) -> dict:
    """The share of each label: dict."""
    labels, counts = np.unique(y, return_counts=True)
    return dict(zip(labels.tolist(), (counts / len(y)).tolist(), strict=True))


def sized(proba, shares):
    """Names balanced to shares that need not sum to 1: those of the labels at hand."""
    shares = np.asarray(shares, dtype=float)
    return balance(np.maximum(proba, 1e-12), shares / shares.sum())


def together(probas):
    """The product of the label probabilities of several models, float64 [N, C]; rows sum to 1."""
    product = np.prod([np.asarray(p, dtype=np.float64) for p in probas], axis=0) + 1e-300
    return product / product.sum(axis=1, keepdims=True)


class Ways:
    """The ways of naming by several models: q [N, K] and neighbours [N, n] of each."""

    def __init__(self, embedded, y):
        self.y, self.told = y, true_shares(y)
        self.decoders = {m: neighbour_decoder(q, near) for m, (q, near) in embedded.items()}
        self.embedded = embedded
        near = np.hstack([near for _, near in embedded.values()])
        self.on_union = [] if len(embedded) < 2 else [
            neighbour_decoder(q, near) for q, _ in embedded.values()
        ]  # fmt: skip

    @cached_property
    def graph(self):
        """The graph of the first model, for the slow ways."""
        return adjacency(next(near for _, near in self.embedded.values()))

    def names(self, rows, few: bool):
        """Yield (model or "all", method, p(l|x) [N, C]); the columns are those of np.unique(y).

        few : the slow ways as well, with the first model alone.
        """
        labels = self.y[rows]
        classes, counts = np.unique(labels, return_counts=True)
        told, probas = [self.told[label] for label in classes.tolist()], {}
        for m, decoder in self.decoders.items():
            probas[m] = decoder.fit(rows, labels).proba_
            yield m, BASE, probas[m]
            yield m, TOLD, sized(probas[m], told)
        if len(probas) > 1:
            both = together(probas.values())
            yield "all", TOGETHER, both
            yield "all", TOGETHER_TOLD, sized(both, told)
        if few:
            first = next(iter(probas))
            yield first, EQUAL, sized(probas[first], np.ones(len(classes)))
            yield first, ESTIMATED, sized(probas[first], counts + PRIOR)
            scores = PoissonLearning(self.graph).fit(rows, labels).scores_
            yield first, POISSON, probas[first] * evidence(scores, 1.0)
            model = BalancedDiffusion(self.decoders[first].q, self.graph, self.told)
            yield first, DIFFUSION, model.fit(rows, labels).scores_
            yield "all", UNION, together(d.fit(rows, labels).proba_ for d in self.on_union)


def score(proba, y, rows) -> float:
    """Accuracy on the images without a label."""
    return accuracy(np.unique(y[rows])[proba.argmax(axis=1)], y, rows)


def read(path) -> pd.DataFrame:
    """The table of cells in a file; models are names, since "all" is one."""
    table = pd.read_csv(path, dtype={"model": str})
    if list(table.columns) != COLUMNS:
        raise InputError(
            f"{path}: found the columns {', '.join(table.columns)}; expected {', '.join(COLUMNS)}"
        )
    return table


class _Table:
    """Cells that were measured, kept in a file after each draw."""

    def __init__(self, path):
        self.path = Path(path)
        self.rows = read(self.path).to_numpy().tolist() if self.path.is_file() else []

    def has(self, *cell):
        return any(row[: len(cell)] == list(cell) for row in self.rows)

    def add(self, rows):
        self.rows += rows
        write_table(self.path, pd.DataFrame(self.rows, columns=COLUMNS))


def measure_random(embedded, y, path, counts=COUNTS, draws=DRAWS, few_draws=FEW_DRAWS) -> None:
    """Random labels: all draws of a size one after the other; resumes."""
    ways, table = Ways(embedded, y), _Table(path)
    for draw in range(draws):
        for n in counts:
            if not table.has("random", n, draw):
                rows = draw_labelled(len(y), n, draw)
                table.add(
                    ["random", n, draw, str(model), method, round(score(proba, y, rows), 6)]
                    for model, method, proba in ways.names(rows, few=draw < few_draws)
                )
        print(f"draw {draw}", flush=True)


def measure_chosen(embedded, y, path, counts=CHOSEN) -> None:
    """The labels that `suggest` chooses for each model, one model after the other; resumes."""
    table = _Table(path)
    for m, (q, near) in embedded.items():
        if table.has("chosen", max(counts), 0, str(m)):
            continue
        chosen = suggest(q, max(counts), near)["index"].to_numpy()
        ways, found = Ways({m: (q, near)}, y), []
        for n in counts:
            found += [
                ["chosen", n, 0, str(m), method, round(score(proba, y, chosen[:n]), 6)]
                for _, method, proba in ways.names(chosen[:n], few=False)
            ]
        table.add(found)
        print(f"model {m}", flush=True)


def limits(embedded, y, class_names) -> pd.DataFrame:
    """What is within reach of each model: purity, and a vote of the nearest with all labels.

    Columns ending in "without i, l" count i and l as one letter.
    """
    alike = [class_names.index(letter) for letter in "il"]
    merged = np.where(np.isin(y, alike), alike[0], y)
    rows = []
    for m, (q, near) in embedded.items():
        smoothed = smooth_posterior(q, near).argmax(axis=1)
        row = {"model": m}
        for end, labels in (("", y), (" without i, l", merged)):
            votes = np.zeros((len(y), len(class_names)), np.uint8)
            for column in near.T:
                votes[np.arange(len(y)), labels[column]] += 1
            row |= {
                f"purity{end}": purity(q.argmax(axis=1), labels),
                f"smoothed purity{end}": purity(smoothed, labels),
                f"vote of 10{end}": (votes.argmax(axis=1) == labels).mean(),
            }
        rows.append(row)
    return pd.DataFrame(rows).round(5)


# ---- what was found -----------------------------------------------------------------------------


def within_reach(y, n: int, draws=range(DRAWS)) -> float:
    """Share of the images whose letter is among n labels, a mean over draws: nothing can be better.

    Examples
    --------
    >>> y = np.repeat([0, 1], [90, 10])
    >>> round(within_reach(y, 2), 2)  # mostly two of the first kind
    0.92
    """
    shown = [np.isin(y, y[draw_labelled(len(y), n, d)]).mean() for d in draws]
    return float(np.mean(shown))


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Each way beside graph and neighbours on the same draws and models, in %.

    Returns
    -------
    DataFrame: labels, n_labels, method, models, draws, accuracy, low, high, gain, gain_low,
        gain_high
        Intervals over models and draws, or over that of the two that varies. A way of several
        models is compared with their mean.
    """
    rows = []
    for (labels, n, method), group in table.groupby(["labels", "n_labels", "method"], sort=False):
        own = group.pivot(index="model", columns="draw", values="accuracy")
        base = table[(table["labels"] == labels) & (table["n_labels"] == n)]
        base = base[base["method"] == BASE].pivot(index="model", columns="draw", values="accuracy")
        base = base[own.columns]
        one = "all" in own.index
        base = base.mean().to_frame("all").T if one else base.loc[own.index]
        gain = own.to_numpy() - base.to_numpy()
        found = [interval(_flat(a)) for a in (own.to_numpy(), gain)]
        models = len(MODELS) if one else len(own)
        rows.append([labels, n, method, models, own.shape[1], *found[0], *found[1]])
    columns = ["labels", "n_labels", "method", "models", "draws"]
    columns += ["accuracy", "low", "high", "gain", "gain_low", "gain_high"]
    result = pd.DataFrame(rows, columns=columns)
    result[columns[5:]] *= 100
    return result


def _flat(cells):
    """Of cells [models, draws] the direction that varies, where only one does."""
    return cells.ravel() if 1 in cells.shape else cells


@program("fewer_labels")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.fewer_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", help="of seeds*.npz, as benchmarks.gpu writes them")
    parser.add_argument("--labels", required=True, metavar="IDX", help="images file of the letters")
    parser.add_argument("--part", choices=("random", "chosen", "limits"), default="random")
    parser.add_argument("--out", type=Path, help=f"default: {OUT}, or {LIMITS}")
    args = parser.parse_args(argv)
    images = load_images(args.labels, transpose=True)
    y = images.labels
    only = MODELS if args.part == "random" else None
    embedded = {m: (q, near) for m, q, near in models(args.folder, only)}
    missing = sorted(set(only or ()) - set(embedded))
    if missing:
        raise InputError(f"{args.folder}: found no model {missing[0]}, expected {MODELS}")
    if args.part == "limits":
        table = limits(embedded, y, images.class_names)
        write_table(args.out or LIMITS, table)
        print(table.mean().round(4).to_string())
        return
    measure = measure_random if args.part == "random" else measure_chosen
    measure(embedded, y, args.out or OUT)
    print(gains(read(args.out or OUT)).round(2).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
