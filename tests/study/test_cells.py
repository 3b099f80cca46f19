"""The archive of blood cells: licence, truth, and pictures that can be read."""

import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from gmvae_lib.data.images import load_images
from gmvae_lib.errors import InputError
from gmvae_lib.study import cells

ARCHIVE = Path(__file__).resolve().parents[2] / cells.OUT


def test_the_published_archive_is_small_and_complete(tmp_path):
    assert ARCHIVE.stat().st_size < 2_000_000
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    truth = pd.read_csv(tmp_path / "truth.csv")
    assert set(truth["cell"]) == set(cells.NAMES.values()) and truth["path"].is_unique
    assert "Copyright (c) 2017 shenggan" in (tmp_path / "LICENSE").read_text()
    for place, n in (("pictures", cells.PICTURES), ("new", cells.NEW)):
        images = load_images(tmp_path / place, colour=True)
        assert [f"{place}/{path}" for path in images.paths] == [
            path for path in truth["path"] if path.startswith(place)
        ]
        assert len(images) == n and images.labels is None


def test_the_same_folder_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "PICTURES", 4)
    monkeypatch.setattr(cells, "NEW", 2)
    for name in cells.NAMES:
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.jpg").write_bytes(f"{name}{i}".encode())
    first = cells.packed(tmp_path)
    assert first == cells.packed(tmp_path)
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        truth = pd.read_csv(io.BytesIO(archive.read("truth.csv")))
        kinds = {f"{place}": cell for place, cell in truth.itertuples(index=False)}
        assert len(kinds) == 6
        for place, cell in kinds.items():
            assert cells.NAMES[archive.read(place).decode()[:-1]] == cell


def test_other_folders_are_refused(tmp_path, capsys):
    assert cells.main([str(tmp_path), "--out", str(tmp_path / "x.zip")]) == 2
    assert "found 0 pictures, expected at least 800" in capsys.readouterr().err
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").touch()
    with pytest.raises(InputError, match="and the class 'cat'"):
        cells.packed(tmp_path)
    assert not (tmp_path / "x.zip").exists()
