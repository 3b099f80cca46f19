"""MNIST with 10 to 50 labels on the 500 published draws: the recipe beside methods on a graph.

The draws, and the accuracies published for them, are those of GraphLearning (Calder et al. 2020):
100 draws each of 1 to 5 labels a class. They are not part of this repository; the file is named on
the command line and checked against `DRAWS_SHA256`.

The protocol, written down before any result of it was read:

- Model: the preset `best` as it is, with K = 30, the K of the row on MNIST in studies.csv. Its
  first stage alone, 6 epochs: the second leaves encoder and q(c|x) as they are. Model seeds 0, 1
  and 2; none is left out, and none is trained again.
- Decoders: soft, and graph and neighbours with the constants of the letters. The sizes of the
  classes are not told.
- Rivals on the same features: Poisson learning on the same graph of 10 neighbours (made connected,
  as it requires: `connected`), on every draw; and, for seed 0 and the first 20 draws of each size,
  GraphLearning's own Poisson learning and PoissonMBO, which is told the true sizes of the classes,
  with its weights for that graph.
- Accuracy on the 70,000 images less the labelled ones.

Added afterwards, once these results were known, and before any result of it on these draws:

- Balanced diffusion (`study.balanced`), which as PoissonMBO does holds the classes to their sizes;
  the sizes are those of the labels, which on these draws are equal by design, not the true ones.
  Its constants were chosen with models 0 and 1 on the same images, with labels drawn at random
  here. Model seeds 0 to 4 on a CPU: seed 0 is the same training, seeds 1 and 2, which had been
  trained on a GPU, were trained again. All draws, in the order of their numbers over all five
  sizes, so that a measurement that is cut off has met the same draws at each size. It was cut off
  at 20.

``python -m gmvae_lib.study.mnist_few_labels --draws draws.npz --data-dir FOLDER`` resumes after an
interruption and writes results/mnist_few_labels.csv.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from gmvae_lib.data.images import load_images
from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import read_npz, write_npz
from gmvae_lib.errors import InputError, needs_extra
from gmvae_lib.label.decoding import SoftDecoder
from gmvae_lib.label.neighbours import (
    NEIGHBOURS,
    adjacency,
    neighbour_decoder,
    smooth_posterior,
)
from gmvae_lib.study import evidence
from gmvae_lib.study.balanced import BalancedDiffusion
from gmvae_lib.study.label_draws import require_digest
from gmvae_lib.study.metrics import purity
from gmvae_lib.study.programs import program
from gmvae_lib.study.rivals import PoissonLearning, unit_length
from gmvae_lib.study.studies import accuracy_with

DRAWS_SHA256 = "7e51cc425773a992d00b31eb14d0ef812b24f5dadc4c2369378ffec95f481ded"
N_LABELS = (10, 20, 30, 40, 50)
SEEDS = (0, 1, 2)  # of the model
K = 30
PACKAGE_SEEDS, PACKAGE_DRAWS = (0,), 20  # GraphLearning: half a minute a draw
COLUMNS = ["model_seed", "n_labels", "draw", "method", "accuracy"]
EVERY = 5  # draws between two writes of the table
OURS, POISSON = "graph and neighbours", "Poisson learning"
BALANCED = "balanced diffusion"
# Of the published table: model seeds whose training served both a method and the other methods.
# Seeds 1 and 2 of the latter were trained on a GPU, those of balanced diffusion on a CPU.
SAME_TRAINING = {BALANCED: (0,)}
PARTS = ("ours", "balanced", "package")  # of the measurement, each with a table for each seed
PACKAGE = ("Poisson learning (GraphLearning)", "PoissonMBO (GraphLearning)")
OUT = Path("results/mnist_few_labels.csv")
# Accuracy in %, mean and standard deviation over the same 100 draws, on a VAE's embedding:
# facts from the repository jwcalder/GraphLearning.
PUBLISHED = {
    "Laplace": ((16.06, 6.24), (28.2, 10.35), (41.97, 12.43), (57.81, 12.36), (69.46, 12.22)),
    "nearest neighbour": ((65.41, 5.19), (74.23, 3.28), (77.8, 2.66), (80.7, 2.05), (82.09, 1.99)),
    POISSON: ((90.18, 4.01), (93.59, 1.58), (94.53, 1.09), (94.95, 0.82), (95.29, 0.73)),
    "PoissonMBO": ((96.53, 2.59), (97.24, 0.07), (97.23, 0.08), (97.21, 0.08), (97.24, 0.07)),
}


def configurations(seed: int):
    """The (model, training) configurations of the protocol."""
    from gmvae_lib.vae.config import preset, with_components

    model, training = preset("best", seed=seed, generative_epochs=0)
    return with_components(model, K), training


def read_draws(path) -> dict[int, np.ndarray]:
    """The published draws by number of labels: int [100, n], rows of MNIST, train then test."""
    require_digest(path, DRAWS_SHA256, "draws.npz with the published draws")
    names = {n: f"n{n}" for n in N_LABELS}
    arrays = read_npz(path, tuple(names.values()))
    return {n: arrays[name] for n, name in names.items()}


def embedded(images, seed: int, work: Path):
    """(q [N, K], unit features [N, F], neighbours [N, 10]) of the model of a seed, trained once."""
    path = work / f"embedded-{seed}.npz"
    if not path.is_file():
        from gmvae_lib.vae.model import embed
        from gmvae_lib.vae.nearest import nearest
        from gmvae_lib.vae.training import fit

        run = fit(images, *configurations(seed), out=work / f"run-{seed}", resume=True)
        q, features = embed(run.model, images)
        columns = {"q": q, "features": unit_length(features)}
        columns["neighbours"] = nearest(features, NEIGHBOURS)
        write_npz(path, columns, compressed=False)
    found = read_npz(path, ("q", "features", "neighbours"))
    return found["q"], found["features"], found["neighbours"]


def connected(features, neighbours) -> np.ndarray:
    """Neighbours [N, n] whose graph is connected: few or no entries differ from those given.

    Each image outside of the largest part of the graph gets its nearest image of that part in the
    place of its last neighbour. features : float [N, F], of length 1.

    Examples
    --------
    >>> points = np.array([[1, 0], [1, 0], [1, 0], [0.6, 0.8], [0, 1]])
    >>> connected(points, np.array([[1], [2], [0], [4], [3]])).tolist()
    [[1], [2], [0], [0], [0]]
    """
    from scipy.sparse.csgraph import connected_components

    part = connected_components(adjacency(neighbours), directed=False)[1]
    main = np.flatnonzero(part == np.bincount(part).argmax())
    outside = np.flatnonzero(part != part[main[0]])
    joined = np.array(neighbours)
    if len(outside):
        joined[outside, -1] = main[(features[outside] @ features[main].T).argmax(axis=1)]
    return joined


def package_methods(features, neighbours, y) -> dict:
    """GraphLearning's methods on our neighbours, with its Gaussian weights of the distances.

    Callables of (rows, labels) that name all images.
    """
    with needs_extra("GraphLearning's methods", "peers"):
        import graphlearning as gl

    own = np.arange(len(features))[:, None]
    index = np.concatenate([own, neighbours], axis=1)
    apart = [np.linalg.norm(features[column] - features, axis=1) for column in index.T]
    distance = np.stack(apart, axis=1)
    order = np.argsort(distance, axis=1, kind="stable")
    index, distance = (np.take_along_axis(a, order, axis=1) for a in (index, distance))
    weights = gl.weightmatrix.knn(features, NEIGHBOURS, knn_data=(index, distance))
    shares = np.bincount(y) / len(y)
    poisson, mbo = gl.ssl.poisson(weights), gl.ssl.poisson_mbo(weights, shares)
    return dict(zip(PACKAGE, (poisson.fit_predict, mbo.fit_predict), strict=True))


def accuracy(named, y, labelled) -> float:
    """Share of the unlabelled images that are named right."""
    right = np.delete(np.asarray(named) == y, labelled)
    return float(right.mean())


def cells(draws, package=False):
    """(number of labels, draw, labelled rows): all sizes of the first draw, then of the second."""
    n_draws = PACKAGE_DRAWS if package else max(map(len, draws.values()))
    for draw in range(n_draws):
        for n, of_size in draws.items():
            if draw < len(of_size):
                yield n, draw, of_size[draw]


def measure(images, draws, seed: int, work: Path, part="ours") -> pd.DataFrame:
    """Accuracy of every method on every draw with the model of one seed; resumes.

    part : of `PARTS`: ours and Poisson learning; balanced diffusion; GraphLearning's methods, on
        the first draws.
    """
    work.mkdir(parents=True, exist_ok=True)
    path, package = work / f"{part}-{seed}.csv", part == "package"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=COLUMNS)
    y, (q, features, neighbours) = images.labels, embedded(images, seed, work)
    print(f"seed {seed}: purity {purity(q.argmax(axis=1), y):.4f}", flush=True)
    joined = connected(features, neighbours)
    print(f"entries changed to connect the graph: {np.sum(joined != neighbours)}", flush=True)
    everyone = np.arange(len(y))
    if package:
        methods = package_methods(features, joined, y)
    elif part == "balanced":
        model = BalancedDiffusion(smooth_posterior(q, neighbours), adjacency(joined))
        methods = {BALANCED: (model, everyone)}
    else:
        methods = {
            "soft": (SoftDecoder(), q),
            OURS: (neighbour_decoder(q, neighbours), everyone),
            POISSON: (PoissonLearning(adjacency(joined)), everyone),
        }
    rows = table.to_numpy().tolist()
    done = {(int(n), int(draw)) for _, n, draw, *_ in rows}
    for n, draw, labelled in cells(draws, package):
        if (n, draw) not in done:
            for name, method in methods.items():
                if package:
                    score = accuracy(method(labelled, y[labelled]), y, labelled)
                else:
                    score = accuracy_with(*method, y, labelled)
                rows.append([seed, n, draw, name, round(score, 6)])
            if (draw + 1) % EVERY == 0 and n == max(draws):
                table = _written(rows, path)
                print(f"seed {seed}: {draw + 1} draws", flush=True)
    return _written(rows, path)


def _written(rows, path) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_table(path, table)
    return table


def collect(work: Path, out: Path) -> pd.DataFrame:
    """Write the table of all that was measured so far; other cells of ``out`` are kept."""
    parts = [pd.read_csv(path) for path in sorted(work.glob("*-[0-9]*.csv"))]
    if not parts:
        raise InputError(f"{work}: found no table, expected ours-0.csv; run without --steps first")
    cell = ["method", "model_seed", "n_labels", "draw"]
    if out.is_file():  # what was measured elsewhere stays
        parts.insert(0, pd.read_csv(out))
    table = pd.concat(parts).drop_duplicates(cell, keep="last").sort_values(cell)
    write_table(out, table)
    return table


# ---- comparison ---------------------------------------------------------------------------------


def met_by_all(table) -> pd.DataFrame:
    """The rows of the draws that all models have met, by method and number of labels."""
    cell = ["method", "n_labels"]
    met = table.groupby([*cell, "draw"])["model_seed"].transform("nunique")
    return table[met == table.groupby(cell)["model_seed"].transform("nunique")]


def wide(table, method, n) -> pd.DataFrame:
    """Accuracy of a method at n labels: [model seeds, draws], of the draws that all models have."""
    rows = table[(table["method"] == method) & (table["n_labels"] == n)]
    return met_by_all(rows).pivot(index="model_seed", columns="draw", values="accuracy")


def interval(accuracy) -> tuple[float, float, float]:
    """Mean and 95 % interval of a table [models, draws]: over both, or draws where one model is.

    Examples
    --------
    >>> [round(v, 3) for v in interval([[0.9, 0.92]])]
    [0.91, 0.783, 1.037]
    """
    accuracy = np.asarray(accuracy, dtype=float)
    return evidence.interval(accuracy if len(accuracy) > 1 else accuracy[0])


def comparison(table: pd.DataFrame, ours: str = OURS) -> pd.DataFrame:
    """Our decoder beside the others at each number of labels, accuracies in %.

    Returns
    -------
    DataFrame: n_labels, rival, models, draws, ours, theirs, difference, low, high, won
        Against methods measured here the difference is paired, model by model and draw by draw, and
        ``won`` is the share of pairs in which ours is ahead; models that were not the same training
        are left out (`SAME_TRAINING`). Against PoissonMBO as published, on all 100 draws, among
        them ours, and another graph, it is that of the means, its half-width the root of the sum of
        squares of ours (models and draws) and theirs (draws); ``won`` is then nan.
    """
    rows = []
    for i, n in enumerate(N_LABELS):
        mine = wide(table, ours, n)
        if mine.empty:
            continue
        for rival in (POISSON, *PACKAGE):
            other = wide(table, rival, n)
            both = mine.index.intersection(other.index), mine.columns.intersection(other.columns)
            if ours in SAME_TRAINING:
                both = both[0].intersection(SAME_TRAINING[ours]), both[1]
            if min(map(len, both)) and len(both[1]) > 1:
                a, b = (found.loc[both].to_numpy() for found in (mine, other))
                means = a.mean(), b.mean(), *interval(a - b)
                rows.append([n, rival, *a.shape, *means, (a > b).mean()])
        mean, low, _ = interval(mine)
        their_mean, sd = (value / 100 for value in PUBLISHED["PoissonMBO"][i])
        theirs = t.ppf(0.975, 99) * sd / np.sqrt(100)
        half, apart = np.hypot(mean - low, theirs), mean - their_mean
        means = mean, their_mean, apart, apart - half, apart + half
        rows.append([n, "PoissonMBO, published", *mine.shape, *means, np.nan])
    columns = ["n_labels", "rival", "models", "draws"]
    found = pd.DataFrame(
        rows, columns=[*columns, "ours", "theirs", "difference", "low", "high", "won"]
    )
    percent = ["ours", "theirs", "difference", "low", "high"]
    found[percent] *= 100
    return found


@program("mnist_few_labels")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.mnist_few_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--draws", required=True, metavar="NPZ", help="the published draws")
    parser.add_argument("--data-dir", help="folder that holds MNIST, for torchvision")
    parser.add_argument("--work", type=Path, default=Path("runs/mnist"), help="to resume from")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="of the model")
    parser.add_argument("--part", choices=PARTS, default="ours", help="which methods")
    args = parser.parse_args(argv)
    draws, images = read_draws(args.draws), load_images("mnist", data_dir=args.data_dir)
    for seed in args.seeds:
        measure(images, draws, seed, args.work, args.part)
    table = collect(args.work, args.out)
    shown = table.groupby(["method", "n_labels"])["accuracy"].agg(["mean", "std", "min", "count"])
    print(shown.round(4).to_string())
    for method in (OURS, BALANCED):
        if (table["method"] == method).any():
            print(method, comparison(table, method).round(2).to_string(index=False), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
