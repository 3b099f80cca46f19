"""Figures of chapter 5, Figure 1 of the article among them."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import (
    MaxNLocator,
    PercentFormatter,
)
from matplotlib.transforms import Bbox

from gmvae_lib.study.figures.style import (
    BLUE,
    COLUMN,
    FAINT,
    GREEN,
    GREY,
    INCH,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
    WHITE,
    dots,
    is_narrow,
    panel,
    show_image,
    show_strip,
)


def _rows(n, width, height, n_strips=1, gap=24):
    """A figure of n rows of panels, a caption above each; its axes [n, n_strips]."""
    narrow = is_narrow(width)
    across = 1 if narrow else n_strips
    rows = n * n_strips // across
    fig, axes = plt.subplots(
        rows,
        across,
        figsize=(width / INCH, (rows * height + n * gap + 4) / INCH),
        squeeze=False,
    )
    fig.get_layout_engine().set(hspace=0, h_pad=0.02)
    return fig, axes.reshape(n, n_strips)


def _caption(ax, words, width):
    """What stands above a strip: its name bold, and after a colon what there is to say of it."""
    name, colon, rest = words.partition(":  ")
    bold = "bold" if colon else "normal"
    ax.annotate(
        name, (0, 1), (1, 4), xycoords="axes fraction", textcoords="offset points",
        weight=bold, in_layout=False,
    )  # fmt: skip
    if is_narrow(width):  # purity is the first letter's share
        rest = rest.partition("  |  purity")[0]
    if rest:
        start = 14 + 7.5 * len(name)
        ax.annotate(
            rest, (0, 1), (start, 4), xycoords="axes fraction", textcoords="offset points",
            fontsize=12, color=MUTED, in_layout=False,
        )  # fmt: skip


@mpl.rc_context(STYLE)
def figure_1(rows, width=COLUMN):
    """Samples of several components, one row each.

    Parameters
    ----------
    rows : sequence of (caption, images [n, H, W])
        n is the same in every row.
    """
    fig, axes = _rows(len(rows), width, width / len(rows[0][1]))
    for (ax,), (caption, images) in zip(axes, rows, strict=True):
        show_strip(ax, images)
        _caption(ax, caption, width)
        ax.set_title(" ", fontsize=11)
    return fig


@mpl.rc_context(STYLE)
def image_grid(images, titles, n_columns=10, narrow_columns=None, ink=True, width=COLUMN):
    """Images [n, H, W], or colour [n, H, W, 3], in a grid, each with its title above.

    n_columns, narrow_columns : images a row, and on a phone (by default as many)
    ink : whether they are drawings, which dark mode inverts
    """
    if is_narrow(width):
        n_columns = narrow_columns or n_columns
    n_rows = -(-len(images) // n_columns)
    size = width / INCH, n_rows * (width / n_columns + 18) / INCH
    fig, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False)
    for ax in axes.flat[len(images) :]:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        show_image(ax, image, ink)
        ax.set_title(title, fontsize=12, pad=3, loc="center")
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
def purity_against_weight(table, impure=0.7, width=COLUMN):
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
    fig, ax = panel(width, 440)
    for kind, colour, marker in ((~mixed, BLUE, "o"), (mixed, VERMILION, "D")):
        ax.scatter(*points[kind].T, s=26, color=colour, marker=marker, alpha=0.8, edgecolors="none")
    ax.axvline(1 / len(table), color=MUTED, lw=1, ls="--", zorder=0.5)
    ax.axhline(impure, color=GREY, lw=1, ls=":", zorder=0.5)
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
        fontsize=12,
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
    offsets = [
        (7, -4), (-7, -4), (0, 7), (0, -16), (5, 5), (5, -14), (-5, 5), (-5, -14),
        (12, 10), (-12, 10), (12, -20), (-12, -20),
    ]  # fmt: skip
    anchors = named[["weight", "purity"]].to_numpy()
    _label_apart(ax, anchors, texts, offsets, avoid=points, fontsize=12, gid="halo")
    return fig


@mpl.rc_context(STYLE)
def components_per_letter(counts, width=COLUMN):
    """How many components each letter is the commonest in.

    Parameters
    ----------
    counts : Series, letter to number of components
    """
    fig, ax = panel(width, 280)
    bars = ax.bar(counts.index, counts.to_numpy(), color=BLUE)
    ax.bar_label(bars, fontsize=12, padding=1)
    ax.margins(x=0.01)
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("letter")
    ax.set_ylabel("components")
    return fig


@mpl.rc_context(STYLE)
def sample_sheet(captions, samples, n_columns=5, narrow_columns=3, width=COLUMN):
    """Samples of many components: a strip each, below its caption.

    Parameters
    ----------
    captions : sequence of str, [K]
    samples : array [K, n, H, W]
    n_columns, narrow_columns : strips a row, and on a phone
    """
    n_columns = narrow_columns if is_narrow(width) else n_columns
    n_rows, n = -(-len(samples) // n_columns), len(samples[0])
    fig, axes = plt.subplots(
        n_rows,
        n_columns,
        figsize=(width / INCH, n_rows * (width / n_columns / n + 20) / INCH),
        squeeze=False,
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, caption, images in zip(axes.flat, captions, samples, strict=False):
        show_strip(ax, images)
        ax.set_title(caption, fontsize=12, pad=2)
    return fig


@mpl.rc_context(STYLE)
def real_and_generated(rows, width=COLUMN):
    """Images of several components beside samples of the same; on a phone above them.

    Parameters
    ----------
    rows : sequence of (caption, images [n, H, W], samples [n, H, W])
        n is the same in every row.
    """
    narrow = is_narrow(width)
    n = len(rows[0][1])
    fig, axes = _rows(len(rows), width, width / n / (1 if narrow else 2.05), n_strips=2)
    for pair, (caption, *halves) in zip(axes, rows, strict=True):
        for ax, pictures in zip(pair, halves, strict=True):
            show_strip(ax, pictures)
        pair[0].set_title(" ", fontsize=11)
        _caption(pair[0], caption, width)
    if not narrow:
        axes[0, 0].set_title("images of the data set", pad=24)
        axes[0, 1].set_title("samples of the model", pad=24)
    return fig


@mpl.rc_context(STYLE)
def originals_and_reconstructions(
    originals, reconstructions, names, n_columns=13, narrow_columns=7, width=COLUMN
):
    """Pairs of an image, above, and its reconstruction, below: both [N, H, W], with N names."""
    n_columns = narrow_columns if is_narrow(width) else n_columns
    n_blocks = -(-len(originals) // n_columns)
    height = n_blocks * (2 * width / n_columns + 20)
    fig, axes = plt.subplots(
        2 * n_blocks, n_columns, figsize=(width / INCH, height / INCH), squeeze=False
    )
    fig.get_layout_engine().set(h_pad=0.02, hspace=0, w_pad=0.02)
    for ax in axes.flat:
        ax.axis("off")
    for i, (name, *pair) in enumerate(zip(names, originals, reconstructions, strict=True)):
        block, column = divmod(i, n_columns)
        for ax, picture in zip(axes[2 * block : 2 * block + 2, column], pair, strict=True):
            ax.axis("on")
            show_image(ax, picture)
        axes[2 * block, column].set_title(name, pad=3, loc="center")
    return fig


@mpl.rc_context(STYLE)
def latent_map(points, letters, groups, width=COLUMN):
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
    palette = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, GREY)
    fig, ax = panel(width, 0.86 * width)
    ax.axis("off")  # neither direction has a meaning or a unit
    # a few outliers must not compress the others
    low, high = np.percentile(points, [0.2, 99.8], axis=0)
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    seen = np.logical_and(points > low, points < high).all(axis=1)
    size = 2.4 if is_narrow(width) else 4
    for i, colour in enumerate(palette):
        dots(ax, points[seen & (letter % len(palette) == i)], colour, size)
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
        fontsize=15,
        weight="bold",
        gid="halo",
    )
    return fig


@mpl.rc_context(STYLE)
def distances_between_means(distance, letters, width=COLUMN):
    """Which components have means that are near: a grid, components of one letter side by side.

    A pair is the darker the nearer it is; all but the nearest 15 % of pairs stay blank.

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
    grid = distance[np.ix_(order, order)].astype(float)
    pairs = grid[~np.eye(len(grid), dtype=bool)]
    low, high = pairs.min(), np.quantile(pairs, 0.15)
    near = np.clip((high - grid) / (high - low), 0, 1) if high > low else 1.0 * (grid <= low)
    np.fill_diagonal(near, 0)  # a component with itself says nothing
    fig, ax = panel(width, width + (60 if is_narrow(width) else 104))
    ax.imshow(_shades(near), interpolation="none", gid="heat")
    for start, end in zip(ends - counts, ends, strict=True):  # the pairs of one letter
        ax.add_patch(
            mpl.patches.Rectangle(
                (start - 0.5, start - 0.5), end - start, end - start, fill=False, ec=VERMILION, lw=1
            )
        )
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)
    middles = ends - counts / 2 - 0.5
    # every second letter further out: a letter with one component leaves no room for its neighbours
    ax.set_xticks(middles, ["\n" * (i % 2) + name for i, name in enumerate(names)])
    ax.set_yticks(middles, [name + "\u2003" * (i % 2) for i, name in enumerate(names)])
    ax.tick_params(length=0)
    scale = ax.inset_axes([0.25, -0.13 if is_narrow(width) else -0.1, 0.5, 0.025])
    scale.imshow(_shades(np.linspace(0, 1, 64)[None]), aspect="auto", gid="heat")
    scale.set_xticks([0, 63], [f"{high:.0f} or more", f"{low:.0f}"])
    scale.set_yticks([])
    scale.tick_params(length=0)
    scale.set_xlabel("distance between the means", labelpad=1)
    for spine in scale.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)
    return fig


def _shades(strength):
    """Strengths in [0, 1] as blue, more or less opaque: [..., 4]."""
    hue = np.broadcast_to(mpl.colors.to_rgb(BLUE), (*strength.shape, 3))
    return np.concatenate([hue, strength[..., None]], axis=-1)


@mpl.rc_context(STYLE)
def hesitation_by_letter(table, width=COLUMN):
    """Mean entropy of q(c|x) of each letter, in two parts, the largest first.

    Parameters
    ----------
    table : DataFrame
        One row a letter, indexed by it: between, within (nats). Their sum is the entropy.
    """
    table = table.sort_values("between", ascending=False)
    fig, ax = panel(width, 320)
    ax.bar(table.index, table["between"], color=VERMILION, label="between letters")
    ax.bar(
        table.index,
        table["within"],
        bottom=table["between"],
        color=SKY,
        hatch="//",
        edgecolor=WHITE,
        lw=0.3,
        label="between components of one letter",
    )
    ax.margins(x=0.01)
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("true letter")
    ax.set_ylabel("entropy of q(c|x), nats")
    fig.legend(loc="outside lower center", ncols=1 if is_narrow(width) else 2)
    return fig
