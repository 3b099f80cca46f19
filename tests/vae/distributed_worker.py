"""What test_distributed.py starts under torchrun: train, and say how it went.

Arguments: folders named like `jobs`; with "die" before them, process 1 kills itself in its
seventh step. With "apart", each process takes the sub-folder of its rank, as on machines without a
common disk, and prints how its training ended.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gmvae_lib import InputError, fit, preset
from gmvae_lib.vae.distributed import processes, share
from gmvae_lib.vae.training import Trainer


def jobs():
    """Configurations by name, each a second's work."""
    model, training = preset("quick")
    best = (
        replace(model, K=6, z_dim=3, channels=(4, 8), features=12, auxiliary=(9,), projection=5),
        replace(
            training, epochs=3, batch_size=40, generative_epochs=2, neighbours=3, neighbours_from=1,
            neighbours_every=1, precision="float32", checkpoint_every=3,
        ),
    )  # fmt: skip
    model, training = preset("paper")
    small = replace(model, K=4, z_dim=3, encoder_hidden=(16,), decoder_hidden=(16,))
    paper = small, replace(training, epochs=4, batch_size=40, precision="float32")
    both = best[0], replace(best[1], elbo_weight=0.05, generative_epochs=0)
    rows = replace(
        best[0], image_shape=(12,), encoder="mlp", encoder_hidden=(9,), likelihood="gaussian"
    )
    return {"paper": paper, "best": best, "both": both, "rows": (rows, best[1])}


def data(name):
    """What a job trains on: rows of numbers, or images."""
    if name == "rows":
        return np.random.default_rng(1).normal(size=(130, 12)).astype(np.float32)
    return images()


def images():
    """130 squares of different places and sizes: three steps an epoch, ten images left over."""
    rng = np.random.default_rng(0)
    found = np.zeros((130, 28, 28), np.uint8)
    for image in found:
        top, left, size = rng.integers(0, 14), rng.integers(0, 14), rng.integers(4, 14)
        image[top : top + size, left : left + size] = rng.integers(80, 256)
    return found


def in_double_precision():
    """Networks and draws in float64: after some steps of Adam only a real difference shows."""
    torch.set_default_dtype(torch.float64)


def die_in_step(n):
    advance = Trainer.advance

    def dying(self):
        if self.step == n and share().rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return advance(self)

    Trainer.advance = dying


def main(*folders):
    in_double_precision()
    if folders[0] == "die":
        die_in_step(7)
        folders = folders[1:]
    with processes("cpu") as mine:
        if folders[0] == "apart":
            folder = Path(folders[1])
            try:
                fit(data("paper"), *jobs()["paper"], folder / str(mine.rank), True, device="cpu")
                print(f"process {mine.rank}: trained", flush=True)
            except InputError as error:
                print(f"process {mine.rank}: {error}", flush=True)
            return
        for folder in map(Path, folders):
            run = fit(
                data(folder.name), *jobs()[folder.name], out=folder, resume=True, device="cpu"
            )
            if mine.rank == 1:  # the first one's are in the run's folder
                state = {key: value.tolist() for key, value in run.state.items()}
                folder.with_name(f"{folder.name}-1.json").write_text(json.dumps(state))


if __name__ == "__main__":
    main(*sys.argv[1:])
