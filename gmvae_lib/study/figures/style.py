"""Colours, sizes and the look shared by all figures.

Lengths are pixels of a page (CSS): a figure is drawn once for the book's column and once for a
phone, and `figures.vector` shows the one that fits. One unit of type is then one pixel.
"""

import numpy as np
from matplotlib import pyplot as plt

# Hues like those of Okabe and Ito, moved until all pairs, and each with the text, differ most for
# full, deuteranopic and protanopic sight, at a contrast of at least 3 : 1 with white. The page
# replaces them by others in dark mode (custom.css); a test measures both sets.
BLACK, ORANGE, SKY, GREEN = "#000000", "#614909", "#4196c9", "#1f583a"
BLUE, VERMILION, PURPLE, WINE = "#0678e0", "#da7450", "#0930ab", "#9b1b76"
GREY, MUTED, FAINT, WHITE = "#8d8d8d", "#48566b", "#d1d5da", "#ffffff"

COLUMN = 688  # px, the book's column on a screen
PHONE = 340  # px, the column of a phone that is 390 px wide; 320 in a folded cell
INCH = 72  # units of matplotlib's SVG

STYLE = {
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
    "savefig.facecolor": "white",
    "axes.edgecolor": MUTED,
    "axes.labelsize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 13,
    "axes.unicode_minus": True,
    "font.size": 13,
    "hatch.linewidth": 1.5,
    "image.interpolation": "none",
    "legend.fontsize": 12,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.8,
    "xtick.color": MUTED,
    "xtick.labelcolor": BLACK,
    "xtick.labelsize": 12,
    "ytick.color": MUTED,
    "ytick.labelcolor": BLACK,
    "ytick.labelsize": 12,
}


# Method of the sweep: name in the legend, colour, line style, marker.
METHODS = {
    "neighbours": ("graph and neighbours", WINE, "-", "*"),
    "smoothed": ("graph, smoothed posterior", WINE, "--", "P"),
    "graph": ("graph", SKY, "-", "P"),
    "soft": ("soft", BLUE, "-", "o"),
    "hard": ("hard", VERMILION, "-", "s"),
    "hard (no fallback)": ("hard, no fallback", ORANGE, "--", "s"),
    "bayes": ("Bayes", GREEN, "-", "^"),
    "convolutional net": ("convolutional network on the labels alone", BLACK, "-", "d"),
    "xgboost": ("XGBoost on pixels", BLACK, ":", "D"),
    "mlp": ("MLP on pixels", PURPLE, ":", "v"),
    "mlp (article)": ("the article's MLP on pixels", PURPLE, "--", "v"),
    "logistic regression": ("logistic regression on pixels", GREY, ":", "x"),
}


def is_narrow(width):
    """Whether a figure of this width, px, is for a phone."""
    return width < 500


def panels(n, width, height, **options):
    """A figure of n panels: side by side, or on a phone one below the other.

    height : px of a panel, with its labels
    options : of `pyplot.subplots`

    Returns the figure and an array of n axes.
    """
    shape = (n, 1) if is_narrow(width) else (1, n)
    size = width / INCH, shape[0] * height / INCH
    fig, axes = plt.subplots(*shape, figsize=size, squeeze=False, **options)
    return fig, axes.ravel()


def panel(width, height, **options):
    """A figure of one panel, `width` by `height` px, and its axes."""
    return plt.subplots(figsize=(width / INCH, height / INCH), **options)


def show_image(ax, image, ink=True):
    """Ink on white, whatever the colours around it; `ink` pictures are inverted in dark mode."""
    high = image.max() if image.size else 1
    shown = ax.imshow(image, cmap="gray_r", vmin=0, vmax=high or 1, interpolation="none")
    if ink and image.ndim == 2:
        shown.set_gid("ink")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(FAINT)
        spine.set_linewidth(1)


def strip(images, gap=2):
    """Images [n, H, W] side by side, each with its own darkest grey, `gap` pixels apart: 2-D."""
    scaled = [np.asarray(image, float) / (np.max(image) or 1) for image in images]
    between = np.zeros((len(scaled[0]), gap))
    parts = [part for image in scaled for part in (between, image)][1:]
    return np.hstack(parts)


def show_strip(ax, images):
    """Images [n, H, W] side by side in one panel, without a frame."""
    show_image(ax, strip(images))
    for spine in ax.spines.values():
        spine.set_visible(False)


def dots(ax, points, colour, size=3.5, alpha=0.65):
    """Points [M, 2] as dots of one path: in an SVG a tenth of the bytes of M markers."""
    points = np.asarray(points, float)
    gaps = np.full_like(points, np.nan)
    steps = np.stack([points, points, gaps], axis=1).reshape(-1, 2)
    (line,) = ax.plot(
        *steps.T, color=colour, lw=size, alpha=alpha, solid_capstyle="round", zorder=1.5
    )
    line.get_path().should_simplify = False
    return line
