"""What needs a GPU, in one command: ``python -m benchmarks.gpu --out FOLDER [--minutes M]``.

Runs from the repository's root on a machine that has torch, numpy, scipy, scikit-learn, pandas,
tqdm, safetensors and pytest, with no network and without installing the library. Its parts:

tests      the tests that need a GPU
steps      seconds of a training step in its several forms, share of the card's peak, memory
posterior  images a second of cluster_posterior
best       the preset best to its end
paper      the preset paper, several seeds side by side, for as long as the time allows
models     only when asked for: ten seeds of best, posteriors and neighbours in seeds*.npz
large      only when asked for: the preset large, fewer epochs where the time does not allow all

FOLDER then holds at most eight files below 15 MB: measures.json (rewritten after every part),
curves.csv, posterior.npz and weights.*.part (preset paper) and best.npz. Labels are used to report
accuracies and for nothing else. With ``--work DIR`` a training that was stopped resumes.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from gmvae_lib.data.idx import load_idx
from gmvae_lib.data.image_set import LETTERS, ImageSet
from gmvae_lib.data.storage import write_atomically, write_npz
from gmvae_lib.errors import InputError, one_line
from gmvae_lib.label.neighbours import NEIGHBOURS
from gmvae_lib.vae.config import preset
from gmvae_lib.vae.ledger import Ledger
from gmvae_lib.vae.model import GMVAE, cluster_posterior, embed
from gmvae_lib.vae.nearest import nearest
from gmvae_lib.vae.runs import environment, pack_posterior
from gmvae_lib.vae.training import Trainer, fit

from . import side_by_side
from .worth import LARGEST, half, worth

DATA = "../shared/data/emnist-letters-100k/images-idx3-ubyte.gz"
PARTS = ("tests", "steps", "posterior", "best", "paper")
ON_REQUEST = ("models", "large")
MODELS = 10  # seeds of the part models, two in a file
TINY = 800  # images
SLOWER, AFTERWARDS = 1.15, 25.0  # of large: an epoch beside its steps; seconds after its course
SMALL = {  # model fields, training fields, with which a preset trains in seconds on a CPU
    "paper": (
        {"K": 6, "z_dim": 4, "encoder_hidden": (32,) * 4, "decoder_hidden": (32,)},
        {"epochs": 4, "batch_size": 100},
    ),
    "best": (
        {"K": 26, "z_dim": 4, "channels": (4, 8), "features": 16, "auxiliary": (40,)}
        | {"decoder_hidden": (32,), "style": 16, "projection": 8},
        {"epochs": 4, "generative_epochs": 2, "batch_size": 100, "neighbours_from": 2},
    ),
}

SMALLER = {"paper-relu": "paper", "large": "best"}  # presets as small as another


class Session:
    """What the parts share: data, device, deadline, and what has been measured so far."""

    def __init__(self, args):
        self.args, self.out, self.tiny = args, Path(args.out), args.tiny
        self.work = Path(args.work or f"{args.out}.work")
        self.started = time.monotonic()
        self.deadline = self.started + 60 * args.minutes
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.images = _images(args)
        self.measures = {"environment": environment() | machine(self.device), "parts": {}}
        self.measures["data"] = dict(self.images.provenance)
        for folder in (self.out, self.work):
            folder.mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def preset(self, name, n_epochs=None, **changes):
        """A preset's configurations; small ones for ``--tiny``."""
        model, training = preset(name, epochs=n_epochs)
        if self.tiny:
            of_model, of_training = SMALL[SMALLER.get(name, name)]
            model, training = replace(model, **of_model), replace(training, **of_training)
        return model, replace(training, **changes)

    def sync(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def write(self) -> None:
        text = json.dumps(self.measures, indent=1) + "\n"
        write_atomically(self.out / "measures.json", lambda path: path.write_text(text))


def _images(args) -> ImageSet:
    """EMNIST letters from an IDX file, upright; for ``--tiny`` without one, blurred patterns."""
    if args.data is None and args.tiny:
        rng = np.random.default_rng(0)
        patterns = rng.random((26, 7, 7)).repeat(4, 1).repeat(4, 2) * 200
        labels = rng.integers(26, size=TINY)
        images = patterns[labels] + rng.integers(0, 56, (TINY, 28, 28))
        return ImageSet(images.astype(np.uint8), labels, LETTERS, {"name": "patterns"})
    path = Path(args.data or DATA)
    if not path.is_file():
        raise InputError(f"--data: found no file {path}, expected an IDX file of images")
    images, _ = load_idx(path)  # and not load_images, which needs Pillow
    if images.labels is None:
        raise InputError(
            f"--data: found no labels beside {path}, expected labels-idx1 to report by"
        )
    # EMNIST's files are stored transposed
    about = images.provenance | {"transposed": True}
    images = replace(images, images=images.images.swapaxes(1, 2), provenance=about)
    return images.subset(slice(0, TINY)) if args.tiny else images


def machine(device) -> dict:
    """The card, and the processors beside it."""
    about = {"device": str(device), "cpus": os.cpu_count()}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        about |= {"card": card.name, "GiB": round(card.total_memory / 2**30, 1)}
        about |= {"cuda": torch.version.cuda, "multiprocessors": card.multi_processor_count}
    return about


# ---- parts ---------------------------------------------------------------------------------------


def tests(session) -> dict:
    """The tests marked gpu; on a machine without one they are skipped."""
    line = [sys.executable, "-m", "pytest", "-q", "tests/vae/test_gpu.py", "-m", "gpu"]
    line += ["--noconftest", "-p", "no:cacheprovider", "-W", "default", "-rfEs", "--tb=short"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    try:
        done = subprocess.run(
            line, env=environment, capture_output=True, text=True, timeout=max(5, session.left())
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"tests: not done in {error.timeout:.0f} s") from None
    said = done.stdout[-6000:] + done.stderr[-1000:]
    print(said)
    if done.returncode:
        raise RuntimeError(f"tests failed: {said}")
    return {"said": said.strip().splitlines()[-1]}


def steps(session) -> dict:
    """Milliseconds of a step: eager, as graphs, compiled."""
    peak = matrix_peak(session)
    found = {"matrix_TFLOPs": peak / 1e12, "rows": []}
    for name, phase, form, changes in (
        ("paper", "joint", "eager", {}),
        ("paper", "joint", "graph", {}),
        ("paper", "joint", "graph, compiled", {}),
        ("best", "joint", "eager", {}),
        ("best", "joint", "graph", {}),
        ("best", "joint, neighbours", "graph", {}),
        ("best", "generative", "eager", {}),
        ("best", "generative", "graph", {}),
        ("paper", "joint", "graph, compiled", {"precision": "float32"}),
    ):
        row = {"preset": name, "phase": phase, "form": form, **changes}
        if session.left() < 10:
            found["rows"].append(row | {"ms": None})
            continue
        try:
            row |= step_row(session, name, phase, form, changes, peak)
        except Exception as error:
            row |= {"error": one_line(error, 400)}
        found["rows"].append(row)
        print(json.dumps({k: v for k, v in row.items() if k != "kernels"}), flush=True)
        session.measures["parts"]["steps"] = found
        session.write()
        free()
    return found


def step_row(session, name, phase, form, changes, peak) -> dict:
    model, training = session.preset(name, **changes)
    if session.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer = Trainer(
        session.images.images, model, training, session.device, None if "graph" in form else False
    )
    if "compiled" not in form:
        trainer.loss.plain = None
    n = len(session.images.images)
    if "neighbours" in phase:
        shape = (n, training.neighbours)
        trainer.neighbours = np.random.default_rng(0).integers(n, size=shape, dtype=np.int32)
    trainer.step = trainer.n_joint if phase == "generative" else 0
    started = time.perf_counter()
    for _ in range(3):  # eagerly, captured, replayed
        one_block(trainer)
    session.sync()
    warm = time.perf_counter() - started
    seconds = step_seconds(session, [trainer])
    row = {"ms": 1e3 * seconds, "block": trainer.block, "warm_up_s": warm}
    row |= {"finite": int(trainer.ledger.bad) == Ledger.NEVER}
    row["captured"] = getattr(trainer.steps, "graph", None) is not None
    row["compiled"] = trainer.loss.plain is not None
    if session.device.type == "cuda":
        row["peak_MB"] = torch.cuda.max_memory_allocated() / 1e6
    if name == "paper":
        flops = step_flops(trainer.model, training.batch_size)
        row |= {"TFLOPs": flops / seconds / 1e12, "share": flops / seconds / peak}
        row["450_epochs_s"] = seconds * trainer.n_steps
    if session.device.type == "cuda" and form != "eager":
        row["kernels"] = kernels(session, trainer)
    trainer.steps.release()
    return row


def kernels(session, trainer, most=12) -> list:
    """The kernels that take most of a step: name, times in it, microseconds in all."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as measured:
        one_block(trainer)
        session.sync()
    events = sorted(measured.key_averages(), key=lambda event: -event.self_device_time_total)
    return [
        [e.key[:60], e.count / trainer.block, e.self_device_time_total / trainer.block]
        for e in events[:most]
    ]


def one_block(trainer) -> None:
    """A block of steps that stays within the trainer's epoch."""
    with trainer.on_stream():
        trainer.start_epoch()
        trainer.advance()
    if trainer.step % trainer.steps_per_epoch == 0:
        trainer.step -= trainer.steps_per_epoch


def step_seconds(session, trainers, seconds=1.5) -> float:
    """Seconds in which each of some trainers, side by side, does one step."""
    for trainer in trainers:
        one_block(trainer)
    session.sync()
    started = time.perf_counter()
    for trainer in trainers:
        one_block(trainer)
    session.sync()
    once = time.perf_counter() - started
    blocks = max(1, min(200, int((0.1 if session.tiny else seconds) / once)))
    started = time.perf_counter()
    for _ in range(blocks):
        for trainer in trainers:
            one_block(trainer)
    session.sync()
    return (time.perf_counter() - started) / (blocks * trainers[0].block)


def step_flops(model, batch_size) -> float:
    """Of the products of a K-head step, forward and backward: 6 a weight and row."""

    def weights(module):
        return sum(p.numel() for p in module.parameters() if p.ndim == 2)

    heads = sum(weights(getattr(model, part)) for part in ("encoder", "cluster", "mean"))
    heads += weights(model.log_variance)
    return 6.0 * batch_size * (heads + model.config.K * weights(model.decoder))


def matrix_peak(session) -> float:
    """FLOP/s of a large bf16 product of random matrices."""
    size = 512 if session.device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=session.device).bfloat16() for _ in range(2))
    for repeats in (3, 10):  # the first for warming up
        session.sync()
        started = time.perf_counter()
        for _ in range(repeats):
            a @ b
        session.sync()
        seconds = (time.perf_counter() - started) / repeats
    return 2.0 * size**3 / seconds


