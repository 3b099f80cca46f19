"""Smoothing over neighbours: a dense reference, the laws it keeps, and bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib.errors import InputError
from gmvae_lib.smoothing import smooth_posterior


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, k, m = draw(st.integers(2, 20)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    return rng.dirichlet(np.ones(k), n), rng.integers(0, n, (n, m))


@given(problems(), st.sampled_from([0.0, 0.5, 0.9]), st.integers(0, 6))
@settings(deadline=None, max_examples=40)
def test_it_is_its_formula(problem, weight, steps):
    q, neighbours = problem
    wanted = q
    for _ in range(steps):
        wanted = (1 - weight) * q + weight * wanted[neighbours].mean(axis=1)
    found = smooth_posterior(q, neighbours, weight, steps)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    if weight == 0:
        np.testing.assert_allclose(found, q, atol=1e-6)


@given(problems(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_the_order_of_the_images_does_not_matter(problem, random):
    q, neighbours = problem
    order = np.array(random.sample(range(len(q)), len(q)))
    place = np.argsort(order)
    found = smooth_posterior(q[order], place[neighbours[order]])
    np.testing.assert_allclose(found, smooth_posterior(q, neighbours)[order], atol=1e-5)


def test_later_images_ask_those_smoothed_before():
    pool = np.eye(3, dtype=np.float32)
    found = smooth_posterior([[1, 0, 0]], [[1, 2]], weight=0.5, others=pool)
    np.testing.assert_allclose(found, [[0.5, 0.25, 0.25]])


@pytest.mark.parametrize(
    ("neighbours", "weight", "message"),
    [
        ([[0], [5]], 0.9, "neighbours: found rows 0 to 5; expected 0 to 1"),
        ([[0], [-1]], 0.9, "neighbours: found rows -1 to 0"),
        ([[0]], 0.9, r"neighbours: found shape \(1, 1\); expected \[2, n\]"),
        ([[0], [1]], 1.0, "weight: found 1.0; expected 0 or more and below 1"),
    ],
)
def test_bad_input_is_named(neighbours, weight, message):
    with pytest.raises(InputError, match=message):
        smooth_posterior(np.eye(2), neighbours, weight)
