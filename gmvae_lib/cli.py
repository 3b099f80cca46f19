"""The command line: train, posterior, suggest, predict, report, sweep.

Nothing heavy is imported until a command runs, so that help comes at once.
"""

import argparse
import logging
import os
import re
import signal
import sys
import threading
import zipfile
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

from gmvae_lib import __version__
from gmvae_lib.data.labels import check_indices, guard, known_labels, read_marked_labels
from gmvae_lib.errors import InputError, one_line
from gmvae_lib.vae.config import PRESETS, preset

DECODERS = ("graph", "soft", "hard", "bayes", "neighbours")
BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143
IMAGES_HELP = (
    "an .npz with `images`, an IDX images file, a folder of pictures, an .npy file or a folder of "
    "them (which stay on disk), or emnist-letters, mnist or rendered-letters"
)


def main(argv=None, more=()) -> int:
    """Run one command; return its exit code: 0 only when its output is complete.

    more : functions that add further commands, given the function that adds one.
    """
    try:
        with _heeding_sigterm():
            args = _parser(more).parse_args(argv)
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
    images = _images(args.data, args, {"size": args.size, "colour": args.colour})
    model_config, train_config = preset(
        args.preset, n_images=len(images), image_shape=images.images.shape[1:], **changes
    )
    if args.k is not None:
        model_config = replace(model_config, K=args.k)
    if model_config.K > len(images):
        raise InputError(
            f"--k: found {model_config.K} components, expected at most {len(images)}, the number "
            f"of images in {args.data}"
        )
    device = _device(args.device)
    from gmvae_lib.vae.distributed import processes
    from gmvae_lib.vae.training import fit

    with processes(device) as share:
        run = fit(
            images, model_config, train_config, args.out, args.resume, device=device, progress=True
        )
    if share.first:
        print(f"{args.out}: trained for {len(run.history)} epochs on {len(images)} images")


def posterior(args) -> None:
    """Write q(c|x) of every image."""
    import numpy as np

    out = output_path(args.out, args.images)
    from gmvae_lib.vae.model import embed_batches

    run, images = run_and_images(args)
    if not len(images):
        raise InputError(f"{args.images}: found no image, expected at least one")
    shape = (len(images), run.config.K)
    batches = embed_batches(run.model, images, device=_device(args.device), progress=True)

    def write(path):
        # one batch at a time: neither the images nor q need fit into memory
        with ExitStack() as stack:
            stack.enter_context(closing(batches))  # whose progress bar ends before an error's line
            if out.suffix == ".npy":
                handle = stack.enter_context(open(path, "wb"))
            else:
                archive = stack.enter_context(zipfile.ZipFile(path, "w"))
                handle = stack.enter_context(archive.open("q.npy", "w", force_zip64=True))
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handle, header)
            for q, _ in batches:
                handle.write(q.astype("<f4").tobytes())

    _write(out, write)
    print(f"{out}: q of {shape[0]} images over {shape[1]} components")


def suggest(args) -> None:
    """Write which images to label, and a page on which to label them."""
    given = [args.labels] if args.labels else []
    out = output_path(args.out, args.images, *given)
    page = (
        None
        if args.page is None
        else output_path(args.page, args.images, *given, argument="--page")
    )
    if page is not None and page.absolute() == out.absolute():
        raise InputError(f"--page: found {page}, which --out is, expected another file")
    _keep_labels(out)
    from gmvae_lib.label.choosing import label_queue
    from gmvae_lib.report.label_page import label_page

    lines, known = known_labels(args.labels) if args.labels else ({}, {})
    run, images = run_and_images(args)
    q, neighbours = _posterior_and_neighbours(args, run, images)
    check_indices(args.labels, lines, len(q), args.images)
    near = neighbours if len(q) > 1 else None
    queue = label_queue(
        q, args.budget, near, args.random, args.seed, known, batches=3 if page else 1
    )
    table = queue.loc[queue["batch"] == 1, ["index", "cluster", "reason"]]
    if page is not None:
        guesses = _guesses(q, near, known) if known else None
        text = label_page(images, queue, known, guesses)
        _write(page, lambda path: path.write_text(text, encoding="utf-8"))
        print(f"{page}: open it in a browser to label them")
    _write(out, lambda path: table.to_csv(path, index=False))
    print(f"{out}: {len(table)} images to label, from {table['cluster'].nunique()} clusters")


