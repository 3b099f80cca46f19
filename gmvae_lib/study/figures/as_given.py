"""Decoders on labels as people have them: `study.realistic`."""

import matplotlib as mpl

from gmvae_lib.study.figures.style import (
    BLUE,
    COLUMN,
    FAINT,
    ORANGE,
    SKY,
    STYLE,
    WINE,
    is_narrow,
    panels,
)

SETTINGS = {
    "as many, balanced": "balanced letters",
    "5% wrong": "5 % of labels wrong",
    "10% wrong": "10 % of labels wrong",
    "zipf": "rare letters (Zipf)",
}
LOOKS = {
    "soft": (BLUE, "o"),
    "graph": (SKY, "P"),
    "neighbours": (WINE, "*"),
    "pooled": (ORANGE, "D"),
}


@mpl.rc_context(STYLE)
def labels_as_given(table, width=COLUMN):
    """Accuracy and mean recall of each decoder by setting, 95 % intervals; 291 labels.

    table : DataFrame, results/realistic.csv
    """
    figure, axes = panels(2, width, 250, sharey=True, sharex=is_narrow(width))
    for ax, measure in zip(axes, ("accuracy", "recall"), strict=True):
        part = table[(table["measure"] == measure) & (table["n_labels"] == 291)]
        for i, (decoder, (colour, marker)) in enumerate(LOOKS.items()):
            rows = part[part["decoder"] == decoder].set_index("setting").loc[list(SETTINGS)]
            middle = 100 * rows["mean"]
            error = [middle - 100 * rows["low"], 100 * rows["high"] - middle]
            at = [-place + 0.27 - 0.18 * i for place in range(len(SETTINGS))]
            ax.errorbar(middle, at, xerr=error, color=colour, fmt=marker, ms=7, label=decoder)
        ax.set_title("accuracy, %" if measure == "accuracy" else "mean over letters, %")
        ax.grid(axis="x", color=FAINT)
        ax.set_axisbelow(True)
    axes[0].set_yticks([-place for place in range(len(SETTINGS))], SETTINGS.values())
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2 if is_narrow(width) else 4)
    return figure
