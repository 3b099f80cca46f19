"""The core works where only its own dependencies are installed: none of the extras' packages."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
# A process in which the packages named ABSENT cannot be found, as if they were not installed.
WITHOUT_EXTRAS = """
import sys

class Finder:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *more):
        if name.partition(".")[0] not in ABSENT:
            return self.finder.find_spec(name, *more)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Finder(finder) for finder in sys.meta_path]
"""
COMMAND = """
from gmvae_lib.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
ESTIMATOR = """
import numpy as np
from gmvae_lib import GMVAEClassifier
x = np.concatenate([np.random.default_rng(i).normal(8 * i, 1, (60, 4)) for i in (0, 1)])
y = np.repeat(["low", "high"], 60)
model = GMVAEClassifier(n_components=4, random_state=0).fit(x)
model.fit_labels([0, 1, 60, 61], y[[0, 1, 60, 61]])
print((model.predict(x) == y).mean())
"""
# Needed by torch or scikit-learn too, or by nothing but the environment: these may be there.
SHARED = {"joblib", "threadpoolctl", "sympy", "mpmath"}
# Where a distribution's name is not that of its package.
PACKAGES = {"umap-learn": "umap", "jupyter-book": "jupyter_book", "dask[distributed]": "dask"}


def absent():
    """Top-level packages that only the extras bring, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [line for extra in project["optional-dependencies"].values() for line in extra]
    names = {line.split(">")[0].split("=")[0].split(",")[0].strip() for line in wanted}
    names -= {name for name in names if name.startswith("gmvae_lib")}
    return {PACKAGES.get(name, name.replace("-", "_")) for name in names} - SHARED


def without_extras(code, *args):
    """What the code prints, its errors, and its exit code, in a process without the extras."""
    block = f"ABSENT = {sorted(absent())!r}\n" + WITHOUT_EXTRAS
    return subprocess.run(
        [sys.executable, "-c", block + code, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def gmvae(*args):
    ended = without_extras(COMMAND, *args)
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 240 pictures of bars, upright or lying, with their names."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(240):
        image = rng.integers(0, 60, (28, 28), dtype=np.uint8)
        at = rng.integers(8, 18)
        bar = (slice(4, 24), slice(at, at + 4))
        image[bar if i % 2 else bar[::-1]] = rng.integers(180, 256)
        Image.fromarray(image).save(folder / f"{i:03d}.png")
    return folder


def test_the_packages_in_question_are_absent_there():
    for package in ("torchvision", "matplotlib", "xgboost"):
        ended = without_extras(f"import {package}")
        assert f"No module named '{package}'" in ended.stderr


@pytest.mark.slow
def test_train_suggest_report_and_predict_on_a_folder_of_pictures(pictures, tmp_path):
    run, to_label, labels = tmp_path / "run", tmp_path / "to_label.csv", tmp_path / "labels.csv"
    given = ("--run", run, "--images", pictures)
    gmvae("train", "--data", pictures, "--preset", "quick", "--k", 6, "--epochs", 6, "--out", run)
    gmvae("suggest", *given, "--budget", 20, "--random", 10, "--out", to_label)
    table = pd.read_csv(to_label)
    assert 20 <= len(table) <= 30  # an image may be both typical and drawn at random
    table["label"] = np.where(table["index"] % 2, "upright", "lying")
    table.drop(columns=["cluster"]).to_csv(labels, index=False)
    gmvae("report", *given, "--labels", labels, "--out", tmp_path / "report.html")
    assert "upright" in (tmp_path / "report.html").read_text(encoding="utf-8")
    gmvae("predict", *given, "--labels", labels, "--out", tmp_path / "predictions.csv")
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert len(predictions) == 240
    right = predictions["label"] == np.where(predictions["index"] % 2, "upright", "lying")
    assert right.mean() > 0.8


@pytest.mark.slow
def test_the_estimator_on_a_table():
    ended = without_extras(ESTIMATOR)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) > 0.9


@pytest.mark.parametrize(
    ("source", "package"), [("emnist-letters", "torchvision"), ("rendered-letters", "matplotlib")]
)
def test_what_needs_an_extra_says_which(source, package, tmp_path):
    ended = without_extras(COMMAND, "train", "--data", source, "--out", tmp_path / "run")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert source in line and f"found no package '{package}'" in line and "gmvae_lib[study]" in line
    assert not (tmp_path / "run").exists()
