"""Chapter 3's theory beside measurement: bounds, predictions and forecasts, for two models.

``python -m gmvae_lib.study.theory`` writes into results/:

- theory.csv: for each model, rule and number of random labels, accuracy predicted from the cluster
  table and the cluster graph, bounds, and accuracy measured over draws of the labels;
- stratified.csv: the same for so many labels in each cluster, at random or typical ones;
- forecast.csv: forecasts from the labels at hand, and how often their intervals held;
- needed.csv: labels for a wanted accuracy, forecast before and after the first labels, on sets that
  took no part in making the forecast (``--sets``, from `fit_unseen_sets`);
- article_clusters.npz: the cluster table and graph of the article's model, so that the chapter runs
  without its posterior.

``--article`` names the run of the article's recipe. theory.json says when, with which command and
from which posteriors each table was made.
"""

import argparse
import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from gmvae_lib import bounds
from gmvae_lib.data.storage import array_digest, read_npz, write_atomically, write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.label.choosing import suggest, typicality
from gmvae_lib.label.decoding import (
    BayesDecoder,
    GraphDecoder,
    HardDecoder,
    SoftDecoder,
    cluster_affinity,
)
from gmvae_lib.label.forecast import accuracy_curve, forecast, labels_for_accuracy
from gmvae_lib.label.neighbours import smooth_posterior
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.metrics import mean_and_interval
from gmvae_lib.vae.runs import load_run

COUNTS = (7, 15, 29, 73, 146, 291, 728)
DRAWS = 100  # of the labels; seeds from FIRST_SEED, which no other table uses
FIRST_SEED = 1000
SCORED = 10_000  # images, drawn anew with each draw of the labels
PER_CLUSTER = (1, 2, 3, 5)
FORECAST_COUNTS = (29, 73, 146, 291)
FORECAST_DRAWS = 20
FORECAST_RULES = ("hard", "soft", "graph")
TARGETS = (0.6, 0.7, 0.8, 0.85, 0.9)
PILOTS = (0, 50)  # random labels at hand when the forecast is made
GRID = np.unique(np.geomspace(3, 5000, 60).round().astype(int))
TRAINED_SETS = ("mnist", "rendered-letters")
MOST_IMAGES = 10_000  # of each of them


def rules(affinity) -> dict:
    """Decoders that answer by clusters, unfitted."""
    return {
        "hard (no fallback)": HardDecoder("none"),
        "hard": HardDecoder(),
        "soft": SoftDecoder(),
        "bayes": BayesDecoder(),
        "graph": GraphDecoder(affinity),
    }


def measured_curves(q, y, counts=COUNTS, draws=DRAWS, progress=True) -> pd.DataFrame:
    """Accuracy of `rules` with random labels: rule, n_labels, value, low, high, spread, draws.

    Scored on `SCORED` unlabelled images, drawn anew each time. ``spread`` is the standard deviation
    over draws; low and high are the mean's t interval.
    """
    decoders, rows = rules(cluster_affinity(q)), []
    cells = [(n, seed) for n in counts for seed in range(FIRST_SEED, FIRST_SEED + draws)]
    for n, seed in tqdm(cells, unit="draw", desc="curves", disable=not progress):
        order = np.random.default_rng(seed).permutation(len(y))
        labelled, scored = order[:n], order[n : n + SCORED]
        for name, decoder in decoders.items():
            fitted = decoder.fit(q[labelled], y[labelled])
            rows.append((name, n, np.mean(fitted.predict(q[scored]) == y[scored])))
    table = pd.DataFrame(rows, columns=["rule", "n_labels", "accuracy"])
    return _intervals(table, ["rule", "n_labels"])


def _intervals(table, by):
    rows = []
    for key, group in table.groupby(by, sort=False):
        values = group["accuracy"]
        rows.append((*key, *mean_and_interval(values), values.std(ddof=1), len(values)))
    return pd.DataFrame(rows, columns=[*by, "value", "low", "high", "spread", "draws"])


