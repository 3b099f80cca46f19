"""What counts as a label."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.data.missing import has_label, plain_labels
from gmvae_lib.errors import InputError

NAMES = ["cat", None, "dog", None]


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(NAMES),
        pd.Series(NAMES, dtype=object),
        pd.Series(NAMES, dtype="string"),
        pd.Series(NAMES, dtype="category"),
        pd.Categorical(NAMES),
        NAMES,
        tuple(NAMES),
        ["cat", float("nan"), "dog", -1],
        ["cat", pd.NA, "dog", pd.NaT],
        ["cat", "", "dog", " \t"],
        np.array(NAMES, dtype=object),
        np.array(["cat", np.nan, "dog", -1], dtype=object),
        np.array(["cat", "", "dog", ""]),
        np.array([b"cat", b"", b"dog", b" "]),
        np.array(["cat", "", "dog", ""], dtype=np.dtypes.StringDType()),
        np.ma.array(["cat", "eel", "dog", "dog"], mask=[0, 1, 0, 1]),
        np.ma.array(["cat", "", "dog", "dog"], mask=[0, 0, 0, 1]),
        pd.DataFrame({"label": NAMES}),
    ],
    ids=repr,
)
def test_missing_texts(y):
    assert has_label(y).tolist() == [True, False, True, False]
    labels = plain_labels(y)
    assert labels.dtype.kind in "US" and labels.astype(str).tolist() == ["cat", "dog"]


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([3, -1, 0], [3, 0]),
        (np.array([3, -1, 0], np.int8), [3, 0]),
        (np.array([3, 255, 0], np.uint8), [3, 255, 0]),
        ([3.0, float("nan"), 0.0], [3, 0]),
        (pd.Series([3, None, 0]), [3, 0]),
        (pd.Series([3, None, 0], dtype="Int64"), [3, 0]),
        (pd.Series([3, -1, 0], dtype=object), [3, 0]),
        (np.ma.array([3, 7, 0], mask=[0, 1, 0]), [3, 0]),
        (np.array([True, False]), [True, False]),
        ([True, None, False], [True, False]),
        (np.zeros((2, 1), int), [0, 0]),
        ([None, None], []),
        ([], []),
    ],
    ids=repr,
)
def test_missing_numbers(y, expected):
    labels = plain_labels(y)
    assert labels.tolist() == expected and labels.dtype.kind != "O"
    assert has_label(y).sum() == len(expected)


def test_missing_dates():
    dates = np.array(["2026-11-27", "NaT"], "datetime64[D]")
    assert has_label(dates).tolist() == [True, False]


@pytest.mark.parametrize("text", ["-1", "nan", "NaN", "NAN", "<NA>", "NaT", "None", " -1 ", "-1.0"])
@pytest.mark.parametrize("wrap", [list, np.array, pd.Series, lambda y: np.array(y, dtype=object)])
def test_texts_that_a_missing_label_turns_into_are_refused(text, wrap):
    with pytest.raises(InputError, match=r"y: found the text .* at position 1, expected None") as e:
        has_label(wrap(["cat", text]))
    assert text in str(e.value) and "\n" not in str(e.value)
    assert has_label(wrap(["none of these", "Nancy", "-10", "no label"])).all()


def test_labels_of_another_shape_are_refused():
    for y in (np.zeros((2, 3)), 5, [["a", "b"], ["c", "d"]]):
        with pytest.raises(InputError, match="y: found shape"):
            has_label(y)
