"""Atomic writes and validated reads.

A reader allocates no memory before it has compared the size that a header claims with what the file
can hold. Nothing is ever unpickled.
"""

import hashlib
import json
import math
import os
import secrets
import struct
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError

import numpy as np

from gmvae_lib.errors import InputError, one_line

DIGITS = 16  # hex digits of a digest: among a million pictures, two alike by chance in 3e-8
LEFTOVER = ".gmvae-"  # how the names of temporary files begin
MOST_PACKED = 1032  # deflate packs by 1032 to 1 at most (zlib.net)
BOMB_BYTES, BOMB_RATIO = 2**30, 200  # pictures larger than this and packed so well hold nothing
# What zipfile and numpy raise over broken bytes.
ARCHIVE_ERRORS = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, OverflowError, MemoryError),
    *(NotImplementedError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, struct.error, TokenError),
)


# ------------------------------------------------------------------- digests


def array_digest(array) -> str:
    """sha256 of an array's bytes in C order, as 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()


def file_digest(path) -> str:
    """sha256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_of(data) -> str:
    """The first 16 hex digits of the sha256 of bytes, or of an array's bytes.

    Examples
    --------
    >>> digest_of(b"abc")
    'ba7816bf8f01cfea'
    """
    return hashlib.sha256(data).hexdigest()[:DIGITS]


# --------------------------------------------------------------------- paths


def expanded(path, argument="path") -> Path:
    """A path with ``~`` replaced by the home folder; the empty one, an unset variable, is refused.

    Examples
    --------
    >>> expanded("~/runs").is_absolute()
    True
    """
    if not os.fspath(path):
        raise InputError(f"{argument}: found an empty path, expected the name of a file or folder")
    if "\0" in os.fspath(path):
        raise InputError(f"{argument}: found {os.fspath(path)!r}, expected no zero character in it")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{argument}: found {path} ({error}), expected an existing user") from None


# ------------------------------------------------------------------- writing


