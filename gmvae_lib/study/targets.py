"""Numeric targets and the values obtained, for results/targets.json."""

import numpy as np

from gmvae_lib.study import fewer_labels, mnist_few_labels
from gmvae_lib.study.claims import TARGET_ACCURACY
from gmvae_lib.study.evidence import BOOK, accuracies, accuracy_at, curve, interval
from gmvae_lib.study.metrics import labels_at_accuracy_interval, mean_and_interval
from gmvae_lib.study.prediction import TARGETS as PREDICTION_TARGETS

PLAIN = "plain GMVAE, equal compute"
RECIPE = "full recipe"
STUDIES = "python -m gmvae_lib.study.studies --studies"
COMMAND = "python -m gmvae_lib.study.reproduce --steps claims"
TWO_WAY = "python -m gmvae_lib.study.two_way FOLDER --labels IDX"


def targets_table(ev, trials, predicted, choosing) -> list[dict]:
    """Numeric targets and the values obtained: name, target, obtained, low, high, command.

    Parameters
    ----------
    ev : claims.Evidence
    trials, predicted, choosing : DataFrames
        results/studies.csv, prediction.csv and choosing.csv.
    """
    rows, table = [], ev.sweep

    def row(name, target, values, command, how=mean_and_interval):
        values = [float(value) for value in values if np.isfinite(value)]
        if values:  # a study that was not run has no row
            # one value has no interval; JSON has no nan
            found = [value if np.isfinite(value) else None for value in how(values)]
            obtained = dict(zip(("obtained", "low", "high"), found, strict=True))
            rows.append({"name": name, "target": target, **obtained, "command": command})

    def study(name):
        return trials[trials["study"] == name]

    def only(value):
        return value, float("nan"), float("nan")

    def random_labels(method, what, n, target):
        """Accuracy over models and draws; over the draws of one model where that is all there is"""
        values = accuracies(ev, BOOK, method, n)
        over = f"{len(values)} draws of the labels, one training"
        if values.ndim == 2:
            over = f"{values.shape[0]} trainings x {values.shape[1]} draws of the labels"
        name, found = f"{what}, {n} random labels, mean over {over}", interval(values)
        command = TWO_WAY if values.ndim == 2 else COMMAND
        row(name, target, found[:1], command, lambda _: found)

    random_labels("soft", "soft decoder", 291, 0.82)
    differences = (predicted["predicted"] - predicted["measured"]).abs()
    for method, most in PREDICTION_TARGETS.items():
        row(
            f"largest difference of predicted and measured accuracy over label counts, {method}",
            most, [differences[predicted["method"] == method].max()],
            "python -m gmvae_lib.study.reproduce --steps prediction claims",
            lambda values: only(values[0]),
        )  # fmt: skip
    fewer = labels_at_accuracy_interval(
        curve(table, "neighbours"), TARGET_ACCURACY, against=curve(table, "xgboost")
    )
    row(
        "times fewer random labels than XGBoost's for 80 %, graph and neighbour decoder", 60,
        fewer[:1], COMMAND, lambda _: fewer,
    )  # fmt: skip
    chosen = choosing[(choosing["rule"] == "suggest") & (choosing["decoder"] == "neighbours")]
    chosen = chosen.rename(columns={"rule": "method", "model_seed": "seed"})
    command = "python -m gmvae_lib.study.reproduce --steps choosing claims"
    over = f"mean over {chosen['seed'].nunique()} model seeds"
    for n, target in ((40, 0.80), (73, 0.88), (100, 0.90)):
        row(
            f"graph and neighbour decoder, {n} chosen labels, {over}", target,
            accuracy_at(chosen, "suggest", n), command,
        )  # fmt: skip
    fewer_chosen = labels_at_accuracy_interval(
        curve(chosen, "suggest"), TARGET_ACCURACY, against=curve(table, "xgboost")
    )
    row(
        "times fewer chosen labels than XGBoost's random ones for 80 %, same decoder",
        200, fewer_chosen[:1], command, lambda _: fewer_chosen,
    )  # fmt: skip
    seeds, command = study("seeds"), f"{STUDIES} seeds"
    over = f"mean over {len(seeds)} model seeds"
    for method, what in (
        ("neighbours", "graph and neighbour decoder"),
        ("smoothed", "graph decoder on the smoothed posterior"),
        ("graph", "graph decoder"),
        ("soft", "soft decoder"),
    ):
        for n, target in ((291, 0.90), (73, 0.80)):
            random_labels(method, what, n, target)
    row(f"purity of the K = 100 clusters, {over}", 0.90, seeds["purity"], command)
    row(f"purity after smoothing, {over}", 0.90, seeds["smoothed purity"], command)
    row(
        f"components in use, the fewest of {len(seeds)} model seeds", 100, seeds["in_use"],
        command, lambda values: only(min(values)),
    )  # fmt: skip
    at_291 = seeds["neighbours 291"]
    row(
        f"share of {len(seeds)} model seeds within 3 points of their median at 291 labels", 1.0,
        (at_291 - at_291.median()).abs() <= 0.03, command,
        lambda values: only(sum(values) / len(values)),
    )  # fmt: skip
    row(
        "core-minutes of the full recipe, two trainings side by side", 90, seeds["minutes"], command
    )
    held, command = study("held-out").set_index("variant"), f"{STUDIES} held-out"
    if RECIPE in held.index:  # without it, the columns of the held-out accuracy need not be there
        recipe = held.loc[RECIPE]
        row(
            "points lost on letters held out from training, graph and neighbours, 291 labels", 0,
            [100 * (recipe["neighbours 291"] - recipe["held-out neighbours 291"])], command,
            lambda values: only(values[0]),
        )  # fmt: skip
        if PLAIN in held.index:
            row(
                "held-out ELBO of the recipe minus that of the plain GMVAE at equal compute, nats",
                0, [recipe["elbo"] - held.loc[PLAIN, "elbo"]], command,
                lambda values: only(values[0]),
            )  # fmt: skip
    speed, command = study("speed"), f"{STUDIES} speed --jobs 1 --threads 2"
    row("minutes of the two-epoch recipe on two cores", 3, speed["minutes"], command)
    row(
        "its accuracy at 291 labels, the least of its seeds", 0.80, speed["graph 291"], command,
        lambda values: only(min(values)),
    )  # fmt: skip
    return rows