def posterior(session) -> dict:
    """Images a second, whole sets at a time, model and images on the host at first."""
    found = {}
    for name in ("paper", "best"):
        model, taken = GMVAE(session.preset(name)[0]), []
        for _ in range(4):
            session.sync()
            started = time.perf_counter()
            cluster_posterior(model, session.images, device=session.device)
            taken.append(time.perf_counter() - started)
        found[name] = len(session.images) / float(np.median(taken[1:]))
    return {"images a second": found}


def best(session) -> dict:
    """The preset best to its end: seconds, and what its clusters are worth."""
    if session.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    run = fit(
        session.images, *session.preset("best", seed=session.args.seed), device=session.device
    )
    seconds = time.perf_counter() - started
    q = cluster_posterior(run, session.images, device=session.device)
    found = {"seconds": seconds, "elbo": run.history[-1]["elbo"], **worth(q, session.images.labels)}
    found["epochs"] = [row["seconds"] for row in run.history]
    if session.device.type == "cuda":
        found["peak_MB"] = torch.cuda.max_memory_allocated() / 1e6
    columns = pack_posterior(q) | {f"weights.{k}": half(v) for k, v in run.state.items()}
    write_npz(session.out / "best.npz", columns)
    return found


def models(session) -> dict:
    """Several seeds of the preset best: what `study.two_way` measures decoders on."""
    found, columns = {"rows": []}, {}
    for seed in range(session.args.seed, session.args.seed + MODELS):
        if session.left() < 30 and not session.tiny:
            break
        started = time.perf_counter()
        run = fit(session.images, *session.preset("best", seed=seed), device=session.device)
        q, features = embed(run.model, session.images, device=session.device)
        near = nearest(features, NEIGHBOURS, session.device)
        seconds = time.perf_counter() - started
        elbo = run.history[-1]["elbo"]
        found["rows"].append({"seed": seed, "seconds": seconds, "elbo": elbo})
        kept = pack_posterior(q) | {"neighbours": near}
        if seed % 2 == session.args.seed % 2:
            columns = {}
        columns |= {f"{seed}.{name}": value for name, value in kept.items()}
        write_npz(session.out / f"seeds{(seed - session.args.seed) // 2}.npz", columns)
    return found


