"""The article's model, trained as the article says: its decoders, its samples, its corrections.

``python -m gmvae_lib.study.article`` measures the decoders on q of the published runs of the
article's public architecture (results/article-public of seed 0, results/article-public-N of further
seeds) and of every run named with ``--also``, and writes results/article_sweep.csv; then it counts
what soft corrects and spoils on the run of seed 0 and on the book's own, and writes
results/corrections.csv. Both resume from ``--work``.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import array_digest, read_npz, write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import decoders
from gmvae_lib.study.disagreement import count_disagreements
from gmvae_lib.study.experiments import draw_labelled, label_counts, sweep
from gmvae_lib.study.programs import program
from gmvae_lib.vae.runs import unpack_posterior

PUBLIC = "article-public"
EXACT = "public, seed "  # in names of models: the article's exact architecture
BOOK = "letters100k"
SWEEP = "article_sweep.csv"
CORRECTIONS = "corrections.csv"
DRAWS = 100  # of the labels; seeds from 0, as in sweep.csv
DRAWS_ALSO = 40
STEPS = ("sweep", "corrections")
COUNTS_CORRECTED = (73, 291)


def public_runs(results) -> dict[str, Path]:
    """The published trainings of the article's exact architecture: folders by name of the model."""
    folders = {0: Path(results) / PUBLIC}
    for path in Path(results).glob(f"{PUBLIC}-*"):
        folders[int(path.name.removeprefix(f"{PUBLIC}-"))] = path
    return {f"{EXACT}{seed}": folders[seed] for seed in sorted(folders)}


class Training(NamedTuple):
    """What a published training holds that need not hold its weights."""

    history: list  # of dicts, one an epoch
    made: dict  # how, when and on what
    posterior: np.ndarray  # q(c|x), [N, K]


def read_training(path) -> Training:
    """A training of `public_runs`."""
    q, _ = posterior_of(path)
    made = json.loads((Path(path) / "provenance.json").read_text())["training"]
    return Training(pd.read_csv(Path(path) / "history.csv").to_dict("records"), made, q)


def exact(table):
    """The rows of article_sweep.csv that belong to the article's exact architecture."""
    return table[table["model"].str.startswith(EXACT)]


def earlier(table):
    """The other rows of article_sweep.csv: the earlier form with a further ReLU."""
    return table[~table["model"].str.startswith(EXACT)]


def sampler(run):
    """The model of a run whose weights hold the prior and the decoder only, for `GMVAE.sample`.

    Its encoder has random weights: it can draw images, and knows nothing of given ones.

    Raises
    ------
    InputError
        If weights of the prior or the decoder are missing or of another size.
    """
    import torch

    from gmvae_lib.vae.model import GMVAE

    with torch.random.fork_rng(devices=[]):
        model = GMVAE(run.model_config)
    own = model.state_dict()
    for name, value in own.items():
        if name.startswith(("prior", "decoder")):
            if name not in run.state or run.state[name].shape != tuple(value.shape):
                raise InputError(f"{run.path}: found no weights {name} that fit, expected them")
            own[name] = torch.from_numpy(np.array(run.state[name], dtype=np.float32))
    model.load_state_dict(own)
    return model.eval()


def posterior_of(path):
    """(q [N, K], labels [N]) of a run's folder, which need not hold its weights."""
    if not Path(path).is_dir():
        raise InputError(f"{path}: not found, expected the folder of a run")
    columns = read_npz(Path(path) / "posterior.npz", ("labels",))
    return unpack_posterior(columns), columns["labels"].astype(np.int64)


def sweep_models(models, work, draws, n_jobs=None, progress=True) -> pd.DataFrame:
    """Accuracy of the decoders on q: method, model, n_labels, seed, accuracy.

    models : dict of name to (q, y). draws : dict of name to the number of draws of the labels.
    work : folder of one CSV a model, by which a repeated call resumes.
    """
    Path(work).mkdir(parents=True, exist_ok=True)
    tables = []
    for name, (q, y) in models.items():
        table = sweep(
            {"q": q},
            y,
            {"q": decoders(q)},
            sorted({*label_counts(len(y)), *(n for n in (100,) if n < len(y))}),
            range(draws[name]),
            out=Path(work) / f"{name.replace(' ', '-')}.csv",
            n_jobs=n_jobs,
            progress=progress,
        )
        tables.append(table.assign(model=name))
    found = pd.concat(tables, ignore_index=True)
    return found[["method", "model", "n_labels", "seed", "accuracy"]]


def corrections(models, n_labels=COUNTS_CORRECTED, draws=DRAWS, progress=True) -> pd.DataFrame:
    """`count_disagreements` for each model, number of labels and draw: a row each."""
    rows = []
    cells = [(name, n, seed) for name in models for n in n_labels for seed in range(draws)]
    for name, n, seed in tqdm(cells, desc="corrections", disable=not progress):
        q, y = models[name]
        counts = count_disagreements(q, y, draw_labelled(len(y), n, seed))
        rows.append({"model": name, "n_labels": n, "seed": seed, **counts})
    return pd.DataFrame(rows)


@program("article")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.article",
        description=__doc__.split("\n\n")[0],
        epilog="example: python -m gmvae_lib.study.article --also 'ReLU, seed 0=RUN'",
    )
    parser.add_argument(
        "--also", nargs="*", default=[], metavar="NAME=FOLDER", help="further runs for the sweep"
    )
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--work", type=Path, default=Path("runs/article"))
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args(argv)
    if "sweep" in args.steps:
        write_sweep(args)
    if "corrections" in args.steps:
        write_corrections(args)


def write_sweep(args):
    """article_sweep.csv, and beside it how each of its models was made."""
    further = dict(pair.partition("=")[::2] for pair in args.also)
    own = public_runs(args.results)
    paths = own | {name: Path(path) for name, path in further.items()}
    models = {name: posterior_of(path) for name, path in paths.items()}
    draws = dict.fromkeys(further, min(args.draws, DRAWS_ALSO)) | dict.fromkeys(own, args.draws)
    found = sweep_models(models, args.work, draws, args.jobs, not args.quiet).round(5)
    origins = {
        name: {
            "training": json.loads((path / "provenance.json").read_text())["training"],
            "posterior": array_digest(models[name][0]),
        }
        for name, path in paths.items()
    }
    out = args.results / SWEEP
    made = out.with_name(f"{SWEEP}.provenance.json")
    if out.exists():  # keep the rows of runs that are not at hand this time
        before = pd.read_csv(out)
        found = pd.concat([found, before[~before["model"].isin(models)]], ignore_index=True)
    if made.exists():
        origins = json.loads(made.read_text()) | origins
    write_table(out, found)
    write_atomically(made, lambda p: p.write_text(json.dumps(origins, indent=1) + "\n"))
    shown = found[found["n_labels"].isin((73, 291, 728))]
    shown = shown.groupby(["model", "method", "n_labels"])["accuracy"].agg(["mean", "std", "count"])
    print(shown.round(4).to_string())


def write_corrections(args):
    """corrections.csv, of the article's model and of the book's published one."""
    paths = {"article": args.results / PUBLIC, "book": args.results / BOOK}
    both = {name: posterior_of(path) for name, path in paths.items()}
    counted = corrections(both, draws=args.draws, progress=not args.quiet)
    write_table(args.results / CORRECTIONS, counted)
    print(counted.groupby(["model", "n_labels"]).mean().drop(columns="seed").round(1).to_string())


if __name__ == "__main__":
    sys.exit(main())
