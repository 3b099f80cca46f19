"""Our own entries to the benchmark *EMNIST Letters, few labels*: predictions that `score` reads.

``python -m gmvae_lib.study.entries --out FOLDER`` writes one .npz a method, from the published run;
``--data IMAGES`` adds the methods on pixels. It resumes after an interruption. Every method gets
the labels of the draw and, where it uses them, all images without a label; its constants are those
of the other chapters.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, clone

from gmvae_lib.data.images import load_images
from gmvae_lib.data.storage import read_npz, write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import SoftDecoder
from gmvae_lib.label.neighbours import adjacency, neighbour_decoder
from gmvae_lib.study.label_draws import FILE, N_LABELS, SHA256, labelled_rows, read_draws
from gmvae_lib.study.networks import ConvolutionalNetwork
from gmvae_lib.study.programs import program
from gmvae_lib.study.rivals import Spreading

SET = "letters-100k"
PIXEL_COUNTS = (73, 291, 728)  # a network takes a minute or two a draw
ON_PIXELS = ("XGBoost on the labels alone", "convolutional net on the labels alone")


def methods_of(run) -> dict:
    """Methods on a run's posteriors and neighbours: name to (method, input [N, ...], draws)."""
    rows, neighbours = np.arange(len(run.labels)), run.extra["neighbours"]
    return {
        "this book, soft": (SoftDecoder(), run.posterior, 20),
        "this book, graph and neighbours": (neighbour_decoder(run.posterior, neighbours), rows, 20),
        "label spreading on this book's features": (Spreading(adjacency(neighbours)), rows, 20),
    }


def methods_on(pixels, model_config) -> dict:
    """Methods on float32 pixels [N, H*W], given the labelled images alone."""
    from gmvae_lib.study.baselines import gradient_boosting

    def network(n_labels, seed, n_threads):
        return ConvolutionalNetwork(model_config, seed=seed)

    return {
        name: (method, pixels, 3)
        for name, method in zip(ON_PIXELS, (gradient_boosting, network), strict=True)
    }


def file_name(method: str) -> str:
    """The file of a method's predictions.

    Examples
    --------
    >>> file_name("this book, soft")
    'this-book-soft.npz'
    """
    return "-".join("".join(c if c.isalnum() else " " for c in method).split()) + ".npz"


def predict(method, X, y, labelled, seed: int) -> np.ndarray:
    """What a method says of all images X, given the labels y of some: uint8 [N]."""
    made = clone(method) if isinstance(method, BaseEstimator) else method(len(labelled), seed, 1)
    return made.fit(X[labelled], y[labelled]).predict(X).astype(np.uint8)


def enter(name, method, X, y, draws, folder: Path, n_draws: int, n_labels=N_LABELS) -> Path:
    """Write a method's predictions for random and chosen labels; draws that are there stay."""
    path = folder / file_name(name)
    arrays = read_npz(path, ("draws",), optional=None) if path.is_file() else {}
    arrays["draws"] = np.array(SHA256)
    folder.mkdir(parents=True, exist_ok=True)
    for n in n_labels:
        for kind, wanted in (("chosen", 1), ("random", n_draws)):
            said = list(arrays.get(f"{kind}-{n}", ()))
            for seed in range(len(said), wanted):
                labelled = labelled_rows(draws, SET, kind, n, seed)
                said.append(predict(method, X, y, labelled, seed))
            if len(said) > len(arrays.get(f"{kind}-{n}", ())):
                arrays[f"{kind}-{n}"] = np.stack(said)
                write_npz(path, arrays)
                print(f"{path.name}: {kind}-{n}", flush=True)
    return path


@program("entries")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.entries", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--run", default="results/letters100k", help="the published run")
    parser.add_argument("--draws", default=FILE, help="the label draws")
    parser.add_argument("--out", type=Path, default=Path("runs/entries"), help="folder")
    parser.add_argument("--data", help="the 100,000 letters: then the methods on pixels, alone")
    args = parser.parse_args(argv)
    from gmvae_lib.vae.runs import load_run

    run, draws = load_run(args.run), read_draws(args.draws)
    methods, n_labels = methods_of(run), N_LABELS
    if args.data:
        images = load_images(args.data, transpose=True)
        if not np.array_equal(images.labels, run.labels):
            raise InputError(f"{args.data}: found other letters, expected those of {args.run}")
        methods, n_labels = methods_on(images.pixels(), run.model_config), PIXEL_COUNTS
    for name, (method, X, n_draws) in methods.items():
        enter(name, method, X, run.labels, draws, args.out, n_draws, n_labels)


if __name__ == "__main__":
    sys.exit(main())
