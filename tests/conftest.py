"""Fixtures that several test files share."""

from pathlib import Path

import pytest
from check_book import chromium, launched

from gmvae_lib.data.images import rendered_letters

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def one_thread():
    """Torch on one thread, for trainings that are compared or small."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gmvae(work, capsys):
    """Call main on a line; return (exit code, stdout, stderr). {work} is the test file's folder."""

    def call(line):
        from gmvae_lib.__main__ import main

        code = main(line.format(work=work).split())
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; where there is none, the tests in a browser are skipped."""
    with launched(chromium()) as browser:
        yield browser


@pytest.fixture(scope="session")
def letters():
    """1,300 rendered letters, 50 a class: enough to learn from in seconds."""
    return rendered_letters(n=1300, seed=0)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real letters and digits beside the repository, or a skip."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found: no folder {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def emnist_letters_path(shared_data):
    """The IDX file of 100,000 real EMNIST letters, or a skip."""
    path = shared_data / "emnist-letters-100k" / "images-idx3-ubyte.gz"
    if not path.is_file():
        pytest.skip(f"real letters not found: no file {path}")
    return path
