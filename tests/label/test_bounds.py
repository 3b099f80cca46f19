"""`gmvae_lib.bounds` against enumeration, exact arithmetic, each other and simulation."""

import math
from fractions import Fraction
from itertools import combinations, product

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from gmvae_lib import bounds
from gmvae_lib.errors import InputError
from gmvae_lib.label.bounds import circle

# A simulated share may leave its interval in this share of fresh seeds; the seeds here are fixed.
FAILURE_RATE = 1e-4
Z = norm.isf(FAILURE_RATE / 2)

LETTERS = 145_600  # EMNIST Letters


def zipf(n_clusters, exponent=1.0):
    weights = np.arange(1, n_clusters + 1.0) ** -exponent
    return weights / weights.sum()


def draws(weights, n_labels):
    """Every sequence of n labels with its probability (with replacement)."""
    for sequence in product(range(len(weights)), repeat=n_labels):
        yield sequence, math.prod(weights[c] for c in sequence)


def cell_draws(joint, n_labels):
    """Every table of counts [K, L] of n labels with its probability."""
    for sequence, probability in draws(joint.ravel(), n_labels):
        counts = np.bincount(sequence, minlength=joint.size) if sequence else np.zeros(joint.size)
        yield counts.reshape(joint.shape), probability


random_weights = st.lists(st.integers(1, 60), min_size=2, max_size=8).map(
    lambda parts: np.array(parts) / sum(parts)
)


# ------------------------------------------------------------------------ the published figures


def test_labels_if_chosen():
    assert bounds.labels_if_chosen(100) == 100


@pytest.mark.parametrize(
    ("method", "population", "expected"),
    [("exact", None, 754), ("poisson", None, 758), ("union", None, 757), ("exact", LETTERS, 752)],
)
def test_labels_to_cover_hundred_equal_clusters(method, population, expected):
    assert bounds.labels_to_cover(100, method=method, population=population) == expected
    equal = np.full(100, 0.01, dtype=np.float32)
    assert bounds.labels_to_cover(equal, method=method, population=population) == expected


def test_article_rounding_covers_with_98_5_percent():
    assert bounds.coverage_probability(100, 874) == pytest.approx(0.985, abs=5e-4)


@pytest.mark.parametrize(
    ("n_labels", "percent", "digits"), [(73, 48.0, 1), (291, 5.4, 1), (519, 0.5, 1), (728, 0.07, 2)]
)
def test_missing_mass_of_the_article(n_labels, percent, digits):
    assert round(100 * bounds.expected_missing_mass(100, n_labels), digits) == percent


# ----------------------------------------------------------------- coverage against enumeration


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.5], [0.2, 0.3, 0.5], [0.1, 0.2, 0.3, 0.4]])
@pytest.mark.parametrize("n_labels", range(7))
def test_exact_coverage_enumerated_with_replacement(weights, n_labels):
    for all_but in range(len(weights)):
        enumerated = sum(
            probability
            for sequence, probability in draws(weights, n_labels)
            if len(set(sequence)) >= len(weights) - all_but
        )
        found = bounds.coverage_probability(weights, n_labels, all_but=all_but)
        assert found == pytest.approx(enumerated, abs=1e-12)


@pytest.mark.parametrize("sizes", [[3], [2, 2], [1, 2, 4], [1, 1, 3, 3]])
def test_exact_coverage_enumerated_without_replacement(sizes):
    cluster_of_image = np.repeat(np.arange(len(sizes)), sizes)
    for n_labels in range(sum(sizes) + 1):
        covered = [len(set(chosen)) for chosen in combinations(cluster_of_image.tolist(), n_labels)]
        for all_but in range(len(sizes)):
            enumerated = np.mean([count >= len(sizes) - all_but for count in covered])
            found = bounds.coverage_probability(
                len(sizes), n_labels, population=sizes, all_but=all_but
            )
            assert found == pytest.approx(enumerated, abs=1e-12)


def test_other_methods_enumerated():
    weights, n_labels = np.array([0.2, 0.3, 0.5]), 5
    missed_clusters = sum(
        probability * (3 - len(set(sequence))) for sequence, probability in draws(weights, n_labels)
    )
    union = bounds.coverage_probability(weights, n_labels, "union")
    assert union == pytest.approx(1 - missed_clusters)
    # Poisson(5) labels, mixed from the exact answers for every number of labels.
    mixed = sum(
        math.exp(-5) * 5**n / math.factorial(n) * bounds.coverage_probability(weights, n)
        for n in range(60)
    )
    poisson = bounds.coverage_probability(weights, n_labels, "poisson")
    assert poisson == pytest.approx(mixed, abs=1e-12)


