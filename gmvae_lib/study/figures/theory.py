"""Figures of chapter 3."""

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import (
    LogLocator,
    NullFormatter,
    PercentFormatter,
    ScalarFormatter,
)

from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    INCH,
    MUTED,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
    WHITE,
    is_narrow,
    panel,
    plt,
)


@mpl.rc_context(STYLE)
def coverage_curves(curves, marks=(), confidence=0.95, width=COLUMN):
    """Probability that every cluster has a label, against the number of labels.

    Parameters
    ----------
    curves : dict of str to (n_labels, probabilities)
    marks : sequence of (n_labels, text)
        Vertical lines; the text stands to the right, near the bottom.
    confidence : float
        A horizontal line.
    """
    fig, ax = panel(width, 330)
    styles = zip((BLUE, VERMILION, GREEN), ("-", "--", ":"), strict=True)
    for (name, (n_labels, probability)), (colour, line) in zip(
        curves.items(), styles, strict=False
    ):
        ax.plot(n_labels, probability, line, color=colour, lw=2, label=name)
    for n_labels, text in marks:
        ax.axvline(n_labels, color=MUTED, lw=1)
        ax.annotate(
            text, (n_labels, 0.03), xytext=(5, 0), textcoords="offset points", gid="halo",
        )  # fmt: skip
    ax.axhline(confidence, color=MUTED, lw=1)
    ax.annotate(
        f"{confidence:.0%}",
        (1, confidence),
        xycoords=("axes fraction", "data"),
        xytext=(-2, -15),
        textcoords="offset points",
        ha="right",
    )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 3) if is_narrow(width) else (1, 2, 5)))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("number of labels")
    ax.set_ylabel("P(every cluster has a label)")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


@mpl.rc_context(STYLE)
def missing_mass_and_coverage(n_labels, reached, covered, width=COLUMN):
    """Share of images in labelled clusters, above the probability that all clusters are labelled.

    Parameters
    ----------
    n_labels, reached, covered : arrays [M]
    """
    fig, ax = panel(width, 330)
    ax.plot(n_labels, reached, color=BLUE, lw=2, label="images whose cluster has a label")
    ax.plot(n_labels, covered, "--", color=VERMILION, lw=2, label="P(every cluster has a label)")
    ax.fill_between(n_labels, covered, reached, color=SKY, alpha=0.15, lw=0)
    ax.set_xscale("log")
    ax.set_ylim(0, 1.02)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("number of labels")
    fig.legend(loc="outside lower center", ncols=1)
    return fig


# Rule of `study.theory`: name in the legend, colour, marker.
RULES = {
    "hard": ("hard, nearest labelled cluster", VERMILION, "s"),
    "soft": ("soft", BLUE, "o"),
    "bayes": ("Bayes", GREEN, "^"),
    "graph": ("graph", PURPLE, "P"),
}


@mpl.rc_context(STYLE)
def floor_and_prediction(table, width=COLUMN):
    """Bounds, predictions and measured accuracies against random labels, one panel a model.

    Parameters
    ----------
    table : DataFrame
        model, kind ("predicted" or "measured"), rule, n_labels, value: results/theory.csv.
    """
    models = table["model"].unique()
    size = width / INCH, (265 * len(models) + 110) / INCH
    fig, axes = plt.subplots(len(models), 1, figsize=size, sharex=True, squeeze=False)
    for ax, model in zip(axes[:, 0], models, strict=True):
        own = table[table["model"] == model]
        predicted, measured = (
            own[own["kind"] == kind].pivot(index="n_labels", columns="rule", values="value")
            for kind in ("predicted", "measured")
        )
        counts = predicted.index
        ax.fill_between(
            counts, predicted["ceiling"], 1, color=GREY, alpha=0.3, lw=0, label="out of reach"
        )
        ax.plot(
            counts, predicted["independent"], "--", color=BLACK, lw=1.5,
            label="the most for unrelated clusters",
        )  # fmt: skip
        ax.fill_between(
            counts, predicted["proportional"], predicted["graph"], color=SKY, alpha=0.6, lw=0,
            label="predicted",
        )  # fmt: skip
        for rule, (label, colour, marker) in RULES.items():
            ax.plot(
                measured.index, measured[rule], marker, color=colour, ms=6, mec=WHITE, mew=0.8,
                label=label,
            )  # fmt: skip
        ax.set_xscale("log")
        ax.set_ylim(0, 1)
        ax.set_title(f"{model[0].upper()}{model[1:]}", loc="left")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.set_ylabel("accuracy")
    ax.set_xticks(counts, [str(n) for n in counts])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("random labels")
    columns = 1 if is_narrow(width) else 2
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return fig


@mpl.rc_context(STYLE)
def agreement_by_rank(profiles, n_classes, most=12, width=COLUMN):
    """How often a cluster's r-th neighbour has the letter of one of its images.

    Parameters
    ----------
    profiles : dict of str to array [K]
        From `study.theory.agreement_by_rank`, by model; at r = 0 the cluster itself.
    n_classes : int
        A line at 1 / L, unrelated clusters.
    """
    fig, ax = panel(width, 310)
    styles = zip((BLUE, VERMILION), ("o-", "s--"), strict=True)
    for (model, profile), (colour, style) in zip(profiles.items(), styles, strict=False):
        ax.plot(np.arange(most + 1), profile[: most + 1], style, color=colour, label=model)
    ax.axhline(1 / n_classes, color=MUTED, lw=1)
    ax.annotate(
        "unrelated clusters", (0, 1 / n_classes), xycoords=("axes fraction", "data"),
        xytext=(5, 4), textcoords="offset points", gid="halo",
    )  # fmt: skip
    ax.set_ylim(0, 1)
    ax.set_xticks(range(0, most + 1, 2), ["itself", *map(str, range(2, most + 1, 2))])
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("rank of the neighbour")
    ax.set_ylabel("same letter")
    ax.legend()
    return fig


@mpl.rc_context(STYLE)
def labels_needed(table, most=5000, width=COLUMN):
    """Labels for a wanted accuracy: the forecast's band, its expectation, and what was measured.

    Parameters
    ----------
    table : DataFrame
        data, target, labels, low, high, measured; one row a line. inf is drawn at the right edge.
    """
    rows = table.reset_index(drop=True)
    fig, ax = panel(width, 20 * len(rows) + 105)
    edge = most * 1.6
    place = np.arange(len(rows))
    low, high, labels, measured = (
        np.minimum(rows[name], edge) for name in ("low", "high", "labels", "measured")
    )
    ax.hlines(place, low, high, color=SKY, lw=5, label="forecast, 95 % band")
    ax.plot(labels, place, "|", color=BLUE, ms=9, mew=2, label="expected")
    ax.plot(measured, place, "o", color=VERMILION, ms=5, label="measured")
    ax.axvline(edge, color=MUTED, lw=1)
    ax.tick_params(axis="y", length=0)
    ax.set_xscale("log")
    ticks = [10, 100, 1000]
    ax.set_xticks([*ticks, edge], [*(f"{n:,}" for n in ticks), "never"])
    ax.xaxis.set_minor_formatter(NullFormatter())
    names = [f"{row.data}, {row.target:.0%}" for row in rows.itertuples()]
    ax.set_yticks(place, names)
    ax.invert_yaxis()
    ax.set_xlabel("labels")
    fig.legend(loc="outside lower center", ncols=1 if is_narrow(width) else 3)
    return fig
