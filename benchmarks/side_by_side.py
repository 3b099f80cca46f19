"""Several seeds of one training side by side on one card: the part ``paper`` of benchmarks.gpu.

One step of the preset paper leaves much of a data-centre GPU idle. Each seed is a
`training.Trainer` with a stream of its own; one Python thread gives each its next block of steps in
turn, far faster than the card works through them.
"""

import time
from dataclasses import asdict

import numpy as np
import pandas as pd
import torch

from gmvae_lib.data.storage import write_atomically, write_npz
from gmvae_lib.vae import checkpoints
from gmvae_lib.vae.config import PRESETS
from gmvae_lib.vae.model import cluster_posterior
from gmvae_lib.vae.runs import pack_posterior
from gmvae_lib.vae.training import Trainer

from .worth import LARGEST, half, worth

EPOCHS_SHOWN = (1, 3, 10, 30, 60, 100, 150, 200, 250, 300, 350, 400, 450)  # with purity, accuracy
LEAST = 0.9  # share of the epochs for which a further seed is worth starting
RESERVE = 10.0  # seconds
SAVED = 100  # epochs between two checkpoints


def train(session) -> dict:
    """Train as many of the seeds as can be done in time, or one for as long as there is time."""
    name = session.args.preset
    if name not in PRESETS or PRESETS[name][1].generative_epochs:
        raise ValueError(f"--preset: found {name!r}, expected paper or paper-relu")
    first = session.args.seed
    trainers = [trainer(session, name, seed) for seed in range(first, first + session.args.seeds)]
    courses = [Course(t) for t in trainers]
    n, rates = plan(session, courses)
    found = {"seeds_wanted": len(trainers), "ms_per_step": rates, "seeds": n}
    print(found, flush=True)
    trainers, courses = trainers[:n], courses[:n]
    session.measures["parts"]["paper"] = found
    session.write()
    started = time.perf_counter()
    steps = sum(t.step for t in trainers)
    curves = {t.config.seed: earlier(session, t.config.seed) for t in trainers}
    run_all(session, courses, curves)
    session.sync()
    wall = time.perf_counter() - started
    done = sum(t.step for t in trainers) - steps
    found |= {"wall_training": wall, "ms_a_step_and_seed": 1e3 * wall / max(1, done)}
    if session.device.type == "cuda":
        found["peak_MB"] = torch.cuda.max_memory_allocated() / 1e6
    found |= keep(session, trainers, curves)
    for t in trainers:
        save(session, t)
    return found


def trainer(session, name, seed) -> Trainer:
    changes = {"seed": seed}
    if session.args.epochs:
        changes["epochs"] = session.args.epochs
    model, training = session.preset(name, **changes)
    made = Trainer(session.images.images, model, training, session.device)
    if session.args.resume and checkpoint(session, made).is_file():
        checkpoints.load(made, checkpoint(session, made), provenance(session))
    return made


def checkpoint(session, of: Trainer):
    return session.work / f"{session.args.preset}-{of.config.seed}.safetensors"


def provenance(session) -> dict:
    return {"data": dict(session.images.provenance)}


def save(session, of: Trainer) -> None:
    path = checkpoint(session, of)
    with of.on_stream():
        checkpoints.save(of, path, provenance(session), 0.0)


class Course:
    """A trainer's way through its blocks of steps."""

    def __init__(self, of: Trainer):
        self.of, self.blocks = of, of.run()

    @property
    def done(self) -> bool:
        return self.of.step >= self.of.n_steps

    def advance(self) -> None:
        """Start the next block; the last one also ends the course."""
        next(self.blocks, None)
        if self.done:
            for _ in self.blocks:
                pass


def plan(session, courses) -> tuple[int, dict]:
    """How many seeds to train, and milliseconds of a step of each with 1, 2, ... side by side.

    The steps measured here are the first ones of the training. Of those numbers of seeds that get
    through `LEAST` of their epochs in the time left the largest, and one if not even one.
    """
    for course in courses:
        for _ in range(3):  # eagerly, captured, replayed
            course.advance()
    rates = {}
    for n in range(1, len(courses) + 1):
        for blocks in (1, 2 if session.tiny else 100):  # the first is not counted
            session.sync()
            started = time.perf_counter()
            for _ in range(blocks):
                for course in courses[:n]:
                    course.advance()
            session.sync()
        rates[n] = 1e3 * (time.perf_counter() - started) / (blocks * courses[0].of.block)
    left = session.left() - reserve(session, len(courses))
    steps_left = {n: max(c.of.n_steps - c.of.step for c in courses[:n]) for n in rates}
    fits = [n for n, ms in rates.items() if LEAST * steps_left[n] * ms / 1e3 < left]
    return max(fits, default=1), rates


