"""Semi-supervised baselines: clusterings, graphs, self-training; networks are in `networks`.

Each is a scikit-learn classifier, or a factory of one that `experiments.sweep` takes. Transductive
ones, which are fitted with all images, take row numbers, as `NeighbourDecoder` does.
"""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from gmvae_lib.errors import InputError
from gmvae_lib.label.neighbours import labelled_rows, row_numbers
from gmvae_lib.study.baselines import tuned, tuned_logistic_regression
from gmvae_lib.study.clusterings import (
    kmeans_posterior,
    mixture_posterior,
    principal_components,
)

# ---- classifiers of the embedding ---------------------------------------------------------------


def unit_length(features) -> np.ndarray:
    """The encoder's features [N, F] at length 1: compared by cosine, as `vae.nearest` does."""
    from sklearn.preprocessing import normalize

    return normalize(features)


def nearest_label(n_labels, seed, n_threads):
    """1-NN: the label of the nearest labelled image."""
    return KNeighborsClassifier(1, n_jobs=n_threads)


def nearest_labels(n_labels, seed, n_threads):
    """k-NN, near labels counting more; k of 1, 3, 5, 10 by cross-validation."""
    # a fold of few labels may have fewer than ten neighbours
    counts = [k for k in (1, 3, 5, 10) if k <= max(1, n_labels // 3)]
    model = KNeighborsClassifier(weights="distance", n_jobs=n_threads)
    return tuned(model, {"n_neighbors": counts}, seed)


# ---- transductive classifiers -------------------------------------------------------------------


class TransductiveClassifier(ClassifierMixin, BaseEstimator):
    """A classifier fitted with all images: its points are their row numbers, int [n] or [n, 1].

    Attributes
    ----------
    classes_ : array [C]
    scores_ : array [N, C], from `_score` for all images; the largest wins.
    """

    def fit(self, rows, y):
        n = self._n_images()
        rows, y = labelled_rows(rows, y, n)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            self.scores_ = np.ones((n, 1))
        else:
            self.scores_ = self._score(rows, index)
        return self

    def predict(self, rows):
        """Labels [n] of images by their row numbers."""
        check_is_fitted(self)
        return self.classes_[self.scores_[row_numbers(rows, self._n_images())].argmax(axis=1)]


def with_unlabelled(n, rows, index):
    """scikit-learn's notation: class index [n], -1 without a label."""
    y = np.full(n, -1)
    y[rows] = index
    return y


class Spreading(TransductiveClassifier):
    """scikit-learn's LabelSpreading (Zhou et al. 2004) on a sparse graph.

    scikit-learn's own kernels build a dense [N, N] matrix, or search for neighbours at each fit.

    Parameters
    ----------
    graph : sparse [N, N], from `neighbours.adjacency`.
    alpha : share that an image takes from its neighbours. The paper's value; scikit-learn's is 0.2.
    steps : at most.
    """

    def __init__(self, graph, alpha=0.99, steps=30):
        self.graph = graph
        self.alpha = alpha
        self.steps = steps

    def _n_images(self):
        return self.graph.shape[0]

    def _score(self, rows, index):
        import warnings

        from sklearn.exceptions import ConvergenceWarning
        from sklearn.semi_supervised import LabelSpreading

        n = self._n_images()
        model = LabelSpreading(lambda a, b: self.graph, alpha=self.alpha, max_iter=self.steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the steps are a setting
            model.fit(np.arange(n)[:, None], with_unlabelled(n, rows, index))
        return model.label_distributions_


class PoissonLearning(TransductiveClassifier):
    """Poisson learning (Calder et al. 2020): labels as sources and sinks of a flow on the graph.

    Solves L u_l = sum over labelled x of (1[y(x) = l] - share of l) delta_x, with L = D - W and
    sum_x d(x) u_l(x) = 0, for every label l. The largest u_l(x) / share of l wins, the paper's
    correction for classes that are known to be equally frequent, or the largest u_l(x).

    Parameters
    ----------
    graph : sparse [N, N], connected, from `neighbours.adjacency`.
    corrected : divide by the share of the label.
    tolerance : relative residual at which conjugate gradients stop.
    """

    def __init__(self, graph, corrected=True, tolerance=1e-3):
        self.graph = graph
        self.corrected = corrected
        self.tolerance = tolerance

    def _n_images(self):
        return self.graph.shape[0]

    def _score(self, rows, index):
        from scipy.sparse.csgraph import connected_components, laplacian
        from scipy.sparse.linalg import LinearOperator, cg

        n_parts = connected_components(self.graph, directed=False, return_labels=False)
        if n_parts > 1:  # where a part holds one label or none, the equation has no solution
            raise InputError(f"graph: found {n_parts} parts; expected a connected graph")
        shape = (self._n_images(), index.max() + 1)
        share = np.bincount(index) / len(index)
        sources = np.zeros(shape, dtype=self.graph.dtype)
        sources[rows] = np.eye(shape[1])[index] - share
        # with u = D^(-1/2) v: (I - D^(-1/2) W D^(-1/2)) v = D^(-1/2) sources, better conditioned;
        # from 0 conjugate gradients stay orthogonal to the null vector, which is the condition on u
        matrix, root = laplacian(self.graph, normed=True, return_diag=True)
        wanted = sources / root[:, None]
        operator = LinearOperator(
            (wanted.size, wanted.size),
            lambda v: (matrix @ v.reshape(shape)).ravel(),
            dtype=wanted.dtype,
        )
        v, _ = cg(operator, wanted.ravel(), rtol=self.tolerance)
        u = v.reshape(shape) / root[:, None]
        return u / share if self.corrected else u


class SelfTraining(TransductiveClassifier):
    """scikit-learn's SelfTrainingClassifier, which adds its confident predictions to the labels.

    Parameters
    ----------
    points : array [N, D] of all images.
    estimator : scikit-learn classifier with `predict_proba`.
    pool : unlabelled images, drawn at random, whose confident predictions are added each round.
    threshold : probability from which a prediction becomes a label. rounds : at most.
    """

    def __init__(self, points, estimator, pool=20_000, threshold=0.95, rounds=5, seed=0):
        self.points = points
        self.estimator = estimator
        self.pool = pool
        self.threshold = threshold
        self.rounds = rounds
        self.seed = seed

    def _n_images(self):
        return len(self.points)

    def _score(self, rows, index):
        from sklearn.semi_supervised import SelfTrainingClassifier

        n = self._n_images()
        y = with_unlabelled(n, rows, index)
        drawn = np.random.default_rng(self.seed).permutation(np.flatnonzero(y < 0))[: self.pool]
        seen = np.concatenate([rows, drawn])
        model = SelfTrainingClassifier(
            clone(self.estimator), threshold=self.threshold, max_iter=self.rounds
        )
        return model.fit(self.points[seen], y[seen]).predict_proba(self.points)


# ---- the table ----------------------------------------------------------------------------------


def clusterings(pixels, embedding, K):
    """Clusterings to be labelled, by name: callables that make their posteriors [N, K]."""
    return {
        "k-means on the embedding": lambda: kmeans_posterior(embedding, K),
        "k-means on PCA": lambda: kmeans_posterior(*principal_components(pixels), K),
        "mixture on the embedding": lambda: mixture_posterior(*principal_components(embedding), K),
        "mixture on PCA": lambda: mixture_posterior(*principal_components(pixels), K),
        "k-means on pixels": lambda: kmeans_posterior(pixels, K),
        # a component has too few images for a full covariance of 784 pixels
        "mixture on pixels": lambda: mixture_posterior(pixels, K, "diag"),
    }


def on_embedding():
    """Supervised classifiers of the embedding [N, F], which was learned from all images."""
    return {
        "1-NN on the embedding": nearest_label,
        "k-NN on the embedding": nearest_labels,
        "logistic regression on the embedding": tuned_logistic_regression,
    }


def on_graph(graph):
    """Methods that spread labels over the neighbour graph; they take row numbers."""
    return {
        "Poisson learning": PoissonLearning(graph),
        "Poisson learning, uncorrected": PoissonLearning(graph, corrected=False),
        "label spreading": Spreading(graph),
    }


def by_self_training(embedding):
    """Self-training with logistic regression on the embedding; it takes row numbers."""

    def factory(n_labels, seed, n_threads):
        model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-3, random_state=seed))
        return SelfTraining(embedding, model, seed=seed)

    return {"self-training on the embedding": factory}
