"""The parts of the rivals' measurement on a few small pictures, with trainings of a few steps."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.study import networks, programs, rival_runs
from gmvae_lib.study.rival_runs import contrast_alone, contrast_methods, one_by_one


@pytest.fixture
def points():
    """Three far groups of 40 points at length 1, their 5 nearest, and labels."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    X = 5 * np.eye(6)[y] + 0.3 * rng.normal(size=(120, 6))
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    near = (-X @ X.T).argsort(axis=1)[:, 1:6]
    return X, near, y


def test_contrast_alone_trains_no_clusters():
    model, training = contrast_alone(seed=3)
    assert (training.consistency_weight, training.elbo_weight) == (0, 0)
    assert training.contrast_weight == 1
    assert (training.generative_epochs, training.seed) == (0, 3)
    assert model.auxiliary == ()


def test_every_method_on_contrastive_features_finds_the_groups(points):
    from gmvae_lib.study.experiments import sweep

    X, near, y = points
    features, methods = contrast_methods(X, near, K=3)
    assert all(name.startswith("contrast") for name in features)  # digests of their own
    table = sweep(features, y, methods, [12], range(2), progress=False)
    assert set(table["method"]) == {
        f"contrast only: {name}"
        for name in (
            "1-NN", "k-NN", "label spreading", "k-means + hard", "mixture + hard",
            "k-means + graph and neighbours", "mixture + graph and neighbours",
        )
    }  # fmt: skip
    assert (table["accuracy"] > 0.9).all()


def test_draws_come_one_after_the_other(monkeypatch):
    """And within a draw first the counts near 200; above 1,000 labels there are five draws."""
    asked = []
    monkeypatch.setattr(rival_runs, "sweep", lambda *args, **how: asked.append((args[4], args[3])))
    one_by_one({}, [], {}, (7, 2000, 146, 291), range(4, 6), {})
    assert asked == [
        ([4], [146]), ([4], [291]), ([4], [2000]), ([4], [7]),
        ([5], [146]), ([5], [291]), ([5], [7]),
    ]  # fmt: skip


@pytest.mark.slow
def test_the_parts_write_tables_that_resume(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    pictures = np.zeros((120, 28, 28), np.uint8)
    for picture, label in zip(pictures, y, strict=True):
        picture[:, 9 * label : 9 * label + 6] = rng.integers(150, 255)
    letters = ImageSet(pictures, y, ("l", "m", "r"))
    monkeypatch.setattr(networks, "STEPS", 3)
    monkeypatch.setattr(networks, "MOST_STEPS", 3)
    monkeypatch.setattr(programs, "load_images", lambda *a, **k: letters)
    monkeypatch.setattr(rival_runs, "load_run", lambda path: None)
    out = tmp_path / "t.csv"

    def run(*words):
        return rival_runs.main([*words, "--out", str(out), "--work", str(tmp_path), "--quiet"])

    assert run("network", "--counts", "7", "20", "--draws", "0", "1") == 0
    assert run("article-mlp") == 0
    first = pd.read_csv(out)
    assert set(first["method"]) == {"convolutional net", "mlp (article)"}
    assert (first["method"] == "convolutional net").sum() == 4
    assert run("network", "--counts", "7", "20", "--draws", "0", "1") == 0
    pd.testing.assert_frame_equal(pd.read_csv(out), first)
    assert run("boosting", "--draws", "0") == 2
    assert "--counts, --draws: found for boosting" in capsys.readouterr().err
