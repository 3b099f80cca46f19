"""Expected accuracy of hard and soft decoding, from a table of the clusters."""

import math
from typing import NamedTuple

import numpy as np

from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.arguments import (
    FALLBACKS,
    check_affinity,
    check_choice,
    check_count,
    check_distributions,
    check_n_labels,
    check_table,
)
from gmvae_lib.label.bounds.votes import vote_probabilities
from gmvae_lib.label.decoding import GraphDecoder

# Up to this many labels a cluster's vote is exact; above, Poissonised (error under 1e-4).
EXACT_VOTES = 1000


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
    q = check_distributions("q", q, ndim=2)
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
    posteriors = check_distributions("cells.posteriors", cells.posteriors, ndim=2)
    weights = check_distributions("cells.weights", cells.weights, ndim=1)
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


def ranked_by(scores):
    """Clusters in the order of scores [T, K], each row's own (diagonal or largest) first."""
    return np.argsort(-scores, axis=1, kind="stable")


def first_labelled(ranked, weights, n):
    """P(none of the clusters ranked before has a label, this one has) [T, K - 1], own left out.

    Exact: (1 - its predecessors' weight)^n - (1 - that and its own)^n.
    """
    empty = np.clip(1 - np.cumsum(weights[ranked], axis=1), 0, 1) ** n
    return empty[:, :-1] - empty[:, 1:]


def by_affinity(affinity):
    """Every cluster's order of the others, itself first: int [K, K]."""
    scores = affinity.copy()
    np.fill_diagonal(scores, np.inf)
    return ranked_by(scores)


def _in_proportion(affinity, weights, n):
    """P(an image of cluster c goes to c' | c has no label) [K, K]: in proportion to affinity.

    Let clocks ring at the rates a_j of the affinities: the image goes to the first labelled cluster
    whose clock rings. With clusters labelled independently, that is the integral over t of
    P(c' labelled) a_c' exp(-a_c' t) prod_{j != c'} (1 - P(j labelled) (1 - exp(-a_j t))), over its
    sum, since some cluster has a label.
    """
    rates = affinity * (1 - np.eye(len(affinity)))
    rates /= np.maximum(rates.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    log_t = np.linspace(-8, 46, 400)
    shares = np.empty_like(rates)
    for row, rate, own in zip(shares, rates, weights, strict=True):
        rang = -np.expm1(-np.multiply.outer(rate, np.exp(log_t)))
        # the draws of a world in which c is drawn by none
        labelled = 1 - np.clip(1 - weights / max(1 - own, 1e-300), 0, 1) ** n
        silent = np.maximum(1 - labelled[:, None] * rang, np.finfo(float).tiny)
        density = (labelled * rate)[:, None] * (1 - rang) / silent
        row[:] = np.trapezoid(density * np.prod(silent, axis=0) * np.exp(log_t), log_t, axis=1)
    return shares / np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(float).tiny)


def _right_by_first_label(joint, n):
    """P(the image's cluster has no label, and its letter is the first of the labels drawn).

    joint [K, L] = P(cluster, label). That no draw falls in cluster c or on a label before l has
    probability (1 - P(c or a label before l))^n; first means the same less l itself.
    """
    elsewhere = joint.sum(axis=0) - joint
    before = np.cumsum(elsewhere, axis=1)
    none = np.clip(1 - joint.sum(axis=1, keepdims=True) - np.c_[np.zeros(len(joint)), before], 0, 1)
    return (joint * (none[:, :-1] ** n - none[:, 1:] ** n)).sum()


