"""What the tables of bad input are made of: the form of a case, and bad files."""

import gzip
import io
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

grey = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
REFUSED, WARNED, RIGHT = "refused", "done, with a warning", "done"


@dataclass
class Case:
    """what : in words. line : for the CLI. named : what the one line on stderr must hold.

    call : in place of a line, a function of the case's folder and a fitted estimator.
    """

    what: str
    line: str = ""
    named: str = ""
    make: Callable[[Path], object] = lambda folder: None
    outcome: str = REFUSED
    call: Callable | None = None


def npz(**arrays):
    return lambda folder: np.savez(folder / "x.npz", **arrays)


def raw(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def pictures(**kinds):
    """Pictures by name; a value is bytes, or a Pillow picture."""

    def make(folder):
        (folder / "x").mkdir()
        for name, content in kinds.items():
            path = folder / "x" / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                content.save(path)

    return make


def png(side=28, mode="L", noise=False) -> bytes:
    handle = io.BytesIO()
    picture = Image.fromarray(grey[0]) if noise else Image.new(mode, (side, side))
    picture.save(handle, "PNG")
    return handle.getvalue()


def idx(shape=(2, 3, 3), data=None, magic=None) -> bytes:
    data = bytes(np.prod(shape, dtype=int)) if data is None else data
    magic = bytes((0, 0, 8, len(shape))) if magic is None else magic
    return magic + struct.pack(f">{len(shape)}I", *shape) + data


def npy_header(shape, dtype="|u1") -> bytes:
    handle = io.BytesIO()
    header = {"shape": shape, "fortran_order": False, "descr": dtype}
    np.lib.format.write_array_header_1_0(handle, header)
    return handle.getvalue()


def zipped(member: bytes):
    def make(folder):
        with zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", member)

    return make


def npz_bomb(folder):
    """Pictures of 1.1 GiB of zeros in 1 MB."""
    with zipfile.ZipFile(folder / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as member:
            member.write(npy_header((9 * 2**17, 32, 32)))
            for _ in range(9 * 2**3):
                member.write(bytes(2**24))


def gzip_bomb(folder):
    """The same as IDX: one block of zeros packed once, repeated as gzip members may be."""
    block = gzip.compress(bytes(2**24), 1)
    content = gzip.compress(idx((9 * 2**17, 32, 32), b"")) + block * (9 * 2**3)
    (folder / "x-idx3-ubyte.gz").write_bytes(content)


def cut(path, make, share=0.5):
    def cutting(folder):
        make(folder)
        data = (folder / path).read_bytes()
        (folder / path).write_bytes(data[: int(share * len(data))])

    return cutting


def labelled(text, encoding="utf-8", name="labels.csv"):
    data = text if isinstance(text, bytes) else text.encode(encoding)
    return raw(name, data)


def as_json(content):
    return raw("labels.json", json.dumps(content).encode())


def together(*makes):
    def make(folder):
        for each in makes:
            each(folder)

    return make


def stored(array, name="x.npy"):
    """An .npy file; objects are pickled, as numpy does if asked."""

    def make(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        np.save(folder / name, array, allow_pickle=True)

    return make


def linked(name, to):
    return lambda folder: os.symlink(to if to.startswith("/") else folder / to, folder / name)


def damaged_run(name, change, of="run"):
    """A copy of a run in which a file is changed."""

    def make(folder):
        shutil.copytree(folder.parent / of, folder / "run")
        change(folder / "run" / name)

    return make


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new))


def list_outside(path):
    about = json.loads(path.read_text())
    about["files"]["../../letters.npz"] = "0" * 64
    path.write_text(json.dumps(about))
