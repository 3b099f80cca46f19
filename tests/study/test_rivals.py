"""Semi-supervised baselines: small problems of known answer, dense references, missing classes."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import HardDecoder
from gmvae_lib.label.neighbours import adjacency
from gmvae_lib.study import clusterings, rivals

MAKERS = {**rivals.on_embedding(), **rivals.by_self_training(None)}


@pytest.fixture(scope="module")
def blobs():
    """Three far groups of 40 points [120, 6] with gaps in their labels, and 5 neighbours each."""
    rng = np.random.default_rng(0)
    y = np.repeat([2, 11, 25], 40)
    centres = 10 * np.eye(6)[[0, 2, 4]]
    X = (centres.repeat(40, axis=0) + rng.normal(size=(120, 6))).astype(np.float32)
    distance = np.linalg.norm(X[:, None] - X[None], axis=2)
    neighbours = distance.argsort(axis=1)[:, 1:6]
    neighbours[[0, 40], 4] = 40, 80  # one edge between groups, for Poisson learning
    return X, y, neighbours


def chain(n):
    """Neighbours of images in a row: a connected graph."""
    before, after = np.arange(n) - 1, np.arange(n) + 1
    before[0], after[-1] = 1, n - 2
    return np.column_stack([before, after])


def rows_classifiers(blobs):
    X, _, neighbours = blobs
    graph = adjacency(neighbours)
    return {
        **rivals.on_graph(graph),
        "self-training": rivals.SelfTraining(X, LogisticRegression(), threshold=0.8),
    }


# ---- every rival ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rivals.on_embedding())
@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_embedding_rivals_find_the_groups(name, n, blobs):
    X, y, _ = blobs
    rows = np.random.default_rng(1).permutation(120)[:n]
    model = rivals.on_embedding()[name](n, 0, 1).fit(X[rows], y[rows])
    predicted = model.predict(X)
    assert set(predicted) <= set(y[rows])  # a class that the draw lacks is never guessed
    if n == 12:
        assert (predicted == y).mean() > 0.9


@pytest.mark.parametrize("name", ["Poisson learning", "label spreading", "self-training"])
def test_rivals_by_row_find_the_groups(name, blobs):
    _, y, _ = blobs
    model = clone(rows_classifiers(blobs)[name])
    rows = np.array([3, 50, 90])
    assert (model.fit(rows, y[rows]).predict(np.arange(120)) == y).all()
    assert (model.predict([[7], [60]]) == y[[7, 60]]).all()
    # strings, and a draw that lacks a class
    words = np.array(["t", "j"])
    assert set(model.fit(rows[:2], words).predict(np.arange(120))) == {"t", "j"}
    # one class is a constant
    assert set(model.fit(rows[:1], [9]).predict(np.arange(120))) == {9}


@pytest.mark.parametrize("name", ["Poisson learning", "label spreading", "self-training"])
def test_names_of_the_labels_do_not_matter(name, blobs):
    _, y, _ = blobs
    rng = np.random.default_rng(0)
    rows = rng.permutation(120)[:9]
    y = np.searchsorted([2, 11, 25], y)
    renamed = np.array([2, 0, 1])
    model = rows_classifiers(blobs)[name]
    first = clone(model).fit(rows, y[rows]).predict(np.arange(120))
    second = clone(model).fit(rows, renamed[y[rows]]).predict(np.arange(120))
    np.testing.assert_array_equal(renamed[first], second)


@pytest.mark.parametrize("name", ["Poisson learning", "label spreading", "self-training"])
@pytest.mark.parametrize(
    ("rows", "y", "message"),
    [
        ([0, 1], [1], "y: found 1 labels for 2 rows; expected one each"),
        ([], [], "y: found 0 labels"),
        ([0, 120], [0, 1], "rows: found 0 to 120 of type int64; expected row numbers, 0 to 119"),
        ([-1, 3], [0, 1], "rows: found -1 to 3"),
        ([0.0, 1.0], [0, 1], "rows: found 0.0 to 1.0 of type float64; expected row numbers"),
    ],
)
def test_bad_input_is_named(name, rows, y, message, blobs):
    model = rows_classifiers(blobs)[name]
    with pytest.raises(InputError, match=message):
        model.fit(np.array(rows, dtype=int if not rows else None), y)


# ---- Poisson learning ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_poisson_learning_solves_its_equation(seed):
    """Against the pseudo-inverse of L = D - W in float64, on a random connected graph."""
    rng = np.random.default_rng(seed)
    n, rows = 30, rng.permutation(30)[:7]
    index = np.array([0, 1, 2, 0, 0, 1, 0])  # unequal shares
    neighbours = np.column_stack([chain(n), rng.integers(0, n, n)])
    graph = adjacency(neighbours).astype(np.float64)
    model = rivals.PoissonLearning(graph, corrected=False, tolerance=1e-12).fit(rows, index)

    W = graph.toarray()  # a loop counts twice in it, and nothing in L
    W -= np.diag(np.diag(W))
    degree = W.sum(axis=1)
    share = np.bincount(index) / len(index)
    sources = np.zeros((n, 3))
    sources[rows] = np.eye(3)[index] - share
    u = np.linalg.pinv(np.diag(degree) - W) @ sources
    u -= degree @ u / degree.sum()  # sum_x d(x) u(x) = 0
    np.testing.assert_allclose(model.scores_, u, atol=1e-8)
    model.set_params(corrected=True).fit(rows, index)
    np.testing.assert_allclose(model.scores_, u / share, atol=1e-8)


def test_poisson_learning_wants_a_connected_graph():
    neighbours = np.concatenate([chain(10), chain(10) + 10])
    with pytest.raises(InputError, match="graph: found 2 parts; expected a connected graph"):
        rivals.PoissonLearning(adjacency(neighbours)).fit([0, 9], ["a", "b"])


# ---- graphs and label spreading ------------------------------------------------------------------


def test_the_graph_joins_neighbours_both_ways():
    graph = adjacency([[1], [0], [0]]).toarray()
    np.testing.assert_array_equal(graph, [[0, 2, 1], [2, 0, 0], [1, 0, 0]])


def test_label_spreading_reaches_its_closed_form():
    """F = (I - alpha S)^-1 Y, up to a factor for each image (Zhou et al. 2004, equation 4)."""
    rng = np.random.default_rng(0)
    neighbours = np.column_stack([chain(20), rng.integers(0, 20, 20)])
    graph = adjacency(neighbours)
    rows, index = np.array([0, 7, 19]), np.array([0, 1, 1])
    found = rivals.Spreading(graph, alpha=0.9, steps=2000).fit(rows, index).scores_
    # scikit-learn normalises a Laplacian, whose diagonal is not part of the graph
    W = graph.toarray() * (1 - np.eye(20))
    root = np.sqrt(W.sum(axis=1))
    Y = np.zeros((20, 2))
    Y[rows, index] = 1
    F = np.linalg.solve(np.eye(20) - 0.9 * W / root[:, None] / root[None], Y)
    np.testing.assert_allclose(found, F / F.sum(axis=1, keepdims=True), atol=1e-3)


# ---- clusterings ---------------------------------------------------------------------------------


def test_clusterings_find_the_groups(blobs):
    X, y, _ = blobs
    for name, make in rivals.clusterings(X, X, 3).items():
        q = make()
        assert q.dtype == np.float32, name
        assert q.shape == (120, 3), name
        np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)
        rows = np.array([0, 60, 100])
        assert (HardDecoder().fit(q[rows], y[rows]).predict(q) == y).all(), name


def test_without_a_label_a_cluster_asks_the_nearest_centroid():
    points = np.array([[0.0], [1.0], [5.0], [100.0]])
    q = clusterings.kmeans_posterior(points, K=4)
    decoder = HardDecoder().fit(q[[0, 3]], ["a", "b"])
    assert list(decoder.predict(q)) == ["a", "a", "a", "b"]


@pytest.mark.parametrize("cluster", [clusterings.kmeans_posterior, clusterings.mixture_posterior])
def test_too_few_points_to_cluster(cluster):
    with pytest.raises(InputError, match=r"points: found shape \(5, 2\); expected \[N, D\]"):
        cluster(np.zeros((5, 2)), K=6)
