"""Several training steps as one CUDA graph.

On a GPU a step of a GMVAE is a few hundred short operations, and starting them one by one from
Python takes longer than computing them. A CUDA graph records the operations of several steps once
and starts them all at a stroke. Every step reads its batch from the same memory, into which the
next batches are copied.
"""

import gc
import logging

import torch

from gmvae_lib.errors import one_line

LONGEST = 16  # steps in a graph at most: more of them gain nothing and take memory
log = logging.getLogger("gmvae_lib")


def block_length(steps_per_epoch: int) -> int:
    """Steps in a graph: the largest divisor of an epoch's steps that is at most `LONGEST`.

    Examples
    --------
    >>> block_length(781)
    11
    """
    return max(n for n in range(1, LONGEST + 1) if steps_per_epoch % n == 0)


class Eager:
    """Every step by itself, as Python goes through it."""

    def __init__(self, step):
        self.step = step

    def __call__(self, batches: list[dict[str, torch.Tensor]]) -> None:
        for batch in batches:
            self.step(batch)

    def release(self) -> None:
        pass


class Graphed:
    """A block of steps as one CUDA graph, on a stream of its own.

    The first block of a kind (number of batches, names, shapes and types of their tensors) runs
    eagerly: it allocates the optimizer's state, chooses algorithms and compiles. The second is
    captured. Where compiling or capturing fails, one line says so and the steps run eagerly.

    Parameters
    ----------
    step : function of a batch; reads and writes tensors on the device only.
    loss : the `loss.Loss` behind it, whose compiled form is given up where it fails.
    clear : called before a capture, to drop gradients, whose memory must be the graph's.
    """

    def __init__(self, step, loss, clear, stream):
        self.step, self.loss, self.clear, self.stream = step, loss, clear, stream
        self.kind, self.graph, self.inputs, self.failed = None, None, [], False

    def __call__(self, batches: list[dict[str, torch.Tensor]]) -> None:
        kind = [sorted((k, v.shape, v.dtype) for k, v in batch.items()) for batch in batches]
        if kind != self.kind:
            self.release()
            self.kind = kind
            for batch in batches:
                self.warm_up(batch)
            return
        if self.graph is None and not self.failed:
            self.try_to_capture(batches)
        if self.graph is None:
            for batch in batches:
                self.step(batch)
            return
        for inputs, batch in zip(self.inputs, batches, strict=True):
            for name, value in batch.items():
                inputs[name].copy_(value, non_blocking=True)
        self.graph.replay()

    def warm_up(self, batch) -> None:
        try:
            self.step(batch)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if self.loss.plain is None:
                raise
            log.warning("torch.compile failed (%s); training without it", one_line(error))
            self.loss.plain = None
            self.step(batch)

    def try_to_capture(self, batches) -> None:
        self.inputs = [{name: value.clone() for name, value in b.items()} for b in batches]
        self.clear()
        try:
            self.graph = capture(self.step, self.inputs, self.stream)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            log.warning("CUDA graph failed (%s); training without it", one_line(error))
            self.failed, self.inputs = True, []
            self.clear()

    def release(self) -> None:
        """Give back a graph's memory; the gradients lie in it."""
        if self.graph is not None and self.stream is not None:
            self.stream.synchronize()  # its last replay may still run
        self.clear()
        self.kind, self.graph, self.inputs, self.failed = None, None, [], False


def capture(step, batches, stream):
    """The CUDA graph of a step for each of some batches; nothing runs until its ``replay()``."""
    gc.collect()  # a graph must not be destroyed while another one is captured
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for batch in batches:
            step(batch)
    return graph
