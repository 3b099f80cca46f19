"""Feed every file parser damaged files: each must be read, or refused in one line.

test_fuzz.py makes a few tries for every parser. `python tests/robustness/fuzz.py` (on Linux) makes
10,000, prints a line for each parser, and exits with 1 if anything else happened: another
exception, a message that names no file, more than 5 s of processor time, more memory than MEMORY,
a crash. Bits are flipped, bytes cut out, doubled, spliced from elsewhere, and numbers in headers
and text replaced by extreme ones. Where a digest protects a file, the damaged file gets a new
digest in every try but the plainly damaged ones, so that the parser behind it is reached.
"""

import argparse
import gzip
import hashlib
import io
import json
import mmap
import os
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gmvae_lib import GMVAEConfig, Run, SoftDecoder, TrainConfig, load_images, load_run, save_run
from gmvae_lib.data.labels import read_labels
from gmvae_lib.data.storage import _digest, load_tensors
from gmvae_lib.errors import InputError
from gmvae_lib.study import experiments
from gmvae_lib.vae import checkpoints
from gmvae_lib.vae.training import CHECKPOINT, Trainer

ROOT = Path(__file__).resolve().parents[2]
TRIES = 10_000
SECONDS = 5  # of processor time for one file of a few kilobytes
MEMORY = 2**30  # bytes above what the process holds before
PICTURES = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP"}
EXTREMES = (
    0,
    1,
    127,
    128,
    255,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
NUMBERS = (b"0", b"-1", b"1e999", b"NaN", b"4294967295", b"99999999999999999999", b"0.5",
           b"1" * 400, b"null", b'"x"', b"[]", b"{}", b"true", b"[" * 3000)  # fmt: skip


@dataclass
class Target:
    """A parser: samples of its file, and what reads the file once it lies in a folder.

    inside : damages what is packed in the file, (data, damage, rng) -> data, and packs it again, so
        that a checksum or a bracket does not end every try at the door. Half of the tries do so.
    """

    name: str
    samples: list[bytes]
    read: Callable[[Path, bytes], object]  # (folder, damaged bytes)
    inside: Callable | None = None


# ------------------------------------------------------------------- damaging


def mutate(data: bytes, others: list[bytes], rng) -> bytes:
    """One to three random damages."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        at = int(rng.integers(len(data)))
        length = int(min(rng.geometric(0.05), len(data)))
        match rng.integers(8):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at] = int(rng.integers(256))
            case 2:
                del data[at:]
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length]
            case 5:
                other = others[rng.integers(len(others))]
                start = int(rng.integers(len(other)))
                data[at : at + length] = other[start : start + length]
            case 6:
                width = int(rng.choice([1, 2, 4, 8]))
                # headers stand at the start, those of zip archives at the end too
                at = int(rng.integers(min(len(data), 128))) * int(rng.choice([1, 1, -1]))
                value = int(rng.choice(np.array(EXTREMES, dtype=object))) % 2 ** (8 * width)
                at %= len(data)
                data[at : at + width] = value.to_bytes(width, str(rng.choice(["big", "little"])))
            case 7:
                numbers = list(re.finditer(rb"-?[0-9][0-9.e-]*", data))
                if numbers:
                    span = numbers[rng.integers(len(numbers))].span()
                    data[slice(*span)] = NUMBERS[rng.integers(len(NUMBERS))]
    return bytes(data)


def in_gzip(data, damage, rng):
    return gzip.compress(damage(gzip.decompress(data))) if data[:2] == b"\x1f\x8b" else damage(data)


def in_zip(data, damage, rng):
    """One member damaged, its checksum made to fit."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(packed, "w") as after:
        chosen = rng.integers(len(before.infolist()))
        for i, info in enumerate(before.infolist()):
            content = before.read(info)
            kind = info.compress_type
            after.writestr(info.filename, damage(content) if i == chosen else content, kind)
    return packed.getvalue()


def in_png(data, damage, rng):
    """One chunk damaged, its checksum made to fit."""
    chunks, at = [], 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    chosen = rng.integers(len(chunks))
    out = [data[:8]]
    for i, (kind, content) in enumerate(chunks):
        if i == chosen:
            content = zlib.compress(damage(zlib.decompress(content))) if kind == b"IDAT" else (
                damage(content))  # fmt: skip
        check = zlib.crc32(kind + content)
        out.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check))
    return b"".join(out)


