"""What clusters are worth, and the form in which the results of benchmarks.gpu come back."""

import numpy as np

from gmvae_lib.label.decoding import GraphDecoder, SoftDecoder, cluster_affinity
from gmvae_lib.study.metrics import components_in_use, purity

LARGEST = 14_500_000  # bytes of a file


def worth(q, y, n_labels=291, draws=5) -> dict:
    """Purity, components in use, accuracy with labels drawn at random; labels report, no more."""
    found = {"purity": purity(q.argmax(1), y), "components": components_in_use(q)}
    decoders = {"soft": SoftDecoder(), "graph": GraphDecoder(cluster_affinity(q))}
    right = {name: [] for name in decoders}
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(y))
        labelled, rest = order[:n_labels], order[n_labels:]
        for name, decoder in decoders.items():
            decoder.fit(q[labelled], y[labelled])
            right[name].append(float(np.mean(decoder.predict(q[rest]) == y[rest])))
    return found | {f"{name} {n_labels}": float(np.mean(v)) for name, v in right.items()}


def half(value: np.ndarray) -> np.ndarray:
    """Large matrices as float16, everything else as it is."""
    return value.astype(np.float16) if value.ndim > 1 and value.size > 100_000 else value
