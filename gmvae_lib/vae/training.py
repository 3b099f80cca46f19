"""Training a GMVAE without labels: the loop, checkpoints, resume, logs."""

import json
import math
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from gmvae_lib.data.storage import (
    exclusive,
    load_tensors,
    remove_leftovers,
    save_tensors,
    write_npz,
)
from gmvae_lib.errors import InputError, one_line
from gmvae_lib.vae.config import GMVAEConfig, TrainConfig
from gmvae_lib.vae.device import default_device, fast_bf16
from gmvae_lib.vae.distributed import (
    SharedGenerator,
    gather,
    mean_over_processes,
    share,
    synchronise_batch_norm,
)
from gmvae_lib.vae.model import GMVAE, Encoded, as_batch, embed_batches
from gmvae_lib.vae.nearest import nearest
from gmvae_lib.vae.objective import consistency, contrast, elbo
from gmvae_lib.vae.runs import Run, environment, load_run, save_run
from gmvae_lib.vae.views import flat_view

CHECKPOINT = "checkpoint.safetensors"
BAD_BATCH = "bad_batch.npz"  # the rows and pictures over which the loss ceased to be a number
WARM_UP = 0.05  # share of the steps over which a "cosine" learning rate rises


def fit(
    images,
    model_config: GMVAEConfig,
    train_config: TrainConfig,
    out=None,
    resume: bool = False,
    device=None,
    progress: bool = False,
) -> Run:
    """Train a GMVAE on images. No label is read.

    Every random draw depends only on (seed, step), so a killed training that resumes ends with
    the weights of an uninterrupted one, bit for bit on the same machine. Under ``torchrun``, once
    `distributed.processes` has joined the processes, each of them takes its part of every batch,
    and the training is that of one process to rounding; the first one writes.

    Parameters
    ----------
    images : ImageSet, or array ``[N, *image_shape]``: `model.as_batch` says what it may hold.
    out : folder of the run: checkpoints while training, the finished run in the end.
    resume : go on from the checkpoint in ``out``; start anew when there is none.
    """
    pictures = getattr(images, "images", images)
    _check(pictures, model_config)
    provenance = {
        "data": dict(getattr(images, "provenance", {"name": "array", "n": len(pictures)}))
    }
    out = Path(out) if out is not None else None
    if out is not None:
        finished = _prepare(out, resume, model_config, train_config, provenance)
        if finished is not None:
            return finished
    writes = out is not None and share().first
    with ExitStack() as held:
        if writes:
            held.enter_context(exclusive(out))
            remove_leftovers(out)
        trainer = _Trainer(pictures, model_config, train_config, default_device(device))
        if out is not None and resume and (out / CHECKPOINT).is_file():
            trainer.load(out / CHECKPOINT, provenance)
        trainer.run(out, provenance, progress)
        run = Run(
            model_config,
            train_config,
            trainer.history,
            {**provenance, "training": environment() | {"device": str(trainer.device)}},
            {name: value.cpu().numpy() for name, value in trainer.model.state_dict().items()},
        )
        if writes:
            save_run(run, out)
            for name in (CHECKPOINT, BAD_BATCH):
                (out / name).unlink(missing_ok=True)
    return run


def _check(pictures, model_config) -> None:
    """Refuse what cannot be trained on before any work."""
    n = len(pictures)
    as_batch(pictures[:1], model_config)
    if np.asarray(pictures[:1]).dtype != np.uint8:  # a NaN must not show up in mid-training
        for start in range(0, n, 10_000):
            as_batch(pictures[start : start + 10_000], model_config)
    if n < 2:
        raise InputError(f"images: found {n}, expected at least 2 to train on")
    if model_config.K > n:
        raise InputError(f"K: found {model_config.K}, expected at most {n}, the number of images")
    if all((pictures[i : i + 1000] == pictures[:1]).all() for i in range(0, n, 1000)):
        raise InputError(f"images: found {n} times the same, expected different ones")


