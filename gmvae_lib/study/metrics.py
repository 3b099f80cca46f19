"""Measures of clusterings and classifiers, and intervals over seeds."""

import numpy as np
import pandas as pd
from scipy.special import entr
from scipy.stats import t
from sklearn.metrics.cluster import contingency_matrix

from gmvae_lib.errors import InputError

TOP_LETTERS = 3


def _same_length(**arrays):
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        found = ", ".join(f"{name} of {length}" for name, length in lengths.items())
        raise InputError(f"{', '.join(arrays)}: found {found}; expected one length, above 0")


def accuracy(y_true, y_pred):
    """Share of predictions y_pred [N] that equal the labels y_true [N]."""
    _same_length(y_true=y_true, y_pred=y_pred)
    return float(np.mean(np.asarray(y_true) == np.asarray(y_pred)))


def mean_and_interval(values, confidence=0.95):
    """Mean of values [n] and its Student t interval.

    Returns
    -------
    (mean, low, high) : floats
        The bounds are nan for n = 1, where there is no spread to estimate.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) == 0:
        raise InputError(f"values: found shape {values.shape}; expected one row of at least one")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: found {confidence}; expected a number between 0 and 1")
    mean = float(values.mean())
    if len(values) == 1:
        return mean, float("nan"), float("nan")
    standard_error = values.std(ddof=1) / np.sqrt(len(values))
    half = float(t.ppf((1 + confidence) / 2, df=len(values) - 1) * standard_error)
    return mean, mean - half, mean + half


def purity(cluster, y):
    """Share of points whose label is the commonest of their cluster; cluster and y are [N].

    The accuracy of the best labelling of the clusters, which needs every label: an upper bound for
    hard decoding, not the accuracy of a classifier (the article's code prints it as "ACC").
    """
    _same_length(cluster=cluster, y=y)
    return float(contingency_matrix(y, cluster).max(axis=0).sum() / len(y))


def components_in_use(q):
    """Number of components that are the most likely one of at least one row of q [N, K]."""
    return len(np.unique(np.argmax(q, axis=1)))


def posterior_entropy(q):
    """Entropy in nats, [N], of each row of q [N, K]."""
    return entr(np.asarray(q)).sum(axis=1)


def component_table(q, y, class_names=()):
    """What each component holds.

    Parameters
    ----------
    q : array [N, K]
    y : int array [N]
    class_names : sequence of str, optional
        Name of each label; the label itself where not given.

    Returns
    -------
    DataFrame of K rows
        component; weight (mean of q); size (images it is the most likely component of); purity
        (share of its commonest letter among those, nan if none); top (its up to three commonest
        letters with their shares, such as "t 71 %, j 25 %").
    """
    q, y = np.asarray(q), np.asarray(y)
    _same_length(q=q, y=y)
    n_components = q.shape[1]
    labels, label = np.unique(y, return_inverse=True)
    names = [str(class_names[value]) if len(class_names) else str(value) for value in labels]
    counts = np.zeros((n_components, len(labels)), dtype=np.int64)
    np.add.at(counts, (q.argmax(axis=1), label), 1)
    size = counts.sum(axis=1)
    share = counts / np.maximum(size, 1)[:, None]

    def top(row):
        order = np.argsort(-row, kind="stable")[:TOP_LETTERS]
        return ", ".join(f"{names[i]} {100 * row[i]:.0f} %" for i in order if row[i] > 0)

    return pd.DataFrame(
        {
            "component": np.arange(n_components),
            "weight": q.mean(axis=0, dtype=np.float64),
            "size": size,
            "purity": np.where(size > 0, share.max(axis=1), np.nan),
            "top": [top(row) for row in share],
        }
    )


def per_class_gain(draws, confidence=0.95):
    """Accuracy of one classifier minus that of another, class by class, over several label draws.

    Parameters
    ----------
    draws : iterable of (y, better, worse)
        For each seed: the labels [N_s] of the images evaluated and two predictions for them, for
        instance the soft decoder's and the hard one's.

    Returns
    -------
    DataFrame
        label, gain (mean over seeds), low, high (t interval), spread (standard deviation over
        seeds, nan for one), n_seeds. Seeds without an image of the label are left out of its row.
    """
    rows = []
    for y, better, worse in draws:
        _same_length(y=y, better=better, worse=worse)
        y = np.asarray(y)
        difference = (np.asarray(better) == y).astype(float) - (np.asarray(worse) == y)
        rows.append(pd.Series(difference).groupby(y).mean())
    if not rows:
        raise InputError("draws: found none; expected at least one (y, better, worse)")
    table = []
    for label, gains in pd.concat(rows).groupby(level=0):
        mean, low, high = mean_and_interval(gains, confidence)
        table.append((label, mean, low, high, gains.std(ddof=1), len(gains)))
    return pd.DataFrame(table, columns=["label", "gain", "low", "high", "spread", "n_seeds"])


def reliability(confidence, correct, n_bins=10):
    """Reliability diagram: accuracy among predictions of similar confidence.

    Parameters
    ----------
    confidence : array [N], probability of the predicted label, 0 to 1
    correct : bool array [N]
    n_bins : int
        Bins of equal width.

    Returns
    -------
    DataFrame, a row for each bin that is not empty
        confidence (mean), accuracy, share (of the predictions).
    """
    confidence, correct = _confidence(confidence, correct)
    # the tolerance keeps a probability that rounding put above 1 in the last bin
    if confidence.min() < 0 or confidence.max() > 1 + 1e-6:
        raise InputError(
            f"confidence: found {confidence.min():.3g} to {confidence.max():.3g}; expected 0 to 1"
        )
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    table = pd.DataFrame({"confidence": confidence, "accuracy": correct}).groupby(bins)
    return table.mean().assign(share=table.size() / len(correct)).reset_index(drop=True)


def expected_calibration_error(confidence, correct, n_bins=15):
    """Mean distance between confidence and accuracy over the bins of `reliability`.

    The bins' shares weigh them (Guo et al. 2017). 0 is calibrated; confidence and correct are [N].
    """
    table = reliability(confidence, correct, n_bins)
    return float((table["share"] * (table["accuracy"] - table["confidence"]).abs()).sum())


def accuracy_at_coverage(confidence, correct):
    """Accuracy of the most confident predictions, for every number of them.

    Parameters
    ----------
    confidence : array [N], larger is surer
    correct : bool array [N]

    Returns
    -------
    (coverage, accuracy) : float arrays [N]
        Coverage 1/N to 1. Predictions of equal confidence come in random order, of which this is
        the mean. The mean of `accuracy` is the area under the curve.
    """
    confidence, correct = _confidence(confidence, correct)
    order = np.argsort(-confidence, kind="stable")
    _, tied, count = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    expected = (np.bincount(tied, correct[order]) / count)[tied]
    n = np.arange(1, len(order) + 1)
    return n / len(order), np.cumsum(expected) / n


def _confidence(confidence, correct):
    _same_length(confidence=confidence, correct=correct)
    return np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)


def labels_at_accuracy(n_labels, accuracy, target):
    """Number of labels at which a curve first reaches a target, linear in log(n_labels).

    Parameters
    ----------
    n_labels, accuracy : arrays [M]
        The points of the curve, in any order.
    target : float

    Returns
    -------
    float
        nan where the target is never reached. Where the smallest n_labels is above it already, that
        n_labels: an upper bound.
    """
    n_labels, accuracy = np.asarray(n_labels, dtype=float), np.asarray(accuracy, dtype=float)
    _same_length(n_labels=n_labels, accuracy=accuracy)
    order = np.argsort(n_labels)
    log_n, accuracy = np.log(n_labels[order]), accuracy[order]
    reached = np.flatnonzero(accuracy >= target)
    if len(reached) == 0:
        return float("nan")
    after = reached[0]
    if after == 0:
        return float(n_labels[order[0]])
    ends = slice(after - 1, after + 1)
    return float(np.exp(np.interp(target, accuracy[ends], log_n[ends])))


def labels_at_accuracy_interval(
    curve, target, against=None, confidence=0.95, n_resamples=2000, seed=0
):
    """Number of labels at a target accuracy, with an interval by resampling the seeds.

    Parameters
    ----------
    curve : (n_labels [M], accuracy [S, M])
        Accuracy of S seeds at each label count, nan where it was not measured.
    target : float
    against : (n_labels [M'], accuracy [S', M']), optional
        A second curve. Given it, the quantity is the ratio of its number of labels to that of
        `curve`. Both are resampled together where S' = S: they are then over the same seeds.
    confidence : float
    n_resamples : int
    seed : int, of the resampling

    Returns
    -------
    (estimate, low, high) : floats
        Estimate from the mean over seeds, and percentile-bootstrap bounds, too narrow if anything
        for few seeds. The estimate is nan where the mean never reaches the target, and a bound is
        inf where that share of the resamples never does.
    """
    curves = [
        (np.asarray(n_labels), np.asarray(accuracy, dtype=float))
        for n_labels, accuracy in (curve, curve if against is None else against)
    ]
    shapes = [accuracy.shape for _, accuracy in curves]
    if any(len(shape) != 2 or 0 in shape for shape in shapes):
        raise InputError(f"curve, against: found shapes {shapes}; expected [S, M] each")

    def quantity(drawn):
        first, second = (
            _mean_crossing(n_labels, accuracy[rows], target)
            for (n_labels, accuracy), rows in zip(curves, drawn, strict=True)
        )
        return first if against is None else second / first

    n_seeds, n_others = shapes[0][0], shapes[1][0]
    rng = np.random.default_rng(seed)

    def draw():
        drawn = rng.integers(0, n_seeds, n_seeds)
        return drawn, drawn if n_others == n_seeds else rng.integers(0, n_others, n_others)

    resampled = [quantity(draw()) for _ in range(n_resamples)]
    return float(quantity((slice(None), slice(None)))), *percentiles(resampled, confidence)


def percentiles(resampled, confidence=0.95):
    """Bounds (low, high) that hold the middle of resampled values; nan counts as inf."""
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    # no interpolation between resamples: with inf among them it would give nan
    low, high = np.quantile(np.nan_to_num(resampled, nan=np.inf), tails, method="nearest")
    return float(low), float(high)


def crossings(curve, target, n_resamples=2000, seed=0):
    """Number of labels at a target accuracy: of the data, then of resampled seeds.

    For ratios of methods whose seeds differ; otherwise see `labels_at_accuracy_interval`.

    Returns
    -------
    float array [1 + n_resamples], inf where the target is not reached
    """
    n_labels, accuracy = np.asarray(curve[0]), np.asarray(curve[1], dtype=float)
    rng = np.random.default_rng(seed)
    drawn = [slice(None), *rng.integers(0, len(accuracy), (n_resamples, len(accuracy)))]
    found = [_mean_crossing(n_labels, accuracy[rows], target) for rows in drawn]
    return np.nan_to_num(found, nan=np.inf)


def _mean_crossing(n_labels, accuracy, target):
    """Where the mean over the seeds measured reaches the target: accuracy [S, M] may hold nan."""
    measured = np.isfinite(accuracy).sum(axis=0)
    known = measured > 0
    mean = np.nansum(accuracy[:, known], axis=0) / measured[known]
    return labels_at_accuracy(n_labels[known], mean, target)
