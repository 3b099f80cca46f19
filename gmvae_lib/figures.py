"""The book's figures: one function each, from results to a matplotlib Figure.

The figures belong to pyplot, so that ``plt.show()`` shows them in a notebook. White background,
Okabe-Ito colours, and line style or text wherever colour carries meaning.
"""

import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
    ScalarFormatter,
)
from matplotlib.transforms import Bbox
from scipy.spatial.distance import cdist

from gmvae_lib.errors import InputError
from gmvae_lib.metrics import accuracy_at_coverage

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, WINE = "#999999", "#882255"

# 7 inches shrink to a phone's width, so the type is larger than a page would need.
STYLE = {
    "figure.dpi": 150,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "font.size": 11,
    "legend.fontsize": 10,
    "legend.frameon": False,
}
WIDTH = 7.0

# Method of the sweep: name in the legend, colour, line style, marker.
METHODS = {
    "neighbours": ("graph and neighbours", WINE, "-", "*"),
    "smoothed": ("graph, smoothed posterior", WINE, "--", "P"),
    "graph": ("graph", SKY, "-", "P"),
    "soft": ("soft", BLUE, "-", "o"),
    "hard": ("hard", VERMILION, "-", "s"),
    "hard (no fallback)": ("hard, no fallback", ORANGE, "--", "s"),
    "bayes": ("Bayes", GREEN, "-", "^"),
    "xgboost": ("XGBoost on pixels", BLACK, ":", "D"),
    "mlp": ("MLP on pixels", PURPLE, ":", "v"),
    "logistic regression": ("logistic regression on pixels", GREY, ":", "x"),
}


