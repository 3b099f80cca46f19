"""Training: determinism, resume bit for bit, labels unseen, every refusal."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from gmvae_lib import InputError, TrainConfig, cluster_posterior, fit, load_run, preset
from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.storage import load_tensors
from gmvae_lib.study.metrics import components_in_use, purity
from gmvae_lib.vae.config import for_shape
from gmvae_lib.vae.loss import Loss
from gmvae_lib.vae.model import as_batch
from gmvae_lib.vae.nearest import nearest
from gmvae_lib.vae.objective import elbo
from gmvae_lib.vae.rows import Rows, scratch
from gmvae_lib.vae.training import CHECKPOINT, Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny():
    """A configuration that trains in a second and passes through every phase of `best`."""
    model_config, train_config = preset("quick")
    return (
        replace(model_config, K=12, z_dim=4, channels=(4, 8), features=16, auxiliary=(24,)),
        replace(
            train_config,
            epochs=4,
            batch_size=100,
            generative_epochs=2,
            neighbours=5,
            neighbours_from=1,
            neighbours_every=2,
            checkpoint_every=3,
        ),
    )


@pytest.fixture(scope="module")
def few(letters):
    return letters.subset(slice(0, 430))  # 4 steps an epoch, 30 images left over


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


class Killed(Exception):
    pass


def kill_after(monkeypatch, n_steps):
    done = []
    advance = Trainer.advance

    def dying(self):
        if len(done) == n_steps:
            raise Killed
        done.append(1)
        return advance(self)

    monkeypatch.setattr(Trainer, "advance", dying)


def test_the_same_seed_gives_the_same_run(few, tiny):
    first, second = fit(few, *tiny), fit(few, *tiny)
    assert same(first.state, second.state)
    model_config, train_config = tiny
    other = fit(few, model_config, replace(train_config, seed=1))
    assert not same(first.state, other.state)


@pytest.mark.parametrize("n_steps", [2, 3, 4, 7, 11, 15])
def test_killed_and_resumed_ends_as_uninterrupted(few, tiny, tmp_path, monkeypatch, n_steps):
    whole = fit(few, *tiny)
    with monkeypatch.context() as patch:
        kill_after(patch, n_steps)
        with pytest.raises(Killed):
            fit(few, *tiny, out=tmp_path / "run")
    resumed = fit(few, *tiny, out=tmp_path / "run", resume=True)
    assert same(whole.state, resumed.state)
    times = {"seconds"}
    for a, b in zip(whole.history, resumed.history, strict=True):
        assert {k: v for k, v in a.items() if k not in times} == {
            k: v for k, v in b.items() if k not in times
        }
    assert not (tmp_path / "run" / CHECKPOINT).exists()
    assert same(load_run(tmp_path / "run").state, whole.state)


@pytest.mark.parametrize("shape", [(6, 5, 3), (20,)])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_colour_images_and_rows_resume_too(tiny, tmp_path, monkeypatch, shape, likelihood):
    model_config, train_config = tiny
    model_config = replace(for_shape(model_config, shape), likelihood=likelihood)
    x = np.random.default_rng(0).random((210, *shape), dtype=np.float32)
    whole = fit(x, model_config, train_config)
    with monkeypatch.context() as patch:
        kill_after(patch, 11)  # in the generative epochs
        with pytest.raises(Killed):
            fit(x, model_config, train_config, out=tmp_path / "run")
    resumed = fit(x, model_config, train_config, out=tmp_path / "run", resume=True)
    assert same(whole.state, resumed.state)
    back = load_run(tmp_path / "run")
    assert back.model_config == model_config and same(back.state, whole.state)
    assert np.array_equal(cluster_posterior(back, x), cluster_posterior(whole, x))


def test_gaussian_elbo_rises_on_rows_and_learns_the_noise():
    """Two groups of points in the plane: the noise's variance goes down to that of the groups."""
    rng = np.random.default_rng(0)
    x = np.repeat([[-1.0, -1.0], [1.0, 1.0]], 200, axis=0) + 0.1 * rng.normal(size=(400, 2))
    model_config, train_config = preset("paper", epochs=150, batch_size=100, prior_rate=10.0)
    model_config = replace(
        model_config, image_shape=(2,), likelihood="gaussian", K=2, z_dim=1,
        encoder_hidden=(32,), decoder_hidden=(32,),
    )  # fmt: skip
    run = fit(x, model_config, train_config)
    assert run.history[-1]["elbo"] > run.history[0]["elbo"] + 2
    # one dimension of z explains one of the two: between half of the variance and all of it
    assert 0.003 < np.exp(run.state["noise_log_variance"]) < 0.02


