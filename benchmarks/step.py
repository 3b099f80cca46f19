"""The training step of the K-head posterior at the article's sizes, and how near it is to the
machine's limit.

The baseline computes the same step as GMVAE code usually does it, written here from the equations:
float32, K pairs of linear heads one after the other, every image expanded K times beside its K
decodes, cross-entropy on probabilities.
"""

from unittest import mock

import torch

from gmvae_lib import GMVAE, preset
from gmvae_lib.vae import objective
from gmvae_lib.vae.device import fast_bf16
from gmvae_lib.vae.objective import elbo

from .clock import medians, profile, row
from .tasks import exact_step, measure, plain_loss, plain_step

BATCH = 128


def two_operations(model, z, x):
    """log p(x|z) as decode, then likelihood: what `objective._LinearBernoulli` joins."""
    return objective.log_likelihood(model, model.decode(z), x[:, None])


def flops(model, decodes: int) -> float:
    """Of the matrix products of one training step, forward and backward: 6 a weight and row.

    Of the heads, those of the components that are decoded.
    """

    def weights(module):
        return sum(p.numel() for p in module.parameters() if p.ndim == 2)

    heads = (weights(model.mean) + weights(model.log_variance)) * decodes / model.config.K
    encoder = weights(model.encoder) + weights(model.cluster) + heads
    return 6.0 * BATCH * (encoder + decodes * weights(model.decoder))


def matrix_peak(dtype=torch.bfloat16, size=2048) -> float:
    """FLOP/s of a large square product."""
    a = torch.randn(size, size).to(dtype)
    seconds = medians(lambda: a @ a, repeats=9)[0]
    return 2.0 * size**3 / seconds


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def rows():
    torch.manual_seed(0)
    model = GMVAE(preset("paper")[0])
    K, D = model.config.K, model.config.z_dim
    x = (torch.rand(BATCH, model.config.n_pixels) < 0.2).float()
    noise = torch.randn(BATCH, K, D, generator=torch.Generator().manual_seed(1))
    bf16 = fast_bf16(torch.device("cpu"))

    def plain():
        model.zero_grad()
        loss = plain_loss(model, x, noise)
        loss.backward()
        return loss.item()

    def ours():
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            generator = torch.Generator().manual_seed(1)  # draws the noise above
            loss = -elbo(model, x, model.encode(x), generator).elbo.mean()
        loss.backward()
        return loss.item()

    expected, reference = plain(), gradient_of(plain, model)
    found, computed = ours(), gradient_of(ours, model)
    base, exact = medians(plain, ours, repeats=5)
    with mock.patch.object(objective, "log_likelihood_of_codes", two_operations):
        before = profile(ours)
    after = profile(ours)
    peak = matrix_peak()
    memory = {
        name: measure(task, BATCH)["bytes"]
        for name, task in (("plain", plain_step), ("exact", exact_step))
    }
    return [
        row(
            "exact training step, K = 100, preset paper",
            "the plain float32 step: expand, decode 12,800 rows, cross-entropy of probabilities",
            base / exact, 8, seconds=exact, baseline_seconds=base,
            limit=base * peak / flops(model, K),
            bytes=memory["exact"], baseline_bytes=memory["plain"],
            profile_before=before, profile=after,
            loss_difference=abs(found - expected) / abs(expected),
            gradient_difference=((computed - reference).norm() / reference.norm()).item(),
        ),
        row(
            "FLOP/s of the exact training step", "a bf16 product of 2048 x 2048 matrices",
            flops(model, K) / exact / peak, 0.5, "share", flops=flops(model, K), peak=peak,
        ),
    ]  # fmt: skip


def gradient_of(step, model):
    step()
    return gradient(model).clone()
