"""The benchmarks' own arithmetic, on sizes that take no time; what they measure is not tested."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import growth, step, tasks, training
from benchmarks.clock import medians, profile
from gmvae_lib import GMVAE, GMVAEConfig
from gmvae_lib.study import figures
from gmvae_lib.vae import objective


def test_the_exponent_is_that_of_a_power_law():
    sizes = np.array([10, 20, 50, 100])
    assert growth.exponent(sizes, 3.0 * sizes**1.7) == pytest.approx(1.7)


def test_memory_counts_what_the_work_takes_and_not_what_was_there(monkeypatch):
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc: the process's whole peak stands for the work's memory")
    before = np.ones(30_000_000, np.uint8)

    def task(size):
        return lambda: sum(np.ones(size, np.uint8)[:: 1 << 12].sum() for _ in range(20))

    found = tasks.measure_here(task, 80_000_000)
    assert 60e6 < found["bytes"] < 110e6 and found["seconds"] > 0 and before.all()


def test_flops_are_six_a_weight_and_use():
    """Against torch's own count of the products, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    model = GMVAE(GMVAEConfig(K=3, z_dim=2, encoder_hidden=(8,), decoder_hidden=(8,)))
    x = torch.rand(step.BATCH, 784)
    with FlopCounterMode(display=False) as counted:
        loss = -objective.elbo(model, x, model.encode(x)).elbo.mean()
        loss.backward()
    first = model.encoder[0].weight.numel()  # no gradient in x
    expected = step.flops(model, 3) - 2 * step.BATCH * first
    pixels = 2 * step.BATCH * 3 * 784  # the likelihood's product of logits and image
    assert counted.get_total_flops() == pytest.approx(expected + pixels, rel=1e-6)


def test_flops_of_the_preset_best_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    of = tasks.trainer("best", batch_size=20)
    with FlopCounterMode(display=False) as counted:
        tasks.one_step(of)
    # besides the layers' products: joint tables and similarities; and no gradient in the images
    assert training.best_flops(of) == pytest.approx(counted.get_total_flops(), rel=0.1)


def test_the_form_in_two_operations_is_the_same_step(monkeypatch):
    model = GMVAE(GMVAEConfig(K=3, z_dim=2, encoder_hidden=(8,), decoder_hidden=(8,)))
    x = torch.rand(4, 784)

    def loss():
        return objective.elbo(model, x, model.encode(x), torch.Generator().manual_seed(0)).elbo

    expected = loss()
    monkeypatch.setattr(objective, "log_likelihood_of_codes", step.two_operations)
    torch.testing.assert_close(loss(), expected)


def test_profile_names_the_largest_parts():
    a = torch.rand(300, 300)
    found = profile(lambda: (a @ a, a + 1), top=2)
    assert found[0][0] in ("aten::mm", "aten::add") and 0 < found[0][1] <= 1
    assert len(medians(lambda: None, lambda: None, repeats=1)) == 2


def test_the_drawn_growth_shows_each_task_and_exponent():
    points = [{"size": n, "seconds": n / 10, "bytes": 1e6 * n} for n in (1, 2, 5, 10)]
    rows = [
        {"task": task, "variable": "N", "measured": measured, "value": value, "points": points}
        for task, value in (("epoch", 1.23), ("decode", 0.45))
        for measured in ("seconds", "bytes")
    ]
    fig = figures.growth(rows)
    fig.canvas.draw()
    texts = [text.get_text() for ax in fig.axes for text in ax.texts]
    assert sorted(texts) == ["0.45", "0.45", "1.23", "1.23"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["epoch (N)", "decode (N)"]
