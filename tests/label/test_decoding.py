"""Decoders: scikit-learn's contract, brute-force references, and properties."""

import itertools
from math import log

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from gmvae_lib.errors import InputError
from gmvae_lib.label.calibration import at_temperature, temperature
from gmvae_lib.label.decoding import (
    ALPHAS,
    BayesDecoder,
    GraphDecoder,
    HardDecoder,
    SoftDecoder,
    cluster_affinity,
    log_evidence,
)
from gmvae_lib.study.assignment import AssignmentDecoder
from gmvae_lib.study.disagreement import draw_disagreements, find_disagreement

ALL = [
    HardDecoder(),
    HardDecoder(fallback="none"),
    SoftDecoder(),
    BayesDecoder(),
    BayesDecoder(alpha=1.0, prior="labels"),
    AssignmentDecoder(),
    GraphDecoder(),
]
every_decoder = pytest.mark.parametrize("decoder", ALL, ids=repr)
quick = settings(deadline=None, max_examples=40)


@st.composite
def problems(draw):
    """(q labelled, y, q to predict): random posteriors, sharp or flat, few labels, with gaps."""
    seed = draw(st.integers(0, 2**32 - 1))
    n, k, c = draw(st.integers(1, 30)), draw(st.integers(1, 8)), draw(st.integers(1, 5))
    rng = np.random.default_rng(seed)
    concentration = np.full(k, draw(st.sampled_from([0.1, 1.0, 10.0])))
    q = rng.dirichlet(concentration, n + 20)
    return q[:n], rng.integers(0, c, n), q[n:]


@every_decoder
@given(problem=problems(), cut=st.integers(1, 29))
@quick
def test_merged_decoders_are_one_fitted_on_both(decoder, problem, cut):
    """Statistics add up over shards, also where each shard has labels that the other lacks."""
    q, y, x = problem
    cut = min(cut, len(y) - 1)
    if cut < 1:
        return  # one labelled point cannot be shared out
    y = np.array(list("abcde"))[y]
    one, other = (clone(decoder).fit(q[part], y[part]) for part in (slice(cut), slice(cut, None)))
    before = other.component_count_.copy()
    merged, whole = one.merge(other), clone(decoder).fit(q, y)
    assert merged is one and list(merged.classes_) == list(whole.classes_)
    np.testing.assert_array_equal(merged.class_count_, whole.class_count_)
    np.testing.assert_allclose(merged.component_count_, whole.component_count_, atol=1e-12)
    np.testing.assert_allclose(merged.predict_proba(x), whole.predict_proba(x), atol=1e-9)
    np.testing.assert_array_equal(other.component_count_, before)  # the other stays as it was


def test_decoders_that_do_not_add_up_are_refused():
    q, y = np.eye(3), [0, 1, 2]
    soft = SoftDecoder().fit(q, y)
    with pytest.raises(InputError, match="other: found HardDecoder; expected SoftDecoder"):
        soft.merge(HardDecoder().fit(q, y))
    with pytest.raises(InputError, match="other: found 2 components; expected 3"):
        soft.merge(SoftDecoder().fit(q[:2, :2], y[:2]))
    with pytest.raises(InputError, match="other: found another alpha"):
        BayesDecoder().fit(q, y).merge(BayesDecoder(alpha=2.0).fit(q, y))
    with pytest.raises(NotFittedError):
        soft.merge(SoftDecoder())


@parametrize_with_checks(ALL)
def test_scikit_learn_contract(estimator, check):
    """All of scikit-learn's checks, on features that are no posterior but not negative.

    One cannot apply: an accuracy above 0.83 on blobs, whose features say nothing as probabilities
    (the tag poor_score leaves it out). The next test asks for it where features are posteriors.
    """
    check(estimator)


@every_decoder
def test_scikit_learns_blobs_are_told_apart_by_their_posteriors(decoder):
    X, y = make_blobs(n_samples=300, random_state=0)
    means = KMeans(12, n_init=1, random_state=0).fit(X)
    q = scipy.special.softmax(-0.5 * means.transform(X) ** 2, axis=1)
    assert clone(decoder).fit(q[::10], y[::10]).score(q, y) > 0.83
    assert get_tags(decoder).classifier_tags.poor_score


