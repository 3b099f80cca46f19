"""Interrupt the commands by kills and other faults, resume, and compare with an undisturbed run.

test_faults.py makes one try of each. `python tests/robustness/faults.py` (on Linux; as root, a full
and a read-only disk are mounted, otherwise they are left out) makes more and exits with 1 if one
fails. It forks a process that has imported everything, calls `gmvae_lib.__main__.main` in the
child, and kills that child with SIGKILL: at random moments, just before a random file operation, or
(by the kernel, at a random byte) in the middle of a write.
"""

import argparse
import ctypes
import mmap
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from gmvae_lib import __main__ as commands
from gmvae_lib import cli, collection, load_run, rendered_letters
from gmvae_lib.data.storage import load_tensors
from gmvae_lib.errors import InputError
from gmvae_lib.study import experiments
from gmvae_lib.vae import training
from gmvae_lib.vae.config import preset
from gmvae_lib.vae.runs import save_run

ROOT = Path(__file__).resolve().parents[2]
N, K, EVERY = 300, 8, 5  # images, components, steps between checkpoints
SMALL = {"checkpoint_every": EVERY, "batch_size": 50, "neighbours": 5}
COMMANDS = ("train", "posterior", "suggest", "predict", "sweep")
KILLED, TIMED_OUT = "killed", "timed out"
PATIENCE = 300  # seconds until a child counts as hung
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


# ------------------------------------------------------------ a command in a child


class Child:
    """`gmvae` with these arguments in a forked process; counts its steps and file operations.

    before : called in the child first. die_at : number of the file operation within ``folder``
    just before which it gets SIGKILL.
    """

    def __init__(self, line, folder, before=None, die_at=None):
        self.counts = mmap.mmap(-1, 16)  # steps or cells done, file operations begun
        self.err = folder.with_name(folder.name + ".err")
        self.started, self.said = time.monotonic(), None
        self.pid = os.fork()
        if self.pid == 0:
            self._run(line.split(), str(folder), before, die_at)

    def _run(self, argv, folder, before, die_at):
        code = 70
        try:
            handle = os.open(self.err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            torch.set_num_threads(1)
            signal.signal(
                signal.SIGINT, signal.default_int_handler
            )  # shells turn it off behind `&`
            tqdm.set_lock(threading.RLock())  # its own is shared by fork, also with those killed
            collection.preset = partial(preset, **SMALL)
            self._count(training.Trainer, "advance")
            self._count(experiments, "_run_cell")

            def hook(event, args):
                written = event == "open" and isinstance(args[2], int) and args[2] & WRITES
                if not (written or event in ("os.rename", "os.remove", "os.mkdir")):
                    return
                if str(args[0]).startswith(folder):
                    number = self._add(1)
                    if number == die_at:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            if before is not None:
                before()
            code = commands.main(argv)
            sys.stderr.flush()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)

    def _add(self, what) -> int:
        value = self.count(what) + 1
        struct.pack_into("q", self.counts, 8 * what, value)
        return value

    def _count(self, owner, name):
        original = getattr(owner, name)

        def counted(*args):
            result = original(*args)
            self._add(0)
            return result

        setattr(owner, name, counted)

    def count(self, what) -> int:
        return struct.unpack_from("q", self.counts, 8 * what)[0]

    def wait(self, seconds=PATIENCE, then=None):
        """Exit code, "killed", or after ``seconds`` what ``then`` does (by default: a failure)."""
        while time.monotonic() - self.started < seconds:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.seconds = time.monotonic() - self.started
                return KILLED if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(self.pid, then or signal.SIGKILL)
        if then is None:
            os.waitpid(self.pid, 0)
            return TIMED_OUT
        return self.wait(PATIENCE)

    def message(self) -> str:
        """The line on stderr, without progress bars; all of it if there are several."""
        if self.said is None:
            self.said = self._read_message()
        return self.said

    def _read_message(self) -> str:
        text = self.err.read_text(errors="replace")
        lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
        return "\n".join(line for line in lines if "|" not in line)

    def one_line(self) -> bool:
        return self.message().startswith("gmvae: ") and "\n" not in self.message()