def test_empty_cluster_is_never_covered():
    for method in bounds.METHODS:
        assert bounds.coverage_probability([0.5, 0.5, 0.0], 50, method) == 0
        assert bounds.coverage_probability([0.5, 0.5, 0.0], 50, method, all_but=1) > 0.99
    with pytest.raises(InputError, match="1 empty cluster"):
        bounds.labels_to_cover([0.5, 0.5, 0.0])


# ------------------------------------------------------------- coverage against exact arithmetic


def test_fraction_is_stirling():
    # 4! S(6, 4) / 4^6 with S(6, 4) = 65.
    assert bounds.coverage_fraction(4, 6) == Fraction(math.factorial(4) * 65, 4**6)
    assert bounds.coverage_fraction([Fraction(1, 4)] * 4, 6) == bounds.coverage_fraction(4, 6)


@pytest.mark.parametrize("n_labels", [100, 101, 130, 300, 754, 3000])
def test_contour_equals_integers(monkeypatch, n_labels):
    expected = float(bounds.coverage_fraction(100, n_labels))
    assert bounds.coverage_probability(100, n_labels) == expected
    monkeypatch.setattr("gmvae_lib.label.bounds.coverage.INTEGER_WORK", 0)
    assert bounds.coverage_probability(100, n_labels) == pytest.approx(expected, rel=1e-11)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**15), st.floats(1e-3, 10), st.booleans(), st.one_of(st.none(), st.integers(0))
)
def test_log_draws_in_sixty_digits(n, factor, near, others):
    """-log of a Poisson probability, or with ``others`` of a binomial one, near its mean or not."""
    mean = max(n * (1 + (factor - 5) / (10 * math.sqrt(n + 1)) if near else factor), 1e-3)
    n_images = None if others is None else n + others % 10**15
    r = mean if n_images is None else mean / max(others % 10**15, 1)
    with mpmath.workdps(60):
        exact = mpmath.loggamma(n + 1) - n * mpmath.log(r) + r
        if n_images is not None:
            log_choices = mpmath.loggamma(n_images + 1) - mpmath.loggamma(n + 1)
            log_choices -= mpmath.loggamma(n_images - n + 1)
            exact = n_images * mpmath.log1p(r) - n * mpmath.log(r) - log_choices
            mean = n_images * r / (1 + r)
        error = abs(circle.log_draws(n, r, n_images) - exact)
    assert error <= 2e-14 * (1 + abs(mean - n))


@settings(max_examples=40, deadline=None)
@given(random_weights, st.integers(0, 400))
def test_contour_equals_inclusion_exclusion(weights, n_labels):
    expected = float(bounds.coverage_fraction(weights, n_labels))
    found = bounds.coverage_probability(weights, n_labels)
    assert found == pytest.approx(expected, rel=1e-10, abs=1e-300)


def test_contour_equals_positive_recursion():
    """The unequal case at K = 60: convolved zero-truncated Poisson counts, all terms positive."""
    weights, n_labels = zipf(60), 400
    total = np.ones(1)
    for rate in weights * n_labels:
        count = np.arange(1, n_labels + 1)
        pmf = np.exp(count * np.log(rate) - rate - [math.lgamma(c + 1) for c in count])
        total = np.convolve(total, np.append(0, pmf))[: n_labels + 1]
    poisson = math.exp(n_labels * math.log(n_labels) - n_labels - math.lgamma(n_labels + 1))
    expected = total[n_labels] / poisson
    assert bounds.coverage_probability(weights, n_labels) == pytest.approx(expected, rel=1e-9)


def test_coverage_without_replacement_in_integers():
    sizes, n_labels = [3, 50, 200, 7, 40], 90
    total = sum(sizes)
    expected = sum(
        Fraction((-1) ** k * math.comb(total - sum(missed), n_labels), math.comb(total, n_labels))
        for k in range(6)
        for missed in combinations(sizes, k)
    )
    found = bounds.coverage_probability(5, n_labels, population=sizes)
    assert found == pytest.approx(float(expected), rel=1e-11)


# ------------------------------------------------------------------ methods against each other