def _prepare(out, resume, model_config, train_config, provenance) -> Run | None:
    """Refuse to overwrite; return the run when ``out`` already holds it, finished."""
    if out.exists() and not (out.is_dir() and os.access(out, os.W_OK)):
        found = "a folder that cannot be written to" if out.is_dir() else "a file"
        raise InputError(f"{out}: found {found}, expected a folder to write the run to")
    finished = (out / "provenance.json").is_file()
    if not resume and (finished or (out / CHECKPOINT).is_file()):
        state = "a finished run" if finished else "an unfinished training"
        raise InputError(f"{out}: found {state}, expected a new folder, or --resume to go on")
    if finished:
        run = load_run(out)
        _require_same(
            out / "config.json",
            {"model": asdict(run.model_config), "training": asdict(run.train_config)},
            {"model": asdict(model_config), "training": asdict(train_config)},
        )
        _require_same(out, run.provenance.get("data", {}), provenance["data"])
        return run
    out.mkdir(parents=True, exist_ok=True)
    return None


# where the images lay; how often to save; how they were read, which shape and sha256 settle
_MAY_DIFFER = ("source", "checkpoint_every", "reading")


def _require_same(where, found: dict, expected: dict, prefix="") -> None:
    """InputError that names the first field in which a stored training differs from this one."""
    for name in sorted({*found, *expected}):
        a, b = found.get(name), expected.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            _require_same(where, a, b, f"{prefix}{name}.")
        elif json.dumps(a) != json.dumps(b) and name not in _MAY_DIFFER:
            raise InputError(
                f"{where}: found {prefix}{name} = {a!r}, expected {b!r} to resume this training"
            )


