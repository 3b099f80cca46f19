"""What the recipe gives where nothing was chosen: new models, new draws, new letters, digits.

The protocol, written down before its results were read: the constants are those of
results/frozen.json, nothing is tuned again, no model or draw is left out, and nothing is measured
again after a look.

- *New models and draws*: of ten trainings of the preset `best` on the 100,000 letters (on a GPU,
  part `models` of ``benchmarks.gpu``), the eight whose seeds no constant was chosen on: all but 1
  and 8; of the draws of the labels, those from 5 on, since 0 to 4 were in view. Beside them
  the two seeds and five draws that were. (Added after the first look, from the same cells: the two
  seeds with the new draws, to tell what is due to the models and what to the draws.)
- *Letters kept out*: a model that never saw 20,000 of the letters, and labels among the 80,000 it
  did see; the accuracy on the 20,000 (study `held-out` of results/studies.csv: one model, mean over
  draws 0 to 4, without an interval).
- *MNIST*: results/mnist_few_labels.csv, whose protocol is in that module.

``python -m gmvae_lib.study.held_out --two-way FOLDER`` writes results/held_out.csv from these; the
folder is the one that `two_way` resumes from.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.outputs import write_table
from gmvae_lib.errors import InputError
from gmvae_lib.study import mnist_few_labels
from gmvae_lib.study.programs import program
from gmvae_lib.study.two_way import two_way

TUNED_ON = (1, 8)  # model seeds
IN_VIEW = range(5)  # draws of the labels
METHODS = {"soft": "soft", "graph": "graph", "neighbours": "graph and neighbours"}
LABELS = (73, 100, 291, 728)
COLUMNS = ["where", "method", "n_labels", "models", "draws", "accuracy", "low", "high"]
OUT = Path("results/held_out.csv")


def cells(folder) -> pd.DataFrame:
    """What `two_way.measure` wrote: model, method, n_labels, seed (of the draw), accuracy."""
    parts = []
    for path in sorted(Path(folder).glob("model*-*.csv")):
        match = re.fullmatch(r"model(\d+)-\w+\.csv", path.name)
        if match:
            parts.append(pd.read_csv(path).assign(model=int(match[1])))
    if not parts:
        raise InputError(f"{folder}: found no model0-q.csv, expected what two_way measured")
    table = pd.concat(parts, ignore_index=True)
    return table[table["method"].isin(METHODS) & table["n_labels"].isin(LABELS)]


def rows_of(where: str, table: pd.DataFrame, methods=METHODS) -> list[list]:
    """A row a method and number of labels, from cells of every model with every draw.

    Models that lack a draw, because their measurement has not ended, are left out.
    """
    rows = []
    for name, label in methods.items():
        for n, group in table[table["method"] == name].groupby("n_labels"):
            wide = group.pivot(index="model", columns="seed", values="accuracy").dropna()
            if min(wide.shape) >= 2:
                found = two_way(wide)
                rows.append([where, label, n, *wide.shape, found.mean, found.low, found.high])
    return rows


def kept_out(studies: pd.DataFrame) -> list[list]:
    """The rows of the letters kept out of training."""
    wanted = (studies["study"] == "held-out") & (studies["variant"] == "full recipe")
    if wanted.sum() != 1:
        raise InputError(f"studies.csv: found {wanted.sum()} rows of held-out, expected one")
    row = studies[wanted].iloc[0]
    return [
        ["letters kept out", label, n, 1, 5, row[f"held-out {name} {n}"], np.nan, np.nan]
        for name, label in METHODS.items()
        for n in LABELS
    ]


def assemble(measured: pd.DataFrame, studies: pd.DataFrame, digits=None) -> pd.DataFrame:
    """The table of all parts; digits : mnist_few_labels.csv, where there is one."""
    seen_model, seen_draw = measured["model"].isin(TUNED_ON), measured["seed"].isin(IN_VIEW)
    rows = rows_of("new models and draws", measured[~seen_model & ~seen_draw])
    rows += rows_of("models in view, new draws", measured[seen_model & ~seen_draw])
    rows += rows_of("models and draws in view", measured[seen_model & seen_draw])
    rows += kept_out(studies)
    if digits is not None:
        digits = mnist_few_labels.met_by_all(digits).rename(
            columns={"model_seed": "model", "draw": "seed"}
        )
        ours = {"soft": "soft", mnist_few_labels.OURS: "graph and neighbours"}
        rows += rows_of("MNIST", digits, ours)
    return pd.DataFrame(rows, columns=COLUMNS)


@program("held_out")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.held_out", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--two-way", required=True, metavar="FOLDER", help="two_way's work folder")
    parser.add_argument("--results", type=Path, default=OUT.parent)
    args = parser.parse_args(argv)
    digits = args.results / mnist_few_labels.OUT.name
    table = assemble(
        cells(args.two_way),
        pd.read_csv(args.results / "studies.csv"),
        pd.read_csv(digits) if digits.is_file() else None,
    ).round(5)
    write_table(args.results / OUT.name, table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
