"""What the report claims, against the truth: mostly on the published run of 100,000 letters."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.coverage import told_and_true
from gmvae_lib import load_images, load_run
from gmvae_lib.data.labels import AT_RANDOM
from gmvae_lib.errors import InputError
from gmvae_lib.label.calibration import held_out_proba, temperature
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity
from gmvae_lib.report.findings import (
    MIN_RANDOM,
    Accuracy,
    cluster_names,
    contradicted,
    examine,
    expected_accuracy,
    measured,
    random_temperature,
)
from gmvae_lib.report.gain import labels_wanted, simulate_gain
from gmvae_lib.report.report_page import accuracy_sentence

RUN = Path(__file__).parents[2] / "results" / "letters100k"


@pytest.fixture(scope="module")
def published():
    """q [4,000, 100] and true labels of some of the published run."""
    run = load_run(RUN)
    rows = np.random.default_rng(0).permutation(len(run.labels))[:4000]
    return run.posterior[rows], run.labels[rows]


@pytest.fixture(scope="module")
def graph(published):
    return GraphDecoder(cluster_affinity(published[0]))


def accuracy(decoder, q, y, index):
    right = decoder.fit(q[index], y[index]).predict(q) == y
    return np.delete(right, index).mean()


def test_interval_from_random_labels_covers_the_true_accuracy(published, graph):
    q, y = published
    covered, draws, n = 0, 30, 80
    for seed in range(draws):
        index = np.random.default_rng(seed).permutation(len(q))[:n]
        found, truth = told_and_true(graph, q, y, index, np.ones(n, bool))
        assert found.how == "random" and found.n == n
        covered += found.low <= truth <= found.high
    # 95 % are to be covered; 24 or fewer of 30 would be a chance of 1 in 300
    assert covered > 24


@pytest.mark.parametrize(("n", "within"), [(50, 0.05), (200, 0.03)])
def test_gain_of_random_labels_is_near_the_measured(published, graph, n, within):
    q, y = published
    told, found = [], []
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(q))
        now = accuracy(graph, q, y, order[:n])
        later = [accuracy(graph, q, y, order[: n + m]) for m in (50, 100, 200)]
        found.append(np.array(later) - now)
        given = np.unique(y[order[:n]], return_inverse=True)[1]
        gain, spread = simulate_gain(q, order[:n], given, more=(50, 100, 200))
        told.append(gain["random"][1:])
        assert 0 < spread < 0.1
    np.testing.assert_allclose(np.mean(told, axis=0), np.mean(found, axis=0), atol=within)


def test_labels_for_a_wanted_accuracy_give_it(published, graph):
    """As many further random labels as are expected to be needed give the wanted accuracy."""
    q, y = published
    n, missed, covered, bands = 60, [], 0, 0
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(q))

        def reached(m, order=order):
            return accuracy(graph, q, y, order[: n + int(m)])

        gain, _ = simulate_gain(q, order[:n], np.unique(y[order[:n]], return_inverse=True)[1])
        exact = Accuracy(reached(0), reached(0), reached(0), n, "random")
        for row in labels_wanted(gain, exact, n, targets=(0.8, 0.85)).itertuples():
            if np.isfinite(row.random):
                missed.append(reached(row.random) - row.accuracy)
        told, _ = told_and_true(graph, q, y, order[:n], np.ones(n, bool))
        for row in labels_wanted(gain, told, n, targets=(0.8, 0.85)).itertuples():
            assert row.random_low <= row.random <= row.random_high
            high = 1 if np.isinf(row.random_high) else reached(row.random_high)
            low = 0 if np.isinf(row.random_low) else reached(row.random_low)
            covered += low <= row.accuracy <= high
            bands += 1
    assert len(missed) >= 8
    assert abs(np.mean(missed)) < 0.04
    assert covered >= 0.8 * bands


def test_no_accuracy_is_wanted_that_is_there():
    gain, _ = simulate_gain(np.eye(4)[np.arange(80) % 4], np.arange(8), np.arange(8) % 4)
    table = labels_wanted(gain, Accuracy(0.97, 0.9, 1.0, 8, "random"), n_labels=8)
    assert table["accuracy"].tolist() == [0.98]
    assert np.isinf(table["random"]).all()  # clusters that have names gain nothing


def test_gain_is_none_where_clusters_are_named_for_sure():
    q = np.eye(4, dtype=np.float32)[np.arange(400) % 4]
    index = np.arange(200)
    gain, spread = simulate_gain(q, index, index % 4, chosen=np.arange(200, 260))
    assert gain["more"].tolist() == [0, 10, 25, 50, 100, 200]
    np.testing.assert_allclose(gain["random"], 0, atol=0.01)
    assert gain["chosen"].isna().tolist() == [False] * 4 + [True] * 2  # only 60 are left to choose
    assert spread < 0.01


def test_gain_grows_where_clusters_have_no_name():
    q = np.eye(20, dtype=np.float32)[np.arange(2000) % 20]
    index = np.arange(5)
    gain, _ = simulate_gain(q, index, np.array([0, 1, 0, 1, 0]), chosen=np.arange(5, 20))
    assert gain["random"].is_monotonic_increasing
    # Ten of 20 clusters get a name. With p = 4/7 and 3/7 and a Dirichlet distribution of 0.3 p, the
    # commoner label is right with 4/7, one drawn from the cluster with (1 + 0.3 sum p^2) / 1.3.
    after = (1 + 0.3 * (16 + 9) / 49) / 1.3
    assert gain.loc[1, "chosen"] == pytest.approx(10 / 20 * (after - 4 / 7), abs=0.05)


@pytest.mark.parametrize(("k", "n", "low", "high"), [(0, 10, 0, 0.3085), (9, 10, 0.555, 0.9975)])
def test_measured_gives_the_exact_binomial_interval(k, n, low, high):
    found = measured(np.arange(n) < k, "random")
    assert (found.value, found.n) == (k / n, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


def test_chosen_labels_measure_nothing():
    right, at_random = np.ones(50, bool), np.zeros(50, bool)
    at_random[: MIN_RANDOM - 1] = True
    found = expected_accuracy(right, at_random, 0.8, 0.0)
    assert found.how == "confidence" and found.value == 0.8
    assert 0.7 < found.low < 0.8 < found.high < 0.9
    at_random[:MIN_RANDOM] = True
    assert expected_accuracy(right, at_random, 0.8, 0.0).how == "random"


def test_images_drawn_at_random_that_got_a_mark_count_in_the_interval():
    right, at_random = np.array([True] * 30 + [False] * 10), np.ones(40, bool)
    plain = expected_accuracy(right, at_random, 0.8, 0.0)
    none = expected_accuracy(right, at_random, 0.8, 0.0, none=8)
    assert none.value == 30 / 48 and none.n == 48 and none.high < plain.high
    unsure = expected_accuracy(right, at_random, 0.8, 0.0, unsure=5)
    assert unsure.value == plain.value == 0.75
    worst = measured(np.append(right, np.zeros(5, bool)), "random", design=2)
    best = measured(np.append(right, np.ones(5, bool)), "random", design=2)
    assert (unsure.low, unsure.high) == (worst.low, best.high)
    assert unsure.low < plain.low and plain.high < unsure.high


def test_marked_images_are_counted_where_they_were_drawn_at_random_and_asked_for_no_more():
    kind = np.arange(60) % 3
    q = np.full((60, 6), 0.02, np.float32)
    q[np.arange(60), kind] = 0.9
    near = (np.arange(60)[:, None] + 3 * np.arange(1, 4)) % 60
    marked = {50: f"unsure; {AT_RANDOM}", 51: f"none of these; {AT_RANDOM}", 52: "unsure; chosen"}
    found = examine(q, near, np.arange(12), kind[:12], np.ones(12, bool), marked)
    assert (found.accuracy.unsure, found.accuracy.none, found.accuracy.n) == (1, 1, 13)
    assert not {50, 51, 52} & {*found.doubtful.tolist(), *found.next_to_label.tolist()}
    sentence = accuracy_sentence(found.accuracy)
    assert "measured on 12 labelled images drawn at random" in sentence
    assert "1 marked as none of these, taken as wrong; 1 more, marked as unsure" in sentence


def test_temperature_comes_from_random_labels_only(published, graph):
    q, y = published
    index = np.random.default_rng(0).permutation(len(q))[:200]
    none, every = np.zeros(200, bool), np.ones(200, bool)
    assert random_temperature(graph, q[index], y[index], none) == 1
    free = temperature(graph, q[index], y[index])
    found = random_temperature(graph, q[index], y[index], every)
    assert min(free, 1) <= found <= max(free, 1)  # drawn towards 1, since labels are few


def test_clusters_are_named_by_their_labels_or_by_those_like_them():
    component = np.repeat(np.arange(4), [40, 30, 20, 10])
    q = np.full((100, 4), 0.01, np.float32)
    q[np.arange(100), component] = 0.9
    q[component == 3, 2] += 0.05  # the last looks like the third
    q /= q.sum(axis=1, keepdims=True)
    index, given = np.array([0, 1, 2, 40, 41, 70]), np.array([0, 0, 1, 0, 1, 1])
    table = cluster_names(q, component, index, given, 2)
    assert table["component"].tolist() == [0, 1, 2, 3]
    assert table["state"].tolist() == ["mixed", "tied", "named", "unlabelled"]
    assert table["name"].tolist()[::2] == [0, 1] and table["name"][3] == 1
    assert table["votes"].tolist() == [[2, 1], [1, 1], [0, 1], [0, 0]]
    np.testing.assert_allclose(table["weight"], [0.4, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(table["share"], [2 / 3, 1 / 2, 1, np.nan])


def test_wrong_labels_are_among_the_contradicted(published, graph):
    q, y = published
    rng = np.random.default_rng(3)
    index = rng.permutation(len(q))[:500]
    given = y[index].copy()
    wrong = rng.choice(500, 10, replace=False)
    given[wrong] = (given[wrong] + rng.integers(1, 26, 10)) % 26
    proba, known = held_out_proba(graph, q[index], given)
    table = contradicted(index, np.unique(given, return_inverse=True)[1], proba, known)
    assert len(table) <= 24 and table["p_given"].is_monotonic_increasing
    # by chance 24 of 500 would hold half a wrong label
    assert np.isin(index[wrong], table["index"]).sum() >= 6


def made_up(n=300, n_kinds=3, n_components=3):
    """q and neighbours of images whose kind is plain to see."""
    kind = np.arange(n) % n_kinds
    q = np.full((n, n_components), 0.1 / n_components, np.float32)
    q[np.arange(n), kind] += 0.9
    return q, (np.arange(n)[:, None] + n_kinds * np.arange(1, 6)) % n, kind


def test_examine_finds_nothing_wrong_where_nothing_is():
    q, neighbours, kind = made_up()
    index = np.random.default_rng(0).permutation(300)[:90]
    found = examine(q, neighbours, index, np.array(["x", "y", "z"])[kind[index]], np.ones(90, bool))
    assert found.warnings == [] and len(found.contradicted) == 0
    assert (found.classes[found.predicted] == np.array(["x", "y", "z"])[kind]).all()
    assert found.accuracy.value == 1 and found.accuracy.low > 0.9
    assert set(found.doubtful).isdisjoint(index) and len(found.next_to_label)
    assert found.per_class["checked"].sum() == 90
    assert found.gain["unlabelled"].max() < 1e-6


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"y": ["a"] * 30}, "All labels are the same"),
        (
            {"y": ["a", "b"] * 14 + ["a", "c"]},
            "given once only, which nothing can be checked by: c",
        ),
        ({"at_random": [True] * 5 + [False] * 25}, "(5, at least 10 are needed)"),
        ({"n_components": 40}, "The images fall into few clusters: 5 are in use of 40"),
        ({"blur": 8.0}, "The model hesitates"),
        ({"bare": True}, "Clusters without a label"),
        ({"swap": True}, "different labels equally often"),
    ],
)
def test_examine_warns(change, fragment):
    q, neighbours, kind = made_up(n_components=change.get("n_components", 3))
    if "blur" in change:
        q = q ** (1 / change["blur"])
        q /= q.sum(axis=1, keepdims=True)
    index = np.arange(30)
    y = np.array(change.get("y", kind[index].astype(str)))
    if "bare" in change:
        index = index[kind[index] > 0]
        y = y[index]
    if "swap" in change:
        y = np.where(np.arange(30) % 6 == 0, "other", y)
    at_random = np.array(change.get("at_random", [True] * 30))[: len(index)]
    found = examine(q, neighbours, index, y, at_random)
    assert any(fragment in warning for warning in found.warnings), found.warnings


def test_examine_needs_two_images():
    with pytest.raises(InputError, match="found one"):
        examine(np.ones((1, 3), np.float32) / 3, np.zeros((1, 0), int), [0], ["a"])


def test_chosen_labels_on_real_letters_are_expected_about_right(emnist_letters_path):
    from gmvae_lib.label.choosing import suggest
    from gmvae_lib.vae.model import embed
    from gmvae_lib.vae.nearest import nearest

    letters = load_images(emnist_letters_path).subset(slice(0, 2000))
    q, features = embed(load_run(RUN).model, letters, device="cpu")
    neighbours = nearest(features, 10)
    index = suggest(q, 100, neighbours)["index"].to_numpy()
    y = letters.labels
    found = examine(q, neighbours, index, y[index])
    truth = np.delete(found.classes[found.predicted] == y, index).mean()
    assert found.accuracy.how == "confidence" and found.temperature == 1
    assert abs(found.accuracy.value - truth) < 0.05
    assert found.accuracy.low <= truth <= found.accuracy.high
    # what cross-validation says of chosen labels is no estimate at all
    assert found.cross_validated.value < truth - 0.05
