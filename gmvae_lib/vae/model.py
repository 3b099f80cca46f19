"""The Gaussian mixture VAE: q(c|x), q(z|x, c), p(z|c), p(x|z).

Generative model (Dilokthanakul et al. 2016, in the one-level form of Jiang et al. 2017):
c ~ Categorical(pi),  z | c ~ N(mu_c, diag(s_c^2)),  x | z ~ Bernoulli(decoder(z)), or
x | z ~ N(decoder(z), s^2 I) for data that are not within [0, 1].

Data go in flat, [B, P]: P = H * W pixels, H * W * 3 values, channels last, or D features.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gmvae_lib.errors import InputError
from gmvae_lib.vae.config import GMVAEConfig
from gmvae_lib.vae.device import default_device
from gmvae_lib.vae.views import as_planes

LOG_VARIANCE_RANGE = (-10.0, 10.0)  # exp() outside it is how GMVAE code usually reaches NaN


@dataclass
class Encoded:
    """What the encoder says of a batch: shapes for B images, D = z_dim."""

    features: torch.Tensor  # [B, F]
    logits: torch.Tensor  # [B, K], q(c|x) before the softmax
    mean: torch.Tensor  # [B, D] (shared), [B, K, D] or [B, top, D] (heads): of q(z|x, c)
    log_variance: torch.Tensor  # same shape
    kept: torch.Tensor | None = None  # int [B, top]: the components of these heads, if not all


def _mlp(sizes, last_activation, normalised=False):
    layers = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers.append(nn.Linear(n_in, n_out, bias=not normalised))
        layers += [nn.BatchNorm1d(n_out)] if normalised else []
        layers.append(nn.ReLU())
    return nn.Sequential(*(layers if last_activation else layers[:-1]))


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
            self.encoder = _mlp(sizes, last_activation=True, normalised=config.encoder == "mlp-bn")
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

    def encode(self, x: torch.Tensor, top: int | None = None) -> Encoded:
        """q(c|x) and q(z|x, c) of images x [B, P]; ``top`` as in `posterior`."""
        return self.posterior(x, self.encoder(x), top=top)

    def posterior(self, x: torch.Tensor, h: torch.Tensor, logits=None, top=None) -> Encoded:
        """q(c|x) and q(z|x, c) from images x [B, P] and the encoder's features h [B, F].

        logits : of q(c|x), where they are known already. top : of K heads, those of this many
        likeliest components of each image only.
        """
        seen = self.join(torch.cat([self.style(x), h], dim=1)) if self.config.style else h
        logits = self.cluster(h) if logits is None else logits
        heads, kept = (self.mean, self.log_variance), None
        if self.config.posterior == "heads" and top and top < self.config.K:
            kept = logits.detach().topk(top, dim=1).indices
            mean, log_variance = heads_of(heads, seen, kept, self.config.z_dim)
        else:
            mean, log_variance = (at_least_float32(head(seen)) for head in heads)
            if self.config.posterior == "heads":
                shape = (len(h), self.config.K, self.config.z_dim)
                mean, log_variance = mean.view(shape), log_variance.view(shape)
        return Encoded(h, logits, mean, log_variance.clamp(*LOG_VARIANCE_RANGE), kept)

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


def heads_of(layers, h: torch.Tensor, kept: torch.Tensor, z_dim: int) -> list[torch.Tensor]:
    """What K heads a layer say of some components: h [B, F], kept int [B, top] -> [B, top, D] each.

    Images are sorted by component, so that each head's weights are read once, by its own images.
    In float32: reading the weights takes longer than multiplying by them, and a copy longer still.
    """
    component, order = kept.flatten().sort()
    counts = component.bincount(minlength=layers[0].out_features // z_dim).tolist()
    back = order.argsort()
    with torch.autocast(h.device.type, enabled=False):
        rows = at_least_float32(h)[order // kept.shape[1]]
        return [
            (
                _GroupedProduct.apply(rows, layer.weight.view(-1, z_dim, h.shape[1]), counts)
                + layer.bias.view(-1, z_dim)[component]
            )[back].view(*kept.shape, z_dim)
            for layer in layers
        ]


class _GroupedProduct(torch.autograd.Function):
    """Rows [n, F] in groups, each times the transpose of its own matrix of [K, D, F]: [n, D]."""

    @staticmethod
    def forward(ctx, rows, matrices, counts):
        ctx.save_for_backward(rows, matrices)
        ctx.counts = counts
        parts = zip(rows.split(counts), matrices, strict=True)
        return torch.cat([part @ matrix.T for part, matrix in parts if len(part)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        rows, matrices = ctx.saved_tensors
        of_rows, of_matrices = torch.empty_like(rows), torch.zeros_like(matrices)
        parts = (rows.split(ctx.counts), gradient.split(ctx.counts), of_rows.split(ctx.counts))
        for part, g, out, matrix, of_matrix in zip(*parts, matrices, of_matrices, strict=True):
            if len(part):
                torch.mm(g, matrix, out=out)
                torch.mm(g.T, part, out=of_matrix)
        return of_rows, of_matrices, None


def as_batch(images: np.ndarray, config: GMVAEConfig) -> torch.Tensor:
    """Images or rows of features ``[B, *image_shape]`` to float32 [B, P].

    uint8 is divided by 255. Floats must be finite, and within [0, 1] for images (their random
    views rely on it) and for a Bernoulli likelihood.
    """
    images = np.asarray(images)
    if images.ndim != 1 + len(config.image_shape) or images.shape[1:] != config.image_shape:
        expected = "x".join(map(str, config.image_shape))
        raise InputError(f"images: found shape {images.shape}, expected [N, {expected}]")
    if images.dtype.kind not in "fiub":
        raise InputError(f"images: found type {images.dtype}, expected uint8 or floats")
    x = torch.from_numpy(np.array(images.reshape(len(images), -1), dtype=np.float32))
    if images.dtype == np.uint8:
        return x / 255
    if x.numel():
        low, high = (value.item() for value in x.aminmax())  # NaN if any is
        if not math.isfinite(high - low):
            raise InputError("images: found NaN or infinite values, expected finite numbers")
        bounded = config.likelihood == "bernoulli" or len(config.image_shape) > 1
        if bounded and not (low >= 0 and high <= 1):
            raise InputError(f"images: found values {low:.4g} to {high:.4g}, expected 0 to 1")
    return x


@torch.no_grad()
def embed_batches(
    model: GMVAE, images, batch_size: int = 1000, device=None, progress: bool = False, rows=None
):
    """Yield (q, features) of one batch of images after the other, as `embed` returns them.

    Memory does not grow with the number of images. rows : range of the images, all by default.
    """
    from tqdm import tqdm

    device = default_device(device)
    model = model.to(device).eval()
    pictures = getattr(images, "images", images)  # an ImageSet or a plain array
    rows = range(len(pictures)) if rows is None else rows
    starts = range(rows.start, rows.stop, batch_size)
    for i in tqdm(starts, desc="posterior", unit="batch", disable=not progress):
        batch = as_batch(pictures[i : min(i + batch_size, rows.stop)], model.config)
        h = model.encoder(batch.to(model.prior_mean))  # to the model's precision, too
        yield model.cluster(h).float().softmax(1).cpu().numpy(), h.float().cpu().numpy()


def embed(model: GMVAE, images, batch_size: int = 1000, device=None, progress: bool = False):
    """q(c|x) and the encoder's features of every image, in order.

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
    model_or_run, images, batch_size: int = 1000, device=None, progress: bool = False
) -> np.ndarray:
    """q(c|x) of every image: float32 [N, K], rows sum to 1.

    Computed in float32 whatever the training used, so that it is the same on every machine
    to rounding. ``images``: an ImageSet or an array ``[N, *image_shape]``.
    """
    model = model_or_run if isinstance(model_or_run, GMVAE) else model_or_run.model
    return embed(model, images, batch_size, device, progress)[0]
