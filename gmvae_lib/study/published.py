"""What results/ say on the front page: claims, targets, README's table and Figure 3."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.study import fewer_labels, figures, mnist_few_labels, targets
from gmvae_lib.study.claims import claims_table
from gmvae_lib.study.evidence import (
    ARTICLE,
    BOOK,
    NETWORK,
    accuracies,
    accuracy_at,
    evidence,
    interval,
    over_trainings,
    trainings,
)
from gmvae_lib.study.experiments import summarise

STUDIES, PREDICTION, CHOOSING = "studies.csv", "prediction.csv", "choosing.csv"
COUNTS = (73, 291, 728)


def write_claims(results: Path, readme: Path | None = None):
    """Write claims.json, targets.json, Figure 3 and, if it is given, README's table."""
    ev = evidence(results)
    for name, rows in (
        ("claims.json", claims_table(ev)),
        ("targets.json", all_targets(results, ev)),
    ):
        text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
        write_atomically(results / name, lambda p, text=text: p.write_text(text, encoding="utf-8"))
    (results / "figures").mkdir(exist_ok=True)
    curves = front_curves(ev)
    ends = next(iter(curves)), list(curves)[-1]  # this book's best, and XGBoost
    figure = figures.figure_3_by_model(
        curves, len(ev.run.labels), ev.run.model_config.K, against=ends
    )
    figure.savefig(results / "figures" / "figure3.png", dpi=144)
    if readme is not None and readme.is_file():
        parts = [readme_table(ev), one_a_class(results)]
        text = with_results(readme.read_text(encoding="utf-8"), "\n\n".join(filter(None, parts)))
        write_atomically(readme, lambda p: p.write_text(text, encoding="utf-8"))


def all_targets(results: Path, ev) -> list[dict]:
    """Rows of targets.json; those of own images and of a GPU where they were measured."""
    others = [pd.read_csv(results / name) for name in (STUDIES, PREDICTION, CHOOSING)]
    rows = targets.targets_table(ev, *others)
    for name, of in (("loop.json", targets.loop_targets), ("gpu.json", targets.gpu_targets)):
        if (results / name).is_file():
            rows += of(json.loads((results / name).read_text()))
    for path, of_cells in (
        (fewer_labels.OUT, targets.fewer_targets),
        (mnist_few_labels.OUT, targets.digit_targets),
    ):
        if (results / path.name).is_file():
            rows += of_cells(pd.read_csv(results / path.name))
    return rows


def front_curves(ev) -> dict:
    """Curves of the front page's Figure 3: by name, means and intervals over draws of labels."""
    tables = {
        "graph and neighbours,\nthis book's model": (ev.sweep, "neighbours"),
        "soft, this book's\nmodel": (ev.sweep, "soft"),
    }
    if ev.article is not None:
        public = over_trainings(ev.article)
        tables |= {
            "soft, the article's\nmodel": (public, "soft"),
            "hard as published,\nthe article's model": (public, "hard (no fallback)"),
        }
    if ev.network is not None:
        tables["convolutional net,\nlabels only"] = (ev.network, "convolutional net")
    tables["XGBoost on pixels,\nlabels only"] = (ev.sweep, "xgboost")
    return {
        name: summarise(table[table["method"] == method])
        for name, (table, method) in tables.items()
    }


def in_per_cent(found) -> str:
    """Mean and interval in per cent, as in README's table; without the latter if there is none."""
    mean, low, high = 100 * np.clip(found, 0, 1)
    return f"{mean:.1f} ({low:.1f} to {high:.1f})" if low == low else f"{mean:.1f}"


