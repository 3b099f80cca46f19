"""Real pictures that nothing here was tuned for: the protocol, fixed before any label was read.

``python -m gmvae_lib.study.real_sets FOLDER... --out TABLE`` runs it on folders of class folders,
whichever they are: it trains, measures, prints a summary, and goes on where it was interrupted.
``--draws`` only makes the draws of the labels again and compares them with
results/real_sets_draws.json, to which folders that are not in it are added; ``--slow`` measures
XGBoost and the convolutional network. The protocol is on the page book/real_sets.md.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from gmvae_lib.classifier import GMVAEClassifier
from gmvae_lib.data.folders import classes_of, find_files
from gmvae_lib.data.identity import digest_of
from gmvae_lib.data.images import load_images
from gmvae_lib.data.outputs import write_table
from gmvae_lib.data.storage import array_digest, write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.outlook import outlook
from gmvae_lib.study import real_rivals
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.programs import program
from gmvae_lib.vae.automatic import components

SETS = ("steel", "cells", "cyrillic", "flowers", "trash", "cifar10")
MOST = 2_600  # pictures of a set; of more, so many drawn at random
PER_CLASS = (1, 2, 4, 10)  # labels a class on average
DRAWS = 20  # of the labels
SLOW_PER_CLASS, SLOW_DRAWS = (4, 10), 3  # of XGBoost and the convolutional network
SIDE = 32  # pixels, where the model reads pixels
COLOURED = 8  # levels between the channels of a pixel, on average, from which a set has colours
FEATURES = "efficientnet-lite0"
FEATURE_SIDE = 128  # pixels, where the network reads pictures
BANK = 2  # views of each picture before the network
DECODER = "neighbours"  # as at commit cce820a
INPUTS = ("pixels", "features")
OURS = "GMVAE"
DRAWS_FILE, OUT = Path("results/real_sets_draws.json"), Path("results/real_sets.csv")
COLUMNS = "set input method labels per_class n_labels draw accuracy seconds".split()
RUN_COLUMNS = (
    "set input pictures K chosen agreement beforehand needed minutes_features minutes".split()
)


# ---- what is fixed beforehand -------------------------------------------------------------------


def rows_used(n: int) -> np.ndarray:
    """Which of n pictures, in the order of their sorted paths, are used: int, sorted.

    Examples
    --------
    >>> len(rows_used(1800)), len(rows_used(24_247))
    (1800, 2600)
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


def check_draws(folders, file) -> list[str]:
    """Compare folders with a file of what was fixed, and add those that it lacks.

    Returns
    -------
    list of str : the names of folders that are not as in the file
    """
    file = Path(file)
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    differ = []
    for folder in map(Path, folders):
        now = described(folder)
        said = "as in" if stored.get(folder.name) == now else "NOT as in"
        said = said if folder.name in stored else "added to"
        if stored.setdefault(folder.name, now) != now:
            differ.append(folder.name)
        print(f"{folder.name}: {said} {file}", flush=True)
    text = json.dumps(stored, indent=1) + "\n"
    write_atomically(file, lambda path: path.write_text(text, encoding="utf-8"))
    return differ


# ---- one set ------------------------------------------------------------------------------------


def read_set(folder, kind: str):
    """The pictures in use as a model reads them: an ImageSet, or a FeatureSet."""
    from gmvae_lib.vae.pretrained import with_features

    side = SIDE if kind == "pixels" else FEATURE_SIDE
    images = load_images(folder, size=side, colour=True)
    if kind == "pixels" and not has_colours(images.images):
        images = load_images(folder, size=side)
    images = images.subset(rows_used(len(images)))
    if images.labels is None or (images.labels < 0).any():
        raise InputError(f"{folder}: found pictures outside class folders, expected none")
    return images if kind == "pixels" else with_features(images, FEATURES, BANK, progress=False)


