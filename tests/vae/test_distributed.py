"""Two processes under torchrun: the same training as one; one of them killed; what they share."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gmvae_lib import InputError, fit, load_run
from gmvae_lib.vae import checkpoints
from gmvae_lib.vae.distributed import (
    Share,
    SharedGenerator,
    draw,
    processes,
    share,
    timeout,
)
from gmvae_lib.vae.training import CHECKPOINT, Trainer

pytestmark = pytest.mark.slow  # each test starts processes of its own

WORKER = Path(__file__).with_name("distributed_worker.py")
NAMES = ("paper", "best", "both", "rows")  # of the worker's jobs
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def torchrun(*arguments):
    root = WORKER.parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    line = [*TORCHRUN, *map(str, arguments)]
    return subprocess.run(
        line, env=environment, cwd=root, capture_output=True, text=True, timeout=120
    )


def curve(run):
    """The history as an array, without the clock."""
    names = sorted({name for row in run.history for name in row} - {"seconds"})
    return np.array([[row.get(name, np.nan) for name in names] for row in run.history])


@pytest.fixture(scope="module")
def worker():
    """The module that torchrun runs, for its configurations and images."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(WORKER.stem, WORKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def alone(worker):
    """Each training in one process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    worker.in_double_precision()
    yield {name: fit(worker.data(name), *job, device="cpu") for name, job in worker.jobs().items()}
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A training of which one process was killed: its folder, and what torchrun said."""
    folder = tmp_path_factory.mktemp("killed") / "best"
    started = time.monotonic()
    done = torchrun(WORKER, "die", folder)
    seconds = time.monotonic() - started
    files = {path.name for path in folder.iterdir()}
    return folder, done, seconds, files


@pytest.fixture(scope="module")
def together(killed, tmp_path_factory):
    """The folder in which two processes have put the same trainings, and resumed the killed one."""
    folder = tmp_path_factory.mktemp("together")
    done = torchrun(WORKER, *(folder / name for name in NAMES), killed[0])
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_train_as_one_does(alone, together, name):
    """Same global batch, same loss curve: mutual information, contrast, batch statistics and all.

    The networks run in float64; mutual information and the stored features are float32.
    """
    two = load_run(together / name)
    np.testing.assert_allclose(curve(two), curve(alone[name]), rtol=1e-6, atol=1e-8)
    assert len(two.history) == len(alone[name].history) >= 3
    other = {
        k: np.array(v) for k, v in json.loads((together / f"{name}-1.json").read_text()).items()
    }
    for key, value in two.state.items():  # and both hold the same weights, bit for bit
        np.testing.assert_array_equal(other[key].astype(value.dtype), value, key)


def test_a_killed_process_stops_the_training_which_resumes(killed, together):
    folder, done, seconds, files = killed
    assert done.returncode != 0 and "SIGKILL" in done.stderr + done.stdout
    assert seconds < 60
    assert CHECKPOINT in files and "provenance.json" not in files
    whole, resumed = load_run(together / "best"), load_run(folder)
    np.testing.assert_array_equal(curve(resumed), curve(whole))
    for key, value in whole.state.items():
        np.testing.assert_array_equal(resumed.state[key], value, key)


@pytest.fixture(scope="module")
def checkpoint(worker, tmp_path_factory):
    """The checkpoint of a training that was interrupted, and its folder."""
    out = tmp_path_factory.mktemp("interrupted")
    x, (model, training) = worker.data("paper"), worker.jobs()["paper"]
    trainer = Trainer(x, model, training, "cpu")
    steps = trainer.run()
    for _ in range(4):
        next(steps)
    about = {"data": {"name": "array", "n": len(x)}}
    checkpoints.save(trainer, out / CHECKPOINT, about, 0.5)
    next(steps)
    checkpoints.save(trainer, out / "later", about, 0.5)
    return out


