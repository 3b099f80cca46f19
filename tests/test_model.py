"""The model: shapes, samples, reconstructions, posterior; the published architecture."""

import numpy as np
import pytest
import torch

from gmvae_lib import GMVAE, GMVAEConfig, InputError, cluster_posterior, preset
from gmvae_lib.model import as_batch, embed

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


def test_extreme_log_variances_stay_finite(letters):
    model = make()
    torch.nn.init.constant_(model.log_variance.bias, 1e6)
    torch.nn.init.constant_(model.prior_log_variance, -1e6)
    from gmvae_lib.objective import elbo

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
