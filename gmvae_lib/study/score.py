"""Score predictions on the benchmark *EMNIST Letters, few labels*.

``python -m gmvae_lib.study.score PREDICTIONS`` prints one row for each number of labels: accuracy
on the images without a label, mean and 95 % interval over the draws, their standard deviation and
the worst draw. With ``--leaderboard`` the rows are also added to that table.

PREDICTIONS is an .npz with

- ``random-73`` [D, N] (26, 73, 100, 146, 291 or 728 labels): the letter of every image for each of
  the first D random draws, D from 3 to 100; ``chosen-73`` [N]: the same with the chosen labels;
- ``draws``: the sha256 of the file of label draws that was used,

or a .csv whose first line is ``# draws: SHA256``, with one column ``random-73-0``, ``random-73-1``,
... a draw and ``chosen-73``, and one row an image. Letters are a to z, or 0 to 25. N is 100,000 for
the letters of this book, 145,600 for EMNIST Letters in torchvision's order, train then test. What
is said of the labelled images is ignored.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.data.image_set import LETTERS
from gmvae_lib.data.images import load_images
from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import ARCHIVE_ERRORS, file_digest, read_npz
from gmvae_lib.errors import InputError, one_line
from gmvae_lib.study.label_draws import (
    DRAWS,
    FILE,
    N_LABELS,
    SETS,
    SHA256,
    labelled_rows,
    read_draws,
)
from gmvae_lib.study.metrics import mean_and_interval
from gmvae_lib.study.programs import program

FEWEST = 3  # random draws: fewer give no useful interval
KINDS = ("random", "chosen")
CELL = ["set", "labels", "n_labels", "method"]
COLUMNS = [
    *CELL, "by", "draws", "accuracy", "low", "high", "sd", "worst", "worst_draw", "sha256",
]  # fmt: skip
LEADERBOARD = Path("results/leaderboard.csv")
RUN = Path("results/letters100k")


# ---- reading ------------------------------------------------------------------------------------


def read_predictions(path, expected: str) -> dict[tuple[str, int], np.ndarray]:
    """Predictions by (kind, number of labels): uint8 [D, N], 0 to 25.

    expected : sha256 of the label draws, which the file has to name.

    Raises
    ------
    InputError : one line on the first thing that does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected predictions in an .npz or .csv")
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path, ("draws",), optional=None)
        stated = "".join(arrays.pop("draws").astype(str).reshape(-1)[:1])
    elif path.suffix.lower() == ".csv":
        stated, arrays = _read_csv(path)
    else:
        raise InputError(f"{path}: found the suffix {path.suffix!r}, expected .npz or .csv")
    if stated != expected:
        raise InputError(
            f"{path}: found draws {stated[:12]!r}, expected {expected[:12]!r}, the sha256 of the "
            "label draws that are scored"
        )
    if not arrays:
        raise InputError(f"{path}: found no predictions, expected an array random-73, say")
    found = {}
    for name, array in arrays.items():
        kind, n = _cell(path, name)
        if kind == "chosen" and array.ndim == 1:
            array = array[None]
        if array.ndim != 2 or array.shape[1] not in SETS.values():
            sizes = " or ".join(f"{size:,}" for size in SETS.values())
            raise InputError(
                f"{path}: {name} has shape {list(array.shape)}, expected [draws, N], N {sizes}"
            )
        fewest, most = (1, 1) if kind == "chosen" else (FEWEST, DRAWS)
        if not fewest <= len(array) <= most:
            raise InputError(
                f"{path}: {name} has {len(array)} draws, expected {fewest} to {most}, the first"
            )
        found[kind, n] = _as_letters(path, name, array)
    if len({array.shape[1] for array in found.values()}) > 1:
        raise InputError(f"{path}: found arrays of two sets of images, expected those of one")
    return found


def _cell(path, name) -> tuple[str, int]:
    """(kind, number of labels) of an array's name."""
    match = re.fullmatch(r"(random|chosen)-([1-9]\d{0,5})", name)
    if not match or int(match[2]) not in N_LABELS:
        raise InputError(
            f"{path}: found an array {name[:60]!r}, expected random-N or chosen-N, N one of "
            f"{', '.join(map(str, N_LABELS))}"
        )
    return match[1], int(match[2])


