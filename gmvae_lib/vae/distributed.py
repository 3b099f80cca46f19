"""Data-parallel training that matches a single process.

Each process has an equal part of every batch. Gradients are averaged by PyTorch's
DistributedDataParallel. What an objective takes over the whole batch is taken over all processes:
the random draws (all draw the same and keep their own rows), the statistics of batch normalisation
and, for the terms that compare images with each other, the features.
"""

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from gmvae_lib.errors import InputError

TIMEOUT = 600.0  # seconds to wait for another process; the environment's GMVAE_TIMEOUT overrides


@dataclass(frozen=True)
class Share:
    """The part of the work that this process has: the ``rank``-th of ``world``."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def of(self, rows):
        """This process's part of a sequence: parts differ by one in length at most."""
        n = len(rows)
        return rows[n * self.rank // self.world : n * (self.rank + 1) // self.world]

    def collect(self, rows, device="cpu") -> None:
        """Fill an array [N, ...] of which each process has filled its own part, in place."""
        if self.world == 1:
            return
        whole = torch.from_numpy(rows)
        for rank in range(self.world):
            block = Share(rank, self.world).of(whole)
            sent = block.to(device)  # as it is on a CPU; a copy where the collective needs a GPU
            dist.broadcast(sent, rank)
            block.copy_(sent)

    def check(self, batch_size: int) -> None:
        """Refuse a batch that does not come in equal parts, whose mean would not be theirs."""
        if batch_size % self.world:
            raise InputError(
                f"batch_size: found {batch_size}, expected a multiple of the {self.world} processes"
            )


def share() -> Share:
    """This process's share: all of it, unless a process group has been started."""
    if dist.is_available() and dist.is_initialized():
        return Share(dist.get_rank(), dist.get_world_size())
    return Share()


@contextmanager
def processes(device=None):
    """Join the processes that ``torchrun`` started; does nothing in a process started alone.

    Yields the `Share`. NCCL where there is a GPU (one for each process), gloo otherwise. A process
    that dies makes the others fail: at once on one machine, elsewhere after `timeout`.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Share()
        return
    wait = timeout()
    gpu = torch.cuda.is_available() and str(device or "cuda").startswith("cuda")
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpu else "gloo", timeout=timedelta(seconds=wait))
    try:
        yield share()
    finally:
        dist.destroy_process_group()


def timeout() -> float:
    """Seconds to wait for a process that does not answer: `TIMEOUT`, or GMVAE_TIMEOUT if set."""
    text = os.environ.get("GMVAE_TIMEOUT", str(TIMEOUT))
    try:
        seconds = float(text)
        timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        seconds = 0.0
    if not seconds > 0:
        raise InputError(f"GMVAE_TIMEOUT: found {text!r}, expected a number of seconds above 0")
    return seconds


def all_states(values: list[int], device="cpu") -> list[list[int]]:
    """The same few integers of every process, in the order of their ranks."""
    mine = torch.tensor(values, dtype=torch.int64, device=device)
    if not (dist.is_available() and dist.is_initialized()):
        return [values]
    found = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(found, mine)
    return [part.tolist() for part in found]


# ------------------------------------------------------------------ draws


@dataclass(frozen=True)
class SharedGenerator:
    """A generator that all processes have seeded alike, for draws of the whole batch."""

    generator: torch.Generator
    share: Share


def draw(function, shape, generator) -> torch.Tensor:
    """``function(shape, generator=...)``, like torch.rand: this process's rows of the draw.

    With a `SharedGenerator` the whole batch's values are drawn, ``world`` times as many rows.
    """
    if generator is None:
        return function(shape)
    if not isinstance(generator, SharedGenerator):
        return function(shape, generator=generator, device=generator.device)
    whole = (shape[0] * generator.share.world, *shape[1:])
    return generator.share.of(draw(function, whole, generator.generator))


# ------------------------------------------------------------------ the whole batch


def gather(x: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, in the order of their ranks, differentiable: [n, ...] -> [B, ...].

    What every process computes from them alike has, averaged over the processes, the gradient of
    one process with the whole batch.
    """
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(x))


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Mean of each entry over the processes, not differentiable."""
    values = values.clone()
    dist.all_reduce(values)
    return values / dist.get_world_size()


class _GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the mean and variance over all processes.

    What torch's SyncBatchNorm does on GPUs only; written out, it runs on every device.
    """

    num_batches_tracked: torch.Tensor
    running_mean: torch.Tensor
    running_var: torch.Tensor
    momentum: float

    def _check_input_dim(self, x):
        pass  # [B, C] and [B, C, H, W] alike

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce

        axes, shape = [0, *range(2, x.ndim)], (1, -1, *(1,) * (x.ndim - 2))
        world = dist.get_world_size()
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        with torch.autocast(x.device.type, enabled=False):
            mean = all_reduce(wide.mean(axes)) / world
            centred = wide - mean.view(shape)
            variance = all_reduce(centred.square().mean(axes)) / world
            self._remember(mean.detach(), variance.detach(), world * x.numel() // x.shape[1])
            scale = self.weight * (variance + self.eps).rsqrt()
            return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean, variance, n):
        """Move the running statistics, as nn.BatchNorm does: the variance unbiased."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)


def synchronise_batch_norm(module: nn.Module) -> None:
    """Make every batch normalisation below ``module`` that of all processes, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            ours = _GlobalBatchNorm(child.num_features, child.eps, child.momentum)
            for part in (*dict(child.named_parameters()), *dict(child.named_buffers())):
                setattr(ours, part, getattr(child, part))  # the same ones: an optimizer has them
            setattr(module, name, ours)
        else:
            synchronise_batch_norm(child)
