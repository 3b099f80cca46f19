"""How accurate the labels will be: forecasts from the clusters, and from the labels at hand.

`forecast` measures a decoder on its own few labels. `accuracy_curve` says before any label is
given, or after the first, what a number of labels will give, and `labels_for_accuracy` how many a
wanted accuracy takes. No label is read but those given. Chapter 3 derives the formulas and measures
how often the bands hold.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import beta, binom, norm

from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.accuracy import by_affinity, first_labelled
from gmvae_lib.label.bounds.arguments import check_count, check_distributions, check_open_unit
from gmvae_lib.label.calibration import held_out_proba
from gmvae_lib.label.decoding import cluster_affinity

# What the two published models of the letters have in common, and a new model is taken to share.
SLOPE = 3.4  # of the log-odds that two clusters share a label, a decade of their overlap
IMPURITY = 6.5  # share of minority labels, in units of `_doubt`: 4.7 and 9.5
IMPURITY_SPREAD = 0.7  # standard deviation of its logarithm: a factor of two
UNRELATED = 0.01  # that images of two clusters share a label, however little they overlap

VOTES = np.arange(1, 61)
QUANTILES = (np.arange(20) + 0.5) / 20
GRID = np.linspace(-2.5, 2.5, 21)  # standard deviations of the prior on the impurity


class Forecast(NamedTuple):
    """Accuracy on unlabelled images: estimate, 95 % interval; ``unseen``, the share of images whose
    label is expected to occur nowhere among those given."""

    accuracy: float
    low: float
    high: float
    unseen: float


def forecast(decoder, features, y) -> Forecast:
    """Accuracy of a decoder on unlabelled images, from its labelled ones, drawn at random.

    Each labelled image is predicted by the decoder fitted on the others: without bias, but for the
    one label fewer. A label that occurs once is missed, as it should be (`unseen_share`). The
    interval is
    Clopper and Pearson's for half as many answers, since answers that share their labels are right
    or wrong together; its coverage is measured in chapter 3.

    Parameters
    ----------
    decoder : unfitted classifier with predict_proba. features, y : arrays [n, ...] and [n].

    Examples
    --------
    >>> from gmvae_lib import HardDecoder
    >>> q = np.eye(3)[[0, 0, 1, 1, 2]]
    >>> found = forecast(HardDecoder(), q, np.array(["a", "a", "b", "b", "c"]))
    >>> found.accuracy, found.unseen
    (0.8, 0.2)
    """
    y = np.asarray(y)
    classes, label = np.unique(y, return_inverse=True)
    proba, known = held_out_proba(decoder, features, y, n_folds=len(y))
    right = known & (proba.argmax(axis=1) == label)
    low, high = binomial_interval(np.count_nonzero(right) / 2, len(right) / 2)
    return Forecast(float(right.mean()), low, high, unseen_share(y))


def unseen_share(y):
    """Share of images whose label occurs nowhere in y [n], drawn at random: the once-only labels.

    Good's (1953) estimate, due to Turing; its bias is under 1 / n.

    Examples
    --------
    >>> unseen_share(["a", "a", "b", "c"])
    0.5
    """
    count = np.unique(y, return_counts=True)[1]
    return float(np.count_nonzero(count == 1) / len(y))


def binomial_interval(hits, n, confidence=0.95):
    """Clopper and Pearson's (1934) interval of a share; hits and n may be fractions."""
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, hits, n - hits + 1) if hits > 0 else 0.0
    high = beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


class LabelsNeeded(NamedTuple):
    """Labels for a wanted accuracy: expected, and the ends of the band; inf if none is enough."""

    labels: float
    low: float
    high: float


def labels_for_accuracy(curve, accuracy) -> LabelsNeeded:
    """How many labels a wanted accuracy takes, read off an `accuracy_curve`.

    Between the rows of the curve by straight lines in the logarithm of the labels; inf beyond.

    Examples
    --------
    >>> curve = pd.DataFrame({"n_labels": [10, 100], "accuracy": [0.5, 0.9],
    ...                       "low": [0.4, 0.8], "high": [0.6, 0.95]})
    >>> labels_for_accuracy(curve, 0.9)
    LabelsNeeded(labels=100.0, low=72.0, high=inf)
    """
    accuracy = check_open_unit("accuracy", accuracy)
    logs = np.log(curve["n_labels"].to_numpy(dtype=float))

    def crossing(column):
        rising = np.maximum.accumulate(curve[column].to_numpy())
        if rising[-1] < accuracy:
            return float("inf")
        at = int(np.searchsorted(rising, accuracy))
        if at == 0:
            return float(curve["n_labels"].iloc[0])
        part = (accuracy - rising[at - 1]) / (rising[at] - rising[at - 1])
        return float(np.round(np.exp(logs[at - 1] + part * (logs[at] - logs[at - 1]))))

    return LabelsNeeded(crossing("accuracy"), crossing("high"), crossing("low"))


