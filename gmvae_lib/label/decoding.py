"""Decoders: from cluster posteriors q(c|x) and a few labels to a classifier.

All are scikit-learn classifiers whose features are the rows of q [N, K]. They keep only sums over
the labelled points: `partial_fit` over chunks equals one `fit`, `merge` adds decoders fitted on
different data, and a prediction is one product with a [K, C] matrix. Entries of q must be
non-negative; rows that sum to 1 give the probabilities their meaning, but this is not enforced.
"""

import math
import warnings
from numbers import Real

import numpy as np
from scipy.special import gammaln
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from gmvae_lib.errors import InputError


class Decoder(ClassifierMixin, BaseEstimator):
    """Base class of the decoders: counts over the labelled points, and scores to predictions.

    Attributes
    ----------
    classes_ : array [C], the sorted labels
    class_count_ : int64 [C], labelled points of each label
    component_count_ : float64 [C, K], sums over the labelled points of each label

    Examples
    --------
    Decoders fitted on two parts of the labels add up to the decoder of all of them:

    >>> import numpy as np
    >>> from gmvae_lib import SoftDecoder
    >>> q, y = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]]), ["a", "a", "b"]
    >>> parts = SoftDecoder().fit(q[:2], y[:2]).merge(SoftDecoder().fit(q[2:], y[2:]))
    >>> bool((parts.component_count_ == SoftDecoder().fit(q, y).component_count_).all())
    True
    """

    classes_: np.ndarray
    class_count_: np.ndarray
    component_count_: np.ndarray

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
        known = self.classes_ if classes is None else np.unique(classes)
        if not first and not np.array_equal(known, self.classes_):
            raise InputError(
                f"classes: found {known.tolist()}; expected those of the first partial_fit, "
                f"{self.classes_.tolist()}"
            )
        q, y = self._validate(q, y, reset=first)
        label = np.searchsorted(known, y).clip(max=len(known) - 1)
        unknown = known[label] != y
        if unknown.any():
            raise InputError(
                f"y: found the label {y[unknown][0]!r}; expected one of {known.tolist()}"
            )
        if first:
            self._start(known, q.shape[1])
        return self._count(q, label)

    def merge(self, other):
        """Add the labelled points of another decoder of the same kind; returns self.

        The result is the decoder fitted on both: decoders of the shards of a data set, fitted on as
        many machines, add up to that of the whole. Labels that only one of them has are kept.

        Raises
        ------
        InputError
            If the other one is of another kind, has other parameters or another number of
            components.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        if type(other) is not type(self):
            raise InputError(
                f"other: found {type(other).__name__}; expected {type(self).__name__}, as this is"
            )
        if other.n_features_in_ != self.n_features_in_:
            raise InputError(
                f"other: found {other.n_features_in_} components; expected {self.n_features_in_}"
            )
        mine, theirs = self.get_params(), other.get_params()
        for name, value in mine.items():
            if not np.array_equal(value, theirs[name]):
                raise InputError(f"other: found another {name}; expected the same in both")
        self._add(other, np.union1d(self.classes_, other.classes_))
        return self

    def _add(self, other, classes):
        """Sum the counts of both over the labels of both."""
        class_count = np.zeros(len(classes), dtype=np.int64)
        component_count = np.zeros((len(classes), self.n_features_in_))
        for part in (self, other):
            rows = np.searchsorted(classes, part.classes_)
            class_count[rows] += part.class_count_
            component_count[rows] += part.component_count_
        self.classes_, self.class_count_ = classes, class_count
        self.component_count_ = component_count

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
        # No evidence for any label: what remains is how often each label occurs.
        scores[scores.sum(axis=1) == 0] = self.class_count_ / self.class_count_.sum()
        return scores


class HardDecoder(Decoder):
    """Cluster-then-label: each component takes the most frequent label of its labelled points.

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

    Examples
    --------
    The second component has no label, so its points take that of their next likely component:

    >>> import numpy as np
    >>> from gmvae_lib import HardDecoder
    >>> q = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.2, 0.5, 0.3]])
    >>> HardDecoder().fit(q[:2], ["cat", "dog"]).predict(q).tolist()
    ['cat', 'dog', 'dog']
    >>> HardDecoder(fallback="none").fit(q[:2], ["cat", "dog"]).predict(q).tolist()
    ['cat', 'dog', 'cat']
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
        labelled = votes.sum(axis=1) > 0
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


