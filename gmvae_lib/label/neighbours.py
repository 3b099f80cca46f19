"""Images ask the images that look alike: for their component, without labels, and for a label."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity

NEIGHBOURS = 10  # that an image asks


def smooth_posterior(q, neighbours, weight: float = 0.9, steps: int = 10, others=None):
    """Mix every image's q(c|x) with that of its nearest neighbours, again and again.

    q~ <- (1 - weight) q + weight * mean of q~ over the neighbours: the label spreading of Zhou et
    al. 2004 with clusters in the place of labels, so it needs none.

    Parameters
    ----------
    q : array [N, K], rows sum to 1.
    neighbours : int array [N, n], rows of the nearest images in the encoder's features
        (training.nearest), or with ``others`` rows of it.
    weight : of the neighbours, 0 to below 1. steps : of the iteration.
    others : array [M, K], smoothed posteriors of other images that ``neighbours`` points into: for
        images that come after those were smoothed. One step is then all there is.

    Returns
    -------
    float32 [N, K], rows sum to 1.
    """
    q = np.asarray(q, dtype=np.float32)
    _check_weight(weight)
    mean = np.float32(weight) * _mean_over(neighbours, len(q), len(q if others is None else others))
    own = (1 - np.float32(weight)) * q
    if others is not None:
        return own + mean @ np.asarray(others, dtype=np.float32)
    smoothed = q
    for _ in range(steps):
        smoothed = own + mean @ smoothed
    return smoothed


def _check_weight(weight):
    if not 0 <= weight < 1:
        raise InputError(f"weight: found {weight}; expected 0 or more and below 1")


def _mean_over(neighbours, n_rows, n_pool):
    """The sparse matrix [n_rows, n_pool] that takes the mean over each row's neighbours."""
    mean = _links(neighbours, n_rows, n_pool)
    mean.data /= np.shape(neighbours)[1]
    return mean


def _links(neighbours, n_rows, n_pool):
    """The sparse float32 matrix [n_rows, n_pool] that is 1 at each row's neighbours."""
    from scipy.sparse import csr_array

    neighbours = np.asarray(neighbours)
    if neighbours.ndim != 2 or len(neighbours) != n_rows:
        raise InputError(f"neighbours: found shape {neighbours.shape}; expected [{n_rows}, n]")
    if neighbours.size and not (neighbours.min() >= 0 and neighbours.max() < n_pool):
        raise InputError(
            f"neighbours: found rows {neighbours.min()} to {neighbours.max()}; "
            f"expected 0 to {n_pool - 1}"
        )
    n = neighbours.shape[1]
    starts = np.arange(0, neighbours.size + 1, n)
    ones = np.ones(neighbours.size, dtype=np.float32)
    return csr_array((ones, neighbours.ravel(), starts), shape=(n_rows, n_pool))


def adjacency(neighbours):
    """Edges between images of which either is a neighbour of the other: sparse [N, N], symmetric.

    Weight 1, or 2 where both are: `neighbour_graph` before it is normalised.
    """
    edges = _links(neighbours, len(neighbours), len(neighbours))
    return edges + edges.T


def neighbour_graph(neighbours):
    """The graph of images on which labels spread: sparse float32 [N, N].

    An edge joins two images when either is a neighbour of the other (twice, when both); the weights
    are the edges over the root of the product of their ends' degrees (Zhou et al. 2004).

    Parameters
    ----------
    neighbours : int array [N, n], rows of the nearest images (training.nearest).
    """
    from scipy.sparse import csr_array, diags_array

    n = len(neighbours)
    edges = _mean_over(neighbours, n, n)
    edges = edges + edges.T
    root = 1 / np.sqrt(edges.sum(axis=1))  # no degree is 0: each image has its own neighbours
    return csr_array(diags_array(root) @ edges @ diags_array(root), dtype=np.float32)


def neighbour_decoder(q, neighbours):
    """The decoder on the neighbour graph, unfitted; its ``q`` is the smoothed posterior.

    Parameters
    ----------
    q : array [N, K], rows sum to 1.
    neighbours : int array [N, n], rows of each image's nearest images (`vae.nearest`).

    Returns
    -------
    NeighbourDecoder, whose points are the row numbers 0 to N - 1.
    """
    return NeighbourDecoder(smooth_posterior(q, neighbours), neighbour_graph(neighbours))


