"""How many labels: coverage of the clusters, missing mass, and the accuracy that follows.

A label is drawn at random and falls in cluster c with probability pi_c (`weights`), so covering
every cluster is the coupon collector's problem with unequal probabilities (Boneh & Hofri 1997;
Flajolet, Gardy & Thimonier 1992). Everything here needs the cluster table only, never an image.

`weights` is an int K (K equal clusters) or the array pi [K]. `population` is None (labels drawn
with replacement: images without number), the number N of images (drawn without replacement; the
cluster sizes are N * pi by largest remainder), or the int array of cluster sizes [K].

That labels are worth one cluster each is the cluster assumption (Rigollet 2007); that K log K of
them are needed to name K mixture components, Dan et al. 2018. `coverage_probability` and what rests
on it say nothing of impurity; `expected_hard_accuracy` and `expected_soft_accuracy` do.
"""

import math
from fractions import Fraction
from itertools import combinations
from numbers import Integral
from typing import NamedTuple

import mpmath
import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gammaln, pdtr, xlogy
from scipy.stats import binom

from gmvae_lib.errors import InputError

METHODS = ("exact", "poisson", "union", "montecarlo")
FALLBACKS = ("nearest", "none", "first")

# Sums round the circle leave out less than exp(-LOG_ERROR), 1e-20, of what they keep.
LOG_ERROR = 46.0
# K * n up to which equal clusters go through Stirling numbers in integers (some milliseconds).
INTEGER_WORK = 10**6
# Up to this many labels a cluster's vote is exact; above, Poissonised (error under 1e-4).
EXACT_VOTES = 1000
# Three labels or more: beyond so many votes by Chernoff's bound, no exact number is searched for.
MOST_VOTES = 20_000
# More labels than anybody will have; beyond, whole numbers and doubles part ways.
MOST_LABELS = 10**15


# ---------------------------------------------------------------------------------- arguments


def _is_int(value):
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def _check_count(name, value, low=0):
    if not _is_int(value) or value < low:
        raise InputError(f"{name}: found {value!r}, expected an integer of at least {low}")
    return int(value)


def _check_open_unit(name, value):
    if isinstance(value, (bool, str)) or not np.isscalar(value) or not 0 < value < 1:
        raise InputError(f"{name}: found {value!r}, expected a number strictly between 0 and 1")
    return float(value)


def _check_choice(name, value, choices):
    if value not in choices:
        raise InputError(f"{name}: found {value!r}, expected one of {', '.join(choices)}")


def _check_numbers(name, values, ndim):
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


def _check_distributions(name, values, ndim, axis=-1):
    """`values` with sums along `axis` checked to be 1 within 1e-3, then made 1."""
    array = _check_numbers(name, values, ndim)
    sums = array.sum(axis=axis, keepdims=True)
    worst = sums.flat[np.argmax(np.abs(sums - 1))]
    if abs(worst - 1) > 1e-3:
        raise InputError(f"{name}: found a sum of {worst:g}, expected 1 (within 0.001)")
    return array / sums


def _check_weights(weights):
    if _is_int(weights) or np.ndim(weights) == 0:
        n_clusters = _check_count("weights", weights, low=1)
        return np.full(n_clusters, 1 / n_clusters)
    return _check_distributions("weights", weights, ndim=1)


def cluster_sizes(weights, population):
    """Cluster sizes int [K] of a population of N images: N * pi rounded by largest remainder."""
    weights = _check_weights(weights)
    n_images = _check_count("population", population, low=1)
    quotas = weights * n_images
    sizes = np.floor(quotas + 1e-9).astype(np.int64)
    largest = np.argsort(-(quotas - sizes), kind="stable")
    sizes[largest[: n_images - sizes.sum()]] += 1
    return sizes


class _Clusters(NamedTuple):
    """Non-empty clusters: pi [K] when `n_images` is None, else their sizes [K]."""

    shares: np.ndarray
    n_images: int | None
    n_empty: int

    @property
    def weights(self):
        return self.shares if self.n_images is None else self.shares / self.n_images


def _clusters(weights, population):
    shares, n_images = _check_weights(weights), None
    if population is not None and np.ndim(population) == 0:
        shares = cluster_sizes(shares, population)
    elif population is not None:
        sizes = _check_numbers("population", population, ndim=1)
        if len(sizes) != len(shares) or (sizes % 1).any() or not sizes.any():
            raise InputError(
                f"population: found {len(sizes)} sizes adding up to {sizes.sum():g}, "
                f"expected one whole number for each of the {len(shares)} clusters"
            )
        shares = sizes.astype(np.int64)
    if population is not None:
        n_images = int(shares.sum())
    return _Clusters(shares[shares > 0], n_images, int(np.sum(shares == 0)))


