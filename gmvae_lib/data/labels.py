"""The tables of labels that people write, read with care."""

import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from gmvae_lib.data.label_formats import read_folder, read_json
from gmvae_lib.errors import InputError

AT_RANDOM = "drawn at random"  # in the reason of an image that was not chosen
FLAGS = ("unsure", "none of these")  # a reason begins with one where a person gave no class
NO_LABEL = ("-1", "-1.0", "nan", "<na>", "nat")  # what a missing label turns into as a text
DOUBTFUL = ("none", "null", "na", "n/a", "#n/a")  # may be a class, may be a missing label
_FORMULA = re.compile(r"[=@\t\r].|[+-](?![0-9.]*\Z)", re.DOTALL)  # what a spreadsheet would run
# Names of columns, in small letters and without spaces, hyphens and underscores.
COLUMNS = {
    "index": ("index", "row"),
    "path": ("path", "filename", "file", "filepath", "image", "imagepath", "imagename", "picture"),
    "digest": ("digest",),
    "set": ("set",),
    "label": ("label", "class", "labels", "category"),
    "reason": ("reason",),
}
PREDICTED = {"confidence", "unlike"}  # columns of predict's tables
EXCEL, OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"


@dataclass(frozen=True)
class Entry:
    """A label and what it says of its image: at least one of index, path and digest."""

    line: int
    label: str
    index: int | None = None
    path: str | None = None
    digest: str | None = None
    set: str | None = None
    reason: str = ""

    @property
    def at_random(self) -> bool:
        return AT_RANDOM in self.reason

    @property
    def name(self) -> str:
        """How to speak of the image."""
        return self.path or (f"image {self.index}" if self.digest is None else self.digest)


@dataclass(frozen=True)
class LabelTable:
    """Labels as `read_labels` found them in a file; `identity.match_labels` finds their images.

    ``flagged``: entries without label whose reason begins with one of `FLAGS`.
    """

    source: str
    entries: list[Entry]
    notes: list[str] = field(default_factory=list)
    flagged: list[Entry] = field(default_factory=list)


def read_labels(path) -> LabelTable:
    """Read a table with a column ``label`` and one that says of which image.

    The table is a file or a DataFrame. The column that names the image is ``path`` (or
    ``filename``, ``file``, ``image``), ``digest`` or ``index``; see `identity.match_labels`.
    Headers are read without regard to case and spaces, other columns are ignored. Commas,
    semicolons and tabs separate the cells; the text is UTF-8, UTF-16 or Latin-1. An Excel workbook
    is read if openpyxl is installed, and so is what `label_formats` knows of other tools: JSON, and
    folders with one sub-folder a class. Rows without a label are left out, and so are, with a note,
    the labels "-1" and "nan".

    Raises
    ------
    InputError
        One line that names the file and the line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels.csv"
    ...     _ = path.write_text("Filename;Label\\na.png;cat\\nb.png;\\n")
    ...     table = read_labels(path)
    >>> [(entry.line, entry.path, entry.label) for entry in table.entries]
    [(2, 'a.png', 'cat')]
    """
    if hasattr(path, "columns"):  # a DataFrame
        path, (rows, notes) = "labels", _rows_of(path)
    else:
        path = Path(path)
        reader = read_folder if path.is_dir() else READERS.get(path.suffix.lower(), _read_text)
        rows, notes = reader(path)
    line, header = next(rows, (1, []))
    columns = _columns(path, line, header)
    entries, flagged, none, doubtful = [], [], Counter(), Counter()
    for line, cells in rows:
        if len(cells) > len(header) and any(cells[len(header) :]):  # a label with a bare comma, say
            found = f"{len(cells)} fields, expected {len(header)}"
            raise InputError(f"{path}: line {line}: found {found}")
        row = {name: cells[i].strip() for name, i in columns.items() if i < len(cells)}
        label = unguarded(row.get("label", ""))
        if label.casefold() in NO_LABEL:
            none[label] += 1
        elif label:
            doubtful[label] += label.casefold() in DOUBTFUL
            entries.append(_entry(path, line, label, row))
        elif row.get("reason", "").startswith(FLAGS):
            flagged.append(_entry(path, line, "", row))
    if not entries:
        raise InputError(f"{path}: found no label, expected at least one")
    if PREDICTED <= {cell.casefold() for cell in header}:
        notes.append(f"written by predict: its {len(entries)} labels count as given by a person")
    if none:
        found = ", ".join(f"{label!r} ({n} times)" for label, n in none.items())
        notes.append(f"found {found}, read as no label")
    if +doubtful:
        found = ", ".join(repr(label) for label in +doubtful)
        notes.append(f"found {found}, read as a class; leave the cell empty for no label")
    return LabelTable(str(path), entries, notes + _nearly_equal(entries), flagged)


