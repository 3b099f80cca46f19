"""The truncated ELBO against enumeration in float64, and what it loses against its bound."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from gmvae_lib import GMVAE, GMVAEConfig
from gmvae_lib.study.truncation import greatest_log_likelihood, truncated_elbo
from gmvae_lib.vae.objective import elbo, log_likelihood

SEED = 3  # of the draws of z that the library and the references share


def small(posterior, K=5, z_dim=3, image_shape=(3, 4), seed=0, likelihood="bernoulli"):
    torch.manual_seed(seed)
    config = GMVAEConfig(
        K=K,
        z_dim=z_dim,
        image_shape=image_shape,
        likelihood=likelihood,
        posterior=posterior,
        encoder_hidden=(16,),
        decoder_hidden=(16,),
        learn_weights=True,
        prior_std=1.0,
    )
    model = GMVAE(config).double()
    torch.nn.init.normal_(model.prior_log_variance, std=0.3)
    torch.nn.init.normal_(model.prior_logits)
    if likelihood == "gaussian":
        torch.nn.init.constant_(model.noise_log_variance, -1.3)
    return model, torch.rand(7, math.prod(image_shape), dtype=torch.float64)


def library_elbo(model, x, encoded):
    return elbo(model, x, encoded, torch.Generator().manual_seed(SEED))


def cut_elbo(model, x, encoded, top):
    return truncated_elbo(model, x, encoded, top, torch.Generator().manual_seed(SEED))


def enumerated(model, x, encoded, b, components):
    """ELBO of image b by a loop over c, q(c|x) cut to ``components`` and normalised again."""
    # the library draws its noise in float32
    noise = torch.randn(encoded.mean.shape, generator=torch.Generator().manual_seed(SEED)).double()
    q = encoded.logits[b].exp()
    q = q / q[components].sum()
    pi = model.prior_logits.exp() / model.prior_logits.exp().sum()
    total = torch.zeros((), dtype=torch.float64)
    for c in components:
        i = (b, c) if model.config.posterior == "heads" else b
        mean, std = encoded.mean[i], (encoded.log_variance[i] / 2).exp()
        prior = Normal(model.prior_mean[c], (model.prior_log_variance[c] / 2).exp())
        decoded = model.decode(mean + std * noise[i])
        if model.config.likelihood == "gaussian":
            noise_std = (model.noise_log_variance / 2).exp()
            log_p = Normal(decoded, noise_std).log_prob(x[b]).sum()
        else:
            p = torch.sigmoid(decoded)
            log_p = (x[b] * p.log() + (1 - x[b]) * (1 - p).log()).sum()
        kl = kl_divergence(Normal(mean, std), prior).sum()
        total = total + q[c] * (log_p - kl - (q[c] / pi[c]).log())
    return total


def log_prior_mass(model, encoded, b, components):
    """log sum pi_c exp(-KL(q(z|x, c) || p(z|c))) over ``components`` of image b."""
    total = 0.0
    for c in components:
        prior = Normal(model.prior_mean[c], (model.prior_log_variance[c] / 2).exp())
        q_z = Normal(encoded.mean[b, c], (encoded.log_variance[b, c] / 2).exp())
        total += model.weights[c] * math.exp(-kl_divergence(q_z, prior).sum())
    return math.log(total)


def gradients(value, model):
    """Gradient of a scalar by every parameter, as one float64 vector; 0 where it has no part."""
    parameters = list(model.parameters())
    found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.double().flatten() for g in found])


def scaled(model, x, scale):
    """q(c|x) and q(z|x, c) with the logits of q(c|x) multiplied by ``scale``."""
    encoded = model.encode(x)
    return replace(encoded, logits=scale * encoded.logits)


def kept_components(encoded, b, top):
    return encoded.logits[b].argsort(descending=True)[:top].tolist()


@pytest.mark.parametrize("scale", [1, 20])
@pytest.mark.parametrize("top", [1, 3, 4])
def test_truncated_elbo_is_that_of_the_renormalised_posterior(top, scale):
    """Value and gradient against an explicit q~ over the kept components, in float64."""
    model, x = small("heads")
    terms = cut_elbo(model, x, scaled(model, x, scale), top)
    encoded = scaled(model, x, scale)
    expected = torch.stack(
        [enumerated(model, x, encoded, b, kept_components(encoded, b, top)) for b in range(len(x))]
    )
    torch.testing.assert_close(terms.elbo, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        gradients(terms.elbo.mean(), model),
        gradients(expected.mean(), model),
        rtol=1e-8,
        atol=1e-10,
    )


@torch.no_grad()
def test_truncation_to_all_components_is_exact():
    model, x = small("heads")
    encoded = model.encode(x)
    exact, terms = library_elbo(model, x, encoded), cut_elbo(model, x, encoded, 5)
    for name in ("elbo", "reconstruction", "kl_z", "kl_c"):
        torch.testing.assert_close(getattr(terms, name), getattr(exact, name))
    assert terms.discarded.abs().max() == 0
    assert terms.loss_bound.abs().max() == 0


@torch.no_grad()
def test_no_likelihood_is_above_the_greatest():
    for likelihood in ("bernoulli", "gaussian"):
        model, x = small("shared", likelihood=likelihood)
        model.noise_log_variance = torch.nn.Parameter(torch.tensor(-20.0).double())  # clamped
        best = model.decode(torch.zeros(1, 3, dtype=torch.float64))
        highest = greatest_log_likelihood(model)
        assert (
            log_likelihood(model, model.decode(torch.randn(7, 3, dtype=torch.float64)), x)
            <= highest
        ).all()
        at_mode = log_likelihood(model, best, best).item()
        assert likelihood == "bernoulli" or at_mode == pytest.approx(float(highest))


def test_truncation_decodes_only_what_it_keeps():
    model, x = small("heads")
    rows = []
    model.decoder[0].register_forward_hook(lambda *call: rows.append(call[2][..., 0].numel()))
    cut_elbo(model, x, model.encode(x), top=2)
    library_elbo(model, x, model.encode(x))
    assert rows == [2 * len(x), 5 * len(x)]


def test_truncated_gradient_approaches_the_exact_one_as_q_sharpens():
    model, x = small("heads")
    errors, masses = [], []
    for scale in (1, 8, 32, 128, 512):
        exact = library_elbo(model, x, scaled(model, x, scale))
        truncated = cut_elbo(model, x, scaled(model, x, scale), top=3)
        wanted = gradients(exact.elbo.mean(), model)
        error = gradients(truncated.elbo.mean(), model) - wanted
        errors.append((error.norm() / wanted.norm()).item())
        masses.append(truncated.discarded.max().item())
    assert masses == sorted(masses, reverse=True)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.01  # at first the truncation matters
    sharp = next(i for i, mass in enumerate(masses) if mass < 1e-5)
    assert errors[sharp] < 1e-4


@given(
    st.integers(0, 10_000),
    st.integers(2, 7),
    st.integers(1, 6),
    st.floats(0.1, 60),
    st.sampled_from(["binary", "grey", "gaussian"]),
)
@settings(max_examples=60, deadline=None)
def test_what_a_truncation_loses_is_within_its_bound(seed, K, top, scale, kind):
    """exact - truncated <= loss_bound, and the docstring's identity behind it, draw by draw."""
    top = min(top, K - 1)
    likelihood = "gaussian" if kind == "gaussian" else "bernoulli"
    model, x = small("heads", K=K, seed=seed, likelihood=likelihood)
    x = x.round() if kind == "binary" else x
    highest = 0.0
    if kind == "gaussian":  # a density may be above 1: here its mode is at e^9.6, 14 nats up
        torch.nn.init.constant_(model.noise_log_variance, -4.2)
        highest = len(x[0]) * Normal(0, math.exp(-2.1)).log_prob(torch.zeros(())).item()
    with torch.no_grad():
        encoded = scaled(model, x, scale)
        exact = library_elbo(model, x, encoded).elbo
        terms = cut_elbo(model, x, encoded, top)
        assert (exact - terms.elbo <= terms.loss_bound + 1e-9).all()
        assert (terms.loss_bound >= 0).all()
        for b in range(len(x)):
            kept = kept_components(encoded, b, top)
            discarded = sorted(set(range(K)) - set(kept))
            eps = encoded.logits[b].softmax(0)[discarded].sum().item()
            assert terms.discarded[b].item() == pytest.approx(eps, rel=1e-9)
            inside = enumerated(model, x, encoded, b, kept).item()
            outside = enumerated(model, x, encoded, b, discarded).item()
            entropy = -eps * math.log(eps) - (1 - eps) * math.log1p(-eps)
            whole = (1 - eps) * inside + eps * outside + entropy
            assert exact[b].item() == pytest.approx(whole, rel=1e-9)
            most = max(log_prior_mass(model, encoded, b, discarded) + highest - inside, 0)
            assert terms.loss_bound[b].item() == pytest.approx(eps * most + entropy, rel=1e-6)


@torch.no_grad()
def test_discarded_mass_is_exact_also_where_it_is_tiny():
    model, x = small("heads")
    model = model.float()
    encoded = model.encode(x.float())
    logits = torch.tensor([30.0, 29, 1, 0, -70]).expand(len(x), -1)
    terms = cut_elbo(model, x.float(), replace(encoded, logits=logits), top=2)
    wide = logits[0].double().softmax(0)[2:].sum().item()  # 2.7e-13: 1 - kept is 0 in float32
    assert terms.discarded.dtype == torch.float32
    assert terms.discarded.tolist() == pytest.approx([wide] * len(x), rel=1e-5, abs=0)
    assert (terms.loss_bound > 0).all()