def hard_by_hand(q, y, x, fallback):
    classes = sorted(set(y))
    label = {}
    for c in range(q.shape[1]):
        votes = [int(np.sum((q.argmax(1) == c) & (y == value))) for value in classes]
        if any(votes):
            label[c] = classes[votes.index(max(votes))]
    predictions = []
    for row in x:
        ranked = sorted(range(len(row)), key=lambda c: -row[c])
        if fallback == "none":
            predictions.append(label.get(ranked[0], classes[0]))
        else:
            predictions.append(next(label[c] for c in ranked if c in label))
    return predictions


@pytest.mark.parametrize("fallback", ["nearest", "none"])
@given(problem=problems())
@quick
def test_hard_is_its_formula(problem, fallback):
    q, y, x = problem
    found = HardDecoder(fallback=fallback).fit(q, y).predict(x)
    assert found.tolist() == hard_by_hand(q, y, x, fallback)


@given(problem=problems())
@quick
def test_soft_is_its_formula(problem):
    q, y, x = problem
    decoder = SoftDecoder().fit(q, y)
    similarity = np.array(
        [[sum(q[y == value].mean(axis=0) * row) for value in sorted(set(y))] for row in x]
    )
    expected = similarity / similarity.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(decoder.predict_proba(x), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("prior", ["uniform", "labels"])
@given(problem=problems(), alpha=st.sampled_from([0.01, 1.0, 5.0]))
@quick
def test_bayes_is_its_formula(problem, alpha, prior):
    q, y, x = problem
    classes = sorted(set(y))
    expected = np.zeros((len(x), len(classes)))
    for j, value in enumerate(classes):
        p = (np.sum(y == value) + 1) / (len(y) + len(classes))
        p = p if prior == "labels" else 1 / len(classes)
        for c in range(q.shape[1]):
            given_c = (q[y == value, c].sum() + alpha * p) / (q[:, c].sum() + alpha)
            expected[:, j] += x[:, c] * given_c
    found = BayesDecoder(alpha=alpha, prior=prior).fit(q, y).predict_proba(x)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@given(
    labels=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=7),
    alpha=st.sampled_from([0.1, 1.0, 7.0]),
)
@quick
def test_evidence_of_whole_counts_is_polyas_urn(labels, alpha):
    # one label after the other, each with the probability that those before it leave
    prior = np.array([0.5, 0.2, 0.3])
    count, expected = np.zeros((3, 2)), 0.0
    for label, component in labels:
        weight = count[:, component] + alpha * prior
        expected += log(weight[label] / weight.sum())
        count[label, component] += 1
    assert log_evidence(count, alpha, prior) == pytest.approx(expected)
    assert log_evidence(count, [alpha, 1.0], prior)[0] == pytest.approx(expected)


@given(n=st.integers(0, 5), alpha=st.sampled_from([0.1, 1.0, 7.0]))
@quick
def test_evidence_of_all_labellings_sums_to_one(n, alpha):
    prior = np.array([0.7, 0.3])
    total = 0.0
    for labelling in itertools.product(range(2), repeat=n):
        count = np.bincount(labelling, minlength=2)[:, None]
        total += np.exp(log_evidence(count, alpha, prior))
    assert total == pytest.approx(1)


def test_evidence_tells_pure_from_mixed_components():
    mixed = np.tile([0, 1], 10)
    q = np.eye(2)[np.repeat([0, 1], 10)]
    strong = BayesDecoder().fit(q, mixed).alpha_
    weak = BayesDecoder().fit(q, np.repeat([0, 1], 10)).alpha_
    assert weak < 0.5 < 1 < strong
    # one label says nothing about alpha: the prior's mode remains
    assert BayesDecoder().fit(q[:1], [0]).alpha_ == pytest.approx(1.0)
    assert ALPHAS.min() < weak < strong < ALPHAS.max()
    assert BayesDecoder(alpha=0.25).fit(q, mixed).alpha_ == 0.25


