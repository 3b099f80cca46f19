"""The protocol for real sets: what was fixed beforehand stays as it is."""

import json
from pathlib import Path

import numpy as np
import pytest

from gmvae_lib.data.storage import array_digest
from gmvae_lib.study import real_sets

ROOT = Path(__file__).resolve().parents[2]
STORED = json.loads((ROOT / real_sets.OUT).read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(15):
            (tmp_path / "pets" / name / f"{i}.png").touch()
    return tmp_path / "pets"


@pytest.mark.parametrize("name", real_sets.SETS)
def test_the_published_draws_are_made_again(name):
    fixed = STORED[name]
    draws = real_sets.labelled_rows(fixed["used"], fixed["classes"])
    assert array_digest(draws) == fixed["draws"]
    assert len(real_sets.rows_used(fixed["pictures"])) == fixed["used"] <= real_sets.MOST


def test_draws_of_one_row_hold_each_picture_once():
    draws = real_sets.labelled_rows(300, 4)
    assert draws.shape == (20, 40) and 0 <= draws.min() and draws.max() < 300
    assert all(len(np.unique(row)) == 40 for row in draws)


def test_another_list_of_pictures_is_noticed(folder, tmp_path, capsys):
    out = tmp_path / "draws.json"
    arguments = ["--draws", str(folder), "--out", str(out)]
    assert real_sets.main(arguments) == 0 and "added to" in capsys.readouterr().out
    assert real_sets.main(arguments) == 0 and "pets: as in" in capsys.readouterr().out
    (folder / "cat" / "0.png").rename(folder / "cat" / "z.png")
    assert real_sets.main(arguments) == 1 and "NOT as in" in capsys.readouterr().out


def test_bad_folders_end_in_one_line(folder, tmp_path, capsys):
    out = ["--out", str(tmp_path / "draws.json")]
    for bad, said in ((folder / "cat", "found 0 class folders"), (tmp_path / "no", "no such")):
        assert real_sets.main(["--draws", str(bad), *out]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "draws.json").exists()
    for path in list(folder.glob("*/1*.png")):
        path.unlink()
    assert real_sets.main(["--draws", str(folder), *out]) == 2
    assert "expected more than 20" in capsys.readouterr().err
