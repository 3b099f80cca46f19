"""Reading a folder of many small pictures: time, and the memory of a process that does it.

The time is that of the processor, all threads together, which other work on the machine does not
change; with several cores less passes on the clock.
"""

import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from gmvae_lib.data.images import load_images, rendered_letters

from .clock import row

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


def of_processor(function) -> float:
    """Median seconds of the processor, of three calls after one that is not counted."""
    function()
    taken = []
    for _ in range(3):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def rows():
    with tempfile.TemporaryDirectory() as work:
        what = unpack(Path(work))
        paths = [path for path in Path(work).rglob("*") if path.is_file()]
        seconds, bare = of_processor(lambda: load_images(work)), of_processor(lambda: decode(paths))
        line = [sys.executable, "-c", PEAK, work]
        kilobytes = subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout
    return [
        row(
            f"a folder of {len(paths):,} pictures ({what}), read and identified, processor time",
            "decoding each with Pillow, without anything else", bare / seconds,
            seconds=seconds, bytes=1024 * int(kilobytes),
        )
    ]  # fmt: skip
