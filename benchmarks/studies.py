"""The label sweep, and how soon the library answers."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from gmvae_lib import load_run
from gmvae_lib.label.decoding import decoders
from gmvae_lib.study.experiments import draw_labelled, label_counts, sweep

from .clock import medians, row

RUN = Path("results/letters100k")
METHODS = ("graph", "soft", "hard", "bayes")


def loop(q, y, methods, counts, seeds):
    """The sweep as one would write it down: every cell on its own, image by image in chunks."""
    found = {}
    for name in methods:
        for n in counts:
            for seed in seeds:
                labelled = draw_labelled(len(y), n, seed)
                rest = np.setdiff1d(np.arange(len(y)), labelled)
                classifier = decoders(q)[name].fit(q[labelled], y[labelled])
                found[name, n, seed] = np.mean(classifier.predict(q[rest]) == y[rest])
    return found


def rows():
    run = load_run(RUN)
    q, y = run.posterior, run.labels
    methods = {name: decoder for name, decoder in decoders(q).items() if name in METHODS}
    counts = label_counts(len(y))
    seconds = medians(
        lambda: sweep({"q": q}, y, {"q": methods}, counts, range(20), n_jobs=2, progress=False),
        repeats=1,
    )[0]
    straight = medians(lambda: loop(q, y, methods, counts, range(2)), repeats=1)[0] * 10
    cells = len(methods) * len(counts) * 20
    start = {
        name: medians(lambda line=line: subprocess.run(line, check=True, capture_output=True))[0]
        for name, line in {
            "python": [sys.executable, "-c", "pass"],
            "import gmvae_lib": [sys.executable, "-c", "import gmvae_lib"],
            "import torch": [sys.executable, "-c", "import torch"],
            "help": [sys.executable, "-m", "gmvae_lib", "--help"],
        }.items()
    }
    return [
        row(
            f"label sweep: {cells} cells of {len(y):,} posteriors, two processes",
            "a straight loop over the cells (a tenth of it, times ten)",
            straight / seconds, seconds=seconds, baseline_seconds=straight,
        ),
        row(
            "import gmvae_lib", "import torch", start["import torch"] / start["import gmvae_lib"],
            seconds=start["import gmvae_lib"], limit_seconds=2.0,
        ),
        row(
            "python -m gmvae_lib --help", "python that does nothing",
            start["python"] / start["help"], seconds=start["help"], limit_seconds=0.5,
        ),
    ]  # fmt: skip
