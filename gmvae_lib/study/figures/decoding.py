"""Figures of chapter 6, Figure 2 of the article among them."""

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import (
    PercentFormatter,
)

from gmvae_lib.study.figures.style import (
    BLUE,
    COLUMN,
    FAINT,
    GREY,
    INCH,
    METHODS,
    MUTED,
    ORANGE,
    STYLE,
    VERMILION,
    WHITE,
    is_narrow,
    panel,
    show_image,
)


@mpl.rc_context(STYLE)
def figure_2(example, picture, class_names, width=COLUMN):
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

    def colour_of(label):
        return {example.hard: VERMILION, example.truth: BLUE}.get(label, GREY)

    narrow = is_narrow(width)
    height = 420 if narrow else 300
    fig = plt.figure(figsize=(width / INCH, height / INCH))
    ratios = {"height_ratios": [1, 1.7]} if narrow else {"width_ratios": [1, 2.2]}
    left, right = fig.subplots(*((2, 1) if narrow else (1, 2)), **ratios)
    show_image(left, np.asarray(picture))
    if narrow:
        left.set_anchor((0.2, 0.5))  # room for the words beside it, in whatever font
    said = (("truth", example.truth), ("hard says", example.hard), ("soft says", example.soft))
    for line, (words, label) in enumerate(said):
        at = (1.12, 0.72 - 0.24 * line) if narrow else (0.5, -0.1 - 0.1 * line)
        left.annotate(
            f"{words} {name(label)}", at, xycoords="axes fraction", color=colour_of(label),
            weight="bold", fontsize=14, ha="left" if narrow else "center", va="center",
        )  # fmt: skip
    rows = np.arange(len(example.components))
    for row, posterior, votes in zip(rows, example.posterior, example.votes, strict=True):
        order = np.argsort(-votes, kind="stable")
        cast = [f"{name(example.classes[i])} ×{votes[i]}" for i in order if votes[i]]
        winner = example.classes[order[0]] if cast else None
        right.barh(row, posterior, height=0.66, color=colour_of(winner))
        text = ", ".join(cast) if cast else "no labelled image"
        right.annotate(
            text, (posterior, row), xytext=(6, 0), textcoords="offset points", va="center"
        )
    right.set_yticks(rows, [f"c = {c}" for c in example.components])
    right.tick_params(axis="y", length=0)
    right.invert_yaxis()
    right.set_xlim(0, (1.5 if narrow else 1.32) * max(example.posterior))
    right.xaxis.set_major_locator(mpl.ticker.MultipleLocator(0.1))
    right.set_xlabel("q(c|x)")
    right.set_title("five likeliest components, and their votes")
    return fig


@mpl.rc_context(STYLE)
def gap_parts(parts, width=COLUMN):
    """Bars of the soft rule's lead over the published hard rule, split in two, for each n.

    Parameters
    ----------
    parts : DataFrame
        One row a label count, indexed by it: fallback, rest (differences of accuracy).
    """
    fig, ax = panel(width, 240)
    rows = np.arange(len(parts))
    styles = {
        "fallback": ("missing fallback: nearest against none", ORANGE, ""),
        "rest": ("the rest: soft against hard with a fallback", BLUE, "//"),
    }
    left = np.zeros(len(parts))
    for column, (label, colour, hatch) in styles.items():
        widths = 100 * parts[column].to_numpy()
        start = np.where(widths >= 0, left, 0)  # a negative part points left from zero
        ax.barh(rows, widths, left=start, color=colour, hatch=hatch, edgecolor=WHITE, label=label)
        left = left + np.maximum(widths, 0)
    totals = 100 * (parts["fallback"] + parts["rest"])
    for row, end, total in zip(rows, left, totals, strict=True):
        ax.annotate(
            f"{total:+.1f}", (end, row), xytext=(5, 0), textcoords="offset points", va="center"
        )
    ax.axvline(0, color=MUTED, lw=1)
    ax.margins(x=0.12)
    ax.set_yticks(rows, [f"{n} labels" for n in parts.index])
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlabel("soft minus hard as published, points")
    fig.legend(loc="outside lower center", ncols=1)
    return fig


@mpl.rc_context(STYLE)
def reliability_curves(panels, width=COLUMN):
    """Accuracy against confidence, a panel a method and a line a number of labels.

    Parameters
    ----------
    panels : dict, number of labels to {method: DataFrame from `metrics.reliability`}
    """
    curves = {
        n_labels: {name: (t["confidence"], t["accuracy"]) for name, t in methods.items()}
        for n_labels, methods in panels.items()
    }
    return _panels_of_methods(curves, width, "confidence", "accuracy", diagonal=True)


@mpl.rc_context(STYLE)
def accuracy_against_coverage(panels, width=COLUMN):
    """Accuracy of the most confident share, a panel a method and a line a number of labels.

    Parameters
    ----------
    panels : dict, number of labels to {method: (coverage [M], accuracy [M])}
    """
    labels = "share of the images answered", "accuracy of the answers"
    return _panels_of_methods(panels, width, *labels)


def _panels_of_methods(panels, width, x_label, y_label, diagonal=False):
    """Curves {number of labels: {method: (x, y)}}, a panel a method, the others faint in it."""
    methods = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    n_columns = min(len(methods), 2 if is_narrow(width) else 3)
    n_rows = -(-len(methods) // n_columns)
    size = width / INCH, (n_rows * (170 if is_narrow(width) else 215) + 50) / INCH
    fig, axes = plt.subplots(
        n_rows, n_columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    looks = list(zip(panels, (VERMILION, BLUE, MUTED), ("--", "-", ":"), strict=False))
    for ax in axes.flat[len(methods) :]:
        ax.axis("off")
    for ax, method in zip(axes.flat, methods, strict=False):
        if diagonal:
            ax.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=":")
        for curves in panels.values():
            for other, (x, y) in curves.items():
                if other != method:
                    ax.plot(x, y, color=FAINT, lw=1, zorder=1)
        for n_labels, colour, line in looks:
            if method in panels[n_labels]:
                x, y = panels[n_labels][method]
                ax.plot(x, y, line, color=colour, lw=2.2, label=f"{n_labels} labels")
        name = METHODS[method][0]
        ax.set_title(name.replace("graph, smoothed posterior", "graph, smoothed"), fontsize=12.5)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(mpl.ticker.MaxNLocator(3))
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
    fig.supxlabel(x_label, fontsize=13)
    fig.supylabel(y_label, fontsize=13)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return fig


@mpl.rc_context(STYLE)
def verdicts(rows, n_columns=8, narrow_columns=4, width=COLUMN):
    """Images with verdicts, in groups under a heading each.

    Parameters
    ----------
    rows : sequence of (heading, images [n, H, W], captions), n at most `n_columns`
    n_columns, narrow_columns : images a row, and on a phone
    """
    n_columns = narrow_columns if is_narrow(width) else n_columns
    lines = [
        (heading if start == 0 else " ", images[start : start + n_columns], captions[start:])
        for heading, images, captions in rows
        for start in range(0, len(images), n_columns)
    ]
    height = len(lines) * (width / n_columns + 82)
    fig, axes = plt.subplots(
        len(lines), n_columns, figsize=(width / INCH, height / INCH), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for line, (heading, images, captions) in zip(axes, lines, strict=True):
        if heading.strip():
            line[0].annotate(
                heading, (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points",
                weight="bold", in_layout=False,
            )  # fmt: skip
            line[0].set_title(" ", fontsize=16)
        for ax, image, caption in zip(line, images, captions, strict=False):
            ax.axis("on")
            show_image(ax, image)
            ax.set_xlabel(caption, fontsize=12)
    return fig
