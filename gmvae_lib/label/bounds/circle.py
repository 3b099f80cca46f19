"""Sums round a circle in the complex plane: exact probabilities of multinomial draws."""

import math

import numpy as np
from scipy.optimize import brentq

# Sums round the circle leave out less than exp(-LOG_ERROR), 1e-20, of what they keep.
LOG_ERROR = 46.0


def mean_round_circle(n, phi, log_bound):
    """(1/2 pi) * integral of phi(theta) exp(-i n theta): the coefficient of order n.

    The trapezoid rule with M points adds to the coefficient of order n those of order n + jM. Where
    phi is the characteristic function of a count with mean about n that is ultra log-concave
    (Poisson, truncated Poisson or binomial, and sums of such), or of an event with it, Bennett's
    bound on its tails makes them smaller than exp(-LOG_ERROR). log_bound(theta) decreases and is
    at least log |phi|.
    """
    M = math.ceil(LOG_ERROR / 3 + math.sqrt(LOG_ERROR**2 / 9 + 2 * n * LOG_ERROR)) | 1
    total: float | np.ndarray = 0.0
    first, block = 0, 16
    while first <= M // 2 and log_bound(2 * math.pi * first / M) > -LOG_ERROR:
        j = np.arange(first, min(first + block, M // 2 + 1))
        turn = np.exp(-2j * np.pi * (j * n % M) / M) * np.where(j == 0, 1, 2)
        total = total + np.tensordot(turn, phi(2 * np.pi * j / M), axes=1).real
        first += block
    return total / M


def log_draws(n, r, n_images):
    """-log P(n draws) when draws come by a Poisson process (mean r), or each image with odds r.

    By Loader's (2000) saddle-point form, whose terms do not cancel: n log n + ... would leave an
    error of n times the rounding. Absolute error about 1e-15 * (|r - n| + 1), or the same of N p.
    """
    if n == 0:
        return float(r if n_images is None else n_images * math.log1p(r))
    if n_images is None:
        return 0.5 * math.log(2 * math.pi * n) + _stirling_error(n) + _deviance(n, r)
    p, left = r / (1 + r), n_images - n
    if left == 0:
        return n * math.log1p(1 / r)
    return (
        0.5 * math.log(2 * math.pi * n * (left / n_images))
        + (_stirling_error(n) + _stirling_error(left) - _stirling_error(n_images))
        + (_deviance(n, n_images * p) + _deviance(left, n_images / (1 + r)))
    )


def _stirling_error(n):
    """log n! - log(sqrt(2 pi n) (n / e)^n), for n >= 1."""
    if n < 30:
        return math.lgamma(n + 1) - 0.5 * math.log(2 * math.pi * n) - n * math.log(n) + n
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * n * n)) / (n * n)) / (n * n)) / n


def _deviance(n, mean):
    """n log(n / mean) + mean - n, without cancellation where mean is near n."""
    excess = (mean - n) / n
    return n * (excess - (math.log1p(excess) if abs(excess) < 0.5 else math.log(mean / n)))


def at_most(hit, miss, all_but):
    """P(at most `all_but` misses) of independent trials with hit [K, ...] and miss [K]."""
    if all_but == 0:
        return np.prod(hit, axis=0)
    # Polynomials in the number of misses, multiplied in pairs, cut at degree all_but.
    terms = np.zeros((all_but + 1, *hit.shape), dtype=hit.dtype)
    terms[0] = hit
    terms[1] = miss.reshape(-1, *[1] * (hit.ndim - 1))
    while terms.shape[1] > 1:
        odd = terms[:, -1:] if terms.shape[1] % 2 else terms[:, :0]
        a, b = terms[:, : terms.shape[1] // 2 * 2 : 2], terms[:, 1::2]
        product = np.stack([(a[: j + 1] * b[j::-1]).sum(axis=0) for j in range(all_but + 1)])
        terms = np.concatenate([product, odd], axis=1)
    return terms[:, 0].sum(axis=0)


def saddle_radius(n, shares, n_images):
    """Radius at which the mean number of draws, given that every cluster is covered, is n."""
    scale = 1 if n_images is None else n_images - n
    n_clusters = len(shares)
    if n == n_clusters:
        return 1e-2 / scale

    def excess(r):
        psi, slope = (r, r) if n_images is None else (math.log1p(r), r / (1 + r))
        return (shares * slope / -np.expm1(-shares * psi)).sum() - n

    return brentq(excess, (n - n_clusters) / scale * (1 - 1e-6), n / scale * (1 + 1e-6))
