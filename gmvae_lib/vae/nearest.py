"""Nearest neighbours by cosine similarity."""

import numpy as np
import torch

from gmvae_lib.vae.device import default_device, fast_bf16


@torch.no_grad()
def nearest(
    features: np.ndarray,
    n: int,
    device=None,
    chunk: int = 500,
    pool: np.ndarray | None = None,
    rows: range | None = None,
) -> np.ndarray:
    """The n nearest other rows of each row by cosine: float [N, F] -> int32 [N, n].

    With ``pool`` [M, F]: its nearest rows instead. With ``rows``: of these rows only.
    """
    device = default_device(device)

    def directions(rows):
        rows = torch.nn.functional.normalize(torch.from_numpy(rows).to(device), dim=1)
        # the ranking of near neighbours does not need more
        return rows.bfloat16() if fast_bf16(device) else rows

    x = directions(features)
    among = x if pool is None else directions(pool)
    n = min(n, len(among) - (pool is None))
    asked = range(len(x)) if rows is None else rows
    found = torch.empty(len(asked), n, dtype=torch.int32)
    for start in range(0, len(asked), chunk):
        span = asked[start : start + chunk]
        part = torch.arange(span.start, span.stop, device=device)
        similarity = x[part] @ among.T
        if pool is None:
            similarity[torch.arange(len(part), device=device), part] = -2  # not oneself
        found[start : start + chunk] = similarity.topk(n, dim=1, sorted=False).indices.cpu()
    return found.numpy()


def nearest_in(pool: np.ndarray, features: np.ndarray, n: int, chunk: int = 500) -> np.ndarray:
    """The n rows of a pool nearest to each row by cosine, nearest first, the same in every batch.

    Candidates are found in float32 and compared in float64, so that rounding, which depends on the
    other rows asked at the same time, decides nothing. On the CPU; memory for a copy of neither.

    Parameters
    ----------
    pool : float [M, F]. features : float [B, F].

    Returns
    -------
    int64 [B, min(n, M)]
    """
    n, tiny = min(n, len(pool)), np.finfo(np.float32).tiny
    lengths = np.sqrt(np.einsum("ij,ij->i", pool, pool)).clip(tiny)
    found = np.empty((len(features), n), np.int64)
    for start in range(0, len(features), chunk):
        rows = features[start : start + chunk]
        likeness = rows @ pool.T / lengths
        some = min(n + 16, len(pool))
        candidates = np.argpartition(-likeness, some - 1, axis=1)[:, :some]
        candidates.sort(axis=1)  # among equals, the first row
        near = pool[candidates].astype(np.float64)
        dots = np.einsum("bf,bcf->bc", rows.astype(np.float64), near)
        exact = dots / np.sqrt(np.einsum("bcf,bcf->bc", near, near)).clip(tiny)
        order = np.argsort(-exact, axis=1, kind="stable")[:, :n]
        found[start : start + chunk] = np.take_along_axis(candidates, order, axis=1)
    return found
