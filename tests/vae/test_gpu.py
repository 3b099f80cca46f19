"""Training and posteriors on a GPU, and for each such test its twin on the CPU.

On the CPU a block of steps is "captured" by remembering its batches and "replayed" by going through
the steps again: all but CUDA itself is then the code of the GPU. This file needs no other of the
tests, so that it runs where only torch and pytest are installed (``benchmarks.gpu``).
"""

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gmvae_lib import GMVAE, InputError, cluster_posterior, fit, load_run, preset
from gmvae_lib.vae import checkpoints, graphs, rows, training
from gmvae_lib.vae.device import default_device
from gmvae_lib.vae.model import embed, embed_batches
from gmvae_lib.vae.training import BAD_BATCH, Trainer

on_gpu = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
)
DEVICES = ["cpu", pytest.param("cuda", marks=on_gpu)]
each_device = pytest.mark.parametrize("device", DEVICES)
NAMES = ("paper", "best", "both", "rows")


def job(name):
    """Images or rows, and configurations that pass through every phase in a second."""
    model, course = preset("quick")
    model = replace(
        model, K=6, z_dim=3, channels=(4, 8), features=12, auxiliary=(9,), projection=5, style=8,
        decoder_hidden=(16,),
    )  # fmt: skip
    course = replace(
        course, epochs=5, batch_size=10, generative_epochs=3, neighbours=3, neighbours_from=2,
        neighbours_every=2, precision="float32",
    )  # fmt: skip
    if name == "both":
        course = replace(course, elbo_weight=0.05, generative_epochs=0)
    if name == "rows":
        model = replace(
            model, image_shape=(12,), encoder="mlp-bn", encoder_hidden=(9,), likelihood="gaussian"
        )
        x = np.random.default_rng(1).normal(size=(125, 12)).astype(np.float32)
        return x, model, course
    if name == "paper":
        model, course = preset("paper", epochs=4, batch_size=10, precision="float32")
        model = replace(model, K=4, z_dim=3, encoder_hidden=(16, 16), decoder_hidden=(16,))
    return squares(), model, course


def squares(n=125):
    """Squares of different places and sizes: 12 steps of 10 an epoch, and five left over."""
    rng = np.random.default_rng(0)
    images = np.zeros((n, 28, 28), np.uint8)
    for image in images:
        top, left, size = rng.integers(0, 14), rng.integers(0, 14), rng.integers(4, 14)
        image[top : top + size, left : left + size] = rng.integers(80, 256)
    return images


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def float64():
    """Networks, draws and optimizers in double precision: only a real difference shows."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def captures(monkeypatch):
    """The number of steps in each graph captured; on the CPU a graph is a list of batches."""
    lengths, capture = [], graphs.capture

    def counted(step, batches, stream):
        lengths.append(len(batches))
        if stream is not None:
            return capture(step, batches, stream)
        return SimpleNamespace(replay=lambda: [step(batch) for batch in batches])

    monkeypatch.setattr(graphs, "capture", counted)
    monkeypatch.setattr(training, "block_length", lambda n: 4)
    return lengths


def trained(name, device, graphed, plain=False, **changes):
    """A trainer at its end, and its history without the clock."""
    x, model, course = job(name)
    trainer = Trainer(x, model, replace(course, **changes), device, graphed)
    if not plain:
        trainer.loss.plain = None
    return finished(trainer)


def finished(trainer):
    for _ in trainer.run():
        pass
    return trainer, curve(trainer)


def curve(trainer):
    names = sorted({name for row in trainer.history for name in row} - {"seconds"})
    return np.array([[row.get(name, np.nan) for name in names] for row in trainer.history])


def assert_same(found, expected, rtol=1e-6, atol=1e-9):
    """The same weights and history. A float32 learning rate and tables of q leave 1e-7."""
    np.testing.assert_allclose(curve(found), curve(expected), rtol=1e-5, atol=1e-7)
    state = expected.model.state_dict()
    for key, value in found.model.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=rtol, atol=atol, msg=key)


@each_device
@pytest.mark.parametrize("name", NAMES)
def test_graphs_train_as_single_steps_do(device, name, captures, float64):
    eager, _ = trained(name, device, False)
    assert not captures
    graphed, _ = trained(name, device, True)
    # the joint phase, the same with neighbours, the generative phase
    assert captures == [4] * {"paper": 1, "both": 2}.get(name, 3)
    assert_same(graphed, eager, rtol=1e-4, atol=1e-6)


@each_device
def test_the_compiled_objective_trains_as_the_eager_one_does(device, captures, float64):
    eager, _ = trained("paper", device, False)
    x, model, course = job("paper")
    trainer = Trainer(x, model, course, device, True)
    if device == "cpu":  # compiling for a CPU takes minutes: traced and differentiated only
        from gmvae_lib.vae.loss import _plain_means

        trainer.loss.plain = torch.compile(_plain_means, backend="aot_eager", fullgraph=True)
    compiled, _ = finished(trainer)
    assert trainer.loss.plain is not None and captures == [4]
    assert_same(compiled, eager, rtol=1e-4, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_fast_form_is_the_float32_one_to_bf16():
    """At the preset's own sizes: graphs, compiled, bf16 against eager float32, 30 steps."""
    model, course = preset("paper", epochs=1)
    x = np.repeat(squares(), 31, axis=0)[: 30 * 128]
    losses = []
    for graphed, precision in ((None, "auto"), (False, "float32")):
        trainer = Trainer(x, model, replace(course, precision=precision), "cuda", graphed)
        losses.append(finished(trainer)[0].history[-1]["loss"])
        assert graphed is False or trainer.loss.plain is not None
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


