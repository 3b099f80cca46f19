"""The verdicts of the claims table: each rule, and that none is a constant."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gmvae_lib.study import verdicts
from gmvae_lib.study.verdicts import Interval, of_figure

VALUES = st.floats(-1, 1)


@pytest.mark.parametrize(
    ("found", "own", "expected"),
    [
        ((0.80, 0.79, 0.81), True, "reproduced"),
        ((0.80, 0.70, 0.90), True, "undecided"),
        ((0.78, 0.77, 0.79), True, "close"),
        ((0.75, 0.74, 0.76), True, "not reproduced"),
        ((0.75, 0.74, 0.76), False, "below"),
        ((0.86, 0.85, 0.87), False, "above"),
        ((0.86, 0.85, 0.87), True, "not reproduced"),
    ],
)
def test_a_figure(found, own, expected):
    assert of_figure(Interval(*found), 0.8, 0.03, own) == expected


def test_beaten_is_for_the_same_model_on_the_same_images():
    found = Interval(0.86, 0.85, 0.87)
    verdict = {
        (own, same): of_figure(found, 0.8, 0.03, own, same)
        for own in (True, False)
        for same in (True, False)
    }
    assert verdict.pop((True, True)) == "beaten"
    assert "beaten" not in verdict.values()


@given(st.lists(VALUES, min_size=3, max_size=3), VALUES, st.booleans())
def test_every_verdict_is_one_that_the_page_explains(values, article, own):
    low, mean, high = sorted(values)
    found = of_figure(Interval(mean, low, high), article, 0.03, own)
    assert found in (verdicts.OWN if own else verdicts.OTHER)
    assert any(found in rule for rule in verdicts.RULES)
    if found == "reproduced":
        assert low <= article <= high


def test_a_bound_may_be_right_as_an_order_and_false_as_a_bound():
    assert verdicts.of_bound(874, 754) == "close"  # the article's 0.6 % against the exact number
    assert verdicts.of_bound(700, 754) == "reproduced"
    assert verdicts.of_bound(1500, 754) == "not reproduced"


def test_a_gap_is_explained_only_if_most_of_it_goes_for_certain():
    gap = Interval(0.20, 0.19, 0.21)
    assert verdicts.of_gap(gap, Interval(0.15, 0.1, 0.2), 0.18) == "explained"
    assert verdicts.of_gap(gap, Interval(0.01, -0.02, 0.04), 0.18) == "close"
    assert verdicts.of_gap(gap, Interval(-0.1, -0.2, 0.0), 0.10) == "not reproduced"
    assert verdicts.of_gap(gap, Interval(-0.1, -0.2, 0.0), 0.10, own=False) == "above"


def test_a_lead_must_be_certain_shrink_and_stay():
    lead, few, many = Interval(1, 0.5, 1.5), Interval(3, 2, 4), Interval(0.1, 0, 0.2)
    assert verdicts.of_lead(lead, few, many, {}) == "reproduced"
    assert verdicts.of_lead(lead, few, many, {50_000: -0.0006}) == "close"
    assert verdicts.of_lead(lead, few, many, {50_000: -0.01}) == "not reproduced"
    # leads at few and at many labels that overlap decide nothing; one that grows does
    assert verdicts.of_lead(lead, Interval(1, 0.1, 2), many, {}) == "undecided"
    assert verdicts.of_lead(lead, many._replace(mean=-5, low=-6, high=-4), many, {}) == (
        "not reproduced"
    )
    assert verdicts.of_lead(Interval(0.4, -0.3, 1.2), few, many, {}) == "undecided"
    assert verdicts.of_lead(Interval(-1, -2, -0.5), few, many, {}, own=False) == "below"


def test_an_example_is_judged_by_how_often_it_occurs_and_what_it_explains():
    assert verdicts.of_example([3, 0, 5], share=0.2) == "reproduced"
    assert verdicts.of_example([3, 0, 5], share=0.001) == "close"
    assert verdicts.of_example([0, 0, 5], share=0.2) == "not reproduced"


def test_the_examples_of_the_rules_are_right():
    assert doctest.testmod(verdicts).failed == 0
