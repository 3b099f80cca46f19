"""How hard the 100,000 letters are: a network given 80 % of their labels, tested on the others.

``python -m gmvae_lib.study.difficulty --data IMAGES`` trains the encoder of the preset `best` with
an output for each letter, on random views of 80,000 letters, for 10 epochs at a fixed schedule, and
writes results/difficulty.csv, one row a seed. The split is that of the study `held-out`. It says
what a percentage on these letters is worth beside one on the official split of EMNIST Letters.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.outputs import write_table
from gmvae_lib.study.metrics import accuracy
from gmvae_lib.study.networks import BATCH, ConvolutionalNetwork
from gmvae_lib.study.programs import labelled_images, program
from gmvae_lib.study.studies import DATA, split
from gmvae_lib.vae.config import preset

EPOCHS, SEEDS = 10, range(3)
OUT = Path("results/difficulty.csv")


def supervised(images, seed: int, epochs: int = EPOCHS) -> dict:
    """Accuracy on held-out images of a network trained on the labels of the others: one row.

    images : ImageSet with labels and `class_names`. ``without_i_l`` counts i for l, and l for i, as
    right: print and handwriting make them alike.
    """
    rows, rest = split(len(images))
    pixels, y = images.pixels(), images.labels
    network = ConvolutionalNetwork(
        preset("best")[0], steps=epochs * len(rows) // BATCH, seed=seed
    ).fit(pixels[rows], y[rows])
    named = network.predict(pixels[rest])
    alike = [images.class_names.index(letter) for letter in "il"]
    return {
        "seed": seed,
        "epochs": epochs,
        "n_train": len(rows),
        "n_test": len(rest),
        "accuracy": round(accuracy(y[rest], named), 6),
        "without_i_l": round(
            accuracy(*(np.where(np.isin(a, alike), alike[0], a) for a in (y[rest], named))), 6
        ),
        "data": images.provenance["name"],
    }


def study(images, seeds, out: Path) -> pd.DataFrame:
    """The rows of all seeds; those in ``out`` are kept."""
    table = pd.read_csv(out) if out.is_file() else pd.DataFrame({"seed": []})
    for seed in seeds:
        if seed not in set(table["seed"]):
            table = pd.concat([table, pd.DataFrame([supervised(images, seed)])]).astype(
                {"seed": int}
            )
            write_table(out, table)
            print(table.iloc[-1].to_dict(), flush=True)
    return table


@program("difficulty")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.difficulty", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--data", default=DATA, help="letters (default: %(default)s)")
    parser.add_argument("--data-dir", help="folder that holds EMNIST, for torchvision")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args(argv)
    images = labelled_images(args.data, args.data_dir, what="to train on")
    print(study(images, args.seeds, args.out).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main())
