"""What a run keeps of its images: which they are, q(c|x), features, nearest neighbours.

Commands that come after the training then embed only images that are new to the run.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from gmvae_lib.data.identity import digest_of
from gmvae_lib.data.storage import load_tensors, save_tensors
from gmvae_lib.errors import InputError
from gmvae_lib.vae.config import VIEWS

FILE = "embedding.safetensors"
MOST = 200_000  # images whose embedding is kept: as many as a search for all neighbours can take
SAMPLE = 500  # images of which the agreement of views is measured
WORST = 0.01  # share of the training images that are unlike by definition
MANY = 0.1  # share of images that are unlike: more, and the set as a whole is
LESS_AGREEMENT = 0.75  # of that in training: less, beyond chance, and the set as a whole is unlike
WORSE = 0.3  # the same of the ELBO, relative, where a run keeps nothing of its images
_ARRAYS = ("q", "features", "neighbours", "fit")


@dataclass
class Embedding:
    """Images as a run sees them, N of them.

    ``q``: float32 [N, K], q(c|x). ``features``: float32 [N, F], the encoder's. ``neighbours``:
    int32 [N, n], the rows nearest to each. ``fit``: float32 [N], nats, how well the model describes
    each (`goodness`). ``digests``: str [N], ``paths``: tuple of N, or None, and ``provenance``:
    dict, as of an `ImageSet`. ``about``: JSON-able, what else is kept with them.
    """

    q: np.ndarray
    features: np.ndarray
    neighbours: np.ndarray
    fit: np.ndarray
    digests: np.ndarray
    paths: tuple[str, ...] | None
    provenance: dict
    about: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.q)

    @cached_property
    def set_digest(self) -> str:
        return digest_of("".join(self.digests).encode())

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {digest: row for row, digest in reversed(list(enumerate(self.digests.tolist())))}

    def rows_of(self, digests) -> np.ndarray:
        """The row of each digest, int [n], -1 where it is not among these images."""
        return np.array([self._row_of.get(str(digest), -1) for digest in digests], dtype=np.intp)


def embed_images(embed, images, n_neighbours, known=None, join=False, device=None) -> Embedding:
    """Embed images, taking from ``known`` what it holds of them already.

    Parameters
    ----------
    embed : function of images that gives their (q, features, goodness), as `embed_and_judge`; not
        called where all images are known
    images : ImageSet, ShardedImages, or any object with their `images`, `digests`, `paths` and
        `provenance`; at least one
    n_neighbours : of each image
    known : Embedding, optional, by the same model
    join : whether the images of ``known`` come first, all of them, and then those new to it
    """
    digests = np.asarray(images.digests)
    rows = np.full(len(digests), -1) if known is None else known.rows_of(digests)
    new, n_known = np.flatnonzero(rows < 0), 0 if known is None else len(known)
    if known is not None and not len(new) and (join or np.array_equal(digests, known.digests)):
        return known if join else replace(known, paths=images.paths, provenance=images.provenance)
    parts = [(known.q, known.features, known.fit)] if known is not None else []
    if len(new):
        pictures = images.images if len(new) == len(digests) else images.images[new]
        parts.append(embed(pictures))
        rows[new] = np.arange(n_known, n_known + len(new))
    elif not parts:
        raise InputError("images: found none, expected at least one")
    identity = joined(known, images) if join and known is not None else images
    rows = np.arange(n_known + len(new)) if join else rows
    q, features, fit = (np.concatenate(part)[rows] for part in zip(*parts, strict=True))
    from gmvae_lib.vae.nearest import nearest

    neighbours = nearest(features, n_neighbours, device)
    return Embedding(
        *(q, features, neighbours, fit),
        np.asarray(identity.digests), identity.paths, dict(identity.provenance),
    )  # fmt: skip


def joined(known: Embedding, images) -> SimpleNamespace:
    """What identifies the images of an embedding and those that are new to it.

    Returns
    -------
    An object with `digests`, `paths`, `set_digest` and `provenance`. Paths are those of today for
    images that are found again.
    """
    digests, rows = np.asarray(images.digests), known.rows_of(images.digests)
    paths = list(known.paths or [""] * len(known))
    now = images.paths or [""] * len(digests)
    for i, row in enumerate(rows):
        if row < 0:
            paths.append(now[i])
        elif now[i]:
            paths[row] = now[i]
    digests = np.concatenate([known.digests, digests[rows < 0]])
    there, here = (some.provenance.get("source", "images") for some in (known, images))
    return SimpleNamespace(
        digests=digests,
        paths=tuple(paths),
        set_digest=digest_of("".join(digests).encode()),
        provenance={"source": there if here == there else f"{there} and {here}"},
    )


def embed_and_judge(model, pictures, device=None, progress=False):
    """(q, features, goodness) of images: float32 [N, K], [N, F] and [N]."""
    import torch

    from gmvae_lib.vae.device import default_device
    from gmvae_lib.vae.model import as_batch, embed_batches

    double = model.prior_mean.dtype == torch.float64
    if double and default_device(device).type == "mps":  # which has no double precision
        device = "cpu"
    parts, start = [], 0
    for q, features in embed_batches(model, pictures, device=device, progress=progress):
        x = as_batch(pictures[start : start + len(q)], model.config)
        parts.append((q, features, goodness(model, x, torch.from_numpy(features))))
        start += len(q)
    if not parts:
        raise InputError("images: found none, expected at least one")
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def goodness(model, x, features) -> np.ndarray:
    """How well a model describes images: the ELBO of the likeliest component at the mean of z.

    log p(x|z) - KL(q(z|x, c) || p(z|c)) + log pi_c, in nats, float32 [B]. Nothing is drawn, so
    that an image has the same number in every batch.

    Parameters
    ----------
    x : float [B, P], as `model.as_batch` makes it. features : float [B, F], the encoder's.
    """
    import torch

    from gmvae_lib.vae.model import LOG_VARIANCE_RANGE
    from gmvae_lib.vae.objective import gaussian_kl, log_likelihood_of_codes

    with torch.no_grad():
        weights = model.prior_mean
        encoded = model.posterior(x.to(weights), features.to(weights))
        c = encoded.logits.argmax(dim=1)
        mean, log_variance = encoded.mean, encoded.log_variance
        if mean.ndim == 3:
            mean, log_variance = (part[torch.arange(len(c)), c] for part in (mean, log_variance))
        prior = weights[c], model.prior_log_variance[c].clamp(*LOG_VARIANCE_RANGE)
        fit = log_likelihood_of_codes(model, mean[:, None], x.to(weights))[:, 0]
        fit = fit - gaussian_kl(mean, log_variance, *prior) + model.log_weights[c]
    return fit.float().cpu().numpy()


def agreement_of_views(model, pictures, seed=0, kinds=VIEWS) -> float:
    """How much of q(c|x) two random views of an image share: mean over images, 0 to 1.

    sum_c min(q(c|view), q(c|other view)), over up to `SAMPLE` images in even steps.
    kinds : of the views.
    """
    import torch

    from gmvae_lib.vae.model import as_batch
    from gmvae_lib.vae.views import flat_view

    rows = np.arange(0, len(pictures), -(-len(pictures) // SAMPLE))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        x = as_batch(pictures[rows], model.config).to(model.prior_mean)
        first, second = (
            model.cluster(model.encoder(flat_view(x, model.config.image_shape, generator, kinds)))
            for _ in range(2)
        )
        shared = torch.minimum(first.softmax(1), second.softmax(1)).sum(1)
    return float(shared.mean())


def save_embedding(run, embedding: Embedding) -> None:
    """Write an embedding into the run's folder, tied to the run's weights."""
    about = {
        "weights": run.provenance["files"]["weights.safetensors"],
        "provenance": embedding.provenance,
        "paths": embedding.paths,
        "about": embedding.about,
    }
    tensors = {name: getattr(embedding, name) for name in _ARRAYS}
    packed = bytes.fromhex("".join(embedding.digests))
    tensors["digests"] = np.frombuffer(packed, np.uint8).reshape(len(embedding), -1)
    save_tensors(run.path / FILE, tensors, about)


def require_embedding(run) -> None:
    """Refuse a run that keeps no embedding, without reading it."""
    if not (run.path / FILE).exists():
        raise InputError(
            f"{run.path}: found a run that does not keep its images, expected their folder or file "
            "as --images"
        )


def load_embedding(run) -> Embedding | None:
    """The embedding in the run's folder; None where there is none.

    Raises
    ------
    InputError
        If the file is damaged, or was written for other weights.
    """
    path = run.path / FILE
    if not path.exists():
        return None
    tensors, about = load_tensors(path)
    if about.get("weights") != run.provenance["files"]["weights.safetensors"]:
        raise InputError(
            f"{path}: found the images as another model sees them, expected those of this run; "
            "without the file they are embedded again"
        )
    try:
        paths = about["paths"] and tuple(about["paths"])
        digests = np.array([bytes(row).hex() for row in tensors["digests"]])
        q, features, neighbours, goodness = (tensors[name] for name in _ARRAYS)
        return Embedding(
            q, features, neighbours, goodness, digests, paths, about["provenance"], about["about"]
        )
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no {error}, expected what save_embedding writes") from None


def unlike(fit, learned) -> np.ndarray:
    """Which images are unlike those that a run learned from: bool [n].

    The model describes them worse than 99 % of the latter: the limit is the run's own, and one
    image in a hundred like them is beyond it. Of other images the published run marks
    (`python -m benchmarks.unlike`) 1.1 % of further handwritten letters, 8 % of letters upside down
    or half as bright, 15 % of printed ones, 67 % of letters shifted by five pixels, and all of
    letters inverted and of noise; but 0.2 % of handwritten digits, which are as simple.

    Parameters
    ----------
    fit, learned : float [n], [N], `goodness` of images and of those that the run learned from

    Examples
    --------
    >>> unlike([-900.0, -110.0], [-120.0, -100.0, -80.0])
    array([ True, False])
    """
    return ~(np.asarray(fit) >= np.quantile(learned, WORST))  # nan is unlike anything


def unlike_note(run, model, learned, images, fit=None, share=None) -> str | None:
    """A sentence if images as a whole are unlike those that a run learned from.

    They are if ten times as many as in training are `unlike`, or if two random views of an image
    share three quarters of what they share in training or less. That must be more than chance
    makes of few images: three standard errors, the standard deviation of a share being 1/2 at most.

    Parameters
    ----------
    model : GMVAE, the run's. learned : Embedding that the run keeps, or None.
    images : ImageSet. fit : their `goodness`; by default that of `SAMPLE` of them is computed.
    share : of them that are `unlike`, if that is known.
    """
    if fit is None and share is None:
        rows = np.arange(0, len(images), -(-len(images) // SAMPLE))
        fit = embed_and_judge(model, images.images[rows])[2]
    advice = "Train on images like these."
    if learned is not None:
        share = unlike(fit, learned.fit).mean() if share is None else share
        if share > MANY:
            return (
                f"{share:.0%} of the images are unlike those that the run learned from: the model "
                f"describes them much worse. {advice}"
            )
        here, before = (
            agreement_of_views(model, images.images, kinds=run.train_config.views),
            learned.about["agreement"],
        )
        seen = np.minimum([len(images), len(learned)], SAMPLE)
        if here < min(LESS_AGREEMENT * before, before - 1.5 * np.sqrt((1 / seen).sum())):
            return (
                "The images are unlike those that the run learned from: two random views of one "
                f"share {here:.0%} of their posterior, {before:.0%} in training. {advice}"
            )
        return None
    elbos = [row["elbo"] for row in run.history if np.isfinite(row.get("elbo", np.nan))]
    if not elbos or fit.mean() > elbos[-1] - WORSE * abs(elbos[-1]):
        return None
    return (
        f"The images are unlike those that the run learned from: the model describes them worse "
        f"({fit.mean():.0f} nats, {elbos[-1]:.0f} in training). {advice}"
    )
