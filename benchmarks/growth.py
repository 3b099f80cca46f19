"""How time and memory grow with the images N, the components K and the codes' size: exponents.

Each point is measured in a process of its own, ``python -m benchmarks.growth TASK SIZE``, which
prints seconds and the memory that the work took beyond what the imports did.
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

DECADE = (1, 2, 5, 10)
BATCH = 32  # images of a K-head step here: the growth is that of any batch, sooner measured
LONG = 5.0  # seconds: then once is enough
FLAT = 2**25  # bytes: less than this says nothing of growth


# ---- tasks: each prepares for a size, and returns the work to be measured ----


def posterior(n):
    """q(c|x) of n images in .npy shards, preset best, written as a stream."""
    from gmvae_lib import load_run
    from gmvae_lib.data.shards import ShardedImages
    from gmvae_lib.vae.model import embed_batches

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
    from gmvae_lib import fit, preset
    from gmvae_lib.data.shards import ShardedImages

    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "images.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8))
    model, training = preset("quick", epochs=1, generative_epochs=0)

    def work(folder=folder):
        fit(ShardedImages(file), model, training)

    return work


def neighbours(n):
    """The ten nearest of n features of 256 numbers, each against all."""
    from gmvae_lib.vae.nearest import nearest

    features = np.random.default_rng(0).normal(size=(n, 256)).astype(np.float32)
    return lambda: nearest(features, 10)


def decode(n):
    """Soft decoding of n posteriors of 100 entries in a mapped file."""
    from gmvae_lib import SoftDecoder

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
    import torch

    from gmvae_lib import GMVAE, preset
    from gmvae_lib.vae.device import fast_bf16
    from gmvae_lib.vae.objective import elbo

    from .step import TOP, plain_loss

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
        top = TOP if kind == "truncated" else None
        with torch.autocast("cpu", torch.bfloat16, enabled=fast_bf16(torch.device("cpu"))):
            loss = -elbo(model, x, model.encode(x, top), torch.Generator()).elbo.mean()
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


def truncated_step(batch):
    """The truncated step, preset paper, for its memory."""
    return _step(batch, "truncated")


def training_step(batch):
    """A joint training step of the preset best, for its memory."""
    from .training import trainer

    of = trainer("best", batch_size=batch)
    return lambda: of.advance(np.arange(batch))


GROWTH = {  # task: (what grows, its least size)
    posterior: ("N", 10_000),
    epoch: ("N", 5_000),
    neighbours: ("N", 5_000),
    decode: ("N", 200_000),
    step_of_components: ("K", 20),
    shared_step_of_components: ("K", 100),
    step_of_codes: ("z", 20),
}


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
    import torch  # noqa: F401 — what an import takes is not the work's

    import gmvae_lib.vae.training  # noqa: F401

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
    import torch

    line = [sys.executable, "-m", "benchmarks.growth", task.__name__, str(size)]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(
        line, check=True, capture_output=True, text=True, env={**os.environ, **threads}
    )
    return json.loads(done.stdout.splitlines()[-1])


# ---- rows ----


def exponent(sizes, values) -> float:
    """Slope of log(value) against log(size), by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def rows():
    found = []
    for task, (variable, least) in GROWTH.items():
        points = [measure(task, least * factor) for factor in DECADE]
        sizes = [point["size"] for point in points]
        about = {"task": task.__name__, "variable": variable, "points": points}
        what = task.__doc__.rstrip(".").replace(" n ", " N ")
        for measured in ("seconds", "bytes"):
            values = [point[measured] for point in points]
            flat = measured == "bytes" and max(values) < FLAT
            found.append(
                {
                    "what": f"{what}: {'time' if measured == 'seconds' else 'memory'}",
                    "against": f"{variable} from {sizes[0]:,} to {sizes[-1]:,}",
                    "value": 0.0 if flat else exponent(sizes, values),
                    "unit": "exponent",
                    "target": None,
                    "measured": measured,
                    **about,
                }
            )
    return found


if __name__ == "__main__":
    name, size = sys.argv[1:]
    print(json.dumps(measure_here(globals()[name], int(size))))