def reserve(session, n: int) -> float:
    """Seconds to keep for the posteriors of n seeds and the weights at the end."""
    return 0.0 if session.tiny else RESERVE + 4.0 * n


def run_all(session, courses, curves) -> None:
    """Block by block in turn, until all are done or the time is up."""
    trainers = [course.of for course in courses]
    epochs = {t: len(t.history) for t in trainers}
    shown = time.monotonic()
    while (under_way := [c for c in courses if not c.done]) and session.left() > reserve(
        session, len(courses)
    ):
        for course in under_way:
            course.advance()
            t = course.of
            if len(t.history) == epochs[t]:
                continue
            epochs[t] = len(t.history)
            if epochs[t] in EPOCHS_SHOWN or course.done:
                curves[t.config.seed][epochs[t]] = quality(session, t)
                write_curves(session, trainers, curves)
            if epochs[t] % SAVED == 0 and not course.done:
                save(session, t)
            if time.monotonic() - shown > 20:
                shown, elbo = time.monotonic(), t.history[-1]["elbo"]
                said = f"seed {t.config.seed}, epoch {epochs[t]}: elbo {elbo:.2f}"
                print(f"{said}, {session.left():.0f} s left", flush=True)


def posterior_of(session, of: Trainer) -> np.ndarray:
    with of.on_stream():
        return cluster_posterior(of.model, session.images, device=session.device)


def quality(session, of: Trainer) -> dict:
    return worth(posterior_of(session, of), session.images.labels, draws=2)


def earlier(session, seed) -> dict[int, dict]:
    """What an earlier call measured of a seed's clusters, by epoch."""
    path = session.out / "curves.csv"
    if not (session.args.resume and path.is_file()):
        return {}
    table = pd.read_csv(path)
    table = table[(table["seed"] == seed) & table["purity"].notna()].set_index("epoch")
    return table.loc[:, "purity":].to_dict("index")


def write_curves(session, trainers, curves) -> None:
    """curves.csv: each epoch of each seed, with purity and accuracies where they were measured."""
    rows = [
        {"seed": t.config.seed, **row, **curves[t.config.seed].get(row["epoch"], {})}
        for t in trainers
        for row in t.history
    ]
    table = pd.DataFrame(rows)
    write_atomically(session.out / "curves.csv", lambda path: table.to_csv(path, index=False))


def keep(session, trainers, curves) -> dict:
    """Write posteriors of all seeds and the weights of the one with the greatest ELBO."""
    from safetensors.numpy import save as as_bytes

    columns, results = {}, {}
    for t in trainers:
        q = posterior_of(session, t)
        columns |= {f"{t.config.seed}.{k}": v for k, v in pack_posterior(q).items()}
        elbo = t.history[-1]["elbo"] if t.history else None
        results[t.config.seed] = {
            "epochs": len(t.history), "epochs_wanted": t.config.epochs, "elbo": elbo,
            "model": asdict(t.model.config), "training": asdict(t.config),
            **worth(q, session.images.labels),
        }  # fmt: skip
        session.measures["parts"]["paper"] |= {"runs": results}
        session.write()
    write_npz(session.out / "posterior.npz", columns)
    write_curves(session, trainers, curves)
    chosen = max(
        trainers, key=lambda t: (len(t.history), t.history[-1]["elbo"] if t.history else 0)
    )
    state = chosen.result(provenance(session)).state
    data = as_bytes({name: np.ascontiguousarray(half(value)) for name, value in state.items()})
    for old in session.out.glob("weights.*.part"):
        old.unlink()
    for i, start in enumerate(range(0, len(data), LARGEST)):
        part = data[start : start + LARGEST]
        path = session.out / f"weights.{i}.part"
        write_atomically(path, lambda p, part=part: p.write_bytes(part))
    return {"runs": results, "weights_of": chosen.config.seed}