def write_atomically(path, write) -> None:
    """Call write(temporary path), then move the file into place: never half a file.

    A kill can leave ``.gmvae-*.tmp`` beside ``path``; the next write into the folder removes it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "note.txt"
    ...     write_atomically(path, lambda temporary: temporary.write_text("whole"))
    ...     path.read_text(), len(os.listdir(folder))
    ('whole', 1)
    """
    path = Path(path)
    remove_leftovers(path.parent)
    # not by tempfile, whose files are closed to everybody but their owner
    temporary = path.with_name(f"{LEFTOVER}{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as in_use:  # open and locked until it is whole
            _lock(in_use.fileno())
            write(temporary)
            with open(temporary, "rb+") as handle:  # Windows syncs no handle that only reads
                os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        _remove(temporary)


def remove_leftovers(folder) -> None:
    """Remove the temporary files that killed processes left in a folder."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(LEFTOVER)]
    except OSError:
        return
    for path in (Path(folder) / name for name in names if name.endswith(".tmp")):
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            dead = _lock(handle)
        finally:
            os.close(handle)  # Windows removes no open file, and so keeps those still in use
        if dead:
            _remove(path)


def _lock(handle) -> bool | None:
    """Lock an open file or folder as long as it stays open.

    False if another process has, None if that is unknown: a file system without locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where an open file is protected anyway
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove(path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or closed: nothing of ours is left to tidy
        pass


@contextmanager
def exclusive(folder):
    """Hold a folder against other trainings; the lock ends with the process, however it ends."""
    if os.name == "nt":  # which opens no folder
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if _lock(handle) is False:
            raise InputError(
                f"{folder}: found another process training into it, expected it to have ended"
            )
        yield
    finally:
        os.close(handle)


# ----------------------------------------------------------------------- NPZ


def check_size(path, n_bytes: int, n_packed: int, packed: bool) -> None:
    """Refuse, before memory is taken, a size that a file cannot hold or that no data set has.

    Parameters
    ----------
    n_bytes : that the header claims. n_packed : that lie in the file; ``packed`` by deflate or not.
    """
    most = n_packed * (MOST_PACKED if packed else 1)
    if n_bytes > most:
        raise InputError(f"{path}: holds under {most} bytes; expected {n_bytes} of data")
    if n_bytes > BOMB_BYTES and n_bytes > BOMB_RATIO * n_packed:
        raise InputError(
            f"{path}: {n_packed} bytes unpack to {n_bytes}, as decompression bombs do; expected "
            f"at most {BOMB_RATIO} to 1 above {BOMB_BYTES} bytes"
        )
    if n_bytes > machine_memory() // 2:
        raise InputError(
            f"{path}: holds {n_bytes} bytes; expected at most {machine_memory() // 2}, half this "
            "machine's memory"
        )


def machine_memory() -> int:
    """Bytes of memory of this machine; 2**63 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2**63


def write_npz(path, columns: dict, compressed: bool = True) -> None:
    """Write arrays by name into an NPZ, whole or not at all."""
    save = np.savez_compressed if compressed else np.savez

    def write(temporary):
        with open(temporary, "wb") as handle:  # a handle, since savez adds .npz to a name
            save(handle, **columns)

    write_atomically(path, write)


def read_npz(path, required, optional=None) -> dict[str, np.ndarray]:
    """Read arrays of an NPZ by name, ``optional`` None for all others; pickled ones are refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            if missing := [name for name in required if name not in members]:
                found = ", ".join(members)[:100] or "nothing"
                raise InputError(f"{path}: holds {found}; expected an array `{missing[0]}`")
            wanted = members if optional is None else (*required, *optional)
            chosen = [name for name in members if name in wanted]
            check_size(
                path,
                sum(members[name].file_size for name in chosen),
                sum(members[name].compress_size for name in chosen),
                packed=any(members[name].compress_type for name in chosen),
            )
            return {name: _read_member(archive, members[name]) for name in chosen}
    except PermissionError:
        raise
    except InputError:  # a ValueError too, and complete
        raise
    except ARCHIVE_ERRORS as error:
        reason = one_line(error)
        raise InputError(f"{path}: not an NPZ of plain arrays ({reason}); expected one") from error


def _read_member(archive, info) -> np.ndarray:
    """One array, whose header must agree with the size of its member before it is allocated."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
        raise ValueError(f"{info.filename}: encrypted, or not packed by deflate")
    with archive.open(info) as member:
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        version = np.lib.format.read_magic(member)
        if version not in readers:
            raise ValueError(f"{info.filename}: format version {version}")
        shape, _, dtype = readers[version](member)
        if dtype.hasobject:
            raise ValueError(f"{info.filename}: Object arrays cannot be loaded, they are pickled")
        n_bytes = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or n_bytes != info.file_size - member.tell():
            found = info.file_size - member.tell()
            raise ValueError(f"{info.filename}: {found} bytes for {dtype} {list(shape)}")
    with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


# ------------------------------------------------------------------- tensors


def save_tensors(path, tensors: dict[str, np.ndarray], about: dict | None = None) -> None:
    """Write a safetensors file; with ``about`` (JSON-able), also that and a digest of it all."""
    from safetensors.numpy import save

    tensors = {name: np.array(value, order="C") for name, value in tensors.items()}
    metadata = None
    if about is not None:
        text = json.dumps(about)
        metadata = {"about": text, "sha256": _digest(tensors, text)}
    data = save(tensors, metadata)
    write_atomically(path, lambda p: p.write_bytes(data))


def load_tensors(path) -> tuple[dict[str, np.ndarray], dict]:
    """Read what ``save_tensors`` wrote with ``about``, refusing it when the digest does not fit."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as stored:
            metadata = stored.metadata() or {}
            text, expected = metadata["about"], metadata["sha256"]
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        about = json.loads(text)
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = one_line(error)
        raise InputError(f"{path}: not readable ({reason}), expected a complete one") from None
    found = _digest(tensors, text)
    if found != expected:
        raise InputError(
            f"{path}: found sha256 {found[:12]}…, expected {expected[:12]}… as written with it "
            "(cut short or altered)"
        )
    return tensors, about


def _digest(tensors, text) -> str:
    """sha256 over the text and every tensor with its name, type and shape."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\0{name}\0{value.dtype.str}\0{value.shape}\0".encode())
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()
