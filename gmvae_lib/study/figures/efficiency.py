"""Figures of chapter 7, Figure 3 of the article among them."""

from textwrap import fill

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import (
    FuncFormatter,
    PercentFormatter,
)

from gmvae_lib.errors import InputError
from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    FAINT,
    GREEN,
    GREY,
    INCH,
    METHODS,
    MUTED,
    ORANGE,
    PURPLE,
    STYLE,
    VERMILION,
    WINE,
    is_narrow,
    panel,
    panels,
)
from gmvae_lib.study.metrics import labels_at_accuracy

LABELS_ONLY = ("convolutional net", "xgboost", "mlp", "mlp (article)", "logistic regression")


@mpl.rc_context(STYLE)
def figure_3(summary, n_total, K, target=0.8, width=COLUMN):
    """Accuracy on the unlabelled images against the number of labels, each curve with its name.

    Methods on the labelled images alone have a panel of their own, with soft for comparison.

    Parameters
    ----------
    summary : DataFrame, from `experiments.summarise`
        Any of the methods in `METHODS`.
    n_total : int
        Images in the data set, labelled or not.
    K : int
        Components, marked by a line at n = K.
    target : float
        Accuracy marked by a line.
    """
    unknown = sorted(set(summary["method"]) - set(METHODS))
    if unknown:
        raise InputError(f"summary: found the method {unknown[0]!r}; expected {list(METHODS)}")
    given = [method for method in METHODS if method in set(summary["method"])]
    parts = {
        "from the clusters": [method for method in given if method not in LABELS_ONLY],
        "from the labelled images alone, and soft": [
            method for method in given if method in (*LABELS_ONLY, "soft")
        ],
    }
    if set(given) <= {"soft", *LABELS_ONLY} or not set(given) & set(LABELS_ONLY):
        parts = {"": given}  # one panel has them all
    size = width / INCH, (90 + 320 * len(parts)) / INCH
    fig, axes = plt.subplots(len(parts), 1, figsize=size, sharex=True, squeeze=False)
    last = summary["n_labels"].max()
    for ax, (title, methods) in zip(axes[:, 0], parts.items(), strict=True):
        curves = {}
        for method in methods:
            label, *look = METHODS[method]
            curves[_name(label, width)] = (summary[summary["method"] == method], look)
        _named_curves(ax, curves, last)
        _label_axes(ax, n_total, K, target, first=ax is axes[0, 0], lowest=ax is axes[-1, 0])
        if {"soft", "xgboost"} <= set(methods):
            _bracket(ax, *(summary[summary["method"] == m] for m in ("soft", "xgboost")), target)
        if title:
            ax.annotate(
                fill(title, 24), (0.98, 0.1), xycoords="axes fraction", fontsize=12, ha="right",
                color=MUTED, gid="halo",
            )  # fmt: skip
    return fig


SHORT = {  # names of methods beside a phone's curves
    "graph and neighbours": "graph, neigh- bours",
    "graph, smoothed posterior": "graph, smoothed",
    "convolutional network on the labels alone": "conv. net",
    "XGBoost on pixels": "XGBoost",
    "MLP on pixels": "MLP",
    "logistic regression on pixels": "logistic regr.",
}


def _name(label, width):
    """A method's name in the lines that there is room for."""
    return fill(SHORT.get(label, label), 9) if is_narrow(width) else fill(label, 20)


def _bracket(ax, one, other, target):
    """Below the target's line, from one curve's crossing to the other's: n against n."""
    first, last = (
        labels_at_accuracy(curve["n_labels"], curve["mean"], target) for curve in (one, other)
    )
    if not (np.isfinite(first) and np.isfinite(last)):
        return
    offset = {"textcoords": "offset points", "annotation_clip": False}
    for n in (first, last):
        ax.plot(n, target, "o", ms=6, color=BLACK, zorder=5)
    arrow = {"arrowstyle": "|-|,widthA=0.3,widthB=0.3", "color": BLACK, "lw": 1.2}
    arrow |= {"shrinkA": 0, "shrinkB": 0}
    below = target - 0.05
    ax.annotate("", (last, below), (first, below), arrowprops=arrow)
    ax.annotate(
        f"{first:,.0f} against {last:,.0f}", (np.sqrt(first * last), below), (0, -4), **offset,
        ha="center", va="top", weight="bold", gid="halo", zorder=6,
    )  # fmt: skip