class SoftDecoder(Decoder):
    """The article's soft rule: argmax over labels l of the similarity <m(l), q(.|x)>.

    m(l), the mean of q over the labelled points of label l, estimates p(c|l). `predict_proba` gives
    the similarities divided by their sum; where all are zero, the label frequencies.

    Attributes
    ----------
    component_count_ : float64 [C, K], the sum of q over the labelled points of each label

    Examples
    --------
    >>> import numpy as np
    >>> from gmvae_lib import SoftDecoder
    >>> q = np.array([[0.8, 0.2, 0.0], [0.0, 0.2, 0.8], [0.3, 0.3, 0.4]])
    >>> decoder = SoftDecoder().fit(q[:2], ["cat", "dog"])
    >>> decoder.predict(q[2:]).tolist(), decoder.predict_proba(q[2:]).round(3).tolist()
    (['dog'], [[0.441, 0.559]])
    """

    @property
    def class_mean_(self):
        """m(l), float64 [C, K]; zero for a label without labelled points."""
        return self.component_count_ / np.maximum(self.class_count_, 1)[:, None]

    def _scores(self, q):
        return q @ self.class_mean_.T.astype(q.dtype)


class BayesDecoder(Decoder):
    """Bayes' rule: argmax over labels l of sum_c q(c|x) p(l|c).

    p(l|c) = (S_lc + alpha p(l)) / (S_c + alpha), where S_lc is the sum of q(c|x) over the labelled
    points of label l and S_c its sum over l. `predict_proba` gives the sum.

    Parameters
    ----------
    alpha : float or "evidence"
        Prior strength, in labelled points a component. With 0, p(l|c) of a component with labelled
        points is their share. "evidence": the most probable of `ALPHAS` given the labelled points,
        by `log_evidence` and an exponential prior of mean 1.
    prior : {"uniform", "labels"}
        p(l). "uniform": 1 / C, so that a component without labels favours none. "labels":
        (n_l + 1) / (n + C), so that it favours the label that was drawn most often, which with few
        labels is mostly chance.

    Attributes
    ----------
    component_count_ : float64 [C, K], S
    alpha_ : float, the prior strength in use

    Examples
    --------
    >>> import numpy as np
    >>> from gmvae_lib import BayesDecoder
    >>> q = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.0, 1.0]])
    >>> decoder = BayesDecoder(alpha=1.0).fit(q[:3], ["a", "a", "b"])
    >>> decoder.predict_proba(q[3:]).round(3).tolist()  # (0.3 + 0.5, 0.9 + 0.5) of 2.2
    [[0.364, 0.636]]
    """

    def __init__(self, alpha="evidence", prior="uniform"):
        self.alpha = alpha
        self.prior = prior

    def _check_parameters(self):
        number = isinstance(self.alpha, Real) and 0 <= float(self.alpha) < math.inf
        if not (number or self.alpha == "evidence"):
            raise InputError(
                f"alpha: found {self.alpha!r}; expected a finite number, 0 or more, or 'evidence'"
            )
        if self.prior not in ("uniform", "labels"):
            raise InputError(f"prior: found {self.prior!r}; expected 'uniform' or 'labels'")

    def _count(self, q, label):
        super()._count(q, label)
        self._choose_alpha()
        return self

    def _add(self, other, classes):
        super()._add(other, classes)
        self._choose_alpha()

    def _choose_alpha(self):
        self.alpha_ = self.alpha
        if self.alpha == "evidence":
            evidence = log_evidence(self.component_count_, ALPHAS, self._label_prior())
            # a few labels say little: an exponential prior of mean 1, as a density over log(alpha)
            self.alpha_ = float(ALPHAS[np.argmax(evidence + np.log(ALPHAS) - ALPHAS)])

    @property
    def label_given_component_(self):
        """p(l|c), float64 [C, K]; every column sums to 1."""
        prior, alpha = self._label_prior(), self.alpha_
        total = self.component_count_.sum(axis=0) + alpha
        smoothed = self.component_count_ + alpha * prior[:, None]
        empty = total == 0  # only with alpha = 0
        return np.where(empty, prior[:, None], smoothed / np.where(empty, 1.0, total))

    def _label_prior(self):
        n_classes = len(self.classes_)
        if self.prior == "uniform":
            return np.full(n_classes, 1 / n_classes)
        return (self.class_count_ + 1) / (self.class_count_.sum() + n_classes)

    def _scores(self, q):
        return q @ self.label_given_component_.T.astype(q.dtype)


