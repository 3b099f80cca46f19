"""A run on disk: configurations, weights, history, posterior, provenance.

Layout of a run's folder (all files small, none pickled):
config.json, weights.safetensors, history.csv, provenance.json, and for a published run
posterior.npz, the sparse q(c|x) with the true labels; for a `GMVAEClassifier`, classifier.npz,
which the classifier writes and reads. provenance.json holds the sha256 of the
other files; a file that was cut short or altered is refused.
"""

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from .config import GMVAEConfig, TrainConfig
from .errors import InputError

POSTERIOR_FLOOR = 2e-4  # entries of q above it are stored, and in any case
POSTERIOR_ENTRIES = 16  # this many of each row; rows are renormalised
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

        from .model import GMVAE

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


def write_atomically(path: Path, write) -> None:
    """Call write(temporary path), then move the file into place: never half a file."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_run(run: Run, path) -> Path:
    """Write a run's folder; provenance.json, which vouches for the rest, comes last."""
    import pandas as pd
    from safetensors.numpy import save_file

    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    config = {"model": asdict(run.model_config), "training": asdict(run.train_config)}
    write_atomically(
        path / "config.json", lambda p: p.write_text(json.dumps(config, indent=1) + "\n")
    )
    state = {name: np.array(value, order="C") for name, value in run.state.items()}
    write_atomically(path / "weights.safetensors", lambda p: save_file(state, p))
    history = pd.DataFrame(run.history)
    write_atomically(path / "history.csv", lambda p: history.to_csv(p, index=False))
    if run.posterior is not None:
        columns = pack_posterior(run.posterior)
        if run.labels is not None:
            columns |= {"labels": _smallest(run.labels), "class_names": np.array(run.class_names)}
        columns |= {f"extra_{name}": _smallest(value) for name, value in run.extra.items()}

        def write(p):
            with open(p, "wb") as handle:  # a handle, since savez adds .npz to a name
                np.savez_compressed(handle, **columns)

        write_atomically(path / "posterior.npz", write)
    elif (path / "posterior.npz").exists():
        (path / "posterior.npz").unlink()
    files = {name: _sha256(path / name) for name in _FILES if (path / name).exists()}
    run.provenance = {**run.provenance, "files": files}
    write_atomically(
        path / "provenance.json",
        lambda p: p.write_text(json.dumps(run.provenance, indent=1) + "\n"),
    )
    run.path = path
    return path


def load_run(path) -> Run:
    """Read a run's folder, refusing files that are not the ones that were written."""
    import pandas as pd
    from safetensors.numpy import load_file

    path = Path(path)
    if not (path / "provenance.json").is_file():
        unfinished = (path / "checkpoint.safetensors").is_file()
        found = "an unfinished training" if unfinished else "no provenance.json"
        raise InputError(f"{path}: found {found}, expected the folder of a finished run")
    try:
        provenance = json.loads((path / "provenance.json").read_text())
        files = dict(provenance["files"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path / 'provenance.json'}: found no list of files ({type(error).__name__}), "
            "expected the file that save_run writes"
        ) from None
    for name in ("config.json", "weights.safetensors", "history.csv"):
        files.setdefault(name, "")
    for name, expected in files.items():
        if name not in _FILES or not (path / name).is_file():
            raise InputError(f"{path / name}: not found, expected a file of this run")
        found = _sha256(path / name)
        if found != expected:
            raise InputError(
                f"{path / name}: found sha256 {found[:12]}…, expected {expected[:12] or 'none'}… "
                "as in provenance.json (cut short or altered)"
            )
    config = json.loads((path / "config.json").read_text())
    run = Run(
        model_config=GMVAEConfig(**config["model"]),
        train_config=TrainConfig(**config["training"]),
        history=pd.read_csv(path / "history.csv").to_dict("records"),
        provenance=provenance,
        state=load_file(path / "weights.safetensors"),
        path=path,
    )
    if "posterior.npz" in files:
        with np.load(path / "posterior.npz", allow_pickle=False) as columns:
            run.posterior = unpack_posterior(columns)
            if "labels" in columns:
                run.labels = columns["labels"].astype(np.int64)
                run.class_names = tuple(map(str, columns["class_names"]))
            run.extra = {
                name.removeprefix("extra_"): columns[name]
                for name in columns
                if name.startswith("extra_")
            }
    return run


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
    q = np.zeros(tuple(packed["shape"]), np.float32)
    rows = np.repeat(np.arange(len(q)), packed["counts"])
    q[rows, packed["columns"]] = np.exp(packed["log_values"].astype(np.float32))
    return q / q.sum(1, keepdims=True)


def _smallest(values: np.ndarray) -> np.ndarray:
    """The same integers in the smallest unsigned type that holds them; other types untouched."""
    values = np.asarray(values)
    if values.dtype.kind in "iu" and (values.size == 0 or values.min() >= 0):
        return values.astype(np.min_scalar_type(int(values.max(initial=0))))
    return values


def _sha256(path: Path) -> str:
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
