"""A run on disk: configurations, weights, history, posterior, provenance.

Layout of a run's folder (nothing is pickled): config.json, weights.safetensors, history.csv,
provenance.json; for a published run posterior.npz, the sparse q(c|x) with the true labels; and
embedding.safetensors, what the run keeps of its images (`embedding`). provenance.json holds the
sha256 of the first three and of posterior.npz; a file that was cut short or altered is refused.
"""

import json
import platform
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from gmvae_lib.data.outputs import RUN_FILES, RUN_MARKS
from gmvae_lib.data.storage import (
    expanded,
    file_digest,
    read_npz,
    save_tensors,
    write_atomically,
    write_npz,
)
from gmvae_lib.errors import InputError, one_line
from gmvae_lib.vae.config import GMVAEConfig, TrainConfig, stored_train_config

POSTERIOR_FLOOR = 2e-4  # entries of q above it are stored, and in any case
POSTERIOR_ENTRIES = 16  # this many of each row; rows are renormalised
_PACKED = ("shape", "counts", "columns", "log_values")  # see pack_posterior
_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
_FILES = ("config.json", "weights.safetensors", "history.csv", "posterior.npz", "classifier.npz")


@dataclass
class Run:
    """A trained model with all that is known of how it came about.

    ``state``: the weights, {name: array}. ``history``: one dict an epoch. ``provenance``: data,
    versions, machine, date. ``posterior``: stored q, float32 [N, K], or None. ``labels``,
    ``extra``: true labels int64 [N] and further columns, kept for evaluation only.
    """

    model_config: GMVAEConfig
    train_config: TrainConfig
    history: list[dict]
    provenance: dict
    state: dict[str, np.ndarray]
    posterior: np.ndarray | None = None
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    path: Path | None = None

    @property
    def config(self) -> GMVAEConfig:
        return self.model_config

    @cached_property
    def model(self):
        """The GMVAE, in evaluation mode (loads torch)."""
        import torch

        from gmvae_lib.vae.model import GMVAE

        where = self.path or "state"
        try:
            with torch.device("meta"):  # shapes only: takes no memory for what does not fit
                expected = GMVAE(self.model_config).state_dict()
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            reason = str(error).splitlines()[0][:200]
            raise InputError(
                f"{where}: no such model ({reason}), expected possible sizes"
            ) from None
        for name in sorted({*expected, *self.state}):
            shapes = [tuple(part[name].shape) for part in (self.state, expected) if name in part]
            if len(shapes) < 2 or shapes[0] != shapes[1]:
                raise InputError(
                    f"{where}: weights {name} do not fit the configuration, expected those of a "
                    "model of its sizes"
                )
        with torch.random.fork_rng(devices=[]):  # it draws weights before it is given its own
            model = GMVAE(self.model_config)
        model.load_state_dict(
            {name: torch.from_numpy(np.array(value)) for name, value in self.state.items()}
        )
        return model.eval()

    @property
    def weights(self) -> np.ndarray:
        """Mixture weights pi of the prior, float64 [K]."""
        logits = self.state["prior_logits"].astype(np.float64)
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()


def environment() -> dict:
    """Versions, machine and date, for provenance."""
    import torch

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def save_run(run: Run, path, further: tuple[str, ...] = ()) -> Path:
    """Write a run's folder; provenance.json, which vouches for the rest, comes last.

    further : names of files that the caller has put there and that belong to this run. Any other
    file of the folder is not vouched for, so that no run is read with a file of another one.
    """
    import pandas as pd

    path = expanded(path)
    config = {"model": asdict(run.model_config), "training": asdict(run.train_config)}
    refuse_foreign(path, config)
    path.mkdir(parents=True, exist_ok=True)
    (path / "embedding.safetensors").unlink(missing_ok=True)  # as another model saw its images
    write_atomically(
        path / "config.json", lambda p: p.write_text(json.dumps(config, indent=1) + "\n")
    )
    save_tensors(path / "weights.safetensors", run.state)
    history = pd.DataFrame(run.history)
    write_atomically(path / "history.csv", lambda p: history.to_csv(p, index=False))
    if run.posterior is not None:
        columns = pack_posterior(run.posterior)
        if run.labels is not None:
            columns |= {"labels": _smallest(run.labels), "class_names": np.array(run.class_names)}
        columns |= {f"extra_{name}": _smallest(value) for name, value in run.extra.items()}
        write_npz(path / "posterior.npz", columns)
    elif (path / "posterior.npz").exists():
        (path / "posterior.npz").unlink()
    written = ["config.json", "weights.safetensors", "history.csv", *further]
    written += ["posterior.npz"] if run.posterior is not None else []
    files = {name: file_digest(path / name) for name in written}
    run.provenance = {**run.provenance, "files": files}
    write_atomically(
        path / "provenance.json",
        lambda p: p.write_text(json.dumps(run.provenance, indent=1) + "\n"),
    )
    run.path = path
    return path


def refuse_foreign(path, config) -> None:
    """Refuse a folder without a run that has files of the names of a run's: they are not ours.

    config : JSON-able, as in config.json. A run of that configuration that was cut off is ours.
    """
    if any((path / name).exists() for name in RUN_MARKS):
        return
    there = [name for name in RUN_FILES[:5] if (path / name).exists()]
    try:
        ours = json.loads((path / "config.json").read_text()) == json.loads(json.dumps(config))
    except (OSError, ValueError):
        ours = False
    if there and not ours:
        raise InputError(f"{path}: found {', '.join(there)} of no run, expected a new folder")


