"""Peers from their own packages, on the same letters, labels and core: results/peers.csv.

Each method runs in a process of its own, on one thread, and is given the same core-minutes: a
clustering trains for as many epochs as fit, in its package's own proportion, and its clusters are
then named by the same labels with the hard rule and its fallback. Minutes are processor time, so
that other work on the machine matters little. A method whose package is missing, or that fails, has
a row that says so. Methods that are in the table already are not run again.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import HardDecoder
from gmvae_lib.label.neighbours import NEIGHBOURS, adjacency, neighbour_decoder
from gmvae_lib.study.clusterings import principal_components
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.metrics import mean_and_interval, purity
from gmvae_lib.study.programs import labelled_images, program
from gmvae_lib.study.rivals import with_unlabelled

K = 100  # clusters, as many as the GMVAE's components
LABELS = (73, 291)
DRAWS = range(5)
TRIAL = 5_000  # images on which an epoch is timed
TARGET, AT = 0.8, 291  # accuracy and labels of `time_to_target`
PRETRAINING = 0.4  # ClustPy's share of it in all epochs: 100 of 250


# ---- methods: images, seconds, answer to (answers, more) ----------------------------------------
# answers(rows, labels) -> labels [N]; more: what else the row says


def clustpy(name, settings=None):
    """A deep clustering of ClustPy, with its own network and settings but for the epochs."""

    def run(images, seconds, run_path):
        import clustpy.deep

        X = images.pixels()

        def fit(points, pretraining, clustering):
            made = getattr(clustpy.deep, name)(
                K, pretrain_epochs=pretraining, clustering_epochs=clustering, random_state=0,
                **(settings or {}),
            )  # fmt: skip
            return made.fit(points)

        two = seconds_of(lambda: fit(X[:TRIAL], 1, 1)) * len(X) / min(TRIAL, len(X))
        epochs = max(2, round(2 * seconds / two))
        pretraining = max(1, round(PRETRAINING * epochs))
        fitted = fit(X, pretraining, max(1, epochs - pretraining))
        q = nearest_centres(fitted.labels_, fitted.transform(X), fitted.cluster_centers_)
        return named_by_hard_rule(q), {"epochs": epochs, "purity": purity_of(q, images)}

    return run


def ours(images, seconds, run_path):
    """The recipe of the preset best, as many of its epochs as fit; graph and neighbours."""
    from dataclasses import replace

    from gmvae_lib.vae.config import preset
    from gmvae_lib.vae.model import embed
    from gmvae_lib.vae.nearest import nearest
    from gmvae_lib.vae.training import fit

    def train(pictures, epochs):
        model, training = preset("best", epochs=epochs)
        # the ELBO's own epochs come after the clusters are done, and change no answer
        return fit(pictures, model, replace(training, generative_epochs=0))

    some = images.subset(np.arange(min(TRIAL, len(images))))
    one = seconds_of(lambda: train(some, 1)) * len(images) / len(some)
    epochs = min(preset("best")[1].epochs, max(1, round(seconds / one)))
    q, features = embed(train(images, epochs).model, images)
    decoder = neighbour_decoder(q, nearest(features, NEIGHBOURS))
    everything = np.arange(len(images))
    return (
        lambda rows, labels: decoder.fit(rows, labels).predict(everything),
        {"epochs": epochs, "purity": purity_of(q, images)},
    )


def poisson_on_pixels(images, seconds, run_path):
    """GraphLearning's Poisson learning on its own graph of the pixels."""
    import graphlearning

    return _poisson(graphlearning.weightmatrix.knn(images.pixels(), NEIGHBOURS)), {}


def poisson_on_features(images, seconds, run_path):
    """The same on the graph of the published run's features, whose training is not counted."""
    from gmvae_lib.vae.runs import load_run

    run = load_run(run_path)
    if len(run.labels) != len(images):
        raise InputError(f"{run_path}: found a run of other images, expected one of these")
    return _poisson(adjacency(run.extra["neighbours"])), {}


