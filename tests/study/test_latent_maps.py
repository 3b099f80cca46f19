"""Latent maps: neighbour counts by hand, files of another run refused, and the published maps."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gmvae_lib import load_run
from gmvae_lib.errors import InputError
from gmvae_lib.study import latent_maps

RESULTS = Path(__file__).parents[2] / "results"


def run_of(weights):
    return SimpleNamespace(provenance={"files": {"weights.safetensors": weights}})


def some_maps(weights):
    z = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    return latent_maps.LatentMaps(
        index=np.arange(30),
        pca=z[:, :2],
        umap=z[:, 1:3],
        tsne=z[:, 2:4],
        explained=np.array([0.3, 0.2], np.float32),
        neighbours=latent_maps.euclidean_neighbours(z),
        redrawn=np.zeros(30, np.uint8),
        weights_sha256=weights,
    )


def test_nearest_leaves_the_point_itself_out():
    points = np.array([[0.0], [1.0], [1.5], [9.0]])
    assert latent_maps.euclidean_neighbours(points, 1)[:, 0].tolist() == [1, 2, 1, 2]


def test_agreement_and_neighbours_kept():
    neighbours = np.array([[1, 2], [0, 2], [1, 0]])
    assert latent_maps.label_agreement(neighbours, np.array([5, 5, 7])) == pytest.approx(1 / 3)
    assert latent_maps.neighbours_kept(neighbours, neighbours) == 1
    other = np.array([[2, 1], [0, 3], [3, 4]])
    assert latent_maps.neighbours_kept(neighbours, other) == pytest.approx(0.5)


def test_maps_survive_the_file_and_belong_to_one_run(tmp_path):
    path = tmp_path / "maps.npz"
    maps = some_maps("abc")
    latent_maps.save_maps(maps, path)
    found = latent_maps.load_maps(path, run_of("abc"))
    np.testing.assert_array_equal(found.neighbours, maps.neighbours)
    np.testing.assert_array_equal(found.tsne, maps.tsne)
    with pytest.raises(InputError, match="found maps of the weights abc"):
        latent_maps.load_maps(path, run_of("def"))
    with pytest.raises(InputError, match="not found"):
        latent_maps.load_maps(tmp_path / "none.npz", run_of("abc"))


def test_published_maps_are_of_the_published_run_and_small():
    path = RESULTS / "latent_maps.npz"
    run = load_run(RESULTS / "letters100k")
    maps = latent_maps.load_maps(path, run)
    assert path.stat().st_size < 200_000
    assert maps.index.max() < len(run.labels)
    for points in (maps.pca, maps.umap, maps.tsne):
        assert points.shape == (len(maps.index), 2) and np.isfinite(points).all()
