"""Naming under a constraint on the sizes of the classes, in the manner of PoissonMBO.

PoissonMBO (Calder et al. 2020) spreads labels over a graph, and then in turns lets the names
diffuse and moves the borders between the classes until each has the size that the method was told.
Here the start is the product of what the clusters say and of Poisson learning, and the sizes are
those of the labels unless others are given.

Names held to a wrong size are worse than names without a size. So the sizes must be known, or the
classes must be nearly equally large and the labels equally many of each, as on MNIST's published
draws. The shares of 73 random labels of 26 letters are no estimate (page *Fewer labels still*).
"""

import warnings

import numpy as np
from scipy.sparse import csr_array, diags_array

from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity
from gmvae_lib.study.rivals import PoissonLearning, TransductiveClassifier

# Chosen on the digits of MNIST with models 0 and 1 and labels drawn here, not the published draws
STRENGTH = 4.0  # of Poisson learning beside the clusters, in standard deviations of its scores
ROUNDS, STEPS = 3, 40  # of diffusion and balancing; of the diffusion in a round
MOST, CLOSE = 1000, 1e-3  # iterations of balancing; the largest relative error of a share


def balance(weights, shares):
    """Label probabilities whose mean over all images is ``shares``: weights scaled by label.

    Sinkhorn's iteration: a factor for each label, so that the columns have the wanted means, to a
    thousandth, while rows sum to 1.

    Parameters
    ----------
    weights : float array [N, C], above 0. shares : float [C], above 0, of sum 1.

    Returns
    -------
    float32 [N, C], rows sum to 1. If the shares are not met to a thousandth after `MOST`
    iterations, a warning says how far they are off.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> balance(p, [0.5, 0.5]).argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    weights = np.asarray(weights, dtype=np.float32)
    shares = np.asarray(shares, dtype=float)
    if shares.shape != weights.shape[1:] or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise InputError(
            f"shares: found {shares.tolist()}; expected {weights.shape[1]} numbers above 0 that "
            "sum to 1"
        )
    if not (weights > 0).all():
        raise InputError(f"weights: found {weights.min():.3g} as the least, expected above 0")
    factor = np.ones(len(shares))
    for _ in range(MOST):
        # the means of the columns, without the table of all probabilities
        mean = factor * (weights.T @ (1 / (weights @ factor.astype(np.float32)))) / len(weights)
        off = np.abs(mean / shares - 1).max()
        if off < CLOSE:
            break
        factor *= shares / mean
        factor /= factor.max()
    else:
        warnings.warn(f"shares are met to {off:.1%} only, after {MOST} iterations", stacklevel=2)
    balanced = weights * factor.astype(np.float32)
    return balanced / balanced.sum(axis=1, keepdims=True)


def evidence(scores, strength):
    """Weights from the scores [N, C] of Poisson learning: exp(strength * score / their deviation).

    The largest of each row is 1.
    """
    scores = np.asarray(scores, dtype=np.float32)
    apart = scores - scores.max(axis=1, keepdims=True)
    return np.exp(strength * apart / (scores.std() or 1.0))


class BalancedDiffusion(TransductiveClassifier):
    """Clusters and Poisson learning, then diffusion and balancing in turns.

    Parameters
    ----------
    q : array [N, K], posteriors of all images, smoothed.
    graph : sparse [N, N], connected, from `neighbours.adjacency`.
    shares : dict of the share of each label among the images, or None for those of the labels.
        Labels that none of the labelled images has are left out, and the others fill their place.

    Examples
    --------
    >>> from gmvae_lib.label.neighbours import adjacency
    >>> q = np.repeat([[0.9, 0.1], [0.1, 0.9]], 3, axis=0)
    >>> graph = adjacency([[1, 2], [0, 2], [1, 3], [2, 4], [3, 5], [4, 3]])
    >>> BalancedDiffusion(q, graph).fit([0, 5], ["cat", "dog"]).predict([1, 4]).tolist()
    ['cat', 'dog']
    """

    def __init__(self, q, graph, shares=None):
        self.q = q
        self.graph = graph
        self.shares = shares

    def _n_images(self):
        return len(self.q)

    def _score(self, rows, index):
        shares = self._shares(np.bincount(index))
        clusters = GraphDecoder(cluster_affinity(self.q)).fit(self.q[rows], index)
        spread = evidence(PoissonLearning(self.graph).fit(rows, index).scores_, STRENGTH)
        weights = clusters.predict_proba(self.q).astype(np.float32) * spread
        weights = np.maximum(weights, np.finfo(np.float32).tiny)
        proba = balance(weights, shares)
        walk = csr_array(diags_array(1 / self.graph.sum(axis=1)) @ self.graph, dtype=np.float32)
        certain = np.eye(len(shares), dtype=np.float32)
        for _ in range(ROUNDS):
            named = certain[proba.argmax(axis=1)]
            for _ in range(STEPS):
                named = walk @ named
                named[rows] = certain[index]
            proba = balance(named + 1e-6, shares)
        return proba

    def _shares(self, counts):
        if self.shares is None:
            return counts / counts.sum()
        missing = [label for label in self.classes_.tolist() if label not in self.shares]
        if missing:
            raise InputError(
                f"shares: found none for the label {missing[0]!r}; expected all labels"
            )
        told = np.array([self.shares[label] for label in self.classes_.tolist()], dtype=float)
        return told / told.sum()