def in_json(data, damage, rng):
    """A value of the tree replaced, renamed, doubled or left out."""
    tree = json.loads(data)
    for _ in range(rng.integers(1, 3)):
        places = list(_places(tree))
        holder, key = places[rng.integers(len(places))]
        match rng.integers(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(key) + "x"] = holder.pop(key)
            case 2:
                other, name = places[rng.integers(len(places))]
                holder[key] = json.loads(json.dumps(other[name] if name in _keys(other) else 0))
            case _:
                value = NUMBERS[rng.integers(len(NUMBERS) - 1)]
                holder[key] = json.loads(value.replace(b"x", b"y" * int(rng.integers(1, 400))))
        if not tree:
            break
    return json.dumps(tree).encode()


def _keys(holder):
    return holder.keys() if isinstance(holder, dict) else range(len(holder))


def _places(tree):
    for key in list(_keys(tree)):
        yield tree, key
        if isinstance(tree[key], (dict, list)):
            yield from _places(tree[key])


def in_safetensors(data, damage, rng):
    """The header's tree damaged and its length made to fit, or the numbers behind it."""
    (size,) = struct.unpack_from("<Q", data)
    header, numbers = data[8 : 8 + size], data[8 + size :]
    if rng.integers(2):
        return data[: 8 + size] + damage(numbers)[: len(numbers)].ljust(len(numbers), b"\xff")
    header = in_json(header, damage, rng)
    return struct.pack("<Q", len(header)) + header + numbers


def in_about(data, damage, rng):
    """What a checkpoint says of itself, or else its tensors."""
    if rng.integers(3) == 0:
        return in_safetensors(data, damage, rng)
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    about = in_json(header["__metadata__"]["about"], damage, rng)
    header["__metadata__"]["about"] = about.decode()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


# -------------------------------------------------------------------- parsers


def file_reader(name, read):
    def reader(folder, data):
        (folder / name).write_bytes(data)
        return read(folder / name)

    return reader


def packed(**arrays) -> list[bytes]:
    kinds = []
    for save in (np.savez, np.savez_compressed):
        handle = io.BytesIO()
        save(handle, **arrays)
        kinds.append(handle.getvalue())
    return kinds


def image_targets():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 9, 7), dtype=np.uint8)
    idx = bytes((0, 0, 8, 3)) + struct.pack(">3I", 3, 9, 7) + images.tobytes()
    labels = bytes((0, 0, 8, 1)) + struct.pack(">I", 3) + bytes((0, 1, 2))

    def beside(folder, data):
        (folder / "images-idx3-ubyte").write_bytes(idx)
        (folder / "labels-idx1-ubyte").write_bytes(data)
        return load_images(folder / "images-idx3-ubyte")

    yield Target("IDX images", [idx], file_reader("a-idx3-ubyte", load_images))
    yield Target(
        "IDX images, gzip", [gzip.compress(idx)], file_reader("a.gz", load_images), in_gzip
    )
    yield Target("IDX labels", [labels, gzip.compress(labels)], beside, in_gzip)
    names = np.array(["a", "b", "a"])
    samples = packed(images=images, labels=names) + packed(images=images / 255.0)
    yield Target("NPZ", samples, file_reader("a.npz", load_images), in_zip)
    for suffix, kind in PICTURES.items():
        samples = []
        for mode in ("L", "RGB", "P"):
            picture = Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8))
            if mode == "P" and kind in ("JPEG", "WEBP"):
                continue
            handle = io.BytesIO()
            exif = {"exif": Image.Exif()} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
            if exif:
                exif["exif"][0x0112] = 6  # turned by the camera
            picture.convert(mode).save(handle, kind, **exif)
            samples.append(handle.getvalue())

        def read(folder, data, suffix=suffix):
            (folder / f"a.{suffix}").write_bytes(data)
            return load_images(folder)

        yield Target(f"picture {kind}", samples, read, in_png if kind == "PNG" else None)


