"""Which images to label: greedy choice of those that represent the most images not yet covered.

A choice of images turns the coupon collector's K log K labels into K (chapter 8), and into fewer
where clusters are similar. No label is read.
"""

import numpy as np
import pandas as pd

from gmvae_lib.data.labels import AT_RANDOM
from gmvae_lib.errors import InputError
from gmvae_lib.label.neighbours import smooth_posterior

ROW_SUM_TOLERANCE = 1e-3  # float16 posteriors are off by about that
MOST_TYPICAL = 15  # images of each component: the first candidates
SAMPLE = 5000  # images over which coverage is measured, and later candidates; at most
# A group shows images of one cluster, in even steps through its more typical half. On the letters
# 7 % of these are another letter than most of them, of the whole cluster 13 %; the decoders'
# accuracy with these labels is the same within half a point.
GROUP, GROUP_SHARE = 16, 0.5
MOST_IN_GROUPS = 2400  # images that groups add to a queue
SIMILAR = 5  # clusters


def suggest(q, budget: int, neighbours=None, known=()) -> pd.DataFrame:
    """Choose the images to label: one after the other, the one that adds most coverage.

    Coverage is that of `max_herding`. At first the similarity is the mean of two cosines, of rows
    of q and of rows of the smoothed posterior, and the candidates are the 15 images of each
    component with the highest q(c|x). The first choices therefore represent large groups; images
    similar to one already chosen are deferred, even those of another component; and a component
    that holds two groups is chosen from twice. After as many images as there are components, the
    similarity is the cosine of rows of q, and the candidates are 5,000 images in even steps. After
    those follow the others in the order of `one_a_cluster`. Nothing is random, and a smaller budget
    gives the first rows of a larger one.

    Parameters
    ----------
    q : array [N, K], rows sum to 1
    budget : int, 1 to N
        Images to label.
    neighbours : int array [N, n], optional
        Rows of the nearest images (`vae.nearest`), to smooth the posterior by. Without them, q
        itself is used.
    known : rows that have a label already, mostly because they were suggested before: left out of
        the first ``budget`` + len(known) choices.

    Returns
    -------
    DataFrame of ``budget`` rows
        index (row of q), cluster (its component), reason (a sentence for whoever labels).

    Raises
    ------
    InputError
        If q is not a posterior, the budget not within 1 to N, or neighbours not rows of q.

    Examples
    --------
    >>> import numpy as np
    >>> q = np.repeat([[0.9, 0.1], [0.2, 0.8]], [30, 20], axis=0)
    >>> table = suggest(q, 2)
    >>> table[["index", "cluster"]].values.tolist()
    [[0, 0], [30, 1]]
    >>> table["reason"][0]
    'typical of cluster 0 (62.0% of the images)'
    """
    q = _checked(q, budget)
    if len(known):
        if len(set(known)) >= len(q):
            raise InputError(f"known: found all {len(q)} images, expected some without a label")
        table = suggest(q, min(len(q), budget + len(known)), neighbours)
        return table[~table["index"].isin(list(known))][:budget].reset_index(drop=True)
    smoothed = q if neighbours is None else smooth_posterior(q, neighbours)
    component, rank = typicality(smoothed)
    profile = _unit(q)
    both = np.hstack([profile, _unit(smoothed)]) / np.float32(np.sqrt(2))
    first = min(budget, len(np.unique(component)))
    index = max_herding(both, np.flatnonzero(rank < MOST_TYPICAL), first)
    index = max_herding(profile, _even_sample(len(q)), budget, index)
    if len(index) < budget:
        order = one_a_cluster(smoothed, len(q))
        index = np.concatenate([index, order[~np.isin(order, index)]])[:budget]
    share = smoothed.mean(axis=0, dtype=np.float64)
    again = pd.Series(component[index]).duplicated()
    reason = [
        f"{'typical of' if i < first else 'in'} cluster {c} ({share[c]:.1%} of the images)"
        + (", unlike those chosen before" if again[i] else "")
        for i, c in enumerate(component[index])
    ]
    return pd.DataFrame({"index": index, "cluster": component[index], "reason": reason})


