"""Images as a trained run sees them, and the names that a few labels give them.

The command line and `GMVAEClassifier` both stand on this.
"""

import copy
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from gmvae_lib.data.features import shown
from gmvae_lib.data.identity import identity_columns, is_set, known_rows, match_labels, printable
from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.labels import guard
from gmvae_lib.data.missing import has_label, plain_labels
from gmvae_lib.data.scaling import Rows
from gmvae_lib.errors import InputError
from gmvae_lib.label.calibration import at_temperature
from gmvae_lib.label.choosing import label_queue
from gmvae_lib.label.neighbours import NEIGHBOURS, smooth_posterior
from gmvae_lib.label.pooled import (
    ASKED,
    WEIGHT,
    any_decoder,
    decoder_on_rows,
    default_name,
    default_reason,
)
from gmvae_lib.report.findings import Findings, examine, random_temperature
from gmvae_lib.vae.config import AUTO, preset, with_components
from gmvae_lib.vae.embedding import (
    MOST,
    Embedding,
    agreement_of_views,
    embed_and_judge,
    embed_images,
    load_embedding,
    require_embedding,
    save_embedding,
    unlike,
    unlike_note,
)

DECODERS = ("auto", "neighbours", "pooled", "graph", "soft", "hard", "bayes")
ON_ROWS = ("neighbours", "pooled")  # decoders whose points are row numbers
SUGGESTED = 100  # images to label, if there are as many