def large(session) -> dict:
    """The preset large: all its epochs, or as many as the time left allows, its phases in step.

    q(c|x), neighbours and features' worth come back in large.npz, the weights are not kept.
    """
    model, training = session.preset("large")
    row = step_row(session, "large", "joint", "graph", {}, 1.0)
    free()
    steps_per_epoch = len(session.images.images) // training.batch_size
    per_epoch = row["ms"] / 1e3 * steps_per_epoch * SLOWER
    epochs = training.epochs
    if not session.tiny:
        epochs = max(1, min(epochs, int((session.left() - AFTERWARDS) / per_epoch)))
    found = {"ms": row["ms"], "peak_MB": row.get("peak_MB"), "epochs": epochs}
    found |= {"epochs_of_preset": training.epochs}
    print(found, flush=True)
    if epochs < training.epochs:
        model, training = session.preset("large", n_epochs=epochs)
    training = replace(training, seed=session.args.seed)
    started = time.perf_counter()
    run = fit(session.images, model, training, device=session.device)
    found["seconds"] = time.perf_counter() - started
    q, features = embed(run.model, session.images, device=session.device)
    near = nearest(features, NEIGHBOURS, session.device)
    write_npz(session.out / "large.npz", pack_posterior(q) | {"neighbours": near})
    y = session.images.labels
    found |= {"elbo": run.history[-1]["elbo"], **worth(q, y)}
    found["1-NN, all labels"] = float(np.mean(y[near[:, 0]] == y))
    votes = np.stack([(y[near] == c).sum(axis=1) for c in range(int(y.max()) + 1)], axis=1)
    found["10-NN, all labels"] = float(np.mean(votes.argmax(axis=1) == y))
    return found | {"model": asdict(model), "training": asdict(training)}


