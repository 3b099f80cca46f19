"""Coverage of the clusters and missing mass: how many labels until every cluster has one."""

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.arguments import (
    METHODS,
    as_clusters,
    check_all_but,
    check_choice,
    check_count,
    check_draws,
    check_open_unit,
    is_int,
    smallest_integer,
)
from gmvae_lib.label.bounds.circle import at_most, log_draws, mean_round_circle, saddle_radius

# K * n up to which equal clusters go through Stirling numbers in integers (some milliseconds).
INTEGER_WORK = 10**6


def labels_if_chosen(K):
    """Labels needed when each may be placed by choice in a pure cluster: one each, K."""
    return check_count("K", K, low=1)


def coverage_fraction(weights, n_labels):
    """P(every cluster gets a label) as a `Fraction`: inclusion-exclusion, no rounding at all.

    Equal clusters (an int K): K! S(n, K) / K^n with S the Stirling number of the second kind.
    Otherwise at most 20 weights (`Fraction` or float, taken as they stand): 2^K terms.
    """
    n_labels = check_count("n_labels", n_labels)
    if is_int(weights):
        K = check_count("weights", weights, low=1)
        surjections = sum((-1) ** j * math.comb(K, j) * (K - j) ** n_labels for j in range(K + 1))
        return Fraction(surjections, K**n_labels)
    weights = [Fraction(weight) for weight in weights]
    if not 1 <= len(weights) <= 20:
        raise InputError(f"weights: found {len(weights)} of them, expected 1 to 20 (2^K terms)")
    total = sum(weights)
    return sum(
        (-1) ** size * (1 - sum(missed) / total) ** n_labels
        for size in range(len(weights) + 1)
        for missed in combinations(weights, size)
    )


def _exact_coverage(clusters, n, all_but):
    """P(all but at most `all_but` clusters covered), by Cauchy's integral on a circle.

    P = n! [x^n] prod_c (e^{pi_c x} - 1), or [x^n] prod_c ((1 + x)^{N_c} - 1) / C(N, n) without
    replacement; `all_but` adds a variable that counts the clusters missed. All coefficients are
    positive, so on a circle through the saddle point nothing cancels and the trapezoid rule
    converges exponentially (Flajolet & Sedgewick 2009, ch. VIII). Relative error under 1e-11
    for K up to 10,000 and all_but = 0; absolute error of that order otherwise (radius n).
    """
    shares, n_images = clusters.shares, clusters.n_images
    n_clusters = len(shares)
    if n < n_clusters - all_but:
        return 0.0
    if n == n_images:
        return 1.0
    if n_images is None and all_but == 0 and np.ptp(shares) == 0 and n_clusters * n <= INTEGER_WORK:
        return float(coverage_fraction(n_clusters, n))
    if all_but == 0:
        r = saddle_radius(n, shares, n_images)
    else:
        r = n / (1 if n_images is None else n_images - n)
    psi = r if n_images is None else math.log1p(r)
    missed, covered = np.exp(-shares * psi), -np.expm1(-shares * psi)
    # With all_but = 0 the clusters' factors are divided by their values at r, here made up for.
    at_r = covered if all_but == 0 else np.ones_like(covered)
    log_scale = log_draws(n, r, n_images) + np.log(at_r).sum()
    if log_scale < -745:  # smaller than the smallest double
        return 0.0

    def psi_change(theta):
        """psi(r e^{i theta}) - psi(r), with full relative precision near theta = 0."""
        turn = np.expm1(1j * np.asarray(theta))
        if n_images is None:
            return r * turn
        turn = r / (1 + r) * turn
        modulus = 0.5 * np.log1p(2 * turn.real + np.abs(turn) ** 2)
        return modulus + 1j * np.angle(1 + turn)

    def log_bound(theta):
        most = np.exp(shares * psi_change(theta).real) + (1 if all_but == 0 else 2) * missed
        return np.minimum(np.log(most / at_r), 0).sum()

    def phi(theta):
        change = np.expm1(np.multiply.outer(shares, psi_change(theta)))
        return at_most((covered[:, None] + change) / at_r[:, None], missed, all_but)

    return float(np.clip(mean_round_circle(n, phi, log_bound) * math.exp(log_scale), 0, 1))