@pytest.mark.parametrize("weights", [100, zipf(100, 0.5), zipf(300, 0.3)])
@pytest.mark.parametrize("all_but", [0, 3])
def test_methods_agree_at_high_coverage(weights, all_but):
    n_labels = bounds.labels_to_cover(weights, 0.95, all_but=all_but)
    exact = bounds.coverage_probability(weights, n_labels, all_but=all_but)
    poisson = bounds.coverage_probability(weights, n_labels, "poisson", all_but=all_but)
    union = bounds.coverage_probability(weights, n_labels, "union", all_but=all_but)
    assert poisson == pytest.approx(exact, abs=0.005 if all_but == 0 else 0.015)
    assert union <= exact
    if all_but == 0:
        # Bonferroni: the union bound misses at most half the squared expected number missed.
        assert exact - union < 0.06**2 / 2


@pytest.mark.parametrize("population", [None, 5_000])
@pytest.mark.parametrize("all_but", [0, 2])
def test_simulation_agrees(population, all_but):
    weights, n_simulations = zipf(50, 0.6), 20_000
    options = {"population": population, "all_but": all_but}
    for n_labels in (150, 400):
        exact = bounds.coverage_probability(weights, n_labels, **options)
        simulated = bounds.coverage_probability(
            weights, n_labels, "montecarlo", n_simulations=n_simulations, **options
        )
        low, high = binom.interval(1 - FAILURE_RATE, n_simulations, exact)
        assert low <= simulated * n_simulations <= high
    n_labels = bounds.labels_to_cover(
        weights, method="montecarlo", n_simulations=n_simulations, **options
    )
    spread = Z * math.sqrt(0.95 * 0.05 / n_simulations)
    covered = bounds.coverage_probability(weights, n_labels, **options)
    assert covered == pytest.approx(0.95, abs=spread + 0.002)


def test_cover_times_are_those_of_drawing():
    """The continuous-time simulation against drawing labels one by one, with equal means."""
    weights, rng = np.array([0.1, 0.2, 0.7]), np.random.default_rng(3)
    drawn = np.argsort(rng.random((4000, 60)), axis=1)  # 60 images, without replacement
    cluster = np.repeat(np.arange(3), [6, 12, 42])[drawn]
    first = np.stack([(cluster == c).argmax(axis=1) for c in range(3)])
    by_drawing = first.max(axis=0) + 1
    simulated = bounds.cover_times(weights, 4000, seed=1, population=60)
    error = Z * math.sqrt((by_drawing.var() + simulated.var()) / 4000)
    assert abs(by_drawing.mean() - simulated.mean()) < error
    exact = bounds.expected_labels_to_cover(weights, population=60)
    assert abs(exact - simulated.mean()) < Z * simulated.std() / math.sqrt(4000)


def test_ten_thousand_unequal_clusters():
    weights = np.random.default_rng(0).dirichlet(np.full(10_000, 20.0))
    exact = bounds.labels_to_cover(weights)
    assert bounds.coverage_probability(weights, exact) >= 0.95
    assert bounds.coverage_probability(weights, exact - 1) < 0.95
    assert 0 < bounds.labels_to_cover(weights, method="poisson") - exact < 20
    assert 0 < bounds.labels_to_cover(weights, method="union") - exact < 0.01 * exact
    assert bounds.labels_to_cover(weights, population=10**6) < exact
    assert bounds.coverage_probability(weights, 10_000) == 0


def test_extremes():
    assert bounds.labels_to_cover(1) == bounds.labels_to_cover(1, population=1) == 1
    assert bounds.coverage_probability(100, 10**15) == 1
    assert bounds.labels_to_cover(100, 1e-40) >= 100
    tiny = 1e-12  # the rare cluster alone decides: n = ln 0.05 / ln(1 - tiny)
    expected = math.log(0.05) / math.log1p(-tiny)
    assert bounds.labels_to_cover([1 - tiny, tiny]) == pytest.approx(expected, rel=1e-9)
    assert bounds.expected_labels_to_cover([1 - tiny, tiny]) == pytest.approx(1e12, rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"all_but": 2}, {"method": "poisson"}])
def test_confidence_within_rounding_of_one(options):
    n_labels = bounds.labels_to_cover(zipf(50), 1 - 2**-53, **options)
    assert n_labels < 60 / zipf(50).min()


# ---------------------------------------------------------------------------------- monotone


