"""The Gaussian mixture VAE: q(c|x), q(z|x, c), p(z|c), p(x|z).

Generative model (Dilokthanakul et al. 2016, in the one-level form of Jiang et al. 2017):
c ~ Categorical(pi),  z | c ~ N(mu_c, diag(s_c^2)),  x | z ~ Bernoulli(decoder(z)), or
x | z ~ N(decoder(z), s^2 I) for data that are not within [0, 1].

Data go in flat, [B, P]: P = H * W pixels, H * W * 3 values, channels last, or D features.
"""

import copy
import math
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gmvae_lib.errors import InputError
from gmvae_lib.vae.config import GMVAEConfig
from gmvae_lib.vae.device import default_device, exact_convolutions, room_for
from gmvae_lib.vae.views import as_planes

LOG_VARIANCE_RANGE = (-10.0, 10.0)  # exp() outside it is how GMVAE code usually reaches NaN


@dataclass
class Encoded:
    """Parameters of q(c|x) and q(z|x, c) of a batch of B images; D = z_dim."""

    features: torch.Tensor  # [B, F]
    logits: torch.Tensor  # [B, K], q(c|x) before the softmax
    mean: torch.Tensor  # [B, D] (shared) or [B, K, D] (heads): of q(z|x, c)
    log_variance: torch.Tensor  # same shape


def _mlp(sizes, last_activation, normalised=False):
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers.append(nn.Linear(n_in, n_out, bias=not normalised))
        layers += [nn.BatchNorm1d(n_out)] if normalised else []
        layers.append(nn.ReLU())
    return nn.Sequential(*(layers if last_activation else layers[:-1]))


class _Residual(nn.Module):
    """Two convolutions added to their input, which they leave as it is at the start (He 2016)."""

    def __init__(self, width: int):
        super().__init__()
        last = nn.BatchNorm2d(width)
        nn.init.zeros_(last.weight)
        self.convolutions = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            last,
        )

    def forward(self, x):
        return F.relu(x + self.convolutions(x))


class _ConvEncoder(nn.Module):
    """Strided convolutions with batch normalisation, then one dense layer: [B, P] -> [B, F]."""

    def __init__(self, config: GMVAEConfig):
        super().__init__()
        self.image_shape = config.image_shape
        height, width, *colours = config.image_shape
        blocks, n_in = [], colours[0] if colours else 1
        for i, n_out in enumerate(config.channels):
            # at first halve the size (28 -> 14 -> 7)
            stride = config.strides[i] if i < len(config.strides) else 1
            kernel = 5 if i == 0 else 3
            blocks += [
                nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(),
                *(_Residual(n_out) for _ in range(config.residual)),
            ]
            height, width = (height - 1) // stride + 1, (width - 1) // stride + 1
            n_in = n_out
        # channels_last is about twice as fast for bf16 convolutions on a CPU
        self.convolutions = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
        self.dense = nn.Sequential(
            nn.Linear(n_in * height * width, config.features, bias=False),
            nn.BatchNorm1d(config.features),
            nn.ReLU(),
        )

    def forward(self, x):
        x = as_planes(x, self.image_shape).contiguous(memory_format=torch.channels_last)
        return self.dense(self.convolutions(x).flatten(1))