def _show_image(ax, image):
    """Ink on white, whatever the colours around it."""
    ax.imshow(image, cmap="gray_r", vmin=0, vmax=image.max() or 1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color("#cccccc")


@mpl.rc_context(STYLE)
def figure_1(rows):
    """Samples of several components, one row each.

    Parameters
    ----------
    rows : sequence of (caption, images [n, H, W])
        n is the same in every row.
    """
    n_columns = len(rows[0][1])
    fig, axes = plt.subplots(
        2 * len(rows),
        n_columns,
        figsize=(WIDTH, 1.05 * len(rows)),
        squeeze=False,
        height_ratios=[0.45, 1] * len(rows),
    )
    for row, (caption, images) in enumerate(rows):
        for ax in axes[2 * row]:
            ax.axis("off")
        text = axes[2 * row, 0].text(0, 0.1, caption, transform=axes[2 * row, 0].transAxes)
        text.set_in_layout(False)  # it runs over the columns to its right
        for ax, image in zip(axes[2 * row + 1], images, strict=True):
            _show_image(ax, image)
    return fig


@mpl.rc_context(STYLE)
def image_grid(images, titles, n_columns=10):
    """Images [n, H, W], or colour [n, H, W, 3], in a grid, each with its title above."""
    n_rows = -(-len(images) // n_columns)
    fig, axes = plt.subplots(
        n_rows, n_columns, figsize=(WIDTH, WIDTH / n_columns * 1.3 * n_rows), squeeze=False
    )
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        _show_image(ax, image)
        ax.set_title(title, fontsize=10, pad=2)
    return fig


def _label_apart(ax, anchors, texts, offsets, avoid=(), **style):
    """A text at each anchor, none over another.

    Each is moved by the first of `offsets` (in points; text to the right starts there, text to the
    left ends there) at which it stays inside the axes and covers
    neither a text placed before it nor a point of `avoid`; where there is none it is left out. So
    the more important come first, and all limits of the axes must be set before.
    """
    ax.figure.draw_without_rendering()  # lays the figure out, so that extents are the final ones
    renderer, inside = ax.figure.canvas.get_renderer(), ax.get_window_extent()
    taken = [
        Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in ax.transData.transform(avoid)
    ]
    for anchor, text in zip(anchors, texts, strict=True):
        label = ax.annotate(text, anchor, xytext=(0, 0), textcoords="offset points", **style)
        label.set_in_layout(False)
        for offset in offsets:
            label.set_position(offset)
            label.set_horizontalalignment(("center", "left", "right")[int(np.sign(offset[0]))])
            box = label.get_window_extent(renderer)
            within = inside.containsx(box.x1) and inside.containsx(box.x0)
            within &= inside.containsy(box.y1) and inside.containsy(box.y0)
            if within and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
        else:
            label.remove()


@mpl.rc_context(STYLE)
def purity_against_weight(table, impure=0.7):
    """Purity of each component against its weight, the impure ones named.

    Parameters
    ----------
    table : DataFrame, from `styles.style_table`
    impure : float
        Components below this purity are named, by number and commonest letters.
    """
    used = table[table["size"] > 0]
    points = used[["weight", "purity"]].to_numpy()
    mixed = used["purity"] < impure
    fig, ax = plt.subplots(figsize=(WIDTH, 5))
    for kind, colour, marker in ((~mixed, BLUE, "o"), (mixed, VERMILION, "D")):
        ax.scatter(*points[kind].T, s=26, color=colour, marker=marker, alpha=0.8, edgecolors="none")
    ax.axvline(1 / len(table), color=BLACK, lw=1, ls="--")
    ax.axhline(impure, color=GREY, lw=0.8, ls=":")
    ax.set_xlim(left=0)
    ax.margins(x=0.08)
    ax.set_ylim(max(0, points[:, 1].min() - 0.06), 1.02)
    ax.annotate(
        "equal weights, 1/K",
        (1 / len(table), 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        fontsize=10,
    )
    ax.set_xlabel("weight of the component (mean of q)")
    ax.set_ylabel("purity")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    named = used[mixed].sort_values("purity")
    texts = [
        f"{row.component}: {' '.join(part.split()[0] for part in row.mix.split(', '))}"
        for row in named.itertuples()
    ]
    offsets = [(6, -3.5), (-6, -3.5), (0, 6), (0, -14), (5, 5), (5, -13), (-5, 5), (-5, -13)]
    anchors = named[["weight", "purity"]].to_numpy()
    halo = [withStroke(linewidth=2, foreground="white")]  # over the lines
    _label_apart(ax, anchors, texts, offsets, avoid=points, fontsize=9, path_effects=halo)
    return fig


@mpl.rc_context(STYLE)
def components_per_letter(counts):
    """How many components each letter is the commonest in.

    Parameters
    ----------
    counts : Series, letter to number of components
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.5))
    bars = ax.bar(counts.index, counts.to_numpy(), color=BLUE)
    ax.bar_label(bars, fontsize=10)
    ax.set_xlabel("letter")
    ax.set_ylabel("components")
    return fig


@mpl.rc_context(STYLE)
def sample_sheet(captions, samples, n_columns=5):
    """Samples of many components: a strip each, below its caption.

    Parameters
    ----------
    captions : sequence of str, [K]
    samples : array [K, n, H, W]
    """
    n_rows, n = -(-len(samples) // n_columns), len(samples[0])
    greys = mpl.colormaps["gray_r"].resampled(16)  # more would only make a larger file
    fig, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(WIDTH, n_rows * (WIDTH / n_columns / n + 0.27)),
        dpi=100,
        squeeze=False,
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, caption, strip in zip(axes.flat, captions, samples, strict=False):
        ax.imshow(np.hstack(strip), cmap=greys, vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(caption, fontsize=10, pad=2, loc="left")
    return fig


@mpl.rc_context(STYLE)
def real_and_generated(rows):
    """Images of several components, to the left, beside samples of the same, to the right.

    Parameters
    ----------
    rows : sequence of (caption, images [n, H, W], samples [n, H, W])
        n is the same in every row.
    """
    fig, axes = plt.subplots(len(rows), 2, figsize=(WIDTH, 0.95 * len(rows) + 0.3), squeeze=False)
    for pair, (caption, *halves) in zip(axes, rows, strict=True):
        for ax, pictures in zip(pair, halves, strict=True):
            strip = np.hstack([picture / (picture.max() or 1) for picture in pictures])
            _show_image(ax, strip)
        text = pair[0].text(0, 1.06, caption, transform=pair[0].transAxes, va="bottom")
        text.set_in_layout(False)  # it runs over the column to its right
    for ax, head in zip(axes[0], ("images of the data set", "samples of the model"), strict=True):
        ax.set_title(head, pad=26)
    return fig


@mpl.rc_context(STYLE)
def originals_and_reconstructions(originals, reconstructions, names, n_columns=13):
    """Pairs of an image, above, and its reconstruction, below: both [N, H, W], with N names."""
    n_blocks = -(-len(originals) // n_columns)
    fig, axes = plt.subplots(
        2 * n_blocks, n_columns, figsize=(WIDTH, 1.3 * n_blocks), squeeze=False
    )
    fig.get_layout_engine().set(h_pad=0.02, hspace=0)
    for ax in axes.flat:
        ax.axis("off")
    for i, (name, *pair) in enumerate(zip(names, originals, reconstructions, strict=True)):
        block, column = divmod(i, n_columns)
        for ax, picture in zip(axes[2 * block : 2 * block + 2, column], pair, strict=True):
            ax.axis("on")
            _show_image(ax, picture)
        axes[2 * block, column].set_title(name, pad=3)
    return fig


@mpl.rc_context(STYLE)
def latent_map(points, letters, groups):
    """A map of images: points in colour, and the letter of each group at its median.

    Parameters
    ----------
    points : array [M, 2]
    letters : sequence of str, [M]
        True letters. The colours repeat; the letters written on the map tell them apart.
    groups : int array [M]
        Groups with a label each, their commonest letter. The largest come first, and one that would
        cover another is left out.
    """
    letters, groups = np.asarray(letters), np.asarray(groups)
    names, letter = np.unique(letters, return_inverse=True)
    palette = np.array([BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, GREY])
    fig, ax = plt.subplots(figsize=(WIDTH, 6.2), dpi=100)  # thousands of points make large files
    ax.scatter(*points.T, s=7, c=palette[letter % len(palette)], alpha=0.6, edgecolors="none")
    ax.axis("off")  # neither direction has a meaning or a unit
    # a few far points must not squeeze the rest
    low, high = np.percentile(points, [0.2, 99.8], axis=0)
    margin = 0.04 * (high - low)
    ax.set_xlim(low[0] - margin[0], high[0] + margin[0])
    ax.set_ylim(low[1] - margin[1], high[1] + margin[1])
    found, sizes = np.unique(groups, return_counts=True)
    largest = found[np.argsort(-sizes, kind="stable")]
    anchors = [np.median(points[groups == group], axis=0) for group in largest]
    texts = [names[np.bincount(letter[groups == group]).argmax()] for group in largest]
    _label_apart(
        ax,
        anchors,
        texts,
        offsets=[(0, 0)],
        va="center",
        fontsize=13,
        weight="bold",
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )
    return fig


@mpl.rc_context(STYLE)
def distances_between_means(distance, letters):
    """Distances between components as a grid, components of one letter side by side.

    Parameters
    ----------
    distance : array [K, K]
    letters : sequence of str, [K]
        The letter of each component; the order within a letter is the given one.
    """
    letters = np.asarray(letters)
    order = np.argsort(letters, kind="stable")
    names, counts = np.unique(letters, return_counts=True)
    ends = np.cumsum(counts)
    fig, ax = plt.subplots(figsize=(WIDTH, 6.2))
    grid = distance[np.ix_(order, order)].astype(float)
    np.fill_diagonal(grid, np.nan)  # blank: its zeros would take half of the colours
    image = ax.imshow(grid, cmap="cividis", interpolation="nearest")
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="white", lw=0.5)
        ax.axvline(end - 0.5, color="white", lw=0.5)
    middles = ends - counts / 2 - 0.5
    # every second letter further out: a letter with one component leaves no room for its neighbours
    ax.set_xticks(middles, ["\n" * (i % 2) + name for i, name in enumerate(names)])
    ax.set_yticks(middles, [name + "   " * (i % 2) for i, name in enumerate(names)])
    ax.tick_params(length=0)
    fig.colorbar(image, ax=ax, shrink=0.8, label="distance between the means")
    return fig


@mpl.rc_context(STYLE)
def hesitation_by_letter(table):
    """Mean entropy of q(c|x) of each letter, in two parts, the most hesitant letter first.

    Parameters
    ----------
    table : DataFrame
        One row a letter, indexed by it: between, within (nats). Their sum is the entropy.
    """
    table = table.sort_values("between", ascending=False)
    fig, ax = plt.subplots(figsize=(WIDTH, 3.8))
    ax.bar(table.index, table["between"], color=VERMILION, label="between letters")
    ax.bar(
        table.index,
        table["within"],
        bottom=table["between"],
        color=SKY,
        hatch="//",
        edgecolor="white",
        lw=0.3,
        label="between components of one letter",
    )
    ax.set_xlabel("true letter")
    ax.set_ylabel("entropy of q(c|x), nats")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


@mpl.rc_context(STYLE)
def figure_2(example, picture, class_names):
    """One image on which the soft and the hard rule differ.

    Parameters
    ----------
    example : decoding.Disagreement
    picture : array [H, W]
        The image, or what stands in for it.
    class_names : sequence of str
    """

    def name(label):
        return str(class_names[label])

    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4), width_ratios=[1, 2])
    _show_image(left, np.asarray(picture))
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
def figure_3(summary, n_total, K, target=0.8):
    """Accuracy on the unlabelled images against the number of labels.

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
    fig, ax = plt.subplots(figsize=(WIDTH, 5.6))
    for method, (label, colour, line, marker) in METHODS.items():
        curve = summary[summary["method"] == method].sort_values("n_labels")
        if curve.empty:
            continue
        ax.plot(
            curve["n_labels"], curve["mean"], line, color=colour, marker=marker, ms=5, label=label
        )
        ax.fill_between(curve["n_labels"], curve["low"], curve["high"], color=colour, alpha=0.15)
    ax.set_xscale("log")
    ax.set_ylim(0, 1)
    ax.axhline(target, color=BLACK, lw=0.8)
    ax.axvline(K, color=BLACK, lw=0.8, ls="--")
    ax.annotate(
        f"{target:.0%}",
        (1, target),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
    )
    ax.annotate(f"n = K = {K}", (K, 0.02), xytext=(4, 0), textcoords="offset points")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("number of labels")
    ax.set_ylabel("accuracy on the unlabelled images")
    share = ax.secondary_xaxis(
        "top", functions=(lambda n: 100 * n / n_total, lambda s: s * n_total / 100)
    )
    share.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{s:g}"))
    share.set_xlabel("labelled share of the images, %")
    share.spines["top"].set_visible(True)
    fig.legend(loc="outside lower center", ncols=2)
    return fig


@mpl.rc_context(STYLE)
def rivals(summary, groups, counts=(73, 291, 728)):
    """Accuracy with its interval, a row each method and a panel each number of labels.

    Parameters
    ----------
    summary : DataFrame, from `experiments.summarise`
    groups : dict of str to dict
        For each group its methods: name in the summary to name in the figure, from the top down.
        A method that was not measured at any of the counts has no row.
    """
    at = summary.set_index(["method", "n_labels"])
    measured = {method for method, n in at.index if n in counts}
    rows = [
        (group, method, label)
        for group, named in groups.items()
        for method, label in named.items()
        if method in measured
    ]
    fig, axes = plt.subplots(
        1, len(counts), figsize=(WIDTH, 1.2 + 0.23 * len(rows)), sharey=True, squeeze=False
    )
    look = dict(zip(groups, zip((WINE, BLUE, ORANGE, BLACK), "*osD", strict=True), strict=False))
    for ax, n in zip(axes[0], counts, strict=True):
        for place, (group, method, _) in enumerate(rows):
            if (method, n) in at.index:
                mean, low, high = at.loc[(method, n), ["mean", "low", "high"]]
                colour, marker = look[group]
                ax.plot([low, high], [place, place], color=colour, lw=1.5)
                ax.plot(mean, place, marker, color=colour, ms=8 if marker == "*" else 5)
        ax.set_title(f"{n:,} labels", fontsize=11)
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.tick_params(labelsize=9)
        ax.grid(axis="y", color="#e6e6e6", lw=0.8)
        ax.set_axisbelow(True)
    axes[0, 0].set_yticks(range(len(rows)), [label for *_, label in rows], fontsize=9)
    axes[0, 0].invert_yaxis()
    axes[0, len(counts) // 2].set_xlabel("accuracy on the unlabelled images")
    shown = [group for group in groups if group in {row[0] for row in rows}]
    handles = [
        mpl.lines.Line2D([], [], color=look[g][0], marker=look[g][1], ls="-", lw=1.5) for g in shown
    ]
    fig.legend(handles, shown, loc="outside lower center", ncols=2)
    return fig


@mpl.rc_context(STYLE)
def gain_by_letter(table):
    """Gain in accuracy of each letter with its interval, largest first.

    Parameters
    ----------
    table : DataFrame
        letter, gain, low, high, as from `metrics.per_class_gain`.
    """
    table = table.sort_values("gain", ascending=False)
    gain, low, high = (100 * table[column].to_numpy() for column in ("gain", "low", "high"))
    fig, ax = plt.subplots(figsize=(WIDTH, 4))
    ax.bar(table["letter"], gain, color=np.where(gain >= 0, BLUE, VERMILION))
    ax.errorbar(
        np.arange(len(gain)), gain, yerr=[gain - low, high - gain], fmt="none", color=BLACK, lw=1
    )
    ax.axhline(0, color=BLACK, lw=0.8)
    ax.set_xlabel("letter")
    ax.set_ylabel("soft minus hard, points")
    return fig


@mpl.rc_context(STYLE)
def letter_scatter(x, y, letters, x_label, y_label):
    """One point a letter, drawn as the letter itself: x [C] against y [C]."""
    fig, ax = plt.subplots(figsize=(WIDTH, 4.2))
    ax.scatter(x, y, s=0)  # invisible: sets the limits for the letters
    for value, height, letter in zip(x, y, letters, strict=True):
        ax.text(value, height, letter, ha="center", va="center", color=BLUE, fontsize=12)
    ax.axhline(0, color=BLACK, lw=0.8)
    ax.margins(0.06)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    return fig


@mpl.rc_context(STYLE)
def confusion(share, names, written=0.03):
    """Which letters are taken for which: a table of errors.

    Parameters
    ----------
    share : array [C, C]
        Share of the images of letter i (row) that are called j (column); the diagonal is left out.
    names : sequence of str [C]
    written : shares from here on are written into their place, in per cent
    """
    errors = np.where(np.eye(len(share), dtype=bool), 0, share)
    fig, ax = plt.subplots(figsize=(WIDTH, WIDTH))
    ax.imshow(np.sqrt(errors), cmap="Blues", vmin=0)  # the root shows small shares, too
    middle = np.sqrt(errors.max()) / 2
    for i, j in zip(*np.nonzero(errors >= written), strict=True):
        colour = "white" if np.sqrt(errors[i, j]) > middle else BLACK
        text = f"{100 * errors[i, j]:.0f}"
        ax.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    ax.set_xticks(range(len(names)), names)
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0)
    ax.set_xlabel("called")
    ax.set_ylabel("is")
    return fig


# ------------------------------------------------------------------ letters, latent space, bounds


@mpl.rc_context(STYLE)
def letter_sheet(images, n=3, seed=0):
    """Letters of every class, n capitals above n small letters each.

    Parameters
    ----------
    images : ImageSet
        With labels. Where `extra` has no "case" (1 upper, 2 lower), 2n letters of either.
    n : int
        Rows of each case; a class with fewer such images leaves the rest of its column empty.
    seed : int or numpy.random.Generator
        Which letters are shown.
    """
    if images.labels is None:
        raise InputError("images: found no labels; expected an ImageSet that has them")
    rng = np.random.default_rng(seed)
    case = images.extra.get("case")
    every = np.ones(len(images), bool)
    kinds = [("", every, 2 * n)] if case is None else [("A", case == 1, n), ("a", case == 2, n)]
    n_classes, (height, width) = len(images.class_names), images.images.shape[1:]
    n_columns = min(13, n_classes)
    n_blocks = -(-n_classes // n_columns)
    ratio = 2 * n * n_blocks * height / (n_columns * width)
    fig, axes = plt.subplots(
        n_blocks, 1, figsize=(WIDTH, WIDTH * ratio + 0.4 * n_blocks), squeeze=False
    )
    for block, ax in enumerate(axes[:, 0]):
        classes = range(block * n_columns, min((block + 1) * n_columns, n_classes))
        sheet = np.zeros((2 * n, height, n_columns, width), np.uint8)
        for column, label in enumerate(classes):
            row = 0
            for _, of_case, n_rows in kinds:
                found = np.flatnonzero(of_case & (images.labels == label))
                drawn = rng.permutation(found)[:n_rows]
                sheet[row : row + len(drawn), :, column] = images.images[drawn]
                row += n_rows
        ax.imshow(sheet.reshape(2 * n * height, -1), cmap="gray_r", interpolation="nearest")
        ax.set_xticks(
            (np.arange(len(classes)) + 0.5) * width, [images.class_names[i] for i in classes]
        )
        ax.xaxis.tick_top()
        ax.set_yticks([])
        if case is not None:
            middles = np.array([0.5, 1.5]) * n * height
            ax.set_yticks(middles, ["upper", "lower"], rotation=90, va="center")
            ax.axhline(n * height - 0.5, color=GREY, lw=0.8)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
    return fig


@mpl.rc_context(STYLE)
def letter_counts(counts):
    """Stacked bars of how many images each letter has.

    Parameters
    ----------
    counts : DataFrame
        One row a letter, one column a kind (such as upper and lower case).
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 4))
    bottom = np.zeros(len(counts))
    styles = zip(counts.columns, (BLUE, ORANGE, "#cccccc"), ("", "//", ""), strict=False)
    for kind, colour, hatch in styles:
        ax.bar(
            counts.index,
            counts[kind],
            bottom=bottom,
            label=kind,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            lw=0.3,
        )
        bottom += counts[kind].to_numpy()
    ax.set_xlabel("letter")
    ax.set_ylabel("images")
    fig.legend(loc="outside lower center", ncols=len(counts.columns))
    return fig


@mpl.rc_context(STYLE)
def look_alikes(images, pairs):
    """For each pair of letters the two images that differ least (Euclidean, in pixels).

    Parameters
    ----------
    images : ImageSet
        With labels.
    pairs : sequence of (str, str)
        Class names.
    """
    pixels = images.pixels()
    fig, axes = plt.subplots(2, len(pairs), figsize=(WIDTH, 3.2), squeeze=False)
    for column, pair in zip(axes.T, pairs, strict=True):
        members = [np.flatnonzero(images.labels == images.class_names.index(c)) for c in pair]
        distance = cdist(*(pixels[index] for index in members), "sqeuclidean")
        nearest = np.unravel_index(distance.argmin(), distance.shape)
        for ax, letter, index, i in zip(column, pair, members, nearest, strict=True):
            _show_image(ax, images.images[index[i]])
            ax.set_title(letter, pad=3)
    return fig


@mpl.rc_context(STYLE)
def latent_clouds(panels, letters):
    """Two-dimensional latent spaces side by side: images as letters, components as ellipses.

    Parameters
    ----------
    panels : sequence of (title, z [N, 2], prior_mean [K, 2], prior_std [K, 2])
        z is the mean of q(z|x); an ellipse is two standard deviations of p(z|c).
    letters : sequence of str, [N]
        The true letter of each image.
    """
    letters = np.asarray(letters)
    colours = (BLUE, VERMILION, GREEN, PURPLE, BLACK, ORANGE, SKY, GREY)
    fig, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 4.2), squeeze=False)
    for ax, (title, z, mean, std) in zip(axes[0], panels, strict=True):
        for colour, letter in zip(colours, np.unique(letters), strict=False):
            ax.scatter(
                *z[letters == letter].T, s=22, color=colour, marker=f"${letter}$", lw=0.2, alpha=0.6
            )
        for centre, spread in zip(mean, std, strict=True):
            ax.add_patch(Ellipse(centre, *(4 * spread), fill=False, ec=BLACK, lw=1.2))
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_title(title)
        ax.set_xlabel("z₁")
        ax.set_xticks([])
        ax.set_yticks([])
    axes[0, 0].set_ylabel("z₂")
    return fig


@mpl.rc_context(STYLE)
def bound_gaps(curves, n_samples, gaps):
    """How far bounds stay under log p(x), in nats, as importance sampling uses more samples.

    Parameters
    ----------
    curves : array [I, S]
        log p(x) minus the importance-weighted bound, for I images and the S counts in `n_samples`.
    n_samples : sequence of int, [S]
    gaps : array [I]
        log p(x) minus the ELBO.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 4))
    colours = (BLUE, VERMILION, GREEN, PURPLE, BLACK, ORANGE)
    markers = "osD^vx"
    for i, (curve, gap) in enumerate(zip(curves, gaps, strict=True)):
        style = {"color": colours[i % 6], "marker": markers[i % 6]}
        ax.plot(n_samples, curve, label=f"image {i + 1}", **style)
        ax.axhline(gap, color=colours[i % 6], lw=0.8, ls=":")
    ax.axhline(0, color=BLACK, lw=0.8)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.set_xlabel("samples of (c, z)")
    ax.set_ylabel("log p(x) minus the bound, nats")
    ax.legend()
    return fig


@mpl.rc_context(STYLE)
def coverage_curves(curves, marks=(), confidence=0.95):
    """Probability that every cluster has a label, against the number of labels.

    Parameters
    ----------
    curves : dict of str to (n_labels, probabilities)
    marks : sequence of (n_labels, text)
        Vertical lines.
    confidence : float
        A horizontal line.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 4.2))
    styles = zip((BLUE, VERMILION, GREEN), ("-", "--", ":"), strict=True)
    for (name, (n_labels, probability)), (colour, line) in zip(
        curves.items(), styles, strict=False
    ):
        ax.plot(n_labels, probability, line, color=colour, lw=2, label=name)
    for n_labels, text in marks:
        ax.axvline(n_labels, color=GREY, lw=0.8)
        ax.annotate(
            text,
            (n_labels, 0.66),
            xytext=(-3, 0),
            textcoords="offset points",
            rotation=90,
            ha="right",
            va="center",
        )
    ax.axhline(confidence, color=BLACK, lw=0.8)
    ax.annotate(
        f"{confidence:.0%}",
        (1, confidence),
        xycoords=("axes fraction", "data"),
        xytext=(-2, -13),
        textcoords="offset points",
        ha="right",
    )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("number of labels")
    ax.set_ylabel("P(every cluster has a label)")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


@mpl.rc_context(STYLE)
def cluster_sizes(weights):
    """Shares of the clusters, largest first, beside equal shares."""
    weights = np.sort(weights)[::-1]
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
    ax.bar(np.arange(1, len(weights) + 1), weights, width=0.9, color=BLUE)
    ax.axhline(1 / len(weights), color=BLACK, lw=1, ls="--")
    ax.annotate(
        "equal shares",
        (1, 1 / len(weights)),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 4),
        textcoords="offset points",
        ha="right",
    )
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    ax.set_xlabel("clusters, largest first")
    ax.set_ylabel("share of the images")
    return fig


@mpl.rc_context(STYLE)
def missing_mass_and_coverage(n_labels, reached, covered):
    """Share of images in labelled clusters, above the probability that all clusters are labelled.

    Parameters
    ----------
    n_labels, reached, covered : arrays [M]
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 4.2))
    ax.plot(n_labels, reached, color=BLUE, lw=2, label="images whose cluster has a label")
    ax.plot(n_labels, covered, "--", color=VERMILION, lw=2, label="P(every cluster has a label)")
    ax.fill_between(n_labels, covered, reached, color=SKY, alpha=0.15)
    ax.set_xscale("log")
    ax.set_ylim(0, 1.02)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("number of labels")
    fig.legend(loc="outside lower center", ncols=1)
    return fig


