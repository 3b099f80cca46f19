"""The decoder of Dan et al. (2018): clusters assigned to classes by matching."""

import numpy as np

from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import Decoder


class AssignmentDecoder(Decoder):
    """Maximum-likelihood assignment of one label to each component, chosen jointly.

    The labels l(c) that maximise sum_i log sum_{c: l(c) = y_i} q(c|x_i) over the labelled points:
    up to a constant, the likelihood of (x_i, y_i) when a label's images come from the mixture of
    its components (Dan et al. 2018; there one component a label, hence a matching). x gets the
    label whose components have the largest sum of q(c|x), which `predict_proba` gives.

    Finding the best of the C^K assignments is a submodular welfare problem, hard in general. Here
    the components are assigned greedily, the heaviest first, which attains at least half of the
    largest gain (Lehmann, Lehmann & Nisan 2006); then single components are reassigned as long as
    that improves the likelihood. The result is a local maximum; on small problems whose labels
    follow the components it is mostly the global one (the tests enumerate them).

    Parameters
    ----------
    floor : float
        Added to each sum over components, so that an unexplained point costs log(floor) and not
        infinity: the share of images that may have any label. Above 0.

    Attributes
    ----------
    labelled_ : float [n, K], q of the labelled points. index_ : int [n], their labels in `classes_`
    assignment_ : int [K], place in `classes_` of each component's label; -1 where no labelled point
        touches the component, which then favours no label
    """

    def __init__(self, floor=0.01):
        self.floor = floor

    def _check_parameters(self):
        if not (np.isfinite(self.floor) and self.floor > 0):
            raise InputError(f"floor: found {self.floor!r}; expected a finite number above 0")

    def _start(self, classes, n_components):
        super()._start(classes, n_components)
        self.labelled_ = np.zeros((0, n_components))
        self.index_ = np.zeros(0, dtype=np.int64)

    def _count(self, q, label):
        super()._count(q, label)
        self.labelled_ = np.concatenate([self.labelled_, q])
        self.index_ = np.concatenate([self.index_, label])
        self.assignment_ = self._assign()
        return self

    def _add(self, other, classes):
        places = [np.searchsorted(classes, part.classes_) for part in (self, other)]
        super()._add(other, classes)
        self.labelled_ = np.concatenate([self.labelled_, other.labelled_])
        self.index_ = np.concatenate([places[0][self.index_], places[1][other.index_]])
        self.assignment_ = self._assign()

    def _assign(self):
        assignment = np.full(self.labelled_.shape[1], -1)
        explained = np.full(len(self.index_), float(self.floor))  # of each point, by its label
        weight = self.labelled_.sum(axis=0)
        order = [c for c in np.argsort(-weight, kind="stable") if weight[c] > 0]
        moved = True
        while moved:
            moved = False
            for c in order:
                before = assignment[c]
                explained -= np.where(self.index_ == before, self.labelled_[:, c], 0.0)
                np.maximum(explained, self.floor, out=explained)  # against rounding
                gain = np.bincount(
                    self.index_,
                    np.log1p(self.labelled_[:, c] / explained),
                    minlength=len(self.classes_),
                )
                best = gain.argmax()
                # a gain below rounding does not count, or two equal assignments could alternate
                if before < 0 or gain[best] > gain[before] + 1e-9:
                    assignment[c], moved = best, True
                explained += np.where(self.index_ == assignment[c], self.labelled_[:, c], 0.0)
        return assignment

    @property
    def log_likelihood_(self):
        """What the assignment maximises, in nats."""
        mine = self.assignment_ == self.index_[:, None]
        return float(np.log(self.floor + (self.labelled_ * mine).sum(axis=1)).sum())

    @property
    def label_given_component_(self):
        """p(l|c), float64 [C, K]: 1 for the component's label; 1 / C where it has none."""
        undecided = np.full(len(self.classes_), 1 / len(self.classes_))[:, None]
        own = self.assignment_ == np.arange(len(self.classes_))[:, None]
        return np.where(self.assignment_ < 0, undecided, own)

    def _scores(self, q):
        return q @ self.label_given_component_.T.astype(q.dtype)
