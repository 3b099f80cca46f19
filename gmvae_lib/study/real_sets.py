"""Real pictures that nothing here was tuned for: the protocol, fixed before any label was read.

``python -m gmvae_lib.study.real_sets --draws FOLDER...`` makes the draws of the labels again for
folders of class folders and compares them with results/real_sets_draws.json, to which it adds the
folders that are not in it. The protocol is on the page book/real_sets.md.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from gmvae_lib.data.folders import classes_of, find_files
from gmvae_lib.data.identity import digest_of
from gmvae_lib.data.storage import array_digest, write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.programs import program

SETS = ("steel", "cells", "cyrillic", "flowers", "trash", "cifar10")
MOST = 5_000  # pictures of a set; of more, so many drawn at random
PER_CLASS = (1, 2, 4, 10)  # labels a class on average
DRAWS = 20  # of the labels
SLOW_PER_CLASS, SLOW_DRAWS = (4, 10), 3  # of XGBoost and the convolutional network
SIDE = 32  # pixels, where the model reads pixels
FEATURES = "efficientnet-lite0"
FEATURE_SIDE = 128  # pixels, where the network reads pictures
BANK = 2  # views of each picture before the network
PER_COMPONENT, FEWEST, LARGEST = 50, 20, 100  # pictures a component; limits of K
DECODER = "neighbours"  # as at commit cce820a
OUT = Path("results/real_sets_draws.json")


def components(n: int) -> int:
    """K for n pictures: one component for each fifty, at least 20 and at most 100; no label.

    Examples
    --------
    >>> [components(n) for n in (600, 1800, 5000, 100_000)]
    [20, 36, 100, 100]
    """
    return max(FEWEST, min(LARGEST, n // PER_COMPONENT))


def rows_used(n: int) -> np.ndarray:
    """Which of n pictures, in the order of their sorted paths, are used: int, sorted.

    Examples
    --------
    >>> len(rows_used(1800)), len(rows_used(24_247))
    (1800, 5000)
    """
    return np.sort(draw_labelled(n, min(n, MOST), 0))


def labelled_rows(n: int, n_classes: int) -> np.ndarray:
    """The random draws of labels among n pictures in use: int32 [DRAWS, most labels of a draw].

    A draw of fewer labels is the beginning of a row, so that the draws of one row are nested.

    Examples
    --------
    >>> labelled_rows(1800, 6).shape
    (20, 60)
    """
    most = max(PER_CLASS) * n_classes
    if most >= n:
        raise InputError(f"pictures: found {n}, expected more than {most}, the labels of a draw")
    return np.stack([draw_labelled(n, most, seed) for seed in range(DRAWS)]).astype(np.int32)


def described(folder) -> dict:
    """What is fixed of a folder of class folders before any label is read.

    Returns
    -------
    dict
        pictures and classes in the folder; used; sha256 of the paths of the pictures in use, one a
        line, and of the draws.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one of class folders")
    paths = find_files(folder).pictures
    n_classes = len({name for name in classes_of(paths)[0] if name})
    if n_classes < 2:
        raise InputError(f"{folder}: found {n_classes} class folders, expected at least 2")
    used = rows_used(len(paths))
    text = "\n".join(paths[row] for row in used)
    return {
        "pictures": len(paths),
        "classes": n_classes,
        "used": len(used),
        "paths": digest_of(text.encode(errors="surrogateescape")),
        "draws": array_digest(labelled_rows(len(used), n_classes)),
    }


@program("real_sets")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.real_sets", description="Make the draws of labels again."
    )
    parser.add_argument("--draws", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    stored = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    differ = 0
    for folder in args.draws:
        now = described(folder)
        said = "as in" if stored.get(folder.name) == now else "NOT as in"
        said = said if folder.name in stored else "added to"
        differ += stored.setdefault(folder.name, now) != now
        print(f"{folder.name}: {said} {args.out}")
    text = json.dumps(stored, indent=1) + "\n"
    write_atomically(args.out, lambda path: path.write_text(text, encoding="utf-8"))
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
