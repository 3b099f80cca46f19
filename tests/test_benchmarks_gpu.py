"""The command for a machine with a GPU, small and on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load

from benchmarks.worth import LARGEST
from gmvae_lib import GMVAE, GMVAEConfig
from gmvae_lib.vae.runs import unpack_posterior

ROOT = Path(__file__).parents[1]
# what such a machine need not have
ABSENT = ("torchvision", "matplotlib", "PIL", "xgboost")


def command(*arguments):
    """Run it in a process in which none of `ABSENT` can be imported."""
    hide = f"import sys\nfor name in {ABSENT}: sys.modules[name] = None\n"
    code = f"{hide}from benchmarks.gpu import main\nsys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Every part, and a second call that resumes the trainings, with one epoch more."""
    out = tmp_path_factory.mktemp("gpu") / "out"
    line = ("--out", out, "--tiny", "--seeds", "2", "--minutes", "8")
    first = command(*line)
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-3000:]
    measures = json.loads((out / "measures.json").read_text())
    again = command(*line, "--only", "paper,large", "--resume")
    assert again.returncode == 0, again.stderr[-3000:]
    return out, measures, json.loads((out / "measures.json").read_text())


@pytest.mark.slow
def test_every_part_measures(done):
    out, measures, _ = done
    parts = measures["parts"]
    assert set(parts) == {"tests", "steps", "posterior", "best", "paper"}
    assert not any("error" in part for part in parts.values())
    assert all(row["ms"] > 0 and row["finite"] for row in parts["steps"]["rows"])
    assert min(parts["posterior"]["images a second"].values()) > 0
    assert parts["best"]["seconds"] > 0 and 0 < parts["best"]["soft 291"] <= 1
    runs = parts["paper"]["runs"]
    assert {run["epochs"] for run in runs.values()} == {4} and set(runs) == {"0", "1"}
    assert all(np.isfinite(run["elbo"]) for run in runs.values())


@pytest.mark.slow
def test_what_comes_back_is_small_and_whole(done):
    out, measures, _ = done
    files = list(out.iterdir())
    assert len(files) <= 8 and max(file.stat().st_size for file in files) <= LARGEST
    posterior = np.load(out / "posterior.npz", allow_pickle=False)
    for seed in (0, 1):
        part = {k.split(".", 1)[1]: v for k, v in posterior.items() if k.startswith(f"{seed}.")}
        assert unpack_posterior(part).shape == (800, 6)
    curves = pd.read_csv(out / "curves.csv")
    assert curves.groupby("seed")["epoch"].apply(list).tolist() == [[1, 2, 3, 4]] * 2
    assert curves["elbo"].notna().all() and curves["purity"].notna().sum() >= 4
    # the weights' pieces, one after the other, are a safetensors file of the named run
    data = b"".join(p.read_bytes() for p in sorted(out.glob("weights.*.part")))
    chosen = measures["parts"]["paper"]["runs"][str(measures["parts"]["paper"]["weights_of"])]
    expected = GMVAE(GMVAEConfig(**chosen["model"])).state_dict()
    assert {k: v.shape for k, v in load(data).items()} == {k: v.shape for k, v in expected.items()}


@pytest.mark.slow
def test_a_second_call_resumes(done):
    """All epochs are done: nothing is trained again, and the same is reported."""
    _, first, second = done
    for seed, run in first["parts"]["paper"]["runs"].items():
        again = second["parts"]["paper"]["runs"][seed]
        assert (again["epochs"], again["elbo"], again["purity"]) == (
            run["epochs"], run["elbo"], run["purity"],
        )  # fmt: skip


@pytest.mark.slow
def test_the_preset_large_is_trained_when_asked_for(done):
    out, first, second = done
    found = second["parts"]["large"]
    assert "large" not in first["parts"] and found["epochs"] == found["epochs_of_preset"] == 4
    assert found["model"]["residual"] == 1 and found["seconds"] > 0
    kept = np.load(out / "large.npz", allow_pickle=False)
    assert unpack_posterior(dict(kept)).shape == (800, 26) and len(kept["neighbours"]) == 800
    assert all(0 < found[name] <= 1 for name in ("purity", "1-NN, all labels"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "paper,tea"), "--only: found 'tea'"),
        (("--seeds", "9"), "--seeds: found 9, expected 1 to 4"),
        (("--data", "nowhere.gz", "--tiny"), "--data: found no file nowhere.gz"),
    ],
)
def test_bad_arguments_are_refused(arguments, message, tmp_path):
    done = command("--out", tmp_path / "out", *arguments)
    assert done.returncode == 2 and message in done.stderr