@given(problem=problems(), seed=st.integers(0, 1000))
@quick
def test_bayes_by_evidence_knows_no_order_of_components_or_labels(problem, seed):
    q, y, x = problem
    order = np.random.default_rng(seed).permutation(q.shape[1])
    before, after = BayesDecoder().fit(q, y), BayesDecoder().fit(q[:, order], y)
    assert after.alpha_ == before.alpha_
    np.testing.assert_allclose(after.predict_proba(x[:, order]), before.predict_proba(x))


def log_likelihood(q, y, assignment, floor):
    """Of labels y under one label a component, by its formula."""
    return sum(
        log(floor + sum(row[c] for c in range(len(row)) if assignment[c] == label))
        for row, label in zip(q, y, strict=True)
    )


@st.composite
def small_problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, k, c = draw(st.integers(1, 12)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    y = np.concatenate([np.arange(c), rng.integers(0, c, n)])
    return rng.dirichlet(np.full(k, draw(st.sampled_from([0.1, 1.0]))), len(y)), y


@given(problem=small_problems(), floor=st.sampled_from([1e-6, 0.01]))
@quick
def test_assignment_against_all_assignments(problem, floor):
    q, y = problem
    k, n_classes = q.shape[1], y.max() + 1
    decoder = AssignmentDecoder(floor=floor).fit(q, y)
    found = log_likelihood(q, y, decoder.assignment_, floor)
    assert decoder.log_likelihood_ == pytest.approx(found)
    every = itertools.product(range(n_classes), repeat=k)
    best = max(log_likelihood(q, y, assignment, floor) for assignment in every)
    none = len(y) * log(floor)
    assert none + (best - none) / 2 <= found + 1e-9 <= best + 2e-9
    for c, label in itertools.product(range(k), range(n_classes)):  # no single move is better
        moved = decoder.assignment_.copy()
        moved[c] = label
        assert log_likelihood(q, y, moved, floor) <= found + 1e-6


def test_assignment_is_mostly_exact_where_labels_follow_the_components():
    rng, exact = np.random.default_rng(0), 0
    for _ in range(40):
        label_of_component, q = rng.integers(0, 3, 5), rng.dirichlet(np.full(5, 0.2), 12)
        y = np.array([label_of_component[rng.choice(5, p=row)] for row in q])
        every = itertools.product(np.unique(y), repeat=5)
        best = max(log_likelihood(q, y, assignment, 0.01) for assignment in every)
        exact += AssignmentDecoder().fit(q, y).log_likelihood_ > best - 1e-9
    assert exact >= 34


def test_assignment_gives_a_component_to_the_label_that_needs_it():
    # Component 1 holds two labelled images of a, which component 0 explains too, and half of b's.
    q = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0.4, 0.6], [0, 0.0, 1.0]])
    y = ["a", "a", "b", "c"]
    decoder = AssignmentDecoder().fit(q, y)
    assert decoder.classes_[decoder.assignment_].tolist() == ["a", "b", "c"]
    assert HardDecoder().fit(q, y).predict(np.eye(3)[1:2]) != ["b"]


def test_a_component_that_no_label_touches_takes_no_side():
    decoder = AssignmentDecoder().fit(np.eye(3)[:2], ["a", "b"])
    assert decoder.assignment_.tolist() == [0, 1, -1]
    np.testing.assert_allclose(decoder.predict_proba([[0.1, 0.3, 0.6]]), [[0.4, 0.6]])


@every_decoder
@given(problem=problems())
@quick
def test_probabilities_sum_to_one_and_agree_with_predictions(problem, decoder):
    q, y, x = problem
    decoder.fit(q, y)
    proba = decoder.predict_proba(x)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (proba >= 0).all()
    np.testing.assert_array_equal(decoder.predict(x), decoder.classes_[proba.argmax(axis=1)])


