"""Which images the published run finds unlike its own: ``python -m benchmarks.unlike IMAGES``.

IMAGES is the IDX file of the 100,000 letters that it learned from. Prints, for sets of other
images, the share that `unlike` marks, and the agreement of views against that in training.
"""

import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from gmvae_lib import load_images, load_run, rendered_letters
from gmvae_lib.vae.embedding import agreement_of_views, embed_and_judge, unlike

from .intake import REAL

SHARED = Path("../shared/data")
LEARNED, N = 3000, 500


def sets(letters, rng):
    """(name, images) of each set."""
    some = letters[rng.permutation(len(letters))[:N]]
    yield "other letters", letters[rng.permutation(len(letters))[: 4 * N]]
    yield "transposed", some.swapaxes(1, 2)
    yield "upside down", some[:, ::-1]
    yield "shifted by 5 pixels", np.roll(some, 5, axis=2)
    yield "half as bright", some // 2
    yield "inverted", 255 - some
    yield "noise", rng.integers(0, 256, some.shape, dtype=np.uint8)
    yield "printed letters", rendered_letters(N, seed=9).images
    if (SHARED / "MNIST").is_dir():
        digits = load_images("mnist", data_dir=SHARED, download=False)
        yield "handwritten digits", digits.images[:N]
    if REAL.is_file():
        with tempfile.TemporaryDirectory() as work, tarfile.open(REAL) as archive:
            members = [member for member in archive.getmembers() if member.isfile()]
            chosen = [members[i] for i in np.linspace(0, len(members) - 1, N).astype(int)]
            archive.extractall(work, members=chosen, filter="data")
            yield "Cyrillic letters", load_images(work).images


def main(path):
    run, rng = load_run("results/letters100k"), np.random.default_rng(0)
    letters = load_images(path, transpose=run.provenance["data"]["transposed"]).images
    learned = letters[rng.permutation(len(letters))[:LEARNED]]
    fit, before = embed_and_judge(run.model, learned)[2], agreement_of_views(run.model, learned)
    for name, images in sets(letters, rng):
        share = unlike(embed_and_judge(run.model, images)[2], fit).mean()
        here = agreement_of_views(run.model, images) / before
        print(f"{name:22} unlike {share:6.1%}, agreement {here:.2f} of that in training")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