def _check_n_labels(n_labels):
    n_labels = _check_count("n_labels", n_labels)
    if n_labels > MOST_LABELS:
        raise InputError(f"n_labels: found {n_labels}, expected at most {MOST_LABELS:.0e}")
    return n_labels


def _check_draws(n_labels, clusters):
    n_labels = _check_n_labels(n_labels)
    if clusters.n_images is not None and n_labels > clusters.n_images:
        raise InputError(
            f"n_labels: found {n_labels}, expected at most the population, {clusters.n_images}"
        )
    return n_labels


def _check_all_but(all_but, n_clusters):
    if _check_count("all_but", all_but) >= n_clusters:
        raise InputError(f"all_but: found {all_but}, expected fewer than the {n_clusters} clusters")
    return int(all_but)


# ----------------------------------------------------------------------------------- coverage


def labels_if_chosen(K):
    """Labels needed when each may be placed by choice in a pure cluster: one each, K."""
    return _check_count("K", K, low=1)


def coverage_fraction(weights, n_labels):
    """P(every cluster gets a label) as a `Fraction`: inclusion-exclusion, no rounding at all.

    Equal clusters (an int K): K! S(n, K) / K^n with S the Stirling number of the second kind.
    Otherwise at most 20 weights (`Fraction` or float, taken as they stand): 2^K terms.
    """
    n_labels = _check_count("n_labels", n_labels)
    if _is_int(weights):
        K = _check_count("weights", weights, low=1)
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


