"""Reading a folder of many small pictures: time, and the memory of a process that does it."""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from gmvae_lib.data.images import load_images, rendered_letters

from .clock import medians, row

REAL = Path("../shared/data/real/cyrillic.tar.gz")  # 24,247 letters of 28 pixels
PICTURES = 24_247
# ru_maxrss would count the process that started this one, too
PEAK = """
import sys
from gmvae_lib.data.images import load_images
load_images(sys.argv[1])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def unpack(folder) -> str:
    """Put the real letters into a folder, or as many drawn ones; say which."""
    if REAL.is_file():
        with tarfile.open(REAL) as archive:
            archive.extractall(folder, filter="data")
        return "real letters"
    from PIL import Image

    for i, image in enumerate(rendered_letters(PICTURES).images):
        Image.fromarray(image).save(folder / f"{i:05}.png")
    return "drawn letters"


def decode(paths):
    """Each picture by Pillow alone, one after the other."""
    from PIL import Image

    for path in paths:
        with Image.open(path) as picture:
            picture.load()


def rows():
    with tempfile.TemporaryDirectory() as work:
        what = unpack(Path(work))
        paths = [path for path in Path(work).rglob("*") if path.is_file()]
        seconds, bare = medians(lambda: load_images(work), lambda: decode(paths), repeats=3)
        line = [sys.executable, "-c", PEAK, work]
        kilobytes = subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout
    return [
        row(
            f"a folder of {len(paths):,} pictures ({what}), read and identified",
            "decoding each with Pillow, without anything else", bare / seconds,
            seconds=seconds, bytes=1024 * int(kilobytes),
        )
    ]  # fmt: skip
