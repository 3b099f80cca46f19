"""The page that shows what the labels are worth."""

import secrets
import shlex
from datetime import datetime
from html import escape
from string import Template

import numpy as np

from gmvae_lib import __version__
from gmvae_lib.data.identity import printable
from gmvae_lib.data.labels import AT_RANDOM
from gmvae_lib.report.html import as_json, template, templates
from gmvae_lib.report.label_page import identity, known_entries
from gmvae_lib.report.thumbnails import Originals, small_uri

STRIP, STRIP_SIDE = 8, 48  # typical images of a cluster, and their pixels a side, at most
THUMB_SIDE, THUMB_BUDGET = 128, 1_000_000  # pixels a side, and bytes of each list
MOST_CLUSTERS = 200  # on a page
THRESHOLDS = (0.5, 0.8, 0.9)


def accuracy_sentence(accuracy) -> str:
    """What accuracy to expect, how sure that is, and where it comes from."""
    expected = (
        f"expected accuracy {accuracy.value:.0%} (95% interval {_range(accuracy)}), "
        if accuracy.how == "random"
        else f"expected accuracy about {accuracy.value:.0%} ({_range(accuracy)}), "
    )
    if accuracy.how == "random":
        sentence = (
            f"{expected}measured on {accuracy.n - accuracy.none} labelled images drawn at random, "
            "each predicted without its own label"
        )
        if accuracy.none:
            sentence += f", and {accuracy.none} marked as none of these, taken as wrong"
        if accuracy.unsure:
            sentence += (
                f"; {accuracy.unsure} more, marked as unsure, are taken as wrong at the lower end "
                "of the interval and as right at its upper end"
            )
        return sentence
    return f"{expected}not measured: this is what the decoder's confidence says"


def _range(accuracy) -> str:
    return f"{accuracy.low:.0%} to {accuracy.high:.0%}"


def report_page(images, findings, run, source, labels, notes=(), known=None) -> str:
    """The page that shows `report.examine`'s findings.

    Parameters
    ----------
    images : ImageSet. findings : report.Findings. run, source, labels : the run's folder, the
        images and the labels, as given to the command line.
    notes : further warnings.
    known : {index: (label, reason)}, all rows of the file of labels, which corrections are saved
        with; by default the labels of the findings.
    """
    names = [escape(str(name)) for name in findings.classes]
    unlabelled = np.ones(len(images), bool)
    unlabelled[findings.index] = False
    confidence, clusters = findings.confidence, findings.clusters
    in_use = clusters[clusters["weight"] > 0]
    sentence = accuracy_sentence(findings.accuracy)
    told = confidence[unlabelled] if unlabelled.any() else confidence
    measured = findings.accuracy.how == "random"
    originals, predicted = Originals(images), _predicted(findings)
    return Template(template("report.html")).substitute(
        version=__version__,
        style=template("page.css"),
        name=escape(str(images.provenance["name"])),
        run=escape(str(run)),
        date=datetime.now().strftime("%Y-%m-%d %H:%M"),
        n_images=f"{len(images):,}",
        n_labels=len(findings.index),
        n_random=np.count_nonzero(findings.at_random),
        accuracy_title="Expected accuracy" if measured else "Expected accuracy, not measured",
        accuracy=f"{findings.accuracy.value:.0%}",
        accuracy_range=_range(findings.accuracy),
        accuracy_sentence=f"{sentence[0].upper()}{sentence[1:]}.",
        confidence=f"{told.mean():.0%}",
        n_named=np.count_nonzero(in_use["labelled"]),
        n_clusters=len(in_use),
        warnings=_warning_box([*notes, *findings.warnings]),
        curve=_gain_curve(findings.gain, findings.accuracy.value),
        gain=_gain_table(findings.gain),
        wanted=_wanted_sentences(findings.wanted, findings.gain["more"].max()),
        gain_note=_GAIN_NOTE,
        names=_names_table(findings, names),
        names_note="Checked are labelled images "
        + ("drawn at random" if measured else "of whatever choice, which makes them look worse")
        + ", each predicted without its own label. The interval is given from five images on.",
        clusters="\n".join(
            _card(originals, findings, row, names, predicted[row.component])
            for row in _shown(in_use)
        ),
        clusters_note=_clusters_note(in_use),
        doubtful=_pictures(originals, findings.doubtful, lambda i: _opinion(findings, names, i)),
        abstain="; ".join(
            f"{np.count_nonzero(told < limit):,} are below {limit}" for limit in THRESHOLDS
        ),
        contradicted=_contradicted(originals, findings.contradicted, names),
        contradicted_note=_CONTRADICTED_NOTE
        if len(findings.contradicted)
        else "None: no label is contradicted by the images like it.",
        next=_pictures(
            originals,
            findings.next_to_label,
            lambda i: f"{_opinion(findings, names, i)}",
        ),
        command=escape(
            f"python -m gmvae_lib suggest --run {shlex.quote(str(run))} "
            f"--images {shlex.quote(str(source))} --labels {shlex.quote(str(labels))} "
            "--budget 50 --out to_label_next.csv --page label_next.html"
        ),
        how=_how(findings),
        script=templates("crisp.js", "store.js", "export.js", "check.js"),
        data=_corrections(images, findings, known),
    )


