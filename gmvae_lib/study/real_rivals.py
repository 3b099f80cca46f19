"""What the GMVAE is compared with on real sets, by name: functions (rows, labels, seed) -> [N].

Each takes the row numbers of the labelled pictures with their labels, and answers for all pictures.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from gmvae_lib.label.decoding import HardDecoder
from gmvae_lib.label.neighbours import NEIGHBOURS, adjacency
from gmvae_lib.study.baselines import RandomDrawClassifier, gradient_boosting
from gmvae_lib.study.clusterings import kmeans_posterior
from gmvae_lib.study.latent_maps import euclidean_neighbours
from gmvae_lib.study.rivals import PoissonLearning, Spreading, nearest_labels

QUICK = (
    *("logistic regression", "k-NN", "k-means, then labels"),
    *("label spreading", "Poisson learning"),
)
SLOW = ("XGBoost", "convolutional net")


def ours(model):
    """The GMVAE's clusters, named by labels: a fitted `GMVAEClassifier`."""

    def answers(rows, labels, seed):
        return np.asarray(model.fit_labels(rows, labels).transduction_)

    return answers


def quick(images, kind: str, K: int) -> dict:
    """Those that answer in seconds, on the pixels or the features that the GMVAE sees."""
    X = images.pixels() if kind == "pixels" else images.images
    scaled = StandardScaler().fit_transform(X.astype(np.float64)).astype(np.float32)
    q = kmeans_posterior(X, K)
    neighbours = euclidean_neighbours(X)
    graph = adjacency(neighbours)
    return {
        "logistic regression": _on(scaled, lambda n, seed: _logistic_regression(seed)),
        "k-NN": _on(X, lambda n, seed: nearest_labels(n, seed, 1)),
        "k-means, then labels": _on(q, lambda n, seed: HardDecoder()),
        "label spreading": _on_rows(len(X), lambda: Spreading(graph)),
        "Poisson learning": _on_rows(
            len(X), lambda: PoissonLearning(connected_graph(X, neighbours))
        ),
    }


def slow(model, images) -> dict:
    """Those that take minutes, on pixels; the network sees the kinds of views that were chosen."""
    from gmvae_lib.study.networks import ConvolutionalNetwork, steps_for

    pixels, views = images.pixels(), model.run_.train_config.views
    config = model.run_.config

    def network(n, seed):
        return ConvolutionalNetwork(config, steps_for(n), seed, views)

    return {
        "XGBoost": _on(pixels, lambda n, seed: gradient_boosting(n, seed, 1)),
        "convolutional net": _on(pixels, network),
    }


def connected_graph(X, neighbours=None):
    """The graph of nearest neighbours of X [N, D], of 10, 20, 40, ... until it is connected.

    neighbours : int [N, 10], if they are known.

    Examples
    --------
    >>> far = np.r_[np.zeros((12, 1)), np.ones((12, 1))] + np.arange(24)[:, None] / 100
    >>> connected_graph(far).shape
    (24, 24)
    """
    from scipy.sparse.csgraph import connected_components

    n = NEIGHBOURS
    while True:
        if neighbours is None or neighbours.shape[1] != n:
            neighbours = euclidean_neighbours(X, min(n, len(X) - 1))
        graph = adjacency(neighbours)
        if connected_components(graph, directed=False, return_labels=False) == 1:
            return graph
        n *= 2


def _logistic_regression(seed):
    """L2 with C = 1 on columns that are standardised already, over all pictures."""
    return RandomDrawClassifier(LogisticRegression(max_iter=1000, random_state=seed))


def _on(X, make):
    """Answers of an inductive classifier of X; make : of the number of labels and a seed."""

    def answers(rows, labels, seed):
        return make(len(rows), seed).fit(X[rows], labels).predict(X)

    return answers


def _on_rows(n, make):
    """Answers of a transductive classifier."""

    def answers(rows, labels, seed):
        return make().fit(rows, labels).predict(np.arange(n))

    return answers