def table_targets():
    text = 'index,label\r\n0,a\r\n1,"b, c"\r\n12,\r\n7,é\r\n3,a\r\n'
    samples = [text.encode("utf-8-sig"), text.replace("\r", "").encode()]
    yield Target("labels CSV", samples, file_reader("labels.csv", read_labels))
    q = np.full((40, 2), 0.5, np.float32)
    y = np.arange(40) % 2
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / "s.csv"
        methods = {"q": {"soft": SoftDecoder()}}
        experiments.sweep({"q": q}, y, methods, [2, 5], [0, 1], out=out, progress=False)
        table, about = (path.read_bytes() for path in (out, experiments.provenance_file(out)))
    now = experiments._provenance({"q": q}, y)

    def reader(which):
        def read(folder, data):
            for name, content in (("s.csv", table), ("s.csv.provenance.json", about)):
                (folder / name).write_bytes(data if name == which else content)
            return experiments._open_table(folder / "s.csv", now)

        return read

    for name, sample in (("s.csv", table), ("s.csv.provenance.json", about)):
        inside = in_json if name.endswith("json") else None
        yield Target(f"sweep table: {name}", [sample], reader(name), inside)


def run_targets():
    config = GMVAEConfig(K=3, z_dim=2, image_shape=(4, 4), encoder_hidden=(4,), decoder_hidden=(4,),
                         posterior="shared")  # fmt: skip
    training = TrainConfig(epochs=2, batch_size=5, neighbours=2)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (10, 4, 4), dtype=np.uint8)
    trainer = Trainer(pictures, config, training, torch.device("cpu"))
    state = {name: value.numpy() for name, value in trainer.model.state_dict().items()}
    run = Run(config, training, [{"epoch": 1, "loss": 1.5, "seconds": 0.1}], {"data": {"n": 10}},
              state, rng.dirichlet(np.ones(3), 10).astype("f4"), rng.integers(2, size=10),
              ("a", "b"), {"case": rng.integers(3, size=10)})  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        save_run(run, work)
        files = {path.name: path.read_bytes() for path in Path(work).iterdir()}
        trainer.start_epoch()
        trainer.advance()
        trainer.neighbours = np.zeros((10, 2), np.int32)
        provenance = {"data": {"name": "noise", "n": 10}}
        checkpoints.save(trainer, Path(work) / CHECKPOINT, provenance, 0.5)
        checkpoint = (Path(work) / CHECKPOINT).read_bytes()

    def reader(which):
        def read(folder, data):
            for name, content in files.items():
                (folder / name).write_bytes(data if name == which else content)
            if which != "provenance.json":
                about = json.loads(files["provenance.json"])
                about["files"][which] = hashlib.sha256(data).hexdigest()
                (folder / "provenance.json").write_text(json.dumps(about))
            return load_run(folder).model

        return read

    packings = {".json": in_json, ".npz": in_zip, ".safetensors": in_safetensors}
    for name, sample in files.items():
        inside = packings.get(Path(name).suffix)
        yield Target(f"run: {name}", [sample], reader(name), inside)

    def read_checkpoint(folder, data):
        (folder / CHECKPOINT).write_bytes(hashed_again(data))
        return checkpoints.load(trainer, folder / CHECKPOINT, provenance)

    def read_damaged(folder, data):
        (folder / CHECKPOINT).write_bytes(data)
        if _digest(*read_texts(folder / CHECKPOINT)) != digest:
            raise AssertionError("a checkpoint of other content was read")

    digest = read_header(checkpoint)["__metadata__"]["sha256"]
    yield Target("checkpoint", [checkpoint], read_damaged, in_about)
    yield Target("checkpoint, hashed again", [checkpoint], read_checkpoint, in_about)


def read_texts(path):
    """Tensors and text of a checkpoint that was not refused."""
    tensors, about = load_tensors(path)
    return tensors, json.dumps(about)


def read_header(data) -> dict:
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size])


def hashed_again(data: bytes) -> bytes:
    """A checkpoint whose digest fits its damage, as far as it can still be parsed."""
    from safetensors.numpy import load, save

    try:
        about = read_header(data)["__metadata__"]["about"]
        tensors = load(data)
        return save(tensors, {"about": about, "sha256": _digest(tensors, about)})
    except Exception:  # not parsed: to be refused by the reader
        return data


