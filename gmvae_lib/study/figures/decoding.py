"""Figures of chapter 6, Figure 2 of the article among them."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import (
    PercentFormatter,
)

from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    METHODS,
    ORANGE,
    STYLE,
    VERMILION,
    WIDTH,
    show_image,
)


@mpl.rc_context(STYLE)
def figure_2(example, picture, class_names):
    """One image on which the soft and the hard rule differ.

    Parameters
    ----------
    example : decoding.Disagreement
    picture : array [H, W]
        The image, or a substitute for it.
    class_names : sequence of str
    """

    def name(label):
        return str(class_names[label])

    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4), width_ratios=[1, 2])
    show_image(left, np.asarray(picture))
    left.set_title(f"truth: {name(example.truth)}")
    left.set_xlabel(
        f"hard says {name(example.hard)}\nsoft says {name(example.soft)}", fontsize=12, labelpad=8
    )
    rows = np.arange(len(example.components))
    for row, posterior, votes in zip(rows, example.posterior, example.votes, strict=True):
        order = np.argsort(-votes, kind="stable")
        cast = [f"{name(example.classes[i])} ×{votes[i]}" for i in order if votes[i]]
        winner = example.classes[order[0]] if cast else None
        colour = {example.hard: VERMILION, example.truth: BLUE}.get(winner, "#cccccc")
        right.barh(row, posterior, color=colour)
        text = ", ".join(cast) if cast else "no labelled image"
        right.annotate(
            text, (posterior, row), xytext=(4, 0), textcoords="offset points", va="center"
        )
    right.set_yticks(rows, [f"c = {c}" for c in example.components])
    right.invert_yaxis()
    right.set_xlim(0, 1.6 * max(example.posterior))
    right.set_xlabel("q(c|x)")
    right.set_title("five likeliest components and their votes")
    return fig


@mpl.rc_context(STYLE)
def gap_parts(parts):
    """Bars of the soft rule's lead over the published hard rule, split in two, for each n.

    Parameters
    ----------
    parts : DataFrame
        One row a label count, indexed by it: fallback, rest (differences of accuracy).
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    rows = np.arange(len(parts))
    styles = {
        "fallback": ("missing fallback: nearest against none", ORANGE, ""),
        "rest": ("the rest: soft against hard with a fallback", BLUE, "//"),
    }
    left = np.zeros(len(parts))
    for column, (label, colour, hatch) in styles.items():
        widths = 100 * parts[column].to_numpy()
        start = np.where(widths >= 0, left, 0)  # a negative part points left from zero
        ax.barh(rows, widths, left=start, color=colour, hatch=hatch, edgecolor="white", label=label)
        left = left + np.maximum(widths, 0)
    totals = 100 * (parts["fallback"] + parts["rest"])
    for row, end, total in zip(rows, left, totals, strict=True):
        ax.annotate(
            f"{total:+.1f}", (end, row), xytext=(5, 0), textcoords="offset points", va="center"
        )
    ax.axvline(0, color=BLACK, lw=1)
    ax.margins(x=0.12)
    ax.set_yticks(rows, [f"{n} labels" for n in parts.index])
    ax.invert_yaxis()
    ax.set_xlabel("soft minus hard as published, percentage points")
    fig.legend(loc="outside lower center", ncols=1)
    return fig


@mpl.rc_context(STYLE)
def reliability_curves(panels):
    """Accuracy against confidence of several methods, a panel for each number of labels.

    Parameters
    ----------
    panels : dict, number of labels to {method: DataFrame from `metrics.reliability`}
    """
    curves = {
        n_labels: {name: (t["confidence"], t["accuracy"]) for name, t in methods.items()}
        for n_labels, methods in panels.items()
    }
    fig = _panels_of_methods(curves, 4.6, "confidence", "accuracy", diagonal=True)
    for ax in fig.axes:
        ax.set_aspect("equal")
    return fig


@mpl.rc_context(STYLE)
def accuracy_against_coverage(panels):
    """Accuracy of the most confident share of several methods, a panel for each number of labels.

    Parameters
    ----------
    panels : dict, number of labels to {method: (coverage [M], accuracy [M])}
    """
    labels = "share of the images answered", "accuracy of the answers"
    return _panels_of_methods(panels, 4.2, *labels, markevery=0.2)


def _panels_of_methods(panels, height, x_label, y_label, diagonal=False, **line):
    """Curves {method: (x, y)} as `METHODS` draws them, a panel for each number of labels."""
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, height), sharey=True, squeeze=False)
    for ax, (n_labels, methods) in zip(axes[0], panels.items(), strict=True):
        if diagonal:
            ax.plot([0, 1], [0, 1], color=BLACK, lw=0.8, ls=":")
        for method, (x, y) in methods.items():
            name, colour, style, marker = METHODS[method]
            ax.plot(x, y, color=colour, ls=style, marker=marker, ms=4, label=name, **line)
        ax.set_title(f"{n_labels} labels")
        ax.set_xlabel(x_label)
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0, 0].set_ylabel(y_label)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


@mpl.rc_context(STYLE)
def verdicts(rows, n_columns=8):
    """Images with verdicts, in groups under a heading each.

    Parameters
    ----------
    rows : sequence of (heading, images [n, H, W], captions), n at most `n_columns`
    """
    fig, axes = plt.subplots(len(rows), n_columns, figsize=(WIDTH, 1.75 * len(rows)), squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for line, (heading, images, captions) in zip(axes, rows, strict=True):
        text = line[0].text(0, 1.2, heading, transform=line[0].transAxes, fontsize=12)
        text.set_in_layout(False)  # it runs over the columns to its right
        for ax, image, caption in zip(line, images, captions, strict=False):
            ax.axis("on")
            show_image(ax, image)
            ax.set_xlabel(caption, fontsize=10)
    return fig