@mpl.rc_context(STYLE)
def predicted_and_measured(summary, predicted):
    """Measured accuracies with their intervals, over the curves that the cluster table predicts.

    Parameters
    ----------
    summary : DataFrame, from `experiments.summarise`
    predicted : DataFrame
        One row a label count, indexed by it; one column a method of `METHODS`.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 5))
    for method in predicted.columns:
        label, colour, line, marker = METHODS[method]
        ax.plot(predicted.index, predicted[method], line, color=colour, lw=1.5)
        points = summary[summary["method"] == method].sort_values("n_labels")
        centre, low, high = (points[column].to_numpy() for column in ("mean", "low", "high"))
        ax.errorbar(
            points["n_labels"],
            centre,
            yerr=[centre - low, high - centre],
            fmt=marker,
            color=colour,
            ms=5,
            capsize=2,
            label=label,
        )
    ax.set_xscale("log")
    ax.set_ylim(0, 1)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel("number of labels")
    ax.set_ylabel("accuracy")
    fig.legend(loc="outside lower center", ncols=3)
    return fig


@mpl.rc_context(STYLE)
def training_curves(history, K):
    """The course of a training: ELBO, mutual information and components in use.

    Parameters
    ----------
    history : sequence of dict
        A run's, one dict an epoch; what a training did not have is left out.
    K : int
        Components, marked in the last panel.
    """
    import pandas as pd

    panels = {
        "elbo": ("ELBO, nats an image", BLUE),
        "mutual_information": ("mutual information, nats", VERMILION),
        "components_in_batch": ("components in use", GREEN),
    }
    table = pd.DataFrame(history)
    panels = {name: look for name, look in panels.items() if name in table}
    fig, axes = plt.subplots(
        len(panels), 1, figsize=(WIDTH, 1.9 * len(panels)), sharex=True, squeeze=False
    )
    for ax, (name, (label, colour)) in zip(axes[:, 0], panels.items(), strict=True):
        known = table.dropna(subset=[name])  # an epoch has only the terms it trained by
        ax.plot(known["epoch"], known[name], "-o", color=colour, ms=3)
        ax.set_title(label, loc="left")
        if name == "components_in_batch":
            ax.axhline(K, color=BLACK, lw=0.8, ls="--")
            ax.annotate(
                f"K = {K}", (table["epoch"].iloc[0], K), xytext=(0, -12),
                textcoords="offset points",
            )  # fmt: skip
        if "mutual_information" in panels and len(known) < len(table):
            last = table["mutual_information"].last_valid_index()
            ax.axvline(table["epoch"][last] + 0.5, color=GREY, lw=0.8, ls=":")
    axes[-1, 0].set_xlabel("epoch")
    axes[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    return fig


@mpl.rc_context(STYLE)
def chosen_against_random(chosen, random, K):
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
    fig, axes = plt.subplots(1, len(methods), figsize=(WIDTH, 4), sharey=True, squeeze=False)
    for ax, method in zip(axes[0], methods, strict=True):
        name, colour, _, marker = METHODS[method]
        curve = chosen[chosen["method"] == method].sort_values("n_labels")
        ax.plot(curve["n_labels"], curve["accuracy"], color=colour, marker=marker, ms=4)
        band = random[random["method"] == method].sort_values("n_labels")
        ax.plot(band["n_labels"], band["mean"], "--", color=colour)
        ax.fill_between(band["n_labels"], band["low"], band["high"], color=colour, alpha=0.2)
        ax.set_title(name)
        ax.set_xscale("log")
        ax.axvline(K, color=BLACK, lw=0.8, ls=":")
        ticks = [1, 10, K]
        ax.set_xticks(ticks, map(str, ticks))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    axes[0, 0].set_ylabel("accuracy on the images not labelled")
    axes[0, len(methods) // 2].set_xlabel("number of labels")
    styles = [mpl.lines.Line2D([], [], color=BLACK, ls=ls) for ls in ("-", "--")]
    fig.legend(styles, ["chosen", "drawn at random"], loc="outside lower center", ncols=2)
    return fig


@mpl.rc_context(STYLE)
def rules_of_choice(table):
    """Accuracy against the number of labels for each rule of choosing them, five at most.

    Parameters
    ----------
    table : DataFrame
        rule, n_labels, accuracy; one row or, for the mean and its spread, one a model seed.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 4.2))
    colours, lines = (WINE, ORANGE, BLUE, GREEN, BLACK), ("-", "--", "-.", ":", "--")
    for i, (rule, rows) in enumerate(table.groupby("rule", sort=False)):
        accuracy = rows.groupby("n_labels")["accuracy"]
        mean = accuracy.mean()
        ax.plot(mean.index, mean, lines[i], marker="o^sDv"[i], color=colours[i], label=rule)
        ax.fill_between(mean.index, accuracy.min(), accuracy.max(), color=colours[i], alpha=0.12)
    ax.set_xscale("log")
    counts = sorted(table["n_labels"].unique())
    ax.set_xticks(counts, map(str, counts))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("number of labels")
    ax.set_ylabel("accuracy on the images not labelled")
    ax.legend(loc="lower right")
    return fig