def _poisson(graph):
    import graphlearning

    def answers(rows, labels):
        classes, index = np.unique(labels, return_inverse=True)  # it wants 0, 1, ... without gaps
        return classes[graphlearning.ssl.poisson(graph).fit_predict(rows, index)]

    return answers


def spreading(images, seconds, run_path):
    """scikit-learn's LabelSpreading with its own graph of the pixels and its own settings."""
    from sklearn.neighbors import kneighbors_graph
    from sklearn.semi_supervised import LabelSpreading

    X = images.pixels()
    # LabelSpreading(kernel="knn") would search for the same neighbours again for each draw
    graph = kneighbors_graph(X, 7, mode="connectivity", include_self=True).astype(np.float64)

    def answers(rows, labels):
        y = with_unlabelled(len(X), rows, labels)
        model = LabelSpreading(kernel=lambda a, b: graph).fit(np.arange(len(X))[:, None], y)
        return model.transduction_

    return answers, {}


def self_training(images, seconds, run_path):
    """scikit-learn's SelfTrainingClassifier over logistic regression on 50 components."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import SelfTrainingClassifier

    (points,) = principal_components(images.pixels())

    def answers(rows, labels):
        y = with_unlabelled(len(points), rows, labels)
        return SelfTrainingClassifier(LogisticRegression()).fit(points, y).predict(points)

    return answers, {}


METHODS = {  # name: (package, function)
    "DEC": ("clustpy", clustpy("DEC")),
    "VaDE": ("clustpy", clustpy("VaDE")),
    "this book's recipe": ("gmvae_lib", ours),
    "IDEC": ("clustpy", clustpy("IDEC")),
    "Poisson learning, pixels": ("graphlearning", poisson_on_pixels),
    "Poisson learning, our features": ("graphlearning", poisson_on_features),
    "LabelSpreading": ("scikit-learn", spreading),
    "SelfTraining": ("scikit-learn", self_training),
}
TRAINED = ("DEC", "VaDE", "IDEC", "this book's recipe")  # those that use the whole budget


# ---- pieces -------------------------------------------------------------------------------------


def seconds_of(work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def nearest_centres(clusters, points, centres):
    """How near points [N, D] are to centres [K, D]: float32 [N, K], the own cluster on top.

    As `clusterings.kmeans_posterior`, so that a cluster without a label can ask the next one.
    """
    from scipy.special import softmax
    from sklearn.metrics import pairwise_distances

    squared = pairwise_distances(points, centres).astype(np.float64) ** 2
    squared /= squared.min(axis=1).mean() or 1.0
    own = np.arange(len(points)), clusters
    squared[own] = np.minimum(squared[own], squared.min(axis=1) - 1e-3)
    return softmax(-squared, axis=1).astype(np.float32)


def named_by_hard_rule(q):
    return lambda rows, labels: HardDecoder().fit(q[rows], labels).predict(q)


def purity_of(q, images) -> float:
    return float(purity(q.argmax(axis=1), images.labels))


# ---- one row ------------------------------------------------------------------------------------


def measure(name: str, minutes: float, images, run_path) -> dict:
    """Run one method in this process, on one thread: its row."""
    package, function = METHODS[name]
    row = {"method": name, "package": package, "budget": minutes}
    try:
        row["version"] = version(package)
        before = time.process_time()
        answers, more = function(images, 60 * minutes, run_path)
        prepared = time.process_time() - before
        row |= more | _accuracies(answers, images.labels)
        row["minutes"] = (prepared + row.pop("seconds_a_draw")) / 60
    except (Exception, SystemExit) as error:  # whatever a package raises belongs into its row
        row["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    row["peak_MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row["date"] = datetime.now(UTC).date().isoformat()
    return {name: round(v, 5) if isinstance(v, float) else v for name, v in row.items()}


def _accuracies(answers, y) -> dict:
    """Mean and interval over the draws at each number of labels, on the images without one."""
    found, seconds = {}, []
    for n in LABELS:
        scores = []
        for seed in DRAWS:
            rows = draw_labelled(len(y), n, seed)
            unlabelled = np.ones(len(y), dtype=bool)
            unlabelled[rows] = False
            started = time.process_time()
            right = np.asarray(answers(rows, y[rows])) == y
            seconds.append(time.process_time() - started)
            scores.append(float(right[unlabelled].mean()))
        mean, low, high = mean_and_interval(scores)
        found |= {f"accuracy {n}": mean, f"low {n}": low, f"high {n}": high}
    return found | {"draws": len(DRAWS), "seconds_a_draw": float(np.mean(seconds))}


def time_to_target(table) -> pd.DataFrame:
    """For each method the fewest core-minutes with which it reached 80 % at 291 labels.

    Returns
    -------
    DataFrame
        method, minutes (nan: not within those of the next column), tried (the most minutes tried).
    """
    rows = []
    for method, group in table.groupby("method", sort=False):
        done = group.dropna(subset=["minutes"])
        reached = done[done[f"accuracy {AT}"] >= TARGET]["minutes"]
        rows.append((method, reached.min(), done["minutes"].max()))
    return pd.DataFrame(rows, columns=["method", "minutes", "tried"])


# ---- the table ----------------------------------------------------------------------------------


@program("peers")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m gmvae_lib.study.peers --minutes 6 --out results/peers.csv",
    )
    parser.add_argument("--data", default="emnist-letters", help="letters (default: %(default)s)")
    parser.add_argument("--transpose", action="store_true", help="the images lie on their side")
    parser.add_argument("--data-dir", help="folder that holds EMNIST, for torchvision")
    parser.add_argument("--minutes", type=float, nargs="+", default=[6.0], help="core-minutes each")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--run", default="results/letters100k", help="the published run")
    parser.add_argument("--out", type=Path, default=Path("results/peers.csv"))
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)  # in a process of its own
    args = parser.parse_args(argv)
    if args.one:
        images = labelled_images(args.data, args.data_dir, args.transpose or "auto")
        print(json.dumps(measure(args.one, args.minutes[0], images, args.run)))
    else:
        run_all(args, sys.argv[1:] if argv is None else argv)


def run_all(args, argv):
    rows = pd.read_csv(args.out).to_dict("records") if args.out.is_file() else []
    for minutes in args.minutes:
        for name in args.methods:
            # what works with the data alone takes the same time whatever the budget
            same = [row for row in rows if row["method"] == name]
            if any(row["budget"] == minutes or name not in TRAINED for row in same):
                continue
            rows.append(_in_own_process(name, minutes, argv))
            text = pd.DataFrame(rows).to_csv(index=False)
            write_atomically(args.out, lambda p, text=text: p.write_text(text))
            print(_said(rows[-1]), flush=True)


def _said(row) -> str:
    if "failed" in row:
        return f"{row['method']}: {row['failed']}"
    return (
        f"{row['method']}: {row[f'accuracy {AT}']:.1%} with {AT} labels, "
        f"{row['minutes']:.1f} core-minutes, {row['peak_MB']:.0f} MB"
    )


def _in_own_process(name, minutes, argv) -> dict:
    """`measure` in a process whose memory nothing else has touched, on one thread."""
    import os

    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    line = [sys.executable, "-m", "gmvae_lib.study.peers", *argv, "--one", name, "--minutes"]
    done = subprocess.run(
        [*line, str(minutes)], capture_output=True, text=True, env={**os.environ, **threads}
    )
    if done.returncode == 2:
        raise InputError(done.stderr.strip().splitlines()[-1].removeprefix("peers: error: "))
    if done.returncode:  # killed, as for want of memory
        said = (done.stderr.strip().splitlines() or [""])[-1][:200]
        failed = f"the process ended with {done.returncode}: {said}"
        return {"method": name, "package": METHODS[name][0], "budget": minutes, "failed": failed}
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
