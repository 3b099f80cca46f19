"""What no decoder can exceed with n labels: the other side of the predictions."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import entr

from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.accuracy import EXACT_VOTES, first_labelled, ranked_by
from gmvae_lib.label.bounds.arguments import (
    check_count,
    check_n_labels,
    check_numbers,
    check_open_unit,
    check_table,
    check_weights,
)
from gmvae_lib.label.bounds.votes import vote_probabilities


def best_accuracy(weights, n_labels, n_classes, label_given_cluster=None):
    """Accuracy that no decoder exceeds with random labels and clusters named independently.

    Which label is which is drawn anew and uniformly for every cluster (all n_classes! orders), so
    that one cluster says nothing of another. Then the best rule knows no more than the votes of the
    image's own cluster: the commonest label, and in a cluster without votes any label, right with
    probability 1 / n_classes. Averaged over the names no rule does better, and this one attains it.
    A real decoder can exceed the bound only as far as clusters do depend on each other.

    Parameters
    ----------
    weights : int K or pi [K]. n_labels : int. n_classes : int, L, 2 or more.
    label_given_cluster : array [K, L], optional
        P(label | cluster); columns may be in any order. Without it clusters are pure, and the bound
        is 1 - (1 - 1/L) * `expected_missing_mass`.

    Examples
    --------
    >>> round(best_accuracy(100, 73, 26), 3)
    0.538
    """
    n, L = check_n_labels(n_labels), check_count("n_classes", n_classes, low=2)
    table = (
        np.ones((len(check_weights(weights)), 1))
        if label_given_cluster is None
        else (label_given_cluster)
    )
    table, weights = check_table(table, weights)
    if table.shape[1] > L:
        raise InputError(f"n_classes: found {L}, expected {table.shape[1]}, as in the table")
    votes = np.stack(
        [
            vote_probabilities(row, weight, n, poisson=n > EXACT_VOTES, ties="random")
            for row, weight in zip(table, weights, strict=True)
        ]
    )
    guessed = weights @ (1 - weights) ** n / L
    return float(min(weights @ (table * votes).sum(axis=1) + guessed, 1.0))


def accuracy_ceiling(label_given_cluster, weights, n_labels):
    """Accuracy that no rule exceeds which answers one label a cluster, of those that it has seen.

    However clusters depend on each other: at best each answers the commonest of its labels that is
    among the `n_labels` random ones. Exact expectation of that. With many labels it is the purity.

    Examples
    --------
    >>> round(accuracy_ceiling([[0.8, 0.2], [0.1, 0.9]], [0.5, 0.5], 1), 4)
    0.505
    >>> round(accuracy_ceiling([[0.8, 0.2], [0.1, 0.9]], [0.5, 0.5], 50), 4)
    0.85
    """
    table, weights = check_table(label_given_cluster, weights)
    n, label_weights = check_n_labels(n_labels), weights @ table
    # A row of -1 before the labels stands for "own": nothing comes before the commonest label.
    ranked = np.pad(ranked_by(table) + 1, ((0, 0), (1, 0)))
    first = first_labelled(ranked, np.append(0, label_weights), n)
    return float(weights @ (first * -np.sort(-table, axis=1)).sum(axis=1))


def fano_labels(names_entropy, weights, n_classes, accuracy):
    """Labels without which no rule reaches an accuracy on pure clusters, however they are placed.

    A label carries at most log L nats, and Fano's inequality says how much must be known of the
    names: n >= (H - max sum_c phi(e_c)) / log L, phi(e) = h(e) + e log(L - 1), over the errors e_c
    with sum_c pi_c e_c = 1 - accuracy.

    Parameters
    ----------
    names_entropy : float, nats
        H, the joint entropy of the names of the clusters; K log L if they are independent.
    weights : int K or pi [K]. n_classes : int, L, 2 or more.
    accuracy : float, between 0 and 1.

    Examples
    --------
    >>> fano_labels(100 * math.log(26), 100, 26, 0.9)
    81
    """
    L = check_count("n_classes", n_classes, low=2)
    weights, wrong = check_weights(weights), 1 - check_open_unit("accuracy", accuracy)
    entropy = float(check_numbers("names_entropy", [names_entropy], ndim=1)[0])

    def errors(slope):
        return (L - 1) / (L - 1 + np.exp(np.minimum(slope * weights, 700)))

    if wrong >= (L - 1) / L:
        return 0
    top = 1 / weights[weights > 0].min()
    while weights @ errors(top) > wrong:
        top *= 2
    e = errors(brentq(lambda slope: weights @ errors(slope) - wrong, 0, top))
    unknown = (entr(e) + entr(1 - e) + e * math.log(L - 1)).sum()
    return max(0, math.ceil((entropy - unknown) / math.log(L) - 1e-9))