def expected_hard_accuracy(
    label_given_cluster, weights, n_labels, fallback="nearest", cells=None, affinity=None
):
    """Expected accuracy of hard decoding (majority vote of each cluster) on a new image.

    label_given_cluster
        P(label | cluster) [K, L], rows sum to 1. `weights`: K or pi [K]. The `n_labels` labelled
        images are independent draws (N large). Votes tie to the first label.
    fallback
        A cluster without labels: "none" answers label 0, as in the article's published code;
        "first" answers the first of the labels drawn, as `HardDecoder(fallback="none")` does, which
        knows no others; "nearest" sends its images to their most likely labelled cluster;
        "proportional" sends each to a labelled cluster at random, in proportion to `affinity`.
    cells
        `PosteriorCells` that say, for "nearest", which clusters come next for an image.
    affinity
        [K, K], `decoding.cluster_affinity`. "nearest" then sends all images of a cluster to the
        labelled one of the largest affinity. Without cells and affinity every image ranks the other
        clusters by p(c | its own label): the most favourable guess, too high by up to 20 points.

    "none" and "first" are exact up to EXACT_VOTES labels (error about 1e-12) and Poissonised above
    (under 1e-4). The others besides take the vote of a labelled cluster as independent of which
    other clusters are empty, as it is for a Poisson number of labels.

    Examples
    --------
    Two clusters of one letter beside two of another; each pair shares images.

    >>> names, pairs = np.repeat(np.eye(2), 2, axis=0), np.kron(np.eye(2), np.ones((2, 2)))
    >>> round(expected_hard_accuracy(names, 4, 4, "none"), 4)
    0.8418
    >>> round(expected_hard_accuracy(names, 4, 4, affinity=pairs), 4)
    0.9375
    """
    label_given_cluster, weights = check_table(label_given_cluster, weights)
    K, L = label_given_cluster.shape
    n = check_n_labels(n_labels)
    check_choice("fallback", fallback, FALLBACKS)
    if cells is not None:
        cells = _check_cells(cells, K, L)
    if affinity is not None:
        affinity = check_affinity(affinity, K)
    elif fallback == "proportional":
        raise InputError("affinity: found none, expected it for the fallback 'proportional'")
    votes = np.stack(
        [
            vote_probabilities(row, weight, n, poisson=n > EXACT_VOTES)
            for row, weight in zip(label_given_cluster, weights, strict=True)
        ]
    )
    missed = (1 - weights) ** n
    accuracy = weights @ (label_given_cluster * votes).sum(axis=1)
    if fallback == "none" or n == 0:
        accuracy += (weights * missed) @ label_given_cluster[:, 0]
    elif fallback == "first":
        accuracy += _right_by_first_label(weights[:, None] * label_given_cluster, n)
    else:
        vote_if_labelled = votes / np.maximum(1 - missed, np.finfo(float).tiny)[:, None]
        if cells is not None:
            ranked = ranked_by(cells.posteriors)[:, 1:]
            first = first_labelled(ranked_by(cells.posteriors), weights, n)
            right = vote_if_labelled[ranked, cells.labels[:, None]]
            accuracy += cells.weights @ (first * right).sum(axis=1)
        elif affinity is not None:
            right = label_given_cluster @ vote_if_labelled.T
            if fallback == "nearest":
                ranked = by_affinity(affinity)
                first = first_labelled(ranked, weights, n)
                rescued = (first * np.take_along_axis(right, ranked[:, 1:], axis=1)).sum(axis=1)
            else:
                rescued = missed * (_in_proportion(affinity, weights, n) * right).sum(axis=1)
            accuracy += weights @ rescued
        else:
            accuracy += _rescued_by_letter(label_given_cluster, weights, vote_if_labelled, n)
    return float(min(accuracy, 1.0))


def _rescued_by_letter(label_given_cluster, weights, vote_if_labelled, n):
    """Share rescued where each image ranks the other clusters by p(c | its own label)."""
    cluster_given_label = (weights[:, None] * label_given_cluster).T
    rescued = 0.0
    for c in np.flatnonzero(weights * (1 - weights) ** n > 1e-12):
        scores = cluster_given_label.copy()
        scores[:, c] = np.inf
        ranked = ranked_by(scores)
        right = np.take_along_axis(vote_if_labelled.T, ranked[:, 1:], axis=1)
        right = (first_labelled(ranked, weights, n) * right).sum(axis=1)
        rescued += weights[c] * (label_given_cluster[c] @ right)
    return rescued


def expected_graph_accuracy(
    label_given_cluster, weights, affinity, n_labels, n_simulations=200, seed=0
):
    """Expected accuracy of the graph rule, cluster by cluster, and its simulation's standard error.

    The rule is `GraphDecoder`'s, each labelled image counting for its own cluster and each cluster
    answering one label. The numbers of labels of each kind in each cluster are drawn
    `n_simulations` times; the accuracy given them is exact.

    label_given_cluster, weights: as in `expected_hard_accuracy`. affinity [K, K].

    Examples
    --------
    >>> names, pairs = np.repeat(np.eye(2), 2, axis=0), np.kron(np.eye(2), np.ones((2, 2)))
    >>> accuracy, error = expected_graph_accuracy(names, 4, pairs, 4)
    >>> bool(abs(accuracy - 0.9375) < 4 * error)
    True
    """
    label_given_cluster, weights = check_table(label_given_cluster, weights)
    K, L = label_given_cluster.shape
    affinity = check_affinity(affinity, K)
    n = check_n_labels(n_labels)
    n_simulations = check_count("n_simulations", n_simulations, low=2)
    joint, rng = (weights[:, None] * label_given_cluster).ravel(), np.random.default_rng(seed)
    accuracies = np.empty(n_simulations)
    for i in range(n_simulations):
        cluster, label = divmod(np.repeat(np.arange(K * L), rng.multinomial(n, joint)), L)
        answers = np.zeros(K, dtype=int)
        if n:
            graph = GraphDecoder(affinity).fit(np.eye(K)[cluster], label)
            answers = graph.classes_[graph.label_given_component_.argmax(axis=0)]
        accuracies[i] = weights @ label_given_cluster[np.arange(K), answers]
    return float(accuracies.mean()), float(accuracies.std(ddof=1) / math.sqrt(n_simulations))


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
    n = check_n_labels(n_labels)
    n_simulations = check_count("n_simulations", n_simulations, low=2)
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