def add_random(table, q, n: int, seed: int = 0, known=()) -> pd.DataFrame:
    """Draw images uniformly at random, to measure the accuracy by, and add them to those chosen.

    Parameters
    ----------
    table : DataFrame, from `suggest`. q : array [N, K]. n : int, 1 to N. seed : int, of the draw.
    known : rows that have a label already; the draw is then among the others.

    Returns
    -------
    DataFrame
        The table, with "drawn at random" in the reason of every image drawn. A chosen image may be
        among them, since the others would otherwise be no random sample.

    Examples
    --------
    >>> import numpy as np
    >>> q = np.repeat([[0.9, 0.1], [0.2, 0.8]], [30, 20], axis=0)
    >>> table = add_random(suggest(q, 2), q, 3, seed=0)
    >>> int(table["reason"].str.contains("drawn at random").sum())
    3
    """
    free = np.setdiff1d(np.arange(len(q)), list(known))
    if not 1 <= n <= len(free):
        raise InputError(
            f"random: found {n}, expected 1 to {len(free)}, the number of images without a label"
        )
    drawn = np.random.default_rng(seed).permutation(free)[:n]
    again = table["index"].isin(drawn)
    reason = table["reason"].mask(again, table["reason"] + f"; also {AT_RANDOM}")
    new = drawn[~np.isin(drawn, table["index"])]
    added = pd.DataFrame(
        {
            "index": new,
            "cluster": np.asarray(q)[new].argmax(axis=1),
            "reason": f"{AT_RANDOM}, to measure the accuracy",
        }
    )
    # interleaved: whoever stops early has labelled some of both
    place = np.concatenate([(np.arange(m) + 0.5) / m for m in (len(table), len(new)) if m])
    order = np.argsort(place, kind="stable")
    both = pd.concat([table.assign(reason=reason), added], ignore_index=True)
    return both.iloc[order].reset_index(drop=True)


def label_queue(
    q, budget: int, neighbours=None, random: int = 0, seed: int = 0, known=(), batches: int = 3
) -> pd.DataFrame:
    """All that a label page asks for: batches of suggestions, and groups to label at once.

    Each batch is what `suggest` and `add_random` choose once the batches before it have labels, so
    the first one is what they choose now. A group is the images of one cluster that were suggested,
    filled up to `GROUP` with others in even steps through its more typical part.

    Parameters
    ----------
    q, budget, neighbours, known : as in `suggest`. random, seed : as in `add_random`.
    batches : int, at most; fewer where the images are used up.

    Returns
    -------
    DataFrame
        index, cluster, reason; batch (1, 2, ..., or 0 for what only groups show); like (tuple of
        the clusters most like this one, the most similar first).

    Examples
    --------
    >>> q = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2]]
    >>> label_queue(q, budget=2, batches=2)[["index", "cluster", "batch"]].to_numpy().tolist()
    [[0, 0, 1], [3, 1, 1], [5, 2, 2], [1, 0, 2], [2, 0, 0], [4, 1, 0]]
    """
    parts, taken = [], list(known)
    for batch in range(1, batches + 1):
        free = len(q) - len(set(taken))
        if batch > 1 and not free:
            break
        table = suggest(q, budget if batch == 1 else min(budget, free), neighbours, taken)
        if random:
            n = random if batch == 1 else min(random, free)
            table = add_random(table, q, n, seed, taken)
        parts.append(table.assign(batch=batch))
        taken += table["index"].tolist()
    queue = pd.concat(parts, ignore_index=True)
    smoothed = np.asarray(q) if neighbours is None else smooth_posterior(q, neighbours)
    component, rank = typicality(smoothed)
    queue["cluster"] = component[queue["index"]]
    queue = pd.concat([queue, _groups(queue, taken, smoothed, component, rank)], ignore_index=True)
    profile = _unit(smoothed.T)
    order = np.argsort(-(profile @ profile.T), axis=1, kind="stable")
    like = {c: tuple(d for d in order[c].tolist() if d != c)[:SIMILAR] for c in set(queue.cluster)}
    return queue.assign(like=queue["cluster"].map(like))


