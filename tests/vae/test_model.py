"""The model: shapes, samples, reconstructions, posterior; the published architecture."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gmvae_lib import (
    GMVAE,
    GMVAEConfig,
    InputError,
    cluster_posterior,
    load_images,
    load_run,
    preset,
)
from gmvae_lib.vae.config import for_shape, stored_train_config, with_components
from gmvae_lib.vae.model import as_batch, embed

PUBLISHED = Path(__file__).parents[2] / "results" / "letters100k"

FORMS = [("mlp", "heads"), ("mlp", "shared"), ("conv", "heads"), ("conv", "shared")]


def make(encoder="conv", posterior="shared", **changes):
    torch.manual_seed(0)
    sizes = dict(K=6, z_dim=4, encoder_hidden=(12,), channels=(4, 6), features=8)
    return GMVAE(
        GMVAEConfig(
            **sizes | dict(encoder=encoder, posterior=posterior, decoder_hidden=(10,)) | changes
        )
    ).eval()


@pytest.mark.parametrize(("encoder", "posterior"), FORMS)
def test_shapes(encoder, posterior, letters):
    model = make(encoder, posterior, auxiliary=(9,))
    encoded = model.encode(as_batch(letters.images[:5], model.config))
    assert encoded.logits.shape == (5, 6)
    assert encoded.mean.shape == ((5, 6, 4) if posterior == "heads" else (5, 4))
    assert encoded.log_variance.shape == encoded.mean.shape
    q = cluster_posterior(model, letters.images[:50], batch_size=16)
    assert q.dtype == np.float32 and q.shape == (50, 6)
    np.testing.assert_allclose(q.sum(1), 1, atol=1e-5)
    for pictures in (model.sample(2, 3), model.reconstruct(letters.images[:3])):
        assert pictures.shape == (3, 28, 28) and 0 <= pictures.min() and pictures.max() <= 1


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize(
    ("encoder", "shape"),
    [
        ("conv", (9, 14)),
        ("conv", (12, 8, 3)),
        ("mlp", (6, 5, 3)),
        ("mlp-bn", (7,)),
        ("conv", (3, 3)),
    ],
)
def test_shapes_of_other_data(encoder, shape, likelihood):
    model = make(encoder, image_shape=shape, likelihood=likelihood)
    x = np.random.default_rng(0).random((5, *shape))
    assert cluster_posterior(model, x).shape == (5, 6)
    for found in (model.sample(2, 5), model.reconstruct(x)):
        assert found.shape == (5, *shape) and found.dtype == np.float32
        assert likelihood == "gaussian" or (found.min() >= 0 and found.max() <= 1)


def test_colours_are_seen_by_the_convolutions_pixel_by_pixel():
    """An image with one red dot differs from one with that dot in green, wherever the dot is."""
    model = make(image_shape=(8, 8, 3))
    first = model.encoder.convolutions[0]
    images = np.zeros((2, 8, 8, 3))
    images[0, 4, 5, 0] = images[1, 4, 5, 1] = 1
    seen = []
    first.register_forward_hook(lambda module, given, found: seen.append(found))
    model.encode(as_batch(images, model.config))
    response = seen[0][:, :, 2, 2]  # stride 2, kernel 5: centred on pixel (4, 4)
    torch.testing.assert_close(response[0], first.weight[:, 0, 2, 3])
    torch.testing.assert_close(response[1], first.weight[:, 1, 2, 3])


def test_residual_blocks_start_as_the_plain_encoder_and_then_learn():
    """Their last gain is 0 at first: what follows a ReLU passes through unchanged."""
    plain, deep = make(), make(residual=2)
    assert sum("convolutions" in name for name, _ in deep.named_modules()) > len(
        plain.encoder.convolutions
    )
    for name, value in plain.state_dict().items():
        if "convolutions" not in name:
            deep.state_dict()[name].copy_(value)
    ours = [m for m in deep.encoder.convolutions if not hasattr(m, "convolutions")]
    for mine, theirs in zip(ours, plain.encoder.convolutions, strict=True):
        mine.load_state_dict(theirs.state_dict())
    x = torch.rand(3, 784, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(deep.encoder(x), plain.encoder(x))
    deep.train()
    deep.encoder(x).square().sum().backward()
    blocks = [m for m in deep.encoder.convolutions if hasattr(m, "convolutions")]
    assert len(blocks) == 4
    assert all(block.convolutions[-1].weight.grad.abs().max() > 0 for block in blocks)


def test_a_gaussian_likelihood_gives_means_of_any_size():
    model = make("mlp", image_shape=(4,), likelihood="gaussian")
    torch.nn.init.constant_(model.decoder[-1].bias, 50.0)
    assert model.sample(0, 3).min() > 10
    assert [n for n, p in model.named_parameters() if p.ndim == 0] == ["noise_log_variance"]
    assert "noise_log_variance" not in make("mlp", image_shape=(4,)).state_dict()


@torch.no_grad()
def test_the_published_posterior_is_what_it_was_bit_for_bit(letters):
    """q(c|x) of the published run against the operations it was published with, written out."""
    F = torch.nn.functional
    model = load_run(PUBLISHED).model
    w = model.state_dict()
    x = torch.from_numpy(letters.images[:200]).float().div(255).view(-1, 1, 28, 28)
    x = x.contiguous(memory_format=torch.channels_last)

    def normalised(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.relu(F.batch_norm(x, *(w[f"encoder.{name}.{n}"] for n in names)))

    for i, stride in enumerate((2, 2, 1)):
        weight = w[f"encoder.convolutions.{3 * i}.weight"]
        weight = weight.contiguous(memory_format=torch.channels_last)
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
        x = normalised(x, f"convolutions.{3 * i + 1}")
    h = normalised(F.linear(x.flatten(1), w["encoder.dense.0.weight"]), "dense.1")
    q = F.linear(h, w["cluster.weight"], w["cluster.bias"]).softmax(1)
    found, features = embed(model, letters.images[:200], device="cpu")
    assert np.array_equal(found, q.numpy()) and np.array_equal(features, h.numpy())


def test_configurations_from_before_the_new_fields_load_unchanged():
    stored = json.loads((PUBLISHED / "config.json").read_text())["model"]
    assert "likelihood" not in stored and "strides" not in stored
    config = GMVAEConfig(**stored)
    assert (config.likelihood, config.strides) == ("bernoulli", (2, 2))
    assert config == preset("best")[0]


def test_the_published_training_of_the_article_is_that_of_paper_relu(shared_data):
    """Its config.json has no last_activation and retired fields; its q is that of its weights."""
    folder = shared_data / "article-recipe" / "seed0"
    if not folder.is_dir():
        pytest.skip(f"not found: {folder}")
    run = load_run(folder)
    assert (run.model_config, run.train_config) == preset("paper-relu")
    assert run.model_config.last_activation
    images = load_images(shared_data / "emnist-letters-100k" / "images-idx3-ubyte.gz").images[:500]
    q = cluster_posterior(run, images, device="cpu")
    # the weights are stored as float16, q as float16 logarithms
    np.testing.assert_allclose(q, run.posterior[:500], atol=5e-3)
    assert (q.argmax(1) == run.posterior[:500].argmax(1)).mean() > 0.99


def test_retired_fields_of_a_stored_training_must_have_the_values_of_today():
    stored = json.loads((PUBLISHED / "config.json").read_text())["training"]
    assert stored["temperature"] == 0.2 and stored["view_strength"] == 1.0
    assert stored_train_config(stored) == replace(preset("best")[1], seed=8)
    with pytest.raises(InputError, match="temperature: found 0.5, expected 0.2, now a constant"):
        stored_train_config(stored | {"temperature": 0.5})
    with pytest.raises(TypeError, match="speed"):
        stored_train_config(stored | {"speed": 1})


def test_posterior_does_not_depend_on_the_batch_size(letters):
    model = make()
    once = cluster_posterior(model, letters, batch_size=len(letters))
    np.testing.assert_allclose(cluster_posterior(model, letters, batch_size=7), once, atol=1e-5)
    q, features = embed(model, letters)
    np.testing.assert_allclose(q, once, atol=1e-5)
    assert features.shape == (len(letters), 8)


def test_sample_takes_a_seed_and_leaves_the_global_state_alone():
    model = make(prior_std=2.0)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert np.array_equal(model.sample(1, 4, seed=3), model.sample(1, 4, seed=3))
    assert not np.array_equal(model.sample(1, 4, seed=3), model.sample(1, 4, seed=4))
    assert torch.equal(torch.get_rng_state(), before)


def test_paper_preset_is_the_published_architecture():
    config, training = preset("paper")
    model = GMVAE(config)
    widths = [layer.weight.shape for layer in model.decoder if hasattr(layer, "weight")]
    assert widths == [(512, 100), (768, 512), (768, 768), (784, 768)]
    assert len([layer for layer in model.encoder if hasattr(layer, "weight")]) == 4
    assert isinstance(model.encoder[-1], torch.nn.Linear)  # no activation after the fourth layer
    assert isinstance(GMVAE(preset("paper-relu")[0]).encoder[-1], torch.nn.ReLU)
    assert model.mean.weight.shape == (100 * 100, 768)
    assert not model.prior_logits.requires_grad  # pi uniform and fixed
    np.testing.assert_allclose(model.weights, 0.01)
    assert model.prior_mean.std().item() == pytest.approx(0.05, rel=0.05)
    assert (training.epochs, training.batch_size, training.learning_rate) == (450, 128, 1e-3)
    assert training.elbo_weight == 1 and training.consistency_weight == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(K=0), "K: found 0"),
        (dict(z_dim=0), "z_dim: found 0"),
        (dict(encoder="vit"), "encoder: found 'vit'"),
        (dict(posterior="both"), "posterior: found 'both'"),
        (dict(projection=-1), "projection: found -1"),
        (dict(likelihood="poisson"), "likelihood: found 'poisson'"),
        (dict(image_shape=(28, 28, 4)), r"image_shape: found \(28, 28, 4\)"),
        (dict(image_shape=(0, 28)), r"image_shape: found \(0, 28\)"),
        (dict(image_shape=()), r"image_shape: found \(\)"),
        (dict(image_shape=(3,), encoder="conv"), 'found "conv" for rows of features'),
        (dict(strides=(2, 0)), r"strides: found \(2, 0\)"),
        (dict(encoder_hidden=(8, 0)), r"encoder_hidden: found \(8, 0\)"),
        (dict(prior_std=-1.0), "prior_std: found -1.0"),
    ],
)
def test_bad_configurations(changes, words):
    with pytest.raises(InputError, match=words):
        GMVAEConfig(**changes)


def test_bad_arguments(letters):
    model = make()
    with pytest.raises(InputError, match=r"component: found 6, expected 0 to 5"):
        model.sample(6)
    with pytest.raises(InputError, match=r"found shape \(2, 5, 5\), expected \[N, 28x28\]"):
        cluster_posterior(model, np.zeros((2, 5, 5), np.uint8))
    with pytest.raises(InputError, match="images: found none"):
        cluster_posterior(model, letters.images[:0])
    with pytest.raises(InputError, match="preset: found 'huge'"):
        preset("huge")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1.5, -0.1])
def test_values_outside_of_what_the_likelihood_takes_are_refused(bad):
    config = GMVAEConfig(image_shape=(2, 3))
    x = np.full((4, 2, 3), 0.5)
    x[2, 1, 1] = bad
    words = r"expected 0 to 1" if math.isfinite(bad) else "expected finite numbers"
    with pytest.raises(InputError, match=words):
        as_batch(x, config)
    rows, real = x.reshape(4, 6), GMVAEConfig(image_shape=(6,), likelihood="gaussian")
    if math.isfinite(bad):
        np.testing.assert_array_equal(as_batch(rows, real), rows.astype(np.float32))
    else:
        with pytest.raises(InputError, match=words):
            as_batch(rows, real)
    with pytest.raises(InputError, match="images: found type <U3, expected uint8 or floats"):
        as_batch(np.full((2, 2, 3), "0.5"), config)


def test_bytes_are_shares_of_255_and_floats_themselves():
    config = GMVAEConfig(image_shape=(2, 2, 3))
    images = np.random.default_rng(0).integers(256, size=(5, 2, 2, 3), dtype=np.uint8)
    torch.testing.assert_close(as_batch(images / 255, config), as_batch(images, config))
    assert as_batch(images, config).dtype == torch.float32


def test_extreme_log_variances_stay_finite(letters):
    model = make()
    torch.nn.init.constant_(model.log_variance.bias, 1e6)
    torch.nn.init.constant_(model.prior_log_variance, -1e6)
    from gmvae_lib.vae.objective import elbo

    x = as_batch(letters.images[:4], model.config)
    assert torch.isfinite(elbo(model, x, model.encode(x)).elbo).all()
    assert np.isfinite(model.sample(0)).all()


def test_small_sets_train_for_as_many_steps():
    _, full = preset("best", n_images=100_000)
    assert full == preset("best")[1] == preset("best", n_images=145_600)[1]
    _, small = preset("best", n_images=5_000)
    assert small.epochs * 5_000 >= full.epochs * 100_000
    for name in ("generative_epochs", "neighbours_from", "neighbours_every"):
        share = getattr(full, name) / full.epochs
        assert getattr(small, name) / small.epochs == pytest.approx(share)
    assert preset("paper", n_images=10)[1].epochs == 450
    assert preset("best", epochs=3, seed=7)[1].generative_epochs == 15


@pytest.mark.parametrize("name", ["best", "quick", "large"])
@pytest.mark.parametrize("n", [2, 7, 178, 400, 1797])
def test_presets_suit_small_sets(name, n):
    full_model, full = preset(name)
    model, training = preset(name, n_images=n)
    assert 2 <= model.K <= max(2, n / 5) and model.K <= full_model.K
    assert model.auxiliary[0] / model.K == pytest.approx(4, rel=0.01)
    steps = training.epochs * max(1, n // training.batch_size)
    made_for = {"best": 100_000, "quick": 5_000, "large": 100_000}[name]
    wanted = full.epochs * made_for // full.batch_size
    assert wanted <= steps < 2.1 * wanted


@pytest.mark.parametrize("name", ["paper", "best", "quick", "large"])
@pytest.mark.parametrize(
    "shape", [(1, 1), (8, 8), (28, 28), (20, 33), (64, 64, 3), (128, 96, 3), (30,), (1,)]
)
def test_presets_suit_any_shape(name, shape):
    model_config, _ = preset(name, image_shape=shape)
    assert model_config.image_shape == shape
    if shape == (28, 28):
        assert model_config == preset(name)[0]
    model = GMVAE(with_components(replace(model_config, decoder_hidden=(8,)), 3)).eval()
    assert model.encode(torch.zeros(2, math.prod(shape))).logits.shape == (2, 3)
    if model_config.encoder == "conv":
        planes = model.encoder.convolutions(torch.zeros(1, 3 if len(shape) == 3 else 1, *shape[:2]))
        assert max(planes.shape[2:]) <= 8


def test_fitting_a_shape_twice_is_fitting_it_once():
    config = preset("best")[0]
    assert for_shape(for_shape(config, (28, 28)), (28, 28)) == config
    small = for_shape(config, (64, 64, 3))
    assert for_shape(small, (64, 64, 3)) == small