@mpl.rc_context(STYLE)
def accuracy_of_the_confident(confidence, correct):
    """Accuracy of the most confident share of predictions, against that share.

    Parameters
    ----------
    confidence : array [N]
    correct : bool array [N]
    """
    coverage, accuracy = accuracy_at_coverage(confidence, correct)
    kept = coverage >= 0.05  # the first few images say nothing
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    ax.plot(coverage[kept], accuracy[kept], color=BLUE)
    ax.axhline(accuracy[-1], color=BLACK, lw=0.8, ls="--")
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_xlabel("share of the images kept, most confident first")
    ax.set_ylabel("accuracy of those kept")
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
            _show_image(ax, image)
            ax.set_xlabel(caption, fontsize=10)
    return fig


@mpl.rc_context(STYLE)
def criterion_against_accuracy(table, accuracy="graph 291"):
    """What is known without labels against what labels then show, a point for each training.

    Parameters
    ----------
    table : DataFrame
        Rows of results/studies.csv: study, variant, agreement, elbo and the column `accuracy`.
    """
    table = table.dropna(subset=["agreement", accuracy])
    if table.empty:
        raise InputError(f"table: found no row with agreement and {accuracy}; expected some")
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), sharey=True)
    kinds = {"ablation": ("ablation", BLUE, "o"), "seeds": ("recipe, each seed", VERMILION, "s")}
    for ax, criterion, label in zip(
        axes,
        ("agreement", "elbo"),
        ("agreement of two views, nats", "ELBO, nats an image"),
        strict=True,
    ):
        for study, (name, colour, marker) in kinds.items():
            rows = table[table["study"] == study]
            ax.scatter(
                rows[criterion], rows[accuracy], color=colour, marker=marker, label=name, alpha=0.8
            )
        ax.set_xlabel(label)
    axes[0].set_ylabel("accuracy at 291 labels")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].legend(loc="upper left")
    return fig