AT_RANDOM = ((73, 0.80), (100, 0.85), (291, 0.92))
FEWER = {  # by labels and way: the number of labels and the accuracy aimed at
    ("random", fewer_labels.TOLD): AT_RANDOM,
    ("random", fewer_labels.TOGETHER): AT_RANDOM,
    ("random", fewer_labels.TOGETHER_TOLD): AT_RANDOM,
    ("chosen", fewer_labels.TOLD): ((40, 0.85), (73, 0.91), (100, 0.92)),
}


def fewer_targets(cells) -> list[dict]:
    """The targets of naming the letters with fewer labels, in the form of `targets_table`.

    cells : DataFrame, results/fewer_labels.csv.
    """
    found = fewer_labels.gains(cells).set_index(["labels", "method", "n_labels"])
    command = "python -m gmvae_lib.study.fewer_labels FOLDER --labels IDX"
    rows = []
    for (labels, method), aims in FEWER.items():
        for n, target in aims:
            if (labels, method, n) in found.index:
                row = found.loc[labels, method, n]
                over = f"{row['models']:.0f} trainings"
                if labels == "random":
                    over += f", {row['draws']:.0f} draws of the labels"
                rows.append(
                    {
                        "name": f"letters, {method}, {n} {labels} labels ({over})",
                        "target": target, "obtained": row["accuracy"] / 100,
                        "low": row["low"] / 100, "high": row["high"] / 100,
                        "command": command + (" --part chosen" if labels == "chosen" else ""),
                    }
                )  # fmt: skip
    return rows


def digit_targets(digits) -> list[dict]:
    """The target on MNIST's published draws, in the form of `targets_table`.

    digits : DataFrame, results/mnist_few_labels.csv.
    """
    rows = []
    for n in mnist_few_labels.N_LABELS:
        cells = mnist_few_labels.wide(digits, mnist_few_labels.BALANCED, n)
        if cells.size:
            mean, low, high = mnist_few_labels.interval(cells)
            over = f"{len(cells)} trainings x {cells.shape[1]} published draws"
            rows.append(
                {
                    "name": f"MNIST, balanced diffusion, {n} labels ({over})",
                    "target": 0.98, "obtained": mean, "low": low, "high": high,
                    "command": "python -m gmvae_lib.study.mnist_few_labels --part balanced",
                }
            )  # fmt: skip
    return rows


def loop_targets(loop) -> list[dict]:
    """The targets of labelling one's own images, in the form of `targets_table`.

    loop : dict, results/loop.json.
    """
    found, pictures = loop["accuracy"], f"{loop['pictures']:,} pictures of rendered letters"
    minutes = {"obtained": float(loop["minutes"]["all"]), "low": None, "high": None}
    accuracy = {"obtained": float(found["value"]), "low": found["low"], "high": found["high"]}
    labels = f"accuracy at {loop['chosen']} suggested labels"
    return [
        {
            "name": f"{pictures}, command line only: {what}",
            "target": target, **numbers, "command": "python -m benchmarks.loop",
        }
        for what, target, numbers in (
            (labels, 0.85, accuracy), ("minutes from folder to report", 15, minutes)
        )
    ]  # fmt: skip


def gpu_targets(measures) -> list[dict]:
    """The targets on one data-centre GPU, in the form of `targets_table`.

    measures : dict, results/gpu.json.
    """
    card = measures["calls"][0]["card"]
    parts = measures["parts"]
    rates = parts["posterior"]["images a second"]
    training = parts["paper"]["wall_training"]
    runs = list(parts["paper"]["runs"].values())
    rows: list[tuple[str, float, float]] = [
            (f"minutes of the preset paper, {runs[0]['epochs']} epochs of 100,000 letters", 6,
             training / 60 / parts["paper"]["seeds"]),
            ("seconds of the whole recipe, preset best", 45, parts["best"]["seconds"]),
            ("images a second of cluster_posterior, preset paper", 400_000, rates["paper"]),
            ("images a second of cluster_posterior, preset best", 400_000, rates["best"]),
    ]  # fmt: skip
    if large := parts.get("large"):
        course = f"preset large, {large['epochs']} epochs"
        rows += [(f"purity of the {course}", 0.93, large["purity"])]
        named = large["graph and neighbours"]["291"]["mean"]
        rows += [(f"accuracy with 291 random labels of the {course}", 0.92, named)]
    return [
        {
            "name": f"{card}: {what}",
            "target": target,
            "obtained": float(value),
            "low": None,
            "high": None,
            "command": "python -m benchmarks.gpu, then python -m benchmarks.publish",
        }
        for what, target, value in rows
    ]