@pytest.mark.parametrize("found", ["nothing", "another checkpoint", "a finished run"])
def test_processes_that_find_different_things_refuse_to_train(worker, checkpoint, found, tmp_path):
    """Two machines without a common disk: once, gradients of different weights were averaged."""
    shutil.copytree(checkpoint, tmp_path / "0")
    (tmp_path / "1").mkdir()
    if found == "another checkpoint":
        shutil.copy(checkpoint / "later", tmp_path / "1" / CHECKPOINT)
    elif found == "a finished run":
        fit(worker.data("paper"), *worker.jobs()["paper"], tmp_path / "1", True, device="cpu")
    done = torchrun(WORKER, "apart", tmp_path)
    expected = {"nothing": "no checkpoint", "a finished run": "a finished run"}
    expected = expected.get(found, "a checkpoint")
    for rank in (0, 1):
        assert (
            f"process {rank}: out: found a checkpoint in process 0, {expected} in process 1, not "
            "the same in all"
        ) in done.stdout, done.stderr[-2000:]
    assert not (tmp_path / "0" / "provenance.json").exists()


def test_processes_with_copies_of_one_checkpoint_resume(checkpoint, tmp_path):
    for rank in "01":
        shutil.copytree(checkpoint, tmp_path / rank)
    done = torchrun(WORKER, "apart", tmp_path)
    assert "process 0: trained" in done.stdout and "process 1: trained" in done.stdout
    assert len(load_run(tmp_path / "0").history) == 4


def test_an_error_in_one_process_stops_all(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "0")
    (tmp_path / "1").write_text("no folder")
    done = torchrun(WORKER, "apart", tmp_path)
    assert "process 0: process 1: found an error, see its message" in done.stdout
    assert f"process 1: {tmp_path}/1: found a file, expected a folder" in done.stdout


def test_the_command_line_trains_in_two_processes(worker, tmp_path):
    np.savez(tmp_path / "squares.npz", images=worker.images())
    line = ("-m", "gmvae_lib", "train", "--data", tmp_path / "squares.npz", "--preset", "quick")
    line += ("--epochs", "1", "--k", "5", "--device", "cpu", "--out", tmp_path / "run")
    done = torchrun(*line)
    # a small set is one batch, here of 130
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("trained for") == 1
    assert load_run(tmp_path / "run").config.K == 5


# ------------------------------------------------------------------ what they share


def test_one_process_has_everything():
    assert share() == Share(0, 1)
    with processes() as mine:
        assert mine.first and mine.of(range(7)) == range(7)
    column = np.arange(3.0)
    mine.collect(column)
    assert column.tolist() == [0, 1, 2]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_parts_make_the_whole_in_order(world):
    parts = [Share(rank, world).of(range(17)) for rank in range(world)]
    assert [i for part in parts for i in part] == list(range(17))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("function", [torch.rand, torch.randn])
def test_parts_of_a_draw_are_those_of_one_process(function):
    def generator():
        return torch.Generator().manual_seed(5)

    whole = draw(function, (12, 3), generator())
    assert torch.equal(whole, function((12, 3), generator=generator()))
    parts = [
        draw(function, (4, 3), SharedGenerator(generator(), Share(rank, 3))) for rank in range(3)
    ]
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("text", ["", "0", "-3", "nan", "soon", "1e300"])
def test_the_time_to_wait_for_a_process_is_settable(monkeypatch, text):
    monkeypatch.delenv("GMVAE_TIMEOUT", raising=False)
    assert timeout() == 600
    monkeypatch.setenv("GMVAE_TIMEOUT", "2.5")
    assert timeout() == 2.5
    monkeypatch.setenv("GMVAE_TIMEOUT", text)
    with pytest.raises(InputError, match=f"GMVAE_TIMEOUT: found {text!r}, expected a number"):
        timeout()


def test_unequal_parts_of_a_batch_are_refused():
    with pytest.raises(InputError, match="batch_size: found 250, expected a multiple of the 4"):
        Share(1, 4).check(250)
    Share(1, 5).check(250)
