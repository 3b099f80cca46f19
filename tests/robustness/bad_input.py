"""Every kind of bad input, and what the command line and the estimator make of it.

test_bad_input.py runs every case. `python tests/robustness/bad_input.py` prints the messages of all
that do not end as they should, and with `--out` writes those of all cases to a CSV.

In a case's line, {f} is a folder of its own, {run} a finished run of 28 x 28 pictures that keeps
nothing of its images, {good} 60 such pictures with labels, {bare} the same without, {pics} the same
as a folder and {own} a run trained on that.
"""

import argparse
import copy
import io
import re
import shlex
import shutil
import sys
import tempfile
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import bad_cases
import bad_cases_loop
import numpy as np
import pandas as pd
import torch
from bad_files import REFUSED, RIGHT, WARNED
from PIL import Image

from gmvae_lib import (
    GMVAE,
    GMVAEClassifier,
    GMVAEConfig,
    InputError,
    Run,
    TrainConfig,
    cli,
    rendered_letters,
    save_run,
)
from gmvae_lib import __main__ as commands

N = 60
CASES = bad_cases.CASES + bad_cases_loop.CASES


def prepare(work):
    """Put the good files into a folder: pictures with and without labels, and two runs."""
    letters = rendered_letters(n=N, seed=0)
    np.savez(work / "letters.npz", images=letters.images, labels=letters.labels)
    np.savez(work / "bare.npz", images=letters.images)
    torch.manual_seed(0)
    config = GMVAEConfig(K=6, z_dim=2, encoder_hidden=(8,), decoder_hidden=(8,), posterior="shared")
    state = {name: value.numpy() for name, value in GMVAE(config).state_dict().items()}
    history = [{"epoch": 1, "seconds": 0.1, "loss": 1.5}]
    provenance = {"data": dict(letters.provenance)}
    save_run(Run(config, TrainConfig(), history, provenance, state), work / "run")
    (work / "pictures").mkdir()
    for i, image in enumerate(letters.images):
        Image.fromarray(image).save(work / "pictures" / f"{i:02}.png")
    GMVAEClassifier(4, epochs=1).fit(work / "pictures").save(work / "own")


def observe(case, work) -> dict:
    """Run a case; say what came of it and whether that is what should."""
    folder = Path(tempfile.mkdtemp(dir=work))
    case.make(folder)
    before = snapshot(work)
    code, lines = (_called if case.call else _ran)(case, folder, work)
    same, written = snapshot(work) == before, (folder / "out").is_file()
    shutil.rmtree(folder)
    notes = [line for line in lines if line.startswith("gmvae: note: ")]
    lines = lines[len(notes) :]
    warned = all(line.startswith("gmvae: warning: ") for line in lines)
    message = lines[-1] if lines and (warned or len(lines) == 1) else ""
    if code == cli.BAD_INPUT and same and message.startswith("gmvae: error: "):
        outcome = REFUSED if "expected" in message else "refused without saying what is expected"
    elif code == 0 and written and not lines:
        outcome = RIGHT
    elif code == 0 and written and message.startswith("gmvae: warning: "):
        outcome = WARNED
    else:
        outcome = f"exit code {code}, {'nothing' if same else 'something'} written, {lines}"
    as_it_should = outcome == case.outcome and case.named in "\n".join([*notes, *lines])
    message = message.replace(str(folder), "FOLDER").replace(str(work), "WORK")
    return {"what": case.what, "outcome": outcome, "as_it_should": as_it_should,
            "message": message.removeprefix("gmvae: ")}  # fmt: skip


def _ran(case, folder, work) -> tuple:
    """Exit code of the case's line, and what it printed on stderr but for progress bars."""
    names = {"f": folder, "pics": work / "pictures", "good": work / "letters.npz"}
    names |= {name: work / name for name in ("run", "own")} | {"bare": work / "bare.npz"}
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        try:
            code = commands.main([part.format(**names) for part in shlex.split(case.line)])
        except Exception as error:  # what would be a traceback
            code = repr(error)
    lines = re.split("[\r\n]", said.getvalue())
    return code, [line for line in lines if line.strip() and not re.search(r"%\||it/s", line)]


def _called(case, folder, work) -> tuple:
    """The same of a call, as if the command line had made it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            case.call(folder, copy.deepcopy(fitted(work)))
        except InputError as error:
            return cli.BAD_INPUT, f"gmvae: error: {error}".split("\n")
        except Exception as error:
            return repr(error), []
    return 0, []


def fitted(work, kept={}) -> GMVAEClassifier:  # noqa: B006
    """The estimator that was fitted to the folder of pictures."""
    if work not in kept:
        kept[work] = GMVAEClassifier.load(work / "own")
    return kept[work]


def snapshot(folder):
    return {path: path.stat().st_mtime_ns if path.is_file() else 0 for path in folder.rglob("*")}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="CSV for all cases")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bad_input.") as work:
        prepare(Path(work))
        table = pd.DataFrame([observe(case, Path(work)) for case in CASES])
    if args.out:
        table.to_csv(args.out, index=False)
    wrong = table[~table["as_it_should"]]
    print(table["outcome"].value_counts().to_string())
    if len(wrong):
        print(wrong.to_string(max_colwidth=400))
    print(f"{len(table)} cases, {len(wrong)} not as they should end")
    return int(len(wrong) > 0)


if __name__ == "__main__":
    sys.exit(main())
