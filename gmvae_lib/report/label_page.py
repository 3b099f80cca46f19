"""The page on which a person gives labels: one HTML file, pictures included."""

import secrets
from datetime import datetime
from html import escape
from string import Template

import numpy as np

from gmvae_lib import __version__
from gmvae_lib.data.identity import printable
from gmvae_lib.data.labels import AT_RANDOM
from gmvae_lib.report.html import as_json, template, templates
from gmvae_lib.report.thumbnails import Originals, data_uri, seen

# What is asked now, what later, and what groups add: pixels a side at most, and bytes, for which
# the pictures get smaller. With the model's views the page stays below 10 MB.
SIZES = {"now": (256, 3_500_000), "later": (256, 3_000_000), "group": (128, 2_500_000)}
SCRIPTS = ("crisp.js", "store.js", "export.js", "parts.js", "label.js")


def label_page(images, table, known=None, guesses=None) -> str:
    """The page on which a person labels the images of a queue.

    It shows the originals beside what the model sees of them, offers a guess, and labels one image
    or a whole group at a time. It keeps the labels in the browser and saves them as a CSV with the
    columns index, path, digest, label, reason, those given before included; *unsure* and *none of
    these* are in the reason of a row without label.

    Parameters
    ----------
    images : ImageSet or ShardedImages
    table : DataFrame, from `choosing.label_queue`, or any with the columns index and reason.
    known : {index: (label, reason)}, labels given before. They win over what the browser kept.
    guesses : sequence of str [N], what the labels so far make of every image.
    """
    table = _complete(table)
    known = known or {}
    batch, rows = table["batch"].to_numpy(), table["index"].to_numpy()
    asked = batch > 0
    originals, sources = Originals(images), {}
    for name, part in {"now": batch == 1, "later": batch > 1, "group": batch == 0}.items():
        sources |= zip(rows[part], originals.uris(rows[part], *SIZES[name]), strict=True)
    views = _views(images, rows[asked])
    items = [
        {
            **identity(images, row.row),
            "cluster": int(row.cluster),
            "batch": int(row.batch),
            "random": AT_RANDOM in row.reason,
            "reason": row.reason,
            "guess": "" if guesses is None else str(guesses[row.row]),
            "src": sources[row.row],
            "view": views.get(row.row, ""),
        }
        for row in table.rename(columns={"index": "row"}).itertuples(index=False)
    ]
    like = dict(zip(table["cluster"].astype(int).tolist(), table["like"], strict=True))
    now = datetime.now().strftime("%Y-%m-%d %H:%M")
    return Template(template("label.html")).substitute(
        version=__version__,
        name=escape(str(images.provenance["name"])),
        others=f"{len(images) - np.count_nonzero(asked) - len(known):,}",
        written=now,
        style=templates("page.css", "label.css"),
        script=templates(*SCRIPTS),
        data=as_json(
            {
                # of its own in the browser: labels from another page count if the reader says so
                "id": secrets.token_hex(8),
                "set": images.set_digest,
                "written": now,
                "items": items,
                "like": {c: list(others) for c, others in like.items()},
                "known": known_entries(images, known),
            }
        ),
    )


def identity(images, row) -> dict:
    """What a label belongs to: row, path ("" in arrays) and digest of the image."""
    path = "" if images.paths is None else printable(images.paths[row])
    return {"row": int(row), "path": path, "digest": str(images.digests[row])}


def known_entries(images, known) -> list[dict]:
    """Labels given before, {index: (label, reason)}, as the scripts of the pages take them.

    A row without label is *unsure* or *none of these*, by the first words of its reason.
    """
    entries = []
    for row, (label, reason) in known.items():
        flag, rest = "", str(reason)
        if not label:
            flag, _, rest = rest.partition("; ")
        entries.append({**identity(images, row), "label": str(label), "flag": flag, "reason": rest})
    return entries


def _complete(table):
    """The table with the columns that only a queue has: one batch, and no groups."""
    defaults = {"cluster": 0, "batch": 1, "like": [()] * len(table)}
    missing = {name: value for name, value in defaults.items() if name not in table}
    return table.assign(**missing)


def _views(images, rows) -> dict[int, str]:
    """Pictures of what the model sees, where that is not the original itself: {row: address}."""
    converted = (images.provenance.get("reading") or {}).get("converted")
    if not len(rows) or (images.paths is None and not converted):
        return {}
    return dict(zip(rows.tolist(), map(data_uri, seen(images, rows)), strict=True))