def _missed(clusters, n, poisson=False):
    """P(cluster c gets none of n labels) [K]; `poisson`: each image labelled independently."""
    n_images = clusters.n_images
    if n_images is None:
        return np.exp(-n * clusters.shares) if poisson else (1 - clusters.shares) ** n
    if poisson:
        return (1 - n / n_images) ** clusters.shares
    others = n_images - clusters.shares
    log_missed = (
        gammaln(others + 1)
        - gammaln(np.maximum(others - n, 0) + 1)
        - gammaln(n_images + 1)
        + gammaln(n_images - n + 1)
    )
    return np.where(others >= n, np.exp(np.minimum(log_missed, 0)), 0.0)


def _coverage(clusters, n, method, all_but):
    if method == "poisson":
        missed = _missed(clusters, n, poisson=True)
        return float(min(1.0, at_most(1 - missed, missed, all_but)))
    # Markov's inequality on the number of missed clusters: the union bound at all_but = 0.
    union = float(max(0.0, 1 - _missed(clusters, n).sum() / (all_but + 1)))
    if method == "union":
        return union
    exact = _exact_coverage(clusters, n, all_but)
    # Near 1 the union bound is more precise than the integral, whose rounding stays; near 0 it is
    # itself rounding.
    return max(union, exact) if union > 0.5 else exact


def coverage_probability(
    weights, n_labels, method="exact", population=None, all_but=0, n_simulations=2000, seed=0
):
    """P(every cluster, or all but at most `all_but`, has one or more of `n_labels` random labels).

    method
        "exact": see `_exact_coverage`; equal clusters through Stirling numbers in integers.
        "poisson": the number of labels is Poisson with mean n, so clusters are independent:
        prod (1 - exp(-n pi_c)). "union": the lower bound 1 - sum (1 - pi_c)^n, 0 if negative.
        "montecarlo": the share of `n_simulations` cover times, standard error <= 0.5 / sqrt.

    A cluster of weight 0 is never covered.

    Boneh & Hofri 1997, The coupon-collector problem revisited; Flajolet et al. 1992.
    """
    check_choice("method", method, METHODS)
    clusters = as_clusters(weights, population)
    n = check_draws(n_labels, clusters)
    all_but = check_all_but(all_but, len(clusters.shares) + clusters.n_empty)
    if clusters.n_empty > all_but:
        return 0.0
    if method == "montecarlo":
        times = cover_times(weights, n_simulations, seed, population, all_but)
        return float(np.mean(times <= n))
    return _coverage(clusters, n, method, all_but - clusters.n_empty)


def _check_coverable(clusters, all_but):
    if clusters.n_empty > all_but:
        raise InputError(
            f"weights: found {clusters.n_empty} empty clusters that no label can ever cover; "
            f"expected at most {all_but} (leave empty clusters out, or raise all_but)"
        )


def labels_to_cover(
    weights,
    confidence=0.95,
    method="exact",
    population=None,
    all_but=0,
    n_simulations=2000,
    seed=0,
):
    """Smallest n with `coverage_probability(weights, n, method, ...)` >= `confidence`."""
    confidence = check_open_unit("confidence", confidence)
    check_choice("method", method, METHODS)
    clusters = as_clusters(weights, population)
    all_but = check_all_but(all_but, len(clusters.shares) + clusters.n_empty)
    _check_coverable(clusters, all_but)
    if method == "montecarlo":
        times = cover_times(weights, n_simulations, seed, population, all_but)
        return int(np.sort(times)[math.ceil(confidence * n_simulations) - 1])
    all_but -= clusters.n_empty
    n_images = clusters.n_images

    def search(method, start):
        return smallest_integer(
            lambda n: (
                (n_images is not None and n >= n_images)
                or _coverage(clusters, n, method, all_but) >= confidence
            ),
            start,
        )

    start = search("poisson" if method == "exact" else method, len(clusters.shares))
    return search("exact", start) if method == "exact" else start


