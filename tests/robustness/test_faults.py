"""Kill -9 and other faults of the machine, a few of those that `faults.py` beside this tries."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")
def test_killed_trainings_go_on_and_other_faults_lose_nothing(tmp_path):
    command = [
        sys.executable,
        Path(__file__).with_name("faults.py"),
        "--tries",
        "1",
        "--commands",
        "train",
    ]
    ended = subprocess.run(
        [*command, "--out", tmp_path / "faults.csv"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    table = pd.read_csv(tmp_path / "faults.csv")
    assert (table["held"] == table["tries"]).all()
    ways = table[table["fault"].str.startswith("killed")]
    assert len(ways) == 3 and table["fault"].nunique() >= 9