@settings(max_examples=30, deadline=None)
@given(random_weights, st.integers(2, 80), st.sampled_from(["exact", "poisson", "union"]))
def test_monotone_in_labels_and_confidence(weights, n_labels, method):
    less = bounds.coverage_probability(weights, n_labels, method)
    more = bounds.coverage_probability(weights, n_labels + 1, method)
    assert less <= more + 1e-12
    assert bounds.expected_missing_mass(weights, n_labels + 1) < bounds.expected_missing_mass(
        weights, n_labels
    )
    for confidence in (0.5, 0.9):
        n_needed = bounds.labels_to_cover(weights, confidence, method)
        assert n_needed <= bounds.labels_to_cover(weights, confidence + 0.05, method)
        assert bounds.coverage_probability(weights, n_needed, method) >= confidence
        assert bounds.coverage_probability(weights, n_needed - 1, method) < confidence


@settings(max_examples=40, deadline=None)
@given(random_weights, st.integers(2, 80), st.floats(0, 0.5), st.randoms(use_true_random=False))
def test_schur_concave(weights, n_labels, share, random):
    """A T-transform (a step from rich to poor) raises coverage, whichever way it is computed."""
    i, j = random.sample(range(len(weights)), 2)
    closer = weights.copy()
    closer[i] = (1 - share) * weights[i] + share * weights[j]
    closer[j] = share * weights[i] + (1 - share) * weights[j]
    for method in ("exact", "poisson", "union"):
        unequal = bounds.coverage_probability(weights, n_labels, method)
        assert bounds.coverage_probability(closer, n_labels, method) >= unequal - 1e-12
    assert bounds.expected_labels_to_cover(closer) <= bounds.expected_labels_to_cover(weights) * (
        1 + 1e-8
    )


def test_equal_clusters_are_the_cheapest():
    equal = bounds.labels_to_cover(100)
    assert equal < bounds.labels_to_cover(zipf(100, 0.2)) < bounds.labels_to_cover(zipf(100, 0.8))


# --------------------------------------------------------------------- expectations and mass


def test_expected_labels_to_cover():
    harmonic = sum(1 / k for k in range(1, 101))
    assert bounds.expected_labels_to_cover(100) == pytest.approx(100 * harmonic, rel=1e-8)
    assert bounds.expected_labels_to_cover(1) == pytest.approx(1)
    a, b = 0.999, 0.001
    expected = 1 / a + 1 / b - 1
    assert bounds.expected_labels_to_cover([a, b]) == pytest.approx(expected, rel=1e-8)
    # The sum of P(not covered after n) over n >= 0.
    weights, sizes = zipf(12), [2, 3, 5]
    tail = sum(1 - bounds.coverage_probability(weights, n) for n in range(1500))
    assert bounds.expected_labels_to_cover(weights) == pytest.approx(tail, rel=1e-8)
    tail = sum(1 - bounds.coverage_probability(3, n, population=sizes) for n in range(10))
    assert bounds.expected_labels_to_cover(3, population=sizes) == pytest.approx(tail, rel=1e-8)


def test_missing_mass_enumerated():
    weights, n_labels = np.array([0.2, 0.3, 0.5]), 4
    masses, probabilities = zip(
        *((1 - weights[list(set(seq))].sum(), prob) for seq, prob in draws(weights, n_labels)),
        strict=True,
    )
    expected = np.dot(masses, probabilities)
    assert bounds.expected_missing_mass(weights, n_labels) == pytest.approx(expected)
    for confidence in (0.5, 0.8, 0.95):
        bound = bounds.missing_mass_bound(weights, n_labels, confidence)
        assert np.dot(np.array(masses) <= bound, probabilities) >= confidence
    sizes = [1, 2, 4]
    chosen = combinations(np.repeat(np.arange(3), sizes).tolist(), 3)
    expected = np.mean([1 - sum(sizes[c] for c in set(seq)) / 7 for seq in chosen])
    assert bounds.expected_missing_mass(3, 3, population=sizes) == pytest.approx(expected)


def test_missing_mass_bound_holds_and_is_near():
    rng, weights = np.random.default_rng(0), zipf(100, 0.5)
    counts = rng.multinomial(291, weights, size=5000)
    masses = (counts == 0) @ weights
    bound = bounds.missing_mass_bound(weights, 291, 0.95)
    quantile = np.quantile(masses, 0.95)
    assert quantile <= bound < quantile + 0.03