def predicted_curves(table, weights, affinity, counts=COUNTS) -> pd.DataFrame:
    """What the cluster table and the graph alone say: rule, n_labels, value, low, high.

    Bounds: "independent", the best of any rule if clusters were named independently; "ceiling", of
    any that answers one label a cluster, of those seen. Predictions: "proportional", "nearest" and
    "graph", an image of an unlabelled cluster going to a labelled one in proportion to affinity, to
    the one of the largest affinity, or by the graph decoder (simulated; its error is in low, high).
    """
    rows = []
    for n in counts:
        exact = {
            "independent": bounds.best_accuracy(weights, n, table.shape[1], table),
            "ceiling": bounds.accuracy_ceiling(table, weights, n),
            "proportional": bounds.expected_hard_accuracy(
                table, weights, n, "proportional", affinity=affinity
            ),
            "nearest": bounds.expected_hard_accuracy(table, weights, n, affinity=affinity),
        }
        rows += [(rule, n, value, value, value) for rule, value in exact.items()]
        graph, error = bounds.expected_graph_accuracy(table, weights, affinity, n, 400)
        rows.append(("graph", n, graph, graph - 1.96 * error, graph + 1.96 * error))
    return pd.DataFrame(rows, columns=["rule", "n_labels", "value", "low", "high"])


def stratified(q, y, neighbours=None, draws=DRAWS) -> pd.DataFrame:
    """So many labels in each cluster: predicted, and measured with the hard rule on all images.

    labels (in each cluster), placed ("at random"; "typical": highest q(c|x) first; with neighbours
    also "typical, smoothed", by the smoothed posterior), expected and ties_at_random (predicted,
    the latter with tied votes decided at random), value, low, high (over draws), draws, of_majority
    (share of the most typical images that have the commonest letter of their cluster).
    """
    weights, table, _ = bounds.cluster_table(q, y)
    component, rank = typicality(q)
    orders = {"typical": (component, rank)}
    if neighbours is not None:
        orders["typical, smoothed"] = typicality(smooth_posterior(q, neighbours))
    size, rows = np.bincount(component, minlength=q.shape[1]), []
    place = np.arange(len(y)) - np.repeat(np.cumsum(size) - size, size)  # within its cluster
    for n in PER_CLUSTER:
        accuracy = []
        for seed in range(FIRST_SEED, FIRST_SEED + draws):
            shuffled = np.random.default_rng(seed).permutation(len(y))
            order = shuffled[np.argsort(component[shuffled], kind="stable")]
            accuracy.append(_hard(q, y, order[place < n]))
        expected = bounds.expected_stratified_accuracy(table, weights, n)
        at_random = bounds.expected_stratified_accuracy(table, weights, n, "random")
        interval = mean_and_interval(accuracy)
        rows.append((n, "at random", expected, at_random, *interval, draws, np.nan))
        for placed, (cluster, order) in orders.items():
            first = np.flatnonzero(order == 0)
            of_majority = np.mean(y[first] == table.argmax(axis=1)[cluster[first]])
            value = _hard(q, y, np.flatnonzero(order < n))
            rows.append((n, placed, np.nan, np.nan, value, value, value, 1, of_majority))
    columns = "labels placed expected ties_at_random value low high draws of_majority".split()
    return pd.DataFrame(rows, columns=columns)


def _hard(q, y, labelled):
    rest = np.ones(len(y), bool)
    rest[labelled] = False
    fitted = HardDecoder().fit(q[labelled], y[labelled])
    return float(np.mean(fitted.predict(q[rest]) == y[rest]))


def forecast_errors(
    q, y, counts=FORECAST_COUNTS, draws=FORECAST_DRAWS, progress=True
) -> pd.DataFrame:
    """`forecast` beside the truth, over draws of the labels.

    rule, n_labels, truth, forecast (means), rmse, coverage (of the 95 % interval), width, unseen
    (true share of images whose letter is not among the labels), turing (its estimate), turing_rmse,
    draws.
    """
    decoders, shares = rules(cluster_affinity(q)), np.bincount(y) / len(y)
    rows = []
    cells = [(n, seed) for n in counts for seed in range(FIRST_SEED, FIRST_SEED + draws)]
    for n, seed in tqdm(cells, unit="draw", desc="forecasts", disable=not progress):
        order = np.random.default_rng(seed).permutation(len(y))
        labelled, scored = order[:n], order[n : n + SCORED]
        unseen = shares[np.setdiff1d(np.arange(len(shares)), y[labelled])].sum()
        for rule in FORECAST_RULES:
            found = forecast(decoders[rule], q[labelled], y[labelled])
            fitted = decoders[rule].fit(q[labelled], y[labelled])
            truth = np.mean(fitted.predict(q[scored]) == y[scored])
            rows.append((rule, n, truth, *found, unseen))
    columns = "rule n_labels truth forecast low high turing unseen".split()
    table = pd.DataFrame(rows, columns=columns)
    table["held"] = table["truth"].between(table["low"], table["high"])
    table["width"] = table["high"] - table["low"]
    table["rmse"] = (table["forecast"] - table["truth"]) ** 2
    table["turing_rmse"] = (table["turing"] - table["unseen"]) ** 2
    found = table.groupby(["rule", "n_labels"], sort=False).mean().reset_index()
    found[["rmse", "turing_rmse"]] **= 0.5
    found["draws"] = draws
    return found.rename(columns={"held": "coverage"}).drop(columns=["low", "high"])