@every_decoder
@given(problem=problems(), seed=st.integers(0, 1000))
@quick
def test_order_of_labelled_points_does_not_matter(problem, seed, decoder):
    q, y, x = problem
    order = np.random.default_rng(seed).permutation(len(y))
    first = decoder.fit(q, y).predict_proba(x)
    np.testing.assert_allclose(decoder.fit(q[order], y[order]).predict_proba(x), first, atol=1e-12)


@every_decoder
@given(problem=problems())
@quick
def test_predictions_go_row_by_row(problem, decoder):
    q, y, x = problem
    decoder.fit(q, y)
    one_by_one = np.concatenate([decoder.predict_proba(row[None]) for row in x])
    np.testing.assert_allclose(decoder.predict_proba(x), one_by_one, atol=1e-12)


@every_decoder
@given(problem=problems())
@quick
def test_string_labels_in_the_same_order_give_the_same_answers(problem, decoder):
    q, y, x = problem
    names = np.array(list("abcde"))
    by_number = decoder.fit(q, y).predict(x)
    by_name = decoder.fit(q, names[y]).predict(x)
    assert by_name.tolist() == names[by_number].tolist()


@pytest.mark.parametrize("decoder", [SoftDecoder(), BayesDecoder(), GraphDecoder()], ids=repr)
@given(problem=problems(), seed=st.integers(0, 1000))
@quick
def test_renaming_labels_commutes(problem, seed, decoder):
    # Not so for the hard rule, whose ties follow the order of classes_.
    q, y, x = problem
    rename = np.random.default_rng(seed).permutation(5)
    before = decoder.fit(q, y)
    classes, proba = before.classes_, before.predict_proba(x)
    after = decoder.fit(q, rename[y])
    columns = np.searchsorted(after.classes_, rename[classes])
    np.testing.assert_allclose(after.predict_proba(x)[:, columns], proba, atol=1e-12)


@every_decoder
@given(problem=problems(), cuts=st.lists(st.integers(0, 30), max_size=3))
@quick
def test_partial_fits_add_up_to_one_fit(problem, cuts, decoder):
    q, y, x = problem
    once = type(decoder)(**decoder.get_params()).fit(q, y)
    parts = type(decoder)(**decoder.get_params())
    ends = sorted({min(cut, len(y)) for cut in cuts} | {0, len(y)})
    for start, stop in zip(ends, ends[1:], strict=False):
        parts.partial_fit(q[start:stop], y[start:stop], classes=np.unique(y))
    np.testing.assert_allclose(parts.predict_proba(x), once.predict_proba(x), atol=1e-12)
    assert parts.class_count_.tolist() == once.class_count_.tolist()


@every_decoder
def test_refit_forgets(decoder):
    eye = np.eye(3)
    decoder.fit(eye, ["a", "b", "c"])
    assert decoder.fit(eye, [5, 6, 6]).predict(eye).tolist() == [5, 6, 6]
    assert decoder.class_count_.tolist() == [1, 2]
    decoder.fit(np.eye(4), [0, 1, 1, 0])
    assert decoder.n_features_in_ == 4


@every_decoder
@given(seed=st.integers(0, 10_000))
@quick
def test_one_hot_posteriors_and_pure_labelled_clusters_are_decoded_without_error(seed, decoder):
    rng = np.random.default_rng(seed)
    letter_of_component = rng.integers(0, 4, 10)
    component = np.concatenate([np.arange(10), rng.integers(0, 10, 50)])
    q, y = np.eye(10)[component], letter_of_component[component]
    assert decoder.fit(q[:10], y[:10]).score(q, y) == 1.0


@every_decoder
def test_float32_posteriors_are_used_as_they_are(decoder):
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.ones(6), 50)
    y = rng.integers(0, 3, 50)
    double = decoder.fit(q, y).predict_proba(q)
    single = decoder.fit(q.astype(np.float32), y).predict_proba(q.astype(np.float32))
    np.testing.assert_allclose(single, double, atol=1e-6)