def _groups(queue, taken, smoothed, component, rank) -> pd.DataFrame:
    """The images that fill up the group of each cluster in the queue, with batch 0."""
    rows, left = [], MOST_IN_GROUPS
    chosen = queue[~queue["reason"].str.startswith(AT_RANDOM)]["cluster"].value_counts(sort=False)
    for c in chosen.index:
        members = np.flatnonzero(component == c)
        members = members[np.argsort(rank[members])]
        share = len(members) / len(smoothed)
        members = members[: max(GROUP, round(GROUP_SHARE * len(members)))]
        members = members[~np.isin(members, taken)]
        steps = np.linspace(0, len(members) - 1, min(len(members), max(0, GROUP - chosen[c])))
        some = members[steps.round().astype(int)][:left]
        left -= len(some)
        reason = f"in the group of cluster {c} ({share:.1%} of the images)"
        rows.append(pd.DataFrame({"index": some, "cluster": c, "reason": reason, "batch": 0}))
    return pd.concat(rows, ignore_index=True)


def one_a_cluster(q, budget: int) -> np.ndarray:
    """TypiClust's order (Hacohen et al. 2022) with q(c|x) for the clusters and the typicality.

    The most typical image of every component, the largest component first, then the second of each,
    and so on: int array [budget], rows of q.

    Examples
    --------
    >>> import numpy as np
    >>> q = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    >>> one_a_cluster(q, 3).tolist()
    [1, 2, 0]
    """
    component, rank = typicality(q)
    weight = q.sum(axis=0, dtype=np.float64)[component]
    return np.lexsort((-weight, rank))[:budget]


def max_herding(profile, candidates, n: int, chosen=()) -> np.ndarray:
    """Choose rows that cover all rows, greedily: MaxHerding (Bae et al. 2024).

    Coverage is the mean, over all rows or 5,000 of them in even steps, of the similarity to the
    most similar row chosen, or 0. It is submodular, so that greedy choice reaches at least 1 - 1/e
    of the best (Nemhauser et al. 1978), and a gain computed earlier bounds the present one (Minoux
    1978).

    Parameters
    ----------
    profile : float32 array [N, d]
        The similarity of two rows is their inner product.
    candidates : int array, rows to choose from
    n : int
        Rows to choose in all; fewer when the candidates are used up.
    chosen : sequence of int
        Rows chosen already.

    Returns
    -------
    int array, rows in the order chosen, `chosen` first

    Examples
    --------
    >>> import numpy as np
    >>> profile = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], dtype=np.float32)
    >>> max_herding(profile, [0, 1, 2], 2).tolist()
    [0, 2]
    """
    chosen = list(chosen)
    judges = profile[_even_sample(len(profile))]
    covered = (judges @ profile[chosen].T).max(axis=1, initial=0)
    candidates = np.setdiff1d(candidates, chosen)
    likeness = profile[candidates] @ judges.T
    bound = np.maximum(likeness - covered, 0).sum(axis=1)
    for _ in range(min(len(candidates), n - len(chosen))):
        best = _best(bound, likeness, covered)
        chosen.append(candidates[best])
        covered = np.maximum(covered, likeness[best])
        bound[best] = -1
    return np.array(chosen, dtype=np.int64)


def _even_sample(n) -> np.ndarray:
    """Of n rows 5,000 in even steps, or all of them if they are fewer."""
    return np.arange(0, n, -(-n // SAMPLE))


def _best(bound, likeness, covered):
    """The candidate of the largest gain; bounds are brought down to gains on the way."""
    while True:
        best = bound.argmax()
        gain = np.maximum(likeness[best] - covered, 0).sum()
        if gain >= bound[best]:
            return best
        bound[best] = gain


def typicality(q):
    """Each image's component, and its place among the images of that component by q(c|x).

    Returns
    -------
    (component, rank) : int arrays [N]; rank 0 is the most typical.

    Examples
    --------
    >>> import numpy as np
    >>> component, rank = typicality(np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]]))
    >>> component.tolist(), rank.tolist()
    ([0, 0, 1], [1, 0, 0])
    """
    component = q.argmax(axis=1)
    order = np.lexsort((-q.max(axis=1), component))  # stable: equals stay in their order
    size = np.bincount(component)
    first = np.repeat(np.cumsum(size) - size, size)
    rank = np.empty(len(q), dtype=np.int64)
    rank[order] = np.arange(len(q)) - first
    return component, rank


def _unit(rows) -> np.ndarray:
    """Rows scaled to length 1, as float32; rows of zeros stay."""
    rows = np.asarray(rows, dtype=np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def _checked(q, budget) -> np.ndarray:
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
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer):
        raise InputError(f"budget: found {budget!r}, expected a whole number")
    if not 1 <= budget <= len(q):
        raise InputError(f"budget: found {budget}, expected 1 to {len(q)}, the number of images")
    return q