@each_device
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stop", [8, 28, 64])
def test_a_resumed_training_ends_as_an_uninterrupted_one(
    device, name, stop, captures, float64, tmp_path
):
    whole, _ = trained(name, device, True)
    if stop >= whole.n_steps:
        pytest.skip("this course is shorter")
    x, model, course = job(name)
    first = Trainer(x, model, course, device, True)
    second = Trainer(x, model, course, device, True)
    first.loss.plain = second.loss.plain = None
    blocks = first.run()
    while first.step < stop:
        next(blocks)
    about = {"data": {"name": "squares"}}
    with first.on_stream():
        checkpoints.save(first, tmp_path / "c", about, 0.5)
    checkpoints.load(second, tmp_path / "c", about)
    assert second.step == stop and stop % whole.steps_per_epoch  # in mid-epoch
    resumed, _ = finished(second)
    assert_same(resumed, whole, rtol=1e-4, atol=1e-6)


@each_device
def test_images_that_do_not_fit_are_streamed(device, captures, float64, monkeypatch):
    resident, _ = trained("best", device, True)
    monkeypatch.setattr(rows, "SHARE_OF_MEMORY", 0.0)
    streamed, _ = trained("best", device, True)
    assert streamed.images.resident is None
    assert (resident.images.resident is not None) == (device == "cuda")
    assert_same(streamed, resident, rtol=1e-4, atol=1e-6)


@each_device
def test_where_capturing_fails_one_line_says_so(device, monkeypatch, caplog, float64):
    def fails(*_):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    eager, _ = trained("paper", device, False)
    monkeypatch.setattr(graphs, "capture", fails)
    monkeypatch.setattr(training, "block_length", lambda n: 4)
    with caplog.at_level(logging.WARNING, "gmvae_lib"):
        graphed, _ = trained("paper", device, True)
    assert [r.getMessage() for r in caplog.records] == [
        "CUDA graph failed (operation not permitted when stream is capturing); training without it"
    ]
    assert_same(graphed, eager, rtol=1e-4, atol=1e-6)


