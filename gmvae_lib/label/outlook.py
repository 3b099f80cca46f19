"""Whether labels will pay, said before any is given: do the images fall into groups?

In a model that found groups, the images nearest to an image are in its cluster. How many are also
depends on the images for each cluster: the fewer, the further away is the tenth neighbour. Pictures
without any group, like noise or clouds, reach some agreement, too, since a cluster is then a region
of a continuum; more is needed. `python -m gmvae_lib.study.beforehand` fits and tests the limit.
"""

from typing import NamedTuple

import numpy as np

from gmvae_lib.errors import InputError

# log-odds of the agreement that is needed: the line at which half of the sets work, by logistic
# regression on sets with 5 to 150 images for each cluster; beyond, the ends of that range
INTERCEPT, SLOPE = -1.62, 0.57
FEWEST, MOST = 5, 150


class Outlook(NamedTuple):
    """Agreement of neighbours, ``needed`` of it, and whether labels are expected to pay."""

    agreement: float
    needed: float

    @property
    def works(self) -> bool:
        return self.agreement >= self.needed

    @property
    def sentence(self) -> str:
        """One sentence for whoever is about to label."""
        found = (
            f"an image and its nearest ones share a cluster in {max(self.agreement, 0):.0%} of "
            f"cases beyond chance, where {self.needed:.0%} are needed"
        )
        if self.works:
            return f"{found}: the images fall into groups, and labels should pay"
        return (
            f"{found}: these images do not fall into groups that survive the views; expect little "
            "from labels"
        )


def outlook(q, neighbours) -> Outlook:
    """What to expect of labels, from the clusters and the nearest images alone.

    The agreement is the share of neighbours in the same cluster, the most likely component, beyond
    chance: (share - c) / (1 - c), where c is the share of all pairs of images in one cluster.

    Parameters
    ----------
    q : array [N, K], rows sum to 1. neighbours : int array [N, n], rows of the nearest images.

    Examples
    --------
    >>> q = np.eye(2)[[0, 0, 0, 1, 1, 1]]
    >>> found = outlook(q, [[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4]])
    >>> found.agreement, found.works
    (1.0, True)
    """
    q, neighbours = np.asarray(q), np.asarray(neighbours)
    if neighbours.ndim != 2 or len(neighbours) != len(q) or 0 in neighbours.shape:
        raise InputError(
            f"neighbours: found shape {neighbours.shape}; expected [{len(q)}, n], n at least 1"
        )
    cluster = q.argmax(axis=1)
    chance = ((np.bincount(cluster) / len(q)) ** 2).sum()
    share = (cluster[neighbours] == cluster[:, None]).mean()
    agreement = (share - chance) / (1 - chance) if chance < 1 else 0.0  # one cluster is no group
    each = np.clip(len(q) / q.shape[1], FEWEST, MOST)
    odds = np.exp(INTERCEPT + SLOPE * np.log(each))
    return Outlook(float(agreement), float(odds / (1 + odds)))
