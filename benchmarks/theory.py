"""The label bounds at K = 10,000 clusters of unequal sizes."""

import numpy as np

from gmvae_lib import bounds

from .clock import medians, row

K = 10_000


def rows():
    weights = np.random.default_rng(0).dirichlet(np.full(K, 20.0))
    times = {
        method: medians(lambda method=method: bounds.labels_to_cover(weights, method=method))[0]
        for method in ("exact", "poisson", "union")
    }
    simulated = medians(
        lambda: bounds.labels_to_cover(weights, method="montecarlo", n_simulations=2000), repeats=1
    )[0]
    return [
        row(
            f"labels_to_cover, {K:,} unequal clusters, {method}",
            "simulating the draws 2,000 times",
            simulated / seconds,
            seconds=seconds,
            baseline_seconds=simulated,
        )
        for method, seconds in times.items()
    ]
