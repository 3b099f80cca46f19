"""The command line: its arguments, its exit codes, and what it says when it fails.

Nothing heavy is imported until a command runs, so that help comes at once.
"""

import argparse
import os
import re
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from gmvae_lib import __version__, commands
from gmvae_lib.errors import InputError, one_line
from gmvae_lib.vae.config import AUTO, PRESETS

DATASETS = ("emnist-letters", "mnist", "rendered-letters")
DECODERS = ("auto", "neighbours", "pooled", "graph", "soft", "hard", "bayes")
BAD_INPUT, INTERRUPTED, TERMINATED = 2, 130, 143
IMAGES_HELP = (
    "a folder of pictures, an .npz with `images`, an IDX images file, an .npy file or a folder of "
    "them (which stay on disk), or emnist-letters, mnist or rendered-letters"
)
EXPECTED_ERRORS = (InputError, OSError, FloatingPointError, MemoryError, UnicodeError)


def main(argv=None, more=()) -> int:
    """Run one command; return its exit code: 0 only when its output is complete.

    more : functions that add further commands, given the function that adds one.
    """
    with _streams(), _sigterm_interrupts():
        try:
            args = _placed(*_parser(more).parse_known_args(argv))
            args.command(args)
            return 0
        except EXPECTED_ERRORS as error:
            code, message = BAD_INPUT, f"error: {_message(error)}"
        except KeyboardInterrupt as error:
            code = TERMINATED if isinstance(error, _Terminated) else INTERRUPTED
            message = "interrupted; a training resumes with --resume"
        # Here, where the error has let go of the work under way: its progress bar has ended its
        # line.
        with suppress(OSError):
            commands.say(f"gmvae: {message}", sys.stderr)
        return code


# ------------------------------------------------------------ streams and signals


@contextmanager
def _streams():
    """Print what a stream cannot encode as escapes; nowhere, if there is no stream.

    Under pythonw, or with `>&-`, Python has None for the streams that are closed.
    """
    before = sys.stdout, sys.stderr
    nowhere, errors = [], {}
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            nowhere.append(open(os.devnull, "w", encoding="utf-8"))
            setattr(sys, name, nowhere[-1])
        elif hasattr(stream, "reconfigure"):
            errors[stream] = stream.errors
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        _let_go(sys.stdout)
        sys.stdout, sys.stderr = before
        for stream, how in errors.items():
            with suppress(OSError, ValueError):
                stream.reconfigure(errors=how)
        for stream in nowhere:
            stream.close()


def _let_go(stream) -> None:
    """Flush, or if nobody reads it any more, let the rest go nowhere: it is no error at exit."""
    try:
        stream.flush()
    except BrokenPipeError:
        with suppress(OSError, ValueError), open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
    except (OSError, ValueError):
        pass


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: to end like an interrupted command, tidily."""


@contextmanager
def _sigterm_interrupts():
    """Let SIGTERM end the command as ctrl-C does, unless the caller has a use for it."""
    free = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )

    def terminate(number, frame):
        raise _Terminated

    if free:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _message(error) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}; expected to be able to read or write it"
    if isinstance(error, MemoryError):
        return "memory: found too little for this, expected room for the images and the model"
    return one_line(error, most=None)


# ------------------------------------------------------------ types of arguments


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument like every other bad input: one line, exit code 2."""

    def error(self, message):
        if "expected" not in message:
            message += f"; expected what {self.prog} --help shows"
        raise InputError(message)


def path(text) -> Path:
    """Type of an argument: a path, not empty, in which ~ is the home folder."""
    from gmvae_lib.data.storage import expanded

    try:
        return expanded(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("path: ")) from None


def images(text) -> Path | str:
    """Type of an argument: the name of a data set, or a path."""
    return text if text in DATASETS else path(text)


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


# ------------------------------------------------------------ arguments


