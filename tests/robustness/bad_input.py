"""Every kind of bad input, and what the command line makes of it.

test_bad_input.py runs every case. `python tests/robustness/bad_input.py` prints the messages of all
that do not end as they should, and with `--out` writes those of all cases to a CSV.

In a case's line, {f} is a folder of its own, {run} a finished run of 28 x 28 pictures, {good} 60
such pictures with labels and {bare} the same without.
"""

import argparse
import gzip
import io
import json
import shutil
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from gmvae_lib import GMVAE, GMVAEConfig, Run, TrainConfig, cli, rendered_letters, save_run
from gmvae_lib import __main__ as commands

ROOT = Path(__file__).resolve().parents[2]
N = 60
grey = np.random.default_rng(0).integers(0, 256, (4, 28, 28), dtype=np.uint8)
REFUSED, WARNED, RIGHT = "refused", "done, with a warning", "done"


@dataclass
class Case:
    """what : in words. line : for the CLI. named : what the one line on stderr must hold."""

    what: str
    line: str
    named: str = ""
    make: Callable[[Path], object] = lambda folder: None
    outcome: str = REFUSED


# ------------------------------------------------------------------ bad files


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


def labelled(text, encoding="utf-8"):
    return lambda folder: (folder / "labels.csv").write_bytes(text.encode(encoding))


def damaged_run(name, change):
    """A copy of the run in which a file is changed."""

    def make(folder):
        shutil.copytree(folder.parent / "run", folder / "run")
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


TRAIN = "train --preset quick --k 4 --epochs 1 --out {f}/out"
NPZ, IDX, FOLDER = (f"{TRAIN} --data {{f}}/{name}" for name in ("x.npz", "x-idx3-ubyte", "x"))
GOOD = "train --preset quick --data {good} --out {f}/out"
ON = "--run {run} --images {bare} --out {f}/out"
PREDICT = f"predict --decoder soft {ON} --labels {{f}}/labels.csv"
SWEEP = "sweep --run {run} --data {good} --out {f}/out"

