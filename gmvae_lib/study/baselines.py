"""Pixel baselines: supervised classifiers that see only the labelled images.

The settings are the article's where it gives them, or the best found by cross-validation on
the labelled images. The estimators are scikit-learn's and XGBoost's, in a wrapper for random draws
of labels, in which classes may be missing or have a single example.
"""

import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from gmvae_lib.errors import needs_extra

MIN_HELD_OUT_PER_CLASS = 5
FOLDS = 3


class RandomDrawClassifier(ClassifierMixin, BaseEstimator):
    """Fit any classifier on the classes that a random draw of labels contains.

    Labels are encoded as 0..C'-1 over the C' classes present, which XGBoost requires. A draw of one
    class gives a constant prediction. Early stopping of an estimator stays on only where its
    stratified validation set is large enough: at least five held-out images a class on average.

    Parameters
    ----------
    estimator : scikit-learn classifier
        Cloned at each fit.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        """Fit on X [n, D] and labels y [n]."""
        encoder = LabelEncoder()
        encoded = encoder.fit_transform(y)
        self.classes_ = encoder.classes_
        if len(self.classes_) == 1:
            model = DummyClassifier(strategy="most_frequent")
        else:
            model = clone(self.estimator)
            if getattr(model, "early_stopping", False) and not _can_hold_out(
                encoded, model.validation_fraction
            ):
                model.set_params(early_stopping=False)
        with warnings.catch_warnings():
            # The baselines stop at max_iter by design.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            self.estimator_ = model.fit(X, encoded)
        return self

    def predict(self, X):
        """Labels [N] of X [N, D]."""
        check_is_fitted(self)
        return self.classes_[self.estimator_.predict(X)]

    def predict_proba(self, X):
        """Class probabilities [N, C'] of X [N, D], columns in the order of `classes_`."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)


def _can_hold_out(encoded, fraction):
    counts = np.bincount(encoded)
    held_out = fraction * len(encoded)
    # A stratified split needs two examples of every class.
    return counts.min() >= 2 and held_out >= MIN_HELD_OUT_PER_CLASS * len(counts)


def logistic_regression(n_labels, seed, n_threads):
    """Multinomial logistic regression on standardised pixels: L2 with C = 1, 1,000 L-BFGS steps."""
    return RandomDrawClassifier(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))
    )


def mlp(n_labels, seed, n_threads):
    """The book's multilayer perceptron: 64, 128 or 256-128 hidden units as labels grow.

    The three sizes are the article's. The rest is chosen here and makes it stronger at few labels
    than the article's own, `article_mlp`: larger networks only from 1,000 and 10,000 labels on,
    pixels as they are, and no early stopping where too few labels can be held out.
    """
    if n_labels < 1_000:
        hidden = (64,)
    elif n_labels < 10_000:
        hidden = (128,)
    else:
        hidden = (256, 128)
    return RandomDrawClassifier(
        MLPClassifier(hidden, early_stopping=True, max_iter=1000, random_state=seed)
    )


def article_mlp(n_labels, seed, n_threads):
    """The article's multilayer perceptron, as its public code sets it (commit bb4f89b, sweeps.py).

    Standardised pixels; 64 hidden units below 100 labels, 128 below 500, then 256 and 128; at most
    120 passes. From 50 labels on a tenth of them is held out, and eight passes without a gain on
    it end the training: on the eight images of 73 labels, that is soon.
    """
    hidden = (64,) if n_labels < 100 else (128,) if n_labels < 500 else (256, 128)
    stops = n_labels >= 50
    trained_on = int(0.9 * n_labels) if stops else n_labels
    model = MLPClassifier(
        hidden,
        batch_size=max(1, min(128, trained_on)),
        max_iter=120,
        early_stopping=stops,
        n_iter_no_change=8 if stops else 20,
        random_state=seed,
    )
    return RandomDrawClassifier(make_pipeline(StandardScaler(), model))


def gradient_boosting(n_labels, seed, n_threads):
    """XGBoost with the article's settings: 200 trees a class of depth 6, learning rate 0.1."""
    with needs_extra("baseline 'xgboost'", "study"):
        from xgboost import XGBClassifier
    return RandomDrawClassifier(
        XGBClassifier(
            n_estimators=200,
            max_depth=6,
            learning_rate=0.1,
            subsample=0.9,
            colsample_bytree=0.9,
            tree_method="hist",
            n_jobs=n_threads,
            random_state=seed,
        )
    )


class _Folds:
    """Three shuffled folds, stratified where a class has an example for each of them."""

    def __init__(self, seed):
        self.seed = seed

    def get_n_splits(self, X=None, y=None, groups=None):
        return min(FOLDS, len(y))

    def split(self, X, y, groups=None):
        n = self.get_n_splits(X, y)
        kind = StratifiedKFold if np.unique(y, return_counts=True)[1].max() >= n else KFold
        return kind(n, shuffle=True, random_state=self.seed).split(X, y)


def tuned(estimator, grid, seed):
    """The estimator with the setting of a grid that does best in cross-validation on its labels.

    Parameters
    ----------
    estimator : scikit-learn classifier
    grid : dict of str to sequence
        Values to try of its parameters. Of settings that tie, the first wins.
    seed : int
        Of the three folds.
    """
    # the inner wrapper, since a fold may lack a class that the draw has
    inner = {f"estimator__{name}": values for name, values in grid.items()}
    search = GridSearchCV(RandomDrawClassifier(estimator), inner, cv=_Folds(seed))
    return RandomDrawClassifier(search)


def tuned_logistic_regression(n_labels, seed, n_threads):
    """Logistic regression on standardised pixels, C by cross-validation."""
    model = logistic_regression(n_labels, seed, n_threads).estimator
    return tuned(model, {"logisticregression__C": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]}, seed)


def tuned_mlp(n_labels, seed, n_threads):
    """Multilayer perceptron without early stopping; width and L2 penalty by cross-validation."""
    model = MLPClassifier(max_iter=300, random_state=seed)
    grid = {"hidden_layer_sizes": [(64,), (512,)], "alpha": [1e-4, 1e-1, 1.0]}
    return tuned(model, grid, seed)


def tuned_gradient_boosting(n_labels, seed, n_threads):
    """XGBoost; depth and share of the pixels that a tree sees by cross-validation."""
    model = gradient_boosting(n_labels, seed, n_threads).estimator
    model.set_params(max_bin=32)  # pixels are nearly binary, and the grid costs a dozen fits
    grid = {"max_depth": [2, 6], "colsample_bytree": [0.1, 0.9]}
    return tuned(model, grid, seed)


def tuned_baselines():
    """Factories of three baselines, each tuned by cross-validation on its own labels."""
    return {
        "logistic regression, tuned": tuned_logistic_regression,
        "mlp, tuned": tuned_mlp,
        "xgboost, tuned": tuned_gradient_boosting,
    }


def pixel_baselines():
    """Baselines on float32 pixels [N, H*W] in [0, 1].

    Logistic regression and XGBoost have the article's settings; the perceptron is here as the
    article has it and in the stronger form of this book.

    Returns
    -------
    dict of str to callable
        Name to ``factory(n_labels, seed, n_threads)``, which makes an unfitted classifier.
        `n_threads` is XGBoost's; the others follow the BLAS thread limit of the process.
    """
    return {
        "logistic regression": logistic_regression,
        "mlp": mlp,
        "mlp (article)": article_mlp,
        "xgboost": gradient_boosting,
    }
