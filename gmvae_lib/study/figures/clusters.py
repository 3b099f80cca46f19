"""Figures of chapter 5, Figure 1 of the article among them."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patheffects import withStroke
from matplotlib.ticker import (
    MaxNLocator,
    PercentFormatter,
)
from matplotlib.transforms import Bbox

from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
    WIDTH,
    show_image,
)


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
            show_image(ax, image)
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
        show_image(ax, image)
        ax.set_title(title, fontsize=10, pad=2)
    return fig


def _label_apart(ax, anchors, texts, offsets, avoid=(), **style):
    """A text at each anchor, without overlaps.

    Each is moved by the first of `offsets` (in points; text to the right starts there, text to the
    left ends there) at which it stays inside the axes and covers
    neither an earlier text nor a point of `avoid`; where there is none it is left out. Hence the
    more important come first, and the limits of the axes must be final.
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
            show_image(ax, strip)
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
            show_image(ax, picture)
        axes[2 * block, column].set_title(name, pad=3)
    return fig


@mpl.rc_context(STYLE)
def latent_map(points, letters, groups):
    """A map of images: points in colour, and the letter of each group at its median.

    Parameters
    ----------
    points : array [M, 2]
    letters : sequence of str, [M]
        True letters. The colours repeat; the letters written on the map distinguish them.
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
    # a few outliers must not compress the others
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
    np.fill_diagonal(grid, np.nan)  # blank: its zeros would use half of the colour range
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
    """Mean entropy of q(c|x) of each letter, in two parts, the largest first.

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