CASES = [
    # images
    Case("no such file", NPZ, "x.npz: no such file"),
    Case("empty folder", FOLDER, "x: holds no picture", pictures()),
    Case("folder without pictures", FOLDER, "x: holds no picture", pictures(notes_txt=b"hello")),
    Case("one image", NPZ, "--k: found 4 components", npz(images=grey[:1])),
    Case("images all alike", NPZ, "images: found 4 times the same",
         npz(images=np.full((4, 28, 28), 77, np.uint8))),
    Case("no image at all", NPZ, "x.npz: images are uint8 [0, 28, 28]", npz(images=grey[:0])),
    Case("float images with NaN", NPZ, "x.npz: images are floats from nan",
         npz(images=np.where(grey > 250, np.nan, 0.5))),
    Case("float images with inf", NPZ, "x.npz: images are floats from",
         npz(images=np.where(grey > 250, np.inf, 0.5))),
    Case("float images up to 255", NPZ, "x.npz: images are floats from", npz(images=grey * 1.0)),
    Case("images as rows", NPZ, "x.npz: images are uint8 [4, 784]",
         npz(images=grey.reshape(4, -1))),
    Case("images with two axes too many", NPZ, "x.npz: images are uint8 [1, 4, 28, 28, 1]",
         npz(images=grey[None, ..., None])),
    Case("images of complex numbers", NPZ, "x.npz: images are complex128", npz(images=grey * 1j)),
    Case("NPZ without images", NPZ, "x.npz: holds pictures", npz(pictures=grey)),
    Case("NPZ of nothing", NPZ, "x.npz: holds nothing", npz()),
    Case("NPZ with pickled objects", NPZ, "x.npz: not an NPZ of plain arrays",
         npz(images=np.array([{}, {}], dtype=object))),
    Case("NPZ cut short", NPZ, "x.npz: not an NPZ", cut("x.npz", npz(images=grey))),
    Case("NPZ that is text", NPZ, "x.npz: not an NPZ", raw("x.npz", b"hello")),
    Case("NPZ that is empty", NPZ, "x.npz: not an NPZ", raw("x.npz", b"")),
    Case("NPY under the name of an NPZ", NPZ, "x.npz: not an NPZ",
         raw("x.npz", npy_header((4, 28, 28)) + grey.tobytes())),
    Case("NPZ that claims four billion images", NPZ, "x.npz: not an NPZ of plain arrays",
         zipped(npy_header((2**32, 28, 28)) + grey.tobytes())),
    Case("NPZ with a negative size", NPZ, "x.npz: not an NPZ of plain arrays",
         zipped(npy_header((-4, -28, 28)) + grey.tobytes())),
    Case("NPZ that unpacks to 1.1 GiB of zeros", NPZ, "decompression bombs", npz_bomb),
    Case("labels of another number", NPZ, "x.npz: labels are", npz(images=grey, labels=[1, 2])),
    Case("labels that are fractions", NPZ, "x.npz: labels are",
         npz(images=grey, labels=[0.5, 1, 2, 3])),
    Case("IDX with the wrong magic", IDX, "x-idx3-ubyte: starts with",
         raw("x-idx3-ubyte", idx(magic=b"\1\2\3\4"))),
    Case("IDX of labels for images", IDX, "x-idx3-ubyte: starts with",
         raw("x-idx3-ubyte", idx((9,)))),
    Case("IDX cut short", IDX, "x-idx3-ubyte: ", cut("x-idx3-ubyte", raw("x-idx3-ubyte", idx()))),
    Case("IDX with more data than it says", IDX, "x-idx3-ubyte: more than",
         raw("x-idx3-ubyte", idx(data=bytes(99)))),
    Case("IDX with half a header", IDX, "x-idx3-ubyte: 7 bytes",
         raw("x-idx3-ubyte", idx()[:7])),
    Case("IDX that is empty", IDX, "x-idx3-ubyte: starts with nothing", raw("x-idx3-ubyte", b"")),
    Case("IDX of images without rows", IDX, "x-idx3-ubyte: shape",
         raw("x-idx3-ubyte", idx((2, 0, 3)))),
    Case("IDX that claims four billion images", IDX, "x-idx3-ubyte: holds under",
         raw("x-idx3-ubyte", idx((2**32 - 1, 28, 28), bytes(784)))),
    Case("gzip cut short", IDX + ".gz", "x-idx3-ubyte.gz: corrupt gzip",
         cut("x-idx3-ubyte.gz", raw("x-idx3-ubyte.gz", gzip.compress(idx((2, 50, 50)))), 0.9)),
    Case("gzip damaged", IDX + ".gz", "x-idx3-ubyte.gz: ",
         raw("x-idx3-ubyte.gz", gzip.compress(idx())[:-8] + bytes(8))),
    Case("gzip that unpacks to 1.1 GiB of zeros", IDX + ".gz", "decompression bombs", gzip_bomb),
    Case("IDX labels of another number", f"{TRAIN} --data {{f}}/images-idx3-ubyte",
         "labels-idx1-ubyte: 3 entries", lambda folder: (
             raw("images-idx3-ubyte", idx((4, 28, 28), grey.tobytes()))(folder),
             raw("labels-idx1-ubyte", idx((3,)))(folder))),
    Case("picture cut short", FOLDER, "b.png: not readable",
         pictures(a_png=png(), b_png=png(noise=True)[:600])),
    Case("text under the name of a picture", FOLDER, "b.jpg: not readable",
         pictures(a_png=png(), b_jpg=b"hello")),
    Case("empty picture", FOLDER, "b.gif: not readable", pictures(a_png=png(), b_gif=b"")),
    Case("picture of 900 million pixels", FOLDER, "b.png: not readable",
         pictures(a_png=png(), b_png=png(30_000, "1"))),
    Case("pictures of many sizes and kinds", "posterior --run {run} --images {f}/x --out {f}/out",
         "", pictures(a_png=Image.new("RGB", (9, 50)), b_jpg=Image.new("CMYK", (40, 30)),
                      c_gif=Image.new("P", (28, 28)), d_bmp=Image.new("1", (1, 1)),
                      e_tif=Image.new("LA", (300, 7))), RIGHT),
    Case("one image, to encode", "posterior --run {run} --images {f}/x.npz --out {f}/out", "",
         npz(images=grey[:1]), RIGHT),
    Case("images all alike, to encode", "posterior --run {run} --images {f}/x.npz --out {f}/out",
         "", npz(images=np.full((5, 28, 28), 77, np.uint8)), RIGHT),
    # training
    Case("more components than images", f"{GOOD} --k 61", "--k: found 61 components"),
    Case("one component", f"{GOOD} --k 1", "--k: found '1'"),
    Case("components that are no number", f"{GOOD} --k many", "--k: found 'many'"),
    Case("unknown preset", f"{GOOD} --preset great", "--preset: invalid choice: 'great'"),
    Case("no epochs", f"{GOOD} --epochs 0", "--epochs: found '0'"),
    Case("negative seed", f"{GOOD} --seed -1", "--seed: found '-1'"),
    Case("learning rate of nothing", f"{GOOD} --learning-rate 0", "--learning-rate: found '0'"),
    Case("learning rate that is no number", f"{GOOD} --learning-rate nan",
         "--learning-rate: found 'nan'"),
    Case("unknown precision", f"{GOOD} --precision 3", "--precision: invalid choice: '3'"),
    Case("unknown device", f"{GOOD} --k 4 --device abacus", "--device: found 'abacus'"),
    Case("output that is a file", "train --data {good} --k 4 --out {good}", "found a file"),
    Case("output that cannot be made", "train --data {good} --k 4 --out /proc/run", "/proc/run"),
    Case("output that holds a run", "train --data {good} --k 4 --out {run}", "a finished run"),
    Case("going on with another seed",
         "train --data {good} --preset quick --k 4 --seed 5 --out {run} --resume",
         "config.json: found"),
    Case("no output named", "train --data {good}", "--out"),
    Case("no command", "", "COMMAND"),
    Case("unknown command", "fly", "invalid choice: 'fly'"),
    Case("unknown option", f"{GOOD} --hue red", "--hue"),
    # runs
    Case("no run", f"posterior {ON}".replace("{run}", "{f}"), "no provenance.json"),
    Case("weights cut short", f"posterior {ON}".replace("{run}", "{f}/run"),
         "weights.safetensors: found sha256", damaged_run("weights.safetensors", halve)),
    Case("history altered", f"posterior {ON}".replace("{run}", "{f}/run"),
         "history.csv: found sha256", damaged_run("history.csv", edit("1", "2"))),
    Case("configuration altered", f"posterior {ON}".replace("{run}", "{f}/run"),
         "config.json: found sha256", damaged_run("config.json", edit("6", "7"))),
    Case("weights missing", f"posterior {ON}".replace("{run}", "{f}/run"),
         "weights.safetensors: not found",
         damaged_run("weights.safetensors", lambda path: path.unlink())),
    Case("provenance that is no JSON", f"posterior {ON}".replace("{run}", "{f}/run"),
         "provenance.json: not readable", damaged_run("provenance.json", halve)),
    Case("provenance that lists a file outside", f"posterior {ON}".replace("{run}", "{f}/run"),
         "letters.npz: not found", damaged_run("provenance.json", list_outside)),
    # outputs
    Case("output in no folder", f"posterior {ON}/none/q.npz", "--out: found"),
    Case("output that is a folder", f"posterior {ON}".replace("/out", ""), "--out: found"),
    Case("output over the images", "posterior --run {run} --images {bare} --out {bare}",
         "an input"),
    Case("output over the labels", PREDICT.replace("/out", "/labels.csv"), "an input",
         labelled("index,label\n0,a\n")),
    Case("list of images over labels", f"suggest --budget 5 {ON}".replace("/out", "/labels.csv"),
         "which holds labels", labelled("index,label\n0,a\n")),
    # labels
    Case("more to label than images", f"suggest --budget 61 {ON}", "budget: found 61"),
    Case("nothing to label", f"suggest --budget 0 {ON}", "--budget: found '0'"),
    Case("no file of labels", PREDICT, "labels.csv: No such file"),
    Case("empty file of labels", PREDICT, "labels.csv: line 1: found nothing", labelled("")),
    Case("no label in the file", PREDICT, "labels.csv: found no label",
         labelled("index,label\n3,\n4,\n")),
    Case("no column of labels", PREDICT, "labels.csv: line 1: found 'index', 'name'",
         labelled("index,name\n1,a\n")),
    Case("semicolons for commas", PREDICT, "name a row only",
         labelled("index;label\n1;a\n2;b\n"), WARNED),
    Case("label of an image that is not there", PREDICT, "labels.csv: line 3: found index 60",
         labelled("index,label\n0,a\n60,b\n")),
    Case("negative index", PREDICT, "labels.csv: line 2", labelled("index,label\n-1,a\n")),
    Case("fraction for an index", PREDICT, "labels.csv: line 2", labelled("index,label\n1.5,a\n")),
    Case("index of 5,000 digits", PREDICT, "labels.csv: line 2",
         labelled(f"index,label\n{'9' * 5000},a\n")),
    Case("two labels for one image", PREDICT, "labels.csv: line 4: found label 'c' for image 0",
         labelled("index,label\n0,a\n1,b\n0,c\n")),
    Case("the same label twice", PREDICT, "name a row only",
         labelled("index,label\n0,a\n1,b\n0,a\n"), WARNED),
    Case("labels in UTF-16", PREDICT, "name a row only",
         labelled("index,label\n0,a\n1,b\n", "utf-16"), WARNED),
    Case("labels in UTF-16, cut in a letter", PREDICT, "labels.csv: line 1: found bytes",
         lambda folder: (folder / "labels.csv").write_bytes(b"\xff\xfei\0n")),
    Case("quote that never ends", PREDICT, "labels.csv: line", labelled('index,label\n0,"a\n')),
    Case("a field too many", PREDICT, "labels.csv: line 2: found 3 fields",
         labelled("index,label\n0,a,b\n")),
    Case("one class only", PREDICT, "labels.csv: found only the label 'a'",
         labelled("index,label\n0,a\n1,a\n"), WARNED),
    Case("fewer labels than classes", PREDICT, "name a row only",
         labelled("index,label\n0,a\n1,b\n"), WARNED),
    Case("labels as spreadsheets write them", PREDICT, "name a row only",
         labelled("index,label\r\n0,a\r\n1,b\r\n", "utf-8-sig"), WARNED),
    # sweeps
    Case("no true labels", f"{SWEEP} --n-labels 9".replace("{good}", "{bare}"), "no labels"),
    Case("as many labels as images", f"{SWEEP} --n-labels 60", "n_labels: found 60"),
    Case("label counts that are no numbers", f"{SWEEP} --n-labels 9,x", "--n-labels: found 'x'"),
    Case("no draws", f"{SWEEP} --n-labels 9 --seeds 0", "--seeds: found '0'"),
    Case("table of something else", f"{SWEEP} --n-labels 9", "out: found another header",
         raw("out", b"hello\n")),
    Case("table that is no text", f"{SWEEP} --n-labels 9", "out: found a row that cannot be read",
         raw("out", b"\xff\xfe")),
    Case("table without its provenance", f"{SWEEP} --n-labels 9", "out.provenance.json: found no",
         raw("out", b"method,n_labels,seed,accuracy,n_evaluated,seconds\nsoft,9,0,0.5,51,0.1\n")),
]  # fmt: skip