def accuracy_curve(q, n_classes, n_labels, index=(), y=(), chosen=False):
    """What a number of labels will give, for a rule that goes by clusters, before they are given.

    Known without labels are the sizes of the clusters and how they overlap. Taken over from two
    models of the letters are how the overlap of two clusters says that they share a label (the
    general level follows from the number of classes), and how the posterior's doubt between
    unrelated clusters says how impure clusters are, within a factor of two or so. Labels at hand,
    drawn at random, narrow that. The expectation is then that of the nearest labelled cluster, in
    closed form.

    Parameters
    ----------
    q : array [N, K], posteriors of all images; rows sum to 1.
    n_classes : int, 2 or more, about equally frequent.
    n_labels : sequence of ints, 1 or more, ascending: labels in all.
    index, y : int [n] and array [n], optional. Labelled images, drawn at random, and their labels.
    chosen : bool
        One typical image in each cluster, the cluster that says most of the others first, instead
        of images at random.

    Returns
    -------
    DataFrame
        n_labels, accuracy, low, high: expected, and a band for 95 % of the models and drawings.

    Examples
    --------
    Twenty clusters without overlap and two classes: a label says nothing of the other clusters.

    >>> q = np.repeat(np.eye(20), 5, axis=0)
    >>> accuracy_curve(q, 2, [20, 200]).round(2)["accuracy"].tolist()
    [0.81, 1.0]
    """
    q = check_distributions("q", q, ndim=2)
    L = check_count("n_classes", n_classes, low=2)
    counts = [check_count("n_labels", n, low=1) for n in n_labels]
    if len(index) != len(y):
        raise InputError(f"y: found {len(y)} labels for {len(index)} images, expected one each")
    component = q.argmax(axis=1)
    used = np.flatnonzero(np.bincount(component, minlength=q.shape[1]))
    cluster = np.searchsorted(used, component)
    weights = np.bincount(cluster) / len(q)
    overlap = cluster_overlap(q)[np.ix_(used, used)]
    doubt = _doubt(cluster_affinity(q)[np.ix_(used, used)] / len(q), weights, overlap, L)
    impurity = np.clip(IMPURITY * doubt * np.exp(IMPURITY_SPREAD * GRID), 1e-4, 0.5 - 1e-4)
    worlds = [_World(weights, overlap, L, share) for share in impurity]
    log_weight = norm.logpdf(GRID)
    if len(index):
        hits = _leave_one_out(cluster[np.asarray(index)], np.asarray(y), overlap)
        # half, as in `forecast`: labels that are tested also teach
        log_weight = log_weight + 0.5 * np.array([world.log_likelihood(*hits) for world in worlds])
    belief = np.exp(log_weight - log_weight.max())
    belief /= belief.sum()
    order = worlds[int(np.argmax(belief))].order() if chosen else None
    rows = []
    for n in counts:
        found = [
            world.at_random(n) if order is None else world.chosen(order[:n]) for world in worlds
        ]
        mean, error = np.array(found).T
        ends = [_quantile(mean, error, belief, tail) for tail in (0.025, 0.975)]
        rows.append((n, belief @ mean, *ends))
    return pd.DataFrame(rows, columns=["n_labels", "accuracy", "low", "high"])


def cluster_overlap(q):
    """How much clusters share images, as a cosine: q'q over the root of the masses, [K, K]."""
    mass = q.sum(axis=0, dtype=np.float64)
    return cluster_affinity(q) / np.maximum(np.sqrt(np.outer(mass, mass)), 1e-12)


def _doubt(together, weights, overlap, n_classes):
    """P(two draws from the posterior of one image fall in clusters that do not share a label)."""
    world = _World(weights, overlap, n_classes, 0.1)
    unrelated = 1 - world.agreement / world.one_label
    return max(float((together * unrelated).sum()), 1e-4)


def _quantile(mean, error, belief, tail):
    """Of the mixture of normal distributions, within 0 and 1."""

    def excess(x):
        return belief @ norm.cdf((x - mean) / np.maximum(error, 1e-6)) - tail

    low, high = mean.min() - 6 * error.max() - 1e-3, mean.max() + 6 * error.max() + 1e-3
    return float(np.clip(brentq(excess, low, high), 0, 1))


