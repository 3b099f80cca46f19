"""The ELBO against enumeration and quadrature in float64; KL against torch;
mutual information against tables; the contrast against a plain loop."""

import copy
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from gmvae_lib import GMVAE, GMVAEConfig
from gmvae_lib.vae import objective
from gmvae_lib.vae.model import Encoded
from gmvae_lib.vae.objective import (
    bernoulli_log_likelihood,
    contrast,
    elbo,
    gaussian_kl,
    gaussian_kl_table,
    gaussian_log_likelihood,
    log_likelihood,
    log_likelihood_of_codes,
    mutual_information,
    noise_shape,
    plain_elbo,
)

both_likelihoods = pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
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


def gaussians(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2)]


def library_elbo(model, x, encoded):
    return elbo(model, x, encoded, torch.Generator().manual_seed(SEED))


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


def gradients(value, model):
    """Gradient of a scalar by every parameter, as one float64 vector; 0 where it has no part."""
    parameters = list(model.parameters())
    found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([g.double().flatten() for g in found])


# ---- parts -----------------------------------------------------------------------------------


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


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_kl_table_is_torchs_kl_of_every_pair(seed, n_images, K):
    (mean, log_variance), prior = gaussians(seed, n_images, 4), gaussians(seed + 1, K, 4)
    expected = kl_divergence(
        Normal(mean[:, None], (log_variance[:, None] / 2).exp()),
        Normal(prior[0], (prior[1] / 2).exp()),
    ).sum(-1)
    torch.testing.assert_close(gaussian_kl_table(mean, log_variance, *prior), expected)


def test_likelihood_is_torchs_bernoulli():
    logits, _ = gaussians(2, 6, 9)
    x = (torch.rand(6, 9) > 0.5).double()
    expected = Bernoulli(logits=logits).log_prob(x).sum(1)
    torch.testing.assert_close(bernoulli_log_likelihood(logits, x), expected)


def test_likelihood_is_finite_for_sure_decoders():
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    x = torch.tensor([1.0, 0.0])
    assert bernoulli_log_likelihood(logits, x).tolist() == [0, -2e4]


@given(st.integers(0, 10_000), st.floats(-8, 8))
@settings(max_examples=25, deadline=None)
def test_gaussian_log_likelihood_is_scipys(seed, log_variance):
    mean, x = gaussians(seed, 6, 9)
    expected = scipy.stats.norm.logpdf(x, mean, math.exp(log_variance / 2)).sum(1)
    found = gaussian_log_likelihood(mean, torch.tensor(log_variance, dtype=torch.float64), x)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# ---- the exact ELBO --------------------------------------------------------------------------


@both_likelihoods
@pytest.mark.parametrize("posterior", ["heads", "shared"])
def test_elbo_is_the_sum_over_components(posterior, likelihood):
    """Value and gradient against brute force: one image, one component at a time, in float64."""
    model, x = small(posterior, likelihood=likelihood)
    terms = library_elbo(model, x, model.encode(x))
    torch.testing.assert_close(terms.elbo, terms.reconstruction - terms.kl_z - terms.kl_c)
    encoded = model.encode(x)
    everything = list(range(model.config.K))
    expected = torch.stack([enumerated(model, x, encoded, b, everything) for b in range(len(x))])
    torch.testing.assert_close(terms.elbo, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        gradients(terms.elbo.mean(), model),
        gradients(expected.mean(), model),
        rtol=1e-8,
        atol=1e-10,
    )


def posterior_by_quadrature(model, encoded, b):
    """log q(c, z|x) and log p(c, z) of image b on a fine grid of z: [K, G] each, and its step."""
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    mean, std = encoded.mean[b], (encoded.log_variance[b] / 2).exp()  # [K, 1] or [1]
    log_q_c = encoded.logits[b].log_softmax(0)[:, None]
    log_q = log_q_c + Normal(mean.reshape(-1, 1), std.reshape(-1, 1)).log_prob(z)
    prior = Normal(model.prior_mean, (model.prior_log_variance / 2).exp())
    log_prior = model.log_weights[:, None] + prior.log_prob(z)
    return z, log_q, log_prior, 24 / 4000


