"""The faults of bugs.md, public_reports.csv: each row names the tests that hold its right value."""

from pathlib import Path

import pandas as pd

TESTS = Path(__file__).parents[1]
CASES = 76  # in ../shared/review/bugs.md; kinds 6 and 10 have no case there, but a row of their own


def test_every_report_has_a_right_value_that_a_test_holds():
    table = pd.read_csv(Path(__file__).with_name("public_reports.csv"), dtype={"case": "Int64"})
    numbers = table["case"].dropna()
    assert len(numbers) == CASES and numbers.is_unique and numbers.between(1, 86).all()
    assert set(table["kind"]) == set(range(1, 14))
    assert (table[["tried", "before", "now", "tests"]].notna()).all(axis=None)
    for case, tests in zip(table["tried"], table["tests"], strict=True):
        for name in tests.split():
            file, _, function = name.partition("::")
            assert f"\ndef {function}(" in (TESTS / file).read_text(encoding="utf-8"), (case, name)
