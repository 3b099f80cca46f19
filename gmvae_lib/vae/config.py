"""Model and training configurations, and the presets.

Torch is not imported here, so that the command line can show its help at once.
"""

import math
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, get_args, get_origin

from gmvae_lib.errors import InputError

VIEWS = ("affine", "elastic", "thickness", "intensity")  # of handwriting, and by default
FURTHER_VIEWS = ("crop", "mirror", "turn", "light")  # of other pictures; see views.random_view
# Kinds of pictures and the changes that leave the content of one alone, from the mildest on.
VIEWS_OF = {
    "pen": VIEWS,
    "photograph": ("crop", "mirror", "light"),
    "texture": ("crop", "mirror", "turn", "light"),
}
PER_COMPONENT = 5  # images that a component needs at least, on average; see preset()


def _check_types(config) -> None:
    """Refuse a field that is not of its annotated type, as JSON or a caller may bring it."""
    kinds: dict[Any, tuple[type, str]] = {
        int: (Integral, "a whole number"),
        float: (Real, "a finite number"),
        bool: (bool, "True or False"),
        str: (str, "text"),
    }
    for entry in fields(config):
        value, annotated = getattr(config, entry.name), entry.type
        several = get_origin(annotated) is tuple
        kind, expected = kinds[get_args(annotated)[0] if several else annotated]
        fits = not several or isinstance(value, (tuple, list))
        for part in value if several and fits else (value,):
            fits = fits and isinstance(part, kind) and (kind is bool or not isinstance(part, bool))
            fits = fits and (kind is not Real or -math.inf < part < math.inf)  # nor NaN
        if not fits:
            expected += ", several of them" if several else ""
            raise InputError(f"{entry.name}: found {value!r:.60}, expected {expected}")


