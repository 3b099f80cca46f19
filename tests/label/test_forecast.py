"""Forecasts of the accuracy: against worlds whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from gmvae_lib import GraphDecoder, HardDecoder, SoftDecoder
from gmvae_lib.errors import InputError
from gmvae_lib.label import forecast as module
from gmvae_lib.label.decoding import cluster_affinity
from gmvae_lib.label.forecast import accuracy_curve, forecast, labels_for_accuracy, unseen_share


def world(seed=0, n_images=8000, n_clusters=40, n_classes=8, impurity=0.1, doubt=0.05):
    """q [N, K] and y [N]: clusters on a ring, neighbours in blocks of one label each."""
    rng = np.random.default_rng(seed)
    cluster = rng.choice(n_clusters, n_images, p=rng.dirichlet(np.full(n_clusters, 5.0)))
    name = cluster * n_classes // n_clusters
    other = (name + rng.integers(1, n_classes, n_images)) % n_classes
    y = np.where(rng.random(n_images) < impurity, other, name)
    centres = np.arange(n_clusters) + 0.45 * (np.arange(n_clusters) * n_classes // n_clusters)
    distance = np.abs(centres[cluster][:, None] + rng.normal(0, 0.2, n_images)[:, None] - centres)
    q = np.exp(-3 * distance) + 1e-4
    q[np.arange(n_images), cluster] = 0
    q *= doubt / q.sum(axis=1, keepdims=True)
    q[np.arange(n_images), cluster] = 1 - doubt
    return q.astype(np.float32), y


def measured(q, y, n_labels, draws=40):
    decoder, accuracy = GraphDecoder(cluster_affinity(q)), []
    for seed in range(draws):
        rows = np.random.default_rng(seed).choice(len(y), n_labels, replace=False)
        accuracy.append((decoder.fit(q[rows], y[rows]).predict(q) == y).mean())
    return np.array(accuracy)


@pytest.mark.parametrize("decoder", [HardDecoder(), SoftDecoder()])
def test_forecast_is_right_on_average_and_its_interval_mostly_holds(decoder):
    q, y = world()
    truth, found = [], []
    for seed in range(30):
        rows = np.random.default_rng(seed).choice(len(y), 40, replace=False)
        found.append(forecast(decoder, q[rows], y[rows]))
        truth.append((decoder.fit(q[rows], y[rows]).predict(q) == y).mean())
    table, truth = pd.DataFrame(found), np.array(truth)
    error = table["accuracy"] - truth
    # one label fewer, and the error of 30 draws
    assert abs(error.mean()) < 0.01 + 4 * error.std() / np.sqrt(30)
    held = (table["low"] <= truth) & (truth <= table["high"])
    assert held.mean() > 0.85
    # half as many answers: a wider interval than the binomial one
    assert module.binomial_interval(24, 30)[0] < beta.ppf(0.025, 48, 13)


def test_unseen_labels_are_the_singletons():
    rng, errors = np.random.default_rng(0), []
    shares = rng.dirichlet(np.ones(30))
    for _ in range(400):
        y = rng.choice(30, 50, p=shares)
        errors.append(unseen_share(y) - shares[np.setdiff1d(np.arange(30), y)].sum())
    # Good-Turing is biased by less than 1 / n
    assert abs(np.mean(errors)) < 1 / 50 + 4 * np.std(errors) / 20


def test_one_label_tells_nothing():
    found = forecast(HardDecoder(), np.eye(2)[:1], ["a"])
    assert (found.accuracy, found.low, found.unseen) == (0, 0, 1)
    assert found.high == pytest.approx(0.99937, abs=1e-4)


@pytest.mark.parametrize("impurity", [0.03, 0.15])
def test_the_band_holds_the_measured_curve(impurity):
    q, y = world(impurity=impurity, doubt=impurity / 2)
    curve = accuracy_curve(q, 8, [5, 20, 60, 200])
    held = []
    for row in curve.itertuples():
        accuracy = measured(q, y, row.n_labels)
        held.append(np.mean((row.low <= accuracy) & (accuracy <= row.high)))
    assert np.mean(held) > 0.85
    assert curve["accuracy"].is_monotonic_increasing


def test_labels_at_hand_narrow_the_band_about_the_truth():
    q, y = world(impurity=0.02, doubt=0.1)  # the posterior doubts more than it need
    rows = np.random.default_rng(1).choice(len(y), 80, replace=False)
    before = accuracy_curve(q, 8, [200])
    after = accuracy_curve(q, 8, [200], rows, y[rows])
    truth = measured(q, y, 200).mean()
    assert after["high"][0] - after["low"][0] < before["high"][0] - before["low"][0]
    assert abs(after["accuracy"][0] - truth) < abs(before["accuracy"][0] - truth)


def test_chosen_labels_need_fewer():
    q, _ = world()
    counts = [5, 10, 20, 40]
    chosen, at_random = (accuracy_curve(q, 8, counts, chosen=way) for way in (True, False))
    assert (chosen["accuracy"] > at_random["accuracy"]).all()
    assert chosen["accuracy"].is_monotonic_increasing


def test_all_pairs_agree_as_often_as_the_number_of_classes_says():
    q, _ = world()
    weights = np.bincount(q.argmax(axis=1)) / len(q)
    for n_classes in (4, 8, 16):
        of_pairs = module._World(weights, module.cluster_overlap(q), n_classes, 0.1).agreement
        assert weights @ of_pairs @ weights == pytest.approx(1 / n_classes, abs=1e-6)


def test_impurity_is_what_was_asked_for():
    for impurity in (0.02, 0.1, 0.3):
        made = module._World(np.full(4, 0.25), np.eye(4), 2, impurity)
        assert made.by_votes[-1] == pytest.approx(1 - impurity, abs=0.01)
        assert (np.diff(made.by_votes[::2]) >= 0).all()


def test_labels_for_accuracy_reads_the_curve():
    curve = pd.DataFrame(
        {
            "n_labels": [1, 10, 100],
            "accuracy": [0.2, 0.5, 0.8],
            "low": [0.1, 0.4, 0.6],
            "high": [0.3, 0.7, 0.9],
        }
    )
    found = labels_for_accuracy(curve, 0.5)
    assert found.labels == 10
    assert 1 < found.low < 10 < found.high < 100
    assert labels_for_accuracy(curve, 0.85) == (np.inf, pytest.approx(56, abs=1), np.inf)
    assert labels_for_accuracy(curve, 0.15).labels == 1


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda q: accuracy_curve(q, 1, [5]), "n_classes: found 1"),
        (lambda q: accuracy_curve(q, 2, [0]), "n_labels: found 0"),
        (lambda q: accuracy_curve(q * 2, 2, [5]), "q: found a sum of 2"),
        (lambda q: accuracy_curve(q, 2, [5], [0, 1], [1]), "y: found 1 labels for 2 images"),
        (lambda q: labels_for_accuracy(accuracy_curve(q, 2, [5]), 1.2), r"accuracy: found 1\.2"),
    ],
)
def test_bad_arguments(call, found):
    with pytest.raises(InputError, match=found):
        call(np.eye(3)[[0, 1, 2, 2]])
