"""What is said before any label is given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib.errors import InputError
from gmvae_lib.label.outlook import outlook


def near_of(points, n=10):
    distance = np.abs(points[:, None] - points).astype(float)
    np.fill_diagonal(distance, np.inf)
    return distance.argsort(axis=1)[:, :n]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8))
def test_clear_groups_work_and_clusters_at_random_do_not(seed, K):
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.repeat(np.arange(K), 20))
    near = near_of(kind * 100 + rng.random(len(kind)))
    groups = outlook(np.eye(K)[kind], near)
    assert groups.agreement == 1 and groups.works and "labels should pay" in groups.sentence
    nothing = outlook(np.eye(K)[rng.permutation(kind)], near)
    assert abs(nothing.agreement) < 0.3 and not nothing.works
    assert "expect little from labels" in nothing.sentence


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_the_order_of_images_and_the_names_of_clusters_do_not_matter(seed, K):
    rng = np.random.default_rng(seed)
    q = rng.dirichlet(np.full(K, 0.3), 60)
    near, order, names = near_of(q[:, 0]), rng.permutation(60), rng.permutation(K)
    place = np.argsort(order)
    again = outlook(q[order][:, names], place[near[order]])
    assert again == pytest.approx(outlook(q, near))


def test_more_is_needed_of_larger_clusters():
    needed = [
        outlook(np.eye(5)[np.arange(n) % 5], near_of(np.arange(n))).needed
        for n in (10, 25, 100, 750, 1500)
    ]
    assert needed[0] == needed[1] < needed[2] < needed[3] == needed[4]


def test_one_cluster_is_no_group():
    q = np.full((30, 3), [0.5, 0.3, 0.2])
    found = outlook(q, near_of(np.arange(30)))
    assert found.agreement == 0 and not found.works


@pytest.mark.parametrize("near", [np.zeros((3, 0), int), np.zeros((2, 4), int), np.zeros(3, int)])
def test_neighbours_of_another_shape_are_refused(near):
    with pytest.raises(InputError, match=r"neighbours: found shape .* expected \[3, n\]"):
        outlook(np.eye(3), near)
