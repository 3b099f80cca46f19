"""Where a command may write: inputs, runs, pictures and tables of labels are never overwritten.

Another existing file is overwritten if the same command wrote it and nobody has changed it since,
or when forced.
"""

import csv
import json
import os
import re
import unicodedata
import zipfile
from pathlib import Path

from gmvae_lib.data.folders import kind_of
from gmvae_lib.data.storage import expanded, file_digest, write_atomically
from gmvae_lib.errors import InputError

# The columns by which the tables of the commands are recognised, and those that may be missing.
COLUMNS = {
    "suggest": ({"index", "cluster", "reason"}, {"path", "digest", "set"}),
    "predict": ({"index", "label", "confidence", "unlike"}, {"path", "digest", "set"}),
    "sweep": ({"method", "n_labels", "seed", "accuracy"}, {"n_evaluated", "seconds"}),
}
GENERATOR = b'<meta name="generator" content="gmvae_lib'  # in the head of our pages
RUN_FILES = (
    *("config.json", "weights.safetensors", "history.csv", "posterior.npz"),
    *("embedding.safetensors", "provenance.json"),
    *("written.json", "checkpoint.safetensors", "bad_batch.npz"),
)
RUN_MARKS = ("provenance.json", "checkpoint.safetensors")  # one of them is in every run's folder
PICTURES = re.compile(r"\.(png|jpe?g|jfif|gif|bmp|tiff?|webp|avif|p[gpbn]m|npy)", re.IGNORECASE)
LABEL_LIKE = re.compile(r"label|class|category|target|truth|annotation|species|^tags?$|^y$")
HEAD = 65536  # bytes of a file that are looked at


def output_path(out, command, argument="--out", inputs=(), run=None, force=False) -> Path:
    """The path of an output, refused before any work if it cannot or should not be written.

    Parameters
    ----------
    out : path
    command : "suggest", "predict", "report", "posterior" or "sweep"
    argument : what the user calls it
    inputs : paths of the files and folders that the command reads
    run : folder of the run, which knows what was written before
    force : overwrite another file, too, unless it holds labels or is a picture

    Raises
    ------
    InputError
        One line that says what is there.
    """
    out = expanded(out, argument)
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(
            f"{argument}: found {out}, expected a file in a folder that can be written to"
        )
    among_images = False
    for path in map(Path, inputs):
        if same_place(out, path):
            raise InputError(f"{argument}: found {out}, an input, expected another file")
        among_images |= path.is_dir() and path.resolve() in out.resolve().parents
    if among_images and PICTURES.fullmatch(out.suffix):
        raise InputError(
            f"{argument}: found {out} among the images, expected a file outside of their folder"
        )
    in_run = any((out.parent / name).exists() for name in RUN_MARKS)
    if in_run and out.name.casefold() in RUN_FILES:
        raise InputError(f"{argument}: found {out}, a file of a run, expected another file")
    if not os.path.lexists(out):
        return out
    if not out.is_file():  # a device, a pipe, a broken link
        raise InputError(
            f"{argument}: found {out}, which is no file, expected a file or a new name"
        )
    head = _head(out)
    writer = _writer(out, head)
    precious = "labels" if writer is None and _may_hold_labels(out, head) else None
    if precious is None and (kind_of(head) or "").endswith("picture"):
        precious = "a picture"
    if precious:
        raise InputError(
            f"{argument}: found {out}, which holds {precious}, expected another file: labels and "
            "pictures are never overwritten"
        )
    edited = run is not None and _edited(run, out)
    if head and not force and (writer != command or edited):
        found = f"edited since {command} wrote it" if edited else f"not written by {command}"
        raise InputError(
            f"{argument}: found {out}, {found}, expected another file, or --force to overwrite it"
        )
    return out


def same_place(a, b) -> bool:
    """Whether two paths are one file, also where names differ in case or Unicode form only.

    Examples
    --------
    >>> same_place("Labels.csv", "./labels.CSV")
    True
    """
    try:
        return os.path.samefile(a, b)
    except OSError:  # one is not there yet
        return _key(a) == _key(b)


def _key(path) -> str:
    return unicodedata.normalize("NFC", os.path.realpath(path)).casefold()


def write_table(path, table, run=None) -> None:
    """Write a DataFrame as CSV; with ``run``, note there what was written."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    if run is not None and _remembers(run):
        digests = _written(run) | {_key(path): file_digest(path)}
        write_text(Path(run) / "written.json", json.dumps(digests, indent=1) + "\n")


def write_text(path, text) -> None:
    """Write a text as UTF-8, whole or not at all."""
    data = text.encode("utf-8", "backslashreplace")
    write_atomically(path, lambda temporary: temporary.write_bytes(data))


# ------------------------------------------------------------ what a file holds


def _remembers(run) -> bool:
    """Whether tables are noted in a run's folder: not in that of a published run."""
    return (Path(run) / "embedding.safetensors").exists() and os.access(run, os.W_OK)


def _written(run) -> dict[str, str]:
    """{file: sha256 when it was written}, of the tables made with a run."""
    try:
        return dict(json.loads((Path(run) / "written.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _edited(run, out) -> bool:
    """Whether a file is known to the run, and another now than when it was written."""
    return _written(run).get(_key(out), "") not in ("", file_digest(out))


def _head(path) -> bytes:
    with open(path, "rb") as handle:
        return handle.read(HEAD)


def _writer(path, head: bytes) -> str | None:
    """The command that wrote a file, or None."""
    if GENERATOR in head:
        return "suggest" if b"<title>Label pictures" in head else "report"
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                return "posterior" if archive.namelist() == ["q.npy"] else None
        except (OSError, zipfile.BadZipFile):
            return None
    if head.startswith(b"\x93NUMPY") and b"'<f4'" in head[:128] and b"), }" in head[:128]:
        return "posterior"
    columns = set(_columns(head))
    for command, (own, further) in COLUMNS.items():
        if own <= columns <= own | further:
            return command
    return None


def _may_hold_labels(path, head: bytes) -> bool:
    """Whether it is a workbook, or a column or an array in it is named as labels are named."""
    names = _columns(head)
    if head.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy").casefold() for name in archive.namelist()]
        except (OSError, zipfile.BadZipFile):  # half a workbook is precious, too
            return b"[Content_Types].xml" in head
    return "[content_types].xml" in names or any(LABEL_LIKE.search(name) for name in names)


def _columns(head: bytes) -> list[str]:
    """The cells of the first line of a table, in small letters."""
    utf_16 = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if utf_16 else "utf-8-sig", "replace")
    line = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    try:
        cells = [
            part for cell in next(csv.reader([line]), []) for part in re.split(r"[;\t|]", cell)
        ]
    except csv.Error:
        return []
    return [unicodedata.normalize("NFKC", cell).strip(" \"'").casefold() for cell in cells]
