"""Figures of chapters 8 and 9."""

import matplotlib as mpl
from matplotlib.ticker import (
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    GREEN,
    METHODS,
    MUTED,
    ORANGE,
    STYLE,
    WINE,
    panel,
    panels,
)
from gmvae_lib.study.metrics import accuracy_at_coverage


@mpl.rc_context(STYLE)
def chosen_against_random(chosen, random, K, width=COLUMN):
    """Accuracy with chosen labels beside accuracy with random ones, decoder by decoder.

    Parameters
    ----------
    chosen : DataFrame
        method, n_labels, accuracy.
    random : DataFrame, from `experiments.summarise`
    K : int
        Components, marked by a line at n = K.
    """
    methods = [method for method in METHODS if method in set(chosen["method"])]
    fig, axes = panels(len(methods), width, 290, sharey=True)
    for ax, method in zip(axes, methods, strict=True):
        name, colour, _, marker = METHODS[method]
        curve = chosen[chosen["method"] == method].sort_values("n_labels")
        ax.plot(curve["n_labels"], curve["accuracy"], color=colour, marker=marker, ms=4)
        band = random[random["method"] == method].sort_values("n_labels")
        ax.plot(band["n_labels"], band["mean"], "--", color=colour)
        ax.fill_between(band["n_labels"], band["low"], band["high"], color=colour, alpha=0.2, lw=0)
        ax.set_title(name)
        ax.set_xscale("log")
        ax.axvline(K, color=MUTED, lw=1, ls=":")
        ticks = [1, 10, K]
        ax.set_xticks(ticks, map(str, ticks))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set_xlabel("number of labels")
    axes[0].set_ylabel("accuracy, images not labelled")
    styles = [mpl.lines.Line2D([], [], color=BLACK, ls=ls) for ls in ("-", "--")]
    fig.legend(styles, ["chosen", "drawn at random"], loc="outside lower center", ncols=2)
    return fig


@mpl.rc_context(STYLE)
def rules_of_choice(table, width=COLUMN):
    """Accuracy against the number of labels for each rule of choosing them, five at most.

    Parameters
    ----------
    table : DataFrame
        rule, n_labels, accuracy; one row or, for the mean and its spread, one a model seed.
    """
    fig, ax = panel(width, 380)
    colours, lines = (WINE, ORANGE, BLUE, GREEN, BLACK), ("-", "--", "-.", ":", "--")
    for i, (rule, rows) in enumerate(table.groupby("rule", sort=False)):
        accuracy = rows.groupby("n_labels")["accuracy"]
        mean = accuracy.mean()
        ax.plot(mean.index, mean, lines[i], marker="o^sDv"[i], color=colours[i], label=rule)
        ax.fill_between(
            mean.index, accuracy.min(), accuracy.max(), color=colours[i], alpha=0.12, lw=0
        )
    ax.set_xscale("log")
    counts = sorted(table["n_labels"].unique())
    ax.set_xticks(counts, map(str, counts))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("number of labels")
    ax.set_ylabel("accuracy, images not labelled")
    ax.legend(loc="lower right")
    return fig


@mpl.rc_context(STYLE)
def accuracy_of_the_confident(confidence, correct, width=COLUMN):
    """Accuracy of the most confident share of predictions, against that share.

    Parameters
    ----------
    confidence : array [N]
    correct : bool array [N]
    """
    coverage, accuracy = accuracy_at_coverage(confidence, correct)
    kept = coverage >= 0.05  # the first few images are too few for an accuracy
    fig, ax = panel(width, 300)
    ax.plot(coverage[kept], accuracy[kept], color=BLUE)
    ax.axhline(accuracy[-1], color=MUTED, lw=1, ls="--")
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    # over a few points whole per cents would repeat
    fine = accuracy[kept].max() - accuracy[kept].min() < 0.05
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=1 if fine else 0))
    ax.set_xlabel("share of the images kept, surest first")
    ax.set_ylabel("accuracy of those kept")
    return fig
