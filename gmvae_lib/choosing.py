"""Which images to label: typical ones, one a cluster, heaviest clusters first.

Labelling by choice turns the coupon collector's K log K labels into K (chapter 8). The rule is the
one of TypiClust (Hacohen et al. 2022) with q(c|x) for both the clusters and the typicality.
"""

import numpy as np
import pandas as pd

from .errors import InputError

ROW_SUM_TOLERANCE = 1e-3  # float16 posteriors are off by about that


def suggest(q, budget: int) -> pd.DataFrame:
    """Choose the images to label.

    An image belongs to its most likely component. Round 1 takes, from each component that has
    images, the one with the highest q(c|x); components come in the order of their weight, the sum
    of q(c|x) over all images. Each further round takes one more from each: of the more typical half
    of its images, the one whose row of q differs most, in total variation, from the nearest row
    taken. (The other half differs more, but its labels are often not the component's.) No
    randomness: the same q gives the same images, and a smaller budget gives the first rows of a
    larger one.

    Parameters
    ----------
    q : array [N, K], rows sum to 1
    budget : int, 1 to N
        Images to label.

    Returns
    -------
    DataFrame of ``budget`` rows
        index (row of q), cluster (its component), reason (a sentence for whoever labels).

    Raises
    ------
    InputError
        If q is not a posterior, or the budget not within 1 to N.
    """
    q = _checked(q)
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer):
        raise InputError(f"budget: found {budget!r}, expected a whole number")
    if not 1 <= budget <= len(q):
        raise InputError(f"budget: found {budget}, expected 1 to {len(q)}, the number of images")
    component = q.argmax(axis=1)
    weight = q.sum(axis=0, dtype=np.float64)
    in_use = np.unique(component)
    queues = [
        _Queue(c, q, np.flatnonzero(component == c), share=weight[c] / len(q))
        for c in in_use[np.argsort(-weight[in_use], kind="stable")]
    ]
    rows = []
    while len(rows) < budget:  # ends: every image is in one queue, and budget <= N
        queues = [queue for queue in queues if queue.members.size]
        rows += [queue.take() for queue in queues[: budget - len(rows)]]
    return pd.DataFrame(rows, columns=["index", "cluster", "reason"])


class _Queue:
    """The images of one component, in the order in which they are worth a label."""

    def __init__(self, component, q, members, share):
        self.component, self.share = int(component), share
        order = np.argsort(-q[members, component], kind="stable")
        self.members = members[order]  # int [M], those not taken yet, most typical first
        self.rows = q[self.members]  # [M, K]
        self.distance = np.ones(len(members))  # [M], to the nearest row taken; 1 is the most
        self.n_typical = (len(members) + 1) // 2
        self.n_taken = 0

    def take(self):
        # the first of the most distant: where nothing differs, the most typical
        best = self.distance[: max(1, self.n_typical - self.n_taken)].argmax()
        self.distance = np.minimum(
            self.distance, np.abs(self.rows - self.rows[best]).sum(axis=1) / 2
        )
        index = int(self.members[best])
        self.members, self.rows, self.distance = (
            np.delete(column, best, axis=0) for column in (self.members, self.rows, self.distance)
        )
        self.n_taken += 1
        cluster = f"cluster {self.component} ({self.share:.1%} of the images)"
        if self.n_taken == 1:
            reason = f"most typical of {cluster}"
        else:
            reason = f"typical of {cluster}, unlike those chosen before"
        return index, self.component, reason


def _checked(q) -> np.ndarray:
    q = np.asarray(q)
    if q.ndim != 2 or 0 in q.shape or q.dtype.kind != "f":
        raise InputError(f"q: found {q.dtype} {list(q.shape)}, expected floats [N, K], not empty")
    total = q.sum(axis=1, dtype=np.float64)
    off = ~((q.min(axis=1) >= 0) & (np.abs(total - 1) <= ROW_SUM_TOLERANCE))  # NaN is off, too
    if off.any():
        row = int(off.argmax())
        raise InputError(
            f"q: found row {row} with the sum {total[row]:.4g} and the least entry "
            f"{q[row].min():.4g}, expected probabilities that sum to 1"
        )
    return q
