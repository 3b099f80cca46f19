"""Peers: rows of a tiny comparison, packages that are missing or fail, the time to a target."""

import json

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.label.neighbours import adjacency
from gmvae_lib.study import peers


@pytest.fixture
def letters(monkeypatch):
    """300 pictures of three bars with a little noise, their labels, and small numbers of labels."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    pictures = rng.integers(0, 20, (300, 28, 28), dtype=np.uint8)
    for picture, label in zip(pictures, y, strict=True):
        picture[:, 9 * label : 9 * label + 6] = rng.integers(150, 255)
    monkeypatch.setattr(peers, "K", 3)
    monkeypatch.setattr(peers, "LABELS", (12, 30))
    monkeypatch.setattr(peers, "AT", 30)
    return ImageSet(pictures, y, ("l", "m", "r"))


@pytest.mark.parametrize("name", ["LabelSpreading", "SelfTraining"])
def test_scikit_learns_peers_name_the_bars(name, letters):
    row = peers.measure(name, 0.01, letters, "")
    assert row["accuracy 30"] > 0.9
    assert row["low 30"] <= row["accuracy 30"] <= row["high 30"]
    assert row["minutes"] > 0
    assert row["draws"] == 5
    assert row["peak_MB"] > 50
    assert "failed" not in row


@pytest.mark.slow
@pytest.mark.parametrize("name", ["DEC", "IDEC", "VaDE"])
def test_clustpys_clusters_get_their_names_from_the_labels(name, letters, monkeypatch):
    pytest.importorskip("clustpy")
    settings = {"batch_size": 64}
    monkeypatch.setitem(peers.METHODS, name, ("clustpy", peers.clustpy(name, settings)))
    row = peers.measure(name, 0.002, letters, "")
    assert "failed" not in row
    assert row["epochs"] >= 2
    assert 0.33 <= row["purity"] <= 1
    # no cluster is better named than by its commonest label
    assert row["accuracy 30"] <= row["purity"] + 0.05


def test_poisson_learning_keeps_the_names_of_classes():
    """Classes 2 and 7 on a ring of two halves; GraphLearning itself counts classes from 0."""
    pytest.importorskip("graphlearning")
    ring = (np.arange(40)[:, None] + [1, -1]) % 40
    answers = peers._poisson(adjacency(ring))
    found = answers(np.array([10, 30]), np.array([2, 7]))
    assert (found[3:17] == 2).all()
    assert (found[23:37] == 7).all()


def test_a_failure_is_a_row(letters, monkeypatch):
    def broken(images, seconds, run_path):
        raise RuntimeError("no such kernel\nmore")

    monkeypatch.setitem(peers.METHODS, "DEC", ("numpy", broken))
    row = peers.measure("DEC", 1, letters, "")
    assert row["failed"] == "RuntimeError: no such kernel"
    assert "accuracy 30" not in row
    monkeypatch.setitem(peers.METHODS, "DEC", ("a-package-that-is-not-there", broken))
    row = peers.measure("DEC", 1, letters, "")
    assert row["failed"].startswith("PackageNotFoundError")


def test_the_own_cluster_is_on_top_and_the_nearest_centre_next():
    points = np.array([[0.0], [1.0], [10.0]])
    centres = np.array([[0.0], [2.0], [9.0]])
    q = peers.nearest_centres([0, 2, 2], points, centres)
    assert q.argmax(axis=1).tolist() == [0, 2, 2]  # as the package says, not by distance
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    assert q[0].argsort()[::-1].tolist() == [0, 1, 2]


def test_what_is_in_the_table_is_not_run_again(tmp_path, monkeypatch, capsys):
    ran = []

    def answer(name, minutes, argv):
        ran.append((name, minutes))
        row = {"method": name, "package": "p", "budget": minutes, "minutes": minutes}
        return row | {"accuracy 291": 0.5, "peak_MB": 1.0}

    monkeypatch.setattr(peers, "_in_own_process", answer)
    out = ["--out", str(tmp_path / "peers.csv"), "--methods", "DEC", "LabelSpreading"]
    assert peers.main([*out, "--minutes", "6"]) == 0
    assert peers.main([*out, "--minutes", "6", "30"]) == 0
    # the same whatever the budget: not measured twice
    assert ran == [("DEC", 6.0), ("LabelSpreading", 6.0), ("DEC", 30.0)]
    assert len(pd.read_csv(tmp_path / "peers.csv")) == 3
    assert "DEC: 50.0% with 291 labels, 6.0 core-minutes, 1 MB" in capsys.readouterr().out


def test_no_images_is_one_line(tmp_path, capsys):
    missing = str(tmp_path / "none.npz")
    assert peers.main(["--one", "DEC", "--data", missing, "--minutes", "1"]) == 2
    assert capsys.readouterr().err.startswith("peers: error: ")
    words = ["--data", missing, "--methods", "DEC", "--out", str(tmp_path / "p.csv")]
    assert peers.main(words) == 2  # said by the process that was started
    assert "none.npz" in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()


def test_time_to_the_target():
    rows = [
        {"method": "ours", "minutes": 3.0, "accuracy 291": 0.82},
        {"method": "ours", "minutes": 9.0, "accuracy 291": 0.9},
        {"method": "DEC", "minutes": 6.0, "accuracy 291": 0.3},
        {"method": "DEC", "minutes": 30.0, "accuracy 291": 0.4},
        {"method": "VaDE", "failed": "RuntimeError"},
    ]
    found = peers.time_to_target(pd.DataFrame(rows)).set_index("method")
    assert json.loads(found.to_json(orient="index")) == {
        "ours": {"minutes": 3.0, "tried": 9.0},
        "DEC": {"minutes": None, "tried": 30.0},
        "VaDE": {"minutes": None, "tried": None},
    }