def _corrections(images, findings, known) -> str:
    """What the script needs for corrections: the pictures shown, and all labels."""
    names = [str(name) for name in findings.classes]
    if known is None:
        given = zip(findings.index, findings.given, findings.at_random, strict=True)
        known = {row: (names[label], AT_RANDOM if drawn else "") for row, label, drawn in given}
        known |= {row: ("", reason) for row, reason in findings.marked.items()}
    lists = (findings.contradicted["index"], findings.doubtful, findings.next_to_label)
    reasons = ("corrected in the report", "doubtful in the report", "suggested in the report")
    items = {
        int(row): identity(images, row)
        | {
            "reason": reason,
            "options": [
                (names[label], f"{findings.proba[row, label]:.0%}")
                for label in _likeliest(findings, row)
            ],
        }
        for rows, reason in zip(lists, reasons, strict=True)
        for row in rows
    }
    return as_json(
        {
            "id": secrets.token_hex(8),
            "set": images.set_digest,
            "written": datetime.now().strftime("%Y-%m-%d %H:%M"),
            "items": list(items.values()),
            "known": known_entries(images, known),
            "classes": names,
        }
    )


def _likeliest(findings, row):
    """The two labels that the decoder finds likeliest for an image."""
    return np.argsort(-findings.proba[row], kind="stable")[:2]


_GAIN_NOTE = (
    "Found by simulating further labels: every cluster gets labels that fit those at hand, or the "
    "decoder's estimate where there are none, and the decoder is fitted again. Classes without "
    "any label so far are not foreseen. The last column is the share of "
    "images whose cluster gets no label if as many labels in all are drawn at random. The "
    "ranges in brackets are 95% bands, from the interval of the accuracy and the simulated truths."
)
_CONTRADICTED_NOTE = (
    "Labelled images that the other labels say are something else, the most contradicted first. "
    "Some are odd, some are labelled wrong: is the label right? They keep it until you change it."
)


def _warning_box(warnings) -> str:
    if not warnings:
        return '<p class="fine">No warnings.</p>'
    lines = "".join(f"<li>{escape(warning)}</li>" for warning in warnings)
    return (
        '<section class="warnings" aria-labelledby="warnings"><h2 id="warnings">Warnings</h2>'
        f"<ul>{lines}</ul></section>"
    )


def _table(head, rows) -> str:
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _percent(value) -> str:
    return "–" if np.isnan(value) else f"{value:.0%}"


def _points(value) -> str:
    text = "–" if np.isnan(value) else f"{100 * value:+.1f}".replace("-", "−")
    return "0" if text in ("+0.0", "−0.0") else text


def _gain_table(gain) -> str:
    rows = [
        (
            f"+{row.more}" if row.more else "now",
            _points(row.chosen),
            _points(row.random),
            _percent(row.unlabelled),
        )
        for row in gain.itertuples()
    ]
    head = ("Labels", "suggested, points", "at random, points", "missed")
    return _table(head, rows)


