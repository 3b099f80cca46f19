"""Figures of chapter 3."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import (
    LogLocator,
    NullFormatter,
    PercentFormatter,
    ScalarFormatter,
)

from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    METHODS,
    ORANGE,
    SKY,
    STYLE,
    VERMILION,
    WIDTH,
)


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