def targets() -> list[Target]:
    return [*image_targets(), *table_targets(), *run_targets()]


# -------------------------------------------------------------------- judging

OUTCOMES = ("read", "refused", "faults")


class TookTooLong(BaseException):
    """Not an Exception, so that no reader's handler takes it for damage."""


def outcome(target, data, folder) -> tuple[str, str]:
    """What a parser makes of some bytes: (one of OUTCOMES, message)."""
    before = peak_memory()
    try:
        target.read(folder, data)
        result = "read", ""
    except (InputError, OSError) as error:
        message = str(error)
        named = str(folder) in message and "\n" not in message
        result = ("refused" if named else "faults"), f"{type(error).__name__}: {message}"
    except (Exception, TookTooLong) as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        result = "faults", f"{type(error).__name__}: {error} ({where.name}, {where.lineno})"
    if peak_memory() - before > MEMORY:
        result = "faults", f"{peak_memory() - before} bytes of memory"
    for path in folder.iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    return result


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def damaged(target, seed, number) -> bytes:
    rng = np.random.default_rng((seed, number))
    sample = target.samples[rng.integers(len(target.samples))]
    if target.inside is not None and number % 2:
        return target.inside(sample, lambda data: mutate(data, [data], rng), rng)
    return mutate(sample, target.samples, rng)


def tries(target, first, last, seed, counts) -> None:
    """In a process of its own: judge the tries from first to below last, and count outcomes."""

    def too_long(number, frame):
        raise TookTooLong(f"more than {SECONDS} s")

    signal.signal(signal.SIGPROF, too_long)
    warnings.simplefilter("ignore")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * MEMORY, resource.RLIM_INFINITY))
    start = peak_memory()
    with tempfile.TemporaryDirectory(prefix="fuzz.") as folder:
        for number in range(first, last):
            counts[0] = number
            data = damaged(target, seed, number)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            result, message = outcome(target, data, Path(folder))
            signal.setitimer(signal.ITIMER_PROF, 0)
            counts[1 + OUTCOMES.index(result)] += 1
            if result == "faults":
                print(f"  {target.name}, try {number}: {message[:300]}", file=sys.stderr)
        counts[4] = max(counts[4], peak_memory() - start)
        sys.stderr.flush()


def judge(target, n_tries, seed) -> dict:
    """Run the tries in forked processes, a new one after each crash."""
    counts = np.frombuffer(mmap.mmap(-1, 8 * 5), np.int64)
    first, crashes = 0, 0
    while first < n_tries:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                tries(target, first, n_tries, seed, counts)
                code = 0
            finally:
                os._exit(code)
        seen, since = -1, time.monotonic()
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if counts[0] != seen:
                seen, since = int(counts[0]), time.monotonic()
            elif time.monotonic() - since > 20 * SECONDS:  # deaf to its own timer
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        if counts[1:4].sum() + crashes == n_tries:
            break
        print(f"  {target.name}, try {counts[0]}: crashed or hung", file=sys.stderr)
        crashes, first = crashes + 1, int(counts[0]) + 1
    result = dict(zip(OUTCOMES, counts[1:4].tolist(), strict=True))
    result["faults"] += crashes
    megabytes = round(int(counts[4]) / 1e6)
    return {"parser": target.name, "tries": n_tries} | result | {"most_megabytes": megabytes}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=TRIES, help="over all parsers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="parsers whose name contains this")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    chosen = [target for target in targets() if args.only in target.name]
    for target in chosen:
        with tempfile.TemporaryDirectory() as folder:
            for sample in target.samples:  # a parser that refuses everything would look perfect
                assert outcome(target, sample, Path(folder))[0] == "read", target.name
    rows = []
    for i, target in enumerate(chosen):
        n = args.tries // len(chosen) + (i < args.tries % len(chosen))
        rows.append(judge(target, n, args.seed))
        print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    faults = sum(row["faults"] for row in rows)
    print(f"{sum(row['tries'] for row in rows)} tries, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
