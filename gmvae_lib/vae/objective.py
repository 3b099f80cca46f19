"""The training objective: the ELBO, exact over the K components, and the terms that compare two
views of an image: consistency and contrast.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from gmvae_lib.vae.distributed import draw
from gmvae_lib.vae.model import GMVAE, LOG_VARIANCE_RANGE, Encoded, at_least_float32

LOG_2_PI = math.log(2 * math.pi)
ENTROPY_WEIGHT = 1.5  # of the marginal entropies in the consistency; above 1 keeps clusters in use
TEMPERATURE = 0.2  # of the contrast; a smaller one looks harder at the most similar images


@dataclass
class ElboTerms:
    """The ELBO of each image and its parts, in nats, each [B].

    elbo = reconstruction - kl_z - kl_c, with
    reconstruction = sum_c q(c|x) E_q(z|x,c) log p(x|z),
    kl_z = sum_c q(c|x) KL(q(z|x,c) || p(z|c)),  kl_c = KL(q(c|x) || pi).
    """

    reconstruction: torch.Tensor
    kl_z: torch.Tensor
    kl_c: torch.Tensor

    @property
    def elbo(self) -> torch.Tensor:
        return self.reconstruction - self.kl_z - self.kl_c


def gaussian_kl(mean, log_variance, prior_mean, prior_log_variance) -> torch.Tensor:
    """KL(N(mean, e^log_variance) || N(prior)), diagonal, summed over the last axis, in nats.

    Shapes broadcast. Kingma & Welling 2013, appendix B, with a general prior.
    """
    ratio = (log_variance - prior_log_variance).exp()
    distance = (mean - prior_mean).square() * (-prior_log_variance).exp()
    return 0.5 * (ratio + distance - 1 - log_variance + prior_log_variance).sum(-1)


def gaussian_kl_table(mean, log_variance, prior_mean, prior_log_variance) -> torch.Tensor:
    """KL of each of B Gaussians to each of K: [B, D] and [K, D] -> [B, K], as three products.

    The same number as `gaussian_kl` on expanded arrays, without the [B, K, D] memory, and

    .. warning::
        in float32 only to cancellation: where prior variances are small, the three products are
        large and nearly cancel. The error is about 0.004 nats at a log-variance of -4, 0.1 at -7
        and, of 32 nats, up to 6 at the clamp of -10.
    """
    precision = (-prior_log_variance).exp()  # [K, D]
    second_moment = log_variance.exp() + mean.square()  # [B, D]
    quadratic = (
        second_moment @ precision.T
        - 2 * mean @ (precision * prior_mean).T
        + (precision * prior_mean.square()).sum(1)
    )
    constant = prior_log_variance.sum(1) - prior_mean.shape[1]
    return 0.5 * (quadratic + constant - log_variance.sum(1, keepdim=True))


def elbo(model: GMVAE, x: torch.Tensor, encoded: Encoded, generator=None, noise=None) -> ElboTerms:
    """The ELBO of images x [B, P], the sum over c exact, one draw of z a term.

    "heads": K decodes an image, one for each q(z|x, c).
    "shared": q(z|x) does not depend on c, so the sum over c is in closed form and one decode
    serves all components.

    generator : of the draws; or the draws themselves, noise, of `noise_shape`.
    """
    log_q = F.log_softmax(at_least_float32(encoded.logits), dim=1)  # [B, K]
    if noise is None:
        noise = draw(torch.randn, encoded.mean.shape, generator)
    z = encoded.mean + (0.5 * encoded.log_variance).exp() * noise.to(encoded.mean)
    prior = model.prior_mean, model.prior_log_variance.clamp(*LOG_VARIANCE_RANGE)
    log_p = log_likelihood_of_codes(model, z, x)
    with torch.autocast(x.device.type, enabled=False):
        q = log_q.exp()
        if model.config.posterior == "heads":
            kl = gaussian_kl(encoded.mean, encoded.log_variance, *prior)  # [B, K]
            reconstruction = (q * log_p).sum(1)
        else:
            kl = gaussian_kl_table(encoded.mean, encoded.log_variance, *prior)  # [B, K]
            reconstruction = log_p
        kl_c = (q * (log_q - model.log_weights)).sum(1)
        return ElboTerms(reconstruction, (q * kl).sum(1), kl_c)


def noise_shape(config, n: int) -> tuple[int, ...]:
    """Shape of the standard normal draws behind z of n images: [n, K, D] or [n, D]."""
    return (n, config.K, config.z_dim) if config.posterior == "heads" else (n, config.z_dim)


def plain_elbo(model: GMVAE, x: torch.Tensor, noise: torch.Tensor):
    """`elbo` of K heads and Bernoulli pixels in plain operations, which torch.compile fuses.

    Returns
    -------
    (logits of q(c|x), ElboTerms)
    """
    config = model.config
    h = model.encoder(x)
    logits = model.cluster(h)
    log_q = F.log_softmax(at_least_float32(logits), dim=1)
    shape = (len(x), config.K, config.z_dim)
    mean = at_least_float32(model.mean(h)).view(shape)
    log_variance = at_least_float32(model.log_variance(h)).view(shape).clamp(*LOG_VARIANCE_RANGE)
    z = mean + (0.5 * log_variance).exp() * noise
    log_p = bernoulli_log_likelihood(model.decode(z), x[:, None])
    prior = model.prior_mean, model.prior_log_variance.clamp(*LOG_VARIANCE_RANGE)
    kl = gaussian_kl(mean, log_variance, *prior)
    q = log_q.exp()
    kl_c = (q * (log_q - model.log_weights)).sum(1)
    return logits, ElboTerms((q * log_p).sum(1), (q * kl).sum(1), kl_c)


def log_likelihood(model: GMVAE, decoded, x) -> torch.Tensor:
    """log p(x|z) in nats, a density if Gaussian, from the decoder's output: [..., P] -> [...]."""
    if model.config.likelihood == "gaussian":
        log_variance = model.noise_log_variance.clamp(*LOG_VARIANCE_RANGE)
        return gaussian_log_likelihood(decoded, log_variance, x)
    return bernoulli_log_likelihood(decoded, x)


