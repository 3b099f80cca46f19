"""The ELBO of a truncated posterior, and a bound on what the truncation loses (chapter 2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from gmvae_lib.vae.distributed import draw
from gmvae_lib.vae.model import GMVAE, LOG_VARIANCE_RANGE, Encoded, at_least_float32
from gmvae_lib.vae.objective import LOG_2_PI, ElboTerms, gaussian_kl, log_likelihood_of_codes


@dataclass
class TruncatedTerms(ElboTerms):
    """ELBO terms [B] of q(c|x) cut to a few components.

    discarded : mass of q(c|x) left out. loss_bound : how far the exact ELBO can lie above, nats.
    """

    discarded: torch.Tensor
    loss_bound: torch.Tensor


def truncated_elbo(
    model: GMVAE, x: torch.Tensor, encoded: Encoded, top: int, generator=None
) -> TruncatedTerms:
    """The ELBO of q~(c|x): q(c|x) of K heads, cut to its likeliest components and normalised again.

    q~ is a posterior like any other, so this is itself a lower bound of log p(x), at one decode
    a kept component. With eps the discarded mass, A_c = E log p(x|z) - KL_c + log pi_c and
    F(p) = sum p_c (A_c - log p_c), the exact ELBO is F(q) = (1 - eps) F(q~) + eps F(r) + h(eps),
    where r is the discarded part, normalised, and h the binary entropy. log p(x|z) is at most M
    (`greatest_log_likelihood`; 0 for Bernoulli pixels), so F(r) <= M + log sum_discarded
    pi_c exp(-KL_c) = U, which needs no decode: exact - truncated <= eps (U - truncated) + h(eps).

    Parameters
    ----------
    x : images [B, P]. encoded : of them, by K heads. top : components to keep, fewer than K.
    generator : of the draws of z, those of `objective.elbo` with a generator in the same state.
    """
    log_q = F.log_softmax(at_least_float32(encoded.logits), dim=1)  # [B, K]
    kept = log_q.detach().topk(top, dim=1).indices  # [B, top]
    noise = draw(torch.randn, encoded.mean.shape, generator).to(encoded.mean)
    z = encoded.mean + (0.5 * encoded.log_variance).exp() * noise
    z = z.gather(1, kept[..., None].expand(-1, -1, z.shape[-1]))
    prior = model.prior_mean, model.prior_log_variance.clamp(*LOG_VARIANCE_RANGE)
    kl = gaussian_kl(encoded.mean, encoded.log_variance, *prior)  # [B, K]
    log_p = log_likelihood_of_codes(model, z, x)
    log_kept = log_q.gather(1, kept)
    log_mass = log_kept.logsumexp(1, keepdim=True)
    q = (log_kept - log_mass).exp()
    log_weights = model.log_weights
    reconstruction = (q * log_p).sum(1)
    kl_z = (q * kl.gather(1, kept)).sum(1)
    kl_c = (q * (log_kept - log_mass - log_weights[kept])).sum(1)
    with torch.no_grad():
        others = (log_weights - kl).scatter(1, kept, -torch.inf)
        # summed over the discarded, not 1 - kept: exact also where it is tiny
        eps = log_q.scatter(1, kept, -torch.inf).exp().sum(1).clamp(0, 1)
        entropy = torch.special.entr(eps) - torch.special.xlog1py(1 - eps, -eps)
        most = others.logsumexp(1) + greatest_log_likelihood(model)
        bound = eps * (most - (reconstruction - kl_z - kl_c)).clamp_min(0) + entropy
    return TruncatedTerms(reconstruction, kl_z, kl_c, eps, bound)


def greatest_log_likelihood(model: GMVAE):
    """The most that log p(x|z) can be, for any x and z: 0, or where the density has its mode."""
    if model.config.likelihood == "gaussian":
        log_variance = model.noise_log_variance.clamp(*LOG_VARIANCE_RANGE)
        return -0.5 * model.config.n_pixels * (LOG_2_PI + log_variance)
    return 0.0
