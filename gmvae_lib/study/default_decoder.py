"""Is the default decoder ever worse than the soft rule? From 300 images to 100,000.

``python -m gmvae_lib.study.default_decoder --work FOLDER`` reads the small models of `made_sets` in
the folder and the published run, and writes results/default_decoder.csv; it resumes after an
interruption. With ``--letters IMAGES``, the published model also embeds 300 to 10,000 of the
letters, whose neighbours are then looked up among themselves: a good model and few images.

Every decoder gets the same draws of labels, so that the interval is that of the mean difference
from the soft rule (Student's t over the draws). The rule was chosen on these sets with 6 to 12 of
the draws in view.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.images import load_images
from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import read_npz, write_npz
from gmvae_lib.label.pooled import any_decoder, default_name
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.made_sets import SPECS, WITHOUT_GROUPS, read
from gmvae_lib.study.metrics import mean_and_interval
from gmvae_lib.study.programs import program
from gmvae_lib.study.studies import accuracy_with
from gmvae_lib.vae.runs import load_run

PER_CLASS = (1, 2, 4, 10)  # labels a class on average
DRAWS, DRAWS_OF_ALL = 20, 5
DECODERS = ("soft", "neighbours", "pooled")
PUBLISHED = "letters, published model"
SUBSETS = (300, 600, 1_000, 3_000, 10_000)
MANY = 20_000
COUNTS = (73, 100, 291, 728)  # labels of the 100,000
WORSE = 0.005  # than soft, in the mean over draws: what the default must not be
COLUMNS = "data n K classes n_labels draws decoder default accuracy difference low high".split()
OUT = Path("results/default_decoder.csv")


def compare(data, q, neighbours, y, counts, draws) -> list[dict]:
    """Rows of the table of one set: each decoder at each number of labels.

    q : float32 [N, K]. neighbours : int [N, n], the nearest first. y : [N].
    """
    rows, n, K = [], *q.shape
    default = default_name(n, K)
    names = DECODERS if n <= MANY else ("soft", default)  # the others take minutes there
    made = {name: any_decoder(name, q, neighbours) for name in names}
    for n_labels in counts:
        labelled = [draw_labelled(n, n_labels, seed) for seed in range(draws)]
        found = {
            name: np.array([accuracy_with(*decoder, y, some) for some in labelled])
            for name, decoder in made.items()
        }
        for name, accuracy in found.items():
            against = mean_and_interval(accuracy - found["soft"])
            about = data, n, K, len(np.unique(y)), n_labels, draws, name, name == default
            rows.append(dict(zip(COLUMNS, (*about, accuracy.mean(), *against), strict=True)))
    return rows


def counts_of(y) -> list[int]:
    """Numbers of labels that leave at least half of the images without one.

    Examples
    --------
    >>> counts_of([0, 1] * 10)
    [2, 4, 8]
    """
    classes = len(np.unique(y))
    return [each * classes for each in PER_CLASS if each * classes <= len(y) // 2]


def sets(work: Path, run, letters=None):
    """(name, function that gives what `compare` reads) of all sets that are there."""
    for text in SPECS:
        path = work / f"{text}.npz"
        name = text.split("-")[0]
        if name in WITHOUT_GROUPS or text.endswith("short") or not path.is_file():
            continue

        def made(path=path):
            q, neighbours, y, _ = read(path)
            return q, neighbours, y, counts_of(y), DRAWS

        yield text, made
    if letters is not None:
        for n in SUBSETS:

            def some(n=n):
                q, neighbours, y = subset(run, letters, work, n)
                return q, neighbours, y, counts_of(y), DRAWS

            yield f"{PUBLISHED}, {n}", some

    def everything():
        return run.posterior, run.extra["neighbours"], run.labels, COUNTS, DRAWS_OF_ALL

    yield PUBLISHED, everything


def subset(run, letters, work, n):
    """The first n letters as the published model sees them: q, neighbours among them, labels."""
    from gmvae_lib.vae.model import embed
    from gmvae_lib.vae.nearest import nearest_in

    path = work / "published.npz"
    if not path.is_file():
        pictures = load_images(letters).images[: max(SUBSETS)]
        q, features = embed(run.model, pictures)
        write_npz(path, {"q": q, "features": features.astype(np.float16)}, compressed=False)
    stored = read_npz(path, ("q", "features"))
    features = stored["features"][:n].astype(np.float32)
    near = nearest_in(features, features, 11)
    near = np.stack([row[row != i][:10] for i, row in enumerate(near)])
    return stored["q"][:n], near, run.labels[:n]


def study(work, run, letters=None, out=OUT) -> pd.DataFrame:
    """Measure what is missing in the table at ``out``, which is written after every set."""
    rows = pd.read_csv(out).to_dict("records") if out.is_file() else []
    done = {row["data"] for row in rows}
    for data, given in sets(work, run, letters):
        if data in done:
            continue
        rows += compare(data, *given())
        table = pd.DataFrame(rows, columns=COLUMNS).round(5)
        write_table(out, table)
        print(data, flush=True)
    return pd.read_csv(out)


def worse(table: pd.DataFrame) -> pd.DataFrame:
    """The rows in which the default is worse than soft by more than `WORSE`.

    Examples
    --------
    >>> table = pd.DataFrame({"default": [True, True, False], "difference": [-0.01, 0.0, -0.2]})
    >>> worse(table).index.tolist()
    [0]
    """
    return table[table["default"] & (table["difference"] < -WORSE)]


def summary(table: pd.DataFrame) -> str:
    """The table in points, a row for each set and decoder, and what the default does."""
    points = table.assign(gain=100 * table["difference"])
    each = points["n_labels"] / points["classes"]
    wide = points.assign(each=each.round(1)).pivot_table(
        index=["n", "data", "decoder"], columns="each", values="gain", sort=False
    )
    default = table[table["default"]]
    worst, mean = 100 * default["difference"].min(), 100 * default["difference"].mean()
    lines = [
        wide.round(1).to_string(),
        f"default against soft: {len(default)} cells, mean {mean:+.1f} points, worst {worst:+.1f}; "
        f"worse by more than {100 * WORSE:.1f}: {len(worse(table))}",
    ]
    return "\n".join(lines)


@program("default_decoder")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.default_decoder",
        description="Compare the default decoder with the soft rule.",
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of `made_sets`")
    parser.add_argument("--run", default="results/letters100k", help="the published run")
    parser.add_argument("--letters", help="its images, an IDX file")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    table = study(args.work, load_run(args.run), args.letters, args.out)
    print(summary(table))
    found = worse(table)
    if len(found):
        print(found.to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
