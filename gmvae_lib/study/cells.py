"""Blood cells for chapter 9: some pictures of the BCCD data set, packed with their licence.

``python -m gmvae_lib.study.cells FOLDER`` writes results/cells.zip from a folder of class folders
of cut-out cells: pictures/ and new/, numbered in random order, and truth.csv, which says which cell
each one is. The files are as they were.
"""

import argparse
import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from gmvae_lib.data.folders import classes_of, find_files
from gmvae_lib.data.storage import write_atomically
from gmvae_lib.errors import InputError
from gmvae_lib.study.programs import program

OUT = Path("results/cells.zip")
PICTURES, NEW, SEED = 700, 100, 0
NAMES = {"RBC": "red", "WBC": "white", "Platelets": "platelet"}
SOURCE = "https://github.com/Shenggan/BCCD_Dataset"
ABOUT = f"""Cells cut out of 364 micrographs of the BCCD data set ({SOURCE}),
with annotations by cosmicad and akshaylamba. MIT licence, see LICENSE.
"""
LICENCE = """MIT License

Copyright (c) 2017 shenggan

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def packed(folder) -> bytes:
    """The archive: the same bytes for the same folder."""
    folder = Path(folder)
    names = find_files(folder).pictures if folder.is_dir() else []
    classes = classes_of(names)[0]
    unknown = sorted(set(classes) - NAMES.keys())
    if len(names) < PICTURES + NEW or unknown:
        found = f"{len(names)} pictures" + (f" and the class {unknown[0]!r}" if unknown else "")
        raise InputError(
            f"{folder}: found {found}, expected at least {PICTURES + NEW} in {', '.join(NAMES)}"
        )
    chosen = np.random.default_rng(SEED).permutation(len(names))[: PICTURES + NEW]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:

        def add(name, data):
            archive.writestr(zipfile.ZipInfo(name), data)  # of no date: the same bytes each time

        add("LICENSE", LICENCE)
        add("README.txt", ABOUT)
        lines = ["path,cell"]
        for i, row in enumerate(chosen.tolist()):
            place = "pictures" if i < PICTURES else "new"
            name = f"{i:04}{Path(names[row]).suffix}"
            add(f"{place}/{name}", (folder / names[row]).read_bytes())
            lines.append(f"{place}/{name},{NAMES[classes[row]]}")
        add("truth.csv", "\n".join(lines) + "\n")
    return content.getvalue()


@program("cells")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.cells", description="Pack blood cells for chapter 9."
    )
    parser.add_argument("folder", type=Path, help="of the class folders RBC, WBC and Platelets")
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    args = parser.parse_args(argv)
    content = packed(args.folder)
    write_atomically(args.out, lambda path: path.write_bytes(content))
    print(f"{args.out}: {PICTURES} pictures and {NEW} new ones, {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