def _entry(path, line, label, row) -> Entry:
    index = row.get("index", "")
    if index and not re.fullmatch(r"[0-9]{1,18}(\.0*)?", index):
        raise InputError(
            f"{path}: line {line}: found index {index[:40]!r}, expected a whole number from 0"
        )
    where = {name: row.get(name) or None for name in ("path", "digest", "set")}
    if not index and not where["path"] and not where["digest"]:
        raise InputError(
            f"{path}: line {line}: found the label {label[:40]!r} of no image, expected an index, "
            "path or digest"
        )
    return Entry(
        line,
        label,
        int(index.partition(".")[0]) if index else None,
        unguarded(where["path"]) if where["path"] else None,
        where["digest"] and where["digest"].lower(),
        where["set"] and where["set"].lower(),
        row.get("reason", ""),
    )


def _columns(path, line, header) -> dict[str, int]:
    """{what a column means: its position}, of the columns that are known."""
    names = [re.sub(r"[\s_-]+", "", cell).casefold() for cell in header]
    columns = {}
    for meaning, spellings in COLUMNS.items():
        # the first spelling that occurs: `path` counts where there is `image`, too
        spelling = next((s for s in spellings if s in names), None)
        if spelling is None:
            continue
        if names.count(spelling) > 1:
            raise InputError(f"{path}: line {line}: found the column {meaning} twice, expected one")
        columns[meaning] = names.index(spelling)
    if "label" not in columns or not {"index", "path", "digest"} & columns.keys():
        found = ", ".join(repr(cell) for cell in header)[:100] or "nothing"
        raise InputError(
            f"{path}: line {line}: found {found}, expected the columns index,label or path,label"
        )
    return columns


def _nearly_equal(entries) -> list[str]:
    """Labels that differ only in case, spaces or the form of their Unicode characters."""
    spellings = defaultdict(dict)
    for entry in entries:
        text = unicodedata.normalize("NFKC", entry.label).casefold()
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # zero-width
        spellings[" ".join(text.split())][entry.label] = None
    pairs = [", ".join(map(ascii, alike)) for alike in spellings.values() if len(alike) > 1]
    what = "differ only in case, spaces or Unicode form and are classes of their own"
    return [f"labels {'; '.join(pairs)[:300]} {what}"] if pairs else []


# ------------------------------------------------------------------- readers


def _read_text(path):
    """The rows of a CSV, as (line, cells), and notes on how it was read."""
    data = path.read_bytes()
    if data.startswith(EXCEL):
        return _read_excel(path)
    if data.startswith(OLD_EXCEL):
        raise InputError(f"{path}: found an old Excel workbook, expected it saved as CSV or .xlsx")
    notes = []
    try:
        utf_16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in data or utf_16:
            line = data.count(b"\n", 0, error.start) + 1
            raise InputError(f"{path}: line {line}: found bytes, expected text") from None
        text = data.decode("cp1252", "replace")
        notes.append("read as Latin-1, since it is not UTF-8")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}: line {line}: found bytes, expected text")
    first, _, rest = text.partition("\n")
    skipped = 0
    if separator := re.fullmatch(r'"?sep=(.)"?[ \r]*', first, re.IGNORECASE):
        separator, text, skipped = separator[1], rest, 1
    else:
        header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
        separator = max(",;\t|", key=header.count)
    return _rows(path, text, separator, skipped), notes


def _rows(path, text, separator, skipped):
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = skipped + 1  # on which the row starts
    try:
        for cells in reader:
            if any(cells):
                yield line, cells
            line = skipped + reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}: line {line}: no CSV ({error}), expected cells of text") from None


def _read_excel(path):
    """The rows of the first sheet of an Excel workbook."""
    import pandas as pd

    try:
        sheet = pd.read_excel(path, header=None, dtype=str, keep_default_na=False)
    except ImportError:
        raise InputError(
            f"{path}: found an Excel workbook, expected CSV (or openpyxl installed to read it)"
        ) from None
    except Exception as error:  # over a broken workbook, openpyxl raises whatever it runs into
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: not readable ({reason}), expected an Excel workbook") from None
    cells = ((i + 1, list(map(str, row))) for i, row in enumerate(sheet.to_numpy().tolist()))
    return (row for row in cells if any(row[1])), []


def _rows_of(frame):
    """The rows of a DataFrame, missing values empty, whole numbers without a point."""

    def text(value):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    cells = frame.astype(object).where(frame.notna(), "").to_numpy().tolist()
    rows = [list(frame.columns), *cells]
    return iter((i + 1, list(map(text, row))) for i, row in enumerate(rows)), []


# By suffix: a function of the path that returns rows, an iterator of (line, cells) whose first are
# the names of the columns, and a list of notes.
READERS = {".xlsx": _read_excel, ".json": read_json}


# ------------------------------------------------------------- spreadsheets


def guard(label: str) -> str:
    """A label for a CSV that a spreadsheet may open: an apostrophe before what may be a formula.

    Lone signs and numbers stay, since they do nothing. `unguarded` takes the apostrophe off.

    Examples
    --------
    >>> guard("=1+1"), guard("="), guard("-0.5")
    ("'=1+1", '=', '-0.5')
    """
    return f"'{label}" if _FORMULA.match(label.lstrip("'")) else label


def unguarded(label: str) -> str:
    """The label that `guard` was given."""
    bare = label.removeprefix("'")
    return bare if guard(bare) == label else label