def test_hard_fallback_decides_where_the_cluster_has_no_label():
    q = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    lost = np.array([[0.1, 0.2, 0.7]])  # component 2 got no label; 1 is next, and says "e"
    assert HardDecoder().fit(q, ["c", "e"]).predict(lost) == ["e"]
    published = HardDecoder(fallback="none").fit(q, ["c", "e"])
    assert published.predict(lost) == ["c"]
    assert published.predict_proba(lost).tolist() == [[1.0, 0.0]]


def test_hard_ties_go_to_the_first_class():
    q = np.ones((2, 1))
    assert HardDecoder().fit(q, ["b", "a"]).predict(q).tolist() == ["a", "a"]


def test_hard_probabilities_are_vote_shares():
    q = np.ones((4, 1))
    assert HardDecoder().fit(q, list("aaab")).predict_proba(q[:1]).tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize("decoder", [HardDecoder(), SoftDecoder()], ids=repr)
@pytest.mark.parametrize("row", [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
def test_a_row_that_touches_no_labelled_cluster_gets_the_class_frequencies(decoder, row):
    q = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]])
    decoder.fit(q, ["a", "b", "b"])
    np.testing.assert_allclose(decoder.predict_proba([row]), [[1 / 3, 2 / 3]])
    assert decoder.predict([row]) == ["b"]


def test_bayes_without_smoothing_uses_the_prior_for_empty_components():
    decoder = BayesDecoder(alpha=0).fit(np.eye(3)[:2], ["a", "b"])
    np.testing.assert_allclose(decoder.label_given_component_, [[1, 0, 0.5], [0, 1, 0.5]])


