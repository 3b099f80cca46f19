"""Results of `benchmarks.gpu` into the repository: ``python -m benchmarks.publish FOLDER [...]``.

Writes results/gpu.json, the measures of all folders (later ones win; of the preset paper, the first
one's and the seeds of all), and from each folder that holds posteriors of the preset paper a run:
results/article-public of the seed whose weights are there too, and results/article-public-N of a
further seed N, with posterior and history. Of the weights the first run holds the prior and the
decoder, from which it can be sampled: all of them would take 44 MB.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load as from_bytes

from gmvae_lib.data.idx import load_idx
from gmvae_lib.data.storage import read_npz, write_atomically
from gmvae_lib.label.neighbours import neighbour_decoder
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.studies import accuracy_with
from gmvae_lib.vae.config import GMVAEConfig, TrainConfig
from gmvae_lib.vae.runs import Run, save_run, unpack_posterior

RESULTS = Path("results")
PUBLISHED = "article-public"
KEPT = ("prior_", "decoder.")  # of the weights


def merged(folders) -> dict:
    """Measures of several calls on one kind of machine, by part."""
    found = {"calls": [], "parts": {}}
    for folder in folders:
        if not (folder / "measures.json").is_file():
            continue
        measures = json.loads((folder / "measures.json").read_text())
        parts = measures["parts"]
        about = measures["environment"] | {"parts": sorted(parts), "data": measures["data"]}
        found["calls"].append(about)
        seeds = {
            seed: run | {"card": about.get("card")}
            for seed, run in parts.get("paper", {}).get("runs", {}).items()
        }
        if seeds and "paper" in found["parts"]:  # its times are those of the first call
            found["parts"]["paper"]["runs"] |= seeds
            parts = {name: part for name, part in parts.items() if name != "paper"}
        elif seeds:
            parts["paper"]["runs"] = seeds
        found["parts"] |= parts
    return found


def article_run(folder, data) -> Run:
    """The run of the seed whose weights were kept, without its encoder and heads.

    Where a folder has no weights, of its first seed, without any.
    """
    measures = json.loads((folder / "measures.json").read_text())
    paper = measures["parts"]["paper"]
    pieces = sorted(folder.glob("weights.*.part"), key=lambda path: int(path.suffixes[0][1:]))
    seed = str(paper["weights_of"]) if pieces else min(paper["runs"])
    about = paper["runs"][seed]
    columns = read_npz(folder / "posterior.npz", ())
    own = {k.partition(".")[2]: v for k, v in columns.items() if k.startswith(f"{seed}.")}
    state = from_bytes(b"".join(path.read_bytes() for path in pieces)) if pieces else {}
    curves = pd.read_csv(folder / "curves.csv").query(f"seed == {seed}").drop(columns="seed")
    images, _ = load_idx(Path(data))
    provenance = {
        "data": measures["data"] | {"name": "emnist-letters-100k", "source": Path(data).name},
        "training": measures["environment"]
        | {
            "how": "python -m benchmarks.gpu --only paper, by gmvae_lib.vae.training in CUDA "
            "graphs with the compiled objective; purity and accuracies in history.csv were "
            "computed with labels after an epoch and read by nobody during the training",
            "weights": "prior and decoder only; large matrices rounded to float16"
            if pieces
            else "not kept",
        },
    }
    return Run(
        GMVAEConfig(**about["model"]),
        TrainConfig(**about["training"]),
        curves.to_dict("records"),
        provenance,
        {name: np.asarray(value) for name, value in state.items() if name.startswith(KEPT)},
        unpack_posterior(own),
        images.labels,
        images.class_names,
    )


def named_by_neighbours(folder, y, n_labels=(73, 100, 291, 728), draws=20) -> dict:
    """Accuracy of graph and neighbours on large.npz: mean and standard deviation over draws."""
    columns = read_npz(folder / "large.npz", ("neighbours",))
    decoder = neighbour_decoder(unpack_posterior(columns), columns["neighbours"])
    found = {}
    for n in n_labels:
        rows = (draw_labelled(len(y), n, seed) for seed in range(draws))
        right = [accuracy_with(decoder, np.arange(len(y)), y, labelled) for labelled in rows]
        found[str(n)] = {"mean": np.mean(right), "sd": np.std(right, ddof=1), "draws": draws}
        print(f"large, {n} labels: {found[str(n)]}", flush=True)
    return found


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.publish", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--data", required=True, help="the IDX file of images, labels beside it")
    args = parser.parse_args(argv)
    found = merged(args.folders)
    for folder in args.folders:
        if (folder / "large.npz").is_file():
            y = load_idx(Path(args.data))[0].labels
            found["parts"]["large"]["graph and neighbours"] = named_by_neighbours(folder, y)
    text = json.dumps(found, indent=1) + "\n"
    write_atomically(RESULTS / "gpu.json", lambda path: path.write_text(text))
    for folder in args.folders:
        if (folder / "posterior.npz").is_file():
            run = article_run(folder, args.data)
            name = PUBLISHED if run.state else f"{PUBLISHED}-{run.train_config.seed}"
            print(save_run(run, RESULTS / name), len(run.history), "epochs")


if __name__ == "__main__":
    main()