def test_labels_to_cover_mass():
    weights = zipf(100, 0.5)
    n_labels = bounds.labels_to_cover_mass(weights, 0.9)
    assert bounds.expected_missing_mass(weights, n_labels) <= 0.1
    assert bounds.expected_missing_mass(weights, n_labels - 1) > 0.1
    surer = bounds.labels_to_cover_mass(weights, 0.9, confidence=0.95)
    assert bounds.missing_mass_bound(weights, surer, 0.95) <= 0.1
    assert n_labels < surer < bounds.labels_to_cover(weights)
    assert bounds.labels_to_cover_mass(2, 0.999, population=[5, 5]) == 6


@pytest.mark.parametrize("weights", [100, zipf(40), zipf(300, 0.3)])
def test_bonferroni_brackets_the_exact_answer(weights):
    """1 - mu <= P <= 1 - mu + mu^2 / 2 with mu the expected number of missed clusters."""
    shares = np.full(weights, 1 / weights) if isinstance(weights, int) else weights
    for n_labels in (500, 1000, 5000):
        mu = ((1 - shares) ** n_labels).sum()
        exact = bounds.coverage_probability(weights, n_labels)
        assert 1 - mu - 1e-12 <= exact <= 1 - mu + mu**2 / 2 + 1e-12


@pytest.mark.parametrize("n_labels", [10, 99, 300, 754])
def test_without_replacement_covers_more_often(n_labels):
    for weights, sizes in ((20, [50] * 20), (3, [2, 298, 700])):
        with_replacement = bounds.coverage_probability(np.array(sizes) / 1000, n_labels)
        without = bounds.coverage_probability(weights, n_labels, population=sizes)
        assert without >= with_replacement - 1e-12


def test_equal_clusters_miss_most_mass_with_few_labels_and_less_with_many():
    """x (1 - x)^n turns from concave to convex at 2 / (n + 1), so equal K at n = 2K - 1."""
    slightly = np.full(20, 0.05)
    slightly[:2] += [0.002, -0.002]
    for n_labels in (1, 10, 38, 40, 100):
        equal = bounds.expected_missing_mass(20, n_labels)
        unequal = bounds.expected_missing_mass(slightly, n_labels)
        assert (unequal < equal) == (n_labels < 39)


def test_missing_mass_chernoff_needs_only_the_joint_misses():
    """P(all of S missed) <= prod of P(c missed), with and without replacement."""
    weights, sizes, n_labels = np.array([0.1, 0.2, 0.3, 0.4]), np.array([2, 4, 6, 8]), 5
    for subset in combinations(range(4), 2):
        together = (1 - weights[list(subset)].sum()) ** n_labels
        assert together <= math.prod((1 - weights[c]) ** n_labels for c in subset)
        left = math.comb(20 - int(sizes[list(subset)].sum()), n_labels) / math.comb(20, n_labels)
        alone = [math.comb(20 - int(sizes[c]), n_labels) / math.comb(20, n_labels) for c in subset]
        assert left <= math.prod(alone)


def test_partial_coverage_is_cheaper():
    needed = [bounds.labels_to_cover(zipf(100, 0.5), all_but=m) for m in (0, 1, 5, 20)]
    assert needed == sorted(needed, reverse=True)
    assert needed[3] < needed[0] / 2


# ------------------------------------------------------------------------------ majority votes


@pytest.mark.parametrize("label_probs", [[0.6, 0.4], [0.2, 0.5, 0.3], [1.0, 0.0]])
@pytest.mark.parametrize("n_votes", range(7))
def test_majority_enumerated(label_probs, n_votes):
    enumerated = 0.0
    for sequence, probability in draws(label_probs, n_votes):
        counts = np.bincount(sequence, minlength=len(label_probs)) if sequence else np.zeros(2)
        best = int(np.argmax(label_probs))
        enumerated += probability * bool(counts[best] > np.delete(counts, best).max())
    found = bounds.majority_probability(label_probs, n_votes)
    assert found == pytest.approx(enumerated, abs=1e-12)


