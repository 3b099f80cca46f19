"""The book's card, the picture that a link to it shows elsewhere: 1200 x 630 pixels, from results/.

`python tools/card.py FILE.png` draws it alone; a build with an address draws it too (address.py).
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from gmvae_lib import load_run
from gmvae_lib.study.experiments import summarise
from gmvae_lib.study.figures import BLACK, GREY, METHODS, STYLE

RESULTS = Path(__file__).resolve().parents[1] / "results"
SIZE, DPI = (1200, 630), 100  # pixels, as sites ask for
SHOWN = ("neighbours", "soft", "hard (no fallback)", "xgboost")
LETTERS = 8  # samples of the heaviest components


@mpl.rc_context(STYLE | {"figure.constrained_layout.use": False, "font.size": 15})
def draw(path):
    """Write the card as PNG to ``path``."""
    run = load_run(RESULTS / "letters100k")
    summary = summarise(pd.read_csv(RESULTS / "sweep.csv"))
    fig = Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI)
    fig.text(0.05, 0.84, "How few labels?", size=40, weight="bold", color=BLACK)
    fig.text(
        0.05, 0.63,
        f"{len(run.labels):,} handwritten letters,\nsorted by a model that saw no label.\n"
        "How many does it take to name them?",
        size=19, color=BLACK, linespacing=1.4,
    )  # fmt: skip
    heaviest = np.argsort(-run.weights)[:LETTERS]
    for i, component in enumerate(heaviest):
        row, column = divmod(i, LETTERS // 2)
        ax = fig.add_axes((0.05 + 0.1 * column, 0.31 - 0.2 * row, 0.095, 0.18))
        ax.imshow(1 - run.model.sample(int(component), n=1, seed=1)[0], cmap="gray", vmin=0, vmax=1)
        ax.axis("off")
    ax = fig.add_axes((0.55, 0.15, 0.41, 0.74))
    for method in SHOWN:
        name, colour, line, marker = METHODS[method]
        curve = summary[summary["method"] == method].sort_values("n_labels")
        ax.plot(
            curve["n_labels"], curve["mean"], line, color=colour, marker=marker, lw=3, label=name
        )
    ax.axhline(0.8, color=GREY, lw=1)
    ax.set_xscale("log")
    ax.set_ylim(0, 1)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("number of labels")
    ax.set_title("accuracy on the unlabelled images", loc="left", size=16)
    ax.legend(loc="lower right", fontsize=14)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, metadata={"Title": "How few labels?"})


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
