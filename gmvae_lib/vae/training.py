"""Training a GMVAE without labels: `fit`, and the loop behind it."""

import math
import os
import time
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from functools import partial

import numpy as np
import torch

from gmvae_lib.data.storage import exclusive, expanded, remove_leftovers, write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.vae import checkpoints
from gmvae_lib.vae.checkpoints import CHECKPOINT, require_same
from gmvae_lib.vae.config import GMVAEConfig, TrainConfig
from gmvae_lib.vae.device import default_device, fast_bf16, room_for
from gmvae_lib.vae.distributed import SharedGenerator, share, synchronise_batch_norm
from gmvae_lib.vae.graphs import Eager, Graphed, block_length
from gmvae_lib.vae.ledger import Ledger
from gmvae_lib.vae.loss import Loss, draws
from gmvae_lib.vae.model import GMVAE, as_pixels, embed_batches
from gmvae_lib.vae.nearest import nearest
from gmvae_lib.vae.rows import Rows, scratch, to_device
from gmvae_lib.vae.runs import Run, environment, load_run, refuse_foreign, save_run

MOST_WEIGHTS = 250_000_000  # 4 GB with gradients and the state of Adam
BAD_BATCH = "bad_batch.npz"  # the rows and images over which the loss ceased to be a number
WARM_UP = 0.05  # share of the steps over which a "cosine" learning rate rises
PAUSE = 30.0  # seconds between two checkpoints on a GPU, at least


def fit(
    images,
    model_config: GMVAEConfig,
    train_config: TrainConfig,
    out=None,
    resume: bool = False,
    device=None,
    progress: bool = False,
    eager: bool = False,
) -> Run:
    """Train a GMVAE on images. No label is read.

    Every random draw depends only on (seed, step) and the kind of device, so a killed training that
    resumes ends with the weights of an uninterrupted one: bit for bit on a CPU, to the rounding of
    its kernels on a GPU. Under ``torchrun``, once `distributed.processes` has joined the
    processes, each of them takes its part of every batch, and the training is that of one process
    to rounding; the first one writes. The global random states stay as they are.

    On one GPU the images lie on the device where they fit, and blocks of steps run as CUDA graphs
    (`graphs`). A loss that is no number is then found at the end of the epoch, or before the next
    checkpoint; the file bad_batch.npz and the error still name the step and the batch.

    Parameters
    ----------
    images : ImageSet, or array ``[N, *image_shape]``: `model.as_pixels` says what it may hold; or
        a `FeatureSet`, of whose bank the second views are, if it has one.
    out : folder of the run: checkpoints while training, the finished run in the end.
    resume : go on from the checkpoint in ``out``; start anew when there is none.
    device : "cpu", "cuda", ...; by default the fastest there is (`device.default_device`).
    eager : on a GPU, run every step by itself: slower, and easier to debug.

    Raises
    ------
    InputError : images or configurations that cannot be trained on; a folder of another training;
        a GPU without room for the batch.
    FloatingPointError : the loss or the weights ceased to be finite.

    Examples
    --------
    >>> from gmvae_lib import preset
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    >>> run = fit(images, *preset("quick", len(images), epochs=1, image_shape=(8, 8)))
    >>> len(run.history)
    2
    """
    pictures = getattr(images, "images", images)
    device = default_device(device)
    out = expanded(out, "out") if out is not None else None
    writes = out is not None and share().first
    with ExitStack() as held:
        held.enter_context(room_for(f"batch_size: found {train_config.batch_size}"))
        with checkpoints.agreement(share(), device) as start:
            _check(pictures, model_config, train_config)
            data = getattr(images, "provenance", {"name": "array", "n": len(pictures)})
            provenance = {"data": dict(data)}
            if out is not None:
                finished = _prepare(out, resume, model_config, train_config, provenance)
                if finished is not None:
                    start.state = checkpoints.FINISHED
                    return finished
                if resume and (out / CHECKPOINT).is_file():
                    start.state, start.path = checkpoints.RESUMED, out / CHECKPOINT
            if writes:
                held.enter_context(exclusive(out))
                remove_leftovers(out)
        trainer = Trainer(
            *(pictures, model_config, train_config, device),
            graphed=False if eager else None,
            bank=getattr(images, "bank", None),
        )
        if start.path is not None:
            checkpoints.load(trainer, start.path, provenance)
        for _ in trainer.run(out, provenance, progress):
            pass
        run = trainer.result(provenance)
        if writes and out is not None:
            save_run(run, out)
            for name in (CHECKPOINT, BAD_BATCH):
                (out / name).unlink(missing_ok=True)
    return run


