"""The commands after a training on 5,000 pictures: their time now, and at an earlier revision.

The run keeps what it computed of its pictures. At `BEFORE` each command read and embedded all of
them again. Both revisions train a model of the same size on the same folder, for one epoch, since
the commands' time does not depend on how good the model is; then they take turns.
"""

import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import pandas as pd

from . import loop
from .clock import row

BEFORE = "bcfff80"
REPEATS = 3
TRAIN = "train --data ../pictures --preset best --epochs 1 --out run"
ON = "--run run --images ../pictures"
LABELS = f"--budget {loop.CHOSEN} --random {loop.RANDOM} --page label.html --out to_label.csv"
NOW = {
    "suggest": f"suggest run {LABELS}",
    "report": "report run labels.csv -o report.html",
    "predict": "predict run labels.csv -o predictions.csv",
}
THEN = {
    "suggest": f"suggest {ON} {LABELS}",
    "report": f"report {ON} --labels labels.csv --out report.html",
    "predict": f"predict {ON} --labels labels.csv --out predictions.csv",
}


def checkout(revision, folder) -> bool:
    """Put a revision of this repository into a folder; False where the history lacks it."""
    line = ["git", "archive", revision, "gmvae_lib"]
    packed = subprocess.run(line, capture_output=True, check=False)
    if packed.returncode == 0:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
    return packed.returncode == 0


def seconds(code, work, line) -> float:
    """Of one command by the library that lies in ``code``."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "gmvae_lib", *line.split()],
        cwd=work, env=os.environ | {"PYTHONPATH": str(code)}, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.perf_counter() - started


def measured(folder) -> tuple[dict, dict] | None:
    """{command: median seconds} now and before."""
    if not checkout(BEFORE, folder / "before"):
        return None
    truth = loop.draw(folder / "pictures")
    sides = [(Path.cwd(), folder / "now", NOW), (folder / "before", folder / "then", THEN)]
    taken = [{command: [] for command in lines} for *_, lines in sides]
    for code, work, _ in sides:
        work.mkdir()
        print(f"{work.name}: train, {seconds(code, work, TRAIN):.0f} s", flush=True)
    for _ in range(REPEATS):
        for command in NOW:
            for (code, work, lines), found in zip(sides, taken, strict=True):
                found[command].append(seconds(code, work, lines[command]))
                print(f"{work.name}: {command}, {found[command][-1]:.1f} s", flush=True)
                if command == "suggest":
                    table = pd.read_csv(work / "to_label.csv")
                    table.assign(label=truth[table["index"]]).to_csv(
                        work / "labels.csv", index=False
                    )
    return tuple({command: statistics.median(s) for command, s in each.items()} for each in taken)


def rows():
    with tempfile.TemporaryDirectory() as work:
        found = measured(Path(work))
    now, then = found or ({}, {})
    commands = " + ".join(NOW)
    return [
        row(
            f"{what} after a training on {loop.PICTURES:,} pictures",
            f"the same at revision {BEFORE}",
            sum(then[c] for c in parts) / sum(now[c] for c in parts) if found else None,
            seconds=sum(now[c] for c in parts) if found else None,
            baseline_seconds=sum(then[c] for c in parts) if found else None,
        )
        for what, parts in ((commands, tuple(NOW)), *((c, (c,)) for c in NOW))
    ]
