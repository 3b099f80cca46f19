"""Images that stay on disk give the same results as the same images in memory."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib import InputError, cluster_posterior, fit, load_images, load_run, preset
from gmvae_lib.__main__ import main
from gmvae_lib.data.shards import ShardedImages


def in_shards(folder, images, cuts):
    """Write images as .npy files, cut at the given places."""
    folder.mkdir()
    for i, part in enumerate(np.split(images, cuts)):
        np.save(folder / f"part-{i:03}.npy", part)
    return folder


@pytest.fixture(scope="module")
def folder(letters, tmp_path_factory):
    few = letters.images[:250]
    return in_shards(tmp_path_factory.mktemp("shards") / "letters", few, [1, 90, 90, 200])


@pytest.fixture(scope="module")
def small():
    model, training = preset("quick")
    model = replace(model, K=5, z_dim=2, channels=(4, 4), features=8, auxiliary=(), style=8)
    changes = {"epochs": 2, "generative_epochs": 1, "batch_size": 50, "neighbours": 2}
    return model, replace(training, **changes, neighbours_from=1)


@given(
    index=st.one_of(
        st.lists(st.integers(0, 249), max_size=30),
        st.slices(250),
    )
)
@settings(max_examples=60, deadline=None)
def test_rows_are_those_of_the_whole_array(letters, folder, index):
    shards, whole = ShardedImages(folder), letters.images[:250]
    index = index if isinstance(index, slice) else np.array(index, dtype=np.int64)
    found = shards[index]
    assert type(found) is np.ndarray and found.dtype == np.uint8
    np.testing.assert_array_equal(found, whole[index])


def test_provenance_is_that_of_the_whole_array(letters, folder):
    shards = load_images(folder)
    assert (len(shards), shards.shape, shards.ndim) == (250, (250, 28, 28), 3)
    assert shards.images is shards and shards.labels is None
    whole = letters.subset(slice(0, 250)).provenance
    assert shards.provenance["sha256"] == whole["sha256"]
    assert shards.provenance["shape"] == whole["shape"] and shards.provenance["shards"] == 5
    one = load_images(folder / "part-004.npy")
    assert one.provenance["sha256"] == hashlib.sha256(letters.images[200:250].tobytes()).hexdigest()


def test_training_and_posterior_are_those_of_the_array(letters, folder, small, tmp_path, capsys):
    in_memory = fit(letters.subset(slice(0, 250)).images, *small)
    run = fit(load_images(folder), *small, out=tmp_path / "run")
    for name, value in in_memory.state.items():
        np.testing.assert_array_equal(run.state[name], value, name)
    q = cluster_posterior(run, letters.images[:250])
    np.testing.assert_array_equal(cluster_posterior(run, ShardedImages(folder)), q)
    line = ["posterior", "--run", str(tmp_path / "run"), "--images", str(folder), "--out"]
    for name in ("q.npz", "q.npy"):
        assert main([*line, str(tmp_path / name)]) == 0, capsys.readouterr().err
    mapped = np.load(tmp_path / "q.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap) and mapped.dtype == np.float32
    np.testing.assert_array_equal(mapped, q)
    with np.load(tmp_path / "q.npz") as archive:
        assert archive.files == ["q"]
        np.testing.assert_array_equal(archive["q"], q)
    assert load_run(tmp_path / "run").provenance["data"]["shards"] == 5


def test_bad_shards(folder, tmp_path):
    def refused(match, path):
        with pytest.raises(InputError, match=match):
            load_images(path)

    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found no .npy file"):
        ShardedImages(tmp_path / "empty")
    refused("no such file", tmp_path / "missing.npy")
    (tmp_path / "text.npy").write_text("not an array")
    refused("text.npy: found no readable array", tmp_path / "text.npy")
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    refused("words.npy: found <U1", tmp_path / "words.npy")
    mixed = in_shards(tmp_path / "mixed", np.zeros((4, 9, 9), np.uint8), [2])
    np.save(mixed / "part-001.npy", np.zeros((2, 9, 8), np.uint8))
    refused(r"part-001.npy: found uint8 \[2, 9, 8\], expected uint8 \[n, 9, 9\]", mixed)
    whole = folder / "part-004.npy"
    (tmp_path / "cut.npy").write_bytes(whole.read_bytes()[:500])
    refused("cut.npy: found no readable array", tmp_path / "cut.npy")
    with pytest.raises(InputError, match="index: found 250 to 250, expected 0 to 249"):
        ShardedImages(folder)[[250]]
    with pytest.raises(InputError, match="transpose: found True"):
        load_images(folder, transpose=True)
