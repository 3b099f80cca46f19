"""Labels that people give: the CSV with the columns index and label, read with care."""

import csv
import io
import re
from pathlib import Path

from gmvae_lib.errors import InputError

AT_RANDOM = "drawn at random"  # in the reason of an image that was not chosen
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![0-9.]*\Z)")  # what a spreadsheet would run


def guard(label: str) -> str:
    """A label for a CSV that a spreadsheet may open: an apostrophe before what may be a formula.

    Lone signs and numbers stay, since they do nothing. `read_labels` takes the apostrophe off.
    """
    return f"'{label}" if _FORMULA.match(label.lstrip("'")) else label


def _unguarded(label: str) -> str:
    bare = label.removeprefix("'")
    return bare if guard(bare) == label else label


def read_labels(path) -> tuple[dict[int, int], list[str]]:
    """Read a CSV with the columns ``index`` and ``label``; others are ignored.

    Rows whose label is empty are left out, so that the file of `suggest` with a column of labels
    need not be complete.

    Returns
    -------
    (index, labels)
        index: {image: its line in the file}, in the order of the file; labels: their texts.

    Raises
    ------
    InputError
        One line that names the file and the line.
    """
    return read_marked_labels(path)[:2]


def read_marked_labels(path) -> tuple[dict[int, int], list[str], list[bool]]:
    """What `read_labels` returns, and whether the column ``reason`` says `AT_RANDOM` of each."""
    path = Path(path)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")  # as spreadsheets write it
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: found bytes, expected UTF-8 text") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    seen: dict[int, tuple[int, str, bool]] = {}
    try:
        columns = reader.fieldnames or []
        if not {"index", "label"} <= set(columns):
            found = ", ".join(columns)[:100] or "nothing"
            raise InputError(f"{path}: line 1: found {found}, expected the columns index,label")
        for row in reader:
            if None in row:  # more fields than columns: a label with a bare comma, say
                found = f"{len(columns) + len(row[None])} fields, expected {len(columns)}"
                raise InputError(f"{path}: line {reader.line_num}: found {found}")
            label = _unguarded((row["label"] or "").strip())
            if label:
                at_random = AT_RANDOM in (row.get("reason") or "")
                index = (row["index"] or "").strip()
                _add_label(seen, path, reader.line_num, index, label, at_random)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num + 1}: no CSV ({error})") from None
    if not seen:
        raise InputError(f"{path}: found no label, expected at least one row index,label")
    lines, labels, marks = zip(*seen.values(), strict=True)
    return dict(zip(seen, lines, strict=True)), list(labels), list(marks)


def known_labels(path) -> tuple[dict[int, int], dict[int, tuple[str, str]]]:
    """{image: its line} and {image: (label, reason)} of a CSV, with no reason but `AT_RANDOM`."""
    lines, labels, marks = read_marked_labels(path)
    reasons = [AT_RANDOM if mark else "" for mark in marks]
    return lines, dict(zip(lines, zip(labels, reasons, strict=True), strict=True))


def _add_label(seen, path, line, index, label, at_random) -> None:
    if not re.fullmatch("[0-9]{1,18}", index):
        raise InputError(
            f"{path}: line {line}: found index {index[:40]!r}, expected a whole number from 0"
        )
    before, known, _ = seen.setdefault(int(index), (line, label, at_random))
    if known != label:
        raise InputError(
            f"{path}: line {line}: found label {label[:40]!r} for image {int(index)}, expected "
            f"{known[:40]!r} as in line {before}"
        )


def check_indices(path, lines: dict[int, int], n_images: int, images) -> None:
    """Refuse labels of images that are not there."""
    for i, line in lines.items():
        if i >= n_images:
            raise InputError(
                f"{path}: line {line}: found index {i}, expected 0 to {n_images - 1}, "
                f"as {images} holds {n_images} images"
            )
