"""Decoders on labels as people have them: rare classes, a class without a name, wrong labels.

``python -m gmvae_lib.study.realistic --work FOLDER --letters IMAGES`` writes
results/realistic.csv from the first 20,000 letters as the published model sees them, whose
neighbours are looked up among the images in use. The model learned from all 100,000, balanced
letters, without labels; what changes here is the set that is labelled and named.

- *zipf*: 26 letters whose frequencies fall as 1 / rank, in a random order of the letters for each
  draw, and *as many, balanced*.
- *wrong*: 5 or 10 % of the labels are those of a letter that looks alike (`ALIKE`).
- *open*: no label names one of the letters, each in turn.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from gmvae_lib.data.images import load_images
from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import read_npz, write_npz
from gmvae_lib.label.pooled import any_decoder, default_name
from gmvae_lib.report.findings import unnamed_clusters
from gmvae_lib.study.metrics import mean_and_interval
from gmvae_lib.study.programs import program
from gmvae_lib.vae.runs import load_run

IMAGES, LETTERS = 20_000, 26
COUNTS, DRAWS = (73, 291), 10
DECODERS = ("soft", "graph", "neighbours", "pooled")
WRONG = (0.0, 0.05, 0.1)
ALIKE = ("il", "gq", "uv", "hn", "ao", "ce", "fp", "kx", "jy", "mw", "rt", "bd", "sz")
OUT = Path("results/realistic.csv")
COLUMNS = "setting n n_labels decoder measure draws mean low high".split()


def embedded(run, letters, work: Path):
    """(q [N, K], features [N, F], labels [N], 0 to 25) of the first letters."""
    from gmvae_lib.vae.model import embed

    path = work / f"published-{IMAGES}.npz"
    if not path.is_file():
        q, features = embed(run.model, load_images(letters).images[:IMAGES])
        write_npz(path, {"q": q, "features": features.astype(np.float16)}, compressed=False)
    stored = read_npz(path, ("q", "features"))
    y = np.unique(run.labels, return_inverse=True)[1][:IMAGES]
    return stored["q"], stored["features"].astype(np.float32), y


def zipf_rows(y, seed) -> np.ndarray:
    """Rows of a subset whose class frequencies fall as 1 / rank; the commonest has all it can.

    Examples
    --------
    >>> y = np.repeat([0, 1, 2], 60)
    >>> sorted(np.bincount(y[zipf_rows(y, 0)]).tolist())
    [20, 30, 60]
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.unique(y))
    most = min(np.count_nonzero(y == each) * (rank + 1) for rank, each in enumerate(order))
    rows = [
        rng.permutation(np.flatnonzero(y == each))[: most // (rank + 1)]
        for rank, each in enumerate(order)
    ]
    return rng.permutation(np.concatenate(rows))


def mislabelled(y, share, seed) -> np.ndarray:
    """Labels of which a share, drawn at random, are those of the letter that looks alike.

    y : int, 0 to 25 for a to z.

    Examples
    --------
    >>> mislabelled(np.array([8, 11, 6]), 1.0, 0).tolist()  # i, l, g
    [11, 8, 16]
    """
    other = np.arange(LETTERS)
    for one, two in map(tuple, ALIKE):
        a, b = ord(one) - ord("a"), ord(two) - ord("a")
        other[a], other[b] = b, a
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(y))[: round(share * len(y))]
    given = np.array(y)
    given[wrong] = other[given[wrong]]
    return given


class _Set:
    """Some of the images, with the neighbours among them."""

    def __init__(self, q, features, y, rows):
        from gmvae_lib.vae.nearest import nearest_in

        self.q, self.y = q[rows], y[rows]
        near = nearest_in(features[rows], features[rows], 11)
        self.near = np.stack([row[row != i][:10] for i, row in enumerate(near)])
        self.default = default_name(*self.q.shape)

    def decoder(self, name):
        return any_decoder(name, self.q, self.near)


