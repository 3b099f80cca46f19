"""The work that the benchmarks measure, and the measuring of one task at one size.

Each task prepares for a size and returns the work. `measure` runs it in a process of its own,
``python -m benchmarks.tasks TASK SIZE``, which prints seconds and the memory that the work took
beyond what the imports did.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from gmvae_lib import GMVAE, SoftDecoder, fit, load_run, preset
from gmvae_lib.data.shards import ShardedImages
from gmvae_lib.vae.device import fast_bf16
from gmvae_lib.vae.model import embed_batches
from gmvae_lib.vae.nearest import nearest
from gmvae_lib.vae.objective import elbo
from gmvae_lib.vae.training import Trainer

BATCH = 32  # images of a K-head step here: the growth is that of any batch, sooner measured
LONG = 5.0  # seconds: then once is enough


# ---- steps and trainings ----


def plain_loss(model, x, noise):
    """-ELBO of x [B, P], with K decodes an image: the straightforward way."""
    K, D = model.config.K, model.config.z_dim
    h = model.encoder(x)
    q = torch.softmax(model.cluster(h), dim=1)
    means, log_variances = [], []
    for c in range(K):
        rows = slice(c * D, (c + 1) * D)
        means.append(F.linear(h, model.mean.weight[rows], model.mean.bias[rows]))
        log_variances.append(
            F.linear(h, model.log_variance.weight[rows], model.log_variance.bias[rows])
        )
    mean, log_variance = torch.stack(means, 1), torch.stack(log_variances, 1)  # [B, K, D]
    z = mean + torch.exp(0.5 * log_variance) * noise
    p = torch.sigmoid(model.decoder(z.reshape(-1, D)))  # [B K, P]
    expanded = x[:, None].expand(-1, K, -1).reshape(len(x) * K, -1).contiguous()
    cross_entropy = F.binary_cross_entropy(p, expanded, reduction="none").sum(1).view(-1, K)
    prior_variance = model.prior_log_variance.exp()
    kl_z = 0.5 * (
        model.prior_log_variance
        - log_variance
        + (log_variance.exp() + (mean - model.prior_mean) ** 2) / prior_variance
        - 1
    ).sum(2)
    kl_c = (q * (torch.log(q + 1e-10) - model.log_weights)).sum(1)
    return ((q * (cross_entropy + kl_z)).sum(1) + kl_c).mean()


def trainer(name, device="cpu", **changes) -> Trainer:
    """A training of a preset on a few thousand random images: its steps are those of any."""
    model, training = preset(name, **changes)
    images = np.random.default_rng(0).integers(0, 256, (5_000, *model.image_shape), dtype=np.uint8)
    return Trainer(images, model, training, torch.device(device))


# ---- tasks ----


def posterior(n):
    """q(c|x) of n images in .npy shards, preset best, written as a stream."""
    folder = tempfile.TemporaryDirectory()
    for i in range(10):
        part = np.random.default_rng(i).integers(0, 256, (n // 10, 28, 28), dtype=np.uint8)
        np.save(Path(folder.name) / f"{i}.npy", part)
    model = load_run("results/letters100k").model

    def work(folder=folder):
        with open(Path(folder.name) / "q", "wb") as out:
            for q, _ in embed_batches(model, ShardedImages(folder.name)):
                out.write(q)

    return work


def epoch(n):
    """One epoch of the consistency term on n images in a shard, preset quick."""
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "images.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8))
    model, training = preset("quick", epochs=1, generative_epochs=0)

    def work(folder=folder):
        fit(ShardedImages(file), model, training)

    return work


def neighbours(n):
    """The ten nearest of n features of 256 numbers, each against all."""
    features = np.random.default_rng(0).normal(size=(n, 256)).astype(np.float32)
    return lambda: nearest(features, 10)


def decode(n):
    """Soft decoding of n posteriors of 100 entries in a mapped file."""
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "q.npy"
    part = np.random.default_rng(0).dirichlet(np.full(100, 0.1), 10_000).astype(np.float32)
    q = np.lib.format.open_memmap(file, "w+", np.float32, (n, 100))
    for start in range(0, n, len(part)):
        q[start : start + len(part)] = part
    q.flush()
    decoder = SoftDecoder().fit(part[:1000], np.arange(1000) % 26)

    def work(folder=folder):
        for start in range(0, n, 100_000):
            decoder.predict(np.load(file, mmap_mode="r")[start : start + 100_000])

    return work


def _step(batch=BATCH, kind="exact", **changes):
    torch.manual_seed(0)
    config = replace(preset("paper")[0], **changes)
    model = GMVAE(config)
    x = (torch.rand(batch, config.n_pixels) < 0.2).float()
    noise = torch.randn(batch, config.K, config.z_dim)

    def work():
        model.zero_grad()
        if kind == "plain":
            plain_loss(model, x, noise).backward()
            return
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bf16(torch.device("cpu"))):
            loss = -elbo(model, x, model.encode(x), torch.Generator()).elbo.mean()
        loss.backward()

    return work


def step_of_components(K):
    """A step of the K-head posterior, sizes of the preset paper but for K."""
    return _step(K=K)


def step_of_codes(z_dim):
    """A step of the K-head posterior with 20 components, sizes of the preset paper but for z."""
    return _step(K=20, z_dim=z_dim)


def shared_step_of_components(K):
    """A step of the shared posterior (one decode an image), sizes of the preset paper but for K."""
    return _step(K=K, posterior="shared", batch=500)


def plain_step(batch):
    """The plain step of benchmarks/step.py, preset paper, for its memory."""
    return _step(batch, "plain")


def exact_step(batch):
    """The exact step, preset paper, for its memory."""
    return _step(batch)


def one_step(of: Trainer) -> None:
    """The first step of a training, again and again: never the end of an epoch or of a phase."""
    of.step = 0
    of.start_epoch()
    of.advance()


def training_step(batch):
    """A joint training step of the preset best, for its memory."""
    of = trainer("best", batch_size=batch)
    return lambda: one_step(of)


# ---- one point ----


class _Memory(threading.Thread):
    """The largest anonymous memory of this process while the thread runs, in bytes.

    Pages mapped from files do not count: the system drops them when others need the memory.
    Where /proc is not at hand, the whole process's peak stands for it.
    """

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.done = anonymous(), threading.Event()

    def run(self):
        while not self.done.wait(0.005):
            self.peak = max(self.peak, anonymous())


def anonymous() -> int:
    """Bytes of anonymous memory in use."""
    try:
        text = Path("/proc/self/status").read_text()
        return 1024 * int(text.split("RssAnon:")[1].split()[0])
    except (OSError, IndexError):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_here(task, size) -> dict:
    """Seconds (the better of two, where one is short) and extra bytes of a task's work, here."""
    work = task(size)
    before = anonymous()
    memory = _Memory()
    memory.start()
    seconds = []
    while not seconds or (len(seconds) < 2 and seconds[0] < LONG):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    memory.done.set()
    memory.join()
    return {"size": size, "seconds": min(seconds), "bytes": max(0, memory.peak - before)}


def measure(task, size) -> dict:
    """`measure_here` in a process of its own, whose memory nothing else has touched."""
    line = [sys.executable, "-m", "benchmarks.tasks", task.__name__, str(size)]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(
        line, check=True, capture_output=True, text=True, env={**os.environ, **threads}
    )
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    name, size = sys.argv[1:]
    print(json.dumps(measure_here(globals()[name], int(size))))