def _check(pictures, model_config, train_config) -> None:
    """Validate the inputs before any work."""
    n = len(pictures)
    as_pixels(pictures[:1], model_config)
    with torch.device("meta"):  # shapes only
        weights = sum(part.numel() for part in GMVAE(model_config).parameters())
    if weights > MOST_WEIGHTS:
        side = int(max(model_config.image_shape) * math.sqrt(MOST_WEIGHTS / weights))
        raise InputError(
            f"images: found {'x'.join(map(str, model_config.image_shape))}, for which the model "
            f"has {weights:,} weights; expected at most {MOST_WEIGHTS:,}, as for images fitted "
            f"into about {side} x {side} (size)"
        )
    if np.asarray(pictures[:1]).dtype != np.uint8:  # a NaN must not show up in mid-training
        for start in range(0, n, 10_000):
            as_pixels(pictures[start : start + 10_000], model_config)
    if n < 2:
        raise InputError(f"images: found {n}, expected at least 2 to train on")
    if model_config.K > n:
        raise InputError(f"K: found {model_config.K}, expected at most {n}, the number of images")
    if all((pictures[i : i + 1000] == pictures[:1]).all() for i in range(0, n, 1000)):
        raise InputError(f"images: found {n} times the same, expected different ones")
    if train_config.contrast_weight and not model_config.projection:
        raise InputError("projection: found 0, expected 1 or more for a contrast_weight above 0")
    batch_size = min(train_config.batch_size, n)
    share().check(batch_size)
    if batch_size == 1 and model_config.encoder != "mlp":
        raise InputError(
            f"batch_size: found 1, expected 2 or more for the encoder {model_config.encoder!r}, "
            "which normalises over the batch"
        )


def refuse_used(out, resume) -> bool:
    """Refuse a folder that cannot take a training; say whether it holds a finished one."""
    if out.exists() and not (out.is_dir() and os.access(out, os.W_OK)):
        found = "a folder that cannot be written to" if out.is_dir() else "a file"
        raise InputError(f"{out}: found {found}, expected a folder to write the run to")
    finished = (out / "provenance.json").is_file()
    if not resume and (finished or (out / CHECKPOINT).is_file()):
        state = "a finished run" if finished else "an unfinished training"
        raise InputError(f"{out}: found {state}, expected a new folder, or --resume to go on")
    return finished


def _prepare(out, resume, model_config, train_config, provenance) -> Run | None:
    """Refuse to overwrite; return the run when ``out`` already holds it, finished."""
    finished = refuse_used(out, resume)
    if finished:
        run = load_run(out)
        require_same(
            out / "config.json",
            {"model": asdict(run.model_config), "training": asdict(run.train_config)},
            {"model": asdict(model_config), "training": asdict(train_config)},
        )
        require_same(out, run.provenance.get("data", {}), provenance["data"])
        return run
    config = {"model": asdict(model_config), "training": asdict(train_config)}
    refuse_foreign(out, config)
    out.mkdir(parents=True, exist_ok=True)
    return None


