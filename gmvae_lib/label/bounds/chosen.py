"""So many random labels in each cluster: what they give, and how to share them out."""

import numpy as np

from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.arguments import (
    check_choice,
    check_n_labels,
    check_numbers,
    check_table,
)
from gmvae_lib.label.bounds.votes import TIES, vote_probabilities


def expected_stratified_accuracy(
    label_given_cluster, weights, per_cluster, ties="first", unlabelled=0.0
):
    """Expected accuracy of the majority vote with random labels in every cluster.

    Parameters
    ----------
    label_given_cluster : array [K, L], P(label | cluster); rows sum to 1
    weights : int K or pi [K]
    per_cluster : int, or int array [K]
        Labels in each cluster, drawn at random among its images.
    ties : {"first", "random"}
        Who wins a tied vote: the first label, as in `HardDecoder`, or one of the tied at random.
    unlabelled : float
        Accuracy where there is no label.

    One label gives sum_c pi_c sum_l p_lc^2, and with ties at random a second one adds nothing.

    Examples
    --------
    >>> [round(expected_stratified_accuracy([[0.75, 0.25]], 1, n), 4) for n in (1, 2, 3)]
    [0.625, 0.7187, 0.6719]
    >>> [round(expected_stratified_accuracy([[0.75, 0.25]], 1, n, "random"), 4) for n in (1, 2, 3)]
    [0.625, 0.625, 0.6719]
    """
    table, weights = check_table(label_given_cluster, weights)
    check_choice("ties", ties, TIES)
    counts = np.asarray(per_cluster)
    if counts.dtype.kind not in "iu" or counts.shape not in ((), (len(table),)):
        raise InputError(
            f"per_cluster: found {counts.dtype} of shape {counts.shape}, expected an integer or "
            f"one for each of the {len(table)} clusters"
        )
    check_numbers("per_cluster", counts.ravel(), ndim=1)
    counts = np.broadcast_to(counts, len(table))
    right = [
        row @ vote_probabilities(row, 1.0, int(n), ties=ties) if n else unlabelled
        for row, n in zip(table, counts, strict=True)
    ]
    return float(weights @ right)


def best_allocation(label_given_cluster, weights, n_labels, unlabelled=0.0):
    """How many of `n_labels` to place in each cluster: int [K], which sum to at most that.

    The accuracy of a cluster over its labels (ties at random) is replaced by its concave envelope,
    and the steepest steps of all clusters are taken first. Where the labels end between two steps
    the allocation is the best there is, by Lagrangian duality; elsewhere it is short of
    `allocation_bound` by less than one step. Labels that cannot help are left over. Compared are
    up to 12 labels in a cluster, and then a quarter more each up to 12 + eight times its share;
    labels under a thousandth of a cluster's commonest are taken never to win its vote.

    Parameters: as in `expected_stratified_accuracy`; the table is known only in hindsight, or from
    an estimate.

    Examples
    --------
    A large mixed cluster gets three labels before a small one gets any.

    >>> best_allocation([[0.9, 0.1], [0.6, 0.4]], [0.99, 0.01], 3)
    array([3, 0])
    >>> best_allocation(np.eye(3), 3, 5)
    array([1, 1, 1])
    """
    table, weights = check_table(label_given_cluster, weights)
    left = check_n_labels(n_labels)
    counts = np.zeros(len(table), dtype=int)
    stopped = np.zeros(len(table), dtype=bool)
    for _, cluster, labels in _steps(table, weights, left, unlabelled):
        if labels <= left and not stopped[cluster]:
            counts[cluster] += labels
            left -= labels
        else:  # later steps of this cluster build on this one
            stopped[cluster] = True
    return counts


def allocation_bound(label_given_cluster, weights, n_labels, unlabelled=0.0):
    """Accuracy that no allocation of `n_labels` random labels exceeds: the envelope at n.

    Ties at random. See `best_allocation`.

    Examples
    --------
    >>> round(allocation_bound([[0.9, 0.1], [0.6, 0.4]], [0.5, 0.5], 2), 4)
    0.67
    """
    table, weights = check_table(label_given_cluster, weights)
    left = check_n_labels(n_labels)
    accuracy = unlabelled * weights.sum()
    for slope, _, labels in _steps(table, weights, left, unlabelled):
        accuracy += slope * min(labels, left)
        left -= min(labels, left)
    return float(accuracy)


def _steps(table, weights, n_labels, unlabelled):
    """Steps of the concave envelopes, steepest first: (accuracy a label, cluster, labels)."""
    steps = []
    for cluster, (row, weight) in enumerate(zip(table, weights, strict=True)):
        votes = _vote_counts(min(n_labels, 12 + int(8 * n_labels * weight)))
        row = row[row > 1e-3 * row.max()]
        common = row.sum()
        right = [unlabelled]
        for n in votes[1:].tolist():
            right.append(row @ vote_probabilities(row / common, common, n, ties="random"))
            if row.max() - right[-1] < 1e-4:  # all that more labels could add
                break
        best, votes = np.maximum.accumulate(right), votes[: len(right)]
        at = 0
        while at < len(votes) - 1:
            slopes = weight * (best[at + 1 :] - best[at]) / (votes[at + 1 :] - votes[at])
            to = at + 1 + int(slopes.argmax())
            if slopes.max() <= 1e-12:
                break
            steps.append((float(slopes.max()), cluster, int(votes[to] - votes[at])))
            at = to
    return sorted(steps, key=lambda step: -step[0])


def _vote_counts(most):
    """0 to 12 and then about a quarter more each, odd, up to most."""
    counts = list(range(13))
    while counts[-1] < most:
        counts.append(int(counts[-1] * 1.25) | 1)
    return np.array([n for n in counts if n <= most])