def _guesses(q, neighbours, known):
    """What the labels so far make of every image: names [N]."""
    import numpy as np

    from gmvae_lib.label.decoding import decoders
    from gmvae_lib.label.neighbours import neighbour_decoder

    rows = np.array(list(known))
    names = np.array([label for label, _ in known.values()])
    if neighbours is None:
        return decoders(q)["soft"].fit(q[rows], names).predict(q)
    decoder = neighbour_decoder(q, neighbours)
    return decoder.fit(rows, names).predict(np.arange(len(q)))


def predict(args) -> None:
    """Write a label and a confidence for every image."""
    out = output_path(args.out, args.images, args.labels)
    index, labels, at_random = read_marked_labels(args.labels)
    import numpy as np
    import pandas as pd

    from gmvae_lib.label.calibration import at_temperature
    from gmvae_lib.report.findings import random_temperature

    q, decoder, seen = _decoder(args, *run_and_images(args))
    check_indices(args.labels, index, len(q), args.images)
    if len(set(labels)) == 1:
        _warn(f"{args.labels}: found only the label {labels[0]!r}; every image gets it")
    labelled, y = seen[list(index)], np.array(labels)
    at_random = np.array(at_random) | args.labels_at_random
    temperature = random_temperature(decoder, labelled, y, at_random, progress=True)
    share = decoder.fit(labelled, y).predict_proba(seen)
    if temperature != 1:
        share = at_temperature(share, temperature)
    confidence = share.max(axis=1).round(4)
    names = np.array([guard(name) for name in decoder.classes_], dtype=object)
    sure = confidence >= args.min_confidence
    table = pd.DataFrame(
        {
            "index": np.arange(len(q)),
            "label": np.where(sure, names[share.argmax(axis=1)], ""),
            "confidence": confidence,
        }
    )
    _write(out, lambda path: table.to_csv(path, index=False))
    print(
        f"{out}: {len(q)} images predicted from {len(labels)} labelled ones, "
        f"{len(decoder.classes_)} different labels"
    )
    if args.min_confidence:
        n = len(q) - int(sure.sum())
        print(f"{out}: {n} of {len(q)} left without a label, less sure than {args.min_confidence}")


def report(args) -> None:
    """Write a page on what the labels make of the images, and how good that is."""
    out = output_path(args.out, args.images, args.labels)
    index, labels, at_random = read_marked_labels(args.labels)
    import numpy as np

    from gmvae_lib.data.images import reading_notes
    from gmvae_lib.report.findings import examine, unlike_training
    from gmvae_lib.report.report_page import accuracy_sentence, report_page

    run, images = run_and_images(args)
    q, neighbours = _posterior_and_neighbours(args, run, images)
    check_indices(args.labels, index, len(q), args.images)
    findings = examine(
        q,
        neighbours,
        np.array(list(index)),
        np.array(labels),
        at_random=np.array(at_random) | args.labels_at_random,
        progress=True,
    )
    unlike = unlike_training(run, images)
    notes = reading_notes(images, run.provenance.get("data")) + ([unlike] if unlike else [])
    page = report_page(images, findings, args.run, args.images, args.labels, notes)
    _write(out, lambda path: path.write_text(page, encoding="utf-8"))
    print(f"{out}: {accuracy_sentence(findings.accuracy)}")
    for warning in notes + findings.warnings:
        print(f"gmvae: warning: {warning}", file=sys.stderr)


# ------------------------------------------------------------ input and output


def _images(source, args, rule=None, learned=None):
    """Read images by a rule, and say what was done to them or looks wrong."""
    from gmvae_lib.data.images import load_images, reading_notes

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # it would print beside our line
    images = load_images(source, data_dir=args.data_dir, **(rule or {}))
    for note in reading_notes(images, learned):
        print(f"gmvae: note: {source}: {note}", file=sys.stderr)
    return images