class Trainer:
    """A training under way: model, optimizer, step and history.

    `run` goes through the steps that are left and `result` is what came of them; between two of its
    blocks, other trainers may run theirs on the same GPU. graphed : whether blocks of steps run as
    CUDA graphs; by default on a GPU, in one process. bank : float [N, V, P], views of each picture.
    """

    def __init__(self, pictures, model_config, config, device, graphed=None, bank=None):
        self.config, self.device, self.share = config, torch.device(device), share()
        on_gpu = self.device.type == "cuda"
        self.graphed = self.share.world == 1 and (on_gpu if graphed is None else graphed)
        self.pictures = pictures
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)  # weights are drawn on the CPU
            self.model = GMVAE(model_config).to(self.device)
        self.batch_size = min(config.batch_size, len(pictures))
        self.steps_per_epoch = len(pictures) // self.batch_size  # the odd rest waits an epoch
        self.n_joint = config.epochs * self.steps_per_epoch
        self.n_steps = self.n_joint + config.generative_epochs * self.steps_per_epoch
        self.optimizer = self._optimizer()
        fast = fast_bf16(self.device)
        use_bf16 = config.precision == "bf16" or (config.precision == "auto" and fast)
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=use_bf16)
        self.step, self.elapsed = 0, 0.0  # elapsed : seconds in the epoch under way
        self.history: list[dict] = []
        self.ledger = Ledger(self.device)
        self.neighbours: np.ndarray | None = None  # int32 [N, neighbours]
        self.known: list[Rows] = []  # q(c|x) and features, in the generative phase
        self.order = np.arange(0)  # rows of the epoch under way, once it has begun
        self.order_there: torch.Tensor | None = None  # the same on a GPU
        self.generator = torch.Generator(self.device if on_gpu else "cpu")
        read = partial(as_pixels, config=model_config)
        self.images = Rows(pictures, self.device, read)
        self.n_views, self.bank = 0, None
        if bank is not None and bank.shape[1]:
            self.n_views = bank.shape[1]
            self.bank = Rows(bank.reshape(-1, *bank.shape[2:]), self.device, read)
        self.loss = Loss(self.model, config, self.share)
        self.objective: torch.nn.Module = self.loss
        self.stream, self.block = None, 1
        self.steps: Eager | Graphed = Eager(self.train_on)
        if self.share.world > 1:
            synchronise_batch_norm(self.model)
            # the phases train different parts; statistics of batches agree already
            self.objective = torch.nn.parallel.DistributedDataParallel(
                self.loss, find_unused_parameters=True, broadcast_buffers=False
            )
        elif self.graphed:
            if on_gpu:
                self.loss.compile_plain()
                self.stream = torch.cuda.Stream(self.device)
            self.block = block_length(self.steps_per_epoch)
            clear = partial(self.optimizer.zero_grad, set_to_none=True)
            self.steps = Graphed(self.train_on, self.loss, clear, self.stream)

    def _optimizer(self):
        config = self.config
        prior: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                # the noise of p(x|z), like the prior, is a number that has to move far
                (prior if name.startswith(("prior_", "noise_")) else others).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {"params": others, "rate": 1.0, "weight_decay": config.weight_decay},
                {"params": prior, "rate": config.prior_rate, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            fused=self.device.type in ("cpu", "cuda"),  # one pass over the weights
            capturable=self.device.type == "cuda",
        )
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * group["rate"]
        self.rates = None  # a learning rate that changes within a CUDA graph lies on the device
        if self.graphed and config.schedule != "constant":
            rates = [self.learning_rate(step) for step in range(self.n_steps)]
            # float32 whatever the weights are: what the fused optimizer takes
            on_device = partial(torch.tensor, dtype=torch.float32, device=self.device)
            self.rates = on_device(rates)
            for group in optimizer.param_groups:
                group["lr"] = on_device(group["lr"])
        return optimizer

    # ---- one step ------------------------------------------------------------------------

    def generative(self, step: int) -> bool:
        """Whether the clusters are done and the ELBO trains the rest."""
        return step >= self.n_joint

    def learning_rate(self, step: int) -> float:
        if self.config.schedule == "constant":
            return self.config.learning_rate
        n_steps = self.n_joint
        if self.generative(step):
            step, n_steps = step - n_steps, self.n_steps - n_steps
        warm_up = max(1, round(WARM_UP * n_steps))
        if step < warm_up:
            return self.config.learning_rate * (step + 1) / warm_up
        done = (step - warm_up) / max(1, n_steps - warm_up)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def rows(self, step: int) -> np.ndarray:
        """The images of a step, in all processes."""
        i = step % self.steps_per_epoch
        return self.order[i * self.batch_size : (i + 1) * self.batch_size]

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """What a step is fed (`loss`), on the device.

        Seed and step alone decide what is drawn, so a resumed training draws the same.
        """
        rng = np.random.default_rng((self.config.seed, 1, step))
        own = self.generator.manual_seed(int(rng.integers(2**62)))
        generator = SharedGenerator(own, self.share) if self.share.world > 1 else own
        rows = self.rows(step)
        mine = self.share.of(rows)
        i = (step % self.steps_per_epoch) * self.batch_size
        on_device = None if self.order_there is None else self.order_there[i : i + len(mine)]
        generative = self.generative(step)
        batch = {"x": self.images.take(mine, on_device)}
        if generative:
            q, features = (part.take(mine, on_device) for part in self.known)
            batch |= {"q": q, "features": features}
        elif self.neighbours is not None or self.bank is not None:
            # the second view shows a near neighbour of each image, or another view of either
            other, source = rows, self.images
            if self.neighbours is not None:
                choice = rng.integers(self.neighbours.shape[1], size=len(rows))
                other = self.neighbours[rows, choice]
            if self.bank is not None:
                source = self.bank
                other = other * self.n_views + rng.integers(self.n_views, size=len(rows))
            batch["other"] = source.take(self.share.of(other))
        drawn = draws(self.model.config, self.config, len(mine), generator, generative)
        batch |= {name: value.to(self.device) for name, value in drawn.items()}
        if self.rates is not None:
            batch["rate"] = self.rates[step]
        return batch

    def train_on(self, batch: dict[str, torch.Tensor]) -> None:
        """One optimisation step. On a GPU, nothing in here may wait for the device."""
        if self.rates is not None:
            for group in self.optimizer.param_groups:
                group["lr"].copy_(batch["rate"] * group["rate"])
        with self.autocast:
            loss, log = self.objective(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.ledger.add(log, self.share.world)

    # ---- the whole course ----------------------------------------------------------------

    def run(self, out=None, provenance=None, progress=False):
        """Go through the steps that are left; a generator that yields after each block of them."""
        from tqdm import tqdm

        if not self.share.first:
            out, progress = None, False
        started = time.perf_counter() - sum(row["seconds"] for row in self.history) - self.elapsed
        saved = self.step, time.perf_counter()
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with tqdm(
            total=self.n_steps, initial=self.step, desc="training", unit="step",
            disable=not progress,
        ) as bar:  # fmt: skip
            while self.step < self.n_steps:
                before = self.step
                with self.on_stream():
                    self.start_epoch()
                    self.advance()
                    ends = self.step % self.steps_per_epoch == 0
                    due = out is not None and self.due(*saved)
                    if ends or due or self.device.type != "cuda":
                        self.check(out)
                    if ends:
                        self.close_epoch(time.perf_counter() - started)
                    if due and out is not None:
                        seconds = time.perf_counter() - started
                        seconds -= sum(row["seconds"] for row in self.history)
                        self.require_finite()
                        checkpoints.save(self, out / CHECKPOINT, provenance, seconds)
                        saved = self.step, time.perf_counter()
                bar.update(self.step - before)
                if ends:
                    shown = {k: f"{v:.2f}" for k, v in self.history[-1].items() if k in _SHOWN}
                    bar.set_postfix(shown)
                yield
            self.steps.release()
            self.require_finite()

    def on_stream(self):
        return torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()

    def start_epoch(self) -> None:
        """Order, neighbours and stored posteriors, at the start of an epoch or after a resume."""
        epoch, i = divmod(self.step, self.steps_per_epoch)
        if i > 0 and len(self.order):
            return
        rng = np.random.default_rng((self.config.seed, 0, epoch))
        self.order, self.order_there = rng.permutation(len(self.pictures)), None
        if self.device.type == "cuda" and self.share.world == 1:
            self.order_there = to_device(self.order, self.device)
        if self.generative(self.step):
            if not self.known:
                with self.autocast:
                    self.known = [Rows(part, self.device) for part in self.embed()]
            return
        since = epoch - self.config.neighbours_from
        wanted = self.config.neighbours and since >= 0 and since % self.config.neighbours_every == 0
        if wanted and i == 0:  # otherwise still the ones that the checkpoint brought
            self.find_neighbours()

    def advance(self) -> None:
        """One block of steps; on a CPU a block is one step."""
        left = self.steps_per_epoch - self.step % self.steps_per_epoch
        # a block that a resume has moved out of line ends where one in line would
        n = min(left, self.block - (self.step % self.steps_per_epoch) % self.block)
        self.model.train()
        if self.rates is None:
            for group in self.optimizer.param_groups:
                group["lr"] = group["rate"] * self.learning_rate(self.step)
        self.steps([self.batch(step) for step in range(self.step, self.step + n)])
        self.step += n

    def due(self, step: int, moment: float) -> bool:
        """Whether to write a checkpoint, the last one being of this step and moment."""
        every = self.config.checkpoint_every
        if self.device.type == "cuda":
            return self.step - step >= every and time.perf_counter() - moment >= PAUSE
        return self.step % every == 0

    def check(self, out) -> None:
        """Stop at a loss that was no number; the batch is kept."""
        bad = int(self.ledger.bad)
        if bad == Ledger.NEVER:
            return
        said = f"loss: found nan or inf at step {bad}, expected a finite number; {_ADVICE}"
        if out is not None:
            rows = self.rows(bad)
            batch = {"step": bad, "rows": rows, "images": self.pictures[rows]}
            write_npz(out / BAD_BATCH, batch, compressed=False)
            said = f"{out / BAD_BATCH} (this batch): {said}"
        raise FloatingPointError(said)

    def require_finite(self) -> None:
        """Weights may break in the last step before they are kept, and no loss shows it."""
        if not all(bool(value.isfinite().all()) for value in self.model.state_dict().values()):
            raise FloatingPointError(
                f"weights: found nan or inf after step {self.step}, expected finite numbers; "
                f"{_ADVICE}"
            )

    def find_neighbours(self) -> None:
        with self.autocast:
            _, features = self.embed()
        rows = self.share.of(range(len(features)))
        found = nearest(features, self.config.neighbours, self.device, rows=rows)
        self.neighbours = np.empty((len(features), found.shape[1]), found.dtype)
        self.neighbours[rows.start : rows.stop] = found
        self.share.collect(self.neighbours, self.device)

    def embed(self) -> tuple[np.ndarray, ...]:
        """q(c|x) and the features of every image, of which each process computes its part.

        They are mapped from temporary files: larger than the images, they need not fit into memory.
        """
        n, widths = len(self.pictures), (self.model.config.K, self.model.cluster.in_features)
        columns = tuple(scratch((n, width)) for width in widths)
        rows = self.share.of(range(n))
        start = rows.start
        for parts in embed_batches(self.model, self.pictures, device=self.device, rows=rows):
            stop = start + len(parts[0])
            for column, part in zip(columns, parts, strict=True):
                column[start:stop] = part
            start = stop
        for column in columns:
            self.share.collect(column, self.device)
        return columns

    def close_epoch(self, elapsed) -> None:
        means = {k: total / self.steps_per_epoch for k, total in self.ledger.sums_by_name().items()}
        before = sum(row["seconds"] for row in self.history)
        epoch = self.step // self.steps_per_epoch
        self.ledger.sums.zero_()
        self.history.append({"epoch": epoch, "seconds": elapsed - before, **means})
        self.order = np.arange(0)

    def result(self, provenance) -> Run:
        """The run as it is now."""
        return Run(
            self.model.config,
            self.config,
            self.history,
            {**provenance, "training": environment() | {"device": str(self.device)}},
            {name: value.cpu().numpy() for name, value in self.model.state_dict().items()},
        )


_ADVICE = "train anew with a smaller learning_rate or precision='float32'"
_SHOWN = ("loss", "elbo", "mutual_information", "components_in_batch")