class _Trainer:
    """State of a training: model, optimizer, step, history; and how one step is done."""

    def __init__(self, pictures, model_config, config, device):
        self.config, self.device, self.share = config, device, share()
        self.pictures = pictures
        torch.manual_seed(config.seed)  # the weights' start; nothing else draws globally
        if config.contrast_weight and not model_config.projection:
            raise InputError(
                "projection: found 0, expected 1 or more for a contrast_weight above 0"
            )
        self.model = GMVAE(model_config).to(device)
        prior, others = [], []
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                # the noise of p(x|z), like the prior, is a number that has a long way to go
                fast = name.startswith(("prior_", "noise_"))
                (prior if fast else others).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": others, "rate": 1.0, "weight_decay": config.weight_decay},
                {"params": prior, "rate": config.prior_rate, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            fused=True,  # one pass over the weights, four times as fast as one operation each
        )
        self.batch_size = min(config.batch_size, len(pictures))
        self.share.check(self.batch_size)
        self.steps_per_epoch = len(pictures) // self.batch_size  # the odd rest waits an epoch
        self.n_joint = config.epochs * self.steps_per_epoch
        self.n_steps = self.n_joint + config.generative_epochs * self.steps_per_epoch
        use_bf16 = config.precision == "bf16" or (config.precision == "auto" and fast_bf16(device))
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=use_bf16)
        self.step = 0
        self.sums: dict[str, float] = {}  # of the epoch under way
        self.history: list[dict] = []
        self.neighbours: np.ndarray | None = None  # int32 [N, neighbours]
        self.known: tuple[np.ndarray, np.ndarray] | None = None  # q(c|x) and features, for good
        self.objective = _Objective(self)
        if self.share.world > 1:
            synchronise_batch_norm(self.model)
            # the phases train different parts; statistics of batches agree already
            self.objective = torch.nn.parallel.DistributedDataParallel(
                self.objective, find_unused_parameters=True, broadcast_buffers=False
            )

    # ---- one step ------------------------------------------------------------------------

    @property
    def generative(self) -> bool:
        """Whether the clusters are done and the ELBO trains the rest."""
        return self.step >= self.n_joint

    def learning_rate(self) -> float:
        if self.config.schedule == "constant":
            return self.config.learning_rate
        step, n_steps = self.step, self.n_joint
        if self.generative:
            step, n_steps = step - n_steps, self.n_steps - n_steps
        warm_up = max(1, round(WARM_UP * n_steps))
        if step < warm_up:
            return self.config.learning_rate * (step + 1) / warm_up
        done = (step - warm_up) / max(1, n_steps - warm_up)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def batch(self, rows) -> torch.Tensor:
        return as_batch(self.pictures[rows], self.model.config).to(self.device)

    def partners(self, rows, rng) -> np.ndarray:
        """Rows whose image the second view shows: the same, or a near neighbour of each."""
        if self.neighbours is None:
            return rows
        return self.neighbours[rows, rng.integers(self.neighbours.shape[1], size=len(rows))]

    def chance(self) -> tuple[np.random.Generator, torch.Generator | SharedGenerator]:
        """What the step draws from: seed and step alone decide, so a resumed one draws the same."""
        rng = np.random.default_rng((self.config.seed, 1, self.step))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        if self.share.world > 1:
            generator = SharedGenerator(generator, self.share)
        return rng, generator

    def loss(self, rows) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss of a batch, and the numbers worth a line in the history."""
        config, model = self.config, self.model
        rng, generator = self.chance()
        partners, rows = self.share.of(self.partners(rows, rng)), self.share.of(rows)
        loss, log = torch.zeros((), device=self.device), {}
        x = self.batch(rows)
        clean, views = x if config.elbo_weight else x[:0], []
        if config.consistency_weight or config.contrast_weight:
            other = x if self.neighbours is None else self.batch(partners)
            how = (model.config.image_shape, generator, config.view_strength, config.views)
            views = [flat_view(picture, *how) for picture in (x, other)]
        # one pass for all parts: batch statistics in training are then those of clean and
        # altered images together, which the running statistics of evaluation stand for
        parts = [clean, *views]
        h, *views = model.encoder(torch.cat(parts)).split([len(part) for part in parts])
        if config.elbo_weight:
            value, log = self.elbo(
                clean, model.posterior(clean, h, top=self.truncation()), generator
            )
            loss = loss - config.elbo_weight * value
        if self.share.world > 1:  # these terms compare each image with all others
            views = [gather(view) for view in views]
        if views:
            value, information = consistency(model, *views, config.entropy_weight)
            loss = loss - config.consistency_weight * value
            log |= {"mutual_information": information}
        if config.contrast_weight:
            value = contrast(model, *views, config.temperature)
            loss = loss - config.contrast_weight * value
            log |= {"contrast": value}
        seen = (views[0] if views else h).detach()
        likeliest = model.cluster(seen).argmax(1)
        if self.share.world > 1 and not views:
            likeliest = gather(likeliest)
        used = likeliest.unique().numel()
        return loss, {"loss": loss, **log, "components_in_batch": torch.tensor(float(used))}

    def generative_loss(self, rows) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Minus the ELBO of a batch, given q(c|x) and features that no longer change."""
        if self.known is None:
            self.known = self.embed()
            self.model.train()
        rows = self.share.of(rows)
        q, h = (torch.from_numpy(part[rows]).to(self.device) for part in self.known)
        logits = q.clamp_min(torch.finfo(q.dtype).tiny).log()
        _, generator = self.chance()
        x = self.batch(rows)
        encoded = self.model.posterior(x, h, logits, self.truncation())
        value, log = self.elbo(x, encoded, generator)
        return -value, {"loss": -value, **log}

    def elbo(self, x, encoded: Encoded, generator) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Mean ELBO of a batch, and its parts for the history."""
        terms = elbo(self.model, x, encoded, generator)
        log = {
            "elbo": terms.elbo.mean(),
            "reconstruction": terms.reconstruction.mean(),
            "kl_z": terms.kl_z.mean(),
            "kl_c": terms.kl_c.mean(),
        }
        if self.config.truncate:
            log |= self.truncation_log(encoded, terms)
        return log["elbo"], log

    def truncation(self) -> int | None:
        """Components to decode an image; None for all, until q(c|x) is sharp enough."""
        config = self.config
        if not (config.truncate and self.history):
            return None
        # unknown in an epoch that did not compute the ELBO
        sharp = self.history[-1].get("discarded", 1.0) <= config.truncate_below
        return config.truncate if sharp else None

    def truncation_log(self, encoded: Encoded, terms) -> dict[str, torch.Tensor]:
        """Mass outside the likeliest components, and the nats that leaving it out can cost."""
        if terms.discarded is not None:
            return {
                "discarded": terms.discarded.mean(),
                "truncation_bound": terms.loss_bound.mean(),
            }
        q = encoded.logits.detach().float().softmax(1)
        top = min(self.config.truncate, q.shape[1])
        discarded = (1 - q.topk(top, dim=1).values.sum(1)).clamp_min(0).mean()
        return {"discarded": discarded, "truncation_bound": torch.zeros(())}

    def advance(self, rows) -> dict[str, float]:
        """One optimisation step."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * self.learning_rate()
        self.model.train()
        with self.autocast:
            loss, log = self.objective(rows)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"loss: found {loss.item()} at step {self.step}, expected a finite number; "
                f"{_ADVICE}"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        values = torch.stack([value.detach().float().to(self.device) for value in log.values()])
        if self.share.world > 1:
            values = mean_over_processes(values)
        return dict(zip(log, values.tolist(), strict=True))

    # ---- the whole course ----------------------------------------------------------------

    def run(self, out, provenance, progress) -> None:
        from tqdm import tqdm

        if not self.share.first:
            out, progress = None, False
        writer = _tensorboard(out)
        started = time.perf_counter() - sum(row["seconds"] for row in self.history)
        started -= self.sums.pop("seconds", 0.0)
        bar = tqdm(
            total=self.n_steps, initial=self.step, desc="training", unit="step",
            disable=not progress,
        )  # fmt: skip
        order, order_epoch = None, -1
        while self.step < self.n_steps:
            epoch, i = divmod(self.step, self.steps_per_epoch)
            if epoch != order_epoch:
                rng = np.random.default_rng((self.config.seed, 0, epoch))
                order, order_epoch = rng.permutation(len(self.pictures)), epoch
                self.find_neighbours(epoch, i)
            rows = order[i * self.batch_size : (i + 1) * self.batch_size]
            try:
                logged = self.advance(rows)
            except FloatingPointError as error:
                raise FloatingPointError(self.keep_batch(out, rows, error)) from None
            for name, value in logged.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            bar.update()
            if i + 1 == self.steps_per_epoch:
                self.close_epoch(epoch, time.perf_counter() - started, writer)
                bar.set_postfix({k: f"{v:.2f}" for k, v in self.history[-1].items() if k in _SHOWN})
            if out is not None and self.step % self.config.checkpoint_every == 0:
                self.save(out / CHECKPOINT, provenance, time.perf_counter() - started)
        self.require_finite()
        bar.close()
        if writer is not None:
            writer.close()

    def keep_batch(self, out, rows, error) -> str:
        """Save the batch at which the training broke; return the message that says where."""
        if out is None:
            return str(error)
        batch = {"step": self.step, "rows": rows, "images": self.pictures[rows]}
        write_npz(out / BAD_BATCH, batch, compressed=False)
        return f"{out / BAD_BATCH} (this batch): {error}"

    def require_finite(self) -> None:
        """Weights may break in the last step before they are kept, and no loss shows it."""
        if not all(bool(value.isfinite().all()) for value in self.model.state_dict().values()):
            raise FloatingPointError(
                f"weights: found nan or inf after step {self.step}, expected finite numbers; "
                f"{_ADVICE}"
            )

    def find_neighbours(self, epoch, i) -> None:
        config = self.config
        since = epoch - config.neighbours_from
        wanted = config.neighbours and not self.generative
        if not wanted or since < 0 or i > 0 or since % config.neighbours_every:
            return  # not wanted, not yet, or still the ones the checkpoint brought
        with self.autocast:
            _, features = self.embed()
        rows = self.share.of(range(len(features)))
        found = nearest(features, config.neighbours, self.device, rows=rows)
        self.neighbours = np.empty((len(features), found.shape[1]), found.dtype)
        self.neighbours[rows.start : rows.stop] = found
        self.share.collect(self.neighbours, self.device)

    def embed(self) -> tuple[np.ndarray, np.ndarray]:
        """q(c|x) and the features of every image, of which each process computes its part.

        They are mapped from temporary files: larger than the images, they need not fit into memory.
        """
        n, widths = len(self.pictures), (self.model.config.K, self.model.cluster.in_features)
        columns = tuple(_scratch((n, width)) for width in widths)
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

    def close_epoch(self, epoch, elapsed, writer) -> None:
        means = {name: total / self.steps_per_epoch for name, total in self.sums.items()}
        before = sum(row["seconds"] for row in self.history)
        self.sums = {}
        self.history.append({"epoch": epoch + 1, "seconds": elapsed - before, **means})
        if writer is not None:
            writer.add(means, epoch + 1)

    # ---- checkpoints ---------------------------------------------------------------------

    def save(self, path, provenance, elapsed) -> None:
        self.require_finite()
        tensors = {f"model.{k}": v.cpu().numpy() for k, v in self.model.state_dict().items()}
        for i, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v.cpu().numpy() for k, v in entry.items()}
        if self.neighbours is not None:
            tensors["neighbours"] = self.neighbours
        before = sum(row["seconds"] for row in self.history)
        about = {
            "step": self.step,
            "history": self.history,
            "sums": self.sums | {"seconds": elapsed - before},
            "model": asdict(self.model.config),
            "training": asdict(self.config),
            "data": provenance["data"],
        }
        save_tensors(path, tensors, about)

    def load(self, path, provenance) -> None:
        """Go on from a checkpoint, refusing one that is damaged or of another training."""
        tensors, about = load_tensors(path)
        try:
            # a field that a checkpoint does not have came later, and stands at its default
            for part, here, defaults in (
                ("model", asdict(self.model.config), asdict(GMVAEConfig())),
                ("training", asdict(self.config), asdict(TrainConfig())),
                ("data", provenance["data"], {}),
            ):
                _require_same(path, defaults | about[part], here)
            self.restore(tensors, about)
        except InputError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            reason = one_line(error)
            raise InputError(f"{path}: {reason}; expected a checkpoint that fit wrote") from None

    def restore(self, tensors, about) -> None:
        self.step, self.history, self.sums = about["step"], about["history"], about["sums"]
        epochs = self.step // self.steps_per_epoch
        if not 0 <= self.step <= self.n_steps or [r["epoch"] for r in self.history] != list(
            range(1, epochs + 1)
        ):
            raise ValueError(f"step {self.step} after {len(self.history)} epochs")
        times = [self.sums["seconds"], *(row["seconds"] for row in self.history)]
        if not all(math.isfinite(value) for value in [*times, *self.sums.values()]):
            raise ValueError("numbers that are not finite")
        self.neighbours = tensors.get("neighbours")
        if self.neighbours is not None and not (
            self.neighbours.dtype == np.int32
            and self.neighbours.shape[:1] == (len(self.pictures),)
            and self.neighbours.ndim == 2
            and 0 <= self.neighbours.min() <= self.neighbours.max() < len(self.pictures)
        ):
            raise ValueError("neighbours that are no rows of the images")
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        self.model.load_state_dict(_below(tensors, "model."))
        optimizer = self.optimizer.state_dict()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        for name, value in _below(tensors, "optimizer.").items():
            i, key = name.split(".", 1)
            if value.shape == parameters[int(i)].shape and key != "step":
                # a fused step goes through memory in order: channels last, as the weights
                value = torch.empty_like(parameters[int(i)], device="cpu").copy_(value)
            optimizer["state"].setdefault(int(i), {})[key] = value
        self.optimizer.load_state_dict(optimizer)
        for parameter, entry in self.optimizer.state.items():
            if any(value.shape not in (parameter.shape, ()) for value in entry.values()):
                raise ValueError("an optimizer of other sizes")


