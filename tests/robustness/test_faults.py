"""Kills and other faults: one try of each kind that `faults.py` knows, on the training."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")
def test_trainings_resume_after_kills_and_other_faults_lose_nothing(tmp_path):
    script, out = Path(__file__).with_name("faults.py"), tmp_path / "faults.csv"
    ended = subprocess.run(
        [sys.executable, script, "--tries", "1", "--commands", "train", "--out", out],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = pd.read_csv(out)
    assert (table["held"] == table["tries"]).all()
    assert set(table["fault"]) >= {
        "killed at a random moment",
        "killed before a file operation",
        "killed in the middle of a write",
        "file larger than allowed",
        "data gone meanwhile",
        "other data meanwhile",
        "output folder deleted meanwhile",
        "two into one folder",
        "SIGTERM",
        "SIGINT",
        "loss not finite",
        "cut short or one bit altered",
    }