ALPHAS = np.geomspace(1e-3, 100, 101)  # what "evidence" chooses from


def log_evidence(component_count, alpha, prior):
    """Log probability of the labels given their components, p(l|c) integrated out.

    p(.|c) of each component is drawn from a Dirichlet distribution with parameters alpha p(l). The
    Dirichlet-multinomial formula is exact for whole counts, that is where every q is 0 or 1; soft
    counts go into the same formula, as if a labelled point were split among its components.

    Parameters
    ----------
    component_count : array [C, K], labelled points of each label in each component
    alpha : float or array [A], above 0
    prior : array [C], p(l); above 0

    Returns
    -------
    float or array [A], nats

    Examples
    --------
    Two labels in one component: both a label each, or the same twice, from a uniform prior.

    >>> import numpy as np
    >>> apart = log_evidence([[1], [1]], alpha=2.0, prior=[0.5, 0.5])
    >>> alike = log_evidence([[2], [0]], alpha=2.0, prior=[0.5, 0.5])
    >>> np.exp([apart, alike]).round(3).tolist()
    [0.167, 0.333]
    """
    count = np.asarray(component_count, dtype=np.float64)
    alpha = np.asarray(alpha, dtype=np.float64)[..., None]
    parameter = alpha[..., None] * np.asarray(prior)[:, None]  # [A, C, 1]
    per_label = (gammaln(parameter + count) - gammaln(parameter)).sum(axis=(-2, -1))
    return per_label - (gammaln(alpha + count.sum(axis=0)) - gammaln(alpha)).sum(axis=-1)


class GraphDecoder(Decoder):
    """Bayes' rule with label propagation between components that share images.

    p(l|c) = (S_lc + strength * sum_c' W_cc' p(l|c')) / (S_c + strength), solved exactly, with S as
    in `BayesDecoder` and W the affinity, its rows normalised. A component without labels takes
    those of the components with which it shares images: label propagation (Zhu & Ghahramani 2002)
    on the K components instead of the N images. `predict_proba` gives sum_c q(c|x) p(l|c).

    Parameters
    ----------
    affinity : array [K, K], optional
        From `cluster_affinity` of all images, which needs no label. Without it, that of the
        labelled points alone.
    strength : float
        Weight of the neighbours, in labelled points a component; above 0.

    Attributes
    ----------
    component_count_ : float64 [C, K], S

    Examples
    --------
    The third component has no label and shares images with the second only:

    >>> import numpy as np
    >>> from gmvae_lib import GraphDecoder
    >>> from gmvae_lib.label.decoding import cluster_affinity
    >>> q = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.1, 0.9]])
    >>> decoder = GraphDecoder(cluster_affinity(q)).fit(q[:2], ["cat", "dog"])
    >>> decoder.predict(q[3:]).tolist()
    ['dog']
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

    def _add(self, other, classes):
        super()._add(other, classes)
        self.together_ += other.together_

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
        # a little of the class prior: it decides where no label reaches, and the system is regular
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
    q : array [N, K], posteriors of the images, labelled or not. together : q'q instead of q.

    Examples
    --------
    >>> import numpy as np
    >>> cluster_affinity(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [[0.0, 0.25], [0.25, 0.0]]
    """
    affinity = np.asarray(q.T @ q if together is None else together, dtype=np.float64).copy()
    np.fill_diagonal(affinity, 0.0)
    return affinity


def decoders(q):
    """The decoders that read q(c|x), unfitted, by name.

    q : array [N, K], posteriors of all images: the graph decoder's affinity, which needs no label.

    Examples
    --------
    >>> import numpy as np
    >>> list(decoders(np.eye(3)))
    ['graph', 'soft', 'hard', 'hard (no fallback)', 'bayes']
    """
    return {
        "graph": GraphDecoder(cluster_affinity(q)),
        "soft": SoftDecoder(),
        "hard": HardDecoder(fallback="nearest"),
        "hard (no fallback)": HardDecoder(fallback="none"),
        "bayes": BayesDecoder(),
    }
