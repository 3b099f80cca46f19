"""What counts as a label and what as a missing one: one rule for arrays, tables and image sets."""

import numpy as np

from gmvae_lib.data.labels import NO_LABEL
from gmvae_lib.errors import InputError


def has_label(y) -> np.ndarray:
    """Which entries of y are labels: bool [N].

    None, NaN, NaT, pandas.NA, masked entries, text without a visible character, and the number -1
    are no label. Texts that a missing label turns into, "-1" or "nan", are refused.

    Parameters
    ----------
    y : array, list, pandas Series or Categorical, or masked array [N]

    Raises
    ------
    InputError
        If a text among y is "-1", "nan", "<NA>", "NaT" or "None".

    Examples
    --------
    >>> has_label(["cat", None, float("nan"), "", -1]).tolist()
    [True, False, False, False, False]
    """
    import pandas as pd

    y, masked = _plain_array(y)
    known = ~(pd.isna(y) | masked)
    if y.dtype.kind in "OUS":
        for i in np.flatnonzero(known):
            value = y[i].decode("utf-8", "replace") if isinstance(y[i], bytes) else y[i]
            if not isinstance(value, str):
                known[i] = isinstance(value, bool | np.bool_) or value != -1
            elif value.strip().casefold() in NO_LABEL or value.strip() == "None":
                raise InputError(
                    f"y: found the text {str(value)!r} at position {i}, expected None, NaN, -1 (a "
                    'number) or "" for a row without a label, and another name for a class'
                )
            else:
                known[i] = bool(value.strip())
    elif y.dtype.kind in "iufc":
        known &= y != -1
    return known


def plain_labels(y) -> np.ndarray:
    """The labels of the entries of y that have one: an array of numbers or texts, never objects.

    Examples
    --------
    >>> plain_labels(["cat", None, "dog"]).tolist()
    ['cat', 'dog']
    """
    known = has_label(y)
    labels = _plain_array(y)[0][known]
    if labels.dtype.kind == "O":
        kinds = {isinstance(label, str | bytes) for label in labels}
        if len(kinds) > 1:
            raise InputError("y: found texts and numbers, expected labels of one kind")
        try:
            labels = np.array(labels.tolist()) if len(labels) else np.zeros(0, dtype=np.int64)
        except ValueError:  # lists of different lengths
            pass
        if labels.ndim != 1 or labels.dtype.kind == "O":
            raise InputError(f"y: found {type(labels[0]).__name__}, expected texts or numbers")
    return labels


def _plain_array(y) -> tuple[np.ndarray, np.ndarray]:
    """y as an array that keeps missing values as they are, and which entries are masked."""
    if isinstance(y, list | tuple):  # numpy would turn NaN and -1 beside texts into texts
        numbers = all(isinstance(v, int | float | np.number) and type(v) is not bool for v in y)
        y = np.array(y, dtype=None if numbers else object)
    masked = np.ma.getmaskarray(y) if np.ma.isMaskedArray(y) else False
    y = np.asarray(y)
    masked = np.broadcast_to(masked, y.shape)
    if y.dtype.kind == "T":  # numpy's strings of any length
        y = y.astype(object)
    if y.ndim == 2 and y.shape[1] == 1:
        y, masked = y[:, 0], masked[:, 0]
    if y.ndim != 1:
        raise InputError(f"y: found shape {list(y.shape)}, expected one label a row, [N]")
    return y, masked


def checked_labels(y):
    """The labels in y, array [n]: whole numbers, truth values or texts; else an InputError."""
    from sklearn.utils.validation import assert_all_finite

    labels = plain_labels(y)
    if not len(labels) and getattr(y, "dtype", None) in (np.float32, np.float64) and len(y):
        if np.isnan(y).all():
            raise InputError("y: found nothing but NaN, expected labels, or y=None for none")
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "backslashreplace")
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
        if (labels != np.rint(labels)).any():
            raise InputError("y: Unknown label type: continuous; expected classes")
    return labels
