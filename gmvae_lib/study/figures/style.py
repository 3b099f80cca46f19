"""Colours, sizes and the look shared by all figures."""

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
    "convolutional net": ("convolutional network on the labels alone", BLACK, "-", "d"),
    "xgboost": ("XGBoost on pixels", BLACK, ":", "D"),
    "mlp": ("MLP on pixels", PURPLE, ":", "v"),
    "mlp (article)": ("the article's MLP on pixels", PURPLE, "--", "v"),
    "logistic regression": ("logistic regression on pixels", GREY, ":", "x"),
}


def show_image(ax, image):
    """Ink on white, whatever the colours around it."""
    ax.imshow(image, cmap="gray_r", vmin=0, vmax=image.max() or 1, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color("#cccccc")
