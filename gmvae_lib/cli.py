"""The command line: train, posterior, suggest, predict, sweep.

Nothing heavy is imported until a command runs, so that help comes at once.
"""

import argparse
import csv
import io
import logging
import os
import re
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from . import __version__
from .config import PRESETS, preset
from .errors import InputError

DECODERS = ("graph", "soft", "hard", "bayes", "neighbours")
BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143
IMAGES_HELP = (
    "an .npz with `images`, an IDX images file, a folder of pictures, or emnist-letters, mnist or "
    "rendered-letters"
)


def main(argv=None) -> int:
    """Run one command; return its exit code: 0 only when its output is complete."""
    try:
        with _heeding_sigterm():
            args = _parser().parse_args(argv)
            args.command(args)
        return 0
    except (InputError, OSError, FloatingPointError, MemoryError) as error:
        code, message = BAD_INPUT, f"error: {_one_line(error)}"
    except KeyboardInterrupt as error:
        code = TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
        message = "interrupted; a training goes on with --resume"
    # Here, where the error has let go of the work under way: its progress bar has ended its line.
    print(f"gmvae: {message}", file=sys.stderr)
    return code


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: to end like an interrupted command, tidily."""


@contextmanager
def _heeding_sigterm():
    """Let SIGTERM end the command as ctrl-C does, unless the caller has a use for it."""
    heeded = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )

    def terminate(number, frame):
        raise _Terminated

    if heeded:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if heeded:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


# ------------------------------------------------------------------ commands


def train(args) -> None:
    """Train without labels and write the run's folder."""
    changes = {n: getattr(args, n) for n in ("epochs", "seed", "learning_rate", "precision")}
    changes = {name: value for name, value in changes.items() if value is not None}
    images = _images(args.data, args)
    model_config, train_config = preset(args.preset, n_images=len(images), **changes)
    model_config = replace(
        model_config,
        image_shape=images.images.shape[1:],
        K=model_config.K if args.k is None else args.k,
    )
    if model_config.K > len(images):
        raise InputError(
            f"--k: found {model_config.K} components, expected at most {len(images)}, the number "
            f"of images in {args.data}"
        )
    device = _device(args.device)
    from .training import fit

    run = fit(
        images, model_config, train_config, args.out, args.resume, device=device, progress=True
    )
    print(f"{args.out}: trained for {len(run.history)} epochs on {len(images)} images")


def posterior(args) -> None:
    """Write q(c|x) of every image."""
    import numpy as np

    out = _output(args.out, args.images)
    q = _posterior(args)

    def write(path):
        with open(path, "wb") as handle:  # a handle, since savez adds .npz to a name
            np.savez(handle, q=q)

    _write(out, write)
    print(f"{out}: q of {len(q)} images over {q.shape[1]} components")


def suggest(args) -> None:
    """Write which images to label."""
    out = _output(args.out, args.images)
    _keep_labels(out)
    from .choosing import suggest as choose

    q, neighbours = _posterior_and_neighbours(args)
    table = choose(q, args.budget, neighbours if len(q) > 1 else None)
    _write(out, lambda path: table.to_csv(path, index=False))
    print(f"{out}: {len(table)} images to label, from {table['cluster'].nunique()} clusters")


def predict(args) -> None:
    """Write a label and a confidence for every image."""
    out = _output(args.out, args.images, args.labels)
    index, labels = read_labels(args.labels)
    import numpy as np
    import pandas as pd

    from .experiments import decoders
    from .smoothing import asking_decoders

    if args.decoder == "neighbours":
        q, neighbours = _posterior_and_neighbours(args)
        if len(q) < 2:
            raise InputError(
                f"{args.images}: found one image, expected more to ask (or --decoder soft)"
            )
        decoder, seen = asking_decoders(q, neighbours)[1]["neighbours"], np.arange(len(q))
    else:
        q = seen = _posterior(args)
        decoder = decoders(q)[args.decoder]
    for i, line in index.items():
        if i >= len(q):
            raise InputError(
                f"{args.labels}: line {line}: found index {i}, expected 0 to {len(q) - 1}, "
                f"as {args.images} holds {len(q)} images"
            )
    if len(set(labels)) == 1:
        _warn(f"{args.labels}: found only the label {labels[0]!r}; every image gets it")
    share = decoder.fit(seen[list(index)], np.array(labels)).predict_proba(seen)
    table = pd.DataFrame(
        {
            "index": np.arange(len(q)),
            "label": decoder.classes_[share.argmax(axis=1)],
            "confidence": share.max(axis=1).round(4),
        }
    )
    _write(out, lambda path: table.to_csv(path, index=False))
    print(
        f"{out}: {len(q)} images predicted from {len(labels)} labelled ones, "
        f"{len(decoder.classes_)} different labels"
    )