@mpl.rc_context(STYLE)
def grid_of_components(table):
    """The grid search over K: purity and agreement against K; accuracy against n for each K.

    Parameters
    ----------
    table : DataFrame
        From `studies.component_grid`.
    """
    if table.empty:
        raise InputError("table: found no row of the study K; expected one for each K")
    table = table.sort_values("K")
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 4.2))
    left.plot(table["K"], table["purity"], "o-", color=BLUE, label="purity")
    left.plot(
        table["K"], table["agreement"] / np.log(table["K"]), "s--", color=ORANGE,
        label="agreement / log K",
    )  # fmt: skip
    left.set_xscale("log")
    left.set_xticks(table["K"], [f"{K}" for K in table["K"]])
    left.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    left.set_xlabel("components K")
    left.yaxis.set_major_formatter(PercentFormatter(1))
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    counts = sorted(int(name.split()[1]) for name in table.columns if name.startswith("graph "))
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(table)))
    markers = itertools.cycle("osD^vP")
    for (_, row), colour in zip(table.iterrows(), colours, strict=True):
        right.plot(
            counts, [row[f"graph {n}"] for n in counts], color=colour, marker=next(markers),
            label=f"K = {row['K']}",
        )  # fmt: skip
    right.set_xscale("log")
    right.set_xticks(counts, [f"{n}" for n in counts])
    right.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    right.set_xlabel("labels")
    right.set_ylabel("accuracy, graph decoder")
    right.yaxis.set_major_formatter(PercentFormatter(1))
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return fig