def needed(q, y, draws=20, progress=True) -> pd.DataFrame:
    """Labels for the `TARGETS`: forecast beside measured, random and chosen.

    Measured is where the mean accuracy of the graph decoder over ``draws`` of the labels crosses
    the target, and for chosen labels the same with the images that `suggest` takes. chosen (bool),
    pilot (labels at hand), target, labels, low, high (the forecast), measured; inf where the target
    is not reached within the curve.
    """
    n_classes = len(np.unique(y))
    counts = GRID[GRID <= len(y) // 2]
    decoder, curves = GraphDecoder(cluster_affinity(q)), {False: [], True: []}
    for n in tqdm(counts, unit="count", desc="labels needed", disable=not progress):
        accuracy = []
        for seed in range(FIRST_SEED, FIRST_SEED + draws):
            order = np.random.default_rng(seed).permutation(len(y))
            labelled, scored = order[:n], order[n : n + SCORED]
            fitted = decoder.fit(q[labelled], y[labelled])
            accuracy.append(np.mean(fitted.predict(q[scored]) == y[scored]))
        curves[False].append((n, np.mean(accuracy)))
    typical = suggest(q, min(len(y), q.shape[1]))["index"].to_numpy()
    for n in counts[counts <= len(typical)]:
        fitted = decoder.fit(q[typical[:n]], y[typical[:n]])
        curves[True].append((n, np.mean(fitted.predict(q) == y)))
    rows = []
    for chosen, curve in curves.items():
        reached = pd.DataFrame(curve, columns=["n_labels", "accuracy"])
        reached = reached.assign(low=reached["accuracy"], high=reached["accuracy"])
        for pilot in PILOTS:
            labelled = draw_labelled(len(y), pilot, FIRST_SEED) if pilot else []
            expected = accuracy_curve(
                q, n_classes, reached["n_labels"].tolist(), labelled, y[labelled], chosen
            )
            for target in TARGETS:
                found = labels_for_accuracy(expected, target)
                truth = labels_for_accuracy(reached, target).labels
                rows.append((chosen, pilot, target, *found, truth))
    columns = "chosen pilot target labels low high measured".split()
    return pd.DataFrame(rows, columns=columns)


# ------------------------------------------------------------------- sets and tables


def fit_unseen_sets(folder, data_dir, names=TRAINED_SETS) -> None:
    """Cluster the sets that the forecast is tested on, without reading a label.

    By the preset quick, seed 0, without its generative epochs, which do not change q(c|x); at most
    `MOST_IMAGES` of each. Writes q and y of each set to ``folder``; a set already there is left as
    it is. data_dir : folder that holds MNIST.
    """
    from dataclasses import replace

    from gmvae_lib import cluster_posterior, fit, load_images, preset

    for name in names:
        path = Path(folder) / f"{name}.npz"
        if path.exists():
            continue
        images = load_images(name, data_dir=data_dir, download=False)
        order = np.random.default_rng(0).permutation(len(images))[:MOST_IMAGES]
        images = images.subset(order)
        model, training = preset("quick", n_images=len(images), image_shape=images.images.shape[1:])
        run = fit(images, model, replace(training, generative_epochs=0))
        q = cluster_posterior(run, images)
        write_npz(path, {"q": q, "y": np.asarray(images.labels)})


def save_clusters(path, q, y) -> None:
    """Counts int [K, L], affinity float32 [K, K] and q's mean maximum: all that chapter 3 reads."""
    counts = np.zeros((q.shape[1], int(y.max()) + 1), dtype=np.int32)
    np.add.at(counts, (q.argmax(axis=1), y), 1)
    affinity = cluster_affinity(q).astype(np.float32)
    sharpness = np.array(q.max(axis=1).mean(dtype=np.float64))
    write_npz(path, {"counts": counts, "affinity": affinity, "sharpness": sharpness})


def load_clusters(path):
    """(P(label | cluster) [K, L], pi [K], affinity [K, K]) of `save_clusters`, clusters in use."""
    stored = read_npz(path, ("counts", "affinity", "sharpness"))
    counts, affinity = stored["counts"].astype(float), stored["affinity"].astype(float)
    used = counts.sum(axis=1) > 0
    counts, affinity = counts[used], affinity[np.ix_(used, used)]
    return counts / counts.sum(axis=1, keepdims=True), counts.sum(axis=1) / counts.sum(), affinity


def agreement_by_rank(table, weights, affinity):
    """P(an image has the letter of one of its cluster's r-th neighbour) [K], r = 0 .. K - 1."""
    scores = affinity.copy()
    np.fill_diagonal(scores, np.inf)
    ranked = np.argsort(-scores, axis=1, kind="stable")
    return weights @ np.take_along_axis(table @ table.T, ranked, axis=1)


def effective_clusters(accuracy, limit, n_labels):
    """How many equal clusters, pure and unrelated, would be covered as far with n labels.

    The k with 1 - (1 - 1/k)^n = accuracy / limit, where limit is the accuracy with any number of
    labels.
    """
    return 1 / -np.expm1(np.log1p(-np.asarray(accuracy) / limit) / n_labels)


def write_tables(results: Path, article: Path, sets: Path | None, steps, progress=True) -> None:
    """Compute the steps asked for and write their tables."""
    models, neighbours = {}, {}
    for name, path in {
        "this book's recipe": results / "letters100k",
        "the article's recipe": article,
    }.items():
        run = load_run(path)
        models[name] = (run.posterior, run.labels)
        neighbours[name] = run.extra.get("neighbours")
    tables = {step: [] for step in steps}
    for name, (q, y) in models.items():
        clusters = bounds.cluster_table(q, y)
        used = clusters.weights > 0
        table, weights = clusters.label_given_cluster[used], clusters.weights[used]
        affinity = cluster_affinity(q)[np.ix_(used, used)]
        if "theory" in steps:
            measured = measured_curves(q, y, progress=progress).assign(kind="measured")
            predicted = predicted_curves(table, weights, affinity).assign(kind="predicted")
            tables["theory"] += [frame.assign(model=name) for frame in (predicted, measured)]
        if "stratified" in steps:
            tables["stratified"].append(stratified(q, y, neighbours[name]).assign(model=name))
        if "forecast" in steps:
            tables["forecast"].append(forecast_errors(q, y, progress=progress).assign(model=name))
    if "needed" in steps:
        for path in sorted(Path(sets).glob("*.npz")):
            stored = read_npz(path, ("q", "y"))
            tables["needed"].append(needed(stored["q"], stored["y"]).assign(data=path.stem))
    for step, frames in tables.items():
        if frames:
            text = pd.concat(frames).round(5).to_csv(index=False)
            write_atomically(results / f"{step}.csv", lambda p, text=text: p.write_text(text))
    if "theory" in steps:
        save_clusters(results / "article_clusters.npz", *models["the article's recipe"])
    provenance = {
        "command": "python -m gmvae_lib.study.theory",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.machine(),
        "data": "emnist-letters-100k, 100,000 letters",
        "draws": {
            "count": DRAWS,
            "forecast": FORECAST_DRAWS,
            "first_seed": FIRST_SEED,
            "scored": SCORED,
        },
        "posteriors": {name: array_digest(q) for name, (q, _) in models.items()},
        "steps": list(steps),
    }
    _merge_provenance(results / "theory.json", provenance)


def _merge_provenance(path, provenance):
    """One entry for each step: the run that wrote its table last."""
    known = json.loads(path.read_text()) if path.exists() else {}
    steps = provenance.pop("steps")
    known.update({step: provenance for step in steps})
    text = json.dumps(known, indent=1, sort_keys=True) + "\n"
    write_atomically(path, lambda p: p.write_text(text))


STEPS = ("theory", "stratified", "forecast", "needed")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m gmvae_lib.study.theory", description=__doc__)
    parser.add_argument("--article", type=Path, default=Path("results/article-public"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--sets", type=Path, help="folder of the posteriors for the step needed")
    parser.add_argument("--data-dir", help="cluster the sets of --sets first, from data here")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS[:3])
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args(arguments)
    if "needed" in args.steps and args.sets is None:
        raise InputError("sets: found none, expected a folder for the step needed")
    if args.data_dir:
        fit_unseen_sets(args.sets, args.data_dir)
    with threadpool_limits(1):
        write_tables(args.results, args.article, args.sets, args.steps, not args.quiet)


if __name__ == "__main__":
    main()