def test_labels_for_majority():
    # Two labels, an odd number of votes: a binomial tail.
    n_votes = bounds.labels_for_majority([0.7, 0.3])
    tail = [binom.sf(n // 2, n, 0.7) for n in range(200)]
    failing = [n for n in range(200) if min(tail[n], tail[min(n + 1, 199)]) < 0.95]
    assert n_votes == max(failing) + 1
    for label_probs in ([0.7, 0.3], [0.5, 0.3, 0.2], [0.4, 0.3, 0.2, 0.1]):
        exact = bounds.labels_for_majority(label_probs)
        assert exact <= bounds.labels_for_majority(label_probs, method="chernoff")
        assert exact <= bounds.labels_for_majority(label_probs, confidence=0.99)
    assert bounds.labels_for_majority([1.0, 0.0]) == 1
    nearly = [0.5001, 0.4999]
    exact = bounds.labels_for_majority(nearly)
    assert binom.sf(exact // 2, exact, 0.5001) >= 0.95
    assert 0.3 < exact / bounds.labels_for_majority(nearly, method="chernoff") < 1
    with pytest.raises(InputError, match="so near that some"):
        bounds.labels_for_majority([0.3334, 0.3333, 0.3333])
    with pytest.raises(InputError, match="two labels"):
        bounds.labels_for_majority([0.5, 0.5])


# ------------------------------------------------------------------------- accuracy of decoders


def random_table(n_clusters, n_classes, seed):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n_classes), n_clusters), rng.dirichlet(np.ones(n_clusters))


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (2, 3), (3, 2)])
@pytest.mark.parametrize("n_labels", range(6))
def test_hard_accuracy_enumerated(shape, n_labels):
    label_given_cluster, weights = random_table(*shape, seed=n_labels)
    joint, fallen_back, first_label = weights[:, None] * label_given_cluster, 0.0, 0.0
    for counts, probability in cell_draws(joint, n_labels):
        # argmax is 0 for a cluster without votes: the fallback "none", and ties go to the first.
        decision = counts.argmax(axis=1)
        fallen_back += probability * joint[np.arange(shape[0]), decision].sum()
        # "first": the first label that anything has. Without any, label 0.
        decision[~counts.any(axis=1)] = counts.any(axis=0).argmax()
        first_label += probability * joint[np.arange(shape[0]), decision].sum()
    found = bounds.expected_hard_accuracy(label_given_cluster, weights, n_labels, "none")
    assert found == pytest.approx(fallen_back, abs=1e-12)
    found = bounds.expected_hard_accuracy(label_given_cluster, weights, n_labels, "first")
    assert found == pytest.approx(first_label, abs=1e-12)


@pytest.mark.parametrize("n_labels", range(1, 7))
def test_nearest_fallback_enumerated(n_labels):
    """Exact for a Poisson number of labels; for n labels the error is that of independence."""
    label_given_cluster, weights = random_table(3, 2, seed=7)
    joint = weights[:, None] * label_given_cluster
    rng = np.random.default_rng(n_labels)
    posteriors = rng.dirichlet(np.ones(3), 3) + 2 * np.eye(3)  # each image's own cluster is first
    cells = bounds.PosteriorCells(
        np.repeat(posteriors / 3, 2, axis=0), np.tile([0, 1], 3), joint.ravel()
    )
    expected = 0.0
    for counts, probability in cell_draws(joint, n_labels):
        labelled = counts.any(axis=1)
        used = np.where(labelled, posteriors, -1).argmax(axis=1)
        decision = counts.argmax(axis=1)[used]
        expected += probability * joint[np.arange(3), decision].sum()
    found = bounds.expected_hard_accuracy(label_given_cluster, weights, n_labels, cells=cells)
    assert found == pytest.approx(expected, abs=0.02)


def test_hard_accuracy_of_pure_clusters():
    """Clusters that each hold a letter of their own: what is covered is right."""
    for n_labels in (10, 100):
        covered = 1 - bounds.expected_missing_mass(20, n_labels)
        pure = bounds.expected_hard_accuracy(np.eye(20), 20, n_labels, "none")
        assert pure == pytest.approx(covered + 0.05 * 0.95**n_labels)
        nearest = bounds.expected_hard_accuracy(np.eye(20), 20, n_labels)
        assert nearest == pytest.approx(covered)


def test_poissonised_votes_are_near_exact(monkeypatch):
    label_given_cluster, weights = random_table(20, 8, seed=1)
    label_given_cluster[0, :2] = label_given_cluster[0, :2].mean()  # a tie
    exact = bounds.expected_hard_accuracy(label_given_cluster, weights, 1000)
    monkeypatch.setattr("gmvae_lib.label.bounds.accuracy.EXACT_VOTES", 0)
    poisson = bounds.expected_hard_accuracy(label_given_cluster, weights, 1000)
    assert poisson != exact
    assert poisson == pytest.approx(exact, abs=1e-4)


def test_hard_accuracy_with_many_labels_is_purity():
    label_given_cluster, weights = random_table(100, 26, seed=2)
    purity = weights @ label_given_cluster.max(axis=1)
    accuracy = bounds.expected_hard_accuracy(label_given_cluster, weights, 10**8)
    assert accuracy == pytest.approx(purity, abs=5e-5)