def log_likelihood_of_codes(model: GMVAE, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`log_likelihood` of images x [B, P] given codes z [B, ..., D], decoded here: [B, ...]."""
    if model.config.likelihood == "gaussian":
        decoded = model.decode(z)
        with torch.autocast(x.device.type, enabled=False):
            return log_likelihood(model, decoded, x.view(len(x), *(1,) * (z.ndim - 2), -1))
    *hidden, last = model.decoder
    for layer in hidden:
        z = layer(z)
    return _LinearBernoulli.apply(z, last.weight, last.bias, x)


def gaussian_log_likelihood(mean, log_variance, x) -> torch.Tensor:
    """log density in nats of N(mean, e^log_variance I) at x: [..., P] -> [...].

    log_variance : of every value, one number.
    """
    squares = (x - at_least_float32(mean)).square().sum(-1)
    return -0.5 * (squares * (-log_variance).exp() + x.shape[-1] * (LOG_2_PI + log_variance))


def bernoulli_log_likelihood(logits, x) -> torch.Tensor:
    """sum over pixels of x log p + (1 - x) log(1 - p), p = sigmoid(logits): [..., P] -> [...].

    As x * logit - softplus(logit): stable, and needs no expanded copy of x.
    """
    logits = at_least_float32(logits)
    return (x * logits - F.softplus(logits)).sum(-1)


class _LinearBernoulli(torch.autograd.Function):
    """The decoder's last layer and `bernoulli_log_likelihood` of its logits, as one operation.

    Written as two, they move [B, K, P] numbers in float32 through memory ten times, which takes a
    quarter of a K-head step. Here the logits are made once, in the precision of the product, and a
    cache-sized piece at a time is replaced by what the gradient needs: x - sigmoid(logits).
    """

    PIECE = 1 << 17  # logits at a time on a CPU: in float32, half a core's second-level cache

    @staticmethod
    def forward(ctx, a, weight, bias, x):
        if ctx.needs_input_grad[3]:
            raise NotImplementedError("the gradient of the likelihood in x")
        # autocast has no say inside: the hidden layer's type decides, sums are at least float32
        with torch.autocast(a.device.type, enabled=False):
            weight, bias = weight.to(a.dtype), bias.to(a.dtype)
            logits = F.linear(a.flatten(1, -2) if a.ndim > 2 else a[:, None], weight, bias)
            n_images, n, n_pixels = logits.shape  # n codes an image
            value = a.new_empty(n_images, n, dtype=torch.promote_types(a.dtype, torch.float32))
            images = n_images if a.is_cuda else max(1, _LinearBernoulli.PIECE // (n * n_pixels))
            for start in range(0, n_images, images):
                rows = slice(start, start + images)
                wide, seen = logits[rows].to(value.dtype), x[rows].to(value.dtype)
                value[rows] = torch.bmm(wide, seen[..., None])[..., 0] - F.softplus(wide).sum(-1)
                logits[rows] = seen[:, None] - wide.sigmoid()
        ctx.save_for_backward(a, weight, logits)
        return value.view(a.shape[:-1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        a, weight, residual = ctx.saved_tensors
        with torch.autocast(a.device.type, enabled=False):
            g = (residual * gradient.reshape(*residual.shape[:2], 1).to(a.dtype)).flatten(0, 1)
            bias = g.sum(0, dtype=gradient.dtype)
            return (
                (g @ weight).view(a.shape),
                (g.T @ a.flatten(0, -2)).to(gradient.dtype),
                bias,
                None,
            )


def mutual_information(q1, q2, entropy_weight: float = 1.0) -> torch.Tensor:
    """Mutual information, in nats, between the clusters of two views of the same images.

    I(c; c') under P(c, c'), the mean over the batch of q1(c) q2(c'), symmetrised
    (Ji et al. 2019, eq. 3). With ``entropy_weight`` w the value is
    w (H(c) + H(c')) - H(c, c'): w > 1 asks for evenly used clusters. q1, q2: [B, K].
    """
    joint = q1.T @ q2 / len(q1)
    joint = ((joint + joint.T) / 2).clamp_min(torch.finfo(torch.float32).tiny)
    marginal = joint.sum(0)
    joint_entropy = -(joint * joint.log()).sum()
    return -2 * entropy_weight * (marginal * marginal.log()).sum() - joint_entropy


def consistency(
    model: GMVAE, first: torch.Tensor, second: torch.Tensor, entropy_weight: float = ENTROPY_WEIGHT
):
    """Mean over the heads (q(c|x) and the auxiliary ones) of the weighted mutual information.

    first, second : features [B, F] of two views of the same images.
    Returns (value to maximise, plain mutual information of q(c|x) in nats, detached).
    """
    heads = (model.cluster, *model.auxiliary)
    pairs = [[at_least_float32(head(h)).softmax(1) for h in (first, second)] for head in heads]
    # the joint table sums many small products: float32, also where the networks run in bf16
    with torch.autocast(first.device.type, enabled=False):
        weighted = [mutual_information(q1, q2, entropy_weight) for q1, q2 in pairs]
        value = sum(weighted[1:], weighted[0]) / len(weighted)
        plain = mutual_information(pairs[0][0].detach(), pairs[0][1].detach())
    return value, plain


def contrast(
    model: GMVAE, first: torch.Tensor, second: torch.Tensor, temperature: float = TEMPERATURE
) -> torch.Tensor:
    """Mean log probability, in nats, of finding an image's other view among the 2B - 1 others.

    first, second : features [B, F] of two views of the same images.

    The normalised-temperature cross-entropy of Chen et al. 2020 (SimCLR, eq. 1), negated: 0 at
    best. It pulls the features of two views together and pushes those of other images away, one
    image at a time, where the clusters only see groups.
    """
    n = len(first)
    p = model.projection(torch.cat([first, second]))  # [2B, P]
    with torch.autocast(p.device.type, enabled=False):
        p = F.normalize(at_least_float32(p), dim=1)
        similarity = p @ p.T / temperature
        similarity.fill_diagonal_(-torch.inf)
        rows = torch.arange(2 * n, device=p.device)
        return -F.cross_entropy(similarity, (rows + n) % (2 * n))
