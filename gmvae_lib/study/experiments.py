"""The label-efficiency sweep: methods x label counts x seeds, resumable and parallel.

A cell of the sweep draws labelled images at random, fits one method on them, and measures its
accuracy on all the other images. Cells run where ``joblib.parallel_config`` says: in processes or
threads here, or on the machines of a Dask or Ray cluster.
"""

import argparse
import io
import json
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend
from sklearn.base import BaseEstimator, clone
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from gmvae_lib.data.storage import array_digest, write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import GraphDecoder, cluster_affinity, decoders
from gmvae_lib.label.neighbours import neighbour_decoder
from gmvae_lib.study.metrics import mean_and_interval
from gmvae_lib.study.programs import program

COLUMNS = ("method", "n_labels", "seed", "accuracy", "n_evaluated", "seconds")
CELL = list(COLUMNS[:3])
ROWS_AT_ONCE = 4096
RECORDED_PACKAGES = ("numpy", "scikit-learn", "xgboost", "gmvae_lib")


def label_counts(n_total):
    """The label counts of Figure 3, ascending, up to half of n_total images.

    The article's counts of its 145,600 images from 7 to 2,912, with 15 and 29 between them and
    14,560, so that data sets compare by the number of labels; then 7 % and half of n_total.
    """
    if n_total < 2:
        raise InputError(f"n_total: found {n_total}; expected at least 2")
    counts = {7, 15, 29, 73, 146, 291, 728, 1456, 2912, 14560, round(0.07 * n_total), n_total // 2}
    return sorted(count for count in counts if 1 <= count <= n_total // 2)


def draw_labelled(n_total, n_labels, seed):
    """Draw the images to label, uniformly at random without replacement.

    The draw is the beginning of one permutation for each seed, so that the draws of one seed are
    nested, and the same for every method.

    Returns
    -------
    int array [n_labels]
    """
    if not 1 <= n_labels <= n_total:
        raise InputError(
            f"n_labels: found {n_labels}; expected 1 to {n_total}, the number of images"
        )
    return np.random.default_rng(seed).permutation(n_total)[:n_labels]


def summarise(table, confidence=0.95):
    """Mean accuracy and t interval over seeds, cut off at 0 and 1.

    Parameters
    ----------
    table : DataFrame, from `sweep`

    Returns
    -------
    DataFrame
        method, n_labels, mean, low, high, n_seeds
    """
    rows = [
        (method, n_labels, *mean_and_interval(group["accuracy"], confidence), len(group))
        for (method, n_labels), group in table.groupby(["method", "n_labels"])
    ]
    found = pd.DataFrame(rows, columns=["method", "n_labels", "mean", "low", "high", "n_seeds"])
    return found.assign(low=found["low"].clip(lower=0), high=found["high"].clip(upper=1))


def decoded(q, neighbours):
    """Inputs of the decoders of the sweep, and the decoders: two dicts by kind of input.

    q : [N, K], posteriors of all images. neighbours : int [N, n], the images nearest to each.
    """
    on_neighbours = neighbour_decoder(q, neighbours)
    smoothed = on_neighbours.q
    return {"q": q, "smoothed": smoothed, "rows": np.arange(len(smoothed))}, {
        "q": decoders(q),
        "smoothed": {"smoothed": GraphDecoder(cluster_affinity(smoothed))},
        "rows": {"neighbours": on_neighbours},
    }


def sweep(
    features,
    y,
    methods,
    n_labels,
    seeds,
    *,
    out=None,
    n_jobs=None,
    n_threads=1,
    progress=True,
):
    """Measure the accuracy of every method at every label count with every seed.

    Parameters
    ----------
    features : dict of str to array [N, ...]
        The inputs of the methods, for instance ``{"q": q, "pixels": images.pixels()}``.
    y : array [N]
        True labels; a method is given only those of its labelled images.
    methods : dict of str to dict
        For each kind of features its methods by name, for instance
        ``{"q": decoders(q), "pixels": pixel_baselines()}``. A method is an unfitted scikit-learn
        classifier, or a callable ``factory(n_labels, seed, n_threads)`` that makes one.
    n_labels, seeds : sequences of int
    out : path, optional
        CSV of the results. Cells that it already holds are not run again, and each finished cell
        is saved at once, so that an interruption loses only the cells that were running.
        ``<out>.provenance.json`` records the data. One process at a time may write to it.
    n_jobs : int, optional
        Cells run at the same time: by default what ``joblib.parallel_config`` says, else 1. The
        arrays are shared, not copied, among processes of one machine.
    n_threads : int
        Threads of each cell.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    DataFrame
        The requested cells, sorted: method, n_labels, seed, accuracy, n_evaluated, seconds (fit and
        predict).

    Raises
    ------
    InputError
        If arguments do not fit together, or `out` is damaged or of other data.
    """
    y = np.asarray(y)
    _check(features, y, methods, n_labels, seeds)
    requested = {
        (name, n, seed): (kind, method)
        for n in sorted({int(n) for n in n_labels})  # the fastest cells first
        for kind, named in methods.items()
        for name, method in named.items()
        for seed in sorted({int(seed) for seed in seeds})
    }
    done = {}
    if out is not None:
        out = Path(out)
        used = {kind: features[kind] for kind, named in methods.items() if named}
        done = _open_table(out, _provenance(used, y))
    left = [cell for cell in requested if cell not in done]
    # rows arrive as they are finished, and are saved at once; Ray's backend returns all at the end
    streams = get_active_backend()[0].supports_return_generator
    running = Parallel(n_jobs=n_jobs, return_as="generator_unordered" if streams else "list")(
        delayed(_run_cell)(features[requested[cell][0]], y, requested[cell][1], cell, n_threads)
        for cell in left
    )
    for row in tqdm(running, total=len(left), unit="cell", desc="sweep", disable=not progress):
        done[tuple(row[:3])] = row
        if out is not None:
            _save(out, _table(done.values()).to_csv(index=False))
    return _table(done[cell] for cell in requested)


def drop_methods(out, kind, methods):
    """Remove the rows of some methods from a table, and the digest of the features they read.

    For results that must be measured again, such as those of decoders after a new posterior.
    """
    out = Path(out)
    path = provenance_file(out)
    if not (out.exists() and path.exists()):
        return
    rows = [row for row in _read_rows(out).values() if row[0] not in methods]
    recorded = json.loads(path.read_text(encoding="utf-8"))
    recorded["features"].pop(kind, None)
    _save(out, _table(rows).to_csv(index=False))
    _save(path, json.dumps(recorded, indent=2) + "\n")


def join(out, parts):
    """Add the cells of tables that were measured apart, as by other processes, to a table.

    Cells that ``out`` has already stay as they are; of cells that several parts have, the first
    counts. Nothing is written unless all are of the same data.

    Parameters
    ----------
    out, parts : paths of tables that `sweep` wrote, with their provenance beside them

    Returns
    -------
    DataFrame, the whole table
    """
    out, parts = Path(out), [Path(part) for part in parts]
    rows, recorded = {}, None
    for table in ([out] if out.exists() else []) + parts:
        provenance = _read_provenance(provenance_file(table))
        recorded = recorded or provenance
        recorded = _joined(provenance_file(out), recorded, provenance)
        rows = _read_rows(table) | rows
    _save(provenance_file(out), json.dumps(recorded, indent=2) + "\n")
    _save(out, _table(rows.values()).to_csv(index=False))
    return _table(rows.values())


def _check(features, y, methods, n_labels, seeds):
    names = [name for named in methods.values() for name in named]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"methods: found {repeated} more than once; expected different names")
    for kind in methods:
        if kind not in features:
            raise InputError(f"methods: found the kind {kind!r}; expected one of {list(features)}")
        if len(features[kind]) != len(y):
            raise InputError(
                f"features[{kind!r}]: found {len(features[kind])} rows; expected {len(y)}, as y has"
            )
    if not (names and len(n_labels) and len(seeds)):
        raise InputError(
            f"methods, n_labels, seeds: found {len(names)}, {len(n_labels)} and {len(seeds)}; "
            "expected at least one of each"
        )
    if min(n_labels) < 1 or max(n_labels) >= len(y):
        raise InputError(
            f"n_labels: found {min(n_labels)} to {max(n_labels)}; expected 1 to {len(y) - 1}, "
            "to leave an image to evaluate"
        )


def _run_cell(X, y, method, cell, n_threads):
    """Fit and evaluate one cell; returns its row of the table."""
    name, n_labels, seed = cell
    labelled = draw_labelled(len(y), n_labels, seed)
    unlabelled = np.ones(len(y), dtype=bool)
    unlabelled[labelled] = False
    if isinstance(method, BaseEstimator):
        classifier = clone(method)
    else:
        classifier = method(n_labels, seed, n_threads)
    correct = 0
    start = time.perf_counter()
    with threadpool_limits(n_threads):
        classifier.fit(X[labelled], y[labelled])
        for first in range(0, len(y), ROWS_AT_ONCE):  # keeps memory flat
            rows = slice(first, first + ROWS_AT_ONCE)
            kept = unlabelled[rows]
            if kept.any():
                correct += np.count_nonzero(classifier.predict(X[rows][kept]) == y[rows][kept])
    seconds = time.perf_counter() - start
    n_evaluated = len(y) - n_labels
    return name, n_labels, seed, correct / n_evaluated, n_evaluated, round(seconds, 3)


def _table(rows):
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(CELL, ignore_index=True)


def _save(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8", newline=""))


def _describe(array):
    array = np.asarray(array)
    return {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": array_digest(array)}


def _provenance(features, y):
    # Integer labels are the same data whatever their width.
    y = y.astype(np.int64) if np.issubdtype(y.dtype, np.integer) else y
    versions = {}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # optional, or run from a checkout
            continue
    return {
        "n_images": len(y),
        "labels": _describe(y),
        "features": {kind: _describe(array) for kind, array in features.items()},
        "versions": versions,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _open_table(out, provenance):
    """Rows by cell of an existing table; writes or extends its provenance."""
    path = provenance_file(out)
    rows = _read_rows(out) if out.exists() else {}
    if rows:
        provenance = _same_data(path, provenance)
        wrong = [row for row in rows.values() if row[1] + row[4] != provenance["n_images"]]
        if wrong:
            raise InputError(
                f"{out}: found {wrong[0][1]} labels and {wrong[0][4]} evaluated images in a row; "
                f"expected them to add up to {provenance['n_images']}"
            )
    _save(path, json.dumps(provenance, indent=2) + "\n")
    return rows


def provenance_file(out):
    return out.with_name(out.name + ".provenance.json")


def _read_rows(out):
    header = ",".join(COLUMNS)
    advice = "expected a table that `sweep` wrote (move the file away to start again)"
    try:
        text = out.read_text(encoding="utf-8")
        if not text.startswith(header + "\n") or not text.endswith("\n"):
            raise InputError(f"{out}: found another header or a cut-off end; {advice}")
        dtypes = {"method": str, "n_labels": int, "seed": int, "n_evaluated": int}
        # through strings: some versions of pandas lose the last digit of a float
        exact = {"accuracy": str, "seconds": str}
        table = pd.read_csv(io.StringIO(text), dtype=dtypes | exact)
        table = table.astype(dict.fromkeys(exact, float))
    except InputError:  # a ValueError too
        raise
    except (ValueError, OverflowError) as error:
        raise InputError(f"{out}: found a row that cannot be read; {advice}") from error
    if table.isna().any(axis=None) or table.duplicated(CELL).any():
        raise InputError(f"{out}: found an incomplete or repeated row; {advice}")
    return {row[:3]: row for row in table.itertuples(index=False, name=None)}


def _same_data(path, provenance):
    """The recorded provenance with new kinds of features added, if it is of the same data."""
    return _joined(path, _read_provenance(path), provenance)


def _read_provenance(path) -> dict:
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
        before = {"labels": recorded["labels"], **recorded["features"]}
        [str(described["sha256"]) for described in before.values()]
        if not isinstance(recorded["n_images"], int):
            raise TypeError("n_images")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: found no readable provenance; expected the one written with the table"
        ) from error
    return recorded


def _joined(path, recorded, provenance) -> dict:
    """What is recorded at a path, with the features of another provenance of the same data."""
    before = {"labels": recorded["labels"], **recorded["features"]}
    now = {"labels": provenance["labels"], **provenance["features"]}
    for what in now.keys() & before.keys():
        if now[what] != before[what]:
            raise InputError(
                f"{path}: found {what} with sha256 {str(before[what]['sha256'])[:12]}, expected "
                f"{now[what]['sha256'][:12]} as given; use another out for other data"
            )
    return recorded | {"features": recorded["features"] | provenance["features"]}


@program("experiments")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.experiments", description=join.__doc__.splitlines()[0]
    )
    parser.add_argument("out", type=Path, help="table to add to, or a new one")
    parser.add_argument("parts", type=Path, nargs="+", help="tables to add")
    args = parser.parse_args(argv)
    table = join(args.out, args.parts)
    print(f"{args.out}: {len(table)} cells")


if __name__ == "__main__":
    sys.exit(main())