_ADVICE = "train anew with a smaller learning_rate or precision='float32'"


class _Objective(torch.nn.Module):
    """The step's loss as the forward pass of a module, which is what can be distributed."""

    def __init__(self, trainer: _Trainer):
        super().__init__()
        self.model, self.trainer = trainer.model, trainer

    def forward(self, rows) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        trainer = self.trainer
        loss, log = (trainer.generative_loss if trainer.generative else trainer.loss)(rows)
        return loss, {name: value.detach() for name, value in log.items()}


def _scratch(shape) -> np.ndarray:
    """A float32 array in a temporary file that goes with it."""
    with tempfile.TemporaryFile() as handle:
        return np.memmap(handle, np.float32, "w+", shape=shape)


_SHOWN = ("loss", "elbo", "mutual_information", "components_in_batch")


def _below(tensors, prefix):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


class _EventLog:
    """TensorBoard's event file, written by this thread: a full disk then stops the training.

    torch's SummaryWriter writes in a thread of its own, which dies with a traceback and unnoticed.
    """

    def __init__(self, folder):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.Event, self.Summary = event_pb2.Event, summary_pb2.Summary
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"
        self.records = RecordWriter(open(folder / name, "wb"))
        self._write(file_version="brain.Event:2")

    def add(self, means: dict[str, float], epoch: int) -> None:
        values = [self.Summary.Value(tag=k, simple_value=v) for k, v in means.items()]
        self._write(step=epoch, summary=self.Summary(value=values))

    def _write(self, **fields) -> None:
        self.records.write(self.Event(wall_time=time.time(), **fields).SerializeToString())
        self.records.flush()

    def close(self) -> None:
        self.records.close()


def _tensorboard(out) -> _EventLog | None:
    """A log for TensorBoard in the run's folder, where TensorBoard is installed."""
    if out is None:
        return None
    if (out / "tensorboard").is_symlink():
        raise InputError(f"{out / 'tensorboard'}: found a link, expected a folder inside the run")
    try:
        return _EventLog(out / "tensorboard")
    except ImportError:
        return None
