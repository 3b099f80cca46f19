"""The default decoder: which one a set of images gets, by how many there are for each cluster.

Smoothing over ten neighbours was tuned on 100,000 letters, a thousand for each cluster. Where a
cluster holds a handful of images, ten neighbours reach into other clusters, and smoothing over them
blurs what the clusters say. There the soft rule and a decoder that asks three neighbours are pooled
instead. `python -m gmvae_lib.study.default_decoder` measures both against the soft rule, from 300
images to 100,000.
"""

import numpy as np

from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import SoftDecoder, decoders
from gmvae_lib.label.neighbours import (
    NeighbourDecoder,
    neighbour_decoder,
    neighbour_graph,
    smooth_posterior,
)

FEW = 25  # images for each cluster, below which they are few
ASKED = 3  # nearest images that are asked then
WEIGHT, STEPS = 0.5, 2  # of the smoothing over them
# Of each of the two in the pool. With 1/2, their geometric mean, both count as independent, and the
# mean confidence with 50 or 100 chosen labels was 6 to 16 points above the accuracy (seven sets of
# letters and digits); with 1/4, from 9 below to 10 above.
EXPONENT = 0.25


def default_name(n_images: int, n_components: int) -> str:
    """The default decoder of N images and K clusters: "neighbours", "pooled" or "soft".

    No label is read, so that the choice is the same for any labels.

    Examples
    --------
    >>> default_name(100_000, 100), default_name(600, 100), default_name(1, 100)
    ('neighbours', 'pooled', 'soft')
    """
    if n_images < 2:
        return "soft"
    return "neighbours" if n_images >= FEW * n_components else "pooled"


def default_reason(n_images: int, n_components: int) -> str:
    """One line on which decoder is used by default, and why.

    Examples
    --------
    >>> default_reason(600, 100)
    'decoder pooled (soft, with three neighbours): 6 images for each cluster, fewer than 25'
    """
    name, each = default_name(n_images, n_components), n_images / n_components
    if name == "soft":
        return "decoder soft: there is no other image to ask"
    if name == "pooled":
        return (
            f"decoder pooled (soft, with three neighbours): {each:.3g} images for each cluster, "
            f"fewer than {FEW}"
        )
    return f"decoder neighbours: {each:.0f} images for each cluster, {FEW} or more"


def decoder_on_rows(name: str, q, neighbours, features=None):
    """A decoder whose points are row numbers of N images, unfitted: "neighbours" or "pooled".

    Parameters
    ----------
    q : array [N, K], rows sum to 1.
    neighbours : int array [N, n], rows of each image's nearest images (`vae.nearest`).
    features : float array [N, F], in which they are nearest; by default each row of ``neighbours``
        is taken to have the nearest first. Only "pooled" reads them.

    Examples
    --------
    >>> q = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    >>> decoder = decoder_on_rows("pooled", q, [[1], [0], [3], [2]]).fit([0, 2], ["cat", "dog"])
    >>> decoder.predict([0, 1, 2, 3]).tolist()
    ['cat', 'cat', 'dog', 'dog']
    """
    if name == "neighbours":
        return neighbour_decoder(q, neighbours)
    if name != "pooled":
        raise InputError(f"decoder: found {name!r}, expected 'neighbours' or 'pooled'")
    near = nearest_first(neighbours, features)[:, :ASKED]
    smoothed = smooth_posterior(q, near, WEIGHT, STEPS)
    return PooledDecoder(smoothed, neighbour_graph(near), np.asarray(q))


def default_decoder(q, neighbours, features=None):
    """The default decoder of N images, unfitted, whose points are row numbers; N at least 2.

    Parameters: as of `decoder_on_rows`.

    Examples
    --------
    >>> q = np.repeat([[0.9, 0.1], [0.1, 0.9]], 3, axis=0)
    >>> type(default_decoder(q, [[1], [2], [0], [4], [5], [3]])).__name__
    'PooledDecoder'
    """
    return decoder_on_rows(default_name(*np.shape(q)), q, neighbours, features)


def any_decoder(name: str, q, neighbours, features=None):
    """A decoder by name, unfitted, and its points for all images: row numbers, or q.

    name : "neighbours", "pooled", or one of `decoding.decoders`.

    Examples
    --------
    >>> decoder, points = any_decoder("soft", np.eye(2), [[1], [0]])
    >>> decoder, points.shape
    (SoftDecoder(), (2, 2))
    """
    if name in ("neighbours", "pooled"):
        return decoder_on_rows(name, q, neighbours, features), np.arange(len(q))
    return decoders(q)[name], q