class NeighbourDecoder(ClassifierMixin, BaseEstimator):
    """The graph decoder's opinion times that of labelled images near by, over the neighbour graph.

    p(l|x) is proportional to p_graph(l|x) * (s_l(x) + background / N) / (n_l + background): Bayes'
    rule with p_graph, that of `GraphDecoder`, as the prior and how densely label l lies around x as
    the likelihood. s is the label spreading of Zhou et al. 2004 from the labelled images,
    s <- weight * graph @ s + (1 - weight) * labelled; over all images it sums to about n_l, so that
    a label drawn often has no advantage here (p_graph knows its frequency). Clusters say what an
    image is when no label is near; near labels tell apart what a cluster holds together.

    It sees all images beforehand, so its points are their row numbers: int array [n] or [n, 1].

    Parameters
    ----------
    q : array [N, K], posteriors of all images; best smoothed.
    graph : sparse [N, N], from `neighbour_graph`.
    weight : of the neighbours, 0 to below 1. steps : of the spreading.
    background : labelled images of each label, thought to be spread evenly over all N, that keep a
        far label from deciding; above 0. Smaller trusts the neighbours more.

    Attributes
    ----------
    classes_ : array [C]
    proba_ : float32 [N, C], p(l|x) of all images; rows sum to 1.
    clusters_ : GraphDecoder, p_graph.
    near_ : float32 [N, C], s.
    """

    def __init__(self, q, graph, weight=0.99, steps=30, background=1.0):
        self.q = q
        self.graph = graph
        self.weight = weight
        self.steps = steps
        self.background = background

    def fit(self, rows, y):
        rows, y = labelled_rows(rows, y, len(self.q))
        if self.graph.shape != (len(self.q), len(self.q)):
            raise InputError(
                f"graph: found shape {self.graph.shape}; expected {(len(self.q), len(self.q))}"
            )
        _check_weight(self.weight)
        if not self.background > 0:
            raise InputError(f"background: found {self.background}; expected above 0")
        self.classes_, index = np.unique(y, return_inverse=True)
        self.clusters_ = GraphDecoder(cluster_affinity(self.q)).fit(self.q[rows], y)
        sources = np.zeros((len(self.q), len(self.classes_)), dtype=np.float32)
        np.add.at(sources, (rows, index), 1)
        self.near_ = self._spread(rows, sources)
        self.proba_ = self._proba(self.q, self.near_).astype(np.float32)
        return self

    def leave_one_out(self, rows, y, chunk=200):
        """p(l|x) of labelled images, each from the labels of the others: float [n, C].

        What `decoding.held_out_proba` gives with a fold for each, at a few times the cost of one
        `fit`: the spreading is linear, so one pass tells how near each label is to each other.
        Rows are distinct; columns are in the order of np.unique(y), 0 where nothing is left of one.
        """
        rows, (classes, index) = row_numbers(rows, len(self.q)), np.unique(y, return_inverse=True)
        nearness = np.empty((len(rows), len(rows)), dtype=np.float32)  # of row i to label j
        for start in range(0, len(rows), chunk):
            columns = np.arange(start, min(start + chunk, len(rows)))
            sources = np.zeros((len(self.q), len(columns)), dtype=np.float32)
            sources[rows[columns], columns - start] = 1
            nearness[:, columns] = self._spread(rows, sources)[rows]
        np.fill_diagonal(nearness, 0)
        of_label = np.eye(len(classes), dtype=np.float32)[index]
        counts = of_label.sum(axis=0) - of_label  # [n, C], without one's own
        proba = self._density(nearness @ of_label, counts) * (counts > 0)
        affinity = cluster_affinity(self.q)
        for i in range(len(rows)):
            others = np.arange(len(rows)) != i
            if others.any():
                clusters = GraphDecoder(affinity).fit(self.q[rows[others]], index[others])
                proba[i, clusters.classes_] *= clusters.predict_proba(self.q[rows[i : i + 1]])[0]
        total = proba.sum(axis=1, keepdims=True)
        return np.divide(proba, total, out=np.zeros_like(proba), where=total > 0)

    def _spread(self, rows, sources):
        """Labels spread from their images over the graph: float32 [N, n]; sources [N, n]."""
        near = sources
        for _ in range(self.steps):
            near = np.float32(self.weight) * (self.graph @ near)
            near[rows] += np.float32(1 - self.weight) * sources[rows]
        return near

    def _density(self, near, counts):
        """How densely each label lies, given how many labels of it there are."""
        return (near + self.background / len(self.q)) / (counts + self.background)

    def _proba(self, q, near):
        # in float32 as the sums of ones that it is
        density = self._density(near, self.clusters_.class_count_.astype(np.float32))
        proba = self.clusters_.predict_proba(q) * density
        return proba / proba.sum(axis=1, keepdims=True)

    def predict_proba(self, rows):
        """p(l|x), float32 [n, C], of images by their row numbers."""
        return self.proba_[row_numbers(rows, len(self.q))]

    def predict_proba_later(self, q, neighbours):
        """p(l|x), [M, C], of images that come after `fit`: they ask, and are asked by nobody.

        q : array [M, K], best smoothed (`smooth_posterior` with ``others``).
        neighbours : int array [M, n], the nearest of the N images to each.
        """
        asks = _mean_over(neighbours, len(q), len(self.near_))
        return self._proba(q, np.float32(self.weight) * (asks @ self.near_))

    def predict(self, rows):
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]


def row_numbers(rows, n):
    """Rows of n images, checked: int array [m] of int array [m] or [m, 1]."""
    rows = np.asarray(rows).reshape(-1)
    if rows.size and not (rows.dtype.kind in "iu" and 0 <= rows.min() and rows.max() < n):
        raise InputError(
            f"rows: found {rows.min()} to {rows.max()} of type {rows.dtype}; "
            f"expected row numbers, 0 to {n - 1}"
        )
    return rows


def labelled_rows(rows, y, n):
    """Rows of n images and a label for each, checked: int array [m], array [m]; m at least 1."""
    rows, y = row_numbers(rows, n), np.asarray(y)
    if len(rows) != len(y) or not len(y):
        raise InputError(f"y: found {len(y)} labels for {len(rows)} rows; expected one each")
    return rows, y