def accuracies(data: _Set, n_labels, seed, share=0.0) -> dict:
    """{(decoder, measure): value} of one draw of labels, by their true names.

    Measures: accuracy on the images without a label, and recall, its mean over the letters there.
    """
    index = np.random.default_rng(seed).permutation(len(data.y))[:n_labels]
    given, rest = mislabelled(data.y[index], share, seed), np.ones(len(data.y), bool)
    rest[index] = False
    truth, found = data.y[rest], {}
    for name in DECODERS:
        decoder, points = data.decoder(name)
        right = (decoder.fit(points[index], given).predict(points)[rest] == truth).astype(float)
        found[name, "accuracy"] = right.mean()
        sums, counts = (np.bincount(truth, weight, LETTERS) for weight in (right, None))
        found[name, "recall"] = (sums[counts > 0] / counts[counts > 0]).mean()
    return found


def open_set(data: _Set, letter, n_labels, seed) -> dict:
    """{measure: value} where no label names one letter, by the default decoder.

    low confidence: P(an image of the unnamed letter is less sure than another), 0.5 by chance;
    unlabelled: share of its images in clusters without a label; found: whether the report lists a
    cluster that is mostly of that letter; listed, right: clusters listed, and the share of these
    that are.
    """
    order = np.random.default_rng(seed).permutation(len(data.y))
    index = order[data.y[order] != letter][:n_labels]
    decoder, points = data.decoder(data.default)
    proba = decoder.fit(points[index], data.y[index]).predict_proba(points)
    rest = np.ones(len(data.y), bool)
    rest[index] = False
    unnamed, cluster = data.y == letter, data.q.argmax(axis=1)
    listed = unnamed_clusters(cluster, proba.max(axis=1), index)
    mostly = [np.mean(unnamed[cluster == c]) > 0.5 for c in listed]
    bare = ~np.isin(cluster, cluster[index])
    return {
        "low confidence": roc_auc_score(unnamed[rest], -proba.max(axis=1)[rest]),
        "unlabelled": bare[unnamed].mean(),
        "found": float(any(mostly)),
        "listed": len(listed),
        "right": np.mean(mostly) if mostly else np.nan,
    }


def study(q, features, y, draws=DRAWS, counts=COUNTS) -> pd.DataFrame:
    """All settings: a row for each decoder, number of labels and measure."""
    rows = []

    def add(setting, n, n_labels, decoder, measure, values):
        values = np.asarray(values, dtype=float)
        values = values[~np.isnan(values)]
        found = mean_and_interval(values) if len(values) else (np.nan,) * 3
        row = setting, n, n_labels, decoder, measure, len(values), *found
        rows.append(dict(zip(COLUMNS, row, strict=True)))

    by_setting = {}
    for draw in range(draws):
        rows_of = zipf_rows(y, draw)
        balanced = np.random.default_rng(draw).permutation(len(y))[: len(rows_of)]
        for setting, some in (("zipf", rows_of), ("as many, balanced", balanced)):
            data = _Set(q, features, y, some)
            for n_labels in counts:
                for share in WRONG if setting != "zipf" else (0.0,):
                    name = f"{share:.0%} wrong" if share else setting
                    found = accuracies(data, n_labels, draw, share)
                    by_setting.setdefault((name, n_labels), []).append((len(some), found))
        print(f"draw {draw}", flush=True)
    for (setting, n_labels), each in by_setting.items():
        n = round(np.mean([n for n, _ in each]))  # zipf: as many as the commonest letter allows
        for name, measure in each[0][1]:
            add(setting, n, n_labels, name, measure, [found[name, measure] for _, found in each])
    data = _Set(q, features, y, np.arange(min(len(y), 5_000)))
    letters = np.unique(y)
    for n_labels in counts:
        found = [open_set(data, letter, n_labels, int(letter)) for letter in letters]
        for measure in found[0]:
            values = [each[measure] for each in found]
            add("open", len(data.y), n_labels, data.default, measure, values)
    return pd.DataFrame(rows, columns=COLUMNS)


@program("realistic")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.realistic",
        description="Decoders with rare classes, wrong labels, and a class without a name.",
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for the embedding")
    parser.add_argument("--run", default="results/letters100k", help="the published run")
    parser.add_argument("--letters", help="its images, an IDX file")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    table = study(*embedded(load_run(args.run), args.letters, args.work), args.draws).round(4)
    write_table(args.out, table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