def _wanted_sentences(wanted, most) -> str:
    """How many labels the next accuracies take, a line each."""

    def count(row, way):
        mean, low, high = row[way], row[f"{way}_low"], row[f"{way}_high"]
        if np.isinf(mean):
            return f"more than {most}" + ("" if np.isinf(low) else f" (at least {low:.0f})")
        end = f"over {most}" if np.isinf(high) else f"{high:.0f}"
        return f"about {mean:.0f} ({low:.0f} to {end})"

    return "".join(
        f"<li><strong>{row['accuracy']:.0%}</strong> needs {count(row, 'chosen')} further labels "
        f"of suggested images, or {count(row, 'random')} of random ones.</li>"
        for _, row in wanted.iterrows()
    )


def _gain_curve(gain, accuracy) -> str:
    """Accuracy against further labels as an SVG picture."""
    gain = gain.copy()
    ways = [f"{way}{end}" for way in ("chosen", "random") for end in ("", "_low", "_high")]
    gain[ways] = (accuracy + gain[ways]).clip(0, 1)
    width, height, left, top, right, bottom = 640, 320, 56, 16, 20, 48
    low = np.floor(10 * max(0.0, np.nanmin(gain[ways].to_numpy()) - 0.02)) / 10
    most = gain["more"].max()

    def x(more):
        return left + (width - left - right) * np.sqrt(more / most)

    def y(value):
        return top + (height - top - bottom) * (1 - (value - low) / (1 - low))

    def path(name, reverse=False):
        kept = gain[gain[name].notna()]
        points = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(kept["more"], kept[name], strict=True)]
        return " ".join(reversed(points) if reverse else points)

    lines = []
    for value in np.arange(low, 1.001, 0.1 if low < 0.75 else 0.05):
        lines.append(
            f'<line class="axis" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text x="{left - 8}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:.0%}</text>'
        )
    for more in gain["more"]:
        lines.append(
            f'<text x="{x(more):.1f}" y="{height - bottom + 20}" text-anchor="middle">'
            f"{f'+{more}' if more else 'now'}</text>"
        )
    parts = "".join(lines)
    end = gain[gain["random"].notna()].iloc[-1]
    now = gain.iloc[0]
    summary = (
        f"Expected accuracy now {now.random:.0%}; with {end.more:.0f} more random labels "
        f"{end.random:.0%}"
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{summary}">{parts}'
        f'<polygon class="band" points="{path("chosen_high")} {path("chosen_low", True)}"/>'
        f'<polyline class="random" points="{path("random")}"/>'
        f'<polyline class="chosen" points="{path("chosen")}"/>'
        f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">'
        "further labels</text>"
        "</svg>"
        '<figcaption class="key small"><span><svg viewBox="0 0 28 4" aria-hidden="true"><line '
        'class="chosen" x2="28" y1="2" y2="2"/></svg> suggested, with a 95% band</span> <span><svg '
        'viewBox="0 0 28 4" aria-hidden="true"><line class="random" x2="28" y1="2" y2="2"/></svg> '
        "at random</span></figcaption>"
    )


def _names_table(findings, names) -> str:
    rows = []
    for row in findings.per_class.sort_values("predicted", ascending=False).itertuples():
        interval = f"{row.low:.0%} to {row.high:.0%}" if row.checked >= 5 else "–"
        right = f"{round(row.right * row.checked)} of {row.checked}" if row.checked else "–"
        rows.append((names[row.label], f"{row.predicted:,}", row.labelled, right, interval))
    return _table(("Name", "Images", "Labels", "Checked right", "95% interval"), rows)


def _shown(clusters):
    return clusters.iloc[:MOST_CLUSTERS].itertuples()


def _clusters_note(clusters) -> str:
    shown = min(len(clusters), MOST_CLUSTERS)
    note = (
        f"{STRIP} typical images of each, the heaviest first; marked are those whose name is open."
    )
    return note + (f" {shown} of {len(clusters)} are shown." if shown < len(clusters) else "")


def _predicted(findings) -> np.ndarray:
    """Images by cluster and by the label that they are predicted to have, int [K, C]."""
    counts = np.zeros((len(findings.clusters), len(findings.classes)), dtype=np.int64)
    np.add.at(counts, (findings.component, findings.predicted), 1)
    return counts


