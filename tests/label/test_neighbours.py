"""Smoothing over neighbours: a dense reference, the laws it keeps, and bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from gmvae_lib.errors import InputError
from gmvae_lib.label.calibration import held_out_proba
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity
from gmvae_lib.label.neighbours import (
    NeighbourDecoder,
    neighbour_graph,
    smooth_posterior,
)


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


# ---- labels that spread over the neighbour graph ------------------------------------------------


def dense_graph(neighbours):
    n = len(neighbours)
    edges = np.zeros((n, n))
    for i, near in enumerate(neighbours):
        for j in near:
            edges[i, j] += 1
            edges[j, i] += 1
    degree = edges.sum(axis=1)
    return edges / np.sqrt(degree[:, None] * degree[None])


@given(problems())
@settings(deadline=None, max_examples=20)
def test_the_graph_is_its_formula(problem):
    _, neighbours = problem
    found = neighbour_graph(neighbours).toarray()
    np.testing.assert_allclose(found, dense_graph(neighbours), atol=1e-6)


@given(problems(), st.integers(1, 6), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_the_neighbour_decoder_is_its_formula(problem, steps, n_classes):
    q, neighbours = problem
    q = q.astype(np.float32)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(q))[: max(1, len(q) // 3)]
    y = rng.integers(0, n_classes, len(rows))
    decoder = NeighbourDecoder(
        q, neighbour_graph(neighbours), weight=0.7, steps=steps, background=0.1
    )
    found = decoder.fit(rows, y).predict_proba(np.arange(len(q)))

    sources = (np.unique(y) == y[:, None]).astype(float)
    labelled = np.zeros((len(q), sources.shape[1]))
    labelled[rows] = sources
    near = labelled
    for _ in range(steps):
        near = 0.7 * dense_graph(neighbours) @ near + 0.3 * labelled
    density = (near + 0.1 / len(q)) / (labelled.sum(axis=0) + 0.1)
    graph = GraphDecoder(cluster_affinity(q)).fit(q[rows], y)
    expected = graph.predict_proba(q) * density
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_near_labels_tell_apart_what_a_cluster_holds_together():
    q = np.ones((6, 1), dtype=np.float32)  # one component for all
    neighbours = np.array([[1], [2], [0], [4], [5], [3]])  # two rings of three images
    decoder = NeighbourDecoder(q, neighbour_graph(neighbours)).fit([[0], [3]], ["a", "b"])
    assert list(decoder.predict(np.arange(6))) == list("aaabbb")
    # an image that no label reaches has the verdict of its component, here a tie
    alone = NeighbourDecoder(q, neighbour_graph(neighbours)).fit([0, 1], ["a", "b"])
    np.testing.assert_allclose(alone.predict_proba([4]), [[0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "rows", "message"),
    [
        ({}, [0, 9], "rows: found 0 to 9 of type int64; expected row numbers, 0 to 3"),
        ({}, [0.0, 1.0], "rows: found 0.0 to 1.0 of type float64"),
        ({}, [0], "y: found 2 labels for 1 rows"),
        ({"weight": 1.0}, [0, 1], "weight: found 1.0"),
        ({"background": 0.0}, [0, 1], "background: found 0.0; expected above 0"),
        ({"q": np.eye(3)}, [0, 1], r"graph: found shape \(4, 4\); expected \(3, 3\)"),
    ],
)
def test_bad_input_to_the_neighbour_decoder_is_named(changes, rows, message):
    graph = neighbour_graph([[1], [2], [3], [0]])
    decoder = NeighbourDecoder(**({"q": np.eye(4), "graph": graph} | changes))
    with pytest.raises(InputError, match=message):
        decoder.fit(np.array(rows), [0, 1])


@given(problems(), st.integers(1, 3))
@settings(deadline=None, max_examples=20)
def test_leaving_one_out_is_fitting_without_it(problem, chunk):
    q, neighbours = problem
    rng = np.random.default_rng(len(q))
    rows = rng.permutation(len(q))[: rng.integers(1, len(q) + 1)]
    y = rng.choice(["a", "b", "c"], len(rows))
    decoder = NeighbourDecoder(q, neighbour_graph(neighbours), steps=7)
    expected, _ = held_out_proba(decoder, rows, y, len(rows))
    np.testing.assert_allclose(decoder.leave_one_out(rows, y, chunk), expected, atol=1e-5)


def test_the_neighbour_decoder_keeps_to_scikit_learns_parameters():
    """Its points are row numbers, so scikit-learn's checks, which bring features, cannot apply."""
    decoder = NeighbourDecoder(np.eye(3), neighbour_graph(np.array([[1], [2], [0]])), steps=7)
    copy = clone(decoder, safe=True)
    assert copy.get_params()["steps"] == 7 and not hasattr(copy, "proba_")
    assert copy.fit([[0], [2]], ["a", "b"]).predict([0, 2]).tolist() == ["a", "b"]