def run_and_images(args, source=None):
    """The run, and the images asked for, read as those were that it learned from."""
    from gmvae_lib.data.images import reading_rule
    from gmvae_lib.vae.runs import load_run

    run = load_run(args.run)
    learned = run.provenance.get("data", {})
    rule = reading_rule(run.model_config.image_shape, learned)
    return run, _images(source or args.images, args, rule, learned)


def posterior_of(args, run, images):
    """q(c|x) of the images, float32 [N, K]."""
    from gmvae_lib.vae.model import cluster_posterior

    return cluster_posterior(run, images, device=_device(args.device), progress=True)


def _posterior_and_neighbours(args, run, images):
    """q(c|x) of the images, and the rows of the images nearest to each, int [N, n]."""
    from gmvae_lib.label.neighbours import NEIGHBOURS
    from gmvae_lib.vae.model import embed
    from gmvae_lib.vae.nearest import nearest

    device = _device(args.device)
    q, features = embed(run.model, images, device=device, progress=True)
    return q, nearest(features, NEIGHBOURS, device=device)


def _decoder(args, run, images):
    """q(c|x), the decoder asked for, and what it sees of every image."""
    import numpy as np

    from gmvae_lib.label.decoding import decoders
    from gmvae_lib.label.neighbours import neighbour_decoder

    if args.decoder != "neighbours":
        q = posterior_of(args, run, images)
        return q, decoders(q)[args.decoder], q
    q, neighbours = _posterior_and_neighbours(args, run, images)
    if len(q) < 2:
        raise InputError(
            f"{args.images}: found one image, expected more to ask (or --decoder soft)"
        )
    return q, neighbour_decoder(q, neighbours), np.arange(len(q))


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


def output_path(out, *inputs, argument="--out") -> Path:
    """Refuse, before any work, a place where the output could not or should not be written."""
    out = Path(out)
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise InputError(
            f"{argument}: found {out}, expected a file in a folder that can be written to"
        )
    for path in map(Path, inputs):
        if out.exists() and path.exists() and out.samefile(path):
            raise InputError(f"{argument}: found {out}, an input, expected another file")
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
    from gmvae_lib.data.storage import write_atomically

    write_atomically(path, write)


def _one_line(error) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}; expected to be able to read or write it"
    if isinstance(error, MemoryError):
        return "memory: found too little for this, expected room for the images and the model"
    return one_line(error, most=None)


# ------------------------------------------------------------------- arguments


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument like every other bad input: one line, exit code 2."""

    def error(self, message):
        if "expected" not in message:
            message += f"; expected what {self.prog} --help shows"
        raise InputError(message)


def whole_number(low, high=None):
    """Type of an argument: a whole number from low to high."""

    def parse(text):
        value = int(text) if re.fullmatch("-?[0-9]{1,18}", text) else None
        if value is None or value < low or (high is not None and value > high):
            limits = f"of at least {low}" if high is None else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number {limits}")
        return value

    return parse


def _share(text):
    """Type of an argument: a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 0 to 1")
    return value


def _positive(text):
    """Type of an argument: a number above 0."""
    value = float(text) if re.fullmatch(r"[0-9]*\.?[0-9]+(e-?[0-9]{1,3})?", text) else 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
    return value


def counts(text):
    """Type of --n-labels: 73,291 -> [73, 291]."""
    return [whole_number(1)(part.strip()) for part in text.split(",")]