class Collection:
    """N images as a run sees them, and what labels make of them.

    Parameters
    ----------
    run : Run
    embedding : Embedding, of the N images
    learned : Embedding, optional
        Of the images that the run learned from, with which others are compared.
    decoder : {"auto", "neighbours", "pooled", "graph", "soft", "hard", "bayes"}
        "auto": as `pooled.default_name` has it.
    device, progress : of what is computed.

    Attributes
    ----------
    labelled_, labels_given_, at_random_ : arrays [n], the rows with a label, their labels, and
        whether they were drawn at random
    marked_ : {row: reason}, images with a mark in place of a label
    decoder_, classes_ : the fitted decoder, and array [C]
    overruled_ : int array, labelled rows that the decoder takes for something else
    label_distributions_ : [N, C], p(l|x), transductive; a row with a label has that label
    chosen : what the preset "auto" chose in this training, and why; else None
    """

    chosen: str | None = None

    def __init__(
        self, run, embedding=None, learned=None, decoder="auto", device=None, progress=False
    ):
        self.run, self.embedding, self.learned = run, embedding, learned
        self.decoder, self.device, self.progress = decoder, device, progress

    @classmethod
    def train(
        cls, images, name, K=None, epochs=None, likelihood="bernoulli", out=None, resume=False,
        device=None, progress=False, **changes,
    ) -> "Collection":  # fmt: skip
        """Train a preset on images; with ``out``, into that folder, with checkpoints.

        Parameters
        ----------
        name : of the preset, or "auto" (`automatic.choose`). K, epochs : instead of the preset's.
        changes : further fields of `TrainConfig`
        """
        from gmvae_lib.vae.distributed import share
        from gmvae_lib.vae.training import fit

        chosen = None
        if name == AUTO:
            from gmvae_lib.vae.automatic import choose

            seed = changes.get("seed", 0)
            chosen = choose(images, seed, out, resume, device, progress)
            name, K = chosen.preset, chosen.K if K is None else K
            changes = {"views": chosen.views} | changes
        model_config, train_config = preset(
            name, len(images), epochs, image_shape=images.images.shape[1:], **changes
        )
        if K is not None:
            model_config = with_components(model_config, K)
        model_config = replace(model_config, likelihood=likelihood)
        run = fit(images, model_config, train_config, out, resume, device=device, progress=progress)
        self = cls(run, device=device, progress=progress)
        self.chosen = None if chosen is None else chosen.sentence
        if out is None or (share().first and len(images) <= MOST):
            known = load_embedding(run) if out is not None else None  # of a training resumed
            self.embedding = self.learned = known or self._embedding_of(images)
            if known is None:
                kinds = train_config.views
                agreement = agreement_of_views(self.model, images.images, kinds=kinds)
                self.embedding.about["agreement"] = agreement
        return self

    @classmethod
    def of_run(cls, run, images=None, join=False, learned=None, **options) -> "Collection":
        """The images that a run keeps, or others, or both.

        Parameters
        ----------
        images : ImageSet, optional
            What the run keeps of them is not computed again.
        join : whether the rows are those that the run keeps and, after them, the new ones
        learned : what the run keeps, if it has been read
        """
        if images is None:
            require_embedding(run)
        learned = load_embedding(run) if learned is None else learned
        self = cls(run, learned, learned, **options)
        if images is not None:
            self.embedding = self._embedding_of(images, join)
        return self

    def _embedding_of(self, images, join=False) -> Embedding:
        return embed_images(self._embed, images, NEIGHBOURS, self.learned, join, self.device)

    def _embed(self, pictures):
        """(q, features, goodness) of images; the model is made only if this is needed."""
        return embed_and_judge(self.model, pictures, self.device, self.progress)

    @cached_property
    def model(self):
        """The run's model; in double precision for rows of features.

        What is said of a row then does not depend on the others that are asked for with it.
        """
        if len(self.run.config.image_shape) > 1:
            return self.run.model
        return copy.deepcopy(self.run.model).double()

    def save(self, classifier: dict) -> None:
        """Keep the rows with the run. classifier : JSON-able, what else to keep."""
        about = {"agreement": self.embedding.about["agreement"], "classifier": classifier}
        save_embedding(self.run, replace(self.embedding, about=about))

    # ---- labels ------------------------------------------------------------------------------

    def match(self, table):
        """`identity.match_labels` of a table of labels with these images."""
        return match_labels(table, self.embedding, self.run.provenance.get("data"))

    def marked(self, table) -> dict[int, str]:
        """{row: reason} of the images that a table marks *unsure* or *none of these*."""
        known = known_rows(table, self.embedding, self.run.provenance.get("data"))
        return {row: reason for row, (label, reason) in known.items() if not label}

    def set_labels(self, rows, y, at_random=None, marked=None) -> None:
        """Name the clusters by labels y [n] of rows [n], in place of those before.

        marked : {row: reason}, images that a person gave a mark in place of a label
        """
        rows, n, known = np.asarray(rows), len(self.embedding), has_label(y)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or not 0 < len(rows) == len(known):
            raise InputError(
                f"labels: found rows {rows.dtype} {list(rows.shape)} for {len(known)} labels; "
                "expected one row number each, at least one"
            )
        if rows.min() < 0 or rows.max() >= n:
            raise InputError(
                f"labels: found rows {rows.min()} to {rows.max()}; expected 0 to {n - 1}"
            )
        if len(np.unique(rows)) < len(rows):
            raise InputError("labels: found a row twice; expected each row once")
        if not known.all():
            raise InputError("y: found a row without a label; expected a label for every row")
        if self.decoder in ON_ROWS and n < 2:
            raise InputError("images: found one, expected more to ask, or the decoder soft")
        y = plain_labels(y)
        at_random = np.zeros(len(rows), bool) if at_random is None else np.asarray(at_random)
        self.labelled_, self.labels_given_, self.at_random_ = rows, y, at_random
        self.marked_ = dict(marked or {})
        decoder, self._points = any_decoder(self.decoder_name, *self._near)
        self.decoder_ = decoder.fit(self._points[rows], y)
        self.classes_ = self.decoder_.classes_
        proba = self.decoder_.predict_proba(self._points)
        given = np.searchsorted(self.classes_, y)
        self.overruled_ = rows[proba[rows].argmax(axis=1) != given]
        proba[rows] = np.eye(len(self.classes_), dtype=proba.dtype)[given]
        self.label_distributions_ = proba

    @property
    def decoder_name(self) -> str:
        """The decoder in use: the one asked for, or what "auto" comes to."""
        return default_name(*self.embedding.q.shape) if self.decoder == "auto" else self.decoder

    @property
    def decoder_note(self) -> str:
        """One line on the decoder in use, and why."""
        if self.decoder == "auto":
            return default_reason(*self.embedding.q.shape)
        return f"decoder {self.decoder}, as asked"

    @property
    def _near(self):
        """What decoders are made of: q, the nearest rows, and the features they are nearest in."""
        return self.embedding.q, self.embedding.neighbours, self.embedding.features

    def suggest(self, n=None, random=0, seed=0, known=None) -> pd.DataFrame:
        """Which rows to label: those without a label, the most informative first.

        Parameters
        ----------
        n : rows to choose; by default 100, or as many as there are
        random : further rows drawn at random, evenly spread among the chosen ones; seed : of these
        known : rows that have a label; by default those of `set_labels`

        Returns
        -------
        DataFrame
            index (the row), path of a picture, digest, set; cluster, reason.
        """
        return self.first_batch(self.queue(n, random, seed, known, batches=1))

    def first_batch(self, queue) -> pd.DataFrame:
        """The rows of a queue to label first, with what identifies them."""
        table = queue.loc[queue["batch"] == 1, ["index", "cluster", "reason"]]
        rows = table.pop("index").to_numpy()
        columns = identity_columns(self.embedding)
        identity = pd.DataFrame({name: column[rows] for name, column in columns.items()})
        return pd.concat([identity, table], axis=1)

    def queue(self, n=None, random=0, seed=0, known=None, batches=3) -> pd.DataFrame:
        """What a label page asks for, of which `suggest` is the first batch: `label_queue`."""
        q, near = self.embedding.q, self.embedding.neighbours
        known = getattr(self, "labelled_", ()) if known is None else known
        n = max(1, min(SUGGESTED, len(q) - len(known))) if n is None else n
        near = near if near.shape[1] else None
        return label_queue(q, n, near, random, seed, known, batches)

    # ---- predictions -------------------------------------------------------------------------

    def posterior(self, images) -> np.ndarray:
        """q(c|x) of images, float32 [n, K]."""
        return self._embed(images.images)[0]

    def predict_proba(self, images):
        """(p(l|x), goodness) of images: [n, C] and float32 [n].

        Images among the rows, recognised by their digests, have their `label_distributions_`;
        others ask the rows and not each other.
        """
        rows = np.full(len(images), -1)
        if not isinstance(images, Rows):
            rows = self.embedding.rows_of(images.digests)
        new, known = np.flatnonzero(rows < 0), rows >= 0
        proba, fit = np.empty((len(images), len(self.classes_))), np.empty(len(images), np.float32)
        proba[known] = self.label_distributions_[rows[known]]
        fit[known] = self.embedding.fit[rows[known]]
        if len(new):
            pictures = images.images if len(new) == len(images) else images.images[new]
            q, features, fit[new] = self._embed(pictures)
            proba[new] = self._ask(q, features)
        return proba, fit

    def _ask(self, q, features):
        """p(l|x) of images that are not among the rows."""
        if self.decoder_name not in ON_ROWS:
            return self.decoder_.predict_proba(q)
        from gmvae_lib.vae.nearest import nearest_in

        near = nearest_in(self.embedding.features, features, self.embedding.neighbours.shape[1])
        if self.decoder_name == "pooled":
            near = near[:, :ASKED]
            smoothed = smooth_posterior(q, near, WEIGHT, others=self.decoder_.q).astype(np.float64)
            return self.decoder_.predict_proba_later(smoothed, near, q)
        smoothed = smooth_posterior(q, near, others=self.decoder_.q).astype(np.float64)
        return self.decoder_.predict_proba_later(smoothed, near)

    def predictions(self, images=None, min_confidence=0.0) -> pd.DataFrame:
        """A label for every image, by default for every row.

        Returns
        -------
        DataFrame
            index, path, digest, set; label, "" where the confidence is below ``min_confidence``;
            confidence, tempered by the labels drawn at random where there are ten or more. A row
            with a label has that label, and confidence 1;
            unlike, 1 where the image is unlike those that the run learned from, "" if unknown.
        """
        if images is None:
            images, proba, fit = self.embedding, self.label_distributions_, self.embedding.fit
        else:
            proba, fit = self.predict_proba(images)
        proba = at_temperature(proba, self.temperature())
        confidence = proba.max(axis=1).round(4)
        names = np.array([guard(str(name)) for name in self.classes_], dtype=object)
        strange = "" if self.learned is None else unlike(fit, self.learned.fit).astype(int)
        answers = {
            "label": np.where(confidence >= min_confidence, names[proba.argmax(axis=1)], ""),
            "confidence": confidence,
            "unlike": strange,
        }
        return pd.DataFrame(identity_columns(images) | answers)

    def temperature(self) -> float:
        """What tempers the confidence, 1 with too few labels drawn at random."""
        points = self._points[self.labelled_]
        given = (points, self.labels_given_, self.at_random_)
        return random_temperature(copy.copy(self.decoder_), *given, progress=self.progress)

    def findings(self) -> Findings:
        """What the labels are worth."""
        decoder = note = None  # the default, where the one in use does not ask other rows
        if self.decoder_name in ON_ROWS:
            decoder, note = decoder_on_rows(self.decoder_name, *self._near), self.decoder_note
        return examine(
            *(self.embedding.q, self.embedding.neighbours, self.labelled_, self.labels_given_),
            **{
                "decoder": decoder,
                "note": note,
                "at_random": self.at_random_,
                "marked": self.marked_,
                "progress": self.progress,
            },
        )

    def overruled_note(self) -> str | None:
        """A question if labelled images look like something else."""
        rows = self.overruled_
        if not len(rows):
            return None
        paths = self.embedding.paths or [f"image {row}" for row in range(len(self.embedding))]
        named = ", ".join(printable(paths[row]) for row in rows[:5]) + (
            ", …" if len(rows) > 5 else ""
        )
        return (
            f"{len(rows)} of {len(self.labelled_)} labelled images look like something else than "
            f"their label says, which they keep; is it right? {named}"
        )

    def unlike_note(self, images, share=None) -> str | None:
        """A sentence if images are unlike those that the run learned from.

        share : of them that are unlike, if that is known.
        """
        if not len(images) or is_set(images, self.run.provenance.get("data")):
            return None
        fit = None
        if self.embedding is not None and len(self.embedding) == len(images):
            same = np.array_equal(self.embedding.digests, images.digests)
            fit = self.embedding.fit if same else None
        return unlike_note(self.run, self.model, self.learned, images, fit, share)

    def shown(self, images) -> ImageSet:
        """Images that are the rows, in any order, as an `ImageSet` in the order of the rows."""
        rows = {digest: row for row, digest in enumerate(np.asarray(images.digests).tolist())}
        order = np.array([rows.get(digest, -1) for digest in self.embedding.digests.tolist()])
        if (order < 0).any():
            raise InputError(
                f"images: found {np.count_nonzero(order >= 0)} of the {len(order)} images that the "
                "run learned from, expected all of them"
            )
        pictures = shown(images).images[order]
        if pictures.dtype != np.uint8:
            pictures = np.rint(pictures * 255).astype(np.uint8)
        extra = {name: column[order] for name, column in getattr(images, "extra", {}).items()}
        return ImageSet(pictures, provenance=images.provenance, extra=extra)