@dataclass(frozen=True)
class GMVAEConfig:
    """Shape of a GMVAE.

    Parameters
    ----------
    K
        number of components.
    z_dim
        dimension of z.
    image_shape
        (H, W) of grey images, (H, W, 3) of colour ones, or (D,) of rows of features.
    likelihood
        p(x|z): "bernoulli" for values in [0, 1], or "gaussian", whose one variance, shared by all
        pixels or features, is learned (Rybkin et al. 2021). A variance for each would grow without
        bound the density of any feature that the decoder can repeat exactly, a constant one say.
    encoder
        "mlp" (the published one), "mlp-bn", the same with batch normalisation, without which the
        consistency term can stay at its start where q(c|x) is flat, or "conv" (for images;
        strided convolutions, with batch normalisation).
    posterior
        "heads", one q(z|x, c) a component as published, or "shared", the factorised
        q(c|x) q(z|x), whose ELBO is exact over c at one decode an image.
    encoder_hidden
        widths of an MLP encoder.
    last_activation
        whether a ReLU follows the last layer of an MLP encoder. The article's code has none there.
    channels, features
        widths of the convolutional encoder and of its output.
    strides
        of the first convolutions; further ones keep the size.
    residual
        blocks of two convolutions, added to their input, after each convolution.
    decoder_hidden
        widths of the decoder MLP.
    auxiliary
        outputs of each further clustering head that only the consistency term sees
        (over-clustering, Ji et al. 2019); () for none.
    projection
        width of the space in which the contrastive term compares images; 0 for none.
    style
        width of a dense layer that reads the pixels for q(z|x, c), beside the encoder's
        features, which may have forgotten what does not tell images apart; 0 for none.
    learn_weights
        learn the mixture weights pi (otherwise uniform, as published).
    prior_std
        standard deviation of the random start of the component means.
    """

    K: int = 100
    z_dim: int = 100
    image_shape: tuple[int, ...] = (28, 28)
    likelihood: str = "bernoulli"
    encoder: str = "mlp"
    posterior: str = "heads"
    encoder_hidden: tuple[int, ...] = (768, 768, 768, 768)
    last_activation: bool = True  # what a config.json without this field means
    channels: tuple[int, ...] = (64, 128, 128)
    features: int = 256
    strides: tuple[int, ...] = (2, 2)
    residual: int = 0
    decoder_hidden: tuple[int, ...] = (512, 768, 768)
    auxiliary: tuple[int, ...] = ()
    projection: int = 0
    style: int = 0
    learn_weights: bool = False
    prior_std: float = 0.05

    def __post_init__(self):
        _check_types(self)
        # JSON brings lists back; tuples keep the config hashable and comparable
        widths = ("encoder_hidden", "channels", "strides", "decoder_hidden", "auxiliary")
        for name in ("image_shape", *widths):
            object.__setattr__(self, name, tuple(int(v) for v in getattr(self, name)))
        for name in ("K", "z_dim", "features"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: found {getattr(self, name)}, expected at least 1")
        for name in ("residual", "projection", "style", "prior_std"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: found {getattr(self, name)}, expected 0 or more")
        for name in widths:
            if min(getattr(self, name), default=1) < 1:
                found = getattr(self, name)
                raise InputError(f"{name}: found {found}, expected at least 1 each")
        shape = self.image_shape
        if not (1 <= len(shape) <= 3 and min(shape) >= 1 and shape[2:] in ((), (3,))):
            raise InputError(
                f"image_shape: found {shape}, expected (H, W), (H, W, 3) or (D,), at least 1 each"
            )
        if self.likelihood not in ("bernoulli", "gaussian"):
            raise InputError(
                f'likelihood: found {self.likelihood!r}, expected "bernoulli" or "gaussian"'
            )
        if self.encoder == "conv" and len(shape) == 1:
            raise InputError('encoder: found "conv" for rows of features, expected "mlp-bn"')
        if self.encoder not in ("mlp", "mlp-bn", "conv"):
            raise InputError(f'encoder: found {self.encoder!r}, expected "mlp", "mlp-bn" or "conv"')
        if self.posterior not in ("heads", "shared"):
            raise InputError(f'posterior: found {self.posterior!r}, expected "heads" or "shared"')

    @property
    def n_pixels(self) -> int:
        return math.prod(self.image_shape)


@dataclass(frozen=True)
class TrainConfig:
    """Course of a training. Labels appear nowhere.

    The loss of a batch, in nats, is
    -(elbo_weight * ELBO + consistency_weight * MI + contrast_weight * contrast), where MI is the
    mutual information of q(c|x) over two random views (objective.mutual_information) and contrast
    the log probability of telling an image's other view from those of other images
    (objective.contrast).

    Parameters
    ----------
    epochs
        passes over the images with this loss.
    generative_epochs
        further passes in which the encoder and q(c|x) stay as they are and the
        ELBO alone, at weight 1, trains the rest given them: q(z|x, c), p(z|c), pi, p(x|z).
    batch_size
        images a step; a smaller data set is one batch.
    learning_rate
        of Adam; with ``schedule`` "constant", or "cosine" after a short linear rise,
        one for the epochs and one for the generative epochs.
    weight_decay
        decoupled (AdamW).
    prior_rate
        learning rate of p(z|c) and pi as a multiple of the others'. A component's mean
        learns from its own images alone, a hundredth of a batch, and has a long way to go.
    elbo_weight, consistency_weight, contrast_weight
        0 leaves a part out.
    views
        kinds of random views (`views.random_view`). Rows of features have one kind of their own
        (`views.corrupted_rows`).
    neighbours
        from epoch ``neighbours_from`` on, the second view shows one of this many nearest
        neighbours in the encoder's features instead of the same image; 0 for never.
    neighbours_every
        epochs between two searches for neighbours.
    seed
        of weights, order, views and noise.
    precision
        "bf16", "float32", or "auto": bf16 where the machine multiplies it fast.
    checkpoint_every
        steps between two checkpoints. On a GPU, where so many steps may take less time than
        writing them, also at least half a minute.
    """

    epochs: int = 450
    generative_epochs: int = 0
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: str = "constant"
    weight_decay: float = 0.0
    prior_rate: float = 1.0
    elbo_weight: float = 1.0
    consistency_weight: float = 0.0
    contrast_weight: float = 0.0
    views: tuple[str, ...] = VIEWS
    neighbours: int = 0
    neighbours_from: int = 0
    neighbours_every: int = 1
    seed: int = 0
    precision: str = "auto"
    checkpoint_every: int = 500

    def __post_init__(self):
        _check_types(self)
        object.__setattr__(self, "views", tuple(self.views))
        known = (*VIEWS, *FURTHER_VIEWS)
        unknown = [kind for kind in self.views if kind not in known]
        if unknown:
            raise InputError(f"views: found {unknown[0]!r}, expected some of {', '.join(known)}")
        for name in ("learning_rate", "prior_rate"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name}: found {getattr(self, name)}, expected above 0")
        for name in ("epochs", "batch_size", "neighbours_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: found {getattr(self, name)}, expected at least 1")
        if self.schedule not in ("constant", "cosine"):
            raise InputError(f'schedule: found {self.schedule!r}, expected "constant" or "cosine"')
        if self.precision not in ("auto", "bf16", "float32"):
            raise InputError(
                f'precision: found {self.precision!r}, expected "auto", "bf16" or "float32"'
            )
        for name in (
            *("generative_epochs", "weight_decay", "neighbours", "neighbours_from", "seed"),
            *("elbo_weight", "consistency_weight", "contrast_weight"),
        ):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: found {getattr(self, name)}, expected 0 or more")
        if self.elbo_weight == self.consistency_weight == self.contrast_weight == 0:
            raise InputError(
                "elbo_weight, consistency_weight, contrast_weight: found 0, 0 and 0, "
                "expected one above 0"
            )


# Fields of TrainConfig that are constants now; a stored config.json may still hold them.
RETIRED = {
    "temperature": 0.2,
    "entropy_weight": 1.5,
    "truncate": 0,
    "truncate_below": 0.01,
    "view_strength": 1.0,
}


def stored_train_config(stored: dict) -> TrainConfig:
    """The TrainConfig of a stored run, whose retired fields must have the values of today.

    Examples
    --------
    >>> stored_train_config({"epochs": 3, "view_strength": 1.0}).epochs
    3
    """
    for name, value in RETIRED.items():
        if stored.get(name, value) != value:
            raise InputError(f"{name}: found {stored[name]!r}, expected {value!r}, now a constant")
    return TrainConfig(**{name: value for name, value in stored.items() if name not in RETIRED})


PRESETS = {
    # The article's public code: model, objective and course of training. About two days on two CPU
    # cores, some minutes on a data-centre GPU. The one liberty is ``precision="auto"``: where the
    # machine multiplies bf16 fast, products are in bf16 (weights, sums and densities stay float32),
    # which is several times faster; precision="float32" is the code to the letter.
    "paper": (GMVAEConfig(last_activation=False), TrainConfig()),
    # the same with a ReLU after the encoder's last layer
    "paper-relu": (GMVAEConfig(), TrainConfig()),
    # the same generative model with a factorised posterior and the consistency term
    "best": (
        GMVAEConfig(
            z_dim=64,
            encoder="conv",
            posterior="shared",
            channels=(32, 64, 128),
            decoder_hidden=(512, 512),
            auxiliary=(400,),
            projection=64,
            style=512,
            learn_weights=True,
            prior_std=0.3,
        ),
        TrainConfig(
            epochs=6,
            generative_epochs=30,
            batch_size=500,
            learning_rate=2e-3,
            schedule="cosine",
            weight_decay=1e-4,
            prior_rate=10.0,
            elbo_weight=0.0,  # the ELBO has its own epochs
            consistency_weight=1.0,
            contrast_weight=1.0,
            neighbours=10,
            neighbours_from=3,
            neighbours_every=2,
        ),
    ),
}
# for a GPU: residual blocks, twice the channels, larger batches, a longer course of views
PRESETS["large"] = (
    replace(PRESETS["best"][0], channels=(64, 128, 256), residual=1),
    replace(
        PRESETS["best"][1],
        epochs=30,
        generative_epochs=10,
        batch_size=1000,
        neighbours_from=3,
        neighbours_every=3,
    ),
)
SMALLEST_SIDE = 8  # pixels, after the strided convolutions
MADE_FOR = {"best": 100_000, "large": 100_000, "quick": 5_000}  # images; see preset()
# small enough for a test or a live chapter: a minute or less on a few thousand images
PRESETS["quick"] = (
    replace(PRESETS["best"][0], channels=(16, 32), features=128, decoder_hidden=(256,), style=256),
    replace(PRESETS["best"][1], epochs=30, generative_epochs=30, batch_size=250, neighbours=0),
)


# for the features of a pretrained network (`pretrained`); neighbours from half of the epochs on
PRESETS["features"] = (
    replace(PRESETS["best"][0], decoder_hidden=(512,)),
    replace(PRESETS["quick"][1], neighbours=10, neighbours_from=15, neighbours_every=10),
)
MADE_FOR["features"] = MADE_FOR["quick"]
AUTO = "auto"  # `automatic.choose` makes it one of the others


def preset(
    name: str,
    n_images: int | None = None,
    epochs: int | None = None,
    image_shape: tuple[int, ...] = (28, 28),
    **changes,
) -> tuple[GMVAEConfig, TrainConfig]:
    """The (model, training) configurations of a preset.

    Parameters
    ----------
    name
        of the preset: "paper", "paper-relu", "best", "large", "quick" or "features".
    n_images
        images to train on. Fewer than the preset was made for get more epochs, so that the
        training has as many steps: clusters form after a number of steps, not of epochs. And K
        is at most a fifth of them.
    epochs
        instead of the preset's; its phases move in proportion.
    image_shape
        of the images, or (D,) for rows of features; see `for_shape`.
    changes
        further fields of TrainConfig.
    """
    if name not in PRESETS:
        raise InputError(f"preset: found {name!r}, expected one of {', '.join(PRESETS)}")
    model_config, train_config = PRESETS[name]
    if n_images is not None:
        K = min(model_config.K, max(2, n_images // PER_COMPONENT))
        model_config = with_components(model_config, K)
    if epochs is None:
        epochs = train_config.epochs
        if n_images is not None and train_config.consistency_weight:
            # an epoch is whole batches; one, however few the images
            batch = train_config.batch_size
            epochs *= max(1, -(-MADE_FOR[name] // (max(1, n_images // batch) * batch)))
    ratio = epochs / train_config.epochs
    train_config = replace(
        train_config,
        epochs=epochs,
        generative_epochs=round(ratio * train_config.generative_epochs),
        neighbours_from=round(ratio * train_config.neighbours_from),
        neighbours_every=max(1, round(ratio * train_config.neighbours_every)),
    )
    return for_shape(model_config, image_shape), replace(train_config, **changes)


def with_components(config: GMVAEConfig, K: int) -> GMVAEConfig:
    """The same model with K components, its auxiliary heads in proportion."""
    return replace(config, K=K, auxiliary=tuple(-(-n * K // config.K) for n in config.auxiliary))


def for_shape(config: GMVAEConfig, image_shape: tuple[int, ...]) -> GMVAEConfig:
    """The same model for images of another shape, or for rows of features (D,).

    The convolutions halve the image until neither side is above 8 pixels, one layer more where
    there are too few; rows of features get an MLP encoder of the same width instead.
    """
    image_shape = tuple(image_shape)
    if config.encoder != "conv" or image_shape == config.image_shape:
        return replace(config, image_shape=image_shape)
    if len(image_shape) == 1:
        hidden = (2 * config.features, 2 * config.features, config.features)
        return replace(config, image_shape=image_shape, encoder="mlp-bn", encoder_hidden=hidden)
    halvings = max(1, math.ceil(math.log2(max(image_shape[:2]) / SMALLEST_SIDE)))
    missing = max(0, halvings - len(config.channels))
    return replace(
        config,
        image_shape=image_shape,
        channels=config.channels + config.channels[-1:] * missing,
        strides=(2,) * halvings,
    )
