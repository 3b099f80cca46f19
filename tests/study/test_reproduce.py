"""`make reproduce`: where the results of which data go."""

import json
from pathlib import Path

import pytest

from gmvae_lib import rendered_letters
from gmvae_lib.errors import InputError
from gmvae_lib.study import reproduce


@pytest.fixture
def images():
    return rendered_letters(n=52, seed=0)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A folder of results in the working directory, and what says which images they are of."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results") / reproduce.RUN
    folder.mkdir(parents=True)

    def of(sha256):
        text = json.dumps({"data": {"sha256": sha256}})
        (folder / "provenance.json").write_text(text)

    return of


def test_the_published_data_have_the_published_folder(images, published):
    published(images.provenance["sha256"])
    assert reproduce.folders(None, None, images) == (Path("results"), Path("runs"))
    assert reproduce.folders(None, None, None) == (Path("results"), Path("runs"))
    assert reproduce.folders(Path("results"), None, images)[0] == Path("results")


def test_other_data_have_folders_of_their_own(images, published):
    published("of other images")
    expected = Path("results-rendered-letters"), Path("runs/rendered-letters")
    assert reproduce.folders(None, None, images) == expected
    assert reproduce.folders(Path("new"), Path("here"), images) == (Path("new"), Path("here"))


def test_results_of_other_data_are_not_overwritten(images, published):
    published("of other images")
    with pytest.raises(InputError, match="results/letters100k: found a run of other images"):
        reproduce.folders(Path("results"), None, images)


def test_data_that_are_not_there_end_in_one_line(published, capsys):
    assert reproduce.main(["--data", "absent.npz"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("reproduce: error: absent.npz: no such file")
    assert not Path("results-absent").exists()