def nearest_first(neighbours, features=None):
    """Each row of neighbours [N, n] with the nearest first, by the cosine of features [N, F].

    Examples
    --------
    >>> features = np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1]])
    >>> nearest_first([[1, 2], [0, 2], [1, 0]], features).tolist()
    [[2, 1], [2, 0], [0, 1]]
    """
    neighbours = np.asarray(neighbours)
    if features is None:
        return neighbours
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    cosine = np.empty(neighbours.shape)
    for start in range(0, len(unit), 1000):  # a chunk at a time: [1000, n, F]
        part = slice(start, start + 1000)
        cosine[part] = np.einsum("bf,bnf->bn", unit[part], unit[neighbours[part]])
    return np.take_along_axis(neighbours, np.argsort(-cosine, axis=1, kind="stable"), axis=1)


class PooledDecoder(NeighbourDecoder):
    """The soft rule's p(l|x) times the neighbours', to the power `EXPONENT`, rescaled.

    A logarithmic opinion pool of equal weights (Genest & Zidek 1986): where the two disagree, the
    surer one decides. With few images for each cluster, the errors of the two differ, and the pool
    has fewer than the soft rule alone.

    Parameters
    ----------
    q : array [N, K], posteriors of all images, smoothed over few neighbours.
    graph : sparse [N, N], from `neighbour_graph` of these.
    posterior : array [N, K], not smoothed: what the soft rule reads.
    weight, steps, background : as of `NeighbourDecoder`.

    Attributes
    ----------
    classes_, clusters_, near_ : as of `NeighbourDecoder`
    soft_ : SoftDecoder
    proba_ : float32 [N, C], p(l|x) of all images; rows sum to 1.

    Examples
    --------
    >>> q = np.repeat([[0.9, 0.1], [0.1, 0.9]], 3, axis=0)
    >>> graph = neighbour_graph([[1], [2], [0], [4], [5], [3]])
    >>> decoder = PooledDecoder(q, graph, q).fit([0, 3], ["cat", "dog"])
    >>> decoder.predict([1, 4]).tolist()
    ['cat', 'dog']
    """

    def __init__(self, q, graph, posterior, weight=0.99, steps=30, background=1.0):
        super().__init__(q, graph, weight, steps, background)
        self.posterior = posterior

    def fit(self, rows, y):
        if np.shape(self.posterior) != np.shape(self.q):
            raise InputError(
                f"posterior: found shape {np.shape(self.posterior)}; expected {np.shape(self.q)}"
            )
        super().fit(rows, y)
        points = self.posterior[np.asarray(rows).reshape(-1)]
        self.soft_ = SoftDecoder().fit(points, y)
        self.proba_ = pool(self.proba_, self.soft_.predict_proba(self.posterior)).astype(np.float32)
        return self

    def leave_one_out(self, rows, y, chunk=200):
        rows = np.asarray(rows).reshape(-1)
        alone = super().leave_one_out(rows, y, chunk)
        return pool(alone, soft_leave_one_out(self.posterior[rows], y))

    def predict_proba_later(self, q, neighbours, posterior=None):
        """p(l|x), [M, C], of images that were not among the N of `fit`.

        q : array [M, K], smoothed; posterior : [M, K], not smoothed. neighbours : int array [M, n].
        """
        if posterior is None:
            raise InputError("posterior: found none, expected q(c|x) of the images, not smoothed")
        near = super().predict_proba_later(q, neighbours)
        return pool(near, self.soft_.predict_proba(posterior))


def soft_leave_one_out(q, y):
    """p(l|x) of labelled images by the soft rule, each from the labels of the others: [n, C].

    What `calibration.held_out_proba` gives with a fold for each image, by one product. Zeros for
    an image without others; columns in the order of np.unique(y), 0 where no other has the label.

    Examples
    --------
    >>> q = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    >>> soft_leave_one_out(q, ["a", "a", "b"]).round(3).tolist()
    [[0.683, 0.317], [0.571, 0.429], [1.0, 0.0]]
    """
    q = np.asarray(q, dtype=np.float64)
    classes, label = np.unique(y, return_inverse=True)
    mine, of_label = np.arange(len(q)), np.eye(len(classes))[label]
    counts = of_label.sum(axis=0) - of_label  # [n, C], without one's own
    scores = q @ (q.T @ of_label)
    scores[mine, label] -= np.einsum("nk,nk->n", q, q)
    scores = np.divide(scores, counts, out=np.zeros_like(scores), where=counts > 0).clip(min=0)
    nothing = scores.sum(axis=1) <= 0
    scores[nothing] = counts[nothing]  # the label frequencies, as in `Decoder`
    total = scores.sum(axis=1, keepdims=True)
    return np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)


def pool(one, other):
    """The logarithmic pool of label probabilities [N, C]; where it is 0 throughout, one.

    Examples
    --------
    >>> one, other = np.array([[0.8, 0.2], [1.0, 0.0]]), np.array([[0.5, 0.5], [0.0, 1.0]])
    >>> pool(one, other).round(3).tolist()
    [[0.586, 0.414], [1.0, 0.0]]
    """
    pooled = (np.asarray(one, dtype=np.float64) * other) ** EXPONENT
    total = pooled.sum(axis=1, keepdims=True)
    return np.where(total > 0, pooled / np.where(total > 0, total, 1.0), one)