def test_labels_cannot_reach_training(few, tiny):
    rng = np.random.default_rng(0)
    shuffled = ImageSet(few.images, rng.permutation(few.labels), few.class_names, few.provenance)
    bare = few.images
    state = fit(few, *tiny).state
    assert same(state, fit(shuffled, *tiny).state)
    assert same(state, fit(bare, *tiny).state)


def test_paper_form_trains(few):
    """K heads, ELBO only: the objective rises."""
    model_config, train_config = preset("paper", epochs=6, batch_size=64)
    model_config = replace(model_config, K=4, z_dim=5, encoder_hidden=(32,), decoder_hidden=(32,))
    run = fit(few, model_config, train_config)
    assert run.history[-1]["elbo"] > run.history[0]["elbo"] + 20
    assert "mutual_information" not in run.history[0]


@pytest.mark.slow
def test_quick_preset_finds_letters(letters):
    """Clusters of rendered letters hold letters far above chance, and none is left unused."""
    model_config, train_config = preset("quick", n_images=len(letters))
    run = fit(letters, replace(model_config, K=40, auxiliary=(80,)), train_config)
    q = cluster_posterior(run, letters)
    chance = purity(q.argmax(1), np.random.default_rng(0).permutation(letters.labels))
    assert purity(q.argmax(1), letters.labels) > chance + 0.2
    assert components_in_use(q) >= 36


def test_finished_run_is_returned_or_refused(few, tiny, tmp_path):
    first = fit(few, *tiny, out=tmp_path / "run")
    again = fit(few, *tiny, out=tmp_path / "run", resume=True)
    assert same(first.state, again.state)
    with pytest.raises(InputError, match="found a finished run, expected a new folder"):
        fit(few, *tiny, out=tmp_path / "run")
    model_config, train_config = tiny
    with pytest.raises(InputError, match="found training.seed = 0, expected 5"):
        fit(few, model_config, replace(train_config, seed=5), out=tmp_path / "run", resume=True)
    with pytest.raises(InputError, match=r"found n = 430, expected 400|sha256"):
        fit(few.subset(slice(0, 400)), *tiny, out=tmp_path / "run", resume=True)


def test_unfinished_training_is_not_overwritten(few, tiny, tmp_path, monkeypatch):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        kill_after(patch, 4)
        with pytest.raises(Killed):
            fit(few, *tiny, out=out)
    with pytest.raises(InputError, match="found an unfinished training"):
        fit(few, *tiny, out=out)
    with pytest.raises(InputError, match="found an unfinished training, expected the folder"):
        load_run(out)
    model_config, train_config = tiny
    with pytest.raises(InputError, match=r"epochs = 4, expected 9"):
        fit(few, model_config, replace(train_config, epochs=9), out=out, resume=True)
    data = (out / CHECKPOINT).read_bytes()
    (out / CHECKPOINT).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="not readable"):
        fit(few, *tiny, out=out, resume=True)


