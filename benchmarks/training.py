"""A joint training step of the preset best: its share of the machine's peak, and of data work."""

import torch

from gmvae_lib.vae.model import scaled
from gmvae_lib.vae.training import Trainer
from gmvae_lib.vae.views import flat_view

from .clock import medians, profile, row
from .step import matrix_peak
from .tasks import measure, one_step, trainer, training_step


def best_flops(of: Trainer) -> float:
    """Of the products of one joint step of the preset best: 6 a weight and use, 2 views."""
    sizes = {}

    def remember(module, _, output):
        sizes[module] = output.numel() // output.shape[1]  # positions x images

    layers = (torch.nn.Conv2d, torch.nn.Linear)
    hooks = [m.register_forward_hook(remember) for m in of.model.modules() if isinstance(m, layers)]
    one_step(of)
    for hook in hooks:
        hook.remove()
    # each weight multiplies once a position, forward, and twice backward; a head is called for
    # each view, and the hook saw the last
    heads = {of.model.cluster, *of.model.auxiliary}
    return sum(
        6.0 * m.weight.numel() * size * (2 if m in heads else 1) for m, size in sizes.items()
    )


def rows():
    best = trainer("best")

    def step():
        one_step(best)

    def data():
        x, shape = best.images.take(best.rows(0)), best.model.config.image_shape
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            flat_view(scaled(x), shape, generator)

    n_flops = best_flops(best)
    seconds, path = medians(step, data, repeats=5)
    peak = matrix_peak()
    return [
        row(
            "FLOP/s of the training step, preset best", "a bf16 product of 2048 x 2048 matrices",
            n_flops / seconds / peak, 0.3, "share", seconds=seconds, flops=n_flops, peak=peak,
            profile=profile(step, 10), bytes=measure(training_step, best.batch_size)["bytes"],
        ),
        row(
            "reading a batch and drawing its two views, preset best", "the whole training step",
            path / seconds, None, "share", seconds=path,
        ),
    ]  # fmt: skip
