"""Chapters are compared with a tolerance that forgives kernels and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from compare_outputs import difference
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("committed", "computed"),
    [
        ("17.76", "17.7718"),  # what failed on another processor
        ("soft   70.0 [68.5, 71.4]", "soft   70.1 [68.4, 71.4]"),
        ("9.99", "10.00"),
        ("a   9.9\nb  10.0\n", "a  10.0\nb  10.0\n"),  # the column's width follows
        ("-0.0", "0.1"),
        ("+0.0", "-0.1"),
        ("\u22121.25", "-1.25"),
        ("62%", "63%"),
        ("62.4%", "62.5%"),
        ("6e-17", "7e-17"),
        ("1e-05", "0.00001"),
        ("0", "1e-20"),
        ("1,234.5", "1,235.5"),
        ("999.9", "1,000.1"),
        ("<td>0.71</td>", "<td>0.72</td>"),
        ("[0.1, 0.25]", "[0.1, 0.26]"),
        ("nan", "nan"),
    ],
)
def test_numbers_within_the_tolerance_agree(committed, computed):
    assert difference(committed, computed) is None


@pytest.mark.parametrize(
    ("committed", "computed", "said"),
    [
        ("17.76", "17.81", "17.81 where 17.76 is committed"),
        ("70.0 [68.5, 71.4]", "70.0 [68.5, 71.7]", "71.7 where 71.4 is committed"),
        ("1.5", "-1.5", "-1.5 where 1.5 is committed"),
        ("62%", "64%", "64% where 62% is committed"),
        ("62%", "62", "62 where 62% is committed"),
        ("6e-17", "6e-16", "6e-16 where 6e-17 is committed"),
        ("1,234.5", "1,334.5", "1,334.5 where 1,234.5 is committed"),
        ("0.001", "0.003", "0.003 where 0.001 is committed"),
        # integers are exact, however large
        ("100,000 images", "100,001 images", "100,001 where 100,000 is committed"),
        ("69087", "69088", "69088 where 69087 is committed"),
        ("2", "3", "3 where 2 is committed"),
        # words, and what only looks like a number
        ("soft is ahead by 2.5", "hard is ahead by 2.5", "'hard is ahead by'"),
        ("is mostly", "is not", "'is not' where 'is mostly'"),
        ("0.5", "nan", "'nan'"),
        ("nan", "0.5", "'' where 'nan'"),
        ("inf", "-inf", "'-inf' where 'inf'"),
        ("28x28.0", "28x28.1", "'28x28.1' where '28x28.0'"),
        ("2026-11-21", "2026-11-22", "2026-11-22"),
        ("version 1.2.3", "version 1.2.4", "1.2.4"),
        ("x_0.5", "x_0.6", "x_0.6"),
        ("305/648", "306/648", "306/648"),
        ("0.5 0.6", "0.5", "1 numbers where 2 are committed"),
        ("0.5", "0.5 0.6", "2 numbers where 1 are committed"),
    ],
)
def test_everything_else_is_a_difference(committed, computed, said):
    assert said in difference(committed, computed)


@given(st.text())
def test_a_text_agrees_with_itself(text):
    assert difference(text, text) is None


@given(st.floats(-1e6, 1e6), st.floats(1.01, 3), st.integers(2, 6))
def test_a_number_off_by_more_than_the_tolerance_differs(value, factor, digits):
    unit = 10.0**-digits
    off = value + factor * (unit + 0.002 * abs(value)) + unit  # rounding moves it by a unit at most
    assert difference(f"{value:.{digits}f}", f"{off:.{digits}f}") is not None


@given(st.floats(-1e6, 1e6), st.floats(-1, 1), st.integers(1, 6))
def test_rounding_beside_a_small_change_agrees(value, share, digits):
    near = value + share * 0.0019 * abs(value)
    assert difference(f"{value:.{digits}f}", f"{near:.{digits}f}") is None


@pytest.mark.slow
@pytest.mark.parametrize(("printed", "passes"), [("0.5012", True), ("0.7", False)])
def test_nbval_compares_by_it(tmp_path, printed, passes):
    """A notebook beside the chapters' conftest: stdout, a value, a glued value and a figure."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["tools"]\n')
    for name in ("tools/compare_outputs.py", "notebooks/conftest.py"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)
    glued = "from IPython.display import display\n" + (
        f"display({{'application/papermill.record/text/plain': '{printed}'}}, raw=True)"
    )
    cells = [
        new_code_cell(
            f"print({printed})",
            execution_count=1,
            outputs=[new_output("stream", name="stdout", text="0.501\n")],
        ),
        new_code_cell(
            printed,
            execution_count=2,
            outputs=[new_output("execute_result", {"text/plain": "0.501"}, execution_count=2)],
        ),
        new_code_cell(
            glued,
            execution_count=3,
            outputs=[
                new_output("display_data", {"application/papermill.record/text/plain": "0.501"})
            ],
        ),
        new_code_cell(  # a figure is not compared
            "display({'image/svg+xml': '<svg id=\"here\"></svg>'}, raw=True)",
            execution_count=4,
            outputs=[new_output("display_data", {"image/svg+xml": "<svg id='there'></svg>"})],
        ),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "a.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval"]
        + ["--nbval-current-env", "notebooks"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == (0 if passes else 1), done.stdout
    assert ("4 passed" if passes else "3 failed") in done.stdout
    assert passes or f"{printed} where 0.501 is committed" in done.stdout