def _placed(args, rest):
    """Take arguments given by their place for the options of the same names, in their order."""
    if unknown := [text for text in rest if text.startswith("-")]:
        raise InputError(
            f"unrecognized arguments: {' '.join(unknown)}; expected what gmvae "
            f"{args.command.__name__} --help shows"
        )
    given = [*args.placed, *rest]  # argparse leaves those that follow an option
    if len(given) > len(args.places):
        raise InputError(
            f"unrecognized arguments: {' '.join(given[len(args.places) :])}; expected what gmvae "
            f"{args.command.__name__} --help shows"
        )
    for text, (name, kind) in zip(given, args.places.items(), strict=False):
        if getattr(args, name) is not None:
            raise InputError(f"--{name}: found {getattr(args, name)} beside {text}, expected one")
        try:
            setattr(args, name, kind(text))
        except argparse.ArgumentTypeError as error:
            raise InputError(f"{name}: {error}") from None
    if missing := [f"--{name}" for name in args.needed if getattr(args, name) is None]:
        raise InputError(
            f"the following arguments are required: {', '.join(missing)}; expected what gmvae "
            f"{args.command.__name__} --help shows"
        )
    return args


def _parser(more=()) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gmvae",
        description="Find clusters in images without labels, then name them with a few labels.",
        epilog="The usual order: train, suggest, (label by hand), report, predict. "
        "`gmvae COMMAND --help` shows an example.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(function, example, notes="", places=(), needed=()):
        """Add a command. places : options that may be given by their place, with their types."""
        summary = function.__doc__
        sub = subparsers.add_parser(
            function.__name__,
            help=summary[0].lower() + summary[1:].rstrip("."),
            description=f"{summary} {notes}".strip(),
            epilog=f"example:\n  gmvae {function.__name__} {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=function, places=dict(places), needed=needed, placed=())
        if places:
            names = ", ".join(f"--{name}" for name in places)
            what = f"for {names}, in this order"
            sub.add_argument("placed", nargs="*", metavar="PATH", help=what)
        sub.add_argument(
            "--skip-damaged",
            action="store_true",
            help="leave out pictures that cannot be read, and list them",
        )
        sub.add_argument("--data-dir", metavar="DIR", help="where emnist-letters and mnist lie")
        sub.add_argument("--device", help="cpu, cuda, ... (default: cuda where there is one)")
        return sub

    _add_commands(command)
    for add in more:
        add(command)
    return parser


def _with_features(sub, what):
    sub.add_argument(
        "--features",
        type=str,
        metavar="WHICH",
        help=f"{what}: efficientnet-lite0, a model of torchvision such as resnet18, or an .npz "
        "with `features` and `paths` of the pictures (.npy: with a .txt of paths beside it)",
    )


def _on_images(sub, required=False):
    which = "" if required else " (default: those that the run learned from)"
    sub.add_argument("--run", type=path, help="folder that train wrote")
    sub.add_argument("--images", type=images, metavar="PATH", help=IMAGES_HELP + which)
    _with_features(sub, "of these images (default: where the run had its own from)")


def _with_labels(sub):
    sub.add_argument(
        "--labels",
        type=path,
        metavar="CSV",
        help="columns label (any text; rows where it is empty are left out) and path, digest or "
        "index (from 0), which say of which image",
    )
    sub.add_argument(
        "--labels-at-random",
        action="store_true",
        help="all labelled images were drawn at random, whatever the column reason says",
    )


def _with_output(sub, metavar, default=None):
    said = f" (default: {default})" if default else ""
    sub.add_argument(
        *("-o", "--out"), type=path, metavar=metavar, default=default, help=f"the output{said}"
    )
    sub.add_argument("--force", action="store_true", help="overwrite another file, too")


def _add_commands(command) -> None:
    sub = command(
        commands.train,
        "pictures/ -o runs/mine --preset quick",
        "A killed training resumes with --resume.\n"
        "In several processes, one for each GPU or machine: torchrun --nproc-per-node 2 -m\n"
        "gmvae_lib train ...; each takes its part of every batch, and all read the same images.",
        places={"data": images},
        needed=("data", "out"),
    )
    sub.add_argument("--data", type=images, metavar="PATH", help=IMAGES_HELP)
    sub.add_argument(
        "--preset",
        choices=(AUTO, *PRESETS),
        help="auto chooses one, with K and the kind of random views, without labels (default: "
        "best; with --features: features)",
    )
    _with_features(sub, "what stands in front of the model, frozen")
    sub.add_argument("-o", "--out", type=path, metavar="RUN", help="folder of the run, new")
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
    sub.add_argument(
        *("--colour", "--color"), action="store_true", help="keep colours (default: grey)"
    )
    sub.add_argument(
        "--transpose",
        action=argparse.BooleanOptionalAction,
        default="auto",
        help="swap rows and columns, as files of EMNIST need it (default: where that is known)",
    )
    sub.add_argument("--learning-rate", type=_positive, help="instead of the preset's")
    sub.add_argument("--precision", choices=("auto", "bf16", "float32"), help="default: auto")

    sub = command(
        commands.posterior,
        "runs/mine letters.npz -o q.npz",
        "The file holds float32 `q` [N, K], in the order of the images; with the suffix .npy, the\n"
        "bare array, which numpy can map. Memory does not grow with the images if they are .npy.",
        places={"run": path, "images": images},
        needed=("run", "images", "out"),
    )
    _on_images(sub, required=True)
    _with_output(sub, "NPZ")

    sub = command(
        commands.suggest,
        "runs/mine --random 50 --page label.html",
        "Columns: index (of the image, from 0), path, digest, cluster, reason.\n"
        "The page shows the images to whoever labels them and saves labels.csv; it needs no\n"
        "network. Images drawn at random let report measure the accuracy, which the chosen raise.",
        places={"run": path},
        needed=("run",),
    )
    _on_images(sub)
    sub.add_argument(
        "--budget", type=whole_number(1), help="images (default: 100, or as many as there are)"
    )
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
    _with_output(sub, "CSV")
    sub.add_argument("--labels", type=path, metavar="CSV", help="labels given so far")
    sub.add_argument(
        "--page", type=path, metavar="HTML", help="also write a page on which to label them"
    )

    sub = command(
        commands.predict,
        "runs/mine labels.csv new_pictures/ -o predictions.csv",
        "Columns: index, path, digest, label, confidence, unlike (1: unlike the images that the\n"
        "run learned from). A labelled image keeps its label, with confidence 1; if it looks like\n"
        "something else, it is named, to be looked at again. The confidence of the others is the\n"
        "label's share of the decoder's scores, tempered by the labels drawn at random where\n"
        "there are ten or more.\n"
        "The decoder auto is neighbours, which also asks the ten nearest images, where there are\n"
        "25 images or more for each cluster, and else pooled: soft, with the three nearest. The\n"
        "time of both grows with the square of the images; graph is the best of the others.",
        places={"run": path, "labels": path, "images": images},
        needed=("run", "labels"),
    )
    _on_images(sub)
    _with_labels(sub)
    sub.add_argument("--decoder", choices=DECODERS, default="auto", help="default: auto")
    sub.add_argument(
        "--min-confidence",
        type=_share,
        default=0.0,
        metavar="P",
        help="leave the label empty where the confidence is below P (default: 0)",
    )
    _with_output(sub, "CSV", Path("predictions.csv"))

    sub = command(
        commands.report,
        "runs/mine labels.csv -o report.html",
        "One HTML file: expected accuracy, clusters as pictures, doubtful images, what more\n"
        "labels would buy, warnings. Labels whose `reason` says that they were drawn at random\n"
        "measure the accuracy without bias.",
        places={"run": path, "labels": path},
        needed=("run", "labels"),
    )
    _on_images(sub)
    _with_labels(sub)
    sub.add_argument(
        "--decoder", choices=DECODERS[:3], default="auto", help="as of predict; default: auto"
    )
    _with_output(sub, "HTML", Path("report.html"))
