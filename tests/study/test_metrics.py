"""Metrics against scipy, scikit-learn, or counting by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gmvae_lib.errors import InputError
from gmvae_lib.study import metrics


@given(
    values=st.lists(st.floats(0, 1), min_size=2, max_size=20),
    confidence=st.sampled_from([0.5, 0.95]),
)
@settings(deadline=None)
def test_interval_is_scipys(values, confidence):
    mean, low, high = metrics.mean_and_interval(values, confidence)
    assert mean == pytest.approx(np.mean(values))
    error = stats.sem(values)
    if error == 0:
        assert (low, high) == (mean, mean)
    else:
        expected = stats.t.interval(confidence, len(values) - 1, np.mean(values), error)
        assert (low, high) == pytest.approx(expected)


def test_interval_of_one_seed_has_no_bounds():
    mean, low, high = metrics.mean_and_interval([0.8])
    assert mean == 0.8
    assert np.isnan(low)
    assert np.isnan(high)


@pytest.mark.parametrize(("values", "confidence"), [([], 0.95), ([[1.0]], 0.95), ([1.0], 95)])
def test_interval_refuses(values, confidence):
    with pytest.raises(InputError, match="values|confidence"):
        metrics.mean_and_interval(values, confidence)


def test_accuracy_counts_hits():
    assert metrics.accuracy(["a", "b", "c", "d"], ["a", "b", "c", "e"]) == 0.75
    with pytest.raises(InputError, match="y_true of 2, y_pred of 1"):
        metrics.accuracy([1, 2], [1])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40))
@settings(deadline=None)
def test_purity_by_hand(pairs):
    cluster, y = np.array(pairs).T
    kept = sum(max(np.bincount(y[cluster == c])) for c in np.unique(cluster))
    assert metrics.purity(cluster, y) == pytest.approx(kept / len(y))


def test_purity_of_one_cluster_is_the_commonest_class():
    assert metrics.purity([0, 0, 0], ["a", "a", "b"]) == pytest.approx(2 / 3)


def test_components_in_use_counts_winners():
    assert metrics.components_in_use([[0.9, 0.1, 0], [0.8, 0.2, 0], [0, 0.4, 0.6]]) == 2


def test_entropy_in_nats():
    found = metrics.posterior_entropy([[0.25] * 4, [1.0, 0, 0, 0]])
    np.testing.assert_allclose(found, [np.log(4), 0])


def test_component_table():
    q = np.array([[0.9, 0.1, 0], [0.7, 0.3, 0], [0.6, 0.4, 0], [0.2, 0.8, 0]])
    table = metrics.component_table(q, np.array([3, 3, 1, 1]), class_names="abcd")
    assert table["component"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(table["weight"], [0.6, 0.4, 0])
    assert table["size"].tolist() == [3, 1, 0]
    np.testing.assert_allclose(table["purity"], [2 / 3, 1, np.nan])
    assert table["top"].tolist() == ["d 67 %, b 33 %", "b 100 %", ""]
    weighted = np.average(table["purity"][:2], weights=table["size"][:2])
    assert weighted == pytest.approx(metrics.purity(q.argmax(1), [3, 3, 1, 1]))


def test_component_table_without_names_shows_the_label():
    assert metrics.component_table([[1.0]], [7])["top"].tolist() == ["7 100 %"]


def test_per_class_gain_over_draws():
    draws = [
        (["a", "a", "b"], ["a", "a", "b"], ["a", "b", "b"]),  # a: +1/2, b: 0
        (["a", "a"], ["a", "a"], ["b", "b"]),  # a: +1, no b
    ]
    table = metrics.per_class_gain(draws).set_index("label")
    mean, low, high = metrics.mean_and_interval([0.5, 1.0])
    assert table.loc["a", ["gain", "low", "high"]].tolist() == pytest.approx([mean, low, high])
    assert table.loc["a", "spread"] == pytest.approx(np.std([0.5, 1.0], ddof=1))
    assert table["n_seeds"].tolist() == [2, 1]
    assert table.loc["b", "gain"] == 0
    assert np.isnan(table.loc["b", "low"])


def test_per_class_gain_needs_a_draw():
    with pytest.raises(InputError, match="draws"):
        metrics.per_class_gain([])


def test_labels_at_accuracy_is_linear_in_the_logarithm():
    found = metrics.labels_at_accuracy([1000, 10, 100], [0.9, 0.5, 0.7], 0.8)
    assert found == pytest.approx(10**2.5)
    assert metrics.labels_at_accuracy([10, 100], [0.5, 0.7], 0.7) == pytest.approx(100)


def test_labels_at_accuracy_at_the_ends():
    assert np.isnan(metrics.labels_at_accuracy([10, 100], [0.5, 0.7], 0.8))
    assert metrics.labels_at_accuracy([10, 100], [0.85, 0.9], 0.8) == 10
    with pytest.raises(InputError, match="n_labels"):
        metrics.labels_at_accuracy([10], [0.1, 0.2], 0.5)


def test_labels_at_accuracy_interval():
    n_labels = np.array([10, 100, 1000])
    curve = np.array([[0.5, 0.7, 0.9], [0.6, 0.8, 1.0], [0.4, 0.6, 0.8]])
    estimate, low, high = metrics.labels_at_accuracy_interval((n_labels, curve), 0.8)
    assert estimate == pytest.approx(metrics.labels_at_accuracy(n_labels, curve.mean(axis=0), 0.8))
    # the ends are those of the best and the worst seed drawn three times
    assert (low, high) == pytest.approx((100, 1000))
    same = np.tile(curve[:1], (3, 1))
    found = metrics.labels_at_accuracy_interval((n_labels, same), 0.8)
    assert found == pytest.approx([10**2.5] * 3)


def test_ratio_of_labels_at_accuracy():
    curve = np.array([[0.5, 0.7, 0.9], [0.6, 0.8, 1.0]])
    n_labels = np.array([10, 100, 1000])
    found = metrics.labels_at_accuracy_interval((n_labels, curve), 0.8, (30 * n_labels, curve))
    # the same seeds are drawn for both, so the ratio does not vary
    assert found == pytest.approx([30] * 3)
    flat = np.full((2, 3), 0.5)
    estimate, low, high = metrics.labels_at_accuracy_interval(
        (n_labels, curve), 0.8, (n_labels, flat)
    )
    assert np.isnan(estimate)
    assert (low, high) == (np.inf, np.inf)
    # of other numbers of seeds, each is drawn by itself
    more = np.repeat(curve, 2, axis=0)
    estimate, low, high = metrics.labels_at_accuracy_interval(
        (n_labels, curve), 0.8, (30 * n_labels, more)
    )
    assert estimate == pytest.approx(30)
    assert low < estimate < high
    with pytest.raises(InputError, match="expected \\[S, M\\] each"):
        metrics.labels_at_accuracy_interval((n_labels, curve), 0.8, (n_labels, curve[0]))


# ---- confidence ----------------------------------------------------------------------------------


def predictions(draw_seed, n):
    rng = np.random.default_rng(draw_seed)
    confidence = rng.random(n).round(1)  # with ties
    return confidence, rng.random(n) < confidence


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), n_bins=st.integers(1, 12))
@settings(deadline=None)
def test_reliability_and_its_error_by_hand(seed, n, n_bins):
    confidence, correct = predictions(seed, n)
    table = metrics.reliability(confidence, correct, n_bins)
    rows, error = [], 0.0
    for b in range(n_bins):
        inside = [i for i in range(n) if min(int(confidence[i] * n_bins), n_bins - 1) == b]
        if inside:
            sure, right = np.mean(confidence[inside]), np.mean(correct[inside])
            rows.append((sure, right, len(inside) / n))
            error += len(inside) / n * abs(sure - right)
    np.testing.assert_allclose(table[["confidence", "accuracy", "share"]], rows)
    found = metrics.expected_calibration_error(confidence, correct, n_bins)
    assert found == pytest.approx(error)


def test_calibration_error_of_the_sure_is_their_error_rate():
    assert metrics.expected_calibration_error([1.0] * 4, [1, 1, 1, 0]) == pytest.approx(0.25)
    assert metrics.expected_calibration_error([0.75] * 4, [1, 1, 1, 0]) == 0


@given(seed=st.integers(0, 10_000), n=st.integers(1, 40))
@settings(deadline=None)
def test_accuracy_at_coverage_is_the_mean_over_orders_of_ties(seed, n):
    confidence, correct = predictions(seed, n)
    coverage, accuracy = metrics.accuracy_at_coverage(confidence, correct)
    np.testing.assert_allclose(coverage, np.arange(1, n + 1) / n)
    assert accuracy[-1] == pytest.approx(correct.mean())
    for kept in range(1, n + 1):
        last = np.sort(confidence)[::-1][kept - 1]
        sure, tied = confidence > last, confidence == last
        expected = correct[sure].sum() + (kept - sure.sum()) * correct[tied].mean()
        assert accuracy[kept - 1] == pytest.approx(expected / kept)


def test_accuracy_at_coverage_knows_no_scale():
    confidence, correct = predictions(0, 50)
    first = metrics.accuracy_at_coverage(confidence, correct)
    second = metrics.accuracy_at_coverage(np.exp(3 * confidence), correct)
    np.testing.assert_allclose(first, second)


def test_confidence_that_is_no_probability_is_refused():
    with pytest.raises(InputError, match="confidence: found 0.5 to 1.5; expected 0 to 1"):
        metrics.reliability([0.5, 1.5], [True, False])
    with pytest.raises(InputError, match="confidence of 2, correct of 1"):
        metrics.accuracy_at_coverage([0.5, 0.5], [True])