def load_run(path) -> Run:
    """Read a run's folder, refusing files that are not the ones that were written."""
    import pandas as pd
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = expanded(path)
    if not (path / "provenance.json").is_file():
        unfinished = (path / "checkpoint.safetensors").is_file()
        found = "an unfinished training" if unfinished else "no provenance.json"
        raise InputError(f"{path}: found {found}, expected the folder of a finished run")
    with _reading(path / "provenance.json"):
        provenance = json.loads((path / "provenance.json").read_text())
        files = {str(name): str(digest) for name, digest in provenance["files"].items()}
    for name in ("config.json", "weights.safetensors", "history.csv"):
        files.setdefault(name, "")
    for name, expected in files.items():
        if name not in _FILES or not (path / name).is_file():
            raise InputError(f"{path / name}: not found, expected a file of this run")
        found = file_digest(path / name)
        if found != expected:
            raise InputError(
                f"{path / name}: found sha256 {found[:12]}…, expected {expected[:12] or 'none'}… "
                "as in provenance.json (cut short or altered)"
            )
    with _reading(path / "config.json"):
        config = json.loads((path / "config.json").read_text())
        configs = GMVAEConfig(**config["model"]), stored_train_config(config["training"])
    with _reading(path / "history.csv"):
        history = pd.read_csv(path / "history.csv").to_dict("records")
    with _reading(path / "weights.safetensors", SafetensorError):
        state = load_file(path / "weights.safetensors")
        if state["prior_logits"].shape != (configs[0].K,):
            raise InputError(f"another number of components than the {configs[0].K} of config.json")
    run = Run(*configs, history, provenance, state, path=path)
    if "posterior.npz" in files:
        with _reading(path / "posterior.npz"):
            _add_posterior(run, read_npz(path / "posterior.npz", _PACKED))
    return run


@contextmanager
def _reading(path, *further):
    """Turn what a malformed file of a run makes its reader raise into an InputError."""
    try:
        yield
    except (*_MALFORMED, *further) as error:
        reason = one_line(error)
        named = isinstance(error, InputError) and str(path) in reason
        raise InputError(
            reason if named else f"{path}: not readable ({reason}), expected what save_run writes"
        ) from None


def _add_posterior(run, columns) -> None:
    """Take posterior, labels and further columns of a run from those of its posterior.npz."""
    if columns["shape"].tolist()[1:] != [run.model_config.K]:  # before memory is taken for it
        raise InputError(f"another number of components than {run.model_config.K}")
    run.posterior = unpack_posterior(columns)
    n = len(run.posterior)
    run.extra = {
        name.removeprefix("extra_"): column
        for name, column in columns.items()
        if name.startswith("extra_")
    }
    if "labels" in columns:
        run.labels = columns["labels"].astype(np.int64)
        run.class_names = tuple(map(str, columns["class_names"]))
        if n and not 0 <= run.labels.min() <= run.labels.max() < len(run.class_names):
            raise InputError(f"labels beyond {len(run.class_names)} class names")
    for name, column in [("labels", run.labels), *run.extra.items()]:
        if column is not None and column.shape[:1] != (n,):
            raise InputError(f"{name} of shape {column.shape}, expected {n} rows")


def pack_posterior(
    q: np.ndarray, floor: float = POSTERIOR_FLOOR, entries: int = POSTERIOR_ENTRIES
) -> dict[str, np.ndarray]:
    """Sparse form of q [N, K]: float16 logarithms of the larger entries, with their columns.

    Kept are the entries above ``floor`` and the largest ``entries`` of each row however small: with
    few labels most of an image's likeliest components have none, and then a decoder goes by the
    order of the small values.
    """
    entries = min(entries, q.shape[1])
    smallest_kept = -np.partition(-q, entries - 1, axis=1)[:, entries - 1 : entries]
    rows, columns = np.nonzero((q > floor) | ((q >= smallest_kept) & (q > 0)))
    return {
        "shape": np.array(q.shape),
        "counts": _smallest(np.bincount(rows, minlength=len(q))),
        "columns": _smallest(columns),
        "log_values": np.log(q[rows, columns]).astype(np.float16),
    }


def unpack_posterior(packed) -> np.ndarray:
    """Inverse of ``pack_posterior``: float32 [N, K], rows renormalised to sum to 1."""
    shape, counts, columns, log_values = (packed[name] for name in _PACKED)
    whole_numbers = all(part.dtype.kind in "iu" for part in (shape, counts, columns))
    if not (whole_numbers and log_values.dtype.kind == "f" and shape.shape == (2,)):
        raise InputError("posterior: arrays of other types, expected those of pack_posterior")
    n, K = map(int, shape)
    fits = (
        counts.shape == (n,)
        and columns.shape == log_values.shape == (counts.sum(),)
        and counts.min(initial=1) >= 1
        and columns.min(initial=0) >= 0
        and columns.max(initial=0) < max(K, 1)
    )
    if not fits:
        raise InputError(f"posterior: entries that do not fit [{n}, {K}], expected some a row")
    with np.errstate(over="ignore"):  # an infinite sum is refused below
        values = np.exp(log_values.astype(np.float32))
    q = np.zeros((n, K), np.float32)
    q[np.repeat(np.arange(n), counts), columns] = values
    total = q.sum(1, keepdims=True)
    if not (np.isfinite(total) & (total > 0)).all():
        raise InputError("posterior: rows that do not sum to a number above 0, expected shares")
    return q / total


def _smallest(values: np.ndarray) -> np.ndarray:
    """The same integers in the smallest unsigned type that holds them; other types untouched."""
    values = np.asarray(values)
    if values.dtype.kind in "iu" and (values.size == 0 or values.min() >= 0):
        return values.astype(np.min_scalar_type(int(values.max(initial=0))))
    return values
