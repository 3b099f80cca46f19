"""The Makefile's targets run in a folder whose name holds blanks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


# Set by `make test`, and by `.ci/run` before it, for the checkout under test and not for the clone.
SET_OUTSIDE = ("VENV", "JOBS", "ARGS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")


def make(folder, *arguments):
    command = ["make", "--no-print-directory", f"PYTHON={sys.executable}", *arguments]
    env = {name: value for name, value in os.environ.items() if name not in SET_OUTSIDE}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)


@pytest.fixture
def clone(tmp_path):
    """A folder with blanks in its name that holds what `make setup` reads."""
    folder = tmp_path / "my  own book"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.txt", "pyproject.toml"):
        (folder / name).touch()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("venv", [".venv", "my env", "ABSOLUTE"])
def test_setup_makes_the_environment_once(clone, venv):
    venv = str(clone.parent / "an env elsewhere") if venv == "ABSOLUTE" else venv
    done = make(clone, "setup", f"VENV={venv}")
    assert done.returncode == 0, done.stderr
    assert (clone / venv / ".installed").is_file()
    assert (clone / venv / "bin" / "python").exists()
    made = {path.name for path in clone.iterdir()} | {path.name for path in clone.parent.iterdir()}
    assert made <= {"Makefile", "requirements.txt", "pyproject.toml", clone.name, Path(venv).name}
    again = make(clone, "setup", f"VENV={venv}")
    assert "pip" not in again.stdout


def test_every_target_runs_the_environments_own_programs(clone):
    programs = clone / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in set(re.findall(r'"\$\(BIN\)/([\w-]+)"', (ROOT / "Makefile").read_text())):
        program = programs / name  # writes its name and arguments into the log
        program.write_text('#!/bin/sh\necho "$(basename "$0") $*" >> log\n')
        program.chmod(0o755)
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.M)
    assert {"setup", "book", "quick", "test"} <= set(targets)
    for target in [t for t in targets if t not in ("help", "clean")]:
        done = make(clone, target)
        assert done.returncode == 0, f"make {target}: {done.stderr}"
        assert not done.stderr, f"make {target}: {done.stderr}"
    log = (clone / "log").read_text()
    assert "python -m pip install -r requirements.txt" in log
    assert "jupyter-book build -W -n --keep-going book/" in log
    assert "python -m gmvae_lib.study.reproduce" in log
    assert make(clone, "clean").returncode == 0
    assert not programs.exists()


def test_help_lists_every_target(clone):
    listed = re.findall(r"^  make (\w+)", make(clone, "help").stdout, re.M)
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()
    assert sorted(listed) == sorted(phony)
