"""Validation of the arguments of `bounds`."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from gmvae_lib.errors import InputError

METHODS = ("exact", "poisson", "union", "montecarlo")
FALLBACKS = ("nearest", "proportional", "none", "first")


# More labels than anybody will have; beyond, whole numbers and doubles part ways.
MOST_LABELS = 10**15


def is_int(value):
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def check_count(name, value, low=0):
    if not is_int(value) or value < low:
        raise InputError(f"{name}: found {value!r}, expected an integer of at least {low}")
    return int(value)


def check_open_unit(name, value):
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and 0 < float(value) < 1):
        raise InputError(f"{name}: found {value!r}, expected a number strictly between 0 and 1")
    return float(value)


def check_choice(name, value, choices):
    if value not in choices:
        raise InputError(f"{name}: found {value!r}, expected one of {', '.join(choices)}")


def check_numbers(name, values, ndim):
    """`values` as a float array of `ndim` axes, finite and non-negative."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{name}: found {values!r}, expected numbers") from None
    if array.ndim != ndim or array.size == 0:
        raise InputError(f"{name}: found shape {array.shape}, expected {ndim} axes, none empty")
    if not np.isfinite(array).all():
        raise InputError(f"{name}: found {np.sum(~np.isfinite(array))} NaN or infinite values")
    if array.min() < 0:
        raise InputError(f"{name}: found a negative value, {array.min():g}")
    return array


def check_distributions(name, values, ndim, axis=-1):
    """`values` with sums along `axis` checked to be 1 within 1e-3, then made 1."""
    array = check_numbers(name, values, ndim)
    sums = array.sum(axis=axis, keepdims=True)
    worst = sums.flat[np.argmax(np.abs(sums - 1))]
    if abs(worst - 1) > 1e-3:
        raise InputError(f"{name}: found a sum of {worst:g}, expected 1 (within 0.001)")
    return array / sums


def check_table(label_given_cluster, weights):
    """P(label | cluster) [K, L] and pi [K], checked to be of the same clusters."""
    table = check_distributions("label_given_cluster", label_given_cluster, ndim=2)
    weights = check_weights(weights)
    if len(weights) != len(table):
        raise InputError(
            f"weights: found {len(weights)}, expected {len(table)}, as label_given_cluster has"
        )
    return table, weights


def check_affinity(affinity, n_clusters):
    affinity = check_numbers("affinity", affinity, ndim=2)
    if affinity.shape != (n_clusters, n_clusters):
        raise InputError(
            f"affinity: found shape {affinity.shape}, expected {(n_clusters, n_clusters)}"
        )
    return affinity


def check_weights(weights):
    if is_int(weights) or np.ndim(weights) == 0:
        n_clusters = check_count("weights", weights, low=1)
        return np.full(n_clusters, 1 / n_clusters)
    return check_distributions("weights", weights, ndim=1)


def cluster_sizes(weights, population):
    """Cluster sizes int [K] of a population of N images: N * pi rounded by largest remainder."""
    weights = check_weights(weights)
    n_images = check_count("population", population, low=1)
    quotas = weights * n_images
    sizes = np.floor(quotas + 1e-9).astype(np.int64)
    largest = np.argsort(-(quotas - sizes), kind="stable")
    sizes[largest[: n_images - sizes.sum()]] += 1
    return sizes


class Clusters(NamedTuple):
    """Non-empty clusters: pi [K] when `n_images` is None, else their sizes [K]."""

    shares: np.ndarray
    n_images: int | None
    n_empty: int

    @property
    def weights(self):
        return self.shares if self.n_images is None else self.shares / self.n_images


def as_clusters(weights, population):
    shares, n_images = check_weights(weights), None
    if population is not None and np.ndim(population) == 0:
        shares = cluster_sizes(shares, population)
    elif population is not None:
        sizes = check_numbers("population", population, ndim=1)
        if len(sizes) != len(shares) or (sizes % 1).any() or not sizes.any():
            raise InputError(
                f"population: found {len(sizes)} sizes adding up to {sizes.sum():g}, "
                f"expected one whole number for each of the {len(shares)} clusters"
            )
        shares = sizes.astype(np.int64)
    if population is not None:
        n_images = int(shares.sum())
    return Clusters(shares[shares > 0], n_images, int(np.sum(shares == 0)))


def check_n_labels(n_labels):
    n_labels = check_count("n_labels", n_labels)
    if n_labels > MOST_LABELS:
        raise InputError(f"n_labels: found {n_labels}, expected at most {MOST_LABELS:.0e}")
    return n_labels


def check_draws(n_labels, clusters):
    n_labels = check_n_labels(n_labels)
    if clusters.n_images is not None and n_labels > clusters.n_images:
        raise InputError(
            f"n_labels: found {n_labels}, expected at most the population, {clusters.n_images}"
        )
    return n_labels


def check_all_but(all_but, n_clusters):
    if check_count("all_but", all_but) >= n_clusters:
        raise InputError(f"all_but: found {all_but}, expected fewer than the {n_clusters} clusters")
    return int(all_but)


def smallest_integer(holds, start=1):
    """Smallest n with holds(n), false at 0 and true from some n on; search begins at `start`."""
    low, high, step = 0, start, 1
    while not holds(high):
        low, high, step = high, high + step, 2 * step
        if high > MOST_LABELS:
            raise InputError(
                f"weights: found that more than {MOST_LABELS:.0e} labels are needed, expected "
                f"clusters large enough to be reached by fewer"
            )
    if low == 0:
        while high - step > 0 and holds(high - step):
            high, step = high - step, 2 * step
        low = max(high - step, 0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
