"""Figures of chapter 2."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    NullFormatter,
    ScalarFormatter,
)

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
)


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