@mpl.rc_context(STYLE)
def model_seeds(table, chosen, counts=(73, 291, 728), decoder="neighbours"):
    """Accuracy of a decoder for each model seed, the published one marked.

    Parameters
    ----------
    table : DataFrame
        The rows of the study "seeds" of results/studies.csv.
    chosen : int
        The seed that was published.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
    for n, colour, marker in zip(counts, (ORANGE, BLUE, GREEN), "sov", strict=True):
        column = f"{decoder} {n}"
        ax.plot(table["seed"], table[column], marker, color=colour, ms=8, label=f"{n} labels")
        ax.axhline(table[column].median(), color=colour, lw=0.8, ls="--")
    ax.axvline(chosen, color=GREY, lw=10, alpha=0.3, zorder=0)
    ax.set_xticks(table["seed"])
    ax.set_xlabel("model seed (the grey one is published)")
    ax.set_ylabel("accuracy")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig


@mpl.rc_context(STYLE)
def growth(rows):
    """Time and memory against what grows, both axes logarithmic, with the fitted exponents.

    Parameters
    ----------
    rows : list of dict
        The rows of results/benchmarks.json that benchmarks/growth.py measured: `task`, `variable`,
        `measured` ("seconds" or "bytes"), `value` (the exponent) and `points`.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.6), sharex=True)
    colours = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK, WINE, GREY)
    scales = {"seconds": 1.0, "bytes": 1e-6}
    for ax, (measured, scale) in zip(axes, scales.items(), strict=True):
        ends = []
        for task, colour, marker in zip(tasks, colours, itertools.cycle("osD^vP"), strict=False):
            row = next(r for r in rows if (r["task"], r["measured"]) == (task, measured))
            points = sorted(row["points"], key=lambda point: point["size"])
            sizes = np.array([point["size"] for point in points])
            ax.plot(
                sizes / sizes[0], [point[measured] * scale for point in points],
                color=colour, marker=marker, ms=5,
                label=f"{task.replace('_', ' ')} ({row['variable']})",
            )  # fmt: skip
            largest = sizes[-1] / sizes[0]
            ends.append((points[-1][measured] * scale, f"{row['value']:.2f}", colour))
        ax.set_xscale("log")
        ax.set_yscale("log")
        low, high = np.log(ax.get_ylim())
        place = -np.inf
        for value, text, colour in sorted(ends):  # upwards, each clear of the one below
            place = max(np.log(value), place + 0.05 * (high - low))
            ax.annotate(
                text, (largest, np.exp(place)), xytext=(6, 0), textcoords="offset points",
                color=colour, va="center", fontsize=9, annotation_clip=False,
            )  # fmt: skip
        ax.set_xlabel("times the smallest size")
    axes[0].set_ylabel("seconds")
    axes[1].set_ylabel("memory beyond the start, MB")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=2)
    return fig