def test_a_loss_that_is_not_finite_stops(few, tiny, tmp_path, monkeypatch):
    def broken(self, batch):
        loss = self.model.cluster.bias.sum() * float("nan")
        return loss, {"loss": loss}

    monkeypatch.setattr(Loss, "joint", broken)
    with pytest.raises(FloatingPointError, match="loss: found nan or inf at step 0"):
        fit(few, *tiny)
    with pytest.raises(FloatingPointError, match="bad_batch.npz .*smaller learning_rate"):
        fit(few, *tiny, out=tmp_path / "run")
    with np.load(tmp_path / "run" / "bad_batch.npz", allow_pickle=False) as kept:
        assert kept["step"] == 0
        np.testing.assert_array_equal(kept["images"], few.images[kept["rows"]])


def test_weights_that_are_not_finite_are_not_kept(few, tiny, tmp_path, monkeypatch):
    """The last step before a checkpoint may break the weights, and no loss shows it."""
    advance = Trainer.advance

    def breaking(self):
        advance(self)
        if self.step == 6:
            self.model.cluster.bias.data[0] = float("inf")

    monkeypatch.setattr(Trainer, "advance", breaking)
    with pytest.raises(FloatingPointError, match="weights: found nan or inf after step 6"):
        fit(few, *tiny, out=tmp_path / "run")
    assert load_tensors(tmp_path / "run" / CHECKPOINT)[1]["step"] == 3


def test_bad_images(few, tiny, tmp_path):
    with pytest.raises(InputError, match="images: found 1, expected at least 2"):
        fit(np.zeros((1, 28, 28), np.uint8), *tiny)
    with pytest.raises(InputError, match="K: found 12, expected at most 5, the number of images"):
        fit(np.zeros((5, 28, 28), np.uint8), *tiny)
    late = np.zeros((20_000, 28, 28), np.float32)
    late[-1] = np.nan
    with pytest.raises(InputError, match="found NaN or infinite values"):
        fit(late, *tiny)
    with pytest.raises(InputError, match=r"found shape \(1, 9, 9\)"):
        fit(np.zeros((5, 9, 9), np.uint8), *tiny)
    with pytest.raises(InputError, match="images: found 20 times the same"):
        fit(np.zeros((20, 28, 28), np.uint8), *tiny)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="found a file, expected a folder"):
        fit(few, *tiny, out=tmp_path / "file")


@pytest.mark.parametrize(
    "changes",
    [
        dict(epochs=0),
        dict(batch_size=0),
        dict(schedule="step"),
        dict(precision="int8"),
        dict(elbo_weight=0),
        dict(prior_rate=0),
        dict(weight_decay=-1.0),
        dict(seed=-1),
        dict(neighbours=-1),
        dict(neighbours_from=-1),
        dict(elbo_weight=-1.0),
        dict(consistency_weight=-1.0),
        dict(contrast_weight=-0.5),
        dict(generative_epochs=-1),
        dict(views=("affine", "colour")),
        dict(checkpoint_every=0),
    ],
)
def test_bad_train_configurations(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        TrainConfig(**changes)


def test_contrast_alone_trains_the_features_and_nothing_else(tiny, few):
    """One weight above 0 is enough: the features of contrast alone are a rival of the book's."""
    alone = replace(tiny[1], consistency_weight=0.0, epochs=1, generative_epochs=0)
    trainer = Trainer(few.images, tiny[0], replace(alone, weight_decay=0.0), "cpu")
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    for _ in trainer.run():
        pass
    changed = {
        name.split(".")[0]
        for name, value in trainer.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"encoder", "projection"}
    assert np.isfinite(trainer.history[-1]["contrast"])


def test_nearest_is_brute_force():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8)).astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -2)
    expected = np.sort(np.argsort(-similarity, axis=1)[:, :3], axis=1)
    found = np.sort(nearest(features, 3, chunk=7), axis=1)
    assert (found == expected).mean() > 0.9  # bf16 may swap near ties
    assert found.dtype == np.int32 and not (found == np.arange(60)[:, None]).any()
    assert nearest(features[:3], 10).shape == (3, 2)


