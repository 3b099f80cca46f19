"""The training objective: the ELBO, exact over the K components, and the consistency term."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .model import GMVAE, LOG_VARIANCE_RANGE, Encoded, at_least_float32


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


def elbo(model: GMVAE, x: torch.Tensor, encoded: Encoded, generator=None) -> ElboTerms:
    """The ELBO of images x [B, H*W], the sum over c exact, one draw of z a term.

    "heads": K decodes an image, one for each q(z|x, c). "shared": q(z|x) does not depend on c,
    so the sum over c is in closed form and one decode serves all components.
    """
    log_q = F.log_softmax(at_least_float32(encoded.logits), dim=1)  # [B, K]
    q = log_q.exp()
    noise = torch.randn(encoded.mean.shape, generator=generator).to(encoded.mean)
    z = encoded.mean + (0.5 * encoded.log_variance).exp() * noise  # [B, D] or [B, K, D]
    logits = model.decode(z)
    prior = model.prior_mean, model.prior_log_variance.clamp(*LOG_VARIANCE_RANGE)
    with torch.autocast(x.device.type, enabled=False):
        if model.config.posterior == "shared":
            reconstruction = bernoulli_log_likelihood(logits, x)
            kl = gaussian_kl_table(encoded.mean, encoded.log_variance, *prior)  # [B, K]
        else:
            log_likelihood = bernoulli_log_likelihood(logits, x[:, None])  # [B, K]
            reconstruction = (q * log_likelihood).sum(1)
            kl = gaussian_kl(encoded.mean, encoded.log_variance, *prior)  # [B, K]
        kl_c = (q * (log_q - model.log_weights)).sum(1)
        return ElboTerms(reconstruction, (q * kl).sum(1), kl_c)


def bernoulli_log_likelihood(logits, x) -> torch.Tensor:
    """sum over pixels of x log p + (1 - x) log(1 - p), p = sigmoid(logits): [..., P] -> [...].

    As x * logit - softplus(logit): stable, and needs no expanded copy of x.
    """
    logits = at_least_float32(logits)
    return (x * logits - F.softplus(logits)).sum(-1)


def mutual_information(q1, q2, entropy_weight: float = 1.0) -> torch.Tensor:
    """Mutual information, in nats, between the clusters of two views of the same images.

    I(c; c') under P(c, c') = mean over the batch of q(c|view 1) q(c'|view 2), symmetrised
    (Ji et al. 2019, eq. 3). With ``entropy_weight`` w the value is
    w (H(c) + H(c')) - H(c, c'): w > 1 asks for evenly used clusters. q1, q2: [B, K].
    """
    joint = q1.T @ q2 / len(q1)
    joint = ((joint + joint.T) / 2).clamp_min(torch.finfo(torch.float32).tiny)
    marginal = joint.sum(0)
    joint_entropy = -(joint * joint.log()).sum()
    return -2 * entropy_weight * (marginal * marginal.log()).sum() - joint_entropy


def consistency(model: GMVAE, first: Encoded, second: Encoded, entropy_weight: float):
    """Mean over the heads (q(c|x) and the auxiliary ones) of the weighted mutual information.

    Returns (value to maximise, plain mutual information of q(c|x) in nats, detached).
    """

    def posterior(head, encoded):
        return head(encoded.features).float().softmax(1)

    pairs = [(first.logits.float().softmax(1), second.logits.float().softmax(1))]
    pairs += [(posterior(head, first), posterior(head, second)) for head in model.auxiliary]
    # the joint table sums many small products: float32, also where the networks run in bf16
    with torch.autocast(first.logits.device.type, enabled=False):
        value = sum(mutual_information(q1, q2, entropy_weight) for q1, q2 in pairs) / len(pairs)
        plain = mutual_information(*(q.detach() for q in pairs[0]))
    return value, plain
