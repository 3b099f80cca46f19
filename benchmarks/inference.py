"""Posteriors of many images, and labels from many posteriors."""

import tempfile
from pathlib import Path

import numpy as np

from gmvae_lib import BayesDecoder, HardDecoder, SoftDecoder, cluster_posterior, load_run
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.metrics import accuracy

from .clock import medians, row
from .step import matrix_peak

RUN = Path("results/letters100k")
IMAGES = 145_600  # as many as the article's
POSTERIORS = 10_000_000
CHUNK = 100_000


def encoder_flops(config) -> float:
    """Of the products of q(c|x) of one image."""
    height, width = config.image_shape
    total, n_in = 0, 1
    for i, n_out in enumerate(config.channels):
        stride, kernel = (2 if i < 2 else 1), (5 if i == 0 else 3)
        height, width = (height - 1) // stride + 1, (width - 1) // stride + 1
        total += height * width * n_out * n_in * kernel**2
        n_in = n_out
    return 2.0 * (total + n_in * height * width * config.features + config.features * config.K)


def posterior_rows():
    import torch

    run = load_run(RUN)
    few = np.random.default_rng(0).integers(0, 256, (10_000, 28, 28), dtype=np.uint8)
    many = np.broadcast_to(few[:1], (IMAGES, 28, 28))  # no memory of its own
    seconds = medians(lambda: cluster_posterior(run, few), repeats=3)[0]
    one_by_one = medians(
        lambda: [cluster_posterior(run, few[i : i + 1]) for i in range(500)], repeats=1
    )[0]
    whole = medians(lambda: cluster_posterior(run, many), repeats=1)[0]
    limit = encoder_flops(run.config) / matrix_peak(torch.float32)
    return [
        row(
            f"q(c|x) of {IMAGES:,} images, preset best", "one image at a time",
            one_by_one / 500 / (whole / IMAGES), images_a_second=IMAGES / whole,
        ),
        row(
            "FLOP/s of q(c|x), float32", "a float32 product of 2048 x 2048 matrices",
            limit * 10_000 / seconds, None, "share",
        ),
    ]  # fmt: skip


def bandwidth(n_bytes=2**29) -> float:
    """Bytes a second that a sum over a large array reads."""
    a = np.ones(n_bytes // 4, dtype=np.float32)
    return n_bytes / medians(lambda: a.sum(), repeats=5)[0]


def stream(decoder, q, y, labelled):
    """Fit by chunks on the labelled rows, then answer for every row of a memory-mapped q."""
    for start in range(0, len(labelled), CHUNK):
        rows = labelled[start : start + CHUNK]
        decoder.partial_fit(q[rows], y[rows % len(y)], classes=np.unique(y))
    counts = 0
    for start in range(0, len(q), CHUNK):
        counts += np.bincount(decoder.predict(q[start : start + CHUNK]), minlength=26)
    return counts


def decoding_rows():
    run = load_run(RUN)
    tile, y = run.posterior, run.labels
    read = bandwidth()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        q = np.memmap(Path(folder) / "q.dat", np.float32, "w+", shape=(POSTERIORS, tile.shape[1]))
        for start in range(0, POSTERIORS, len(tile)):
            q[start : start + len(tile)] = tile[: POSTERIORS - start]
        q.flush()
        q = np.memmap(Path(folder) / "q.dat", np.float32, "r", shape=q.shape)
        labelled = np.random.default_rng(0).integers(0, POSTERIORS, 10_000)
        for decoder in (HardDecoder(), SoftDecoder(), BayesDecoder()):
            seconds = medians(
                lambda decoder=decoder: stream(type(decoder)(), q, y, labelled), repeats=1
            )[0]
            rows.append(
                row(
                    f"{type(decoder).__name__}, {POSTERIORS:,} posteriors from a file",
                    "reading as many bytes from memory", q.nbytes / seconds / read, None, "share",
                    seconds=seconds, gigabytes_a_second=q.nbytes / seconds / 1e9,
                    peak_gigabytes_a_second=read / 1e9,
                )
            )  # fmt: skip
    return rows


def sparse_rows(top=5):
    """q(c|x) cut to its largest entries: how much smaller, and what soft decoding loses."""
    run = load_run(RUN)
    q, y = run.posterior, run.labels
    kept = np.argpartition(-q, top, axis=1)[:, :top]
    cut = np.zeros_like(q)
    np.put_along_axis(cut, kept, np.take_along_axis(q, kept, axis=1).astype(np.float16), axis=1)
    lost = []
    for seed in range(5):
        labelled = draw_labelled(len(y), 291, seed)
        whole, sparse = (
            accuracy(y, SoftDecoder().fit(part[labelled], y[labelled]).predict(part))
            for part in (q, cut)
        )
        lost.append(whole - sparse)
    return [
        row(
            f"bytes of a posterior cut to {top} entries", "float32 of all K entries",
            q.shape[1] * 4 / (top * 3), None, "x", points_lost=100 * float(np.mean(lost)),
        )
    ]  # fmt: skip


def rows():
    return posterior_rows() + decoding_rows() + sparse_rows()