def cover_times(weights, n_simulations=2000, seed=0, population=None, all_but=0):
    """Simulated numbers of draws int [n_simulations] until all but `all_but` clusters are covered.

    In continuous time the first labels of the clusters are independent (Poissonisation, as in
    Flajolet et al. 1992; uniform arrivals without replacement), so one run costs K variates and
    the draws up to the last of them are counted afterwards. Exact in distribution.
    """
    n_simulations = check_count("n_simulations", n_simulations, low=1)
    clusters = as_clusters(weights, population)
    all_but = check_all_but(all_but, len(clusters.shares) + clusters.n_empty)
    _check_coverable(clusters, all_but)
    rng = np.random.default_rng(seed)
    shares = clusters.shares
    last = len(shares) - 1 - (all_but - clusters.n_empty)
    times = np.empty(n_simulations, dtype=np.int64)
    block = max(1, 10**6 // len(shares))
    for start in range(0, n_simulations, block):
        rows = times[start : start + block]
        arrival = rng.standard_exponential((len(rows), len(shares))) / shares
        if clusters.n_images is not None:
            arrival = -np.expm1(-arrival)
        end = np.partition(arrival, last, axis=1)[:, last : last + 1]
        covered = arrival <= end
        since = np.where(covered, end - arrival, 0)
        if clusters.n_images is None:
            repeats = rng.poisson(since @ shares)
        else:
            repeats = rng.binomial(shares - 1, since / (1 - arrival)).sum(axis=1)
        rows[:] = covered.sum(axis=1) + repeats
    return times


def expected_labels_to_cover(weights, population=None):
    """Expected number of random labels until every cluster has one.

    integral of 1 - prod_c (1 - exp(-pi_c t)) over t > 0 (Flajolet, Gardy & Thimonier 1992);
    without replacement (N + 1) times the integral of 1 - prod_c (1 - exp(-N_c t)), weighted by
    exp(-t): the T-th of N uniform arrival times has mean T / (N + 1). Relative error under 1e-8.
    """
    clusters = as_clusters(weights, population)
    _check_coverable(clusters, 0)
    shares, n_images = clusters.shares, clusters.n_images

    def uncovered(t):
        with np.errstate(divide="ignore"):
            value = -math.expm1(np.log1p(-np.exp(-shares * t)).sum())
        return value if n_images is None else (n_images + 1) * value * math.exp(-t)

    # The integrand is flat until the covering begins and has an exponential tail after it.
    end = (math.log(len(shares)) + 40) / shares.min()
    knots = [np.log(len(shares) + 1) / shares.max(), (math.log(len(shares)) + 3) / shares.min()]
    edges = np.unique([0.0, *knots, end])
    pieces = zip(edges[:-1], edges[1:], strict=True)
    return float(sum(quad(uncovered, a, b, epsrel=1e-10, limit=200)[0] for a, b in pieces))


def expected_missing_mass(weights, n_labels, population=None):
    """Expected share of images whose cluster has no label: sum pi_c (1 - pi_c)^n (Good 1953)."""
    clusters = as_clusters(weights, population)
    n = check_draws(n_labels, clusters)
    return float(clusters.weights @ _missed(clusters, n))


def missing_mass_bound(weights, n_labels, confidence=0.95, population=None):
    """Upper bound that the missing mass stays under with probability >= `confidence`.

    Clusters are missed together no more often than if they were independent, P(all of S missed) <=
    prod q_c with q_c = P(cluster c missed), so Chernoff's bound for independent ones holds, at the
    best t: (sum log(1 - q_c + q_c e^{t pi_c}) - log(1 - confidence)) / t (proved in chapter 3; see
    Ben-Hamou, Boucheron & Ohannessian 2017).
    """
    confidence = check_open_unit("confidence", confidence)
    clusters = as_clusters(weights, population)
    missed = _missed(clusters, check_draws(n_labels, clusters))
    weights = clusters.weights

    def bound(log_t):
        # Every t gives a valid bound, so the minimiser's precision costs tightness, not truth.
        t = math.exp(log_t)
        return (np.log1p(missed * np.expm1(t * weights)).sum() - math.log1p(-confidence)) / t

    limits = (0.0, math.log(700 / weights.max()))
    return float(min(1.0, minimize_scalar(bound, bounds=limits, method="bounded").fun))


def labels_to_cover_mass(weights, mass, confidence=None, population=None):
    """Smallest n whose labelled clusters hold at least the share `mass` of the images.

    On average (confidence=None), or with probability >= `confidence` by `missing_mass_bound`, which
    asks for somewhat more labels than needed.
    """
    mass = check_open_unit("mass", mass)
    clusters = as_clusters(weights, population)

    def holds(n):
        if clusters.n_images is not None and n >= clusters.n_images:
            return True
        if confidence is None:
            return expected_missing_mass(weights, n, population) <= 1 - mass
        return missing_mass_bound(weights, n, confidence, population) <= 1 - mass

    return smallest_integer(holds)
