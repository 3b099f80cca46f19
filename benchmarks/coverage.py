"""How often the report's interval holds the true accuracy: ``python -m benchmarks.coverage``.

Draws labels 100 times for each of several designs on 4,000 letters of the published run, and
compares `report.expected_accuracy` with the accuracy on the rest. Writes results/coverage.csv.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib import load_run
from gmvae_lib.data.storage import write_atomically
from gmvae_lib.label.choosing import suggest
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity
from gmvae_lib.report.findings import expected_accuracy, left_out

IMAGES, DRAWS = 4_000, 100
DESIGNS = ((0, 40), (0, 80), (0, 200), (50, 30), (100, 30), (100, 50))  # chosen, at random


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/coverage.csv"))
    args = parser.parse_args()
    run = load_run("results/letters100k")
    rows = np.random.default_rng(0).permutation(len(run.labels))[:IMAGES]
    q, y = run.posterior[rows], run.labels[rows]
    table = pd.DataFrame([coverage(q, y, *design) for design in DESIGNS]).round(4)
    print(table.to_string(index=False))
    write_atomically(args.out, lambda path: table.to_csv(path, index=False))


def coverage(q, y, n_chosen, n_random) -> dict:
    """One design: share of draws whose interval holds the truth, bias and scatter of the value."""
    decoder = GraphDecoder(cluster_affinity(q))
    chosen = suggest(q, n_chosen)["index"].to_numpy() if n_chosen else np.empty(0, np.int64)
    held, off, scatter = [], [], []
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(len(q))
        index = np.concatenate([chosen, order[~np.isin(order, chosen)][:n_random]])
        at_random = np.arange(len(index)) >= n_chosen
        told, truth = told_and_true(decoder, q, y, index, at_random)
        held.append(told.low <= truth <= told.high)
        off.append(told.value - truth)
        scatter.append(np.sqrt(truth * (1 - truth) / n_random))
    return {
        "chosen": n_chosen,
        "random": n_random,
        "draws": DRAWS,
        "covered": np.mean(held),
        "bias": np.mean(off),
        "scatter": np.std(off),
        "binomial": np.mean(scatter),
    }


def told_and_true(decoder, q, y, index, at_random):
    """What the report expects of a decoder with the labels of ``index``, and its accuracy."""
    proba, known = left_out(decoder, q[index], y[index])
    right = known & (np.unique(y[index])[proba.argmax(axis=1)] == y[index])
    told = expected_accuracy(right, at_random, confidence=0.5, spread=0.0)
    truth = np.delete(decoder.fit(q[index], y[index]).predict(q) == y, index).mean()
    return told, truth


if __name__ == "__main__":
    main()