def accuracy_rows(ev, counts=COUNTS) -> list[tuple]:
    """What the front page compares: (model, method, [accuracies at each number of labels])."""
    names = {method: label for method, (label, *_) in figures.METHODS.items()}
    decoders = ("neighbours", "smoothed", "graph", "soft", "hard", "hard (no fallback)", "bayes")
    rows = [(BOOK, names[d], [accuracies(ev, BOOK, d, n) for n in counts]) for d in decoders]
    if ev.article is not None:
        of = ("graph", "soft", "hard", "hard (no fallback)")
        rows += [(ARTICLE, names[d], [accuracies(ev, ARTICLE, d, n) for n in counts]) for d in of]
    if ev.network is not None:
        of = [accuracies(ev, NETWORK, None, n) for n in counts]
        rows.append((NETWORK, "convolutional net on random views", of))
    for d in ("xgboost", "mlp", "mlp (article)", "logistic regression"):
        rows.append((NETWORK, names[d], [accuracy_at(ev.sweep, d, n) for n in counts]))
    return [row for row in rows if any(len(values) for values in row[-1])]


def readme_table(ev) -> str:
    """The README's table: accuracy with intervals, by model, method and number of labels."""
    lines = [
        "| model | decoder | " + " | ".join(f"{n:,} labels" for n in COUNTS) + " |",
        "|:--|:--|" + "--:|" * len(COUNTS),
    ]
    for model, method, found in accuracy_rows(ev):
        cells = [in_per_cent(interval(values)) if len(values) else "–" for values in found]
        lines.append(f"| {model} | {method} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", legend(ev)])


def legend(ev) -> str:
    """What the intervals of `accuracy_rows` cover, in one paragraph."""
    soft, near = (accuracies(ev, BOOK, method, 291) for method in ("soft", "neighbours"))
    text = f"Per cent of the images that got no label, of {len(ev.run.labels):,} EMNIST letters, "
    text += "with 95 % intervals. This book's recipe: "
    if ev.cells:
        text += (
            f"{soft.shape[0]} trainings, each with the same {soft.shape[1]} draws of the labels "
            f"({near.shape[1]} for the decoders that use neighbours); the interval covers both. "
        )
    else:
        text += f"one training, {len(soft)} draws of the labels. "
    if ev.article is not None:
        found = accuracies(ev, ARTICLE, "soft", 291)
        of = trainings(found) + (f" of {ev.article_epochs} epochs" if ev.article_epochs else "")
        text += f"The article's recipe: {of}, {found.shape[-1]} draws. "
        if found.ndim > 1:
            apart = 100 * np.ptp(found.mean(axis=1))
            text += f"They differ by {apart:.1f} points with soft at 291 labels, hence its width. "
    draws = ev.sweep.groupby("method")["seed"].nunique()
    text += "Labels only: "
    if ev.network is not None:
        text += f"{len(accuracies(ev, NETWORK, None, 291))} draws of the convolutional net at 291, "
    return text + f"{draws['xgboost']} of the others."


def one_a_class(results: Path) -> str:
    """What one label a class names of MNIST, in a sentence; empty where it was not measured."""
    path = results / mnist_few_labels.OUT.name
    if not path.is_file():
        return ""
    method = mnist_few_labels.BALANCED
    cells = mnist_few_labels.wide(pd.read_csv(path), method, mnist_few_labels.N_LABELS[0])
    if not cells.size:
        return ""
    return (
        "On MNIST, ten labels, one for each digit, name "
        f"{in_per_cent(mnist_few_labels.interval(cells))} % of the other images by balanced "
        "diffusion, which takes the digits to be equally frequent "
        f"({len(cells)} trainings, {cells.shape[1]} draws that others published; "
        "`book/fewer_labels.md`)."
    )


def with_results(text: str, table: str) -> str:
    """The README's text with the table inserted between its two markers."""
    start, end = "<!-- results: ", "<!-- /results -->"
    if start not in text or end not in text:
        raise InputError(f"README.md: found no markers {start!r} and {end!r}, expected both")
    head = text[: text.index("\n", text.index(start)) + 1]
    return f"{head}\n{table}\n\n{text[text.index(end) :]}"
