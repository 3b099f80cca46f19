"""Files: written whole or not at all, and refused when they are not what was written."""

import ast
import errno
import fcntl
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gmvae_lib
from gmvae_lib import InputError, load_images
from gmvae_lib.data.labels import read_labels
from gmvae_lib.data.storage import (
    LEFTOVER,
    check_size,
    exclusive,
    expanded,
    load_tensors,
    read_npz,
    remove_leftovers,
    save_tensors,
    write_atomically,
)

SOURCES = sorted(Path(gmvae_lib.__file__).parent.rglob("*.py"))
TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7, np.int64)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.fixture(scope="module")
def checkpoint(folder):
    save_tensors(folder / "whole", TENSORS, {"step": 3})
    return (folder / "whole").read_bytes()


def test_tensors_round_trip(folder, checkpoint):
    tensors, about = load_tensors(folder / "whole")
    assert about == {"step": 3} and tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype and tensors[name].shape == value.shape
        np.testing.assert_array_equal(tensors[name], value)


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_any_cut_or_altered_bit_is_refused_or_changes_nothing(folder, checkpoint, data):
    """White space in a header is all that may change unnoticed."""
    damaged = bytearray(checkpoint)
    at = data.draw(st.integers(0, len(damaged) - 1))
    if data.draw(st.booleans()):
        del damaged[at:]
    else:
        damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "damaged").write_bytes(damaged)
    try:
        tensors, about = load_tensors(folder / "damaged")
    except InputError as error:
        assert str(folder / "damaged") in str(error) and "\n" not in str(error)
    else:
        assert about == {"step": 3}
        assert all(np.array_equal(tensors[name], value) for name, value in TENSORS.items())


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=100)
@pytest.mark.parametrize("name", ["x.npz", "x-idx3-ubyte", "labels.csv", "tensors"])
def test_arbitrary_bytes_end_in_one_line(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    read = {"labels.csv": read_labels, "tensors": load_tensors}.get(name, load_images)
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_sizes_are_refused_before_memory_is_taken():
    check_size("file", 10_000, 10_000, packed=False)
    check_size("file", 2**31, 2**27, packed=True)
    for n_bytes, n_packed, packed in ((2, 1, False), (1033, 1, True), (2**31, 2**22, True)):
        with pytest.raises(InputError, match="file: .*expected"):
            check_size("file", n_bytes, n_packed, packed)
    with pytest.raises(InputError, match="half this machine's memory"):
        check_size("file", 2**60, 2**60, packed=False)


def test_npz_reads_the_arrays_asked_for(folder):
    path = folder / "two.npz"
    np.savez(path, a=np.arange(3), b=np.ones((2, 2)))
    assert read_npz(path, ["a"]).keys() == {"a", "b"}
    assert read_npz(path, ["a"], ["c"]).keys() == {"a"}
    with pytest.raises(InputError, match="holds a, b; expected an array `c`"):
        read_npz(path, ["c"])


def test_npz_packed_by_other_means_is_refused(folder):
    path = folder / "other.npz"
    np.savez(folder / "plain.npz", images=np.zeros(9))
    with zipfile.ZipFile(folder / "plain.npz") as plain:
        content = plain.read("images.npy")
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("images.npy", content)
        with pytest.raises(InputError, match="not packed by deflate"):
            read_npz(path, ["images"])


def write(path, text="whole"):
    write_atomically(path, lambda p: p.write_text(text))


def test_what_a_killed_process_left_is_removed_and_files_in_use_are_kept(tmp_path):
    dead, other = tmp_path / f"{LEFTOVER}0.tmp", tmp_path / ".mine.tmp"
    for path in (dead, other):
        path.write_text("half")
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE_SLOWLY, tmp_path / "slow"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    in_use = Path(child.stdout.readline().strip())
    write(tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {"file", in_use.name, other.name}
    child.communicate("go on\n")
    assert (tmp_path / "slow").read_text() == "whole" and not in_use.exists()
    dead.write_text("half")
    remove_leftovers(tmp_path)
    assert not dead.exists() and other.exists()


WRITE_SLOWLY = """
import sys
from gmvae_lib.data.storage import write_atomically

def write(path):
    print(path, flush=True)
    sys.stdin.readline()
    path.write_text("whole")

write_atomically(sys.argv[1], write)
"""


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path):
    write(tmp_path / "file", "old")

    def full(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for fail in (full, lambda path: 1 / 0):
        with pytest.raises((OSError, ZeroDivisionError)):
            write_atomically(tmp_path / "file", fail)
        assert (tmp_path / "file").read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_has_the_permissions_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_name_as_long_as_the_system_takes(tmp_path):
    write(tmp_path / ("ü" * 127))
    assert len(list(tmp_path.iterdir())) == 1


def test_as_windows_would_have_it(tmp_path, monkeypatch):
    """There is no fcntl, a handle that only reads cannot be synced, an open file neither moved
    nor removed, and os.kill(pid, 0) would interrupt a process."""
    opened = lambda path: os.fspath(path) in {  # noqa: E731
        os.readlink(f"/proc/self/fd/{handle}") for handle in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{handle}")
    }  # fmt: skip
    fsync, replace, unlink = os.fsync, os.replace, Path.unlink

    def sync(handle):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        fsync(handle)

    def move(source, target):
        if opened(source) or opened(target):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        replace(source, target)

    def remove(path, missing_ok=False):
        if opened(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        unlink(path, missing_ok)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", move)
    monkeypatch.setattr(Path, "unlink", remove)
    monkeypatch.setattr(os, "kill", lambda *args: pytest.fail("os.kill was called"))
    monkeypatch.setitem(sys.modules, "fcntl", None)  # an import then fails
    with open(tmp_path / f"{LEFTOVER}1.tmp", "w"):
        (tmp_path / f"{LEFTOVER}2.tmp").write_text("half")
        write(tmp_path / "file")
        save_tensors(tmp_path / "tensors", TENSORS, {"step": 3})
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"file", "tensors", f"{LEFTOVER}1.tmp"}
    assert load_tensors(tmp_path / "tensors")[1] == {"step": 3}


def test_a_link_is_replaced_and_not_written_through(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    inside = tmp_path / "run"
    inside.mkdir()
    (inside / "file").symlink_to(outside)
    write(inside / "file")
    assert outside.read_text() == "mine" and not (inside / "file").is_symlink()


def test_paths_of_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/runs/mine") == Path("/home/me/runs/mine")
    assert expanded(Path("a~b")) == Path("a~b")
    with pytest.raises(InputError, match="--out: found an empty path"):
        expanded("", "--out")
    with pytest.raises(InputError, match="--out: found ~nobody-of-this-name/x .*expected"):
        expanded("~nobody-of-this-name/x", "--out")


def test_a_write_that_fails_names_the_file(tmp_path):
    with pytest.raises(OSError, match="gone/file") as caught:
        write_atomically(tmp_path / "gone" / "file", lambda p: p.write_text("whole"))
    assert caught.value.filename == str(tmp_path / "gone" / "file")


def test_one_folder_takes_one_training(tmp_path):
    with exclusive(tmp_path), pytest.raises(InputError, match="another process training into it"):
        with exclusive(tmp_path):
            pass
    with exclusive(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_unpickled(path):
    """np.load says allow_pickle=False, torch.load weights_only=True; nothing else unpickles."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "cloudpickle", "dill", "shelve", "marshal"} & set(names)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("joblib.load", "pd.read_pickle", "pickle.load")
            given_by_name = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called == "torch.load":  # which then builds tensors and nothing else
                assert given_by_name.get("weights_only") == "True", ast.unparse(node)
            if called in ("np.load", "np.lib.format.read_array"):
                assert given_by_name.get("allow_pickle") == "False", ast.unparse(node)