def _card(originals, findings, row, names, predicted) -> str:
    members = np.flatnonzero((findings.component == row.component) & (findings.rank < STRIP))
    members = members[np.argsort(findings.rank[members])]
    votes = ", ".join(f"{names[label]} × {count}" for label, count in enumerate(row.votes) if count)
    name = names[row.name]
    flag = {
        "unlabelled": f"no label; like clusters of {name}",
        "tied": f"as many labels of one kind as of another: {votes}",
        "mixed": f"labels differ: {votes}",
    }.get(row.state)
    most = int(predicted.argmax())
    if most != row.name:  # its neighbours outvote its own labels
        flag = f"{flag or f'labels: {votes}'}; most of its images are predicted to be {names[most]}"
    doubt = "?" if row.state in ("unlabelled", "tied") else ""
    text = f'<p class="flag">{flag}</p>' if flag else f"<p>labels: {votes}</p>"
    return (
        f'<li id="c{row.component}"{" class=odd" if flag else ""}>'
        f'<img src="{small_uri(_strip(originals, members))}" '
        f'alt="{len(members)} typical images of cluster {row.component}">'
        f"<h3>{name}{doubt}<span>cluster {row.component}, {row.weight:.1%}</span></h3>{text}</li>"
    )


def _strip(originals, rows):
    """Pictures side by side, `STRIP` places wide, a black gap between them."""
    from PIL import Image

    pictures = [originals.small(row, STRIP_SIDE) for row in rows]
    width, height = (max(picture.size[side] for picture in pictures) for side in (0, 1))
    gap = max(1, width // 14)
    strip = Image.new("RGB", (STRIP * (width + gap) - gap, height))
    for i, picture in enumerate(pictures):
        left, top = (width - picture.width) // 2, (height - picture.height) // 2
        strip.paste(picture, (i * (width + gap) + left, top))
    return strip


def _pictures(originals, index, text_of) -> str:
    images, index = originals.images, [int(i) for i in index]
    items = []
    for i, address in zip(index, originals.uris(index, THUMB_SIDE, THUMB_BUDGET), strict=True):
        name = f"image {i}" if images.paths is None else printable(images.paths[i])
        items.append(
            f'<li data-row="{i}"><img src="{address}" '
            f'alt="{escape(name)}"><span class="soft">{escape(name)}</span><br>{text_of(i)}</li>'
        )
    return "\n".join(items)


def _opinion(findings, names, i) -> str:
    """What the decoder says of an image: its two likeliest labels."""
    first, *others = [
        f"{names[label]} {findings.proba[i, label]:.0%}" for label in _likeliest(findings, i)
    ]
    others = "".join(f", {other}" for other in others)
    return f'<span class="opinion"><strong>{first}</strong>{others}</span>'


def _contradicted(originals, table, names) -> str:
    said = {
        row.index_: f"<strong>{names[row.given]}</strong> given, {names[row.says]} {row.p_says:.0%}"
        for row in table.rename(columns={"index": "index_"}).itertuples()
    }
    return _pictures(originals, list(said), said.get)


def _how(findings) -> str:
    accuracy, crossed = findings.accuracy, findings.cross_validated
    parts = [
        "A labelled image keeps its label; the others have theirs from the "
        f"{findings.decoder}. Their confidence is "
        + (
            f"tempered by T = {findings.temperature:.2f} to fit the labels drawn at random."
            if findings.accuracy.how == "random"
            else "as the decoder gives it."
        )
    ]
    if accuracy.how == "random":
        parts.append(
            f"The accuracy is the share of the {accuracy.n} images drawn at random that "
            "were predicted right so, with the exact binomial interval (Clopper and Pearson). Its "
            "only bias is that each was predicted from one label less than there are."
        )
    else:
        parts.append(
            "The accuracy is the mean confidence over the unlabelled images; the range covers "
            "what the clusters may hold that fits the labels at hand, and how far the confidence "
            "was off on handwritten letters. Over all labelled images cross-validation finds "
            f"{crossed.value:.0%} ({_range(crossed)}), which is too low for images chosen to "
            "stand for a group each: without its own label, no other stands for its group."
        )
    return " ".join(parts)