def sweep(args) -> None:
    """Measure accuracy against the number of labels, on data whose labels are known."""
    out = _output(args.out, args.data)
    images = _images(args.data, args)
    if images.labels is None:
        raise InputError(f"{args.data}: found no labels, expected true labels to evaluate against")
    import joblib

    from .baselines import pixel_baselines
    from .experiments import decoders, summarise
    from .experiments import sweep as run_sweep

    q = _posterior(args, images)
    features, methods = {"q": q}, {"q": decoders(q)}
    if args.pixels:
        features["pixels"], methods["pixels"] = images.pixels(), pixel_baselines()
    table = run_sweep(
        features,
        images.labels,
        methods,
        args.n_labels,
        range(args.seeds),
        out=out,
        n_jobs=joblib.cpu_count() if args.pixels else 1,  # the decoders take milliseconds
    )
    print(summarise(table).round(4).to_string(index=False))


# -------------------------------------------------------------------- labels


def read_labels(path) -> tuple[dict[int, int], list[str]]:
    """Read a CSV with the columns ``index`` and ``label``; others are ignored.

    Rows whose label is empty are left out, so that the file of `suggest` with a column of labels
    need not be complete.

    Returns
    -------
    (index, labels)
        index: {image: its line in the file}, in the order of the file; labels: their texts.

    Raises
    ------
    InputError
        One line that names the file and the line.
    """
    path = Path(path)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")  # as spreadsheets write it
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: found bytes, expected UTF-8 text") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    seen: dict[int, tuple[int, str]] = {}
    try:
        columns = reader.fieldnames or []
        if not {"index", "label"} <= set(columns):
            found = ", ".join(columns)[:100] or "nothing"
            raise InputError(f"{path}: line 1: found {found}, expected the columns index,label")
        for row in reader:
            if None in row:  # more fields than columns: a label with a bare comma, say
                found = f"{len(columns) + len(row[None])} fields, expected {len(columns)}"
                raise InputError(f"{path}: line {reader.line_num}: found {found}")
            label = (row["label"] or "").strip()
            if label:
                _add_label(seen, path, reader.line_num, (row["index"] or "").strip(), label)
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num + 1}: no CSV ({error})") from None
    if not seen:
        raise InputError(f"{path}: found no label, expected at least one row index,label")
    return (
        {index: line for index, (line, _) in seen.items()},
        [label for _, label in seen.values()],
    )


def _add_label(seen, path, line, index, label) -> None:
    if not re.fullmatch("[0-9]{1,18}", index):
        raise InputError(
            f"{path}: line {line}: found index {index[:40]!r}, expected a whole number from 0"
        )
    before, known = seen.setdefault(int(index), (line, label))
    if known != label:
        raise InputError(
            f"{path}: line {line}: found label {label[:40]!r} for image {int(index)}, expected "
            f"{known[:40]!r} as in line {before}"
        )


# ------------------------------------------------------------ input and output


def _images(source, args):
    from .images import load_images

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would print beside our line
    return load_images(source, data_dir=args.data_dir)


def _posterior(args, images=None):
    """q(c|x) of the images asked for, float32 [N, K]."""
    from .model import cluster_posterior
    from .runs import load_run

    run = load_run(args.run)
    images = _images(args.images, args) if images is None else images
    return cluster_posterior(run, images, device=_device(args.device), progress=True)


def _posterior_and_neighbours(args):
    """q(c|x) of the images asked for, and the rows of the images nearest to each, int [N, n]."""
    from .model import embed
    from .runs import load_run
    from .smoothing import NEIGHBOURS
    from .training import nearest

    run, device = load_run(args.run), _device(args.device)
    q, features = embed(run.model, _images(args.images, args), device=device, progress=True)
    return q, nearest(features, NEIGHBOURS, device=device)


def _device(name):
    """The device's name, once torch has shown that it can use it; None for the default."""
    import torch

    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:100]
        raise InputError(
            f"--device: found {name!r} ({reason}), expected one that torch can use here, like cpu"
        ) from None
    return name


def _output(out, *inputs) -> Path:
    """Refuse, before any work, a place where the output could not or should not be written."""
    out = Path(out)
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(f"--out: found {out}, expected a file in a folder that can be written to")
    for path in map(Path, inputs):
        if out.exists() and path.exists() and out.samefile(path):
            raise InputError(f"--out: found {out}, an input, expected another file")
    return out


def _keep_labels(out) -> None:
    """Do not write a list of images over one into which somebody has put labels."""
    if out.is_file():
        with open(out, "rb") as handle:
            header = handle.readline(1000)
        if b"label" in re.split(rb"\W+", header):
            raise InputError(f"--out: found {out}, which holds labels, expected another file")


def _warn(message) -> None:
    print(f"gmvae: warning: {message}", file=sys.stderr)


def _write(path, write) -> None:
    from .storage import write_atomically

    write_atomically(path, write)


def _one_line(error) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}; expected to be able to read or write it"
    if isinstance(error, MemoryError):
        return "memory: found too little for this, expected room for the images and the model"
    return " ".join(str(error).split()) or type(error).__name__