@both_likelihoods
@pytest.mark.parametrize("posterior", ["heads", "shared"])
@torch.no_grad()
def test_evidence_is_the_elbo_plus_the_divergence_from_the_true_posterior(posterior, likelihood):
    """A code of one number: log p(x), the ELBO and KL(q || p(c, z|x)), each by quadrature."""
    model, x = small(posterior, K=3, z_dim=1, image_shape=(2, 2), likelihood=likelihood)
    x = x.round()
    n_draws = 20_000
    encoded = model.encode(x)
    for b in range(len(x)):
        z, log_q, log_prior, step = posterior_by_quadrature(model, encoded, b)
        log_p = log_likelihood(model, model.decode(z[:, None]), x[b])
        log_joint = log_prior + log_p
        evidence = log_joint.flatten().logsumexp(0) + math.log(step)
        bound = (log_q.exp() * (log_joint - log_q)).sum() * step
        divergence = (log_q.exp() * (log_q - (log_joint - evidence))).sum() * step
        assert evidence - bound == pytest.approx(divergence.item(), abs=1e-9)
        assert bound < evidence
        # the library's, one draw of z at a time: its mean is the bound's value
        many = x[b].expand(n_draws, -1)
        draws = library_elbo(model, many, model.encode(many)).elbo
        noise = draws.std() / math.sqrt(n_draws)
        assert abs(draws.mean() - bound) < 5 * noise + 1e-9  # fails by chance once in 10^6
        assert noise < 0.2 * divergence  # so the gap is seen, not the noise


@torch.no_grad()
def test_elbo_is_the_evidence_when_q_is_the_true_posterior():
    """A decoder that ignores z leaves p(c, z|x) = p(c, z): with that q, every draw is log p(x)."""
    model, x = small("heads")
    model.decoder[-1].weight.zero_()
    n = len(x)
    encoded = Encoded(
        features=x,
        logits=model.prior_logits.expand(n, -1),
        mean=model.prior_mean.expand(n, -1, -1),
        log_variance=model.prior_log_variance.expand(n, -1, -1),
    )
    logits = model.decode(torch.zeros(3, dtype=torch.float64))
    evidence = bernoulli_log_likelihood(logits, x)
    torch.testing.assert_close(library_elbo(model, x, encoded).elbo, evidence)


def test_the_plain_form_is_the_same_elbo():
    """Value of every part and gradient, in float64, given the same draws."""
    model, x = small("heads")
    noise = torch.randn(noise_shape(model.config, len(x)), dtype=torch.float64)
    logits, plain = plain_elbo(model, x, noise)
    terms = elbo(model, x, model.encode(x), noise=noise)
    for name in ("elbo", "reconstruction", "kl_z", "kl_c"):
        torch.testing.assert_close(getattr(plain, name), getattr(terms, name))
    torch.testing.assert_close(logits, model.encode(x).logits)
    torch.testing.assert_close(
        gradients(plain.elbo.mean(), model), gradients(terms.elbo.mean(), model)
    )