def die_in_a_write(at_byte):
    """For ``Child(before=...)``: the kernel ends the process once a file grows beyond at_byte."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (at_byte, resource.RLIM_INFINITY))


# ------------------------------------------------------------------- commands


class Bench:
    """A folder with data, a finished run, and what each command writes when nothing breaks."""

    def __init__(self, work):
        self.work = work
        letters = rendered_letters(n=N, seed=0)
        self.data = work / "letters.npz"
        np.savez(self.data, images=letters.images, labels=letters.labels)
        names = [letters.class_names[code] for code in letters.labels[:60]]
        table = pd.DataFrame({"index": range(60), "label": names})
        table.to_csv(work / "labels.csv", index=False)
        on = f"--run {work}/whole.train/out --images {self.data}"
        self.lines = {
            "train": f"train --data {self.data} --preset quick --epochs 4 --k {K} --resume "
            "--precision float32",
            "posterior": f"posterior {on}",
            "suggest": f"suggest {on} --budget 20",
            "predict": f"predict {on} --labels {work}/labels.csv",
            "sweep": f"sweep --run {work}/whole.train/out --data {self.data} --n-labels 10,20,40 "
            "--seeds 3",
        }
        self.whole, self.operations, self.seconds, self.sizes = {}, {}, {}, {}
        self._import_all()
        for name in self.lines:
            folder = work / f"whole.{name}"
            folder.mkdir()
            child = self.start(name, folder)
            if (code := child.wait()) != 0:
                raise SystemExit(f"{name}: exit code {code} undisturbed: {child.message()}")
            self.whole[name] = self.result(name, folder)
            self.operations[name], self.seconds[name] = child.count(1), child.seconds
            files = [path for path in folder.rglob("*") if path.is_file()]
            self.sizes[name] = max(path.stat().st_size for path in files)
            if name == "train":
                self.steps = child.count(0)

    def _import_all(self):
        """Run every command once here, so that no child spends its time on imports."""
        torch.set_num_threads(1)
        tqdm.monitor_interval = 0  # no thread of its own: a child would inherit the lock it holds
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            for name in self.lines:
                folder = self.work / f"whole.{name}"
                folder.mkdir()
                assert commands.main(f"{self.lines[name]} --out {folder}/out".split()) == 0
            for name in self.lines:
                shutil.rmtree(self.work / f"whole.{name}")

    def start(self, name, folder, **options) -> Child:
        return Child(f"{self.lines[name]} --out {folder}/out", folder, **options)

    def result(self, name, folder):
        """What must be equal bit for bit: all but the seconds that things took."""
        out = folder / "out"
        if name == "train":
            run = load_run(out)
            history = pd.DataFrame(run.history).drop(columns="seconds").to_csv()
            return (out / "weights.safetensors").read_bytes(), history
        if name == "sweep":
            return pd.read_csv(out).drop(columns="seconds").to_csv()
        return out.read_bytes()

    def leftovers(self, folder) -> list[Path]:
        return [path for path in folder.rglob(".*.tmp") if path.is_file()]

    def lost(self, name, folder, done) -> int:
        """Steps or cells finished before the kill that the files do not hold."""
        if name == "train":
            if (folder / "out" / "provenance.json").is_file():
                return 0
            path = folder / "out" / training.CHECKPOINT
            return done - (load_tensors(path)[1]["step"] if path.is_file() else 0)
        if name == "sweep":
            path = folder / "out"
            return done - (len(pd.read_csv(path)) if path.is_file() else 0)
        return 0

    def output_is_whole(self, name, folder) -> bool:
        """An output is not there at all, or complete."""
        done = folder / "out" / ("provenance.json" if name == "train" else "")
        if name == "sweep" or not done.exists():
            return True
        return self.result(name, folder) == self.whole[name]


def killed(bench, name, tries, rng, how) -> dict:
    """Kill a command ``tries`` times, let it go on each time, and check what it ends with."""
    held, lost, tidied, faults = 0, [], 0, []
    while len(lost) < tries:
        folder = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=bench.work))
        if how == "at a random moment":
            moment = rng.uniform(0, bench.seconds[name])
            child = bench.start(name, folder)
            ended = child.wait(moment, signal.SIGKILL)
        elif how == "before a file operation":
            moment = int(rng.integers(1, bench.operations[name] + 1))
            child = bench.start(name, folder, die_at=moment)
            ended = child.wait()
        else:
            moment = int(rng.integers(1, bench.sizes[name]))
            child = bench.start(name, folder, before=lambda m=moment: die_in_a_write(m))
            ended = child.wait()
        if ended == KILLED:
            left = len(bench.leftovers(folder))
            whole = bench.output_is_whole(name, folder)
            lost.append(bench.lost(name, folder, child.count(0)))
            again = bench.start(name, folder)
            code = again.wait()
            same = code == 0 and bench.result(name, folder) == bench.whole[name]
            clean = not bench.leftovers(folder)
            tidied += left
            allowed = {"train": EVERY, "sweep": 1}.get(name, 0)
            if whole and same and clean and lost[-1] <= allowed:
                held += 1
            else:
                faults.append(f"{moment}: whole {whole}, code {code}, same {same}, clean {clean}, "
                              f"lost {lost[-1]}, {again.message()}")  # fmt: skip
        elif ended != 0:
            raise SystemExit(f"{name} {how} {moment}: {ended} {child.message()}")
        shutil.rmtree(folder)
    detail = f"{tidied} unfinished files removed"
    if name in ("train", "sweep"):
        unit, most = ("steps", bench.steps) if name == "train" else ("cells", 45)
        detail = f"at most {max(lost)} of {most} {unit} lost; {detail}"
    return row(f"killed {how}", name, tries, held, "goes on, bit-identical", detail, faults)


# --------------------------------------------------------------- other faults


def row(fault, command, tries, held, outcome, detail="", faults=()) -> dict:
    for line in faults:
        print(f"  {fault}, {command}: {line}", file=sys.stderr)
    print(f"{fault:45} {command:10} {held:5} of {tries:5}  {detail}", flush=True)
    return dict(fault=fault, command=command, tries=tries, held=held, outcome=outcome,
                detail=detail)  # fmt: skip


@contextmanager
def mounted(folder, options):
    """A small disk of its own at ``folder``, or None where this process may not mount."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir()
    ok = libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, options.encode()) == 0
    try:
        yield libc if ok else None
    finally:
        if ok:
            libc.umount2(str(folder).encode(), 2)
        folder.rmdir()


