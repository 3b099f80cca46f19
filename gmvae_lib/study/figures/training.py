"""Figures of chapter 4 and of the page on scale."""

import itertools

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import (
    PercentFormatter,
)

from gmvae_lib.errors import InputError
from gmvae_lib.study.figures.efficiency import spread
from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    INCH,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
    WINE,
    is_narrow,
    panel,
    panels,
)


@mpl.rc_context(STYLE)
def training_curves(history, K, width=COLUMN):
    """A training: ELBO, mutual information and components in use, each over its own epochs.

    Parameters
    ----------
    history : sequence of dict
        A run's, one dict an epoch; what a training did not have is left out.
    K : int
        Components, marked in the last panel.
    """
    import pandas as pd

    terms = {
        "elbo": ("ELBO, nats an image", BLUE),
        "mutual_information": ("mutual information, nats", VERMILION),
        "components_in_batch": ("components in use", GREEN),
    }
    table = pd.DataFrame(history)
    terms = {name: look for name, look in terms.items() if name in table}
    fig, axes = panels(len(terms), width, 230 if is_narrow(width) else 250)
    for ax, (name, (label, colour)) in zip(axes, terms.items(), strict=True):
        known = table.dropna(subset=[name])  # an epoch has only the terms it trained by
        ax.plot(known["epoch"], known[name], "-o", color=colour, ms=3)
        ax.set_title(label)
        if name == "components_in_batch":
            ax.axhline(K, color=MUTED, lw=1, ls="--")
            ax.set_ylim(0, 1.2 * K)
            ax.annotate(
                f"K = {K}", (1, K), xycoords=("axes fraction", "data"), xytext=(0, 3),
                textcoords="offset points", ha="right",
            )  # fmt: skip
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("epoch")
    return fig


@mpl.rc_context(STYLE)
def course(trainings, target=0.8, width=COLUMN):
    """Trainings by the ELBO: the ELBO, and beside it what the labels said of them afterwards.

    Parameters
    ----------
    trainings : dict of str to sequence of dict
        By name: epoch and elbo of each epoch; purity and "soft 291" of some, nan elsewhere.
    target : float
        Accuracy marked by a line.
    """
    import pandas as pd

    fig, (left, right) = panels(2, width, 290)
    lowest = []
    for (name, history), colour in zip(trainings.items(), (BLUE, VERMILION, BLACK), strict=False):
        table = pd.DataFrame(history)
        lowest.append(table["elbo"].quantile(0.02))  # the first epochs are far below
        left.plot(table["epoch"], table["elbo"], color=colour)
        known = table.dropna(subset=["purity"])
        right.plot(
            known["epoch"], known["purity"], "--", color=colour, marker="s", ms=4,
            label=f"purity, {name}",
        )  # fmt: skip
        right.plot(
            known["epoch"], known["soft 291"], color=colour, marker="o", ms=4,
            label=f"soft, 291 labels, {name}",
        )  # fmt: skip
        last = table.iloc[-1]
        left.annotate(
            name, (last["epoch"], last["elbo"]), (-4, -8), textcoords="offset points",
            ha="right", va="top", color=colour,
        )  # fmt: skip
    left.set_ylim(min(lowest), None)
    left.set_title("ELBO, nats an image", loc="left")
    right.axhline(target, color=MUTED, lw=1)
    right.yaxis.set_major_formatter(PercentFormatter(1))
    right.set_title("with labels, afterwards", loc="left")
    right.legend(loc="lower right")
    for ax in (left, right):
        ax.set_xlabel("epoch")
    return fig


@mpl.rc_context(STYLE)
def criterion_against_accuracy(table, accuracy="graph 291", width=COLUMN):
    """Label-free criteria against the accuracy measured with labels, a point for each training.

    Parameters
    ----------
    table : DataFrame
        Rows of results/studies.csv: study, variant, agreement, elbo and the column `accuracy`.
    """
    table = table.dropna(subset=["agreement", accuracy])
    if table.empty:
        raise InputError(f"table: found no row with agreement and {accuracy}; expected some")
    fig, axes = panels(2, width, 310, sharey=True)
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
    for ax in axes if is_narrow(width) else axes[:1]:
        ax.set_ylabel("accuracy at 291 labels")
    axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    axes[0].legend(loc="upper left")
    return fig