@pytest.mark.parametrize("posterior", ["heads", "shared"])
def test_float32_gradients_are_those_of_float64(posterior):
    model, x = small(posterior)
    expected = gradients(library_elbo(model, x, model.encode(x)).elbo.mean(), model)
    single = copy.deepcopy(model).float()
    found = library_elbo(single, x.float(), single.encode(x.float())).elbo.mean()
    torch.testing.assert_close(gradients(found, single), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("piece", [1, 30, 1 << 20])
@pytest.mark.parametrize("shape", [(7, 3), (7, 5, 3)])
def test_likelihood_of_codes_is_that_of_their_logits(monkeypatch, piece, shape):
    """Value and gradient of the fused operation against the plain one, whatever its pieces."""
    monkeypatch.setattr(objective._LinearBernoulli, "PIECE", piece)
    model, x = small("heads")
    codes, weights = gaussians(4, *shape)[0], gaussians(5, *shape[:-1])[0]
    found, expected = codes.clone().requires_grad_(), codes.clone().requires_grad_()
    value = log_likelihood_of_codes(model, found, x)
    plain = bernoulli_log_likelihood(model.decode(expected), x if len(shape) == 2 else x[:, None])
    torch.testing.assert_close(value, plain)
    torch.testing.assert_close(
        gradients((weights * value).sum(), model), gradients((weights * plain).sum(), model)
    )
    torch.testing.assert_close(found.grad, expected.grad)
    with pytest.raises(NotImplementedError, match="in x"):
        log_likelihood_of_codes(model, codes, x.requires_grad_())


def test_bf16_step_is_the_float32_step_to_its_rounding():
    """The K-head loss to 1e-3 and its gradient to bf16's 8 bits, as the benchmarks ask."""
    torch.manual_seed(0)
    sizes = {"encoder_hidden": (64,), "decoder_hidden": (64, 64)}
    model = GMVAE(GMVAEConfig(K=20, z_dim=16, learn_weights=True, **sizes))
    x = (torch.rand(16, 784) < 0.2).float()

    def step(enabled):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = -library_elbo(model, x, model.encode(x)).elbo.mean()
        return loss.item(), gradients(loss, model)

    (loss, gradient), (expected, wanted) = step(True), step(False)
    assert loss == pytest.approx(expected, rel=1e-3)
    assert (gradient - wanted).norm() < 0.01 * wanted.norm()


# ---- mutual information ----------------------------------------------------------------------


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


# ---- contrast --------------------------------------------------------------------------------


def two_views(seed, n=6):
    """A model with a projection, and the features [n, 16] of two views of n images."""
    torch.manual_seed(seed)
    config = GMVAEConfig(K=3, image_shape=(3, 4), encoder_hidden=(16,), features=12, projection=5)
    model = GMVAE(config)
    features = torch.randn(n, 16)
    return model, *(features + 0.5 * torch.randn(n, 16) for _ in range(2))


def without_projection():
    """A model whose contrast compares the features as they are."""
    model = GMVAE(GMVAEConfig(K=3, image_shape=(3, 4), encoder_hidden=(16,)))
    model.projection = torch.nn.Identity()
    return model


@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([0.05, 0.2, 1.0]))
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_contrast_is_the_mean_log_probability_of_the_partner(seed, n, temperature):
    model, first, second = two_views(seed, n)
    wide = copy.deepcopy(model).double()
    p = [wide.projection(f.double()) for view in (first, second) for f in view]
    total = 0.0
    for i in range(2 * n):
        cosines = [float(p[i] @ p[j] / p[i].norm() / p[j].norm()) for j in range(2 * n)]
        weights = [math.exp(cosine / temperature) for cosine in cosines]
        others = sum(weight for j, weight in enumerate(weights) if j != i)
        total += math.log(weights[(i + n) % (2 * n)] / others)
    found = contrast(model, first, second, temperature).item()
    assert found == pytest.approx(total / (2 * n), rel=1e-4, abs=1e-5)
    assert found <= 1e-6


@torch.no_grad()
def test_contrast_does_not_depend_on_the_order_of_images_or_views():
    model, first, second = two_views(0)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    expected = contrast(model, first, second, 0.2)
    torch.testing.assert_close(contrast(model, first[order], second[order], 0.2), expected)
    torch.testing.assert_close(contrast(model, second, first, 0.2), expected)


@torch.no_grad()
def test_contrast_sees_directions_only():
    _, first, second = two_views(0)
    model = without_projection()
    expected = contrast(model, first, second, 0.2)
    torch.testing.assert_close(contrast(model, 7 * first, second, 0.2), expected)


@pytest.mark.parametrize("temperature", [1, 0.2, 0.05])
def test_contrast_is_perfect_for_coinciding_views_of_orthogonal_images(temperature):
    """Each partner has cosine 1 and the other 2n - 2 have 0: -log(1 + (2n - 2) e^(-1/T)) -> 0."""
    n = 6
    found = contrast(without_projection(), torch.eye(n), torch.eye(n), temperature).item()
    expected = -math.log1p((2 * n - 2) * math.exp(-1 / temperature))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_contrast_pulls_views_together():
    _, first, second = two_views(0)
    first.requires_grad_()
    contrast(without_projection(), first, second, 0.2).backward()
    before = torch.cosine_similarity(first, second).mean()
    assert torch.cosine_similarity(first + 0.5 * first.grad, second).mean() > before
