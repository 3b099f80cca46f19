"""The table of bad input: each case ends in one line and exit code 2, or in the right result."""

import bad_input
import pytest


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad_input")
    bad_input.prepare(folder)
    return folder


@pytest.mark.parametrize("case", bad_input.CASES, ids=lambda case: case.what)
def test_it_ends_as_it_should(case, work):
    row = bad_input.observe(case, work)
    assert row["as_it_should"], row
