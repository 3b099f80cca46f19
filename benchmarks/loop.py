"""The whole loop as a stranger would go it: ``python -m benchmarks.loop``.

Draws a folder of 5,000 letters as PNGs, then calls the command line only: train, suggest, (label:
the drawn letters play the person), predict, report. Writes results/loop.json: accuracy on the
pictures without a label, what the report expected without knowing the truth, and minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from gmvae_lib.data.images import rendered_letters
from gmvae_lib.data.labels import AT_RANDOM, read_labels
from gmvae_lib.data.storage import write_atomically
from gmvae_lib.report.findings import measured
from gmvae_lib.vae.runs import environment

PICTURES, SEED = 5_000, 1  # the presets were tried on other seeds
CHOSEN, RANDOM = 100, 50
TRAINING = "--preset best"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/loop.json"))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="an empty folder to work in")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        row = loop(args.keep or Path(temporary))
    print(json.dumps(row, indent=1))
    write_atomically(args.out, lambda p: p.write_text(json.dumps(row, indent=1) + "\n"))


def loop(folder: Path) -> dict:
    """Go it in ``folder``; return what came of it."""
    truth = draw(folder / "pictures")
    minutes = {}

    def gmvae(command, rest):
        started = time.perf_counter()
        line = [sys.executable, "-m", "gmvae_lib", command, *rest.split()]
        done = subprocess.run(
            line, cwd=folder, env=os.environ | path, check=True, stdout=subprocess.PIPE, text=True
        )
        minutes[command] = minutes.get(command, 0) + (time.perf_counter() - started) / 60
        print(done.stdout, end="", flush=True)
        return done.stdout.strip()

    path = {"PYTHONPATH": os.getcwd()}
    on = "--run run --images pictures"
    gmvae("train", f"--data pictures {TRAINING} --out run")
    gmvae(
        "suggest",
        f"{on} --budget {CHOSEN} --random {RANDOM} --page label.html --out to_label.csv",
    )
    table = pd.read_csv(folder / "to_label.csv")
    table["label"] = truth[table["index"]]
    table.to_csv(folder / "labels.csv", index=False)
    chosen = table[~table["reason"].str.startswith(AT_RANDOM)]
    chosen.to_csv(folder / "chosen.csv", index=False)
    gmvae("predict", f"{on} --labels chosen.csv --out predictions.csv")
    said = gmvae("report", f"{on} --labels labels.csv --out report.html")
    said_without_random = gmvae("report", f"{on} --labels chosen.csv --out report_chosen.html")
    gmvae("predict", f"{on} --labels labels.csv --out predictions_all.csv")
    return {
        "what": f"{PICTURES:,} pictures of letters: train ({TRAINING}), suggest, predict, report",
        "pictures": PICTURES,
        "chosen": len(read_labels(folder / "chosen.csv").entries),
        "random": RANDOM,
        "accuracy": accuracy(folder, "predictions.csv", truth, chosen["index"]),
        "accuracy_with_random": accuracy(folder, "predictions_all.csv", truth, table["index"]),
        "report_said": said.partition(": ")[2],
        "report_said_without_random": said_without_random.partition(": ")[2],
        "report_bytes": (folder / "report.html").stat().st_size,
        "label_page_bytes": (folder / "label.html").stat().st_size,
        "minutes": {**minutes, "all": sum(minutes.values())},
        **environment(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())),
    }


def draw(folder: Path) -> np.ndarray:
    """Write the pictures, black on white as a scanner would; return their letters."""
    folder.mkdir(parents=True)
    letters = rendered_letters(PICTURES, SEED)
    for i, letter in enumerate(letters.images):
        Image.fromarray(255 - letter).save(folder / f"{i:04d}.png")
    return np.array(letters.class_names)[letters.labels]


def accuracy(folder, name, truth, labelled) -> dict:
    """Share of right names among the pictures without a label, with a 95 % interval."""
    said = pd.read_csv(folder / name, keep_default_na=False)["label"].to_numpy()
    rest = np.setdiff1d(np.arange(len(truth)), labelled)
    return asdict(measured(said[rest] == truth[rest], "against the truth"))


if __name__ == "__main__":
    main()
