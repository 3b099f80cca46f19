"""`GMVAEClassifier`: the model, its decoders and scikit-learn's interface in one estimator."""

import copy
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from gmvae_lib.data.storage import read_npz, write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.label import choosing
from gmvae_lib.label.decoding import decoders
from gmvae_lib.label.neighbours import (
    NEIGHBOURS,
    NeighbourDecoder,
    neighbour_decoder,
    smooth_posterior,
)
from gmvae_lib.vae import training
from gmvae_lib.vae.config import PER_COMPONENT, preset, with_components
from gmvae_lib.vae.model import embed
from gmvae_lib.vae.runs import load_run, save_run

DECODERS = ("neighbours", "graph", "soft", "hard", "bayes")
UNLABELLED = -1  # or None or "" among strings
STORED = ("posterior_", "features_", "neighbours_", "offset_", "scale_")
OF_LABELS = (
    *("labelled_", "labels_given_", "decoder_", "classes_"),
    *("label_distributions_", "transduction_"),
)


class GMVAEClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator
):
    """Clusters all rows without labels, then names the clusters from the labels there are.

    Training sees X alone, so the same X gives the same weights whatever y, and further labels need
    no further training (`fit_labels`).

    X is a table of features [N, D], grey images [N, H, W] or colour images [N, H, W, 3]. Images are
    brought to [0, 1]: uint8 by 255, others by the range seen in `fit`. Features within [0, 1], or
    uint8, stay (Bernoulli likelihood); others are standardised (Gaussian likelihood). The mapping
    is kept, and values that later X has outside of [0, 1] are cut off.

    y holds -1 for rows without a label, as in sklearn.semi_supervised; among strings None or "".

    Parameters
    ----------
    n_components : int
        K. With less than five rows for each it is reduced, with a warning.
    preset : {"quick", "best", "paper"}
        See `config.preset`; "best" is larger and takes longer.
    likelihood : {"auto", "bernoulli", "gaussian"}
    decoder : {"neighbours", "graph", "soft", "hard", "bayes"}
        How labels name clusters. "neighbours" also asks the ten rows most like it
        (`smoothing.NeighbourDecoder`); the others see q(c|x) alone.
    epochs : int, optional
        Instead of the preset's, which grow where the rows are few.
    random_state : int, RandomState or None
    device : str, optional
        CUDA where there is one, otherwise the CPU.

    Attributes
    ----------
    n_components_ : int, K in use
    run_ : Run, the trained model with its configuration and history
    posterior_ : float32 [N, K], q(c|x) of the training rows
    features_ : float32 [N, F], what the encoder sees of them
    neighbours_ : int32 [N, n], the rows most like each
    offset_, scale_ : arrays [D] or numbers, subtracted from X and divided by; what ``run_.model``
        samples and reconstructs is on that scale
    classes_ : array [C]
    labelled_, labels_given_ : arrays [n], the training rows with a label, and their labels
    label_distributions_ : array [N, C], p(l|x) of the training rows, each seen among all
    transduction_ : array [N], their most probable labels
    """

    def __init__(
        self,
        n_components=100,
        *,
        preset="quick",
        likelihood="auto",
        decoder="neighbours",
        epochs=None,
        random_state=0,
        device=None,
    ):
        self.n_components = n_components
        self.preset = preset
        self.likelihood = likelihood
        self.decoder = decoder
        self.epochs = epochs
        self.random_state = random_state
        self.device = device

    # ---- fitting -----------------------------------------------------------------------------

    def fit(self, X, y=None):
        """Train on all rows of X, without labels, and name the clusters by those of y.

        With y None, or no label in it, there are clusters only, until `fit_labels` names them.
        """
        self._check_parameters()
        X = self._validate(X, reset=True)
        if y is not None:
            y = _column(y)
            check_consistent_length(X, y)
            labelled = np.flatnonzero(_has_label(y))
            labels = _plain(y[labelled])
        for name in OF_LABELS:
            self.__dict__.pop(name, None)
        self.offset_, self.scale_ = self._scaling(X)
        self._train(self._scaled(X))
        if y is not None and len(labelled):
            self.fit_labels(labelled, labels)
        return self

    def fit_labels(self, index, y):
        """Name the clusters by the labels y [n] of the training rows index [n]; nothing is trained.

        They take the place of the labels known before.
        """
        check_is_fitted(self, "run_")
        index, y = np.asarray(index), _column(y)
        n = len(self.posterior_)
        if index.ndim != 1 or index.dtype.kind not in "iu" or len(index) != len(y) or not len(y):
            raise InputError(
                f"index: found {index.dtype} {list(index.shape)} for {len(y)} labels; "
                "expected one row number each, at least one"
            )
        if index.min() < 0 or index.max() >= n:
            raise InputError(f"index: found {index.min()} to {index.max()}; expected 0 to {n - 1}")
        if len(np.unique(index)) < len(index):
            raise InputError("index: found a row twice; expected each row once")
        if not _has_label(y).all():
            raise InputError("y: found a row without a label; expected a label for every row")
        self.labelled_, self.labels_given_ = index, _plain(y)
        if self.decoder == "neighbours":
            rows = np.arange(n)
            decoder = neighbour_decoder(self.posterior_, self.neighbours_)
        else:
            rows, decoder = self.posterior_, decoders(self.posterior_)[self.decoder]
        self.decoder_ = decoder.fit(rows[index], self.labels_given_)
        self.classes_ = self.decoder_.classes_
        self.label_distributions_ = self.decoder_.predict_proba(rows)
        self.transduction_ = self.classes_[self.label_distributions_.argmax(axis=1)]
        return self

    def suggest(self, n):
        """Which training rows to label: int array [n], the most telling first (`choosing`)."""
        check_is_fitted(self, "run_")
        return choosing.suggest(self.posterior_, n, self.neighbours_)["index"].to_numpy()

    # ---- what it says of rows, seen before or not ----------------------------------------------

    def predict_proba(self, X):
        """p(l|x), [n, C], of rows that ask the training rows and not each other.

        Of the training rows themselves `label_distributions_` knows a little more.
        """
        check_is_fitted(self, "run_")
        if not hasattr(self, "decoder_"):
            raise NotFittedError(
                "y: found no label in fit; expected some, or call fit_labels(index, y), "
                "which does not train again"
            )
        q, features = self._encode(self._scaled(self._validate(X)))
        if not isinstance(self.decoder_, NeighbourDecoder):
            return self.decoder_.predict_proba(q)
        # float64: what is said of a row must not depend on the others in X, not by rounding either
        search = NearestNeighbors(n_neighbors=self.neighbours_.shape[1], algorithm="brute")
        search.fit(normalize(self.features_.astype(np.float64)))
        near = search.kneighbors(normalize(features.astype(np.float64)), return_distance=False)
        smoothed = smooth_posterior(q, near, others=self.decoder_.q).astype(np.float64)
        return self.decoder_.predict_proba_later(smoothed, near)

    def predict(self, X):
        """The most probable label of each row."""
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def transform(self, X):
        """q(c|x) of each row: float32 [n, K], rows sum to 1."""
        check_is_fitted(self, "run_")
        return self._encode(self._scaled(self._validate(X)))[0]

    def score(self, X, y, sample_weight=None):
        """Accuracy on the rows that have a label."""
        y = _column(y)
        known = _has_label(y)
        if not known.any():
            raise InputError("y: found no label; expected at least one to score by")
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)[known]
        predicted = self.predict(X)[known]
        return float(accuracy_score(_plain(y[known]), predicted, sample_weight=sample_weight))

    # ---- on disk ---------------------------------------------------------------------------------

    def save(self, path):
        """Write a folder without a pickle: a run's, as `save_run` does, and classifier.npz."""
        check_is_fitted(self, "run_")
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        parameters = self.get_params(deep=False)
        if not isinstance(self.random_state, int | np.integer | None):
            parameters["random_state"] = self.run_.train_config.seed
        about = {"parameters": parameters, "n_features_in": self.n_features_in_}
        columns = {name: getattr(self, name) for name in STORED}
        if hasattr(self, "labelled_"):
            columns |= {"labelled_": self.labelled_, "labels_given_": self.labels_given_}
        if hasattr(self, "feature_names_in_"):
            about["feature_names_in"] = self.feature_names_in_.tolist()
        columns["about"] = np.array(json.dumps(about, default=_json_able))
        write_npz(path / "classifier.npz", columns)
        save_run(self.run_, path, further=("classifier.npz",))
        return path

    @classmethod
    def load(cls, path):
        """Read what `save` wrote, refusing files that are cut short or altered."""
        path = Path(path)
        run = load_run(path)
        if "classifier.npz" not in run.provenance["files"]:
            raise InputError(
                f"{path}: found a run without classifier.npz, expected the folder that "
                "GMVAEClassifier.save wrote"
            )
        columns = read_npz(path / "classifier.npz", (*STORED, "about"))
        about = json.loads(str(columns["about"]))
        self = cls(**about["parameters"])
        self.n_features_in_ = about["n_features_in"]
        if "feature_names_in" in about:
            self.feature_names_in_ = np.array(about["feature_names_in"], dtype=object)
        self.run_, self.n_components_ = run, run.model_config.K
        for name in STORED:
            setattr(self, name, columns[name])
        if "labelled_" in columns:
            self.fit_labels(columns["labelled_"], columns["labels_given_"])
        return self

    # ---- parts -----------------------------------------------------------------------------------

    def _check_parameters(self):
        for name, known in (
            ("likelihood", ("auto", "bernoulli", "gaussian")),
            ("decoder", DECODERS),
        ):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name}: found {getattr(self, name)!r}, expected one of {', '.join(known)}"
                )
        for name in ("n_components", "epochs"):
            value = getattr(self, name)
            if value is None and name == "epochs":
                continue
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"{name}: found {value!r}, expected a whole number, at least 1")

    def _validate(self, X, reset=False):
        """X as an array of floats or uint8; two rows or more to train on."""
        X = validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32, np.uint8],
            allow_nd=True,
            ensure_min_samples=2 if reset else 1,
        )
        if not reset and X.shape[1:] != self.run_.model_config.image_shape:
            expected = "x".join(map(str, self.run_.model_config.image_shape))
            raise InputError(f"X: found shape {X.shape}, expected [N, {expected}] as in fit")
        return X

    def _scaling(self, X):
        """What to subtract from X and to divide it by; see the class."""
        if X.dtype == np.uint8:
            low, high = 0, 255
        else:
            low, high = float(X.min()), float(X.max())
        bounded = X.dtype == np.uint8 or (low >= 0 and high <= 1)
        if X.ndim == 2 and (self.likelihood == "gaussian" or not bounded):
            if self.likelihood == "bernoulli":
                raise InputError(
                    f"X: found values {low:.4g} to {high:.4g}, expected 0 to 1 for "
                    "likelihood='bernoulli'"
                )
            spread = X.std(axis=0, dtype=np.float64)
            return X.mean(axis=0, dtype=np.float64), np.where(spread > 0, spread, 1.0)
        if bounded and X.dtype != np.uint8:
            low, high = 0, 1
        return np.array(float(low)), np.array(float(high - low or 1))

    @property
    def _standardised(self):
        return np.ndim(self.offset_) == 1

    def _scaled(self, X):
        """X as the model sees it, float32."""
        X = (X - self.offset_) / self.scale_
        return (X if self._standardised else X.clip(0, 1)).astype(np.float32)

    def _train(self, x):
        import torch

        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        model_config, train_config = preset(
            self.preset, len(x), self.epochs, image_shape=x.shape[1:], seed=int(seed)
        )
        most = max(2, len(x) // PER_COMPONENT)
        if self.n_components > most:
            warnings.warn(
                f"n_components: found {self.n_components} for {len(x)} rows, expected at most a "
                f"fifth of them; {most} are used",
                stacklevel=3,
            )
        self.n_components_ = min(int(self.n_components), most)
        likelihood = self.likelihood
        if likelihood == "auto":
            likelihood = "gaussian" if self._standardised else "bernoulli"
        model_config = with_components(model_config, self.n_components_)
        model_config = replace(model_config, likelihood=likelihood)
        with torch.random.fork_rng(devices=[]):  # the caller's random state stays
            self.run_ = training.fit(x, model_config, train_config, device=self.device)
        self.posterior_, self.features_ = self._encode(x)
        self.neighbours_ = training.nearest(self.features_, NEIGHBOURS, self.device)

    def _encode(self, x):
        """q(c|x) and features of scaled rows; those of tables in float64, as in predict_proba."""
        import torch

        with torch.random.fork_rng(devices=[]):  # a model draws weights before it is given its own
            model = copy.deepcopy(self.run_.model)
        return embed(model.double() if x.ndim == 2 else model, x, device=self.device)

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = []  # q is float32 whatever X
        return tags


def _column(y):
    """y as an array of one dimension, finite where it holds numbers."""
    y = column_or_1d(y, warn=True, dtype=None)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    return y


def _has_label(y):
    """Which entries of y are labels, bool [N]: not -1, and among objects not None or ""."""
    if y.dtype.kind in "OUS":
        return np.array([v is not None and v != "" and v != UNLABELLED for v in y], dtype=bool)
    return y != UNLABELLED


def _plain(labels):
    """Labels as an array of integers, numbers or strings, never of objects."""
    if labels.dtype.kind == "O":
        labels = np.array(labels.tolist()) if len(labels) else np.zeros(0, dtype=np.int64)
    with warnings.catch_warnings():
        # few labels are the point here, not a sign that y is a regression target
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        if len(labels):
            check_classification_targets(labels)
    return labels


def _json_able(value):
    return value.item() if isinstance(value, np.generic) else str(value)
