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
