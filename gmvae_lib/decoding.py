"""Decoders: from cluster posteriors q(c|x) and a few labels to a classifier.

All are scikit-learn classifiers whose features are the rows of q [N, K]. Each keeps only sums over
the labelled points, so `partial_fit` over chunks equals one `fit`, and prediction costs one product
with a [K, C] matrix. Entries of q must be non-negative; rows that sum to 1 give the probabilities
their meaning, but this is not enforced.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from gmvae_lib.errors import InputError


class _Decoder(ClassifierMixin, BaseEstimator):
    """What the decoders share: counting over labelled points, and scores to predictions.

    Attributes
    ----------
    classes_ : array [C], the sorted labels
    class_count_ : int64 [C], labelled points of each label
    component_count_ : float64 [C, K], what `_component_count` sums
    """

    def fit(self, q, y):
        """Fit on the posteriors q [n, K] and labels y [n] of the labelled points."""
        q, y = self._validate(q, y, reset=True)
        classes, label = np.unique(y, return_inverse=True)
        self._start(classes, q.shape[1])
        return self._count(q, label)

    def partial_fit(self, q, y, classes=None):
        """Add labelled points to those seen so far.

        Parameters
        ----------
        q : array [n, K]
        y : array [n]
        classes : array, optional
            Every label that may ever occur; required on the first call.
        """
        first = not hasattr(self, "classes_")
        if first and classes is None:
            raise InputError("classes: found none at the first partial_fit; expected every label")
        if (
            not first
            and classes is not None
            and not np.array_equal(np.unique(classes), self.classes_)
        ):
            raise InputError(
                f"classes: found {np.unique(classes).tolist()}; expected those of the first "
                f"partial_fit, {self.classes_.tolist()}"
            )
        q, y = self._validate(q, y, reset=first)
        known = np.unique(classes) if first else self.classes_
        label = np.searchsorted(known, y).clip(max=len(known) - 1)
        unknown = known[label] != y
        if unknown.any():
            raise InputError(
                f"y: found the label {y[unknown][0]!r}; expected one of {known.tolist()}"
            )
        if first:
            self._start(known, q.shape[1])
        return self._count(q, label)

    def predict_proba(self, q):
        """Label probabilities [N, C] of q [N, K]; see the class for what they mean."""
        scores = self._scores_or_prior(q)
        return scores / scores.sum(axis=1, keepdims=True)

    def predict(self, q):
        """Labels [N] of q [N, K]; ties go to the label that is first in `classes_`."""
        best = self._scores_or_prior(q).argmax(axis=1)
        return self.classes_[best]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        # On features that are no posterior (scikit-learn's blobs) a decoder has no reason to work.
        tags.classifier_tags.poor_score = True
        return tags

    def _validate(self, q, y, reset):
        self._check_parameters()
        q, y = validate_data(self, q, y, reset=reset, dtype=[np.float64, np.float32])
        check_non_negative(q, type(self).__name__)
        with warnings.catch_warnings():
            # few labels are the point here, not a sign that y is a regression target
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            check_classification_targets(y)
        return q, y

    def _check_parameters(self):
        """Raise InputError for a constructor argument that cannot be used."""

    def _start(self, classes, n_components):
        self.classes_ = classes
        self.class_count_ = np.zeros(len(classes), dtype=np.int64)
        self.component_count_ = np.zeros((len(classes), n_components))

    def _count(self, q, label):
        self.class_count_ += np.bincount(label, minlength=len(self.classes_))
        for index in np.unique(label):
            self.component_count_[index] += self._component_count(q[label == index])
        return self

    def _component_count(self, q):
        """Soft count of each component, [K]: the sum of q over the given points."""
        return q.sum(axis=0, dtype=np.float64)

    def _scores_or_prior(self, q):
        check_is_fitted(self)
        q = validate_data(self, q, reset=False, dtype=[np.float64, np.float32])
        check_non_negative(q, type(self).__name__)
        scores = self._scores(q)
        # No evidence for any label: all that is left is how often each label was seen.
        scores[scores.sum(axis=1) == 0] = self.class_count_ / self.class_count_.sum()
        return scores


class HardDecoder(_Decoder):
    """Cluster-then-label: every component carries the label most of its labelled points have.

    l(c) is the most frequent label among the labelled points whose most likely component is c
    (ties: the first in `classes_`), and x gets l(argmax_c q(c|x)). `predict_proba` gives the vote
    shares of the component used.

    Parameters
    ----------
    fallback : {"nearest", "none"}
        What to do with x whose component got no label. "nearest": use the most likely component
        that has one; where q is zero on all of those, the commonest label. "none": predict
        `classes_[0]`. This is what the article's published code does, and the source of most of
        the 18 points by which its soft rule leads at 73 labels.

    Attributes
    ----------
    component_count_ : float64 [C, K], the votes
    """

    def __init__(self, fallback="nearest"):
        self.fallback = fallback

    def _check_parameters(self):
        if self.fallback not in ("nearest", "none"):
            raise InputError(f"fallback: found {self.fallback!r}; expected 'nearest' or 'none'")

    def _component_count(self, q):
        return np.bincount(q.argmax(axis=1), minlength=q.shape[1])

    def _scores(self, q):
        votes = self.component_count_.T.copy()  # [K, C]
        labelled = votes.any(axis=1)
        votes[labelled] /= votes[labelled].sum(axis=1, keepdims=True)
        if self.fallback == "none":
            votes[~labelled, 0] = 1.0
        component = q.argmax(axis=1)
        scores = votes[component]
        if self.fallback == "nearest":
            top = np.take_along_axis(q, component[:, None], axis=1)[:, 0]
            lost = np.flatnonzero(~labelled[component] | (top == 0))
            candidates = np.flatnonzero(labelled)
            q_candidates = q[np.ix_(lost, candidates)]
            scores[lost] = votes[candidates[q_candidates.argmax(axis=1)]]
            scores[lost[~q_candidates.any(axis=1)]] = 0.0  # nothing to go by: the class prior
        return scores


class SoftDecoder(_Decoder):
    """The article's soft rule: argmax over labels l of the similarity <m(l), q(.|x)>.

    m(l), the mean of q over the labelled points of label l, estimates p(c|l). `predict_proba` gives
    the similarities divided by their sum; where all are zero, the label frequencies.

    Attributes
    ----------
    component_count_ : float64 [C, K], the sum of q over the labelled points of each label
    """

    @property
    def class_mean_(self):
        """m(l), float64 [C, K]; zero for a label without labelled points."""
        return self.component_count_ / np.maximum(self.class_count_, 1)[:, None]

    def _scores(self, q):
        return q @ self.class_mean_.T.astype(q.dtype)


class BayesDecoder(_Decoder):
    """Bayes' rule: argmax over labels l of sum_c q(c|x) p(l|c).

    p(l|c) = (S_lc + alpha p(l)) / (S_c + alpha), where S_lc is the sum of q(c|x) over the labelled
    points of label l, S_c its sum over l, and p(l) = (n_l + 1) / (n + C). `predict_proba` gives
    the sum.

    Parameters
    ----------
    alpha : float
        Prior strength, in labelled points a component: the default, 1, makes the first labelled
        point weigh as much as the label frequencies. With 0 a component keeps to its own points,
        if it has any.

    Attributes
    ----------
    component_count_ : float64 [C, K], S
    """

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def _check_parameters(self):
        if not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise InputError(f"alpha: found {self.alpha!r}; expected a finite number, 0 or more")

    @property
    def label_given_component_(self):
        """p(l|c), float64 [C, K]; every column sums to 1."""
        prior = (self.class_count_ + 1) / (self.class_count_.sum() + len(self.classes_))
        total = self.component_count_.sum(axis=0) + self.alpha
        smoothed = self.component_count_ + self.alpha * prior[:, None]
        empty = total == 0  # only with alpha = 0
        return np.where(empty, prior[:, None], smoothed / np.where(empty, 1.0, total))

    def _scores(self, q):
        return q @ self.label_given_component_.T.astype(q.dtype)


class GraphDecoder(_Decoder):
    """Bayes' rule over components that lend each other labels: clusters that hesitate together.

    p(l|c) = (S_lc + strength * sum_c' W_cc' p(l|c')) / (S_c + strength), solved exactly, with S as
    in `BayesDecoder` and W the affinity, its rows normalised. A component without labels takes
    those of the components with which it shares images: label propagation (Zhu & Ghahramani 2002)
    on the K components instead of the N images. `predict_proba` gives sum_c q(c|x) p(l|c).

    Parameters
    ----------
    affinity : array [K, K], optional
        From `cluster_affinity` of all images, which needs no label. Without it: that of the
        labelled points, which is little.
    strength : float
        Weight of the neighbours, in labelled points a component; above 0.

    Attributes
    ----------
    component_count_ : float64 [C, K], S
    """

    def __init__(self, affinity=None, strength=1.0):
        self.affinity = affinity
        self.strength = strength

    def _check_parameters(self):
        if not (np.isfinite(self.strength) and self.strength > 0):
            raise InputError(f"strength: found {self.strength!r}; expected a finite number above 0")

    def _start(self, classes, n_components):
        super()._start(classes, n_components)
        shape = (n_components, n_components)
        if self.affinity is not None and np.shape(self.affinity) != shape:
            raise InputError(f"affinity: found shape {np.shape(self.affinity)}; expected {shape}")
        self.together_ = np.zeros(shape)

    def _count(self, q, label):
        if self.affinity is None:
            self.together_ += q.T.astype(np.float64) @ q
        return super()._count(q, label)

    @property
    def label_given_component_(self):
        """p(l|c), float64 [C, K]; every column sums to 1."""
        if self.affinity is None:
            affinity = cluster_affinity(together=self.together_)
        else:
            affinity = np.asarray(self.affinity, dtype=np.float64)
        degree = affinity.sum(axis=1, keepdims=True)
        walk = np.divide(affinity, degree, out=np.zeros_like(affinity), where=degree > 0)
        # a trace of the class prior: decides where no label reaches, and keeps the system regular
        prior = (self.class_count_ + 1) / (self.class_count_.sum() + len(self.classes_))
        trace = 1e-3 * self.strength
        counts = self.component_count_.sum(axis=0)
        lent = self.strength * degree[:, 0].astype(bool)
        system = np.diag(counts + lent + trace) - self.strength * walk
        return np.linalg.solve(system, self.component_count_.T + trace * prior).T

    def _scores(self, q):
        return q @ self.label_given_component_.T.astype(q.dtype).clip(min=0)


def cluster_affinity(q=None, together=None):
    """How much components share images: q'q over all images, without the diagonal, [K, K].

    Parameters
    ----------
    q : array [N, K], posteriors of the images, labelled or not. together : their q'q, instead.
    """
    affinity = np.asarray(q.T @ q if together is None else together, dtype=np.float64).copy()
    np.fill_diagonal(affinity, 0.0)
    return affinity


@dataclass(frozen=True)
class Disagreement:
    """An image on which the soft rule is right and the hard rule wrong; see `find_disagreement`.

    The arrays run over the image's likeliest components, largest q(c|x) first.
    """

    index: int
    truth: int
    hard: int
    soft: int
    margin: float  # share of the similarity that goes to the truth, minus the hard answer's
    components: np.ndarray  # int [M]
    posterior: np.ndarray  # [M], q(c|x)
    votes: np.ndarray  # int [M, C], labelled images of each label in each component
    classes: np.ndarray  # int [C], the labels that the columns of votes count
    n_candidates: int  # images that satisfy the rule, of which this is the first


def find_disagreement(q, y, labelled, min_posterior=0.1, min_components=3, n_shown=5):
    """Choose the image of Figure 2 by a rule, not by hand.

    Among the images without a label on which the hard rule (nearest fallback) is wrong and the soft
    rule right, whose top component did get labels but is outweighed, in q(c|x), by the components
    that vote for the truth, and on which at least `min_components` components have q(c|x) above
    `min_posterior`, take the one with the largest `margin`.

    Parameters
    ----------
    q : array [N, K]
    y : int array [N], true labels
    labelled : int array [n], the images whose labels both rules see
    min_posterior, min_components : see above
    n_shown : int
        Components to report.

    Raises
    ------
    InputError
        If no image satisfies the rule.
    """
    q, y = np.asarray(q), np.asarray(y)
    hard = HardDecoder(fallback="nearest").fit(q[labelled], y[labelled])
    soft = SoftDecoder().fit(q[labelled], y[labelled])
    says_hard, shares = hard.predict(q), soft.predict_proba(q)
    says_soft = soft.classes_[shares.argmax(axis=1)]
    has_votes = hard.component_count_.any(axis=0)
    vote = hard.classes_[hard.component_count_.argmax(axis=0)]
    for_truth = (q * (has_votes & (vote == y[:, None]))).sum(axis=1)
    kept = (says_hard != y) & (says_soft == y) & has_votes[q.argmax(axis=1)]
    kept &= for_truth > q.max(axis=1)
    kept &= (q > min_posterior).sum(axis=1) >= min_components
    kept[labelled] = False
    candidates = np.flatnonzero(kept)
    if len(candidates) == 0:
        raise InputError(
            f"q, y: found no image where soft is right, hard wrong, the truth's components outweigh"
            f" the top one, and {min_components} are above {min_posterior}; expected at least one"
        )
    rows = np.arange(len(candidates))
    truth, answer = (
        shares[candidates][rows, np.searchsorted(soft.classes_, labels[candidates])]
        for labels in (y, says_hard)
    )
    best = (truth - answer).argmax()
    index = candidates[best]
    components = np.argsort(-q[index], kind="stable")[:n_shown]
    return Disagreement(
        index=int(index),
        truth=int(y[index]),
        hard=int(says_hard[index]),
        soft=int(says_soft[index]),
        margin=float(truth[best] - answer[best]),
        components=components,
        posterior=q[index, components],
        votes=hard.component_count_[:, components].T.astype(np.int64),
        classes=hard.classes_,
        n_candidates=len(candidates),
    )
