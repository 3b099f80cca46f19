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

# Three labels or more: beyond so many votes by Chernoff's bound, no exact number is searched for.
MOST_VOTES = 20_000


def vote_probabilities(label_probs, weight, n, poisson=False):
    """P(label l gets the most of a cluster's votes, ties to the first label) [L]; n draws in all.

    The rest, 1 - sum, is the probability that the cluster gets no vote. With N ~ Poisson(n) draws
    (`poisson`) the votes v_l ~ Poisson(n weight p_l) are independent, and l wins with v votes when
    the labels before it have fewer and those after it no more. For n draws by `mean_round_circle`.
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

    wins[present] = math.exp(log_draws(n, n, None)) * mean_round_circle(
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
    label_probs = check_distributions("label_probs", label_probs, ndim=1)
    n_votes = check_count("n_votes", n_votes)
    # The true majority goes last: it then loses every tie.
    order = np.append(np.delete(label_probs, label_probs.argmax()), label_probs.max())
    return float(vote_probabilities(order, 1.0, n_votes)[-1])


def labels_for_majority(label_probs, confidence=0.95, method="exact"):
    """Labels in one impure cluster for its majority vote to be right with `confidence`.

    "exact": smallest n such that n and n + 1 votes (an even number can tie) both reach it by
    `majority_probability`. "chernoff": smallest n with sum_j (1 - (sqrt p - sqrt p_j)^2)^n at most
    1 - confidence over the other labels j, Chernoff's bound on the votes of j reaching those of the
    majority: never fewer than needed. (Majority vote over mixture components: Dan et al. 2018.)
    "exact" refuses three labels or more that need above MOST_VOTES votes by Chernoff's bound.
    """
    label_probs = check_distributions("label_probs", label_probs, ndim=1)
    confidence = check_open_unit("confidence", confidence)
    check_choice("method", method, ("exact", "chernoff"))
    p = np.sort(label_probs)
    if len(p) > 1 and p[-1] - p[-2] < 1e-9:
        raise InputError(
            f"label_probs: found two labels at {p[-1]:g}, expected one most frequent label"
        )
    affinity = 1 - (np.sqrt(p[-1]) - np.sqrt(p[:-1])) ** 2
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