def synthetic_posterior(n=20_000, n_clusters=40, n_classes=10, seed=0):
    """q [N, K] and y [N] of a Gaussian mixture whose components gather round class centres."""
    rng = np.random.default_rng(seed)
    component_class = np.arange(n_clusters) % n_classes
    means = 2 * rng.normal(size=(n_classes, 4))[component_class]
    means += 1.2 * rng.normal(size=means.shape)
    weights = rng.dirichlet(np.full(n_clusters, 4.0))
    component = rng.choice(n_clusters, n, p=weights)
    x = means[component] + rng.normal(size=(n, 4))
    log_q = -0.5 * ((x[:, None] - means) ** 2).sum(axis=2) + np.log(weights)
    q = np.exp(log_q - log_q.max(axis=1, keepdims=True))
    return q / q.sum(axis=1, keepdims=True), component_class[component]


def measured(q, y, n_labels, repeats=80):
    """Mean accuracies (hard without and with fallback, soft) of labelled draws, and their errors.

    Written out apart from `gmvae_lib.label.decoding`: the prediction is checked against the rule.
    """
    rng, n_classes, rows = np.random.default_rng(5), y.max() + 1, []
    top = q.argmax(axis=1)
    for _ in range(repeats):
        labelled = rng.choice(len(y), n_labels, replace=False)
        votes = np.zeros((q.shape[1], n_classes))
        np.add.at(votes, (top[labelled], y[labelled]), 1)
        decision = votes.argmax(axis=1)
        nearest = np.where(votes.sum(axis=1) > 0, q, -1).argmax(axis=1)
        is_label = np.equal.outer(np.arange(n_classes), y[labelled])
        n_of_label = is_label.sum(axis=1)
        similarity = q @ (is_label @ q[labelled] / np.maximum(n_of_label, 1)[:, None]).T
        soft = np.where(n_of_label > 0, similarity, -1).argmax(axis=1)
        rest = np.ones(len(y), dtype=bool)
        rest[labelled] = False
        rows.append([(p == y)[rest].mean() for p in (decision[top], decision[nearest], soft)])
    return np.mean(rows, axis=0), Z * np.std(rows, axis=0) / math.sqrt(repeats)


@pytest.mark.parametrize("n_labels", [7, 30, 120, 2000])
def test_predicted_accuracy_against_measured(n_labels):
    q, y = synthetic_posterior()
    table = bounds.cluster_table(q, y)
    arguments = table.label_given_cluster, table.weights, n_labels
    (none, nearest, soft), error = measured(q, y, n_labels)
    predicted = bounds.expected_hard_accuracy(*arguments, "none")
    assert predicted == pytest.approx(none, abs=error[0] + 0.001)
    predicted = bounds.expected_hard_accuracy(*arguments, cells=table.cells)
    assert predicted == pytest.approx(nearest, abs=error[1] + 0.01)
    # Without cells the fallback is an optimistic guess.
    assert bounds.expected_hard_accuracy(*arguments) >= nearest - error[1]
    predicted, standard_error = bounds.expected_soft_accuracy(table.cells, n_labels)
    assert predicted == pytest.approx(soft, abs=error[2] + Z * standard_error + 0.02)
    chosen = np.random.default_rng(1).choice(len(y), 3000, replace=False)
    sample = bounds.PosteriorCells(q[chosen], y[chosen], np.full(3000, 1 / 3000))
    predicted, standard_error = bounds.expected_soft_accuracy(sample, n_labels)
    own = Z * 0.5 / math.sqrt(3000)
    assert predicted == pytest.approx(soft, abs=error[2] + Z * standard_error + own)


def test_soft_accuracy_enumerated():
    """Every table of counts of a two-cluster, two-label run, soft rule applied to each."""
    label_given_cluster, weights, n_labels = np.array([[0.8, 0.2], [0.3, 0.7]]), [0.6, 0.4], 5
    posteriors = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])
    joint = (np.array(weights)[:, None] * label_given_cluster).ravel()
    labels, expected = np.array([0, 1, 0, 1]), 0.0
    for counts, probability in cell_draws(joint, n_labels):
        scores = np.full((4, 2), -np.inf)
        for label in range(2):
            kinds = counts * (labels == label)
            if kinds.any():
                scores[:, label] = posteriors @ (kinds @ posteriors) / kinds.sum()
        expected += probability * joint[scores.argmax(axis=1) == labels].sum()
    cells = bounds.PosteriorCells(posteriors, labels, joint)
    found, error = bounds.expected_soft_accuracy(cells, n_labels, n_simulations=4000)
    assert abs(found - expected) < Z * error


