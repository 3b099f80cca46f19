"""Checkpoints of a training: everything that the next step depends on, in one file."""

import json
import math
from contextlib import contextmanager
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import torch

from gmvae_lib.data.storage import file_digest, load_tensors, save_tensors
from gmvae_lib.errors import InputError, one_line
from gmvae_lib.vae.distributed import Share, all_states
from gmvae_lib.vae.loss import below

CHECKPOINT = "checkpoint.safetensors"
# where the images lay; how often to save; how they were read, which shape and sha256 settle
MAY_DIFFER = ("source", "checkpoint_every", "reading")
ANEW, RESUMED, FINISHED, REFUSED = range(4)  # states of a run's folder


def save(trainer, path, provenance: dict, seconds: float) -> None:
    """Write a checkpoint of a `training.Trainer`; seconds : that the epoch under way has taken."""
    tensors = {f"model.{k}": v.cpu().numpy() for k, v in trainer.model.state_dict().items()}
    for i, entry in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v.cpu().numpy() for k, v in entry.items()}
    if trainer.neighbours is not None:
        tensors["neighbours"] = trainer.neighbours
    about = {
        "step": trainer.step,
        "history": trainer.history,
        "sums": trainer.ledger.sums_by_name() | {"seconds": seconds},
        "model": asdict(trainer.model.config),
        "training": asdict(trainer.config),
        "data": provenance["data"],
    }
    save_tensors(path, tensors, about)


def load(trainer, path, provenance: dict) -> None:
    """Put a trainer into the state of a checkpoint; InputError if it is damaged or of another."""
    tensors, about = load_tensors(path)
    try:
        for part, here in (
            ("model", asdict(trainer.model.config)),
            ("training", asdict(trainer.config)),
            ("data", provenance["data"]),
        ):
            require_same(path, about[part], here)
        _restore(trainer, tensors, about)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"{path}: {one_line(error)}; expected a checkpoint that fit wrote"
        ) from None


def require_same(where, found: dict, expected: dict, prefix="") -> None:
    """InputError that names the first field in which a stored training differs from this one."""
    for name in sorted({*found, *expected}):
        a, b = found.get(name), expected.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            require_same(where, a, b, f"{prefix}{name}.")
        elif json.dumps(a) != json.dumps(b) and name not in MAY_DIFFER:
            raise InputError(
                f"{where}: found {prefix}{name} = {a!r}, expected {b!r} to resume this training"
            )


def _restore(trainer, tensors, about) -> None:
    step, history, sums = about["step"], about["history"], dict(about["sums"])
    epochs = step // trainer.steps_per_epoch
    if not 0 <= step <= trainer.n_steps or [row["epoch"] for row in history] != list(
        range(1, epochs + 1)
    ):
        raise ValueError(f"step {step} after {len(history)} epochs")
    times = [sums["seconds"], *(row["seconds"] for row in history)]
    if not all(math.isfinite(value) for value in [*times, *sums.values()]):
        raise ValueError("numbers that are not finite")
    neighbours = tensors.get("neighbours")
    if neighbours is not None and not (
        neighbours.dtype == np.int32
        and neighbours.shape[:1] == (len(trainer.pictures),)
        and neighbours.ndim == 2
        and 0 <= neighbours.min() <= neighbours.max() < len(trainer.pictures)
    ):
        raise ValueError("neighbours that are no rows of the images")
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    trainer.model.load_state_dict(below(tensors, "model."))
    optimizer = trainer.optimizer.state_dict()
    parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
    for name, value in below(tensors, "optimizer.").items():
        i, key = name.split(".", 1)
        if value.shape == parameters[int(i)].shape and key != "step":
            # a fused step goes through memory in order: channels last, as the weights
            value = torch.empty_like(parameters[int(i)], device="cpu").copy_(value)
        optimizer["state"].setdefault(int(i), {})[key] = value
    trainer.optimizer.load_state_dict(optimizer)
    for parameter, entry in trainer.optimizer.state.items():
        if any(value.shape not in (parameter.shape, ()) for value in entry.values()):
            raise ValueError("an optimizer of other sizes")
    trainer.step, trainer.history, trainer.neighbours = step, history, neighbours
    trainer.elapsed = sums.pop("seconds")
    trainer.ledger.set(step, sums)


@contextmanager
def agreement(share: Share, device):
    """Compare what the processes of a training find in its folder, at the end of the block.

    Without a common disk they may find different things, and gradients of different weights would
    be averaged. The block sets ``state`` and, for RESUMED, ``path`` of what this yields. Where the
    processes differ, all of them raise an InputError; where one raises, all others do, too.
    """
    found = SimpleNamespace(state=ANEW, path=None)
    try:
        yield found
    except BaseException:
        if share.world > 1:
            all_states([REFUSED] + [0] * 4, device)
        raise
    if share.world == 1:
        return
    digest = bytes(32) if found.path is None else bytes.fromhex(file_digest(found.path))
    parts = [int.from_bytes(digest[i : i + 8], "big", signed=True) for i in range(0, 32, 8)]
    states = all_states([found.state, *parts], device)
    for rank, state in enumerate(states):
        if state[0] == REFUSED:
            raise InputError(f"process {rank}: found an error, see its message; expected none")
    if any(state != states[0] for state in states):
        names = ["no checkpoint", "a checkpoint", "a finished run"]
        each = ", ".join(
            f"{names[state[0]]} in process {rank}" for rank, state in enumerate(states)
        )
        raise InputError(
            f"out: found {each}, not the same in all; expected a folder that the processes share, "
            "or copies of that of process 0"
        )
