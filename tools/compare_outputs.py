"""Compare the texts of two executions of a chapter: numbers within a tolerance, the rest exactly.

The last digits of a chapter depend on the processor: matrix products are summed in another order,
and an image on the boundary between two letters changes sides. The rule, stated here and only here:

- A number with a decimal point, an exponent or a percent sign was rounded for printing. It may
  differ by one unit of its last printed digit plus `RELATIVE` times the committed value.
- Integers count things or name them, and are exact.
- Words, punctuation and digits inside a name, a date or a fraction (`28x28`, `2026-11-21`, `3/4`)
  are exact. Blanks are not compared: the width of a table's columns follows from its numbers.

`notebooks/conftest.py` applies the rule to whatever `pytest --nbval` compares.
"""

import re
from decimal import Decimal

RELATIVE = Decimal("0.002")

# A word character beside it, or one behind punctuation, makes a number part of something longer.
NUMBER = re.compile(
    r"(?<!\w)(?<!\w[-.,:/])"
    r"([-+\u2212]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?%?)"
    r"(?!\w)(?![-.,:/]\w)"
)


def difference(committed: str, computed: str) -> str | None:
    """Say in one line where `computed` leaves the tolerance; None where the two texts agree.

    >>> difference("soft  17.76 [15.2, 20.3]", "soft 17.7718 [15.2, 20.3]")
    >>> difference("soft 17.76", "soft 17.9")
    '17.9 where 17.76 is committed'
    """
    wanted, found = NUMBER.split(committed), NUMBER.split(computed)  # text, number, text, ...
    for ours, theirs in zip(wanted[::2], found[::2], strict=False):
        if ours.split() != theirs.split():
            return f"{_excerpt(theirs)} where {_excerpt(ours)} is committed"
    if len(wanted) != len(found):
        return f"{len(found) // 2} numbers where {len(wanted) // 2} are committed"
    for ours, theirs in zip(wanted[1::2], found[1::2], strict=True):
        if not numbers_agree(ours, theirs):
            return f"{theirs} where {ours} is committed"
    return None


def numbers_agree(committed: str, computed: str) -> bool:
    """Compare two printed numbers by the rule above."""
    if committed == computed:
        return True
    if not re.search("[.eE%]", committed + computed):
        return False  # integers
    if committed.endswith("%") != computed.endswith("%"):
        return False
    wanted, found = _decimal(committed), _decimal(computed)
    unit = Decimal(1).scaleb(min(wanted.as_tuple().exponent, found.as_tuple().exponent))
    return abs(wanted - found) <= unit + RELATIVE * abs(wanted)


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", "").replace("\u2212", "-").rstrip("%"))


def _excerpt(text: str) -> str:
    return repr(" ".join(text.split())[:80])
