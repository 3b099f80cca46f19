"""Bounds for every decoder, chosen labels and dependent clusters, against enumeration."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib import bounds
from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds.chosen import _vote_counts
from gmvae_lib.label.decoding import GraphDecoder


def draws(probabilities, n):
    """Every table of counts of n draws with its probability; probabilities [K, L]."""
    flat = np.ravel(probabilities)
    for sequence in product(range(flat.size), repeat=n):
        counts = np.bincount(np.array(sequence, dtype=int), minlength=flat.size)
        yield counts.reshape(np.shape(probabilities)), math.prod(flat[i] for i in sequence)


def random_table(n_clusters, n_classes, seed):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n_classes), n_clusters), rng.dirichlet(np.full(n_clusters, 3.0))


# ------------------------------------------------------------------------------ every decoder


@pytest.mark.parametrize(
    ("shape", "n_labels"), [((2, 2), 3), ((2, 3), 2), ((3, 2), 3), ((1, 3), 3)]
)
def test_best_accuracy_is_that_of_bayes_rule_over_all_names(shape, n_labels):
    """Bayes' rule by brute force, over every renaming of every cluster, is what the bound says."""
    table, weights = random_table(*shape, seed=n_labels)
    K, L = shape
    renamed = [
        np.stack([table[c, list(order)] for c, order in enumerate(orders)])
        for orders in product(permutations(range(L)), repeat=K)
    ]
    prior = 1 / len(renamed)
    best = 0.0
    for sequence in product(range(K * L), repeat=n_labels):
        cluster, label = np.divmod(np.array(sequence), L)
        joint = np.zeros((K, L))  # P(these labels, the new image in c, its label)
        for p in renamed:
            likelihood = np.prod(weights[cluster] * p[cluster, label])
            joint += prior * likelihood * weights[:, None] * p
        best += joint.max(axis=1).sum()
    found = bounds.best_accuracy(weights, n_labels, L, table)
    assert found == pytest.approx(best, abs=1e-10)


def test_best_accuracy_of_pure_clusters():
    weights = np.random.default_rng(0).dirichlet(np.ones(40))
    for n_labels in (0, 10, 100):
        missed = bounds.expected_missing_mass(weights, n_labels)
        expected = 1 - (1 - 1 / 26) * missed
        assert bounds.best_accuracy(weights, n_labels, 26) == pytest.approx(expected)
        pure = bounds.best_accuracy(weights, n_labels, 26, np.eye(40, 26)[np.arange(40) % 26 * 0])
        assert pure == pytest.approx(expected)


@pytest.mark.parametrize("n_labels", range(5))
def test_ceiling_enumerated(n_labels):
    table, weights = random_table(3, 3, seed=1)
    expected = sum(
        probability * (weights @ np.where(counts.any(axis=0), table, 0).max(axis=1))
        for counts, probability in draws(weights[:, None] * table, n_labels)
    )
    assert bounds.accuracy_ceiling(table, weights, n_labels) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(2, 6), st.integers(0, 200), st.integers(0, 10**6))
def test_what_is_expected_is_under_the_ceiling(n_clusters, n_classes, n_labels, seed):
    table, weights = random_table(n_clusters, n_classes, seed)
    ceiling = bounds.accuracy_ceiling(table, weights, n_labels)
    purity = weights @ table.max(axis=1)
    assert ceiling <= purity + 1e-12
    if n_labels:
        affinity = np.random.default_rng(seed).random((n_clusters, n_clusters))
        for fallback in ("nearest", "proportional"):
            expected = bounds.expected_hard_accuracy(
                table, weights, n_labels, fallback, affinity=affinity
            )
            # the vote is taken as independent of the empty clusters: small worlds may exceed a bit
            assert expected <= ceiling + 0.02
    best = bounds.best_accuracy(weights, n_labels, n_classes, table)
    assert best <= purity + 1e-9
    assert best <= bounds.best_accuracy(weights, n_labels + 1, n_classes, table) + 1e-9


def test_fano_holds_where_the_best_is_known():
    """Equal pure clusters, chosen labels: n names are known, the others are guesses."""
    for K, L in ((10, 2), (100, 26), (30, 5)):
        entropy = K * math.log(L)
        needed = [bounds.fano_labels(entropy, K, L, (n + (K - n) / L) / K) for n in range(1, K)]
        assert all(least <= n for n, least in enumerate(needed, start=1))
        assert needed == sorted(needed)
        assert needed[-1] > 0.7 * K
    assert bounds.fano_labels(0.0, 10, 3, 0.99) == 0
    assert bounds.fano_labels(10 * math.log(3), 10, 3, 0.3) == 0  # no better than guessing


