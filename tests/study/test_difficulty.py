"""The supervised network that says how hard the letters are."""

import pandas as pd
import pytest

from gmvae_lib.study import difficulty
from gmvae_lib.study.studies import split


@pytest.mark.slow
def test_a_network_learns_rendered_letters(letters, one_thread):
    row = difficulty.supervised(letters, seed=0, epochs=8)
    assert (row["n_train"], row["n_test"]) == tuple(len(part) for part in split(len(letters)))
    assert row["accuracy"] > 0.3  # 26 letters: chance is 0.04
    assert row["without_i_l"] >= row["accuracy"]


def test_finished_seeds_are_kept(letters, tmp_path, monkeypatch):
    asked = []

    def supervised(images, seed):
        asked.append(seed)
        return {"seed": seed, "accuracy": 0.9}

    monkeypatch.setattr(difficulty, "supervised", supervised)
    out = tmp_path / "difficulty.csv"
    difficulty.study(letters, [0, 1], out)
    table = difficulty.study(letters, [0, 1, 2], out)
    assert asked == [0, 1, 2]
    assert list(table["seed"]) == list(pd.read_csv(out)["seed"]) == [0, 1, 2]


def test_images_without_labels_are_refused(tmp_path, capsys):
    assert difficulty.main(["--data", str(tmp_path / "none.npz")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
