"""What a picture is known by: a digest of its content, and its path.

Rows of a folder shift when a picture is added, removed or renamed, so no label is tied to a row.
Every CSV carries the columns of `identity_columns`; `match_labels` finds the rows again.
"""

import unicodedata
from collections import defaultdict
from pathlib import PurePosixPath

import numpy as np

from gmvae_lib.data.storage import DIGITS, digest_of
from gmvae_lib.errors import InputError

NAMED = 20  # pictures that a note lists before it only counts the others


def row_digests(rows) -> np.ndarray:
    """The digest of each row of an array, str [N]."""
    return np.array([digest_of(np.ascontiguousarray(row)) for row in rows], dtype=f"<U{DIGITS}")


def printable(path) -> str:
    r"""A path as Unicode text: bytes of its name that are no UTF-8 become ``\xNN``.

    Examples
    --------
    >>> printable("No\udcebl.png")
    'No\\xebl.png'
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def identity_columns(images) -> dict:
    """The columns that tie the rows of a CSV to the images, in the order of the images.

    Pictures: ``index``, ``path`` (relative to their folder) and ``digest`` of the file. Arrays:
    ``index``, ``digest`` of the row, and ``set``, the digest of all rows in their order, the same
    in every line; so any lines of the CSV can be cut out, sorted or joined.

    Parameters
    ----------
    images : ImageSet, ShardedImages, or any object with their `paths`, `digests`, `set_digest`

    Examples
    --------
    >>> from gmvae_lib import rendered_letters
    >>> {name: column[1] for name, column in identity_columns(rendered_letters(3)).items()}.keys()
    dict_keys(['index', 'digest', 'set'])
    """
    from gmvae_lib.data.labels import guard

    columns = {"index": np.arange(len(images.digests))}
    if images.paths is not None:
        columns["path"] = np.array([guard(printable(path)) for path in images.paths], dtype=object)
        return columns | {"digest": images.digests}
    named = np.full(len(images.digests), images.set_digest)
    return columns | {"digest": images.digests, "set": named}


def is_set(images, learned) -> bool:
    """Whether images are those, in their order, whose provenance a run holds in ``learned``."""
    return bool(learned) and (
        learned.get("digest") == images.set_digest
        or ("sha256" in learned and learned["sha256"] == images.provenance.get("sha256"))
    )


def match_labels(table, images, learned=None):
    """Find the image of every label: by its digest, else by its path, never by a row that shifted.

    An entry with a digest goes to the image of that content, wherever it lies now; among several
    of the same content, to the one of its path (or row), else to the first that no other entry
    claims. Identical images are interchangeable, so a label is never wrong there; two different
    labels on one content are pointed out. An entry whose content is gone is left out, even if
    another picture has its path now. An entry without a digest goes by its path. An entry with
    neither goes by its index, which is taken where the images cannot have shifted: the entry's
    ``set`` is the digest of this set, the images are a single array, or they are those that the run
    learned from.

    Parameters
    ----------
    table : LabelTable
    images : ImageSet, ShardedImages, or any object with their `paths`, `digests`, `set_digest` and
        `provenance`
    learned : dict, optional
        The provenance of the images that a run learned from.

    Returns
    -------
    rows : int [n], each once, in the order of the table
    labels : str [n]
    at_random : bool [n]
    notes : list of str
        Sentences on what was left out or deserves a look, those of the table first.

    Raises
    ------
    InputError
        If two entries contradict each other, an index cannot be trusted, or no label fits.

    Examples
    --------
    >>> from gmvae_lib import rendered_letters
    >>> from gmvae_lib.data.labels import Entry, LabelTable
    >>> letters = rendered_letters(3)
    >>> table = LabelTable("labels.csv", [Entry(line=2, label="q", digest=letters.digests[2])])
    >>> match_labels(table, letters)[0]
    array([2])
    """
    claims, notes = _claims(table, table.entries, images, learned)
    notes = [*table.notes, *notes]
    if not claims:
        what = images.provenance.get("source", "the images")
        reason = f"; {notes[-1]}" if notes else ""
        raise InputError(
            f"{table.source}: found no label of an image in {what}, expected at least one{reason}"
        )
    order = sorted(claims, key=lambda row: claims[row].line)
    chosen = [claims[row] for row in order]
    labels = np.array([entry.label for entry in chosen])
    at_random = np.array([entry.at_random for entry in chosen])
    return np.array(order, dtype=np.intp), labels, at_random, notes


def known_rows(table, images, learned=None) -> dict[int, tuple[str, str]]:
    """All that a table says of images, those marked *unsure* or *none of these* included.

    Parameters
    ----------
    table, images, learned : as in `match_labels`

    Returns
    -------
    {row: (label, reason)}, in the order of the rows; the label of a marked image is "".

    Examples
    --------
    >>> from gmvae_lib import rendered_letters
    >>> from gmvae_lib.data.labels import Entry, LabelTable
    >>> letters = rendered_letters(3)
    >>> a, b, _ = letters.digests
    >>> marked = Entry(line=3, label="", digest=a, reason="unsure")
    >>> table = LabelTable("labels.csv", [Entry(line=2, label="q", digest=b)], flagged=[marked])
    >>> known_rows(table, letters)
    {0: ('', 'unsure'), 1: ('q', '')}
    """
    marked, _ = _claims(table, table.flagged, images, learned)
    labelled, _ = _claims(table, table.entries, images, learned)
    claims = sorted((marked | labelled).items())
    return {int(row): (entry.label, entry.reason) for row, entry in claims}


def _claims(table, entries, images, learned):
    """{row: entry} of some entries of a table, and notes on those left out."""
    places = _Places(images)
    notes, claims, waiting = [], {}, []
    missing, changed, several, shifted, unnamed = [], [], [], [], []

    def claim(row, entry):
        before = claims.setdefault(row, entry)
        if before.label != entry.label:
            raise InputError(
                f"{table.source}: line {entry.line}: found label {entry.label[:40]!r} for "
                f"{entry.name}, expected {before.label[:40]!r} as in line {before.line}"
            )

    for entry in entries:
        rows = [] if entry.path is None else places.at(entry.path)
        if entry.digest is not None:
            if entry.path is None and entry.index is not None and entry.index < len(images.digests):
                rows = [entry.index]
            same = places.of(entry.digest)
            if exact := [row for row in rows if row in same]:
                claim(exact[0], entry)
            elif same:
                waiting.append((same, entry))
            elif spoiled := [r for r in rows if _is_spoiled(entry.digest, images.digests[r])]:
                claim(spoiled[0], entry)
            else:
                (changed if rows and entry.path is not None else missing).append(entry)
        elif entry.path is None:
            claim(_row_of_index(table, entry, images, learned), entry)
            unnamed += [] if entry.set else [entry]
        elif len(rows) == 1:
            claim(rows[0], entry)
            shifted += [] if entry.index in (None, rows[0]) else [entry]
        else:
            (several if rows else missing).append(entry)
    surplus, moved = [], []
    for same, entry in waiting:
        free = [row for row in same if row not in claims]
        if free:
            claims[free[0]] = entry
            moved += [(entry, free[0])] if entry.path and images.paths else []
        elif all(claims[row].label != entry.label for row in same):
            surplus.append(entry)
    what = places.what
    notes += [
        *_left_out(missing, f"of images not in {what}"),
        *_left_out(changed, "of images changed since they were labelled"),
        *_left_out(several, f"of a name that several pictures in {what} have"),
        *_left_out(surplus, "since another label of the same content is kept"),
        *_contradictions(claims, images),
    ]
    if moved:
        named = [f"{entry.path} is {printable(images.paths[row])}" for entry, row in moved[:NAMED]]
        more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
        which = "1 labelled image has" if len(moved) == 1 else f"{len(moved)} labelled images have"
        notes.append(f"{which} another name now and kept the label: {', '.join(named)}{more}")
    if shifted:
        notes.append(
            f"{len(shifted)} labels have the index of another picture than their path, which counts"
        )
    if unnamed:
        notes.append(
            f"{len(unnamed)} labels name a row only and are taken for the rows of {what}, whose "
            f"digest is {images.set_digest}; a column path or digest ties them to their images"
        )
    return claims, notes


class _Places:
    """Rows by digest and by path."""

    def __init__(self, images):
        self.images = images
        self.what = images.provenance.get("source", "the images")
        self.folder = images.provenance.get("name", "")
        self.by_digest, self.by_path = None, defaultdict(list)
        for row, path in enumerate(images.paths or ()):
            for form in dict.fromkeys(_spellings(printable(path))):
                self.by_path[form].append(row)
            self.by_path["stem", _stem(printable(path))].append(row)

    def of(self, digest):
        if self.by_digest is None:
            self.by_digest = defaultdict(list)
            for row, found in enumerate(self.images.digests):
                self.by_digest[str(found)].append(row)
        return self.by_digest.get(digest, [])

    def at(self, path):
        """The rows of a path as stored, else spelt otherwise, of a name, or without suffix."""
        slashed = path.replace("\\", "/").removeprefix("./")
        parts = slashed.split("/")
        inside = [
            "/".join(parts[i + 1 :]) for i, part in enumerate(parts[:-1]) if part == self.folder
        ]
        for tried in (path, slashed, *inside):
            for form in list(_spellings(tried))[: 4 if len(parts) == 1 else 3]:
                if rows := self.by_path.get(form):
                    return rows
        return self.by_path.get(("stem", unicodedata.normalize("NFC", slashed)), [])


def _stem(path) -> str:
    """A path without the suffix of its file, as some tools name pictures."""
    return unicodedata.normalize("NFC", path).removesuffix(PurePosixPath(path).suffix)


def _spellings(path):
    """A path in spellings from the most to the least exact, each marked with its kind."""
    plain = unicodedata.normalize("NFC", path)
    yield "exact", path
    yield "NFC", plain
    yield "any case", plain.casefold()
    yield "name", plain.rsplit("/", 1)[-1].casefold()


def _is_spoiled(found, digest) -> bool:
    """Whether a spreadsheet took the digest for a number: 12e4... or digits alone."""
    try:
        number = float(digest)
        return bool(np.isfinite(number) and np.isclose(float(found), number, rtol=1e-5, atol=0))
    except ValueError:
        return False


def _row_of_index(table, entry, images, learned) -> int:
    n = len(images.digests)
    where = f"{table.source}: line {entry.line}"
    what = images.provenance.get("source", "the images")
    single = images.paths is None and images.provenance.get("shards", 1) == 1
    if entry.set is not None and entry.set != images.set_digest:
        raise InputError(
            f"{where}: found a row of the set {entry.set[:40]}, expected {images.set_digest}, the "
            f"digest of {what}, or a column digest"
        )
    if entry.set is None and not single and not is_set(images, learned):
        raise InputError(
            f"{where}: found an index alone, which shifts when files are added, removed or "
            f"renamed; expected the column path (file names in {what}) or digest beside it"
        )
    if entry.index >= n:
        raise InputError(
            f"{where}: found index {entry.index}, expected 0 to {n - 1}, as {what} holds {n} images"
        )
    return entry.index


def _left_out(entries, reason) -> list[str]:
    if not entries:
        return []
    named = ", ".join(f"{entry.name} (line {entry.line})" for entry in entries[:NAMED])
    more = f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    labels = "1 label" if len(entries) == 1 else f"{len(entries)} labels"
    return [f"{labels} left out, {reason}: {named}{more}"]


def _contradictions(claims, images) -> list[str]:
    """Pictures of one content that were given different labels."""
    alike = defaultdict(list)
    for row, entry in claims.items():
        alike[str(images.digests[row])].append(entry)
    pairs = []
    for entries in alike.values():
        other = next((e for e in entries if e.label != entries[0].label), None)
        if other is not None:
            pairs.append(
                f"{entries[0].name} {entries[0].label[:40]!r} (line {entries[0].line}) and "
                f"{other.name} {other.label[:40]!r} (line {other.line})"
            )
    more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    found = "; ".join(pairs[:NAMED]) + more
    return [f"identical images have different labels: {found}"] if pairs else []
