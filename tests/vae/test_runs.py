"""A run on disk: round trip, sparse posterior, refusal of files that are not the written ones."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib import GMVAE, GMVAEConfig, InputError, Run, TrainConfig, load_run, save_run
from gmvae_lib.data.storage import write_atomically
from gmvae_lib.vae.runs import pack_posterior, unpack_posterior


@pytest.fixture
def run():
    config = GMVAEConfig(K=5, z_dim=2, encoder_hidden=(4,), decoder_hidden=(4,), posterior="shared")
    model = GMVAE(config)
    rng = np.random.default_rng(0)
    return Run(
        config,
        TrainConfig(epochs=2),
        [{"epoch": 1, "elbo": -200.123456789}, {"epoch": 2, "elbo": -150.5}],
        {"data": {"name": "noise", "n": 30}},
        {name: value.numpy() for name, value in model.state_dict().items()},
        rng.dirichlet(np.full(5, 0.1), 30).astype(np.float32),
        rng.integers(3, size=30),
        ("a", "b", "c"),
        {"case": rng.integers(3, size=30)},
    )


def test_round_trip(run, tmp_path):
    save_run(run, tmp_path / "r")
    back = load_run(tmp_path / "r")
    assert back.model_config == run.model_config and back.train_config == run.train_config
    assert back.history == run.history
    assert back.class_names == run.class_names
    np.testing.assert_array_equal(back.labels, run.labels)
    np.testing.assert_array_equal(back.extra["case"], run.extra["case"])
    np.testing.assert_allclose(back.posterior, run.posterior, atol=2e-3)
    np.testing.assert_allclose(back.posterior.sum(1), 1, rtol=1e-6)
    for name, value in run.state.items():
        np.testing.assert_array_equal(back.state[name], value)
    np.testing.assert_allclose(back.weights, 0.2)
    assert not back.model.training
    again = load_run(save_run(back, tmp_path / "again"))
    np.testing.assert_allclose(again.posterior, back.posterior, atol=1e-3)


@given(st.integers(1, 40), st.integers(1, 300), st.floats(0.01, 3), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_sparse_posterior(n, K, concentration, seed):
    q = np.random.default_rng(seed).dirichlet(np.full(K, concentration), n).astype(np.float32)
    q = np.nan_to_num(q, nan=1 / K)
    q /= q.sum(1, keepdims=True)
    back = unpack_posterior(pack_posterior(q))
    assert back.dtype == np.float32 and back.shape == q.shape
    np.testing.assert_allclose(back.sum(1), 1, rtol=1e-5)
    # what is dropped is at most K floors; what is kept is rounded to half precision
    assert np.abs(back - q).max() <= 2e-4 * K + 1e-3


def test_sparse_posterior_keeps_the_order_of_small_entries():
    """With few labels a decoder goes by the largest entry among components that have one."""
    q = np.full((1, 50), 1e-9, np.float32)
    q[0, :12] = 10.0 ** -np.arange(12)
    back = unpack_posterior(pack_posterior(q / q.sum()))
    assert list(np.argsort(-back[0])[:10]) == list(range(10))


def test_a_file_of_another_run_is_not_vouched_for(run, tmp_path):
    """classifier.npz of one model beside the weights of the next was once taken for its own."""
    (tmp_path / "classifier.npz").write_bytes(b"of this run")
    save_run(run, tmp_path, further=("classifier.npz",))
    assert "classifier.npz" in load_run(tmp_path).provenance["files"]
    save_run(run, tmp_path)
    assert "classifier.npz" not in load_run(tmp_path).provenance["files"]


def damage(path, kind):
    data = path.read_bytes()
    if kind == "cut short":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "altered":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        path.unlink()


@pytest.mark.parametrize("kind", ["cut short", "altered", "missing"])
@pytest.mark.parametrize(
    "name", ["config.json", "weights.safetensors", "history.csv", "posterior.npz"]
)
def test_damaged_files_are_refused(run, tmp_path, name, kind):
    save_run(run, tmp_path)
    damage(tmp_path / name, kind)
    with pytest.raises(InputError, match=name) as caught:
        load_run(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {}}'])
def test_damaged_provenance_is_refused(run, tmp_path, text):
    save_run(run, tmp_path)
    (tmp_path / "provenance.json").write_text(text)
    with pytest.raises(InputError, match=str(tmp_path)):
        load_run(tmp_path)


def test_a_listed_path_outside_the_folder_is_refused(run, tmp_path):
    save_run(run, tmp_path / "r")
    (tmp_path / "secret").write_text("x")
    about = json.loads((tmp_path / "r" / "provenance.json").read_text())
    about["files"]["../secret"] = "0" * 64
    (tmp_path / "r" / "provenance.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="expected a file of this run"):
        load_run(tmp_path / "r")


def test_no_run_at_all(tmp_path):
    with pytest.raises(InputError, match="expected the folder of a finished run"):
        load_run(tmp_path / "nowhere")


def test_atomic_writing_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fails(p):
        p.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fails)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def written_again(folder, name, change):
    """Change a file of a run and its hash with it."""
    path = folder / name
    change(path)
    about = json.loads((folder / "provenance.json").read_text())
    about["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "provenance.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"K": 5', '"K": 6', "weights.safetensors: .*components"),
        ('"K": 5', '"K": "many"', "config.json: .*K: found 'many', expected a whole number"),
        ('"z_dim": 2', '"z_dim": 9999999999', "do not fit the configuration"),
        ('"z_dim": 2', '"depth": 2', "config.json: .*depth"),
        ('"epochs": 2', '"epochs": 1e999', "config.json: .*epochs: found inf"),
        ('"prior_std": 0.05', '"prior_std": NaN', "prior_std: found nan, expected a finite"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_although_hashed(
    run, tmp_path, old, new, message
):
    save_run(run, tmp_path)
    written_again(
        tmp_path, "config.json", lambda path: path.write_text(path.read_text().replace(old, new))
    )
    with pytest.raises(InputError, match=message) as caught:
        _ = load_run(tmp_path).model
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shape", np.array([2**40, 5])),
        ("shape", np.array([30, 2**40])),
        ("counts", np.zeros(30, np.uint8)),
        ("columns", np.full(150, 5, np.uint8)),
        ("log_values", np.full(150, np.nan, np.float16)),
        ("labels", np.full(30, 3, np.uint8)),
        ("labels", np.zeros(29, np.uint8)),
        ("extra_case", np.zeros(29, np.uint8)),
    ],
)
def test_a_posterior_that_cannot_be_is_refused_although_hashed(run, tmp_path, name, value):
    run.posterior = np.full((30, 5), 0.2, np.float32)
    save_run(run, tmp_path)

    def change(path):
        with np.load(path, allow_pickle=False) as stored:
            columns = dict(stored)
        assert name in columns
        np.savez(path, **columns | {name: value})

    written_again(tmp_path, "posterior.npz", change)
    with pytest.raises(InputError, match="posterior.npz"):
        load_run(tmp_path)