def paper(session) -> dict:
    return side_by_side.train(session)


def free() -> None:
    torch.compiler.reset()  # what was compiled for the models of a part is of no further use
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# ---- the command ---------------------------------------------------------------------------------


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts (default: 9)")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--tiny", action="store_true", help="the same parts, small, on a CPU too")
    parser.add_argument("--data", help=f"an IDX file of EMNIST (default: {DATA})")
    parser.add_argument("--seeds", type=int, default=3, help="of the preset paper (default: 3)")
    parser.add_argument("--epochs", type=int, help="of the preset paper, instead of 450")
    parser.add_argument("--preset", default="paper", help="of the part paper: or paper-relu")
    parser.add_argument("--seed", type=int, default=0, help="of best, and paper's first one")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in WORK")
    parser.add_argument("--work", help="folder of checkpoints (default: FOLDER.work)")
    args = parser.parse_args(argv)
    only = args.only.split(",")
    if unknown := sorted(set(only) - {*PARTS, *ON_REQUEST}):
        expected = ", ".join((*PARTS, *ON_REQUEST))
        parser.error(f"--only: found {unknown[0]!r}, expected some of {expected}")
    if not 1 <= args.seeds <= 4:
        parser.error(f"--seeds: found {args.seeds}, expected 1 to 4")
    if not (torch.cuda.is_available() or args.tiny):
        parser.error("found no CUDA device, expected one; --tiny runs without")
    try:
        session = Session(args)
    except InputError as error:
        parser.error(str(error))
    failed = False
    for part in (*PARTS, *ON_REQUEST):
        if part not in only:
            continue
        print(f"== {part}, {session.left():.0f} s left", flush=True)
        started = time.monotonic()
        try:
            found = globals()[part](session)
        except Exception as error:
            import traceback

            traceback.print_exc()
            found, failed = {"error": one_line(error, 2000)}, True
        before = session.measures["parts"].get(part, {})
        session.measures["parts"][part] = before | found | {"wall": time.monotonic() - started}
        session.write()
        free()
        print(json.dumps(found)[:3000], flush=True)
    too_large = [p.name for p in session.out.iterdir() if p.stat().st_size > LARGEST]
    if too_large:
        print(f"too large to come back: {', '.join(too_large)}", file=sys.stderr)
    return int(failed or bool(too_large))


if __name__ == "__main__":
    sys.exit(main())