class GMVAE(nn.Module):
    """A Gaussian mixture VAE. Images go in as float [B, P] in [0, 1], features as float [B, D]."""

    def __init__(self, config: GMVAEConfig | None = None):
        super().__init__()
        self.config = config = config or GMVAEConfig()
        K, D = config.K, config.z_dim
        if config.encoder == "conv":
            self.encoder, width = _ConvEncoder(config), config.features
        else:
            sizes = (config.n_pixels, *config.encoder_hidden)
            normalised = config.encoder == "mlp-bn"
            self.encoder = _mlp(sizes, config.last_activation, normalised)
            width = sizes[-1]
        self.cluster = nn.Linear(width, K)
        self.auxiliary = nn.ModuleList(nn.Linear(width, n) for n in config.auxiliary)
        if config.projection:
            sizes = (width, config.features, config.projection)
            self.projection = _mlp(sizes, last_activation=False)
        if config.style:
            self.style = _mlp((config.n_pixels, config.style), last_activation=True)
            self.join = _mlp((config.style + width, config.style), last_activation=True)
            width = config.style
        n_heads = K if config.posterior == "heads" else 1
        self.mean = nn.Linear(width, n_heads * D)
        self.log_variance = nn.Linear(width, n_heads * D)
        self.prior_mean = nn.Parameter(torch.randn(K, D) * config.prior_std)
        self.prior_log_variance = nn.Parameter(torch.zeros(K, D))
        self.prior_logits = nn.Parameter(torch.zeros(K), requires_grad=config.learn_weights)
        self.decoder = _mlp((D, *config.decoder_hidden, config.n_pixels), last_activation=False)
        if config.likelihood == "gaussian":
            self.noise_log_variance = nn.Parameter(torch.zeros(()))  # of p(x|z), in one number

    @property
    def log_weights(self) -> torch.Tensor:
        """log pi, [K]."""
        return F.log_softmax(self.prior_logits, dim=0)

    @property
    def weights(self) -> np.ndarray:
        """Mixture weights pi of the prior, float32 [K]."""
        return self.log_weights.exp().detach().cpu().numpy()

    def encode(self, x: torch.Tensor) -> Encoded:
        """q(c|x) and q(z|x, c) of images x [B, P]."""
        return self.posterior(x, self.encoder(x))

    def posterior(self, x: torch.Tensor, h: torch.Tensor, logits=None) -> Encoded:
        """q(c|x) and q(z|x, c) from images x [B, P] and the encoder's features h [B, F].

        logits : of q(c|x), [B, K], where they are known already.
        """
        seen = self.join(torch.cat([self.style(x), h], dim=1)) if self.config.style else h
        logits = self.cluster(h) if logits is None else logits
        mean, log_variance = (
            at_least_float32(head(seen)) for head in (self.mean, self.log_variance)
        )
        if self.config.posterior == "heads":
            shape = (len(h), self.config.K, self.config.z_dim)
            mean, log_variance = mean.view(shape), log_variance.view(shape)
        return Encoded(h, logits, mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Logits of p(x|z), or its means if Gaussian: [..., D] -> [..., P]."""
        return self.decoder(z)

    @torch.no_grad()
    def sample(self, component: int, n: int = 1, seed: int = 0) -> np.ndarray:
        """Draw n images from p(x|c): the means of p(x|z), float32 ``[n, *image_shape]``.

        In [0, 1] if the likelihood is "bernoulli".
        """
        if not 0 <= component < self.config.K:
            raise InputError(f"component: found {component}, expected 0 to {self.config.K - 1}")
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(n, self.config.z_dim, generator=generator).to(self.prior_mean.device)
        std = (0.5 * self.prior_log_variance[component].clamp(*LOG_VARIANCE_RANGE)).exp()
        z = self.prior_mean[component] + std * noise
        return self._pictures(self.decode(z))

    @torch.no_grad()
    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """E[x | z = mean of q(z | x, most likely c)]: float32 ``[B, *image_shape]``."""
        x = as_batch(images, self.config).to(self.prior_mean.device)
        encoded = self.encode(x)
        z = encoded.mean
        if self.config.posterior == "heads":
            z = z[torch.arange(len(z)), encoded.logits.argmax(1)]
        return self._pictures(self.decode(z))

    def _pictures(self, decoded):
        means = at_least_float32(decoded)
        if self.config.likelihood == "bernoulli":
            means = means.sigmoid()
        return means.view(-1, *self.config.image_shape).cpu().numpy()


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """bf16 to float32, for sums and exponentials; wider types as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def as_pixels(images: np.ndarray, config: GMVAEConfig) -> torch.Tensor:
    """Images or rows of features ``[B, *image_shape]``, checked and flat, [B, P].

    uint8 stays uint8 and everything else becomes float32; `scaled` makes either into what the model
    takes. Floats must be finite, and within [0, 1] for images (their random views rely on it) and
    for a Bernoulli likelihood.
    """
    images = np.asarray(images)
    if images.ndim != 1 + len(config.image_shape) or images.shape[1:] != config.image_shape:
        expected = "x".join(map(str, config.image_shape))
        raise InputError(f"images: found shape {images.shape}, expected [N, {expected}]")
    if images.dtype.kind not in "fiub":
        raise InputError(f"images: found type {images.dtype}, expected uint8 or floats")
    is_bytes = images.dtype == np.uint8
    flat = images.reshape(len(images), -1)
    x = torch.from_numpy(np.array(flat, dtype=np.uint8 if is_bytes else np.float32))
    if x.numel() and not is_bytes:
        low, high = (value.item() for value in x.aminmax())  # NaN if any is
        if not math.isfinite(high - low):
            raise InputError("images: found NaN or infinite values, expected finite numbers")
        bounded = config.likelihood == "bernoulli" or len(config.image_shape) > 1
        if bounded and not (low >= 0 and high <= 1):
            raise InputError(f"images: found values {low:.4g} to {high:.4g}, expected 0 to 1")
    return x


def scaled(x: torch.Tensor, dtype=torch.float32) -> torch.Tensor:
    """Bytes as shares of 255, floats as they are, in the precision of a model."""
    return x.to(dtype) / 255 if x.dtype == torch.uint8 else x.to(dtype)


def as_batch(images: np.ndarray, config: GMVAEConfig) -> torch.Tensor:
    """Images or rows of features ``[B, *image_shape]`` to float32 [B, P]; see `as_pixels`."""
    return scaled(as_pixels(images, config))


@contextmanager
def _evaluating(model: GMVAE, device: torch.device):
    """The encoder and the cluster head on a device, in evaluation mode.

    The caller's model keeps its device and its mode: on another device, a copy does the work.
    """
    parts = nn.ModuleList([model.encoder, model.cluster])
    if device != model.prior_mean.device:
        yield copy.deepcopy(parts).to(device).eval()
        return
    modes = [(module, module.training) for module in parts.modules()]
    try:
        yield parts.eval()
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def _encoded_batches(model: GMVAE, images, batch_size, device, progress, rows=None):
    """Yield q(c|x) [B, K] and features [B, F] of one batch after the other, on the device."""
    from tqdm import tqdm

    device = torch.empty(0, device=default_device(device)).device  # with its index
    pictures = getattr(images, "images", images)  # an ImageSet or a plain array
    rows = range(len(pictures)) if rows is None else rows
    batch_size = batch_size or (1000 if device.type == "cpu" else 10_000)
    starts = range(rows.start, rows.stop, batch_size)
    room = room_for(f"batch_size: found {batch_size}")
    with room, _evaluating(model, device) as (encoder, cluster):
        for i in tqdm(starts, desc="posterior", unit="batch", disable=not progress):
            batch = as_pixels(pictures[i : min(i + batch_size, rows.stop)], model.config)
            with exact_convolutions():
                h = encoder(scaled(batch.to(device), model.prior_mean.dtype))
            yield cluster(h).float().softmax(1), h.float()


def embed_batches(
    model: GMVAE, images, batch_size: int | None = None, device=None, progress=False, rows=None
):
    """Yield (q, features) of one batch of images after the other, as `embed` returns them.

    Memory does not grow with the number of images. rows : range of the images, all by default.
    """
    for parts in _encoded_batches(model, images, batch_size, device, progress, rows):
        yield tuple(part.cpu().numpy() for part in parts)


def embed(
    model: GMVAE, images, batch_size: int | None = None, device=None, progress: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """q(c|x) and the encoder's features of every image, in order.

    The model's device and mode stay as they are.

    Returns
    -------
    (q, features) : float32 [N, K], rows sum to 1, and float32 [N, F].
    """
    batches = list(embed_batches(model, images, batch_size, device, progress))
    if not batches:
        raise InputError("images: found none, expected at least one")
    q, features = zip(*batches, strict=True)
    return np.concatenate(q), np.concatenate(features)


def cluster_posterior(
    model_or_run, images, batch_size: int | None = None, device=None, progress: bool = False
) -> np.ndarray:
    """q(c|x) of every image: float32 [N, K], rows sum to 1.

    Computed in float32 whatever the training used, so that it is the same on every machine
    to rounding. The model's device and mode stay as they are.

    Parameters
    ----------
    images : ImageSet, or array ``[N, *image_shape]``.
    batch_size : images at a time; by default 1,000 on a CPU and 10,000 on a GPU.

    Examples
    --------
    >>> from gmvae_lib import GMVAE, GMVAEConfig
    >>> model = GMVAE(GMVAEConfig(K=3, z_dim=2, encoder_hidden=(8,), decoder_hidden=(8,)))
    >>> cluster_posterior(model, np.zeros((5, 28, 28), np.uint8)).shape
    (5, 3)
    """
    model = model_or_run if isinstance(model_or_run, GMVAE) else model_or_run.model
    found = [
        q.cpu().numpy() for q, _ in _encoded_batches(model, images, batch_size, device, progress)
    ]
    if not found:
        raise InputError("images: found none, expected at least one")
    return np.concatenate(found)
