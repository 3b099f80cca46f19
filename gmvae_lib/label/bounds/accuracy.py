"""Expected accuracy of hard and soft decoding, from a table of the clusters."""

import math
from typing import NamedTuple

import numpy as np

from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.arguments import (
    FALLBACKS,
    check_choice,
    check_count,
    check_distributions,
    check_n_labels,
    check_weights,
)
from gmvae_lib.label.bounds.votes import vote_probabilities

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
    label_given_cluster = check_distributions("label_given_cluster", label_given_cluster, ndim=2)
    weights = check_weights(weights)
    K, L = label_given_cluster.shape
    if len(weights) != K:
        raise InputError(f"weights: found {len(weights)}, expected {K}, as label_given_cluster has")
    n = check_n_labels(n_labels)
    check_choice("fallback", fallback, FALLBACKS)
    if cells is not None:
        cells = _check_cells(cells, K, L)
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
