"""Naming with classes held to a size: the shares are met, labels stay, bad shares are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib.errors import InputError
from gmvae_lib.label.neighbours import adjacency
from gmvae_lib.study import balanced
from gmvae_lib.study.balanced import BalancedDiffusion, balance, evidence


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_the_wanted_shares_are_met_and_the_order_within_a_label_stays(seed, C):
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.05, 1, (400, C))
    shares = rng.dirichlet(np.full(C, 20.0))
    found = balance(weights, shares)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(found.mean(axis=0), shares, atol=2e-3)
    # one factor a label: the ratio of two labels is that of the weights times a constant
    ratio = (found[:, 0] / found[:, 1]) / (weights[:, 0] / weights[:, 1])
    assert np.allclose(ratio, ratio[0], rtol=1e-3)


def test_what_is_balanced_already_stays():
    weights = np.array([[0.7, 0.3], [0.3, 0.7]])
    assert np.allclose(balance(weights, [0.5, 0.5]), weights, atol=1e-5)


@pytest.mark.parametrize("shares", [[0.5, 0.6], [1.0, 0.0], [1.0], [np.nan, 1.0]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(InputError, match="shares: found"):
        balance(np.full((4, 2), 0.5), shares)


def test_a_label_that_no_image_may_have_is_refused():
    with pytest.raises(InputError, match="weights: found 0 as the least"):
        balance(np.array([[1.0, 0.0], [1.0, 0.0]]), [0.5, 0.5])


def test_sizes_that_are_not_met_in_time_are_said(monkeypatch):
    monkeypatch.setattr(balanced, "MOST", 1)
    with pytest.warns(UserWarning, match="shares are met to 25.0% only, after 1 iterations"):
        balance(np.full((4, 2), 0.5), [0.4, 0.6])


def test_evidence_of_a_single_label_is_one_throughout():
    assert (evidence(np.ones((3, 1)), 4.0) == 1).all()
    found = evidence([[0.0, 2.0], [1.0, 1.0]], 1.0)
    assert np.allclose(found.max(axis=1), 1) and found[0, 0] < found[1, 0]


@pytest.fixture
def line():
    """Thirty images on a line, each next to its neighbours: ten of one class, twenty of another."""
    n = 30
    near = [[max(i - 1, 0) + 2 * (i == 0), min(i + 1, n - 1) - 2 * (i == n - 1)] for i in range(n)]
    return np.full((n, 1), 1.0), adjacency(near), np.repeat(["a", "b"], [10, 20])


def test_the_border_lies_where_the_told_sizes_put_it(line):
    q, graph, y = line
    rows = [0, 29]  # half-way between them is image 15
    told = BalancedDiffusion(q, graph, {"a": 1 / 3, "b": 2 / 3}).fit(rows, y[rows])
    of_labels = BalancedDiffusion(q, graph).fit(rows, y[rows])
    everyone = np.arange(30)
    assert (told.predict(everyone) == y).mean() >= 0.9
    assert (of_labels.predict(everyone) == "a").mean() == pytest.approx(0.5, abs=0.1)
    assert told.predict(rows).tolist() == ["a", "b"]


def test_a_label_without_a_told_size_is_refused_and_others_are_left_out(line):
    q, graph, y = line
    with pytest.raises(InputError, match="shares: found none for the label 'b'"):
        BalancedDiffusion(q, graph, {"a": 1.0}).fit([0, 29], y[[0, 29]])
    more = BalancedDiffusion(q, graph, {"a": 0.2, "b": 0.4, "c": 0.4}).fit([0, 29], y[[0, 29]])
    assert (more.predict(np.arange(30)) == y).mean() >= 0.9