def can_mount(folder) -> bool:
    with mounted(folder, "size=64k") as libc:
        return libc is not None


def one(bench, fault, name, outcome, check) -> dict:
    """One row for one try: ``check(folder)`` returns (held, message)."""
    folder = Path(tempfile.mkdtemp(prefix="one.", dir=bench.work))
    held, message = check(folder)
    shutil.rmtree(folder, ignore_errors=True)
    message = message.replace(str(folder), "FOLDER").replace(str(bench.work), "WORK")
    return row(fault, name, 1, int(held), outcome, message, () if held else [message])


def refused(child) -> bool:
    return child.wait() == cli.BAD_INPUT and child.one_line()


def goes_on(bench, name, folder) -> bool:
    return bench.start(name, folder).wait() == 0 and (
        bench.result(name, folder) == bench.whole[name] and not bench.leftovers(folder)
    )


def full_disk(bench, name, folder):
    """Room for less than the output; after more room is made the command goes on."""
    room = max(4, bench.sizes[name] // 2 // 4096 * 4)
    with mounted(folder / "disk", f"size={room}k") as libc:
        inner = folder / "disk"
        filler = inner / "filler"
        if bench.sizes[name] < 8192:
            fill(filler)
        child = bench.start(name, inner)
        held = refused(child) and "No space left" in child.message() and not bench.leftovers(inner)
        held &= bench.output_is_whole(name, inner)
        filler.unlink(missing_ok=True)
        os.sync()
        libc.mount(b"tmpfs", str(inner).encode(), b"tmpfs", 32, b"size=64m")  # MS_REMOUNT
        return held and goes_on(bench, name, inner), child.message()


def fill(path):
    with open(path, "wb", buffering=0) as handle:
        try:
            while handle.write(bytes(512)):
                pass
        except OSError:
            pass


def read_only(bench, name, folder):
    with mounted(folder / "disk", "size=64m") as libc:
        inner = folder / "disk"
        libc.mount(b"tmpfs", str(inner).encode(), b"tmpfs", 32 | 1, None)  # MS_RDONLY
        child = bench.start(name, inner)
        return refused(child), child.message()


def file_too_large(bench, name, folder):
    """As a full disk, where no disk may be mounted: no file may grow beyond half the output."""

    def limit():
        half = bench.sizes[name] // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, resource.RLIM_INFINITY))

    child = bench.start(name, folder, before=limit)
    held = refused(child) and not bench.leftovers(folder) and bench.output_is_whole(name, folder)
    return held and goes_on(bench, name, folder), child.message()


def until_checkpoint(bench, folder) -> Child:
    child = bench.start("train", folder)
    while not (folder / "out" / training.CHECKPOINT).is_file():
        time.sleep(0.005)
    return child


def stopped_training(bench, folder):
    child = until_checkpoint(bench, folder)
    child.wait(0, signal.SIGKILL)


def vanished_data(bench, folder):
    stopped_training(bench, folder)
    away = bench.data.rename(bench.data.with_suffix(".away"))
    child = bench.start("train", folder)
    held = refused(child)
    away.rename(bench.data)
    return held and goes_on(bench, "train", folder), child.message()


def other_data(bench, folder):
    stopped_training(bench, folder)
    away = bench.data.rename(bench.data.with_suffix(".away"))
    other = rendered_letters(n=N, seed=1)
    np.savez(bench.data, images=other.images, labels=other.labels)
    child = bench.start("train", folder)
    held = refused(child)
    away.rename(bench.data)
    return held and goes_on(bench, "train", folder), child.message()


def deleted_folder(bench, folder):
    child = until_checkpoint(bench, folder)
    shutil.rmtree(folder / "out", ignore_errors=True)
    held = refused(child)
    return held and goes_on(bench, "train", folder), child.message()


def two_at_once(bench, folder):
    first = until_checkpoint(bench, folder)
    os.kill(first.pid, signal.SIGSTOP)  # so that it is surely still training
    second = Child(f"{bench.lines['train']} --out {folder}/out", folder / "second")
    held = refused(second)
    os.kill(first.pid, signal.SIGCONT)
    held &= first.wait() == 0 and bench.result("train", folder) == bench.whole["train"]
    return held, second.message()


def signalled(bench, number, code, folder):
    child = until_checkpoint(bench, folder)
    ended = child.wait(0, number)
    held = ended == code and child.one_line() and not bench.leftovers(folder)
    return held and goes_on(bench, "train", folder), child.message()


def diverged(bench, folder):
    line = f"{bench.lines['train']} --learning-rate 1e30 --out {folder}/out"
    child = Child(line, folder)
    held = refused(child)
    with np.load(folder / "out" / training.BAD_BATCH, allow_pickle=False) as kept:
        held &= len(kept["rows"]) == len(kept["images"]) == SMALL["batch_size"]
        held &= int(kept["step"]) == child.count(0) - 1  # of the steps done, the last one
    held &= not (folder / "out" / "provenance.json").exists()
    return held, child.message()


def damaged(bench, what, tries, rng, folder) -> dict:
    """A file cut at a random place, or with a random bit the other way round, is refused."""
    out = folder / "out"
    if what == training.CHECKPOINT:
        stopped_training(bench, folder)
        read = lambda: load_tensors(out / what)  # noqa: E731
    else:
        shutil.copytree(bench.work / "whole.train" / "out", out)
        run = load_run(out)
        run.posterior = np.random.default_rng(0).dirichlet(np.ones(K), N).astype(np.float32)
        save_run(run, out)
        read = lambda: load_run(out)  # noqa: E731
    path = out / what
    whole = path.read_bytes()
    read()
    held = 0
    for i in range(tries):
        data = bytearray(whole)
        if i % 2:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        else:
            del data[rng.integers(len(data)) :]
        path.write_bytes(data)
        try:
            read()
        except InputError as error:
            held += str(path) in str(error) and "\n" not in str(error)
    shutil.rmtree(folder)
    return row("cut short or one bit altered", what, tries, held, "refused")


def measure(bench, commands, tries, seed, part) -> list[dict]:
    rng = np.random.default_rng(seed)
    half = -(-tries // 2)
    rows = []
    for how, n in (("at a random moment", tries), ("before a file operation", half),
                   ("in the middle of a write", half)):  # fmt: skip
        if part in f"killed {how}":
            rows += [killed(bench, name, n, rng, how) for name in commands]
    if part in "other faults":
        rows += other_faults(bench, commands, tries, rng)
    return rows


def other_faults(bench, commands, tries, rng) -> list[dict]:
    rows = []
    again = "refused in one line, goes on afterwards, bit-identical"
    for fault, check in (("full disk", full_disk), ("read-only folder", read_only),
                         ("file larger than allowed", file_too_large)):  # fmt: skip
        if check is not file_too_large and not can_mount(bench.work / "probe"):
            print(f"{fault}: left out, as this process may not mount a disk")
            continue
        said = "refused in one line" if check is read_only else again
        for name in commands:
            rows.append(one(bench, fault, name, said, partial(check, bench, name)))
    for fault, check in (("data gone", vanished_data), ("other data", other_data),
                         ("output folder deleted", deleted_folder)):  # fmt: skip
        rows.append(one(bench, f"{fault} meanwhile", "train", again, partial(check, bench)))
    said = "second refused in one line, first ends bit-identical"
    rows.append(one(bench, "two into one folder", "train", said, partial(two_at_once, bench)))
    for number, code in ((signal.SIGTERM, cli.TERMINATED), (signal.SIGINT, cli.INTERRUPTED)):
        said = f"exit code {code}, one line, goes on, bit-identical"
        check = partial(signalled, bench, number, code)
        rows.append(one(bench, number.name, "train", said, check))
    said = "refused in one line, batch kept"
    rows.append(one(bench, "loss not finite", "train", said, partial(diverged, bench)))
    names = (training.CHECKPOINT, "weights.safetensors", "posterior.npz", "config.json",
             "history.csv")  # fmt: skip
    for what in names:
        folder = Path(tempfile.mkdtemp(dir=bench.work))
        rows.append(damaged(bench, what, 10 * tries, rng, folder))
    return rows


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tries",
        type=int,
        default=20,
        help="kills at random moments; half as many others",
    )
    parser.add_argument("--commands", default=",".join(COMMANDS), help="default: all that write")
    parser.add_argument("--part", default="", help="'random', 'operation', 'write' or 'other'")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV for the table")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="faults.") as work:
        bench, commands = Bench(Path(work)), args.commands.split(",")
        table = pd.DataFrame(measure(bench, commands, args.tries, args.seed, args.part))
    if args.out:
        table.to_csv(args.out, index=False)
    print(table.to_string(index=False))
    total, held = table["tries"].sum(), table["held"].sum()
    print(f"{held} of {total} held")
    return int(held < total)


if __name__ == "__main__":
    sys.exit(main())