def test_fano_of_unequal_clusters_is_a_maximum():
    """The errors that leave most unknown, against many others of the same accuracy."""
    rng, L, accuracy = np.random.default_rng(0), 4, 0.7
    weights = rng.dirichlet(np.ones(6))
    entropy = 6 * math.log(L)
    least = bounds.fano_labels(entropy, weights, L, accuracy)
    for _ in range(300):
        e = rng.random(6) * (L - 1) / L
        e *= (1 - accuracy) / (weights @ e)
        if e.max() < 1:
            unknown = -(e * np.log(e / (L - 1)) + (1 - e) * np.log1p(-e)).sum()
            assert least <= math.ceil((entropy - unknown) / math.log(L))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=4, unique=True), st.integers(1, 60))
def test_the_exponent_of_a_vote_is_tight(parts, n_votes):
    """Failure lies between the lower bound and Chernoff's, both with the same exponent."""
    p = np.sort(np.array(parts) / sum(parts))[::-1]
    rho = 1 - (math.sqrt(p[0]) - np.sqrt(p[1:])) ** 2
    failure = 1 - bounds.majority_probability(p, n_votes)
    lower = math.sqrt(p[1] / p[0]) * rho[0] ** n_votes / math.sqrt(2 * (n_votes + 1))
    assert lower <= failure + 1e-12
    assert failure <= (rho**n_votes).sum() + 1e-12


def test_labels_for_majority_between_its_bounds():
    for p in ([0.9, 0.1], [0.75, 0.25], [0.6, 0.4], [0.6, 0.2, 0.2], [0.4, 0.3, 0.3], [1.0]):
        least, exact, most = (
            bounds.labels_for_majority(p, method=m) for m in ("lower", "exact", "chernoff")
        )
        assert 1 <= least <= exact <= most
    assert bounds.labels_for_majority([0.6, 0.4], method="lower") == 34


# ------------------------------------------------------------------------------ chosen labels


@pytest.mark.parametrize("n_votes", range(6))
def test_stratified_enumerated(n_votes):
    table, weights = random_table(2, 3, seed=3)
    expected = {"first": 0.0, "random": 0.0}
    for row, weight in zip(table, weights, strict=True):
        for counts, probability in draws(row, n_votes):
            if n_votes:
                tied = counts == counts.max()
                expected["first"] += weight * probability * row[counts.argmax()]
                expected["random"] += weight * probability * row[tied].mean()
    for ties, value in expected.items():
        found = bounds.expected_stratified_accuracy(table, weights, n_votes, ties)
        assert found == pytest.approx(value, abs=1e-12)
    mixed = bounds.expected_stratified_accuracy(table, weights, [n_votes, 1])
    alone = bounds.expected_stratified_accuracy(table[:1], 1, n_votes)
    assert mixed == pytest.approx(weights[0] * alone + weights[1] * (table[1] ** 2).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(2, 8), st.integers(0, 10**6))
def test_a_second_label_adds_nothing_and_more_never_hurt(n_clusters, n_classes, seed):
    table, weights = random_table(n_clusters, n_classes, seed)
    accuracy = [
        bounds.expected_stratified_accuracy(table, weights, n, "random") for n in range(1, 8)
    ]
    assert accuracy[0] == pytest.approx(weights @ (table**2).sum(axis=1), abs=1e-12)
    assert accuracy[1] == pytest.approx(accuracy[0], abs=1e-10)
    assert (np.diff(accuracy) > -1e-10).all()


@pytest.mark.parametrize("seed", range(4))
def test_allocation_against_every_allocation(seed):
    table, weights = random_table(3, 2, seed)
    exact = {
        n: max(
            bounds.expected_stratified_accuracy(table, weights, np.array(counts), "random", 0.3)
            for counts in product(range(n + 1), repeat=3)
            if sum(counts) <= n
        )
        for n in (1, 2, 4, 6)
    }
    for n, best in exact.items():
        counts = bounds.best_allocation(table, weights, n, unlabelled=0.3)
        assert counts.sum() <= n
        found = bounds.expected_stratified_accuracy(table, weights, counts, "random", 0.3)
        bound = bounds.allocation_bound(table, weights, n, unlabelled=0.3)
        assert found <= best + 1e-9 <= bound + 2e-4
        step = weights.max() * 0.7
        assert bound - found < step
        if bound - found < 1e-9:
            assert found == pytest.approx(best)


