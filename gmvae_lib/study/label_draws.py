"""The label draws of the benchmark *EMNIST Letters, few labels*: fixed, hashed, to be remade.

The file ``results/label_draws.npz`` is the reference: numpy does not promise that a seed gives the
same permutation in every version. It holds, for the 100,000 letters of this book and for the
145,600 of EMNIST Letters in the order of torchvision (train, then test),

- ``<set>.random``, int32 [100, 728]: row d is the beginning of the permutation of seed d. A draw of
  n labels is its first n entries, so that the draws of one row are nested;
- ``<set>.chosen``, int32 [728]: the images that `choosing.suggest` asks for, given the published
  run, in its order; for the 100,000 letters only.

``python -m gmvae_lib.study.label_draws`` makes the arrays again and compares them with the file.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from gmvae_lib.data.storage import file_digest, read_npz, write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.programs import program

SETS = {"letters-100k": 100_000, "letters-official": 145_600}  # number of images
N_LABELS = (26, 73, 100, 146, 291, 728)
DRAWS = 100
FILE = Path("results/label_draws.npz")
SHA256 = "5b3091e0a755624f9d033173a7a28d19edf9b80a20d752bc5700013a4be95228"  # of the file


def random_draws(name: str) -> np.ndarray:
    """The random draws of a set: int32 [100, 728], each row for all numbers of labels.

    Examples
    --------
    >>> random_draws("letters-100k").shape
    (100, 728)
    """
    most = max(N_LABELS)
    return np.stack([draw_labelled(SETS[name], most, d) for d in range(DRAWS)]).astype(np.int32)


def chosen_images(run) -> np.ndarray:
    """The images that `suggest` asks for, given a run with its neighbours: int32 [728]."""
    from gmvae_lib.label.choosing import suggest

    table = suggest(run.posterior, max(N_LABELS), run.extra["neighbours"])
    return table["index"].to_numpy(np.int32)


def make(run) -> dict[str, np.ndarray]:
    """All arrays of the file, from the seeds and the published run."""
    return {
        **{f"{name}.random": random_draws(name) for name in SETS},
        "letters-100k.chosen": chosen_images(run),
    }


def require_digest(path, expected: str, what: str) -> None:
    """Refuse a file of draws that is missing, or is not the published one of this sha256."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; expected {what}")
    found = file_digest(path)
    if found != expected:
        raise InputError(
            f"{path}: found sha256 {found[:12]}, expected {expected[:12]}, the published draws"
        )


def read_draws(path=FILE, expected: str = SHA256) -> dict[str, np.ndarray]:
    """The arrays of the file.

    Raises
    ------
    InputError : no such file, or another than the published one.
    """
    require_digest(path, expected, "the benchmark's label draws")
    return read_npz(path, tuple(f"{name}.random" for name in SETS), optional=None)


def labelled_rows(draws: dict, name: str, kind: str, n_labels: int, draw: int = 0) -> np.ndarray:
    """Rows of the images that get a label: int [n_labels].

    kind : "random" or "chosen". draw : 0 to 99, of the random ones.
    """
    array = draws[f"{name}.{kind}"]
    return (array[draw] if kind == "random" else array)[:n_labels]


@program("label_draws")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.label_draws",
        description="Make the benchmark's label draws again, and compare or write them.",
    )
    parser.add_argument("--file", type=Path, default=FILE)
    parser.add_argument("--run", default="results/letters100k", help="the published run")
    parser.add_argument("--write", action="store_true", help="write the file, if there is none")
    args = parser.parse_args(argv)
    from gmvae_lib.vae.runs import load_run

    if args.write and args.file.exists():
        raise InputError(f"{args.file}: found a file, expected a new name: draws are fixed")
    made = make(load_run(args.run))
    if args.write:
        write_npz(args.file, made)
        print(f"{args.file}: sha256 {file_digest(args.file)}")
        return 0
    for name, stored in read_draws(args.file).items():
        same = np.mean(made[name] == stored)
        print(f"{name} {list(stored.shape)}: {same:.2%} of the entries made again")


if __name__ == "__main__":
    sys.exit(main())
