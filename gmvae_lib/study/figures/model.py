"""Figures of chapter 2."""

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Ellipse
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    NullFormatter,
)

from gmvae_lib.study.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILION,
    WHITE,
    WINE,
    dots,
    is_narrow,
    panel,
    panels,
)


@mpl.rc_context(STYLE)
def latent_clouds(spaces, letters, width=COLUMN):
    """Two-dimensional latent spaces: images as dots, letters at their medians, ellipses.

    Parameters
    ----------
    spaces : sequence of (title, z [N, 2], prior_mean [K, 2], prior_std [K, 2])
        z is the mean of q(z|x); an ellipse is two standard deviations of p(z|c).
    letters : sequence of str, [N]
        The true letter of each image.
    """
    letters = np.asarray(letters)
    names = np.unique(letters)
    colours = (BLUE, VERMILION, GREEN, PURPLE, WINE, ORANGE, SKY, GREY)
    fig, axes = panels(len(spaces), width, 300 if is_narrow(width) else 270)
    for ax, (title, z, mean, std) in zip(axes, spaces, strict=True):
        for centre, spread in zip(mean, std, strict=True):
            ax.add_patch(Ellipse(centre, *(4 * spread), fill=False, ec=MUTED, lw=1.2))
        for i, letter in enumerate(names):
            dots(ax, z[letters == letter], colours[i % len(colours)], size=3.5)
        for letter in names:
            ax.text(
                *np.median(z[letters == letter], axis=0), letter, ha="center", va="center",
                fontsize=17, weight="bold", gid="halo",
            )  # fmt: skip
        low, high = np.percentile(z, [0.5, 99.5], axis=0)
        margin = 0.08 * (high - low)
        ax.set_xlim(low[0] - margin[0], high[0] + margin[0])
        ax.set_ylim(low[1] - margin[1], high[1] + margin[1])
        ax.set_title(title, fontsize=12.5)
        ax.set_xlabel("z₁")
        ax.set_xticks([])
        ax.set_yticks([])
    axes[0].set_ylabel("z₂")
    return fig


@mpl.rc_context(STYLE)
def bound_gaps(curves, n_samples, gaps, width=COLUMN):
    """How far bounds stay under log p(x), in nats, as importance sampling uses more samples.

    Parameters
    ----------
    curves : array [I, S]
        log p(x) minus the importance-weighted bound, for I images and the S counts in `n_samples`.
    n_samples : sequence of int, [S]
    gaps : array [I]
        log p(x) minus the ELBO.
    """
    fig, ax = panel(width, 340)
    colours = (BLUE, VERMILION, GREEN, PURPLE, BLACK, ORANGE)
    markers = "osD^vx"
    for i, (curve, gap) in enumerate(zip(curves, gaps, strict=True)):
        style = {"color": colours[i % 6], "marker": markers[i % 6]}
        ax.plot(n_samples, curve, label=f"image {i + 1}", **style)
        ax.axhline(gap, color=colours[i % 6], lw=1, ls=":")
    ax.axhline(0, color=MUTED, lw=0.8)
    ax.set_xscale("log", base=2)
    ax.set_xticks(n_samples, [f"{n}" for n in n_samples])
    ax.set_xlabel("samples of (c, z)")
    ax.set_ylabel("log p(x) minus the bound, nats")
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.68))
    return fig


@mpl.rc_context(STYLE)
def truncation_loss(discarded, lost, bound, width=COLUMN):
    """What a truncated sum over c loses, and the bound on it, as q(c|x) sharpens.

    Parameters
    ----------
    discarded, lost, bound : arrays [T]
        Mean over images of the mass left out, of exact minus truncated ELBO and of its bound, the
        last two in nats. A negative loss is a gain: the truncated bound is the tighter one.
    """
    fig, ax = panel(width, 330)
    ax.plot(discarded, bound, "--s", color=VERMILION, ms=5, label="bound, known without the rest")
    ax.plot(discarded, np.abs(lost), "-", color=BLUE, label="exact minus truncated, size")
    lost, discarded = np.asarray(lost), np.asarray(discarded)
    for sign, face, label in ((1, BLUE, "a loss"), (-1, WHITE, "a gain")):
        some = sign * lost > 0
        ax.plot(discarded[some], np.abs(lost)[some], "o", color=BLUE, mfc=face, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.invert_xaxis()  # q(c|x) sharpens to the right
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if is_narrow(width) else (1.0, 2.0, 5.0)))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_major_formatter(plain)
    ax.yaxis.set_major_formatter(plain)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("mass of q(c|x) left out")
    ax.set_ylabel("nats an image")
    ax.legend()
    return fig


@mpl.rc_context(STYLE)
def gap_against_sharpness(scales, gaps, least, width=COLUMN):
    """log p(x) minus the ELBO as the logits of q(c|x) are scaled.

    Parameters
    ----------
    scales, gaps : arrays [T]
        Factor of the logits, and the mean gap in nats.
    least : float
        The gap with the best q(c|x), in nats.
    """
    fig, ax = panel(width, 290)
    ax.plot(scales, gaps, "-o", color=BLUE, ms=5, label="logits of q(c|x) times the factor")
    ax.axhline(least, color=MUTED, lw=1.2, ls="--", label="best q(c|x)")
    ax.set_xscale("log", base=2)
    ax.set_xticks(scales, [f"{scale:g}" for scale in scales])
    ax.set_ylim(0)
    ax.set_xlabel("factor (1: the trained network)")
    ax.set_ylabel("log p(x) minus the ELBO, nats")
    ax.legend()
    return fig