def test_generative_epochs_leave_the_clusters_alone(tiny, few):
    model_config, train_config = tiny
    with_elbo = fit(few, model_config, train_config)
    without = fit(few, model_config, replace(train_config, generative_epochs=0))
    clusters = ("encoder.", "cluster.", "auxiliary.", "projection.")
    names = [name for name in with_elbo.state if name.startswith(clusters)]
    assert len(names) > 10
    assert all(np.array_equal(with_elbo.state[n], without.state[n]) for n in names)
    rest = [name for name in with_elbo.state if not name.startswith(clusters)]
    assert not any(np.array_equal(with_elbo.state[n], without.state[n]) for n in rest)
    epochs = train_config.epochs
    assert with_elbo.history[epochs]["elbo"] < with_elbo.history[-1]["elbo"]  # it learns
    assert "elbo" not in with_elbo.history[epochs - 1]
    # joined to the other terms, the ELBO moves them
    joint = fit(few, model_config, replace(train_config, elbo_weight=0.05))
    assert not np.array_equal(with_elbo.state["cluster.weight"], joint.state["cluster.weight"])


def test_the_elbo_of_the_generative_epochs_is_that_of_evaluation(tiny, few):
    """Given the stored q(c|x) and features, the loss is minus the ELBO of the model as it is."""
    model_config, train_config = tiny
    trainer = Trainer(few.images, model_config, replace(train_config, precision="float32"), "cpu")
    trainer.step = trainer.n_joint
    trainer.start_epoch()
    loss, _ = trainer.loss(trainer.batch(trainer.step))
    model = trainer.model.eval()
    x = as_batch(few.images[trainer.rows(trainer.step)], model_config)
    rng = np.random.default_rng((train_config.seed, 1, trainer.step))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    expected = -elbo(model, x, model.encode(x), generator).elbo.mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_batch_of_one_needs_an_encoder_without_batch_statistics(tiny, few):
    model_config, train_config = tiny
    with pytest.raises(InputError, match="batch_size: found 1, expected 2 or more for the encoder"):
        fit(few, model_config, replace(train_config, batch_size=1))


def test_a_full_disk_for_temporary_files_is_an_error_and_no_signal(monkeypatch):
    """A mapped file without room behind it ends the process by SIGBUS at the first store."""
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: open("/dev/full", "r+b", buffering=0))
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with pytest.raises(OSError, match="No space left"):
        scratch((1000, 50))


def test_scratch_is_an_array_of_zeros_that_keeps_what_is_stored():
    found = scratch((300, 7))
    assert found.shape == (300, 7) and found.dtype == np.float32 and not found.any()
    found[5:9] = 2.5
    assert found.sum() == 4 * 7 * 2.5


def test_rows_are_those_of_the_array():
    x = np.random.default_rng(0).normal(size=(30, 4)).astype("f4")
    wanted = np.array([3, 3, 29, 0])
    assert torch.equal(Rows(x, torch.device("cpu")).take(wanted), torch.from_numpy(x[wanted]))


def test_contrast_needs_a_projection(tiny, few):
    model_config, train_config = tiny
    with pytest.raises(InputError, match="projection: found 0, expected 1 or more"):
        fit(few, replace(model_config, projection=0), train_config)


def test_neighbours_in_a_pool_are_brute_force():
    rng = np.random.default_rng(0)
    x, pool = rng.normal(size=(7, 5)).astype("f4"), rng.normal(size=(40, 5)).astype("f4")
    near = nearest(x, 3, pool=pool)
    unit_x, unit_pool = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, pool))
    cosine = unit_x @ unit_pool.T
    chosen = np.sort(np.take_along_axis(cosine, near, axis=1), axis=1)
    # bf16 may swap near ties: what it found is as near as the nearest, to rounding
    np.testing.assert_allclose(chosen, np.sort(cosine, axis=1)[:, -3:], atol=0.02)