def _leave_one_out(cluster, y, overlap):
    """For each label: (own cluster, cluster that answers, its votes without the label, right)."""
    classes, label = np.unique(y, return_inverse=True)
    votes = np.zeros((len(overlap), len(classes)))
    np.add.at(votes, (cluster, label), 1)
    ranked = by_affinity(overlap)
    rows = []
    for c, own in zip(cluster, label, strict=True):
        votes[c, own] -= 1
        labelled = votes[ranked[c]].any(axis=1)
        if labelled.any():
            source = ranked[c, labelled.argmax()]
            rows.append((c, source, votes[source].sum(), votes[source].argmax() == own))
        votes[c, own] += 1
    return tuple(np.array(rows, dtype=int).reshape(-1, 4).T)


class _World:
    """Clusters of a given mean impurity: what labels would give there."""

    def __init__(self, weights, overlap, n_classes, impurity):
        self.weights, self.overlap, self.n_classes = weights, overlap, n_classes
        # Minority shares of the clusters, U^kappa / 2 for uniform U, of the given mean.
        minority = QUANTILES ** (1 / (2 * impurity) - 1) / 2
        major = 1 - minority
        right = binom.sf(VOTES[:, None] // 2, VOTES[:, None], major)
        tied = np.where(VOTES % 2 == 0, 1, 0)[:, None]
        right = right + 0.5 * tied * binom.pmf(VOTES[:, None] // 2, VOTES[:, None], major)
        self.by_votes = (right * major + (1 - right) * minority).mean(axis=1)
        self.vote_variance = (right * (1 - right) * (major - minority) ** 2).mean(axis=1)
        self.purity, self.one_label = 1 - impurity, self.by_votes[0]
        self.agreement = self._agreement()
        self.ranked = by_affinity(overlap)

    def _agreement(self):
        """P(images of two clusters share a label) [K, K]; over all pairs it must be 1 / L."""
        decades = np.log10(np.maximum(self.overlap, 1e-9))

        def pairs(centre):
            agree = np.maximum(self.one_label * expit(SLOPE * (decades - centre)), UNRELATED)
            np.fill_diagonal(agree, self.one_label)
            return agree

        def excess(centre):
            return self.weights @ pairs(centre) @ self.weights - 1 / self.n_classes

        low, high = -10.0, 2.0
        if excess(low) > 0 > excess(high):
            return pairs(brentq(excess, low, high))
        return pairs(high if excess(high) >= 0 else low)

    def at_random(self, n):
        """(mean, standard deviation) of the accuracy with n random labels."""
        missed = (1 - self.weights) ** n
        votes = binom.pmf(VOTES, n, self.weights[:, None])
        votes[:, -1] += np.maximum(1 - missed - votes.sum(axis=1), 0)
        covered = votes @ self.by_votes
        # a vote of several labels speaks for its cluster better than one label does
        gain = np.sqrt(covered / np.maximum(1 - missed, 1e-12) / self.one_label)
        first = first_labelled(self.ranked, self.weights, n)
        right = np.take_along_axis(self.agreement * gain, self.ranked[:, 1:], axis=1)
        mean = self.weights @ (covered + (first * right).sum(axis=1))
        scatter = max(self.weights**2 @ (missed * (1 - missed)), self._scatter_of_classes(n))
        variance = scatter + self.weights**2 @ (votes @ self.vote_variance)
        return min(mean, self.purity), np.sqrt(variance)

    def _scatter_of_classes(self, n):
        """Variance of the share of L equal classes without a label: the last word on few labels."""
        L = self.n_classes
        missed = (1 - 1 / L) ** n
        return max((1 - 1 / L) * (1 - 2 / L) ** n + missed / L - missed**2, 0.0)

    def order(self):
        """Clusters to label, each time the one that raises the expected accuracy most."""
        agree = self._by_typical()
        best, order = np.zeros(len(agree)), []
        for _ in range(len(agree)):
            gain = self.weights @ np.maximum(agree - best[:, None], 0)
            gain[order] = -1
            order.append(int(gain.argmax()))
            best = np.maximum(best, agree[:, order[-1]])
        return order

    def _by_typical(self):
        """Agreement with a typical image, which has its cluster's commonest label."""
        agree = self.agreement * np.sqrt(self.purity / self.one_label)
        np.fill_diagonal(agree, self.purity)
        return agree

    def chosen(self, labelled):
        """(mean, standard deviation) of the accuracy with a typical image of each of these."""
        agree = self._by_typical()[:, labelled].max(axis=1)
        agree[labelled] = self.purity
        return self.weights @ agree, np.sqrt(self.weights**2 @ (agree * (1 - agree)))

    def log_likelihood(self, own, source, votes, right):
        """Of labels that were predicted right or wrong by the others."""
        vote = self.by_votes[np.clip(votes, 1, len(VOTES)) - 1]
        there = self.agreement[own, source] * np.sqrt(vote / self.one_label)
        p = np.clip(np.where(own == source, vote, there), 1e-3, 1 - 1e-3)
        return np.where(right, np.log(p), np.log1p(-p)).sum()