def test_allocation_of_pure_clusters_is_one_each():
    weights = np.random.default_rng(1).dirichlet(np.ones(8))
    counts = bounds.best_allocation(np.eye(8), weights, 5)
    assert set(np.flatnonzero(counts)) == set(np.argsort(-weights)[:5])
    assert bounds.best_allocation(np.eye(8), weights, 100).tolist() == [1] * 8
    assert bounds.allocation_bound(np.eye(8), weights, 100) == pytest.approx(1)


def test_vote_counts_grow_to_the_most():
    assert _vote_counts(0).tolist() == [0]
    counts = _vote_counts(100)
    assert counts[:13].tolist() == list(range(13))
    assert 75 < counts[-1] <= 100


# --------------------------------------------------------------------------------- dependence


def chain(n_clusters):
    """Affinities along a line, none of them equal."""
    far = np.abs(np.subtract.outer(np.arange(n_clusters), np.arange(n_clusters)))
    return 1 / (1 + far + 0.01 * np.arange(n_clusters))


@pytest.mark.parametrize("n_labels", range(1, 6))
def test_neighbouring_cluster_enumerated(n_labels):
    table, weights = random_table(4, 2, seed=5)
    table = np.where(table > 0.5, 0.999, 0.001)  # nearly pure: votes are what the cluster is
    table /= table.sum(axis=1, keepdims=True)
    affinity = chain(4)
    np.fill_diagonal(affinity, 0)
    nearest = proportional = 0.0
    for counts, probability in draws(weights[:, None] * table, n_labels):
        labelled, votes = counts.any(axis=1), counts.argmax(axis=1)
        for c in range(4):
            share = np.where(labelled, affinity[c], 0)
            if labelled[c]:
                share = np.eye(4)[c]
            right = table[c, votes]
            nearest += probability * weights[c] * right[share.argmax()]
            proportional += probability * weights[c] * (share / share.sum()) @ right
    found = bounds.expected_hard_accuracy(table, weights, n_labels, affinity=affinity)
    assert found == pytest.approx(nearest, abs=0.01)
    found = bounds.expected_hard_accuracy(
        table, weights, n_labels, "proportional", affinity=affinity
    )
    assert found == pytest.approx(proportional, abs=0.05)  # clusters taken as independent


def test_graph_accuracy_enumerated():
    table, weights, affinity = *random_table(3, 2, seed=6), chain(3)
    np.fill_diagonal(affinity, 0)
    expected = 0.0
    for counts, probability in draws(weights[:, None] * table, 3):
        cluster, label = np.nonzero(counts)
        repeat = counts[cluster, label]
        graph = GraphDecoder(affinity).fit(
            np.eye(3)[np.repeat(cluster, repeat)], np.repeat(label, repeat)
        )
        answers = graph.classes_[graph.label_given_component_.argmax(axis=0)]
        expected += probability * weights @ table[np.arange(3), answers]
    found, error = bounds.expected_graph_accuracy(table, weights, affinity, 3, 3000)
    assert abs(found - expected) < 4 * error
    assert bounds.expected_graph_accuracy(table, weights, affinity, 0, 2)[0] == pytest.approx(
        weights @ table[:, 0]
    )


def test_agreement_of_neighbours_alone_decides():
    """Theorem on dependence: two laws of the names with the same pairs give the same accuracy."""
    weights, affinity = np.full(4, 0.25), chain(4)
    names = {
        "pairs": [np.array(n) for n in product(range(2), repeat=4)],  # all independent
        # the fourth is the parity of the others: pairs are independent still, triples are not
        "parity": [np.array([*n, sum(n) % 2]) for n in product(range(2), repeat=3)],
    }
    found = {
        law: np.mean(
            [
                bounds.expected_hard_accuracy(np.eye(2)[n], weights, 3, affinity=affinity)
                for n in every
            ]
        )
        for law, every in names.items()
    }
    assert found["pairs"] == pytest.approx(found["parity"], abs=1e-12)
    # independent names: the bound for every decoder
    assert found["pairs"] == pytest.approx(bounds.best_accuracy(weights, 3, 2), abs=1e-12)


