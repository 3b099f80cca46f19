"""The training objective: the ELBO, exact over the K components or truncated with a stated bound,
and the terms that compare two views: consistency and contrast.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from gmvae_lib.vae.distributed import draw, on_device
from gmvae_lib.vae.model import GMVAE, LOG_VARIANCE_RANGE, Encoded, at_least_float32

LOG_2_PI = math.log(2 * math.pi)


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
    discarded: torch.Tensor | None = None  # mass of q(c|x) that a truncation left out
    loss_bound: torch.Tensor | None = None  # the most that the exact ELBO can lie above, nats

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

    The same number as ``gaussian_kl`` on expanded arrays without the [B, K, D] memory.
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


def elbo(
    model: GMVAE, x: torch.Tensor, encoded: Encoded, generator=None, top: int | None = None
) -> ElboTerms:
    """The ELBO of images x [B, P], the sum over c exact, one draw of z a term.

    "heads": K decodes an image, one for each q(z|x, c), or ``top`` of them, or those that
    ``encoded`` has kept: see `truncated_elbo`.
    "shared": q(z|x) does not depend on c, so the sum over c is in closed form and one decode
    serves all components.
    """
    log_q = F.log_softmax(at_least_float32(encoded.logits), dim=1)  # [B, K]
    generator = on_device(generator, encoded.mean.device)
    noise = draw(torch.randn, encoded.mean.shape, generator).to(encoded.mean)
    z = encoded.mean + (0.5 * encoded.log_variance).exp() * noise  # [B, D] or [B, K, D]
    prior = model.prior_mean, model.prior_log_variance.clamp(*LOG_VARIANCE_RANGE)
    heads = model.config.posterior == "heads"
    if encoded.kept is not None:
        kl = _kl(encoded, [part[encoded.kept] for part in prior])
        return truncated_elbo(model, x, log_q, encoded.kept, z, kl)
    if heads and top and top < model.config.K:
        kept = log_q.detach().topk(top, dim=1).indices  # [B, top]
        kl = _kl(encoded, prior)
        z = z.gather(1, kept[..., None].expand(-1, -1, z.shape[-1]))
        return truncated_elbo(model, x, log_q, kept, z, kl.gather(1, kept), kl.detach())
    log_p = log_likelihood_of_codes(model, z, x)
    with torch.autocast(x.device.type, enabled=False):
        q = log_q.exp()
        if heads:
            kl = _kl(encoded, prior)  # [B, K]
            reconstruction = (q * log_p).sum(1)
        else:
            kl = gaussian_kl_table(encoded.mean, encoded.log_variance, *prior)  # [B, K]
            reconstruction = log_p
        kl_c = (q * (log_q - model.log_weights)).sum(1)
        return ElboTerms(reconstruction, (q * kl).sum(1), kl_c)


def _kl(encoded: Encoded, prior) -> torch.Tensor:
    with torch.autocast(encoded.mean.device.type, enabled=False):
        return gaussian_kl(encoded.mean, encoded.log_variance, *prior)


def truncated_elbo(model: GMVAE, x, log_q, kept, z, kl, kl_of_all=None) -> ElboTerms:
    """The ELBO of q~(c|x): q(c|x) cut to its likeliest components and normalised again.

    q~ is a posterior like any other, so this is itself a lower bound of log p(x), at one decode
    a kept component. With eps the discarded mass, A_c = E log p(x|z) - KL_c + log pi_c and
    F(p) = sum p_c (A_c - log p_c), the exact ELBO is F(q) = (1 - eps) F(q~) + eps F(r) + h(eps),
    where r is the discarded part, normalised, and h the binary entropy. log p(x|z) is at most M
    (`greatest_log_likelihood`; 0 for Bernoulli pixels), so F(r) <= M + log sum_discarded
    pi_c exp(-KL_c) = U, which needs no decode: exact - truncated <= eps (U - truncated) + h(eps),
    the field ``loss_bound``. Without KL_c of the discarded, whose heads then need not be computed,
    0 stands for it: a looser bound.

    Parameters
    ----------
    log_q : [B, K], log q(c|x). kept : int [B, top]. z : [B, top, D], one draw each.
    kl : [B, top], KL(q(z|x,c) || p(z|c)). kl_of_all : [B, K], the same for every component.
    """
    log_p = log_likelihood_of_codes(model, z, x)
    with torch.autocast(x.device.type, enabled=False):
        log_kept = log_q.gather(1, kept)
        log_mass = log_kept.logsumexp(1, keepdim=True)
        q = (log_kept - log_mass).exp()
        log_weights = model.log_weights
        reconstruction = (q * log_p).sum(1)
        kl_z = (q * kl).sum(1)
        kl_c = (q * (log_kept - log_mass - log_weights[kept])).sum(1)
        terms = ElboTerms(reconstruction, kl_z, kl_c)
        with torch.no_grad():
            most = log_weights.expand_as(log_q) if kl_of_all is None else log_weights - kl_of_all
            others = most.scatter(1, kept, -torch.inf)
            # summed over the discarded, not 1 - kept: exact also where it is tiny
            eps = log_q.scatter(1, kept, -torch.inf).exp().sum(1).clamp(0, 1)
            terms.discarded = eps
            entropy = torch.special.entr(eps) - torch.special.xlog1py(1 - eps, -eps)
            most = others.logsumexp(1) + greatest_log_likelihood(model)
            terms.loss_bound = eps * (most - terms.elbo).clamp_min(0) + entropy
    return terms


def log_likelihood(model: GMVAE, decoded, x) -> torch.Tensor:
    """log p(x|z) in nats, a density if Gaussian, from what the model's decoder says: [...]."""
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


def greatest_log_likelihood(model: GMVAE):
    """The most that log p(x|z) can be, for any x and z: 0, or where the density has its mode."""
    if model.config.likelihood == "gaussian":
        log_variance = model.noise_log_variance.clamp(*LOG_VARIANCE_RANGE)
        return -0.5 * model.config.n_pixels * (LOG_2_PI + log_variance)
    return 0.0


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


def consistency(model: GMVAE, first: torch.Tensor, second: torch.Tensor, entropy_weight: float):
    """Mean over the heads (q(c|x) and the auxiliary ones) of the weighted mutual information.

    first, second : features [B, F] of two views of the same images.
    Returns (value to maximise, plain mutual information of q(c|x) in nats, detached).
    """
    heads = (model.cluster, *model.auxiliary)
    pairs = [[at_least_float32(head(h)).softmax(1) for h in (first, second)] for head in heads]
    # the joint table sums many small products: float32, also where the networks run in bf16
    with torch.autocast(first.device.type, enabled=False):
        value = sum(mutual_information(*pair, entropy_weight) for pair in pairs) / len(pairs)
        plain = mutual_information(*(q.detach() for q in pairs[0]))
    return value, plain


def contrast(
    model: GMVAE, first: torch.Tensor, second: torch.Tensor, temperature: float
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