@mpl.rc_context(STYLE)
def truncation_loss(discarded, lost, bound):
    """What a truncated sum over c loses, and the bound on it, as q(c|x) sharpens.

    Parameters
    ----------
    discarded, lost, bound : arrays [T]
        Mean over images of the mass left out, of exact minus truncated ELBO and of its bound, the
        last two in nats. A negative loss is a gain: the truncated bound is the tighter one.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.8))
    ax.plot(discarded, bound, "--s", color=VERMILION, ms=5, label="bound, known without the rest")
    ax.plot(discarded, np.abs(lost), "-", color=BLUE, label="exact minus truncated, size")
    lost, discarded = np.asarray(lost), np.asarray(discarded)
    for sign, face, label in ((1, BLUE, "a loss"), (-1, "white", "a gain")):
        some = sign * lost > 0
        ax.plot(discarded[some], np.abs(lost)[some], "o", color=BLUE, mfc=face, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.invert_xaxis()  # q(c|x) sharpens to the right
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda mass, _: f"{mass:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("mass of q(c|x) left out")
    ax.set_ylabel("nats an image")
    ax.legend()
    return fig


@mpl.rc_context(STYLE)
def gap_against_sharpness(scales, gaps, least):
    """log p(x) minus the ELBO as the logits of q(c|x) are scaled.

    Parameters
    ----------
    scales, gaps : arrays [T]
        Factor of the logits, and the mean gap in nats.
    least : float
        The gap with the best q(c|x), in nats.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
    ax.plot(scales, gaps, "-o", color=BLUE, ms=5, label="logits of q(c|x) times the factor")
    ax.axhline(least, color=BLACK, lw=1, ls="--", label="best q(c|x)")
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(ScalarFormatter())
    ax.set_ylim(0)
    ax.set_xlabel("factor (1: the trained network)")
    ax.set_ylabel("log p(x) minus the ELBO, nats")
    ax.legend()
    return fig