def test_soft_disagrees_with_hard_as_in_figure_2():
    # The top component votes c; the mass of the others says e.
    q = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]])
    y = ["c", "e", "e"]
    x = [[0.2, 0.4, 0.35, 0.05], [0.36, 0.34, 0.3, 0.0]]
    assert HardDecoder().fit(q, y).predict(x).tolist() == ["e", "c"]
    assert BayesDecoder(alpha=0).fit(q, y).predict(x).tolist() == ["e", "e"]
    # m(e) is a mean, so two components halve each other: similarity, not Bayes' rule.
    np.testing.assert_allclose(SoftDecoder().fit(q, y).class_mean_[1], [0, 0.5, 0.5, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, y: HardDecoder(fallback="first").fit(q, y), "fallback: found 'first'"),
        (lambda q, y: BayesDecoder(alpha=-1).fit(q, y), "alpha: found -1"),
        (lambda q, y: BayesDecoder(alpha=np.nan).fit(q, y), "alpha: found nan"),
        (lambda q, y: BayesDecoder(alpha="best").fit(q, y), "alpha: found 'best'; expected a"),
        (lambda q, y: BayesDecoder(prior="none").fit(q, y), "prior: found 'none'"),
        (lambda q, y: AssignmentDecoder(floor=0).fit(q, y), "floor: found 0"),
        (lambda q, y: SoftDecoder().partial_fit(q, y), "classes: found none"),
        (lambda q, y: SoftDecoder().partial_fit(q, y, classes=["a"]), "y: found the label"),
        (
            lambda q, y: SoftDecoder().fit(q, y).partial_fit(q, y, classes=["a", "z"]),
            "classes: found",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call(np.eye(2), ["a", "b"])


def test_an_unknown_label_leaves_the_counts_alone():
    decoder = SoftDecoder().fit(np.eye(2), ["a", "b"])
    with pytest.raises(InputError):
        decoder.partial_fit(np.eye(2), ["a", "z"])
    assert decoder.class_count_.tolist() == [1, 1]


@every_decoder
def test_negative_entries_are_refused(decoder):
    with pytest.raises(ValueError, match="Negative values"):
        decoder.fit([[1.5, -0.5]], ["a"])


def test_find_disagreement_follows_its_rule():
    q = np.array(
        [
            [0.40, 0.20, 0.10, 0.3, 0.0],  # labelled 0
            [0.00, 0.90, 0.10, 0.0, 0.0],  # labelled 1
            [0.00, 0.45, 0.55, 0.0, 0.0],  # labelled 1; no votes in components 3 and 4
            [0.41, 0.30, 0.29, 0.0, 0.0],  # a candidate: hard 0, soft 1
            [0.40, 0.39, 0.21, 0.0, 0.0],  # a candidate with a larger margin
            [0.48, 0.47, 0.05, 0.0, 0.0],  # two components above 0.1
            [0.27, 0.26, 0.12, 0.0, 0.35],  # no label in the top component
            [0.51, 0.38, 0.11, 0.0, 0.0],  # the top component outweighs the others
            [0.40, 0.39, 0.21, 0.0, 0.0],  # hard right
        ]
    )
    y = np.array([0, 1, 1, 1, 1, 1, 1, 1, 0])
    hard, soft = HardDecoder().fit(q[:3], y[:3]), SoftDecoder().fit(q[:3], y[:3])
    assert hard.predict(q[3:8]).tolist() == [0] * 5
    assert soft.predict(q[3:8]).tolist() == [1] * 5
    found = find_disagreement(q, y, [0, 1, 2], n_shown=3)
    assert (found.index, found.n_candidates) == (4, 2)
    assert (found.truth, found.hard, found.soft) == (1, 0, 1)
    assert found.components.tolist() == [0, 1, 2]
    assert found.posterior.tolist() == [0.40, 0.39, 0.21]
    assert found.votes.tolist() == [[1, 0], [0, 1], [0, 1]]
    assert found.classes.tolist() == [0, 1]
    # m(0) = (0.4, 0.2, 0.1, 0.3, 0), m(1) = (0, 0.675, 0.325, 0, 0)
    to_0, to_1 = 0.16 + 0.078 + 0.021, 0.675 * 0.39 + 0.325 * 0.21
    assert found.margin == pytest.approx((to_1 - to_0) / (to_1 + to_0))


def test_find_disagreement_says_so_where_there_is_none():
    with pytest.raises(InputError, match="found no image"):
        find_disagreement(np.eye(3), np.arange(3), [0, 1])


def test_disagreements_are_drawn_on_both_sides():
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.full(4, 0.5), 300)
    y = rng.integers(0, 3, 300)
    labelled = np.arange(12)
    table = draw_disagreements(q, y, labelled, n=5)
    hard = HardDecoder().fit(q[:12], y[:12]).predict(q)
    soft = SoftDecoder().fit(q[:12], y[:12]).predict(q)
    assert table["right"].tolist() == ["soft"] * 5 + ["hard"] * 5
    assert table["index"].is_unique
    assert table["index"].min() >= 12
    for row in table.itertuples():
        assert (row.truth, row.hard, row.soft) == (y[row.index], hard[row.index], soft[row.index])
        assert (row.soft == row.truth) == (row.right == "soft")
        assert (row.hard == row.truth) == (row.right == "hard")
    # all there are, if they are fewer
    both = ((soft == y) != (hard == y))[12:].sum()
    assert len(draw_disagreements(q, y, labelled, n=300)) == both


@given(problem=problems(), t=st.sampled_from([0.2, 1.0, 3.0]))
@quick
def test_temperature_keeps_the_answer_and_the_sum(problem, t):
    q, y, x = problem
    proba = BayesDecoder().fit(q, y).predict_proba(x)
    found = at_temperature(proba, t)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found.argmax(axis=1), proba.argmax(axis=1))
    np.testing.assert_allclose(found, proba ** (1 / t) / (proba ** (1 / t)).sum(1, keepdims=True))


class AsTold(BaseEstimator, ClassifierMixin):
    """Believes its features."""

    def fit(self, proba, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, proba):
        return proba


def test_temperature_makes_the_bold_modest_and_the_modest_bold():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    shown = np.where(rng.random(200) < 0.8, y, 1 - y)  # four of five images look like their letter
    for sure in (0.999, 0.6):
        q = np.where(shown[:, None] == [0, 1], sure, 1 - sure)
        t = temperature(AsTold(), q, y)
        assert t > 1.5 if sure == 0.999 else t < 0.7
        right = np.mean(shown == y)
        assert at_temperature(q, t).max(axis=1).mean() == pytest.approx(right, abs=0.02)


