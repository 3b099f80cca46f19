"""Neighbourhood smoothing of q(c|x), and a decoder on the graph of nearest neighbours."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity

NEIGHBOURS = 10  # nearest images of each image


def smooth_posterior(q, neighbours, weight: float = 0.9, steps: int = 10, others=None):
    """Average every image's q(c|x) with those of its nearest neighbours, repeatedly.

    q~ <- (1 - weight) q + weight * mean of q~ over the neighbours: the label spreading of Zhou et
    al. 2004 applied to clusters, so that it needs no label.

    Parameters
    ----------
    q : array [N, K], rows sum to 1.
    neighbours : int array [N, n], rows of the nearest images in the encoder's features
        (`vae.nearest`), or rows of ``others``.
    weight : of the neighbours, 0 to below 1. steps : of the iteration.
    others : array [M, K], optional. Smoothed posteriors of other images, among which ``neighbours``
        are then looked up: for images that arrive after those were smoothed. One step is made.

    Returns
    -------
    float32 [N, K], rows sum to 1.

    Examples
    --------
    >>> import numpy as np
    >>> q = np.array([[1.0, 0.0], [1.0, 0.0], [0.4, 0.6]])
    >>> print(smooth_posterior(q, [[1], [0], [0]], weight=0.5).round(3))
    [[1.  0. ]
     [1.  0. ]
     [0.7 0.3]]
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
    if neighbours.ndim != 2 or len(neighbours) != n_rows or 0 in neighbours.shape:
        raise InputError(
            f"neighbours: found shape {neighbours.shape}; expected [{n_rows}, n], n at least 1"
        )
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

    The weight is 1, or 2 where each is a neighbour of the other.

    Examples
    --------
    >>> adjacency([[1], [0], [1]]).toarray().tolist()
    [[0.0, 2.0, 0.0], [2.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    edges = _links(neighbours, len(neighbours), len(neighbours))
    return edges + edges.T


def neighbour_graph(neighbours):
    """The symmetrically normalised graph of nearest neighbours: sparse float32 [N, N].

    The entries are those of `adjacency`, each divided by the root of the product of the degrees of
    its two images (Zhou et al. 2004).

    Parameters
    ----------
    neighbours : int array [N, n], rows of the nearest images (`vae.nearest`).

    Examples
    --------
    >>> print(neighbour_graph([[1], [0], [1]]).toarray().round(3))
    [[0.    0.816 0.   ]
     [0.816 0.    0.577]
     [0.    0.577 0.   ]]
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

    Examples
    --------
    >>> import numpy as np
    >>> q = np.full((4, 1), 1.0)  # a single cluster, so that the neighbours alone decide
    >>> decoder = neighbour_decoder(q, [[1], [0], [3], [2]]).fit([0, 2], ["cat", "dog"])
    >>> decoder.predict([0, 1, 2, 3]).tolist()
    ['cat', 'cat', 'dog', 'dog']
    """
    return NeighbourDecoder(smooth_posterior(q, neighbours), neighbour_graph(neighbours))


class NeighbourDecoder(ClassifierMixin, BaseEstimator):
    """Bayes' rule with the graph decoder as the prior and label spreading as the likelihood.

    p(l|x) is proportional to p_graph(l|x) * (s_l(x) + background / N) / (n_l + background), with
    p_graph from `GraphDecoder` and s_l(x), the density of label l around x, from the label
    spreading of Zhou et al. 2004: s <- weight * graph @ s + (1 - weight) * labelled. Over all
    images s_l sums to about n_l, so that frequent labels have no advantage here; p_graph accounts
    for their frequency. The clusters decide where no labelled image is near, and near labels
    distinguish images within a cluster.

    The decoder is transductive: its points are row numbers of the N images, int array [n] or
    [n, 1].

    Parameters
    ----------
    q : array [N, K], posteriors of all images; best smoothed.
    graph : sparse [N, N], from `neighbour_graph`.
    weight : of the neighbours, 0 to below 1. steps : of the spreading.
    background : labelled images of each label that are assumed to be spread evenly over all N, so
        that no distant label decides; above 0. Smaller values trust the neighbours more.

    Attributes
    ----------
    classes_ : array [C]
    proba_ : float32 [N, C], p(l|x) of all images; rows sum to 1.
    clusters_ : GraphDecoder, p_graph.
    near_ : float32 [N, C], s.

    Examples
    --------
    >>> import numpy as np
    >>> q = np.repeat([[0.9, 0.1], [0.1, 0.9]], 3, axis=0)
    >>> graph = neighbour_graph([[1], [2], [0], [4], [5], [3]])
    >>> decoder = NeighbourDecoder(q, graph).fit([0, 3], ["cat", "dog"])
    >>> decoder.predict([1, 4]).tolist()
    ['cat', 'dog']
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

        The result of `calibration.held_out_proba` with a fold for each image, at a few times the
        cost of one `fit`: the spreading is linear, so that one pass gives the contribution of each
        label to each image. Rows are distinct; columns are in the order of np.unique(y), 0 where
        no other image has the label.
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
        """Density of each label around each image, given the number of its labels."""
        return (near + self.background / len(self.q)) / (counts + self.background)

    def _proba(self, q, near):
        # in float32 as the sums of ones that it is
        density = self._density(near, self.clusters_.class_count_.astype(np.float32))
        proba = self.clusters_.predict_proba(q) * density
        return proba / proba.sum(axis=1, keepdims=True)

    def predict_proba(self, rows):
        """p(l|x), float32 [n, C], of images by their row numbers."""
        return self.proba_[row_numbers(rows, len(self.q))]

    def predict_proba_later(self, q, neighbours, posterior=None):
        """p(l|x), [M, C], of images that were not among the N of `fit`, which stays as it is.

        q : array [M, K], best smoothed (`smooth_posterior` with ``others``).
        neighbours : int array [M, n], the nearest of the N images to each.
        posterior : of no use here; decoders that extend this one may need q(c|x) as it is.
        """
        mean = _mean_over(neighbours, len(q), len(self.near_))
        return self._proba(q, np.float32(self.weight) * (mean @ self.near_))

    def predict(self, rows):
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]


def row_numbers(rows, n):
    """Validated row numbers among n images: int array [m] from an int array [m] or [m, 1].

    Examples
    --------
    >>> row_numbers([[2], [0]], 3).tolist()
    [2, 0]
    """
    rows = np.asarray(rows).reshape(-1)
    if rows.size and not (rows.dtype.kind in "iu" and 0 <= rows.min() and rows.max() < n):
        raise InputError(
            f"rows: found {rows.min()} to {rows.max()} of type {rows.dtype}; "
            f"expected row numbers, 0 to {n - 1}"
        )
    return rows


def labelled_rows(rows, y, n):
    """Validated row numbers among n images with a label each: int [m], array [m]; m at least 1.

    Examples
    --------
    >>> rows, y = labelled_rows([2, 0], ["a", "b"], 3)
    >>> rows.tolist(), y.tolist()
    ([2, 0], ['a', 'b'])
    """
    rows, y = row_numbers(rows, n), np.asarray(y)
    if len(rows) != len(y) or not len(y):
        raise InputError(f"y: found {len(y)} labels for {len(rows)} rows; expected one each")
    return rows, y