@each_device
def test_where_compiling_fails_one_line_says_so(device, captures, caplog, float64):
    def fails(*_):
        raise RuntimeError("no compiler")

    eager, _ = trained("paper", device, False)
    x, model, course = job("paper")
    trainer = Trainer(x, model, course, device, True)
    trainer.loss.plain = fails
    with caplog.at_level(logging.WARNING, "gmvae_lib"):
        finished(trainer)
    assert [r.getMessage() for r in caplog.records] == [
        "torch.compile failed (no compiler); training without it"
    ]
    assert trainer.loss.plain is None and captures == [4]
    assert_same(trainer, eager, rtol=1e-4, atol=1e-6)


@each_device
def test_a_loss_that_is_no_number_names_its_step(device, captures, tmp_path):
    """Within a graph nothing is read back: the epoch goes on, and the first such step is known."""
    x, model, course = job("paper")
    trainer = Trainer(x, model, course, device, True)
    trainer.loss.plain = None
    blocks = trainer.run(tmp_path, {"data": {}})
    while trainer.step < 16:
        next(blocks)
    with trainer.on_stream(), torch.no_grad():
        trainer.model.cluster.bias[0] = float("nan")
    expected = trainer.rows(16)
    with pytest.raises(FloatingPointError, match=rf"{BAD_BATCH} .*found nan or inf at step 16"):
        for _ in blocks:
            pass
    with np.load(tmp_path / BAD_BATCH, allow_pickle=False) as kept:
        assert kept["step"] == 16
        np.testing.assert_array_equal(kept["rows"], expected)
        np.testing.assert_array_equal(kept["images"], x[expected])


@each_device
def test_a_run_of_one_device_gives_the_same_posterior_on_another(device, tmp_path):
    x, model, course = job("best")
    run = fit(x, model, course, out=tmp_path / "run", device=device)
    back = load_run(tmp_path / "run")
    assert back.provenance["training"]["device"] == device
    here = cluster_posterior(back, x, device="cpu")
    np.testing.assert_allclose(cluster_posterior(run, x, device=device), here, atol=1e-4)
    other = fit(x, model, course, device="cpu")
    np.testing.assert_allclose(
        cluster_posterior(other, x, device=device), cluster_posterior(other, x, device="cpu"),
        atol=1e-4,
    )  # fmt: skip


@each_device
def test_the_callers_state_stays_as_it_was(device):
    """Random states, and the model's device and mode, also when a loop over batches is left."""
    states = [torch.get_rng_state()]
    if device == "cuda":
        torch.cuda.manual_seed(5)
        states.append(torch.cuda.get_rng_state())
    x, model, course = job("best")
    fit(x, model, course, device=device)
    assert torch.equal(torch.get_rng_state(), states[0])
    if device == "cuda":
        assert torch.equal(torch.cuda.get_rng_state(), states[1])
    model = GMVAE(model)
    model.encoder.dense.eval()  # one part unlike the others
    modes = {name: module.training for name, module in model.named_modules()}
    embed(model, x, device=device)
    cluster_posterior(model, x, device=device)
    for _ in embed_batches(model, x, 50, device):
        break
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_a_gpu_without_memory_left_is_one_line(monkeypatch, tmp_path):
    """By a fake: the real error's text, from the middle of a step."""

    def full(*_):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...\n"
        )

    x, model, course = job("paper")
    monkeypatch.setattr(Trainer, "train_on", full)
    expected = (
        r"batch_size: found 10, for which the GPU has no memory left \(tried to allocate 2.00 GiB\)"
        "; expected a smaller batch size, or device cpu"
    )
    with pytest.raises(InputError, match=expected) as caught:
        fit(x, model, course, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    model = GMVAE(model)
    monkeypatch.setattr(model.encoder, "forward", full)
    with pytest.raises(InputError, match="batch_size: found 50, for which the GPU"):
        cluster_posterior(model, x, 50, device="cpu")


def test_the_fastest_device_is_the_default(monkeypatch):
    for cuda, mps, expected in (
        (True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu"),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert default_device().type == expected
        assert default_device("cpu").type == "cpu"


@pytest.mark.parametrize(("n", "expected"), [(781, 11), (1, 1), (17, 1), (200, 10), (32, 16)])
def test_a_block_divides_the_epoch(n, expected):
    assert graphs.block_length(n) == expected