def _named_curves(ax, curves, last):
    """Curves with their bands, each named beside its right end, at ``last`` labels.

    curves : dict of name to (DataFrame of n_labels, mean, low and high; (colour, line, marker)).
    """
    ends = []
    for curve, (colour, line, marker) in curves.values():
        curve = curve.sort_values("n_labels")
        ax.plot(curve["n_labels"], curve["mean"], line, color=colour, marker=marker, ms=4.5)
        ax.fill_between(
            curve["n_labels"], curve["low"], curve["high"], color=colour, alpha=0.15, lw=0
        )
        ends.append((curve["n_labels"].iloc[-1], curve["mean"].iloc[-1], colour))
    lines = min(2, 1 + max(name.count("\n") for name in curves))
    heights = spread([height for _, height, _ in ends], gap=0.015 + 0.05 * lines, top=1.02)
    for name, (n, height, colour), place in zip(curves, ends, heights, strict=True):
        ax.annotate(
            name, (n, height), xytext=(1.6 * last, place), textcoords="data", va="center",
            color=colour, fontsize=12, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 1, "shrinkB": 3,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def _label_axes(ax, n_total, K, target, first=True, lowest=True):
    """Axes of accuracy against the number of labels, their lines, and a second scale on top."""
    ax.set_xscale("log")
    ax.set_ylim(0, 1)
    ax.axhline(target, color=MUTED, lw=1, zorder=0.5)
    ax.axvline(K, color=MUTED, lw=1, ls="--", zorder=0.5)
    ax.annotate(
        f"n = K = {K}", (K, 0.02), xytext=(4, 0), textcoords="offset points", color=MUTED,
        fontsize=12, gid="halo",
    )  # fmt: skip
    ax.annotate(
        f"{target:.0%}", (0.01, target), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", weight="bold",
    )  # fmt: skip
    ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    if lowest:
        ax.set_xlabel("number of labels")
    ax.set_ylabel("accuracy, unlabelled images")
    if first:
        share = ax.secondary_xaxis(
            "top", functions=(lambda n: 100 * n / n_total, lambda s: s * n_total / 100)
        )
        share.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{s:g}"))
        share.set_xlabel("labelled share of the images, %")
        share.spines["top"].set_color(MUTED)
        share.spines["top"].set_visible(True)


MOST_LINES = 7  # that can be told apart, each with its name at its end
FRONT = (  # colour, line, marker
    (WINE, "-", "*"), (BLUE, "-", "o"), (GREEN, "-", "^"), (ORANGE, "--", "s"),
    (VERMILION, "-.", "D"), (PURPLE, ":", "v"), (GREY, ":", "x"),
)  # fmt: skip


@mpl.rc_context(STYLE)
def figure_3_by_model(curves, n_total, K, target=0.8, looks=None, against=None, width=COLUMN):
    """Figure 3 with at most `MOST_LINES` curves, each named at its right end.

    Parameters
    ----------
    curves : dict of str to DataFrame
        For each name its n_labels, mean, low and high. A name may have two lines.
    n_total, K, target : as in `figure_3`
    looks : sequence of int, optional
        For each curve its look, a place in `FRONT`; by default in order.
    against : pair of str, optional
        Names of two curves whose labels at the target a bracket sets side by side.
    """
    if not 1 <= len(curves) <= MOST_LINES:
        raise InputError(f"curves: found {len(curves)}, expected 1 to {MOST_LINES}")
    fig, ax = panel(width, 430)
    looks = range(len(curves)) if looks is None else looks
    last = max(curve["n_labels"].max() for curve in curves.values())
    with_looks = {
        name: (curve, FRONT[look])
        for (name, curve), look in zip(curves.items(), looks, strict=True)
    }
    if is_narrow(width):  # fewer words fit beside the curves
        with_looks = {
            fill(" ".join(name.split()), 13, break_long_words=False): of
            for name, of in with_looks.items()
        }
    _named_curves(ax, with_looks, last)
    _label_axes(ax, n_total, K, target)
    if against is not None:
        _bracket(ax, *(curves[name] for name in against), target)
    return fig


def spread(heights, gap, top):
    """Places for labels, in the order of the heights, at least ``gap`` apart and at most ``top``.

    Examples
    --------
    >>> [round(float(place), 2) for place in spread([0.5, 0.9, 0.94], gap=0.1, top=1.0)]
    [0.5, 0.87, 0.97]
    """
    heights = np.asarray(heights, dtype=float)
    order = np.argsort(heights, kind="stable")
    groups = []  # of labels that touch: [their places' sum less their offsets, number]
    for height in heights[order]:
        groups.append([height, 1])
        while len(groups) > 1:
            (below, m), (above, n) = groups[-2:]
            if above / n - below / m >= gap * (m + n) / 2:
                break
            groups[-2:] = [[below + above, m + n]]
    places = np.concatenate([total / n + gap * (np.arange(n) - (n - 1) / 2) for total, n in groups])
    highest = top - gap * np.arange(len(places))[::-1]
    found = np.empty_like(places)
    found[order] = np.minimum(places, highest)
    return found


@mpl.rc_context(STYLE)
def rivals(summary, groups, counts=(73, 291, 728), width=COLUMN):
    """Accuracy with its interval, a row each method and a panel each number of labels.

    Parameters
    ----------
    summary : DataFrame, from `experiments.summarise`
    groups : dict of str to dict
        For each group its methods: name in the summary to name in the figure, from the top down.
        A method that was not measured at any of the counts has no row. Six groups at most.
    """
    at = summary.set_index(["method", "n_labels"])
    measured = {method for method, n in at.index if n in counts}
    rows = [
        (group, method, label)
        for group, named in groups.items()
        for method, label in named.items()
        if method in measured
    ]
    looks = zip((WINE, BLUE, GREEN, PURPLE, ORANGE, BLACK), "*o^vsD", strict=True)
    look = dict(zip(groups, looks, strict=False))
    if is_narrow(width):
        return _rivals_in_one(at, rows, counts, look, width)
    height = 17 * len(rows) + 110
    fig, axes = panels(len(counts), width, height, sharey=True, sharex=True)
    for ax, n in zip(axes, counts, strict=True):
        for place, (group, method, _) in enumerate(rows):
            if (method, n) in at.index:
                _mean_and_interval(ax, at.loc[(method, n)], place, *look[group])
        ax.set_title(f"{n:,} labels")
        ax.set_xticks([0, 0.5, 1])
    _method_axes(axes[0], [label for *_, label in rows])
    axes[len(counts) // 2].set_xlabel("accuracy on the unlabelled images")
    shown = [group for group in groups if group in {row[0] for row in rows}]
    handles = [
        mpl.lines.Line2D([], [], color=look[g][0], marker=look[g][1], ls="-", lw=1.5) for g in shown
    ]
    fig.legend(handles, shown, loc="outside lower center", ncols=2)
    return fig


def _mean_and_interval(ax, row, place, colour, marker):
    mean, low, high = row[["mean", "low", "high"]]
    if np.isfinite(low):  # a single draw has no interval
        ax.plot([low, high], [place, place], color=colour, lw=1.5)
    ax.plot(mean, place, marker, color=colour, ms=8 if marker == "*" else 5)


def _method_axes(first, labels):
    """Accuracies from 0 to 100 % on axes that are shared, a named row a method."""
    for ax in first.figure.axes:
        ax.set_xlim(0, 1)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.grid(color=FAINT, lw=0.8)
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
    first.set_yticks(range(len(labels)), labels)
    first.set_ylim(len(labels) - 0.3, -0.7)


def _rivals_in_one(at, rows, counts, look, width):
    """The same for a phone: one panel, the groups under headings, a mark a number of labels."""
    lines = []
    for row in rows:
        if not lines or lines[-1][0] != row[0]:
            lines.append((row[0], None, row[0]))
        lines.append(row)
    fig, ax = panel(width, 19 * len(lines) + 90)
    marks = list(zip(counts, (VERMILION, BLUE, BLACK), "o^D", strict=False))
    for place, (_, method, _) in enumerate(lines):
        for n, colour, marker in marks:
            if (method, n) in at.index:
                _mean_and_interval(ax, at.loc[(method, n)], place, colour, marker)
    _method_axes(ax, [label for *_, label in lines])
    for (_, method, _), label in zip(lines, ax.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if method is None else "normal")
    ax.set_xticks([0, 0.5, 1])
    ax.set_xlabel("accuracy")
    handles = [mpl.lines.Line2D([], [], color=c, marker=m, ls="-", lw=1.5) for _, c, m in marks]
    fig.legend(handles, [f"{n} labels" for n in counts], loc="outside upper center", ncols=3)
    return fig


@mpl.rc_context(STYLE)
def gain_by_letter(table, width=COLUMN):
    """Gain in accuracy of each letter with its interval, largest first.

    Parameters
    ----------
    table : DataFrame
        letter, gain, low, high, as from `metrics.per_class_gain`.
    """
    table = table.sort_values("gain", ascending=False)
    gain, low, high = (100 * table[column].to_numpy() for column in ("gain", "low", "high"))
    fig, ax = panel(width, 320)
    ax.bar(table["letter"], gain, color=np.where(gain >= 0, BLUE, VERMILION))
    ax.errorbar(
        np.arange(len(gain)), gain, yerr=[gain - low, high - gain], fmt="none", color=BLACK, lw=1
    )
    ax.margins(x=0.01)
    ax.tick_params(axis="x", length=0)
    ax.axhline(0, color=MUTED, lw=0.8)
    ax.set_xlabel("letter")
    ax.set_ylabel("soft minus hard, points")
    return fig


@mpl.rc_context(STYLE)
def letter_scatter(x, y, letters, x_label, y_label, width=COLUMN):
    """One point a letter, drawn as the letter itself: x [C] against y [C]."""
    fig, ax = panel(width, 330)
    ax.update_datalim(np.column_stack([x, y]))
    ax.autoscale_view()
    for value, height, letter in zip(x, y, letters, strict=True):
        ax.text(value, height, letter, ha="center", va="center", color=BLUE, fontsize=14)
    ax.axhline(0, color=MUTED, lw=0.8)
    ax.margins(0.06)
    ax.set_xlabel(fill(x_label, 36) if is_narrow(width) else x_label)
    ax.set_ylabel(y_label)
    return fig


@mpl.rc_context(STYLE)
def confusion(share, names, written=0.03, width=COLUMN):
    """Which letters are taken for which: a table of errors; on a phone the commonest, as bars.

    Parameters
    ----------
    share : array [C, C]
        Share of the images of letter i (row) that are called j (column); the diagonal is left out.
    names : sequence of str [C]
    written : shares of at least this are written into their cells, in per cent
    """
    errors = np.where(np.eye(len(share), dtype=bool), 0, share)
    large = [(errors[i, j], i, j) for i, j in zip(*np.nonzero(errors >= written), strict=True)]
    if is_narrow(width):
        return _confusion_bars(sorted(large, reverse=True), names, width)
    fig, ax = panel(width, width)
    for i, j in zip(*np.nonzero(errors >= 0.002), strict=True):
        # the square root makes small shares visible
        depth = 0.75 * np.sqrt(errors[i, j] / errors.max())
        cell = mpl.patches.Rectangle((j - 0.5, i - 0.5), 1, 1, fc=BLUE, alpha=depth, lw=0)
        ax.add_patch(cell)
    for error, i, j in large:
        ax.text(j, i, f"{100 * error:.0f}", ha="center", va="center", fontsize=12)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.grid(color=FAINT, lw=0.5)
    ax.set_axisbelow(True)
    ax.set_xlabel("called")
    ax.set_ylabel("is")
    return fig


def _confusion_bars(large, names, width, most=20):
    """Errors (share, is, called), the largest first, as bars that name them."""
    fig, ax = panel(width, 60 + 22 * min(len(large), most))
    rows = range(min(len(large), most))
    bars = ax.barh(rows, [100 * error for error, *_ in large[:most]], color=BLUE, height=0.7)
    ax.bar_label(bars, fmt="%.0f", padding=3)
    ax.set_yticks(rows, [f"{names[i]} called {names[j]}" for _, i, j in large[:most]])
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.margins(x=0.1, y=0.01)
    ax.set_xlabel("% of the letter's images")
    return fig