def test_temperature_by_leaving_one_out_is_its_definition():
    rng = np.random.default_rng(1)
    q, y = rng.dirichlet(np.full(4, 0.3), 12), np.array(list("aabbccaabbcd"))  # d occurs once
    found = temperature(SoftDecoder(), q, y, n_folds=12)
    rows = []
    for i in range(11):
        rest = np.arange(12) != i
        decoder = SoftDecoder().fit(q[rest], y[rest])
        rows.append((decoder.predict_proba(q[i : i + 1]), decoder.classes_.tolist().index(y[i])))

    def total(t):
        return sum(np.log(at_temperature(proba, t)[0, place]) for proba, place in rows)

    assert total(found) >= max(total(found * 1.05), total(found / 1.05))
    assert temperature(SoftDecoder(), q[:2], ["a", "b"]) == 1.0


def affinities(k, rng):
    """Symmetric, non-negative, some components alone."""
    affinity = rng.random((k, k)) * (rng.random((k, k)) < 0.5)
    return cluster_affinity(together=affinity + affinity.T)


@given(problem=problems(), strength=st.sampled_from([0.1, 1.0, 10.0]))
@quick
def test_graph_is_the_fixed_point_of_its_rule(problem, strength):
    q, y, x = problem
    k = q.shape[1]
    affinity = affinities(k, np.random.default_rng(len(y)))
    decoder = GraphDecoder(affinity, strength).fit(q, y)
    p = decoder.label_given_component_
    np.testing.assert_allclose(p.sum(axis=0), 1)
    assert (p > -1e-9).all()
    counts = np.stack([q[y == value].sum(0) for value in decoder.classes_])  # [C, K]
    prior = (decoder.class_count_ + 1) / (len(y) + len(decoder.classes_))
    for c in range(k):
        weight = counts[:, c].sum() + 1e-3 * strength
        borrowed = np.zeros(len(prior))
        if affinity[c].sum() > 0:
            borrowed = strength * p @ (affinity[c] / affinity[c].sum())
            weight += strength
        wanted = (counts[:, c] + borrowed + 1e-3 * strength * prior) / weight
        np.testing.assert_allclose(p[:, c], wanted, atol=1e-9)
    np.testing.assert_allclose(decoder.predict_proba(x), x @ p.T, atol=1e-6)


def test_graph_lends_labels_to_the_component_that_shares_images():
    # components 0 and 1 share images, 2 and 3 share images; only 0 and 2 get a label
    affinity = cluster_affinity(np.array([[0.6, 0.4, 0, 0], [0, 0, 0.6, 0.4]]))
    labelled = np.eye(4)[[0, 2, 2]]
    found = GraphDecoder(affinity).fit(labelled, ["a", "b", "b"]).predict(np.eye(4))
    assert found.tolist() == ["a", "a", "b", "b"]
    # Bayes' rule, without the graph, gives the unlabelled ones the commonest label
    assert BayesDecoder(prior="labels").fit(labelled, ["a", "b", "b"]).predict(np.eye(4))[1] == "b"


def test_affinity_is_symmetric_without_diagonal_and_of_the_right_size():
    q = np.random.default_rng(0).dirichlet(np.ones(5), 50)
    affinity = cluster_affinity(q)
    np.testing.assert_allclose(affinity, affinity.T)
    assert (np.diag(affinity) == 0).all()
    assert affinity[1, 2] == pytest.approx((q[:, 1] * q[:, 2]).sum())
    with pytest.raises(InputError, match=r"affinity: found shape \(4, 4\); expected \(5, 5\)"):
        GraphDecoder(np.ones((4, 4))).fit(q, np.arange(50) % 3)
    with pytest.raises(InputError, match="strength: found 0"):
        GraphDecoder(strength=0).fit(q, np.arange(50) % 3)