@mpl.rc_context(STYLE)
def labelled_clusters(panels):
    """Shares of the clusters, each split into what is expected to have a label and what is not.

    Parameters
    ----------
    panels : sequence of (title, weights [K], missed [K])
        missed is the probability that the cluster gets no label.
    """
    n_columns = min(2, len(panels))
    n_rows = -(-len(panels) // n_columns)
    fig, axes = plt.subplots(
        n_rows, n_columns, figsize=(WIDTH, 2.6 * n_rows + 0.6), sharey=True, squeeze=False
    )
    for ax in axes.flat[len(panels) :]:
        ax.axis("off")
    for ax, (title, weights, missed) in zip(axes.flat, panels, strict=False):
        order = np.argsort(-np.asarray(weights), kind="stable")
        weights, missed = np.asarray(weights)[order], np.asarray(missed)[order]
        rank = np.arange(1, len(weights) + 1)
        reached = weights * (1 - missed)
        ax.bar(rank, reached, width=1, color=BLUE, label="expected to have a label")
        ax.bar(
            rank, weights - reached, width=1, bottom=reached, color=ORANGE, label="expected to miss"
        )
        ax.set_title(title, fontsize=10)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for ax in axes[-1]:
        ax.set_xlabel("clusters, largest first")
    for ax in axes[:, 0]:
        ax.set_ylabel("share of the images")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig
