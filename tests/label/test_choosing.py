"""Which images to label."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib.data.labels import AT_RANDOM
from gmvae_lib.errors import InputError
from gmvae_lib.label.choosing import (
    GROUP,
    add_random,
    label_queue,
    max_herding,
    one_a_cluster,
    suggest,
)

# three components of weight 2.2, 1.9 and 0.9 over five images; nothing falls to the fourth
Q = np.array(
    [
        [0.6, 0.3, 0.1, 0.0],
        [0.9, 0.1, 0.0, 0.0],
        [0.5, 0.4, 0.1, 0.0],
        [0.1, 0.9, 0.0, 0.0],
        [0.1, 0.2, 0.7, 0.0],
    ]
)


def posterior(n, k, seed):
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.2), size=n).astype(np.float32)


def coverage(profile, chosen):
    return np.maximum(profile @ profile[chosen].T, 0).max(axis=1).sum()


def test_suggest_covers_groups_before_it_repeats_one():
    table = suggest(Q, 5)
    assert list(table.columns) == ["index", "cluster", "reason"]
    # image 2 is most like all others: what hesitates stands for its neighbours, if nothing else
    # is typical; then come what it stands for least
    assert table["index"].tolist() == [2, 4, 3, 1, 0]
    assert table["cluster"].tolist() == [0, 2, 1, 0, 0]
    assert table["reason"][0] == "typical of cluster 0 (44.0% of the images)"
    assert table["reason"][3].endswith("unlike those chosen before")


def test_clusters_that_look_alike_share_a_label():
    # components 0 and 1 hold the same images, component 2 others, fewer
    q = np.repeat([[0.5, 0.5, 0.0], [0.48, 0.52, 0.0], [0.0, 0.0, 1.0]], [30, 30, 20], axis=0)
    assert set(suggest(q, 2)["cluster"]) & {2}
    assert one_a_cluster(q, 2).tolist() == [30, 0]


def test_the_first_choices_are_typical():
    # sharp images of two components, and many more that hesitate between them
    sharp = np.repeat([[0.95, 0.05], [0.05, 0.95]], 20, axis=0)
    q = np.concatenate([np.repeat([[0.55, 0.45]], 100, axis=0), sharp])
    assert (suggest(q, 2)["index"] >= 100).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 10), st.booleans(), st.data())
def test_rows_are_distinct_and_nested(n, k, seed, smooth, data):
    q = posterior(n, k, seed)
    rng = np.random.default_rng(seed)
    neighbours = rng.integers(n, size=(n, 3)) if smooth else None
    budget = data.draw(st.integers(1, n))
    table, everything = suggest(q, budget, neighbours), suggest(q, n, neighbours)
    assert len(table) == budget and table["index"].is_unique
    assert table.equals(everything.head(budget))
    if not smooth:
        assert (q.argmax(1)[everything["index"]] == everything["cluster"]).all()


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 60), st.integers(2, 6), st.integers(0, 10))
def test_the_order_of_the_images_does_not_matter(n, k, seed):
    q, rng = posterior(n, k, seed), np.random.default_rng(seed)
    neighbours = rng.integers(n, size=(n, 2))
    order = rng.permutation(n)
    place = np.argsort(order)
    budget = (n + 1) // 2
    found = suggest(q[order], budget, place[neighbours[order]])["index"]
    expected = suggest(q, budget, neighbours)["index"]
    # sums in another order differ in the last bit, which may break a tie: compare what is covered
    profile = q / np.linalg.norm(q, axis=1, keepdims=True)
    assert coverage(profile, order[found]) == pytest.approx(coverage(profile, expected), rel=0.02)


def test_images_without_any_difference_come_by_position():
    assert suggest(np.full((4, 2), 0.5), 4)["index"].tolist() == [0, 1, 2, 3]
    assert suggest(np.ones((3, 1)), 3)["index"].tolist() == [0, 1, 2]


def test_a_budget_beyond_the_candidates_is_filled(monkeypatch):
    monkeypatch.setattr("gmvae_lib.label.choosing.SAMPLE", 20)
    table = suggest(posterior(300, 4, seed=0), 300)
    assert sorted(table["index"]) == list(range(300))


def test_one_a_cluster_goes_round_the_components_heaviest_first():
    assert one_a_cluster(Q, 5).tolist() == [1, 3, 4, 0, 2]
    q = posterior(2000, 50, seed=0)
    assert len(np.unique(q.argmax(1)[one_a_cluster(q, 50)])) == 50


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 10))
def test_herding_takes_the_largest_gain_each_time(n, d, seed):
    profile = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    chosen = max_herding(profile, np.arange(n), n)
    assert sorted(chosen) == list(range(n))
    for step in range(n):
        best = max(coverage(profile, [*chosen[:step], row]) for row in range(n))
        assert coverage(profile, chosen[: step + 1]) == pytest.approx(best, rel=1e-4, abs=1e-4)


def test_herding_goes_on_from_what_is_chosen_and_ends_with_its_candidates():
    profile = np.eye(6, dtype=np.float32)
    assert max_herding(profile, [5, 4, 2], 9, chosen=[4]).tolist() == [4, 2, 5]
    # row 1 is covered already
    profile[1] = profile[0]
    assert max_herding(profile, [1, 3], 2, chosen=[0]).tolist() == [0, 3]


@pytest.mark.parametrize(
    ("q", "budget", "message"),
    [
        (Q, 6, "budget: found 6, expected 1 to 5"),
        (Q, 0, "budget: found 0, expected 1 to 5"),
        (Q, 2.0, "budget: found 2.0, expected a whole number"),
        (Q, True, "budget: found True"),
        (Q[0], 1, "q: found float64 [4]"),
        (Q[:0], 1, "q: found float64 [0, 4]"),
        (Q > 0.5, 1, "q: found bool"),
        (Q * 2, 1, "q: found row 0 with the sum 2"),
        (np.where(Q == 0.7, np.nan, Q), 1, "q: found row 4 with the sum nan"),
        (Q - [[0.2, -0.2, 0, 0]], 1, "q: found row 3 with the sum 1 and the least entry -0.1"),
    ],
)
def test_bad_input(q, budget, message):
    with pytest.raises(InputError) as caught:
        suggest(q, budget)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("neighbours", "message"),
    [
        (np.zeros((4, 2), dtype=int), "neighbours: found shape (4, 2); expected [5, n]"),
        (np.full((5, 2), 5), "neighbours: found rows 5 to 5; expected 0 to 4"),
    ],
)
def test_bad_neighbours(neighbours, message):
    with pytest.raises(InputError) as caught:
        suggest(Q, 1, neighbours)
    assert message in str(caught.value)


def test_images_with_a_label_are_not_suggested_again():
    q = posterior(200, 8, 0)
    first = suggest(q, 30)["index"].tolist()
    both = suggest(q, 50)["index"].tolist()
    assert suggest(q, 20, known=first)["index"].tolist() == both[30:]
    assert len(suggest(q, 20, known=range(190))) == 10
    with pytest.raises(InputError, match="found all 200 images"):
        suggest(q, 20, known=range(200))


def test_random_images_are_a_fair_sample_of_those_without_a_label():
    q = posterior(60, 5, 1)
    table, known = suggest(q, 12, known=range(10)), range(10)
    hits = np.zeros(60)
    for seed in range(400):
        drawn = add_random(table, q, 20, seed, known)
        marked = drawn["reason"].str.contains(AT_RANDOM)
        assert marked.sum() == 20 and drawn["index"].is_unique
        chosen = ~drawn["reason"].str.startswith(AT_RANDOM)
        assert drawn["index"][chosen].tolist() == table["index"].tolist()
        # interleaved, so that whoever stops early has labelled some of both
        assert abs(chosen[: len(drawn) // 2].sum() - 6) <= 1
        hits[drawn.loc[marked, "index"]] += 1
    assert hits[:10].sum() == 0
    # 400 draws of 20 of 50: 160 each, standard deviation 9.8; chosen ones as often as others
    assert np.abs(hits[10:] - 160).max() < 45
    with pytest.raises(InputError, match="found 51, expected 1 to 50"):
        add_random(table, q, 51, 0, known)


def test_a_queue_begins_with_what_is_suggested_now():
    q = posterior(400, 8, 0)
    queue = label_queue(q, 20, random=10, seed=3, known=[1, 2])
    now = add_random(suggest(q, 20, known=[1, 2]), q, 10, 3, [1, 2])
    first = queue[queue["batch"] == 1]
    assert first["index"].tolist() == now["index"].tolist()
    assert first["reason"].tolist() == now["reason"].tolist()
    assert queue["index"].is_unique and not queue["index"].isin([1, 2]).any()
    for batch in (2, 3):  # what would be suggested once the batches before have labels
        before = queue["index"][queue["batch"].between(1, batch - 1)].tolist() + [1, 2]
        then = add_random(suggest(q, 20, known=before), q, 10, 3, before)
        assert queue["index"][queue["batch"] == batch].tolist() == then["index"].tolist()


def test_groups_are_of_one_cluster_and_spread_over_its_typical_part():
    q = posterior(3000, 5, 0)
    queue = label_queue(q, 10, random=40)
    component = q.argmax(axis=1)
    assert (queue["cluster"] == component[queue["index"]]).all()
    alone = queue["reason"].str.startswith(AT_RANDOM)
    for cluster, group in queue[~alone].groupby("cluster"):
        members = np.flatnonzero(component == cluster)
        place = np.argsort(np.argsort(-q[members, cluster]))
        shown = place[np.isin(members, group["index"][group["batch"] == 0])] / len(members)
        assert GROUP <= len(group) <= GROUP + 3 and shown.max() < 0.51
        assert np.diff(np.sort(shown)).max() < 1 / len(shown)
        assert len(group["like"].iloc[0]) == 4 and cluster not in group["like"].iloc[0]


def test_a_queue_ends_with_the_images():
    q = posterior(30, 4, 0)
    queue = label_queue(q, 12, random=5)
    assert sorted(queue["index"]) == list(range(30)) and (queue["batch"] > 0).all()