# ------------------------------------------------------------------------- corrected statements


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(1e-3, 1), min_size=2, max_size=12), st.integers(1, 60))
def test_unequal_shares_miss_no_more_up_to_K_labels(parts, n_labels):
    weights = np.array(parts) / sum(parts)
    K, missed = len(parts), bounds.expected_missing_mass(np.array(parts) / sum(parts), n_labels)
    if n_labels <= K:
        assert missed <= bounds.expected_missing_mass(K, n_labels) + 1e-12
    assert missed <= K / (n_labels + 1) * (n_labels / (n_labels + 1)) ** n_labels + 1e-12
    assert len(weights) == K


def test_unequal_shares_may_miss_more_soon_after():
    """K = 100: 99 clusters of 1/(n + 1) and one of the rest, beside equal ones."""

    def lopsided(n):
        return np.append(np.full(99, 1 / (n + 1)), 1 - 99 / (n + 1))

    assert bounds.expected_missing_mass(lopsided(180), 180) == pytest.approx(0.202, abs=5e-4)
    assert bounds.expected_missing_mass(100, 180) == pytest.approx(0.164, abs=5e-4)
    worst = K_over = [
        n
        for n in range(100, 140)
        if bounds.expected_missing_mass(lopsided(n), n) > bounds.expected_missing_mass(100, n)
    ]
    assert worst == list(range(worst[0], 140))
    assert abs(K_over[0] - (100 + math.sqrt(200))) <= 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=7),
    st.integers(1, 40),
    st.integers(0, 5),
    st.floats(0, 0.5),
)
def test_fewer_clusters_are_missed_when_two_come_closer(parts, n_labels, all_but, share):
    """Schur-concavity of P(all but m covered), with and without replacement."""
    weights = np.array(parts) / sum(parts)
    all_but = min(all_but, len(parts) - 1)
    closer = weights.copy()
    closer[:2] = (1 - share) * weights[:2] + share * weights[1::-1][:2]
    unequal, nearer = (
        bounds.coverage_probability(w, n_labels, all_but=all_but) for w in (weights, closer)
    )
    assert nearer >= unequal - 1e-11
    sizes = np.array(parts)
    moved = sizes.copy()
    move = abs(int(sizes[0]) - int(sizes[1])) // 2
    richer = int(sizes[1] > sizes[0])
    moved[richer] -= move
    moved[1 - richer] += move
    n = min(n_labels, sizes.sum())
    unequal, nearer = (
        bounds.coverage_probability(len(parts), int(n), population=s, all_but=all_but)
        for s in (sizes, moved)
    )
    assert nearer >= unequal - 1e-11


# ------------------------------------------------------------------------------ bad arguments


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: bounds.best_accuracy(3, 5, 1), "n_classes: found 1"),
        (lambda: bounds.best_accuracy(3, 5, 2, np.eye(3)), "n_classes: found 2"),
        (lambda: bounds.best_accuracy(2, 5, 3, np.eye(3)), "weights: found 2"),
        (lambda: bounds.accuracy_ceiling(np.eye(3), 3, -1), "n_labels: found -1"),
        (lambda: bounds.fano_labels(-1.0, 3, 2, 0.5), "negative value, -1"),
        (lambda: bounds.fano_labels(1.0, 3, 2, 1.5), r"accuracy: found 1\.5"),
        (
            lambda: bounds.expected_stratified_accuracy(np.eye(3), 3, 1.5),
            "per_cluster: found float",
        ),
        (lambda: bounds.expected_stratified_accuracy(np.eye(3), 3, [1, 1]), r"shape \(2,\)"),
        (lambda: bounds.expected_stratified_accuracy(np.eye(3), 3, -1), "per_cluster: found a neg"),
        (
            lambda: bounds.expected_stratified_accuracy(np.eye(3), 3, 1, "last"),
            "ties: found 'last'",
        ),
        (lambda: bounds.best_allocation(np.eye(3), 3, 2.5), r"n_labels: found 2\.5"),
        (lambda: bounds.expected_hard_accuracy(np.eye(3), 3, 5, "proportional"), "affinity: found"),
        (
            lambda: bounds.expected_hard_accuracy(np.eye(3), 3, 5, affinity=np.eye(2)),
            r"affinity: found shape \(2, 2\)",
        ),
        (
            lambda: bounds.expected_graph_accuracy(np.eye(3), 3, -np.eye(3), 5),
            "affinity: found a negative",
        ),
    ],
)
def test_bad_arguments(call, found):
    with pytest.raises(InputError, match=found) as error:
        call()
    assert "\n" not in str(error.value)