def _as_letters(path, name, array) -> np.ndarray:
    """Letters a to z, or 0 to 25, as uint8."""
    if array.dtype.kind == "S":
        array = np.char.decode(array, "latin-1")
    if array.dtype.kind == "U":
        wrong = ~np.isin(array, LETTERS)
        codes = np.searchsorted(LETTERS, array)
    elif array.dtype.kind in "iu":
        wrong, codes = (array < 0) | (array >= len(LETTERS)), array
    else:
        raise InputError(
            f"{path}: {name} holds {array.dtype}, expected letters a to z or whole numbers 0 to 25"
        )
    if wrong.any():
        draw, row = np.argwhere(wrong)[0]
        raise InputError(
            f"{path}: {name} says {str(array[draw, row])[:20]!r} of image {row} in draw {draw}, "
            "expected a letter a to z, or 0 to 25"
        )
    return codes.astype(np.uint8)


def _read_csv(path) -> tuple[str, dict[str, np.ndarray]]:
    """The stated draws and the arrays of a CSV, its columns of one name put together."""
    try:
        with open(path, encoding="utf-8") as handle:
            first = handle.readline()
            stated = re.fullmatch(r"#\s*draws:\s*(\w+)\s*", first)
            if not stated:
                raise InputError(
                    f"{path}: found {first.strip()[:40]!r} in line 1, expected '# draws: SHA256'"
                )
            # an empty cell is no letter, and "nan" would be one
            table = pd.read_csv(
                handle, dtype=str, keep_default_na=False, index_col=False, skip_blank_lines=False
            )
    except InputError:
        raise
    except (*ARCHIVE_ERRORS, pd.errors.ParserError) as error:
        raise InputError(f"{path}: not a table ({one_line(error)}); expected a CSV") from error
    columns = {}
    for name in table.columns:
        match = re.fullmatch(r"(random-\d+)-(\d+)|(chosen-\d+)", str(name))
        if not match:
            raise InputError(
                f"{path}: found a column {str(name)[:60]!r}, expected random-73-0 or chosen-73, say"
            )
        columns.setdefault(match[1] or match[3], {})[int(match[2] or 0)] = table[name]
    arrays = {}
    for name, of_draw in columns.items():
        if sorted(of_draw) != list(range(len(of_draw))):
            raise InputError(
                f"{path}: found {name} for draws {sorted(of_draw)[:9]}, expected 0 to "
                f"{len(of_draw) - 1}: the first draws, without a gap"
            )
        cells = np.stack([of_draw[d].to_numpy(dtype=str) for d in range(len(of_draw))])
        digits = np.char.isdecimal(cells)
        if digits.any():
            wrong = ~digits | (np.char.str_len(cells) > 2)
            if wrong.any():
                draw, row = np.argwhere(wrong)[0]
                raise InputError(
                    f"{path}: {name} says {cells[draw, row][:20]!r} of image {row} in draw {draw}, "
                    "expected whole numbers 0 to 25 throughout, or letters throughout"
                )
            cells = cells.astype(int)
        arrays[name] = cells
    return stated[1], arrays


def true_letters(name: str, run=RUN, data_dir=None) -> np.ndarray:
    """The letters of a set: int [N], 0 to 25; of the 100,000 those of the published run."""
    if name == "letters-100k":
        y = read_npz(Path(run) / "posterior.npz", ("labels",), optional=())["labels"]
    else:
        y = load_images("emnist-letters", data_dir=data_dir, download=False).labels
    if len(y) != SETS[name]:
        raise InputError(f"{name}: found {len(y):,} labels, expected {SETS[name]:,}")
    return np.asarray(y)


# ---- scoring ------------------------------------------------------------------------------------