def has_colours(pictures) -> bool:
    """Whether pictures uint8 [N, H, W, 3] are coloured, by the mean range of a pixel's channels.

    Examples
    --------
    >>> grey = np.full((2, 4, 4, 3), 90, np.uint8)
    >>> has_colours(grey), has_colours(grey * np.array([1, 2, 1], np.uint8))
    (False, True)
    """
    some = pictures[:: max(1, len(pictures) // 500)].astype(np.int16)
    return bool((some.max(-1) - some.min(-1)).mean() > COLOURED)


def seconds_of_features(images) -> float:
    """Processor time of the features of a set with its bank, from that of up to 100 pictures."""
    import torch

    from gmvae_lib.vae.pretrained import embedded, network

    some = images.pictures.subset(np.arange(min(100, len(images))))
    net = network(FEATURES)
    started = time.process_time()
    embedded(some, net, BANK, torch.device("cpu"), False)
    return (time.process_time() - started) * len(images) / len(some)


def trained(images, kind: str, work: Path, epochs=None):
    """The model of a set and kind of input, trained or read again, and its row of the runs."""
    name = "auto" if kind == "pixels" else "features"
    about = work / "row.json"
    if about.is_file():
        model = GMVAEClassifier.load(work)
        return model, json.loads(about.read_text(encoding="utf-8")) | said_beforehand(model)
    started = time.process_time()
    model = GMVAEClassifier(
        components(len(images)),
        preset=name,
        decoder=DECODER,
        features=FEATURES if kind == "features" else None,
        epochs=epochs,
        device="cpu",
    ).fit(images)
    seconds = time.process_time() - started
    model.save(work, force=True)
    row = {
        "input": kind,
        "pictures": len(images),
        "K": model.n_components_,
        "chosen": model.chosen_ or f"preset {name}",
        "agreement": round(model.collection_.embedding.about["agreement"], 4),
        "minutes_features": round(seconds_of_features(images) / 60, 2) if kind == "features" else 0,
        "minutes": round(seconds / 60, 2),
    }
    text = json.dumps(row)
    write_atomically(about, lambda path: path.write_text(text, encoding="utf-8"))
    return model, row | said_beforehand(model)


def said_beforehand(model) -> dict:
    """What `outlook` says before any label: the agreement of neighbours, and that needed."""
    found = outlook(model.posterior_, model.neighbours_)
    return {"beforehand": round(found.agreement, 3), "needed": round(found.needed, 3)}


def measure(folder, kind: str, work: Path, done: set, slow: bool, epochs=None):
    """Yield the row of the run, and then rows of the table of one set and kind of input."""
    folder = Path(folder)
    images = read_set(folder, kind)
    model, run = trained(images, kind, work / f"{folder.name}-{kind}", epochs)
    yield {"set": folder.name, **run}
    y, n_classes = images.labels, len(images.class_names)
    draws = labelled_rows(len(y), n_classes)
    if slow:
        methods = real_rivals.slow(model, images) if kind == "pixels" else {}
    else:
        methods = {OURS: real_rivals.ours(model)} | real_rivals.quick(
            images, kind, model.n_components_
        )
    for per_class in SLOW_PER_CLASS if slow else PER_CLASS:
        n_labels = per_class * n_classes
        cells = [("random", draw) for draw in range(SLOW_DRAWS if slow else DRAWS)]
        chosen = None if slow else model.suggest(n_labels)["index"].to_numpy()
        cells += [] if slow else [("suggested", 0)]
        for name, make in methods.items():
            for labels, draw in cells:
                if (folder.name, kind, name, labels, per_class, draw) in done:
                    continue
                rows = chosen if labels == "suggested" else draws[draw, :n_labels]
                begun = time.process_time()
                right = make(rows, y[rows], draw) == y
                seconds = time.process_time() - begun
                right[rows] = False
                accuracy = right.sum() / (len(y) - len(rows))
                yield dict(
                    zip(
                        COLUMNS,
                        (folder.name, kind, name, labels, per_class, len(rows), draw,
                         round(float(accuracy), 5), round(seconds, 2)),
                        strict=True,
                    )
                )  # fmt: skip


def study(
    folders, out=OUT, work=Path("runs/real_sets"), draws=DRAWS_FILE, slow=False, inputs=INPUTS,
    epochs=None,
) -> pd.DataFrame:  # fmt: skip
    """Measure what is missing in the table at ``out``, which is written as it grows: the table.

    Beside it ``<out>_runs.csv`` holds a row for each training. epochs : for a trial, instead of the
    presets'.
    """
    out, work = Path(out), Path(work)
    if differ := check_draws(folders, draws):
        raise InputError(f"{differ[0]}: found other pictures than in {draws}, expected the same")
    runs_file = out.with_name(out.stem + "_runs.csv")
    rows, runs = (
        _stored(path, names) for path, names in ((out, COLUMNS), (runs_file, RUN_COLUMNS))
    )
    for folder in map(Path, folders):
        for kind in inputs:
            done = {tuple(row[name] for name in _CELL) for row in rows}
            unsaved = 0
            for row in measure(folder, kind, work, done, slow, epochs):
                if "method" not in row:
                    same = [r for r in runs if (r["set"], r["input"]) != (row["set"], kind)]
                    runs = [*same, row]
                    write_rows(runs_file, runs, RUN_COLUMNS)
                    print(f"{folder.name}, {kind}: {row['chosen']}", flush=True)
                    continue
                rows.append(row)
                unsaved += 1
                if unsaved % 20 == 0 or slow:
                    write_rows(out, rows, COLUMNS)
                    print(f"{folder.name}, {kind}: {len(rows)} cells in all", flush=True)
            write_rows(out, rows, COLUMNS)
    return pd.DataFrame(rows, columns=COLUMNS)


_CELL = ["set", "input", "method", "labels", "per_class", "draw"]


def _stored(path, names) -> list[dict]:
    if not path.is_file():
        return []
    table = pd.read_csv(path, dtype={"set": str})
    if list(table.columns) != names:
        raise InputError(f"{path}: found other columns, expected {', '.join(names)}")
    return table.to_dict("records")


def write_rows(path, rows, names) -> None:
    """Write rows, dicts, as a CSV with some columns, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, pd.DataFrame(rows, columns=names))


@program("real_sets")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.real_sets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="of class folders")
    parser.add_argument("--out", type=Path, default=OUT, help="table (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/real_sets"), help="of the runs")
    parser.add_argument("--draws-file", type=Path, default=DRAWS_FILE)
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS))
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--draws", action="store_true", help="only make the draws again")
    what.add_argument("--slow", action="store_true", help="XGBoost and the convolutional network")
    args = parser.parse_args(argv)
    if args.draws:
        return int(bool(check_draws(args.folders, args.draws_file)))
    from gmvae_lib.study.real_tables import by_budget

    table = study(args.folders, args.out, args.work, args.draws_file, args.slow, args.inputs)
    names = [folder.name for folder in args.folders]
    print(by_budget(table[table["set"].isin(names)]).round(1).to_string())


if __name__ == "__main__":
    sys.exit(main())