def _parser(more=()) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gmvae",
        description="Find clusters in images without labels, then name them with a few labels.",
        epilog="The usual order: train, suggest, (label by hand), report, predict. "
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

    def with_labels(sub):
        sub.add_argument(
            "--labels",
            required=True,
            metavar="CSV",
            help="columns index (from 0) and label (any text; rows where it is empty are left out)",
        )
        sub.add_argument(
            "--labels-at-random",
            action="store_true",
            help="all labelled images were drawn at random, whatever the column reason says",
        )

    sub = command(
        train,
        "--data rendered-letters --preset quick --out runs/letters",
        "A killed training goes on with --resume.\n"
        "In several processes, one for each GPU or machine: torchrun --nproc-per-node 2 -m\n"
        "gmvae_lib train ...; each takes its part of every batch, and all read the same --data.",
    )
    sub.add_argument("--data", required=True, metavar="PATH", help=IMAGES_HELP)
    sub.add_argument("--preset", choices=PRESETS, default="best", help="default: best")
    sub.add_argument("--out", required=True, metavar="RUN", help="folder of the run, new")
    sub.add_argument("--resume", action="store_true", help="go on from the checkpoint in RUN")
    sub.add_argument("--epochs", type=whole_number(1), help="instead of the preset's")
    sub.add_argument(
        "--seed", type=whole_number(0, 2**31 - 1), help="of all randomness (default: 0)"
    )
    sub.add_argument("--k", type=whole_number(2), metavar="K", help="components (default: 100)")
    sub.add_argument(
        "--size",
        type=whole_number(8, 1024),
        metavar="S",
        help="fit every image into S x S pixels (default: 28 for pictures, else as they are)",
    )
    sub.add_argument("--colour", action="store_true", help="keep colours (default: grey)")
    sub.add_argument("--learning-rate", type=_positive, help="instead of the preset's")
    sub.add_argument("--precision", choices=("auto", "bf16", "float32"), help="default: auto")

    sub = command(
        posterior,
        "--run runs/letters --images letters.npz --out q.npz",
        "The file holds float32 `q` [N, K], in the order of the images; with the suffix .npy, the\n"
        "bare array, which numpy can map. Memory does not grow with the images if they are .npy.",
    )
    on_images(sub)
    sub.add_argument("--out", required=True, metavar="NPZ")

    sub = command(
        suggest,
        "--run runs/letters --images letters.npz --budget 100 --out to_label.csv",
        "Columns: index (of the image, from 0), cluster, reason.\n"
        "The page shows the images to whoever labels them and saves labels.csv; it needs no\n"
        "network. Images drawn at random let report measure the accuracy, which the chosen raise.",
    )
    on_images(sub)
    sub.add_argument("--budget", type=whole_number(1), default=100, help="images (default: 100)")
    sub.add_argument(
        "--random",
        type=whole_number(0),
        default=0,
        metavar="R",
        help="images drawn at random, besides (default: 0)",
    )
    sub.add_argument(
        "--seed", type=whole_number(0, 2**31 - 1), default=0, help="of the random ones"
    )
    sub.add_argument("--out", required=True, metavar="CSV")
    sub.add_argument("--labels", metavar="CSV", help="labels given so far, to suggest others")
    sub.add_argument("--page", metavar="HTML", help="also write a page on which to label them")

    sub = command(
        predict,
        "--run runs/letters --images letters.npz --labels labels.csv --out predictions.csv",
        "Columns: index, label, confidence.\n"
        "Labelled images are predicted like the others: their rows hold the decoder's answer, not\n"
        "the label given. The confidence is the label's share of the decoder's scores, tempered\n"
        "by the labels drawn at random where there are ten or more.\n"
        "The decoder neighbours also asks the images that look alike, which takes time that grows\n"
        "with the square of their number; graph is the best of the others.",
    )
    on_images(sub)
    with_labels(sub)
    sub.add_argument(
        "--decoder", choices=DECODERS, default="neighbours", help="default: neighbours"
    )
    sub.add_argument(
        "--min-confidence",
        type=_share,
        default=0.0,
        metavar="P",
        help="leave the label empty where the confidence is below P (default: 0)",
    )
    sub.add_argument("--out", required=True, metavar="CSV")

    sub = command(
        report,
        "--run runs/letters --images letters.npz --labels labels.csv --out report.html",
        "One HTML file: expected accuracy, clusters as pictures, doubtful images, what more\n"
        "labels would buy, warnings. Labels whose `reason` says that they were drawn at random\n"
        "measure the accuracy without bias.",
    )
    on_images(sub)
    with_labels(sub)
    sub.add_argument("--out", required=True, metavar="HTML")

    for add in more:
        add(command)
    return parser
