"""Two-dimensional maps of the latent space: PCA, UMAP and t-SNE of the means of q(z|x).

They need pixels and a minute of computation, so they are computed once and stored with the run.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors

from gmvae_lib.errors import InputError
from gmvae_lib.label.neighbours import NEIGHBOURS


@dataclass(frozen=True)
class LatentMaps:
    """Maps of M images of a data set.

    ``index``: which images, [M]. ``pca``, ``umap``, ``tsne``: float32 [M, 2]. ``explained``: the
    shares of the variance of z on the two axes of ``pca``. ``neighbours``: the ten nearest of each
    image in z, as positions in ``index``, [M, 10]. ``redrawn``: the likeliest component of each
    image's reconstruction, [M]. ``weights_sha256``: of the run's weights.
    """

    index: np.ndarray
    pca: np.ndarray
    umap: np.ndarray
    tsne: np.ndarray
    explained: np.ndarray
    neighbours: np.ndarray
    redrawn: np.ndarray
    weights_sha256: str


def make_maps(run, images, n=4000, seed=0):
    """Map n images drawn at random: LatentMaps. Takes a minute; one seed, one result."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from umap import UMAP

    n = min(n, len(images))
    index = np.sort(np.random.default_rng(seed).choice(len(images), n, replace=False))
    pictures = images.images[index]
    z = latent_means(run.model, pictures)
    pca = PCA(2, random_state=seed).fit(z)
    return LatentMaps(
        index=index.astype(np.uint32),
        pca=pca.transform(z).astype(np.float32),
        # one job: UMAP is repeatable on a single thread only
        umap=UMAP(random_state=seed, n_jobs=1).fit_transform(z).astype(np.float32),
        tsne=TSNE(random_state=seed, n_jobs=1).fit_transform(z).astype(np.float32),
        explained=pca.explained_variance_ratio_.astype(np.float32),
        neighbours=euclidean_neighbours(z).astype(np.uint16 if n <= 2**16 else np.uint32),
        redrawn=_redrawn(run.model, pictures),
        weights_sha256=run.provenance["files"]["weights.safetensors"],
    )


def latent_means(model, pictures, batch_size=1000):
    """Means of q(z|x, c) at each image's likeliest c: pictures [N, H, W] to float32 [N, D]."""
    import torch

    from gmvae_lib.vae.model import as_batch

    means = []
    with torch.no_grad():
        for start in range(0, len(pictures), batch_size):
            encoded = model.encode(as_batch(pictures[start : start + batch_size], model.config))
            mean = encoded.mean
            if model.config.posterior == "heads":
                mean = mean[torch.arange(len(mean)), encoded.logits.argmax(1)]
            means.append(mean.numpy())
    return np.concatenate(means)


def _redrawn(model, pictures, batch_size=1000):
    from gmvae_lib.vae.model import cluster_posterior

    starts = range(0, len(pictures), batch_size)
    drawn = np.concatenate([model.reconstruct(pictures[i : i + batch_size]) for i in starts])
    cluster = cluster_posterior(model, drawn).argmax(axis=1)
    return cluster.astype(np.min_scalar_type(model.config.K))


def euclidean_neighbours(points, n_neighbours=NEIGHBOURS):
    """Rows of the nearest other points of each of points [M, D]: int [M, n], the nearest first."""
    search = NearestNeighbors(n_neighbors=n_neighbours).fit(points)
    return search.kneighbors(return_distance=False)


def label_agreement(neighbours, y):
    """Share of neighbours [M, n], positions in y, that have the label of their point, y [M]."""
    return float((y[neighbours] == y[:, None]).mean())


def neighbours_kept(neighbours, reference):
    """Mean share of each point's `reference` neighbours [M, n] that are among `neighbours`."""
    both = zip(neighbours, reference, strict=True)
    return float(np.mean([np.isin(there, here).mean() for here, there in both]))


def save_maps(maps, path):
    """Write the maps as a compressed npz."""
    from gmvae_lib.data.storage import write_npz

    columns = {field.name: getattr(maps, field.name) for field in fields(maps)}
    write_npz(path, columns)


def load_maps(path, run):
    """Read the maps of a run, refusing those of other weights."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: not found, expected the maps that `make reproduce` writes")
    with np.load(path, allow_pickle=False) as columns:
        found = {field.name: columns[field.name] for field in fields(LatentMaps)}
    found["weights_sha256"] = str(found["weights_sha256"])
    expected = run.provenance["files"]["weights.safetensors"]
    if found["weights_sha256"] != expected:
        raise InputError(
            f"{path}: found maps of the weights {found['weights_sha256'][:12]}…, "
            f"expected {expected[:12]}… as in the run "
            "(again: gmvae_lib.study.reproduce --steps pictures)"
        )
    return LatentMaps(**found)