def score(predictions: dict, draws: dict, name: str, y) -> pd.DataFrame:
    """One row a kind and number of labels: draws, accuracy, interval, sd, the worst draw.

    predictions : from `read_predictions`. draws : from `label_draws.read_draws`. name : of the set.
    y : int [N], the true letters.
    """
    rows = []
    for (kind, n), answers in sorted(predictions.items(), key=lambda item: item[0][::-1]):
        if f"{name}.{kind}" not in draws:
            raise InputError(
                f"{kind}-{n}: found {kind} labels for {name}, which has none; leave it out"
            )
        of_draw = []
        for draw, answer in enumerate(answers):
            right = np.delete(answer == y, labelled_rows(draws, name, kind, n, draw))
            of_draw.append(right.mean())
        mean, low, high = mean_and_interval(of_draw)
        sd = np.std(of_draw, ddof=1) if len(of_draw) > 1 else np.nan
        worst = int(np.argmin(of_draw))
        rows.append([name, kind, n, len(of_draw), mean, low, high, sd, of_draw[worst], worst])
    columns = [c for c in COLUMNS if c not in ("method", "by", "sha256")]
    return pd.DataFrame(rows, columns=columns)


def add_rows(path, rows: pd.DataFrame) -> pd.DataFrame:
    """Add rows to a leaderboard, best first in each set, kind and number of labels.

    Raises
    ------
    InputError : the file is no leaderboard, or has a row of that method already.
    """
    path, board = Path(path), pd.DataFrame(columns=COLUMNS)
    if path.exists():
        try:
            board = pd.read_csv(path, dtype={"method": str, "by": str, "sha256": str})
        except (*ARCHIVE_ERRORS, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise InputError(f"{path}: not a table ({one_line(error)}); expected a CSV") from error
        if list(board.columns) != COLUMNS:
            found = ",".join(map(str, board.columns))[:60]
            raise InputError(f"{path}: found columns {found}, expected {','.join(COLUMNS)}")
    there = set(board[CELL].itertuples(index=False, name=None))
    for cell in rows[CELL].itertuples(index=False, name=None):
        if cell in there:
            raise InputError(
                f"{path}: found {cell[3]!r} with {cell[2]} {cell[1]} labels already, expected a "
                "method that is not in the table"
            )
    rows = rows[COLUMNS].round(5)
    board = pd.concat([board, rows]) if len(board) else rows
    order = ["set", "labels", "n_labels", "accuracy"]
    board = board.sort_values(order, ascending=[True, False, True, False], ignore_index=True)
    write_table(path, board)
    return board


def _words(text: str) -> str:
    """A name for the table: one line of 1 to 80 characters."""
    if not 1 <= len(text.strip()) <= 80 or not text.isprintable():
        raise argparse.ArgumentTypeError(f"found {text!r:.90}, expected 1 to 80 characters, a line")
    return text.strip()


@program("score")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.score",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m gmvae_lib.study.score mine.npz --method 'my method'",
    )
    parser.add_argument("predictions", metavar="PREDICTIONS", help="an .npz or .csv, see above")
    parser.add_argument("--draws", default=FILE, help="the label draws (default: %(default)s)")
    parser.add_argument("--data-dir", help="folder that holds EMNIST, for the official order")
    parser.add_argument(
        "--leaderboard", type=Path, metavar="CSV", help=f"add the rows to it, {LEADERBOARD} say"
    )
    parser.add_argument("--method", type=_words, help="its name, needed for the leaderboard")
    parser.add_argument("--by", type=_words, help="who entered it, needed for the leaderboard")
    args = parser.parse_args(argv)
    if args.leaderboard and not (args.method and args.by):
        raise InputError("--leaderboard: found without --method and --by, expected both")
    draws = read_draws(args.draws)
    predictions = read_predictions(args.predictions, SHA256)
    n_images = next(iter(predictions.values())).shape[1]
    name = next(name for name, size in SETS.items() if size == n_images)
    rows = score(predictions, draws, name, true_letters(name, data_dir=args.data_dir))
    print(rows.round(4).to_string(index=False))
    if args.leaderboard:
        about = {"method": args.method, "by": args.by, "sha256": file_digest(args.predictions)}
        add_rows(args.leaderboard, rows.assign(**about))
        print(f"{args.leaderboard}: {len(rows)} rows added")


if __name__ == "__main__":
    sys.exit(main())
