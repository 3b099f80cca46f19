"""Styles of components: counts by hand, and the rules that choose what Figure 1 shows."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.errors import InputError
from gmvae_lib.study import styles


def table(rows):
    """A style table from rows of (letter, purity, second, known, upper)."""
    columns = ["letter", "purity", "second", "known", "upper"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(component=np.arange(len(frame)), size=frame["known"])


def test_style_table_counts_letters_and_cases():
    q = np.eye(3)[[0, 0, 0, 0, 1]]
    case = np.array([1, 1, 2, 0, 0])
    found = styles.style_table(q, np.array([1, 1, 1, 0, 2]), case, ("a", "b", "c"))
    assert found["letter"].tolist()[:2] == ["b", "c"] and pd.isna(found["letter"][2])
    assert found["mix"].tolist() == ["b 75 %, a 25 %", "c 100 %", ""]
    assert found["second"].tolist() == [0.25, 0, 0]
    assert found["known"].tolist() == [3, 0, 0]
    assert found["upper"][0] == pytest.approx(2 / 3) and found["upper"][1:].isna().all()
    line = styles.caption(found, 0)
    assert line == "c = 0:  b 75 %, a 25 %  |  upper case 67 %  |  purity 75 %"
    assert "upper case unknown" in styles.caption(found, 1)


def test_style_table_refuses_cases_of_other_images():
    with pytest.raises(InputError, match="case: found shape"):
        styles.style_table(np.eye(2), np.array([0, 1]), np.array([1]), "ab")


def test_figure_1_components_follow_the_rules():
    found = styles.figure_1_components(
        table(
            [
                ("e", 0.9, 0.1, 500, 0.99),
                ("e", 0.9, 0.1, 500, 0.01),
                ("e", 0.7, 0.1, 500, 0.00),  # not pure enough
                ("f", 0.9, 0.1, 500, 0.90),
                ("f", 0.9, 0.1, 100, 0.00),  # too few of known case
                ("f", 0.9, 0.1, 500, 0.60),
                ("t", 0.5, 0.45, 500, 0.5),
                ("q", 0.3, 0.2, 500, 0.5),
                ("q", 0.2, 0.2, 50, 0.5),  # too small
            ]
        )
    )
    assert found == {
        "widest upper": 0,
        "widest lower": 1,
        "letter upper": 3,
        "letter lower": 5,
        "pair": 6,
        "impure": 7,
    }


def test_figure_1_components_leave_out_what_is_not_there():
    assert styles.figure_1_components(table([("t", 0.5, 0.4, 300, 0.5)])) == {"pair": 0}
