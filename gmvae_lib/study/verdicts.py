"""The verdicts of the claims table, each by a rule that the page prints."""

from typing import NamedTuple

import numpy as np

NEAR_POINTS = 0.03  # "close" for an accuracy or a difference of accuracies
NEAR_SHARE = 0.20  # "close" for a number of labels or a ratio, as a share of the article's
NEAR_LEAD = 0.005  # "close" for a lead that is reversed somewhere
LEAST_SHARE = 0.10  # of soft's corrections, for a mechanism that is to explain them
OWN = ("beaten", "reproduced", "close", "not reproduced", "explained", "undecided")
OTHER = ("reproduced", "close", "above", "below", "explained", "undecided")


class Interval(NamedTuple):
    """A value and its 95 % interval, nan or inf where there is none."""

    mean: float
    low: float
    high: float


RULES = {
    "reproduced": "the 95 % interval holds the article's figure. For an order or a sign (claims 7 "
    "and 8), the whole interval agrees with it; for a bound (claims 1 and 2), the article's number "
    "is a bound, and within a fifth of the exact one; for an example (claim 9), it occurs in more "
    f"than half of the draws and its mechanism makes {100 * LEAST_SHARE:.0f} % or more of soft's "
    "corrections.",
    "close": f"the interval leaves the figure out, but the value is within {100 * NEAR_POINTS:.0f} "
    f"points of an accuracy, or within {100 * NEAR_SHARE:.0f} % of a number of labels or a ratio. "
    "A bound that is no bound, but right to a fifth, is close; so is a lead that shrinks but is "
    f"reversed somewhere by at most {100 * NEAR_LEAD:.1f} points, and an example that occurs and "
    "explains little.",
    "not reproduced": "neither of these, for the article's own model.",
    "above, below": "neither of these, for another model than the article's: its value is larger "
    "or smaller, which says nothing about the article's model.",
    "explained": "the effect is there, but most of it goes once a fault of the comparison is "
    "mended: the part that goes is larger than the part that stays, with its whole 95 % interval.",
    "undecided": "the interval holds the article's figure and others that would not be close to "
    "it; or, for a sign, both signs; or, for a lead that is to shrink, those at few and at many "
    "labels overlap.",
    "beaten": "the whole interval is better than the article's figure, with the article's model on "
    "the article's 145,600 images. It can occur only where these are at hand.",
}


def of_figure(found: Interval, article, near, own=True, same_data=False) -> str:
    """The verdict on a quantity for which the article gives a figure, more being better.

    near : the largest distance that is called close. own : whether the model is the article's.

    Examples
    --------
    >>> of_figure(Interval(0.75, 0.74, 0.76), 0.80, NEAR_POINTS)
    'not reproduced'
    >>> of_figure(Interval(0.86, 0.85, 0.87), 0.80, NEAR_POINTS, own=False)
    'above'
    """
    mean, low, high = found
    if own and same_data and low > article:
        return "beaten"
    if low <= article <= high:
        wide = low < article - near or high > article + near
        return "undecided" if wide else "reproduced"
    if abs(mean - article) <= near:
        return "close"
    if own:
        return "not reproduced"
    return "above" if mean > article else "below"


def of_bound(article, exact) -> str:
    """The verdict on a number that the article calls a lower bound on the labels needed."""
    if abs(article / exact - 1) > NEAR_SHARE:
        return "not reproduced"
    return "reproduced" if article <= exact else "close"


def of_sign(found: Interval) -> str:
    """The verdict on a difference that the article says is positive."""
    if found.low > 0:
        return "reproduced"
    return "not reproduced" if found.high < 0 else "undecided"


def of_gap(found: Interval, gone_minus_stays: Interval, article, own=True) -> str:
    """The verdict on a difference of which a part goes once the comparison is mended."""
    if gone_minus_stays.low > 0:
        return "explained"
    return of_figure(found, article, NEAR_POINTS, own)


def of_lead(at: Interval, few: Interval, many: Interval, behind: dict, own=True) -> str:
    """The verdict on a lead that is to shrink with the labels and stay small and consistent.

    at : the lead at the number of labels of the claim. few, many : at few labels and at most.
    behind : mean leads where they are negative with their whole interval, by number of labels.
    """
    sign = of_sign(at)
    if sign == "not reproduced" or few.high < many.low:
        return "not reproduced" if own else "below"
    if sign == "undecided" or few.low <= many.high:
        return "undecided"
    if not behind:
        return "reproduced"
    if min(behind.values()) >= -NEAR_LEAD:
        return "close"
    return "not reproduced" if own else "below"


def of_example(counts, share) -> str:
    """The verdict on an example and its mechanism.

    counts : int array [D], images of that kind in each draw. share : of soft's corrections.
    """
    if np.mean(np.asarray(counts) > 0) <= 0.5:
        return "not reproduced"
    return "reproduced" if share >= LEAST_SHARE else "close"
