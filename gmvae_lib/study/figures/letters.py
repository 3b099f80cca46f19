"""Figures of chapter 1."""

import matplotlib as mpl
import numpy as np
from scipy.spatial.distance import cdist

from gmvae_lib.errors import InputError
from gmvae_lib.study.figures.style import (
    BLUE,
    COLUMN,
    FAINT,
    GREY,
    INCH,
    ORANGE,
    STYLE,
    WHITE,
    is_narrow,
    panel,
    plt,
    show_image,
)


@mpl.rc_context(STYLE)
def letter_sheet(images, n=3, seed=0, width=COLUMN):
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
    n_classes, (height, across) = len(images.class_names), images.images.shape[1:]
    n_columns = min(13, n_classes)
    n_blocks = -(-n_classes // n_columns)
    ratio = 2 * n * n_blocks * height / (n_columns * across)
    fig, axes = plt.subplots(
        n_blocks,
        1,
        figsize=(width / INCH, (width * ratio + 28 * n_blocks) / INCH),
        squeeze=False,
    )
    for block, ax in enumerate(axes[:, 0]):
        classes = range(block * n_columns, min((block + 1) * n_columns, n_classes))
        sheet = np.zeros((2 * n, height, n_columns, across), np.uint8)
        for column, label in enumerate(classes):
            row = 0
            for _, of_case, n_rows in kinds:
                found = np.flatnonzero(of_case & (images.labels == label))
                drawn = rng.permutation(found)[:n_rows]
                sheet[row : row + len(drawn), :, column] = images.images[drawn]
                row += n_rows
        show_image(ax, sheet.reshape(2 * n * height, -1))
        ax.set_xticks(
            (np.arange(len(classes)) + 0.5) * across, [images.class_names[i] for i in classes]
        )
        ax.xaxis.tick_top()
        if case is not None:
            middles = np.array([0.5, 1.5]) * n * height
            ax.set_yticks(
                middles, ["upper", "lower"], rotation=90, va="center", rotation_mode="anchor",
                ha="center",
            )  # fmt: skip
            ax.tick_params(axis="y", pad=10)
            ax.axhline(n * height - 0.5, color=GREY, lw=0.8)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
    return fig


@mpl.rc_context(STYLE)
def letter_counts(counts, width=COLUMN):
    """Stacked bars of how many images each letter has.

    Parameters
    ----------
    counts : DataFrame
        One row a letter, one column a kind (such as upper and lower case).
    """
    fig, ax = panel(width, 340)
    bottom = np.zeros(len(counts))
    styles = zip(counts.columns, (BLUE, ORANGE, FAINT), ("", "//", ""), strict=False)
    for kind, colour, hatch in styles:
        ax.bar(
            counts.index,
            counts[kind],
            bottom=bottom,
            label=kind,
            color=colour,
            hatch=hatch,
            edgecolor=WHITE,
            lw=0.3,
        )
        bottom += counts[kind].to_numpy()
    ax.margins(x=0.01)
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("letter")
    ax.set_ylabel("images")
    fig.legend(loc="outside lower center", ncols=len(counts.columns))
    return fig


@mpl.rc_context(STYLE)
def look_alikes(images, pairs, width=COLUMN):
    """For each pair of letters the two images that differ least (Euclidean, in pixels).

    Parameters
    ----------
    images : ImageSet
        With labels.
    pairs : sequence of (str, str)
        Class names.
    """
    pixels = images.pixels()
    height = 190 if is_narrow(width) else 300
    fig, axes = plt.subplots(2, len(pairs), figsize=(width / INCH, height / INCH), squeeze=False)
    for column, pair in zip(axes.T, pairs, strict=True):
        members = [np.flatnonzero(images.labels == images.class_names.index(c)) for c in pair]
        distance = cdist(*(pixels[index] for index in members), "sqeuclidean")
        nearest = np.unravel_index(distance.argmin(), distance.shape)
        for ax, letter, index, i in zip(column, pair, members, nearest, strict=True):
            show_image(ax, images.images[index[i]])
            ax.set_title(letter, pad=3, loc="center")
    return fig