def test_cluster_table():
    q = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.0, 0.9], [0.7, 0.2, 0.1]])
    table = bounds.cluster_table(q, np.array([0, 1, 1, 0]))
    np.testing.assert_allclose(table.weights, [0.75, 0, 0.25])
    np.testing.assert_allclose(table.label_given_cluster, [[2 / 3, 1 / 3], [0.5, 0.5], [0, 1]])
    assert len(table.cells.labels) == 3
    np.testing.assert_allclose(table.cells.weights @ table.cells.posteriors, q.mean(axis=0))


# --------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda: bounds.labels_if_chosen(0), "K: found 0"),
        (lambda: bounds.labels_if_chosen(2.5), r"K: found 2\.5"),
        (lambda: bounds.coverage_probability(0, 5), "weights: found 0"),
        (lambda: bounds.coverage_probability([], 5), "weights: found shape"),
        (lambda: bounds.coverage_probability("ten", 5), "weights: found 'ten'"),
        (lambda: bounds.coverage_probability([0.5, 0.6], 5), r"weights: found a sum of 1\.1"),
        (lambda: bounds.coverage_probability([1.2, -0.2], 5), r"negative value, -0\.2"),
        (lambda: bounds.coverage_probability([0.5, np.nan], 5), "weights: found 1 NaN"),
        (lambda: bounds.coverage_probability(5, -1), "n_labels: found -1"),
        (lambda: bounds.coverage_probability(5, 10**20), "n_labels: found 1000"),
        (lambda: bounds.labels_to_cover([1 - 1e-300, 1e-300]), r"more than 1e\+15 labels"),
        (lambda: bounds.coverage_probability(5, 7.5), r"n_labels: found 7\.5"),
        (lambda: bounds.coverage_probability(5, math.nan), "n_labels: found nan"),
        (lambda: bounds.coverage_probability(5, 9, "magic"), "method: found 'magic'"),
        (lambda: bounds.coverage_probability(5, 9, all_but=5), "all_but: found 5"),
        (lambda: bounds.coverage_probability(5, 9, population=8), "n_labels: found 9"),
        (lambda: bounds.coverage_probability(5, 9, population=[9, 9]), "population: found 2 sizes"),
        (lambda: bounds.coverage_probability(2, 1, population=[1.5, 2]), "adding up to 3.5"),
        (lambda: bounds.labels_to_cover(5, 0.0), r"confidence: found 0\.0"),
        (lambda: bounds.labels_to_cover(5, 1), "confidence: found 1"),
        (lambda: bounds.labels_to_cover(5, math.nan), "confidence: found nan"),
        (lambda: bounds.labels_to_cover(5, "high"), "confidence: found 'high'"),
        (lambda: bounds.labels_to_cover_mass(5, 1.5), r"mass: found 1\.5"),
        (lambda: bounds.expected_missing_mass([2.0], 5), "found a sum of 2"),
        (lambda: bounds.expected_missing_mass(5, -3), "n_labels: found -3"),
        (lambda: bounds.expected_hard_accuracy(np.eye(3), 4, 5), "weights: found 4"),
        (lambda: bounds.expected_hard_accuracy(np.ones((3, 3)), 3, 5), "found a sum of 3"),
        (lambda: bounds.expected_hard_accuracy(np.eye(3), 3, 5, "far"), "fallback: found 'far'"),
        (lambda: bounds.cluster_table(np.eye(3), [0.5, 1, 2]), "y: found float64"),
        (lambda: bounds.coverage_fraction([0.01] * 100, 5), "weights: found 100"),
    ],
)
def test_bad_arguments(call, found):
    with pytest.raises(InputError, match=found) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "cells",
    [
        bounds.PosteriorCells(np.eye(4), np.arange(4), np.full(4, 0.25)),
        bounds.PosteriorCells(np.eye(3), np.arange(3) + 1, np.full(3, 1 / 3)),
        bounds.PosteriorCells(np.eye(3), np.arange(2), np.full(3, 1 / 3)),
    ],
)
def test_bad_cells(cells):
    with pytest.raises(InputError, match="cells"):
        bounds.expected_hard_accuracy(np.eye(3), 3, 5, cells=cells)