# ------------------------------------------------------------------- arguments


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument like every other bad input: one line, exit code 2."""

    def error(self, message):
        if "expected" not in message:
            message += f"; expected what {self.prog} --help shows"
        raise InputError(message)


def _whole(low, high=None):
    """Type of an argument: a whole number from low to high."""

    def parse(text):
        value = int(text) if re.fullmatch("-?[0-9]{1,18}", text) else None
        if value is None or value < low or (high is not None and value > high):
            limits = f"of at least {low}" if high is None else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number {limits}")
        return value

    return parse


def _positive(text):
    """Type of an argument: a number above 0."""
    value = float(text) if re.fullmatch(r"[0-9]*\.?[0-9]+(e-?[0-9]{1,3})?", text) else 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
    return value


def _counts(text):
    """Type of --n-labels: 73,291 -> [73, 291]."""
    return [_whole(1)(part.strip()) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gmvae",
        description="Find clusters in images without labels, then name them with a few labels.",
        epilog="The usual order: train, suggest, (label by hand), predict. "
        "`gmvae COMMAND --help` shows an example.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(function, example, notes=""):
        summary = function.__doc__
        sub = commands.add_parser(
            function.__name__,
            help=summary[0].lower() + summary[1:].rstrip("."),
            description=f"{summary} {notes}".strip(),
            epilog=f"example:\n  python -m gmvae_lib {function.__name__} {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=function)
        sub.add_argument("--data-dir", metavar="DIR", help="where emnist-letters and mnist lie")
        sub.add_argument("--device", help="cpu, cuda, ... (default: cuda where there is one)")
        return sub

    def on_images(sub):
        sub.add_argument("--run", required=True, help="folder that train wrote")
        sub.add_argument("--images", required=True, metavar="PATH", help=IMAGES_HELP)

    sub = command(
        train,
        "--data rendered-letters --preset quick --out runs/letters",
        "A killed training goes on with --resume.",
    )
    sub.add_argument("--data", required=True, metavar="PATH", help=IMAGES_HELP)
    sub.add_argument("--preset", choices=PRESETS, default="best", help="default: best")
    sub.add_argument("--out", required=True, metavar="RUN", help="folder of the run, new")
    sub.add_argument("--resume", action="store_true", help="go on from the checkpoint in RUN")
    sub.add_argument("--epochs", type=_whole(1), help="instead of the preset's")
    sub.add_argument("--seed", type=_whole(0, 2**31 - 1), help="of all randomness (default: 0)")
    sub.add_argument("--k", type=_whole(2), metavar="K", help="components (default: 100)")
    sub.add_argument("--learning-rate", type=_positive, help="instead of the preset's")
    sub.add_argument("--precision", choices=("auto", "bf16", "float32"), help="default: auto")

    sub = command(
        posterior,
        "--run runs/letters --images letters.npz --out q.npz",
        "The file holds float32 `q` [N, K], in the order of the images.",
    )
    on_images(sub)
    sub.add_argument("--out", required=True, metavar="NPZ")

    sub = command(
        suggest,
        "--run runs/letters --images letters.npz --budget 100 --out to_label.csv",
        "Columns: index (of the image, from 0), cluster, reason.",
    )
    on_images(sub)
    sub.add_argument("--budget", type=_whole(1), default=100, help="images (default: 100)")
    sub.add_argument("--out", required=True, metavar="CSV")

    sub = command(
        predict,
        "--run runs/letters --images letters.npz --labels labels.csv --out predictions.csv",
        "Columns: index, label, confidence.\n"
        "Labelled images are predicted like the others: their rows hold the decoder's answer, not\n"
        "the label given. The confidence is the label's share of the decoder's scores.\n"
        "The decoder neighbours also asks the images that look alike, which takes time that grows\n"
        "with the square of their number; graph is the best of the others.",
    )
    on_images(sub)
    sub.add_argument(
        "--labels",
        required=True,
        metavar="CSV",
        help="columns index (from 0) and label (any text; rows where it is empty are left out)",
    )
    sub.add_argument(
        "--decoder", choices=DECODERS, default="neighbours", help="default: neighbours"
    )
    sub.add_argument("--out", required=True, metavar="CSV")

    sub = command(
        sweep,
        "--run runs/letters --data letters.npz --n-labels 73,291 --seeds 5 --out sweep.csv",
        "A killed sweep goes on when repeated.",
    )
    sub.add_argument("--run", required=True, help="folder that train wrote")
    sub.add_argument("--data", required=True, metavar="PATH", help=f"with labels: {IMAGES_HELP}")
    sub.add_argument("--n-labels", type=_counts, required=True, metavar="N,N,...")
    sub.add_argument("--seeds", type=_whole(1, 1000), default=5, help="draws (default: 5)")
    sub.add_argument("--pixels", action="store_true", help="add the classifiers on pixels (slow)")
    sub.add_argument("--out", required=True, metavar="CSV")
    return parser