@mpl.rc_context(STYLE)
def grid_of_components(table, width=COLUMN):
    """The grid search over K: purity and agreement against K; accuracy against n for each K.

    Parameters
    ----------
    table : DataFrame
        From `studies.component_grid`.
    """
    if table.empty:
        raise InputError("table: found no row of the study K; expected one for each K")
    table = table.sort_values("K")
    narrow = is_narrow(width)
    layout = (
        [["purity"], ["agreement"], ["accuracy"], ["accuracy"]]
        if narrow
        else ([["purity", "accuracy"], ["agreement", "accuracy"]])
    )
    fig, axes = plt.subplot_mosaic(
        layout, figsize=(width / INCH, (760 if narrow else 400) / INCH),
        width_ratios=None if narrow else [1, 1.5],
    )  # fmt: skip
    shares = {
        "purity": ("purity", table["purity"], BLUE, "o-"),
        "agreement": ("agreement / log K", table["agreement"] / np.log(table["K"]), ORANGE, "s--"),
    }
    for name, (title, values, colour, look) in shares.items():
        ax = axes[name]
        ax.plot(table["K"], values, look, color=colour)
        ax.set_title(title)
        ax.set_xscale("log")
        ax.set_xticks(table["K"], [f"{K}" for K in table["K"]])
        ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes["agreement"].set_xlabel("components K")
    counts = sorted(int(name.split()[1]) for name in table.columns if name.startswith("graph "))
    right = axes["accuracy"]
    colours, markers = itertools.cycle((WINE, ORANGE, GREEN, SKY, BLUE, BLACK)), "osD^vP"
    lines = itertools.cycle(("-", "--", "-."))
    for (_, row), marker in zip(table.iterrows(), itertools.cycle(markers), strict=False):
        right.plot(
            counts, [row[f"graph {n}"] for n in counts], next(lines), color=next(colours),
            marker=marker, ms=5, label=f"K = {row['K']}",
        )  # fmt: skip
    right.set_title("accuracy, graph decoder")
    right.set_xscale("log")
    right.set_xticks(counts, [f"{n}" for n in counts])
    right.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    right.set_xlabel("labels")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ends = [(line.get_ydata()[-1], line) for line in right.lines]
    low, high = right.get_ylim()
    places = spread([end for end, _ in ends], gap=0.055 * (high - low), top=high)
    for (end, line), place in zip(ends, places, strict=True):
        right.annotate(
            line.get_label(), (counts[-1], end), (1.12 * counts[-1], place), va="center",
            color=line.get_color(), fontsize=12, annotation_clip=False,
        )  # fmt: skip
    return fig


@mpl.rc_context(STYLE)
def model_seeds(table, chosen, counts=(73, 291, 728), decoder="neighbours", width=COLUMN):
    """Accuracy of a decoder for each model seed, the published one marked.

    Parameters
    ----------
    table : DataFrame
        The rows of the study "seeds" of results/studies.csv.
    chosen : int
        The seed that was published.
    """
    fig, ax = panel(width, 300)
    for n, colour, marker in zip(counts, (ORANGE, BLUE, GREEN), "sov", strict=True):
        column = f"{decoder} {n}"
        ax.plot(table["seed"], table[column], marker, color=colour, ms=8, label=f"{n} labels")
        median = table[column].median()
        ax.axhline(median, color=colour, lw=1, ls="--")
        ax.annotate(
            f"{n} labels" if not is_narrow(width) else f"{n}", (1, median), (6, 0),
            xycoords=("axes fraction", "data"), textcoords="offset points", color=colour,
            va="center", weight="bold", fontsize=12,
        )  # fmt: skip
    ax.axvline(chosen, color=GREY, lw=12, alpha=0.3, zorder=0)
    ax.set_xticks(table["seed"])
    ax.set_xlabel("model seed (the grey one is published)")
    ax.set_ylabel("accuracy")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return fig


@mpl.rc_context(STYLE)
def growth(rows, width=COLUMN):
    """Time and memory against the size that grows, both axes logarithmic, with fitted exponents.

    Parameters
    ----------
    rows : list of dict
        The rows of results/benchmarks.json that benchmarks/growth.py measured: `task`, `variable`,
        `measured` ("seconds" or "bytes"), `value` (the exponent) and `points`.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    fig, axes = panels(2, width, 400 if not is_narrow(width) else 360, sharex=True)
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
            place = max(np.log(value), place + 0.055 * (high - low))
            ax.annotate(
                text, (largest, np.exp(place)), xytext=(6, 0), textcoords="offset points",
                color=colour, va="center", fontsize=12, annotation_clip=False,
            )  # fmt: skip
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(mpl.ticker.NullFormatter())
        ax.set_xticks([1, 2, 5, 10])
        ax.set_xlabel("times the smallest size")
    axes[0].set_title("seconds")
    axes[1].set_title("memory beyond the start, MB")
    handles, labels = axes[0].get_legend_handles_labels()
    columns = 1 if is_narrow(width) else 2
    fig.legend(handles, labels, loc="outside lower center", ncols=columns)
    return fig
