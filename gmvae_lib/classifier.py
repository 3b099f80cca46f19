"""`GMVAEClassifier`: from pictures, arrays or tables to names for all of them, in one estimator."""

import copy
import os
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from gmvae_lib.collection import DECODERS, Collection
from gmvae_lib.data.features import FeatureSet, features_note, shown
from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.images import DATASETS, load_images, reading_notes, reading_rule
from gmvae_lib.data.labels import LabelTable, read_labels
from gmvae_lib.data.missing import checked_labels, has_label
from gmvae_lib.data.outputs import output_path, write_text
from gmvae_lib.data.scaling import Rows, Scale
from gmvae_lib.data.shards import ShardedImages
from gmvae_lib.data.storage import expanded
from gmvae_lib.errors import InputError
from gmvae_lib.vae.config import PER_COMPONENT
from gmvae_lib.vae.embedding import unlike
from gmvae_lib.vae.runs import load_run, save_run

IMAGES = (ImageSet, ShardedImages, FeatureSet)


class GMVAEClassifier(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator
):
    """Clusters all rows without labels, then names the clusters from the labels there are.

    Training sees X alone, so the same X gives the same weights whatever y, and further labels need
    no further training (`fit_labels`).

    X is a folder or file of images, an `ImageSet`, an array of grey images [N, H, W] or colour
    images [N, H, W, 3], or a table of features [N, D]. Arrays of images are brought to [0, 1]:
    bytes by 255, others by the range seen in `fit`. Features within [0, 1], or bytes, stay
    (Bernoulli likelihood); others are standardised (Gaussian likelihood). Later X is read and
    scaled in the same way, values beyond [0, 1] are cut off, and X on another scale is warned of.

    y holds -1, None, NaN or "" for rows without a label, as `data.missing.has_label` has it.
    `score` leaves them out. What scikit-learn computes by itself takes -1 for a class:
    scoring="accuracy", and VotingClassifier, BaggingClassifier or CalibratedClassifierCV.

    Parameters
    ----------
    n_components : int, optional
        K. By default 100, or a fifth of the rows, if that is less; a larger number than that is
        reduced, with a warning.
    preset : {"auto", "quick", "best", "features", "paper"}
        See `config.preset`; "auto" chooses one, K and views without labels (`vae.automatic`).
    likelihood : {"auto", "bernoulli", "gaussian"}
    decoder : {"auto", "neighbours", "pooled", "graph", "soft", "hard", "bayes"}
        How labels name clusters. "neighbours" also asks the ten nearest rows, "pooled" three; the
        others see q(c|x) alone. "auto": "pooled" below 25 rows a component, else "neighbours".
    features : str or function, optional
        What stands in front of the model, frozen (`vae.pretrained.with_features`): a pretrained
        network's name, a file of features, or a function of pictures. X is then pictures.
    epochs : int, optional
        Instead of the preset's, which grow where the rows are few.
    random_state : int, RandomState or None
    device : str, optional
        CUDA where there is one, otherwise the CPU.
    verbose : int
        Above 0, progress bars.

    Attributes
    ----------
    n_components_ : int, K in use
    run_ : Run, the trained model with its configuration and history
    chosen_ : str, what the preset "auto" chose and why; else None
    collection_ : Collection, the training rows as the model sees them
    posterior_ : float32 [N, K], q(c|x) of the training rows
    features_ : float32 [N, F], the encoder's features of them
    neighbours_ : int32 [N, n], the nearest rows of each
    offset_, scale_ : arrays [D] or numbers, subtracted from X and divided by; what ``run_.model``
        samples and reconstructs is on that scale
    classes_ : array [C]
    labelled_, labels_given_ : arrays [n], the training rows with a label, and their labels
    at_random_ : bool [n], which of them were drawn at random
    label_distributions_ : array [N, C], p(l|x) of the training rows; one with a label keeps it
    transduction_ : array [N], their most probable labels

    Examples
    --------
    >>> from gmvae_lib import rendered_letters
    >>> letters = rendered_letters(200)
    >>> model = GMVAEClassifier(n_components=20, epochs=1).fit(letters.images)
    >>> rows = model.suggest(30)["index"]
    >>> names = model.fit_labels(rows, letters.labels[rows]).predict(letters.images[:5])
    >>> names.shape
    (5,)
    """

    _scale: Scale

    def __init__(
        self,
        n_components=None,
        *,
        preset="quick",
        likelihood="auto",
        decoder="auto",
        features=None,
        epochs=None,
        random_state=0,
        device=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.preset = preset
        self.likelihood = likelihood
        self.decoder = decoder
        self.features = features
        self.epochs = epochs
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    # ---- fitting -----------------------------------------------------------------------------

    def fit(self, X, y=None):
        """Train on all rows of X, without labels, and name the clusters by those of y.

        With y None, or no label in it, there are clusters only, until `fit_labels` names them.
        """
        self._check_parameters()
        images = self._read(X, fitting=True)
        if y is not None:
            check_consistent_length(images, y)
            labelled, labels = np.flatnonzero(has_label(y)), checked_labels(y)
            if getattr(y, "ndim", 1) == 2:
                _warn(
                    "A column-vector y was passed when a 1d array was expected",
                    DataConversionWarning,
                )
        K, most = self.n_components, max(2, len(images) // PER_COMPONENT)
        if K is not None and K > most:
            _warn(
                f"n_components: found {K} for {len(images)} rows, expected at most a fifth of "
                f"them; {most} are used"
            )
            K = most
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        likelihood = self.likelihood
        if likelihood == "auto":
            standardised = self._scale.standardised or self.features is not None
            likelihood = "gaussian" if standardised else "bernoulli"
        self.collection_ = Collection.train(
            *(images, self.preset, None if K is None else int(K), self.epochs, likelihood),
            **{"device": self.device, "progress": self._progress, "seed": int(seed)},
        )
        self.n_components_, self._images = self.run_.config.K, images
        if y is not None and len(labelled):
            self.fit_labels(labelled, labels)
        return self

    def fit_labels(self, labels, y=None):
        """Name the clusters by labels of training rows; nothing is trained.

        They replace the labels given before.

        Parameters
        ----------
        labels : int [n], row numbers, with their labels in y; or without y a CSV, or a DataFrame
            with its columns, whose labels find their images by digest, else by path
            (`data.identity.match_labels`)
        y : array [n]
        """
        check_is_fitted(self)
        at_random = marked = None
        if y is None:
            if isinstance(labels, str | os.PathLike):
                labels = expanded(labels, "labels")
            elif not isinstance(labels, pd.DataFrame | LabelTable):
                found = type(labels).__name__
                raise InputError(f"labels: found {found}, expected a CSV or a table, or rows and y")
            table = labels if isinstance(labels, LabelTable) else read_labels(labels)
            frame = labels
            labels, y, at_random, notes = self.collection_.match(table)
            marked = self.collection_.marked(table)
            if isinstance(frame, pd.DataFrame) and "label" in frame:
                numbers = pd.api.types.is_numeric_dtype(frame["label"])
                y = y.astype(np.int64) if numbers else y
            for note in notes:
                _warn(f"{table.source}: {note}")
        if not has_label(y).all():
            raise InputError("y: found a row without a label; expected a label for every row")
        self.collection_.decoder = self.decoder
        self.collection_.set_labels(labels, checked_labels(y), at_random, marked)
        return self

    def suggest(self, n=None, random=0, seed=0) -> pd.DataFrame:
        """Which training rows to label: those without a label, the most informative first.

        Parameters
        ----------
        n : rows to choose; by default 100, or as many as there are
        random : further rows drawn at random, by which `report` measures the accuracy. seed : of
            the draw

        Returns
        -------
        DataFrame
            index (the row), path (of a picture), digest, cluster, reason.
        """
        check_is_fitted(self)
        return self.collection_.suggest(n, random, seed)

    # ---- predictions -------------------------------------------------------------------------

    def predict_proba(self, X):
        """p(l|x), [n, C], of rows that ask the training rows and not each other.

        Images of a folder, a file or an `ImageSet` that were trained on are recognised, and have
        their `label_distributions_`.
        """
        self._check_named()
        images = self._read(X)
        proba, fit = self.collection_.predict_proba(images)
        share = unlike(fit, self.collection_.learned.fit).mean()
        if isinstance(images, IMAGES) and (note := self.collection_.unlike_note(images, share)):
            _warn(note)
        return proba

    def predict(self, X):
        """The most probable label of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predictions(self, X=None, min_confidence=0.0) -> pd.DataFrame:
        """A table of labels for X, by default the training rows: `Collection.predictions`."""
        self._check_named()
        return self.collection_.predictions(None if X is None else self._read(X), min_confidence)

    def transform(self, X):
        """q(c|x) of each row: float32 [n, K], rows sum to 1."""
        check_is_fitted(self)
        return self.collection_.posterior(self._read(X))

    def score(self, X, y, sample_weight=None):
        """Accuracy on the rows that have a label."""
        known = has_label(y)
        if not known.any():
            raise InputError("y: found no label; expected at least one to score by")
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)[known]
        predicted = self.predict(X)[known]
        return float(accuracy_score(checked_labels(y), predicted, sample_weight=sample_weight))

    def report(self, path, images=None, force=False):
        """Write a page on what the labels are worth; return its path.

        Parameters
        ----------
        images : the training images, as in `fit`; only needed if they are neither in memory any
            more nor where they were read from
        force : overwrite a file that is no report
        """
        from gmvae_lib.report.report_page import report_page

        self._check_named()
        path = output_path(path, "report", "path", force=force)
        images = self._pictures(images)
        source = images.provenance["source"]
        notes = [note for note in [features_note(self.run_.provenance.get("data", {}))] if note]
        run = self.run_.path
        page = report_page(images, self.collection_.findings(), run, source, "labels.csv", notes)
        write_text(path, page)
        return path

    # ---- on disk -----------------------------------------------------------------------------

    def save(self, path, force=False):
        """Write a folder without a pickle: a run's, as `save_run` does, and the embedding.

        force : overwrite another run that lies there.
        """
        check_is_fitted(self)
        path, run = expanded(path, "path"), self.run_
        if run.path is None or path.resolve() != run.path.resolve():
            if (path / "provenance.json").exists() and not force:
                there = load_run(path).state
                same = there.keys() == run.state.keys() and all(
                    np.array_equal(there[name], value) for name, value in run.state.items()
                )
                if not same:
                    raise InputError(
                        f"{path}: found another run, expected a new folder, or force=True"
                    )
            run = replace(run)
            save_run(run, path)
        parameters = self.get_params(deep=False)
        if callable(self.features):
            parameters["features"] = None  # it has to be given again
        if not isinstance(self.random_state, int | np.integer | None):
            parameters["random_state"] = run.train_config.seed
        about = {
            "parameters": {k: v.item() if isinstance(v, np.generic) else v
                           for k, v in parameters.items()},
            "scale": [self.offset_.tolist(), self.scale_.tolist()],
        }  # fmt: skip
        if hasattr(self, "feature_names_in_"):
            about["feature_names_in"] = self.feature_names_in_.tolist()
        if hasattr(self, "labelled_"):
            given = (self.labelled_, self.labels_given_, self.at_random_)
            about["labels"] = [column.tolist() for column in given]
            about["marked"] = [[int(row), why] for row, why in self.collection_.marked_.items()]
        stored = copy.copy(self.collection_)
        stored.run = run
        stored.save(about)
        return path

    @classmethod
    def load(cls, path):
        """Read what `save` or ``gmvae train`` wrote, refusing files that were cut short or altered.

        A device that is not here is replaced by the default one, with a warning.
        """
        collection = Collection.of_run(load_run(expanded(path, "path")))
        run, about = collection.run, collection.embedding.about["classifier"]
        self = cls(**about["parameters"])
        if self.device is not None and not _usable(self.device):
            _warn(f"{path}: found device {self.device!r}, which is not here; the default is used")
            self.device = None
        collection.device, collection.progress = self.device, self._progress
        self.collection_, self._images = collection, None
        self.n_components_, self.n_features_in_ = run.config.K, run.config.image_shape[0]
        self._scale = (
            Scale(*map(np.array, about["scale"])) if "scale" in about else Scale.of_bytes()
        )
        if "feature_names_in" in about:
            self.feature_names_in_ = np.array(about["feature_names_in"], dtype=object)
        if "labels" in about:
            collection.decoder = self.decoder
            marked = dict(about.get("marked", ()))
            rows, y, at_random = map(np.array, about["labels"])
            collection.set_labels(rows, y, at_random, marked)
        return self

    # ---- parts -------------------------------------------------------------------------------

    run_ = property(lambda self: self.collection_.run)
    chosen_ = property(lambda self: self.collection_.chosen)
    posterior_ = property(lambda self: self.collection_.embedding.q)
    features_ = property(lambda self: self.collection_.embedding.features)
    neighbours_ = property(lambda self: self.collection_.embedding.neighbours)
    labelled_ = property(lambda self: self.collection_.labelled_)
    labels_given_ = property(lambda self: self.collection_.labels_given_)
    at_random_ = property(lambda self: self.collection_.at_random_)
    classes_ = property(lambda self: self.collection_.classes_)
    label_distributions_ = property(lambda self: self.collection_.label_distributions_)
    transduction_ = property(lambda self: self.classes_[self.label_distributions_.argmax(axis=1)])
    offset_ = property(lambda self: self._scale.offset)
    scale_ = property(lambda self: self._scale.scale)

    @property
    def _progress(self) -> bool:
        return self.verbose > 0 and sys.stderr is not None

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
            number = isinstance(value, int | np.integer) and not isinstance(value, bool)
            if value is not None and (not number or value < 1):
                raise InputError(f"{name}: found {value!r}, expected a whole number, at least 1")

        if self.device is not None and not _usable(self.device):
            raise InputError(
                f"device: found {self.device!r}, expected one that torch can use here, like cpu"
            )
        seed = self.random_state
        if isinstance(seed, int | np.integer) and not 0 <= seed < 2**63:
            raise InputError(f"random_state: found {seed}, expected 0 to {2**63 - 1}")

    def _check_named(self):
        check_is_fitted(self)
        if not hasattr(self, "classes_"):
            raise NotFittedError(
                "y: found no label in fit; expected some, or call fit_labels(rows, y), "
                "which does not train again"
            )

    def _read(self, X, fitting=False):
        """X as a set of images, or of rows on the model's scale; see the class."""
        if isinstance(X, str | os.PathLike):
            X = self._load(X, fitting)
        learned = None if fitting else self.run_.provenance.get("data", {})
        if self.features is not None or "features" in (learned or {}):
            from gmvae_lib.vae.pretrained import pictures_with_features

            X = pictures_with_features(X, self.features, learned, self.device, self._progress)
        if not isinstance(X, IMAGES):
            X = validate_data(
                *(self, X),
                reset=fitting,
                dtype=[np.float64, np.float32, np.uint8],
                allow_nd=True,
                ensure_min_samples=2 if fitting else 1,
            )
        elif fitting:
            self.n_features_in_ = X.images.shape[1]
        shape = (X.images if isinstance(X, IMAGES) else X).shape
        expected = shape[1:] if fitting else self.run_.config.image_shape
        if shape[1:] != expected:
            sizes = "x".join(map(str, expected))
            raise InputError(f"X: found shape {shape}, expected [N, {sizes}] as in fit")
        if isinstance(X, IMAGES):
            self._scale = Scale.of_bytes() if fitting else self._scale
            return X
        if fitting:
            self._scale = Scale.of(X, self.likelihood)
            return Rows(X, self._scale)
        scale, note = self._scale.matched(X)
        if note:
            _warn(note)
        return Rows(X, scale)

    def _load(self, source, fitting):
        """Images of a file or folder, read as those were that the run learned from."""
        learned = {} if fitting else self.run_.provenance.get("data", {})
        rule = {} if fitting else reading_rule(self.run_.config.image_shape, learned)
        if fitting and self.features is not None:
            from gmvae_lib.vae.pretrained import side_of

            rule = {"size": side_of(self.features), "colour": True}
        name = os.fspath(source) in DATASETS
        images = load_images(source if name else expanded(source, "X"), **rule)
        for note in reading_notes(images, learned):
            _warn(f"{source}: {note}")
        return images

    def _pictures(self, images=None) -> ImageSet:
        """The training images in their order, to be looked at."""
        learned = self.run_.provenance.get("data", {})
        if len(self.run_.config.image_shape) == 1 and "features" not in learned:
            raise InputError("report: found rows of features, expected images, which it shows")
        if images is None:
            images = self._images
        if images is None:
            images = learned.get("source", "an array")
            if images not in DATASETS and not os.path.exists(images):
                raise InputError(f"images: found none at {images!r}, expected report(path, images)")
        if isinstance(images, str | os.PathLike):
            images = self._load(images, fitting=False)
        images = images if "features" in learned else self._read(images)
        return self.collection_.shown(shown(images))

    def __sklearn_is_fitted__(self):
        return hasattr(self, "collection_")

    def __getstate__(self):
        return super().__getstate__() | ({"_images": None} if "_images" in vars(self) else {})

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = []  # q is float32 whatever X
        return tags


def _usable(device) -> bool:
    from gmvae_lib.vae.device import usable

    return usable(device)


def _warn(message, category=UserWarning):
    """Warn whoever called the library."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_back.f_globals.get("__name__", "").startswith("gmvae_lib"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
