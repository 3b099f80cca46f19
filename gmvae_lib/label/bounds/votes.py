"""Majority votes within a cluster."""

import math

import numpy as np
from scipy.special import gammaln, pdtr, xlogy
from scipy.stats import binom

from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.arguments import (
    check_choice,
    check_count,
    check_distributions,
    check_open_unit,
    smallest_integer,
)
from gmvae_lib.label.bounds.circle import LOG_ERROR, log_draws, mean_round_circle

TIES = ("first", "random")
# Three labels or more: beyond so many votes by Chernoff's bound, no exact number is searched for.
MOST_VOTES = 20_000


def vote_probabilities(label_probs, weight, n, poisson=False, ties="first"):
    """P(label l gets the most of a cluster's votes) [L]; n draws in all.

    Ties go to the first label, or to one of the tied at random (``ties``, one of `TIES`). The rest,
    1 - sum, is the probability that the cluster gets no vote. With N ~ Poisson(n) draws (`poisson`)
    the votes v_l ~ Poisson(n weight p_l) are independent, and l wins with v votes when the labels
    before it have fewer and those after it no more. For n draws by `mean_round_circle`.
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
            pmf * _all_below(pdtr(votes - 1, rates)[None], pdtr(votes, rates)[None], ties)[0]
        ).sum(axis=1)
        return np.clip(wins, 0, 1)
    votes = np.arange(most + 1)
    pmf = np.exp(xlogy(votes, rates) - rates - gammaln(votes + 1))
    slack = n * (1 - weight)

    def phi(theta):
        turned = pmf * np.exp(1j * np.multiply.outer(theta, votes))[:, None]
        cdf = np.cumsum(turned, axis=-1)
        won = (turned[..., 1:] * _all_below(cdf[..., :-1], cdf[..., 1:], ties)).sum(axis=-1)
        return won * np.exp(slack * np.expm1(1j * np.asarray(theta)))[:, None]

    wins[present] = math.exp(log_draws(n, n, None)) * mean_round_circle(
        n, phi, lambda theta: -2 * slack * math.sin(theta / 2) ** 2
    )
    return np.clip(wins, 0, 1)


def _all_below(fewer, no_more, ties):
    """P(label l is the winner | its votes) for each label; arguments and result [T, L, V].

    First: prod_{j<l} fewer_j prod_{j>l} no_more_j. At random: the integral over 0 <= s <= 1 of
    prod_{j != l} (fewer_j + s tied_j), which gives k tied labels the weight 1 / (k + 1); a
    polynomial of degree L - 1, for which Gauss's rule is exact, or with eight nodes near to it.
    """
    if ties == "first":
        return _all_others(fewer, no_more)
    nodes, weights = np.polynomial.legendre.leggauss(min(8, (fewer.shape[1] + 1) // 2))
    mixed = (fewer + (node + 1) / 2 * (no_more - fewer) for node in nodes)
    return sum(w / 2 * _all_others(m, m) for w, m in zip(weights, mixed, strict=True))


def _all_others(before, after):
    """prod_{j<l} before_j prod_{j>l} after_j for each l."""
    product = np.ones_like(before)
    np.cumprod(before[:, :-1], axis=1, out=product[:, 1:])
    product[:, :-1] *= np.cumprod(after[:, :0:-1], axis=1)[:, ::-1]
    return product


def majority_probability(label_probs, n_votes):
    """P(the most frequent label of a cluster gets strictly more of its n votes than any other).

    `label_probs` is P(label | cluster) [L]. Exact; ties count as failures.
    """
    label_probs = check_distributions("label_probs", label_probs, ndim=1)
    n_votes = check_count("n_votes", n_votes)
    # The true majority goes last: it then loses every tie.
    order = np.append(np.delete(label_probs, label_probs.argmax()), label_probs.max())
    return float(vote_probabilities(order, 1.0, n_votes)[-1])


def labels_for_majority(label_probs, confidence=0.95, method="exact"):
    """Labels in one impure cluster for its majority vote to be right with `confidence`.

    method
        "exact": smallest n such that n and n + 1 votes (an even number can tie) both reach it by
        `majority_probability`; refuses three labels or more that need above MOST_VOTES votes by
        Chernoff's bound.
        "chernoff", never fewer than needed: smallest n with sum_j rho_j^n <= 1 - confidence over
        the other labels j, rho_j = 1 - (sqrt p - sqrt p_j)^2, Chernoff's bound on the votes of j
        reaching those of the majority.
        "lower", never more than needed: the same exponent is the true one. Smallest n with
        sqrt(p_2 / p) rho_2^n / sqrt(2 (n + 1)) <= 1 - confidence, 2 the runner-up.

    Both bounds are proved in chapter 3. Majority vote over mixture components: Dan et al. 2018.

    Examples
    --------
    >>> [labels_for_majority([0.75, 0.25], method=m) for m in ("lower", "exact", "chernoff")]
    [8, 13, 21]
    """
    label_probs = check_distributions("label_probs", label_probs, ndim=1)
    confidence = check_open_unit("confidence", confidence)
    check_choice("method", method, ("exact", "chernoff", "lower"))
    p = np.sort(label_probs)
    if len(p) > 1 and p[-1] - p[-2] < 1e-9:
        raise InputError(
            f"label_probs: found two labels at {p[-1]:g}, expected one most frequent label"
        )
    affinity = 1 - (np.sqrt(p[-1]) - np.sqrt(p[:-1])) ** 2
    if method == "lower":
        runner_up = p[-2] if len(p) > 1 else 0.0
        rho = 1 - (math.sqrt(p[-1]) - math.sqrt(runner_up)) ** 2
        log_ratio, log_rho = np.log(np.maximum([runner_up / p[-1], rho], 1e-300))
        log_wrong = math.log1p(-confidence)
        return smallest_integer(
            lambda n: log_ratio / 2 + n * log_rho - math.log(2 * (n + 1)) / 2 <= log_wrong and n > 0
        )
    chernoff = smallest_integer(lambda n: n > 0 and (affinity**n).sum() <= 1 - confidence)
    if method == "chernoff":
        return chernoff
    if (p > 0).sum() <= 2:  # one label's votes are binomial
        return smallest_integer(
            lambda n: binom.sf([n // 2, (n + 1) // 2], [n, n + 1], p[-1]).min() >= confidence
        )
    if chernoff > MOST_VOTES:
        raise InputError(
            f"label_probs: found labels at {p[-1]:g} and {p[-2]:g}, so near that some {chernoff} "
            f"votes are needed, expected at most {MOST_VOTES} (or method='chernoff')"
        )
    return smallest_integer(
        lambda n: min(majority_probability(p, n), majority_probability(p, n + 1)) >= confidence
    )
