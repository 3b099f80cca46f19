"""Posteriors smoothed over neighbouring images: q(c|x) asks the images that look alike."""

import numpy as np

from .errors import InputError


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
    q, neighbours = np.asarray(q, dtype=np.float32), np.asarray(neighbours)
    if not 0 <= weight < 1:
        raise InputError(f"weight: found {weight}; expected 0 or more and below 1")
    if neighbours.ndim != 2 or len(neighbours) != len(q):
        raise InputError(f"neighbours: found shape {neighbours.shape}; expected [{len(q)}, n]")
    n_pool = len(q if others is None else others)
    if neighbours.size and not (neighbours.min() >= 0 and neighbours.max() < n_pool):
        raise InputError(
            f"neighbours: found rows {neighbours.min()} to {neighbours.max()}; "
            f"expected 0 to {n_pool - 1}"
        )
    from scipy.sparse import csr_matrix

    n = neighbours.shape[1]
    starts = np.arange(0, neighbours.size + 1, n)
    share = np.full(neighbours.size, weight / n, dtype=np.float32)
    mean = csr_matrix((share, neighbours.ravel(), starts), shape=(len(q), n_pool))
    own = (1 - np.float32(weight)) * q
    if others is not None:
        return own + mean @ np.asarray(others, dtype=np.float32)
    smoothed = q
    for _ in range(steps):
        smoothed = own + mean @ smoothed
    return smoothed