def _mean_round_circle(n, phi, log_bound):
    """(1/2 pi) * integral of phi(theta) exp(-i n theta): the coefficient of order n.

    The trapezoid rule with M points adds to the coefficient of order n those of order n + jM. Where
    phi is the characteristic function of a count with mean about n that is ultra log-concave
    (Poisson, truncated Poisson or binomial, and sums of such), or of an event with it, Bennett's
    bound on its tails makes them smaller than exp(-LOG_ERROR). log_bound(theta) decreases and is
    at least log |phi|.
    """
    M = math.ceil(LOG_ERROR / 3 + math.sqrt(LOG_ERROR**2 / 9 + 2 * n * LOG_ERROR)) | 1
    total, first, block = 0.0, 0, 16
    while first <= M // 2 and log_bound(2 * math.pi * first / M) > -LOG_ERROR:
        j = np.arange(first, min(first + block, M // 2 + 1))
        turn = np.exp(-2j * np.pi * (j * n % M) / M) * np.where(j == 0, 1, 2)
        total = total + np.tensordot(turn, phi(2 * np.pi * j / M), axes=1).real
        first += block
    return total / M


def _log_draws(n, r, n_images):
    """-log P(n draws) when draws come by a Poisson process (mean r), or each image with odds r.

    In 40 digits: the terms are of order n log n and cancel.
    """
    with mpmath.workdps(40):
        n, r = mpmath.mpf(n), mpmath.mpf(r)
        if n_images is None:
            return float(mpmath.loggamma(n + 1) - n * mpmath.log(r) + r)
        log_choices = (
            mpmath.loggamma(n_images + 1)
            - mpmath.loggamma(n + 1)
            - mpmath.loggamma(n_images - n + 1)
        )
        return float(n_images * mpmath.log1p(r) - n * mpmath.log(r) - log_choices)


def _at_most(hit, miss, all_but):
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


def _saddle(n, shares, n_images):
    """Radius at which the mean number of draws, given that every cluster is covered, is n."""
    scale = 1 if n_images is None else n_images - n
    n_clusters = len(shares)
    if n == n_clusters:
        return 1e-2 / scale

    def excess(r):
        psi, slope = (r, r) if n_images is None else (math.log1p(r), r / (1 + r))
        return (shares * slope / -np.expm1(-shares * psi)).sum() - n

    return brentq(excess, (n - n_clusters) / scale * (1 - 1e-6), n / scale * (1 + 1e-6))


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
        r = _saddle(n, shares, n_images)
    else:
        r = n / (1 if n_images is None else n_images - n)
    psi = r if n_images is None else math.log1p(r)
    missed, covered = np.exp(-shares * psi), -np.expm1(-shares * psi)
    # With all_but = 0 the clusters' factors are divided by their values at r, here made up for.
    at_r = covered if all_but == 0 else np.ones_like(covered)
    log_scale = _log_draws(n, r, n_images) + np.log(at_r).sum()
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
        return _at_most((covered[:, None] + change) / at_r[:, None], missed, all_but)

    return float(np.clip(_mean_round_circle(n, phi, log_bound) * math.exp(log_scale), 0, 1))


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
        return float(min(1.0, _at_most(1 - missed, missed, all_but)))
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
    _check_choice("method", method, METHODS)
    clusters = _clusters(weights, population)
    n = _check_draws(n_labels, clusters)
    all_but = _check_all_but(all_but, len(clusters.shares) + clusters.n_empty)
    if clusters.n_empty > all_but:
        return 0.0
    if method == "montecarlo":
        times = cover_times(weights, n_simulations, seed, population, all_but)
        return float(np.mean(times <= n))
    return _coverage(clusters, n, method, all_but - clusters.n_empty)


def _smallest(holds, start=1):
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
    confidence = _check_open_unit("confidence", confidence)
    _check_choice("method", method, METHODS)
    clusters = _clusters(weights, population)
    all_but = _check_all_but(all_but, len(clusters.shares) + clusters.n_empty)
    _check_coverable(clusters, all_but)
    if method == "montecarlo":
        times = cover_times(weights, n_simulations, seed, population, all_but)
        return int(np.sort(times)[math.ceil(confidence * n_simulations) - 1])
    all_but -= clusters.n_empty
    n_images = clusters.n_images

    def search(method, start):
        return _smallest(
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
    n_simulations = _check_count("n_simulations", n_simulations, low=1)
    clusters = _clusters(weights, population)
    all_but = _check_all_but(all_but, len(clusters.shares) + clusters.n_empty)
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
    clusters = _clusters(weights, population)
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


# ------------------------------------------------------------------------------- missing mass


def expected_missing_mass(weights, n_labels, population=None):
    """Expected share of images whose cluster has no label: sum pi_c (1 - pi_c)^n (Good 1953)."""
    clusters = _clusters(weights, population)
    n = _check_draws(n_labels, clusters)
    return float(clusters.weights @ _missed(clusters, n))


def missing_mass_bound(weights, n_labels, confidence=0.95, population=None):
    """Upper bound that the missing mass stays under with probability >= `confidence`.

    Clusters are missed together no more often than if they were independent, P(all of S missed) <=
    prod q_c with q_c = P(cluster c missed), so Chernoff's bound for independent ones holds, at the
    best t: (sum log(1 - q_c + q_c e^{t pi_c}) - log(1 - confidence)) / t (proved in chapter 3; see
    Ben-Hamou, Boucheron & Ohannessian 2017).
    """
    confidence = _check_open_unit("confidence", confidence)
    clusters = _clusters(weights, population)
    missed = _missed(clusters, _check_draws(n_labels, clusters))
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
    mass = _check_open_unit("mass", mass)
    clusters = _clusters(weights, population)

    def holds(n):
        if clusters.n_images is not None and n >= clusters.n_images:
            return True
        if confidence is None:
            return expected_missing_mass(weights, n, population) <= 1 - mass
        return missing_mass_bound(weights, n, confidence, population) <= 1 - mass

    return _smallest(holds)


# ----------------------------------------------------------------------------- majority votes


def _vote_probabilities(label_probs, weight, n, poisson=False):
    """P(label l gets the most of a cluster's votes, ties to the first label) [L]; n draws in all.

    The rest, 1 - sum, is the probability that the cluster gets no vote. With N ~ Poisson(n) draws
    (`poisson`) the votes v_l ~ Poisson(n weight p_l) are independent, and l wins with v votes when
    the labels before it have fewer and those after it no more. For n draws by `_mean_round_circle`.
    """
    wins = np.zeros(len(label_probs))
    if n == 0 or weight == 0:
        return wins
    present = label_probs > 0
    rates = n * weight * label_probs[present, None]
    # The largest rate gets fewer votes than `fewest`, or any more than `most`, with P < e^-46.
    most, fewest = (rates.max() + sign * math.sqrt(2 * rates.max() * LOG_ERROR) for sign in (1, -1))
    most = min(n, math.ceil(most + LOG_ERROR))
    if poisson:
        votes = np.arange(max(1, math.floor(fewest)), most + 1)
        pmf = np.exp(xlogy(votes, rates) - rates - gammaln(votes + 1))
        wins[present] = (
            pmf * _all_below(pdtr(votes - 1, rates)[None], pdtr(votes, rates)[None])[0]
        ).sum(axis=1)
        return np.clip(wins, 0, 1)
    votes = np.arange(most + 1)
    pmf = np.exp(xlogy(votes, rates) - rates - gammaln(votes + 1))
    slack = n * (1 - weight)

    def phi(theta):
        turned = pmf * np.exp(1j * np.multiply.outer(theta, votes))[:, None]
        cdf = np.cumsum(turned, axis=-1)
        won = (turned[..., 1:] * _all_below(cdf[..., :-1], cdf[..., 1:])).sum(axis=-1)
        return won * np.exp(slack * np.expm1(1j * np.asarray(theta)))[:, None]

    wins[present] = math.exp(_log_draws(n, n, None)) * _mean_round_circle(
        n, phi, lambda theta: -2 * slack * math.sin(theta / 2) ** 2
    )
    return np.clip(wins, 0, 1)


def _all_below(fewer, no_more):
    """prod_{j<l} fewer_j prod_{j>l} no_more_j for each label l; arguments and result [T, L, V]."""
    product = np.ones_like(fewer)
    np.cumprod(fewer[:, :-1], axis=1, out=product[:, 1:])
    product[:, :-1] *= np.cumprod(no_more[:, :0:-1], axis=1)[:, ::-1]
    return product


def majority_probability(label_probs, n_votes):
    """P(the most frequent label of a cluster gets strictly more of its n votes than any other).

    `label_probs` is P(label | cluster) [L]. Exact; ties count as failures.
    """
    label_probs = _check_distributions("label_probs", label_probs, ndim=1)
    n_votes = _check_count("n_votes", n_votes)
    # The true majority goes last: it then loses every tie.
    order = np.append(np.delete(label_probs, label_probs.argmax()), label_probs.max())
    return float(_vote_probabilities(order, 1.0, n_votes)[-1])


def labels_for_majority(label_probs, confidence=0.95, method="exact"):
    """Labels in one impure cluster for its majority vote to be right with `confidence`.

    "exact": smallest n such that n and n + 1 votes (an even number can tie) both reach it by
    `majority_probability`. "chernoff": smallest n with sum_j (1 - (sqrt p - sqrt p_j)^2)^n at most
    1 - confidence over the other labels j, Chernoff's bound on the votes of j reaching those of the
    majority: never fewer than needed. (Majority vote over mixture components: Dan et al. 2018.)
    "exact" refuses three labels or more that need above MOST_VOTES votes by Chernoff's bound.
    """
    label_probs = _check_distributions("label_probs", label_probs, ndim=1)
    confidence = _check_open_unit("confidence", confidence)
    _check_choice("method", method, ("exact", "chernoff"))
    p = np.sort(label_probs)
    if len(p) > 1 and p[-1] - p[-2] < 1e-9:
        raise InputError(
            f"label_probs: found two labels at {p[-1]:g}, expected one most frequent label"
        )
    affinity = 1 - (np.sqrt(p[-1]) - np.sqrt(p[:-1])) ** 2
    chernoff = _smallest(lambda n: n > 0 and (affinity**n).sum() <= 1 - confidence)
    if method == "chernoff":
        return chernoff
    if (p > 0).sum() <= 2:  # one label's votes are binomial
        return _smallest(
            lambda n: binom.sf([n // 2, (n + 1) // 2], [n, n + 1], p[-1]).min() >= confidence
        )
    if chernoff > MOST_VOTES:
        raise InputError(
            f"label_probs: found labels at {p[-1]:g} and {p[-2]:g}, so near that some {chernoff} "
            f"votes are needed, expected at most {MOST_VOTES} (or method='chernoff')"
        )
    return _smallest(
        lambda n: min(majority_probability(p, n), majority_probability(p, n + 1)) >= confidence
    )


# ---------------------------------------------------------------------- accuracy of decoders


class PosteriorCells(NamedTuple):
    """A distribution over images as the decoders see them: T kinds of image.

    posteriors [T, K], q(c|x) of a kind; labels int [T]; weights [T], the share of the kind. Made by
    `cluster_table`, or from a sample of the images: `PosteriorCells(q[i], y[i], [1 / T] * T)`.
    """

    posteriors: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


class ClusterTable(NamedTuple):
    """What the predictions need to know of a run; cluster c means most likely cluster c.

    weights [K], the share of images in a cluster; label_given_cluster [K, L]; cells: the mean
    posterior of the images that share label, two most likely clusters, and class of the largest q.
    """

    weights: np.ndarray
    label_given_cluster: np.ndarray
    cells: PosteriorCells


def cluster_table(q, y, n_classes=None):
    """`ClusterTable` of a posterior q [N, K] and the true labels y int [N], 0 .. n_classes - 1.

    A cluster without images gets uniform labels.
    """
    q = _check_distributions("q", q, ndim=2)
    y = np.asarray(y)
    if y.shape != q.shape[:1] or y.dtype.kind not in "iu" or y.min() < 0:
        raise InputError(
            f"y: found {y.dtype} of shape {y.shape}, expected {len(q)} integers of at least 0"
        )
    K, L = q.shape[1], n_classes or int(y.max()) + 1
    if y.max() >= L:
        raise InputError(f"y: found label {y.max()}, expected labels under n_classes, {L}")
    ranked = np.argsort(-q, axis=1, kind="stable")
    top, second = ranked[:, 0], ranked[:, min(1, K - 1)]
    counts = np.zeros((K, L))
    np.add.at(counts, (top, y), 1)
    in_cluster = counts.sum(axis=1, keepdims=True)
    sureness = np.digitize(q.max(axis=1), [0.4, 0.6, 0.8, 0.95])
    kinds, kind, images = np.unique(
        np.stack([y, top, second, sureness]), axis=1, return_inverse=True, return_counts=True
    )
    posteriors = np.zeros((len(images), K))
    np.add.at(posteriors, kind.ravel(), q)
    return ClusterTable(
        weights=in_cluster[:, 0] / len(q),
        label_given_cluster=np.where(in_cluster > 0, counts / np.maximum(in_cluster, 1), 1 / L),
        cells=PosteriorCells(posteriors / images[:, None], kinds[0], images / len(q)),
    )


def _check_cells(cells, n_clusters=None, n_classes=None):
    posteriors = _check_distributions("cells.posteriors", cells.posteriors, ndim=2)
    weights = _check_distributions("cells.weights", cells.weights, ndim=1)
    labels = np.asarray(cells.labels)
    if labels.dtype.kind not in "iu" or not len(labels) == len(weights) == len(posteriors):
        raise InputError(
            f"cells: found {len(posteriors)} posteriors, {labels.size} labels ({labels.dtype}) and "
            f"{len(weights)} weights, expected the same number and integer labels"
        )
    if labels.min() < 0 or labels.max() >= (n_classes or np.inf):
        raise InputError(
            f"cells.labels: found {labels.min()} to {labels.max()}, expected 0 or more and under "
            f"the number of classes"
        )
    if posteriors.shape[1] != (n_clusters or posteriors.shape[1]):
        raise InputError(
            f"cells.posteriors: found {posteriors.shape[1]} clusters, expected {n_clusters}"
        )
    return PosteriorCells(posteriors, labels, weights)


def _rescued(scores, labels, weights, vote_if_labelled, n):
    """P(own cluster has no label, and the best labelled one votes right) [T].

    scores [T, K] rank the clusters. P(the r-th is the first with a label) is exact:
    (1 - its predecessors' weight)^n - (1 - that and its own)^n.
    """
    ranked = np.argsort(-scores, axis=1, kind="stable")
    empty = np.clip(1 - np.cumsum(weights[ranked], axis=1), 0, 1) ** n
    first = empty[:, :-1] - empty[:, 1:]
    return (first * vote_if_labelled[ranked[:, 1:], labels[:, None]]).sum(axis=1)


def _right_by_first_label(joint, n):
    """P(the image's cluster has no label, and its letter is the first of the labels drawn).

    joint [K, L] = P(cluster, label). That no draw falls in cluster c or on a label before l has
    probability (1 - P(c or a label before l))^n; first means the same less l itself.
    """
    elsewhere = joint.sum(axis=0) - joint
    before = np.cumsum(elsewhere, axis=1)
    none = np.clip(1 - joint.sum(axis=1, keepdims=True) - np.c_[np.zeros(len(joint)), before], 0, 1)
    return (joint * (none[:, :-1] ** n - none[:, 1:] ** n)).sum()


def expected_hard_accuracy(label_given_cluster, weights, n_labels, fallback="nearest", cells=None):
    """Expected accuracy of hard decoding (majority vote of each cluster) on a new image.

    label_given_cluster
        P(label | cluster) [K, L], rows sum to 1. `weights`: K or pi [K]. The `n_labels` labelled
        images are independent draws (N large). Votes tie to the first label.
    fallback
        A cluster without labels: "none" answers label 0, as in the article's published code;
        "first" answers the first of the labels drawn, as `HardDecoder(fallback="none")` does, which
        knows no others; "nearest" sends its images to their most likely labelled cluster.
    cells
        `PosteriorCells` that say, for "nearest", which clusters come next for an image. Without
        them every image ranks the other clusters by p(c | its own label): the most favourable
        guess, too high by up to 20 points where neighbouring clusters hold different labels.

    "none" and "first" are exact up to EXACT_VOTES labels (error about 1e-12) and Poissonised above
    (under 1e-4). "nearest" besides takes the vote of a labelled cluster as independent of which
    other clusters are empty, as it is for a Poisson number of labels.
    """
    label_given_cluster = _check_distributions("label_given_cluster", label_given_cluster, ndim=2)
    weights = _check_weights(weights)
    K, L = label_given_cluster.shape
    if len(weights) != K:
        raise InputError(f"weights: found {len(weights)}, expected {K}, as label_given_cluster has")
    n = _check_n_labels(n_labels)
    _check_choice("fallback", fallback, FALLBACKS)
    if cells is not None:
        cells = _check_cells(cells, K, L)
    votes = np.stack(
        [
            _vote_probabilities(row, weight, n, poisson=n > EXACT_VOTES)
            for row, weight in zip(label_given_cluster, weights, strict=True)
        ]
    )
    missed = (1 - weights) ** n
    accuracy = weights @ (label_given_cluster * votes).sum(axis=1)
    if fallback == "none" or n == 0:
        accuracy += (weights * missed) @ label_given_cluster[:, 0]
        return float(min(accuracy, 1.0))
    if fallback == "first":
        accuracy += _right_by_first_label(weights[:, None] * label_given_cluster, n)
        return float(min(accuracy, 1.0))
    vote_if_labelled = votes / np.maximum(1 - missed, np.finfo(float).tiny)[:, None]
    if cells is not None:
        right = _rescued(cells.posteriors, cells.labels, weights, vote_if_labelled, n)
        return float(min(accuracy + cells.weights @ right, 1.0))
    cluster_given_label = (weights[:, None] * label_given_cluster).T
    for c in np.flatnonzero(weights * missed > 1e-12):
        scores = cluster_given_label.copy()
        scores[:, c] = np.inf
        right = _rescued(scores, np.arange(L), weights, vote_if_labelled, n)
        accuracy += weights[c] * (label_given_cluster[c] @ right)
    return float(min(accuracy, 1.0))


def expected_soft_accuracy(cells, n_labels, n_simulations=200, seed=0):
    """Expected accuracy of soft decoding on a new image, and its simulation's standard error.

    Soft decoding answers argmax_l <m(l), q(.|x)>, m(l) the mean q over the labelled images of label
    l. The approximation: there are only the kinds of image in `cells` (`PosteriorCells`). Then the
    numbers of labelled images of each kind decide; they are drawn `n_simulations` times
    (multinomial), and the accuracy given them is exact. The standard error covers the draws. The
    cells of `cluster_table` neglect the spread of q within a cell, which flatters by up to some 2
    points; a sample of T images has no such bias, but an error of 0.5 / sqrt(T) of its own.
    """
    posteriors, labels, weights = _check_cells(cells)
    n = _check_n_labels(n_labels)
    n_simulations = _check_count("n_simulations", n_simulations, low=2)
    is_label = np.equal.outer(np.arange(labels.max() + 1), labels)
    rng = np.random.default_rng(seed)
    accuracies = np.empty(n_simulations)
    for i in range(n_simulations):
        counts = is_label * rng.multinomial(n, weights)
        n_of_label = counts.sum(axis=1)
        mean_posterior = counts @ posteriors / np.maximum(n_of_label, 1)[:, None]
        scores = np.where(n_of_label > 0, posteriors @ mean_posterior.T, -np.inf)
        accuracies[i] = weights[scores.argmax(axis=1) == labels].sum()
    return float(accuracies.mean()), float(accuracies.std(ddof=1) / math.sqrt(n_simulations))
