"""The ELBO against enumeration in float64; KL against torch; mutual information against tables."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence

from gmvae_lib import GMVAE, GMVAEConfig
from gmvae_lib.objective import (
    bernoulli_log_likelihood,
    elbo,
    gaussian_kl,
    gaussian_kl_table,
    mutual_information,
)


def small(posterior, K=5, z_dim=3, image_shape=(3, 4)):
    torch.manual_seed(0)
    config = GMVAEConfig(
        K=K,
        z_dim=z_dim,
        image_shape=image_shape,
        posterior=posterior,
        encoder_hidden=(16,),
        decoder_hidden=(16,),
        learn_weights=True,
        prior_std=1.0,
    )
    model = GMVAE(config).double()
    torch.nn.init.normal_(model.prior_log_variance, std=0.3)
    torch.nn.init.normal_(model.prior_logits)
    return model, torch.rand(7, math.prod(image_shape), dtype=torch.float64)


def gaussians(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2)]


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_gaussian_kl_is_torchs(seed):
    (mean, log_variance), (prior_mean, prior_log) = gaussians(seed, 6, 4), gaussians(seed + 1, 6, 4)
    expected = kl_divergence(
        Independent(Normal(mean, (log_variance / 2).exp()), 1),
        Independent(Normal(prior_mean, (prior_log / 2).exp()), 1),
    )
    found = gaussian_kl(mean, log_variance, prior_mean, prior_log)
    torch.testing.assert_close(found, expected)
    assert (found >= 0).all()
    assert gaussian_kl(mean, log_variance, mean, log_variance).abs().max() < 1e-12


def test_kl_table_is_the_expanded_kl():
    (mean, log_variance), prior = gaussians(0, 6, 4), gaussians(1, 5, 4)
    expected = gaussian_kl(mean[:, None], log_variance[:, None], prior[0][None], prior[1][None])
    torch.testing.assert_close(gaussian_kl_table(mean, log_variance, *prior), expected)


def test_likelihood_is_torchs_bernoulli():
    logits, _ = gaussians(2, 6, 9)
    x = (torch.rand(6, 9) > 0.5).double()
    expected = Bernoulli(logits=logits).log_prob(x).sum(1)
    torch.testing.assert_close(
        bernoulli_log_likelihood(logits, x).double(), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("posterior", ["heads", "shared"])
def test_elbo_is_the_sum_over_components(posterior):
    """Brute force: one component, one image at a time, with torch.distributions in float64."""
    model, x = small(posterior)
    encoded = model.encode(x)
    terms = elbo(model, x, encoded, torch.Generator().manual_seed(3))
    noise = torch.randn(
        encoded.mean.shape, generator=torch.Generator().manual_seed(3)
    )  # the same draw
    q = Categorical(logits=encoded.logits.double())
    pi = Categorical(logits=model.prior_logits)
    for b in range(len(x)):
        total = -kl_divergence(Categorical(probs=q.probs[b]), pi)
        for c in range(model.config.K):
            i = (b, c) if posterior == "heads" else b
            q_z = Independent(Normal(encoded.mean[i], (encoded.log_variance[i] / 2).exp()), 1)
            p_z = Normal(model.prior_mean[c], (model.prior_log_variance[c] / 2).exp())
            z = encoded.mean[i] + (encoded.log_variance[i] / 2).exp() * noise[i]
            logits = model.decode(z)
            log_p = (x[b] * logits - torch.nn.functional.softplus(logits)).sum()
            total = total + q.probs[b, c] * (log_p - kl_divergence(q_z, Independent(p_z, 1)))
        assert terms.elbo[b].item() == pytest.approx(total.item(), rel=1e-5)


@pytest.mark.parametrize("posterior", ["heads", "shared"])
def test_elbo_is_below_the_evidence(posterior):
    """log p(x) by a plain average over 40,000 draws of z from the prior, for a tiny model."""
    model, x = small(posterior, K=3, z_dim=1, image_shape=(2, 2))
    x = x.round()
    with torch.no_grad():
        c = Categorical(logits=model.prior_logits).sample((40_000,))
        z = model.prior_mean[c] + (model.prior_log_variance[c] / 2).exp() * torch.randn(len(c), 1)
        log_p = bernoulli_log_likelihood(model.decode(z)[:, None], x)
        evidence = torch.logsumexp(log_p, 0) - math.log(len(c))
        generator = torch.Generator().manual_seed(0)
        draws = [elbo(model, x, model.encode(x), generator).elbo for _ in range(300)]
        mean = torch.stack(draws).mean(0)
    # the averages' own noise is below 0.02 nats here; the bound's gap is larger
    assert (mean <= evidence + 0.02).all()


def test_gradients_are_those_of_float64():
    model, x = small("shared")
    value = elbo(model, x, model.encode(x), torch.Generator().manual_seed(0)).elbo.mean()
    value.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    single = GMVAE(model.config)
    single.load_state_dict({k: v.float() for k, v in model.state_dict().items()})
    x = x.float()
    elbo(single, x, single.encode(x), torch.Generator().manual_seed(0)).elbo.mean().backward()
    for name, p in single.named_parameters():
        if name in expected:
            torch.testing.assert_close(p.grad.double(), expected[name], rtol=1e-3, atol=1e-4)


def table_information(joint):
    joint = joint / joint.sum()
    outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    nonzero = joint > 0
    return float((joint[nonzero] * np.log(joint[nonzero] / outer[nonzero])).sum())


@given(st.integers(0, 10_000), st.integers(2, 8))
@settings(max_examples=25, deadline=None)
def test_mutual_information_is_that_of_the_joint_table(seed, K):
    rng = np.random.default_rng(seed)
    q1, q2 = rng.dirichlet(np.full(K, 0.3), 50), rng.dirichlet(np.full(K, 0.3), 50)
    joint = q1.T @ q2
    found = mutual_information(torch.from_numpy(q1), torch.from_numpy(q2)).item()
    assert found == pytest.approx(table_information(joint + joint.T), abs=1e-9)
    assert found >= -1e-9


def test_mutual_information_extremes():
    sure = torch.eye(10).repeat(20, 1)
    assert mutual_information(sure, sure).item() == pytest.approx(math.log(10), rel=1e-5)
    constant = torch.full((200, 10), 0.1)
    assert mutual_information(constant, constant).item() == pytest.approx(0, abs=1e-5)
    # the extra entropy weight adds (w - 1) (H(c) + H(c'))
    weighted = mutual_information(sure, sure, 1.5).item()
    assert weighted == pytest.approx(2 * math.log(10), rel=1e-5)
