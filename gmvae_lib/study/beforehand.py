"""How often the sentence before labelling is right, and how often the report's interval.

``python -m gmvae_lib.study.beforehand --work FOLDER`` reads the small models of `made_sets` and
writes results/beforehand.csv, a row for each set and setting. What counts was fixed before it was
measured: a set *works* if four labels a class on average, at random, give the default decoder at
least half of what there is to gain over the commonest class, (accuracy - share) / (1 - share), in
the mean over draws, on the images without a label. Sets without classes never do.

The two numbers of `label.outlook` are fitted on these sets. So that no set judges a limit that it
set itself, the limit is fitted again without each kind of pictures and asked about that kind.

``--coverage`` writes results/interval_coverage.csv: in how many of 200 draws of labels the report's
95 % interval held the true accuracy of the unlabelled images. `interval_coverage` does that for any
set.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.outputs import write_table
from gmvae_lib.label.outlook import FEWEST, MOST, outlook
from gmvae_lib.label.pooled import any_decoder, default_name
from gmvae_lib.report.findings import expected_accuracy, left_out
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.made_sets import SPECS, WITHOUT_GROUPS, Spec, read
from gmvae_lib.study.metrics import purity
from gmvae_lib.study.programs import program
from gmvae_lib.study.studies import accuracy_with

WORKS = 0.5  # of what there is to gain
PER_CLASS, DRAWS = 4, 10
COVERED = ("rendered-600-0", "rendered-2000-0", "letters-600-0", "letters-2000-0", "mnist-1000-0",
           "parts-500-0", "digits-1797-0", "turned-1000-0", "busy-1000-0")  # fmt: skip
COVERAGE_LABELS, COVERAGE_DRAWS = 60, 200
OUT, COVERAGE_OUT = Path("results/beforehand.csv"), Path("results/interval_coverage.csv")


def gained(q, neighbours, y, draws=DRAWS) -> tuple[float, float]:
    """(accuracy, share of what there is to gain) with four labels a class: means over draws."""
    n_labels = min(PER_CLASS * len(np.unique(y)), len(y) // 2)
    decoder, points = any_decoder(default_name(*q.shape), q, neighbours)
    accuracy = np.mean(
        [
            accuracy_with(decoder, points, y, draw_labelled(len(y), n_labels, draw))
            for draw in range(draws)
        ]
    )
    share = purity(np.zeros(len(y), dtype=int), y)  # of the commonest class
    return float(accuracy), float((accuracy - share) / (1 - share))


def measure(work: Path, specs=SPECS) -> pd.DataFrame:
    """What was said of each set, and what came of it."""
    rows = []
    for text in specs:
        path = work / f"{text}.npz"
        if not path.is_file():
            continue
        q, neighbours, y, _ = read(path)
        accuracy, gain = gained(q, neighbours, y)
        said, name = outlook(q, neighbours), Spec.of(text).name
        works = gain >= WORKS and name not in WITHOUT_GROUPS
        rows.append(
            (text, name, *q.shape, said.agreement, said.needed, said.works, accuracy, gain, works)
        )
        print(f"{text}: {'right' if said.works == works else 'WRONG'}", flush=True)
    columns = "set kind n K agreement needed said accuracy gain works".split()
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(elsewhere=said_elsewhere(table))


def log_odds(table: pd.DataFrame) -> np.ndarray:
    """What the limit is a line in: log-odds of the agreement, log of images a cluster, [n, 2]."""
    p = table["agreement"].clip(0.001, 0.999)
    each = (table["n"] / table["K"]).clip(FEWEST, MOST)
    return np.column_stack([np.log(p / (1 - p)), np.log(each)])


def fitted_line(table: pd.DataFrame) -> tuple[float, float]:
    """(intercept, slope) of the log-odds of the agreement at which half of the sets work."""
    model = _logistic().fit(log_odds(table), table["works"])
    (a, b), c = model.coef_[0], model.intercept_[0]
    return float(-c / a), float(-b / a)


def said_elsewhere(table: pd.DataFrame) -> np.ndarray:
    """What a limit says of each set that was fitted without sets of its kind: bool [n]."""
    x, said = log_odds(table), np.zeros(len(table), dtype=bool)
    for kind in table["kind"].unique():
        own = (table["kind"] == kind).to_numpy()
        if table["works"][~own].nunique() == 2:
            said[own] = _logistic().fit(x[~own], table["works"][~own]).predict(x[own])
    return said


def _logistic():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=100)


def summary(table: pd.DataFrame) -> str:
    """How often it was right, the line fitted on all, and what was wrong."""
    wrong = table[table["said"] != table["works"]]
    right, elsewhere = (table[name] == table["works"] for name in ("said", "elsewhere"))
    intercept, slope = fitted_line(table)
    return "\n".join(
        [
            f"right: {right.sum()} of {len(table)}; a limit fitted without the kind of pictures: "
            f"{elsewhere.sum()} of {len(table)}",
            f"line fitted on all: {intercept:.2f} + {slope:.2f} log(images a cluster)",
            "wrong: " + "; ".join(
                f"{row.set} (gain {row.gain:.2f}, said {'yes' if row.said else 'no'})"
                for row in wrong.itertuples()
            ),
        ]
    )  # fmt: skip


def interval_coverage(
    q, neighbours, y, n_labels=COVERAGE_LABELS, draws=COVERAGE_DRAWS, features=None
) -> dict:
    """In how many draws of labels the report's interval holds the accuracy of the others.

    Parameters
    ----------
    q : array [N, K]. neighbours : int [N, n], the nearest first, or in the order of ``features``.
    y : array [N], true labels. n_labels : all drawn at random.

    Returns
    -------
    dict
        n_labels, draws; covered, the share; accuracy, its mean; bias of what the report expects;
        width of the interval.
    """
    decoder, points = any_decoder(default_name(*np.shape(q)), q, neighbours, features)
    held, truths, told = [], [], []
    for draw in range(draws):
        index = draw_labelled(len(y), n_labels, draw)
        proba, known = left_out(decoder, points[index], y[index])
        right = known & (np.unique(y[index])[proba.argmax(axis=1)] == y[index])
        found = expected_accuracy(right, np.ones(n_labels, bool), confidence=0.5, spread=0.0)
        truth = accuracy_with(decoder, points, y, index)
        held.append(found.low <= truth <= found.high)
        truths.append(truth)
        told.append((found.value, found.high - found.low))
    value, width = np.mean(told, axis=0)
    return {
        "n_labels": n_labels,
        "draws": draws,
        "covered": float(np.mean(held)),
        "accuracy": float(np.mean(truths)),
        "bias": float(value - np.mean(truths)),
        "width": float(width),
    }


def coverage(work: Path, out=COVERAGE_OUT, sets=COVERED) -> pd.DataFrame:
    """Measure what is missing in the table at ``out``, which is written after every set."""
    out = Path(out)
    rows = pd.read_csv(out).to_dict("records") if out.is_file() else []
    for text in sets:
        if text in {row["set"] for row in rows} or not (work / f"{text}.npz").is_file():
            continue
        q, neighbours, y, _ = read(work / f"{text}.npz")
        rows.append({"set": text, "n": len(y), **interval_coverage(q, neighbours, y)})
        table = pd.DataFrame(rows).round(4)
        write_table(out, table)
        print(text, rows[-1]["covered"], flush=True)
    return pd.read_csv(out)


@program("beforehand")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.beforehand",
        description="Is the sentence before labelling right, and the report's interval?",
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of `made_sets`")
    parser.add_argument("--coverage", action="store_true", help="the interval instead")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(argv)
    if args.coverage:
        print(coverage(args.work, args.out or COVERAGE_OUT).to_string(index=False))
        return
    table = measure(args.work)
    rounded, out = table.round(4), args.out or OUT
    write_table(out, rounded)
    print(summary(table))


if __name__ == "__main__":
    sys.exit(main())