# ------------------------------------------------------------------- observing


def prepare(work):
    """Put the good files into a folder: pictures with and without labels, and a run."""
    letters = rendered_letters(n=N, seed=0)
    np.savez(work / "letters.npz", images=letters.images, labels=letters.labels)
    np.savez(work / "bare.npz", images=letters.images)
    torch.manual_seed(0)
    config = GMVAEConfig(K=6, z_dim=2, encoder_hidden=(8,), decoder_hidden=(8,), posterior="shared")
    state = {name: value.numpy() for name, value in GMVAE(config).state_dict().items()}
    history = [{"epoch": 1, "seconds": 0.1, "loss": 1.5}]
    provenance = {"data": dict(letters.provenance)}
    save_run(Run(config, TrainConfig(), history, provenance, state), work / "run")


def observe(case, work) -> dict:
    """Run a case; say what came of it and whether that is what should."""
    folder = Path(tempfile.mkdtemp(dir=work))
    case.make(folder)
    names = {"f": folder, "run": work / "run", "good": work / "letters.npz"}
    line = case.line.format(**names, bare=work / "bare.npz")
    before, files = snapshot(work), io.StringIO()
    with redirect_stderr(files), redirect_stdout(io.StringIO()):
        code = commands.main(line.split())
    lines = [
        text
        for text in files.getvalue().replace("\r", "\n").split("\n")
        if text.strip() and "%|" not in text and "it/s" not in text
    ]
    same, written = snapshot(work) == before, (folder / "out").is_file()
    warned = all(line.startswith("gmvae: warning: ") for line in lines)
    message = lines[-1] if lines and (warned or len(lines) == 1) else ""
    if code == cli.BAD_INPUT and same and message.startswith("gmvae: error: "):
        outcome = REFUSED if "expected" in message else "refused without saying what is expected"
    elif code == 0 and written and not lines:
        outcome = RIGHT
    elif code == 0 and written and message.startswith("gmvae: warning: "):
        outcome = WARNED
    else:
        outcome = f"exit code {code}, {'nothing' if same else 'something'} written, {lines}"
    shutil.rmtree(folder)
    as_it_should = outcome == case.outcome and case.named in message
    message = message.replace(str(folder), "FOLDER").replace(str(work), "WORK")
    return {"what": case.what, "outcome": outcome, "as_it_should": as_it_should,
            "message": message.removeprefix("gmvae: ")}  # fmt: skip


def snapshot(folder):
    return {path: path.stat().st_mtime_ns if path.is_file() else 0 for path in folder.rglob("*")}


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="CSV for all cases")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bad_input.") as work:
        prepare(Path(work))
        table = pd.DataFrame([observe(case, Path(work)) for case in CASES])
    if args.out:
        table.to_csv(args.out, index=False)
    wrong = table[~table["as_it_should"]]
    print(table["outcome"].value_counts().to_string())
    if len(wrong):
        print(wrong.to_string(max_colwidth=400))
    print(f"{len(table)} cases, {len(wrong)} not as they should end")
    return int(len(wrong) > 0)


if __name__ == "__main__":
    sys.exit(main())
