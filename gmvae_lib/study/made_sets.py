"""Sets of pictures with known classes, and small models trained on them without labels.

What the default decoder and the note before labelling are measured on: letters and digits, drawn
and written by hand, parts, gratings; letters made hard (turned, faint, on a busy ground, with their
pixels in another order); and pictures without any group (noise, clouds, crops, dots). Each set is
drawn from its name, number and seed, so that it can be made again.

``python -m gmvae_lib.study.made_sets --work FOLDER --letters IMAGES --mnist FOLDER`` trains what is
missing, a minute or two for each set on one core, and keeps of each what the measurements read.
"""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gmvae_lib.data.images import load_images, rendered_letters
from gmvae_lib.data.storage import write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.study.parts import draw_parts
from gmvae_lib.study.programs import program

SIDE = 28
WRITTEN = 10_000, 5_000  # letters and digits, the first of their files, that sets are drawn from
GREY = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
HANDWRITTEN = (
    "letters",
    "mnist",
    "scattered",
    "permuted",
    "turned",
    "busy",
    "faint",
    "half",
    "two",
)
WITHOUT_GROUPS = ("noise", "clouds", "crops", "dots", "scattered")
TABLES = ("wine", "cancer", "digitrows")
SETTINGS = {"": {}, "short": {"epochs": 2}, "K20": {"n_components": 20}}  # of the classifier
SPECS = """
rendered-300-0 rendered-300-1 rendered-600-0 rendered-600-1 rendered-1000-0 rendered-2000-0
rendered-2000-1 rendered-5000-0 letters-300-0 letters-300-1 letters-600-0 letters-600-1
letters-1000-0 letters-1000-1 letters-2000-0 letters-2000-1 letters-5000-0 mnist-300-0 mnist-300-1
mnist-1000-0 mnist-1000-1 mnist-3000-0 parts-500-0 parts-500-1 parts-2000-0 parts-2000-1
digits-500-0 digits-1797-0 wine-0-0 cancer-0-0 digitrows-0-0 partsgrey-2000-0 metals-1000-0
metals-3000-0 gratings-300-0 gratings-1000-0 gratings-3000-0 brightness-1000-0 brightness-3000-0
turned-300-0 turned-1000-0 turned-3000-0 busy-300-0 busy-1000-0 busy-3000-0 faint-1000-0
faint-3000-0 half-1000-0 half-3000-0 two-1000-0 two-3000-0 permuted-1000-0 permuted-3000-0
scattered-1000-0 scattered-3000-0 noise-300-0 noise-1000-0 noise-3000-0 clouds-300-0 clouds-1000-0
clouds-3000-0 crops-1000-0 crops-3000-0 dots-300-0 dots-1000-0 dots-3000-0
letters-2000-0-K20 rendered-2000-0-K20 mnist-3000-0-K20 parts-2000-0-K20 gratings-3000-0-K20
turned-3000-0-K20 busy-3000-0-K20 scattered-3000-0-K20 noise-3000-0-K20 clouds-3000-0-K20
crops-3000-0-K20 letters-2000-0-short rendered-2000-0-short mnist-3000-0-short parts-2000-0-short
gratings-3000-0-short turned-3000-0-short busy-3000-0-short noise-3000-0-short clouds-3000-0-short
""".split()


class Spec(NamedTuple):
    """A set and how it is trained on: ``letters-600-0-K20`` is name, pictures, seed, setting."""

    name: str
    n: int
    seed: int
    setting: str = ""

    @classmethod
    def of(cls, text: str) -> "Spec":
        """Read from its text.

        Examples
        --------
        >>> Spec.of("letters-600-0-K20")
        Spec(name='letters', n=600, seed=0, setting='K20')
        """
        name, n, seed, *setting = text.split("-")
        if setting and setting[0] not in SETTINGS:
            raise InputError(f"spec: found {text!r}, expected NAME-N-SEED, or with -short or -K20")
        return cls(name, int(n), int(seed), *setting)


def draw(spec: Spec, written) -> tuple[np.ndarray, np.ndarray]:
    """(X, y) of a set: bytes [N, 28, 28(, 3)] or rows [N, D], and labels [N].

    written : {"letters": (images, labels), "mnist": ...}, what handwriting is drawn from. Where the
        pictures hold no class, the labels are ten drawn at random.
    """
    name, n, seed, _ = spec
    rng = np.random.default_rng(1000 + seed)
    if name in HANDWRITTEN:
        if written is None:
            raise InputError(f"{name}: found no handwriting to draw from; expected --letters")
        X, y = _some(written["mnist" if name == "mnist" else "letters"], n, seed)
        return (X, y) if name in ("letters", "mnist") else _harder(name, X, y, rng, written, seed)
    if name == "rendered":
        drawn = rendered_letters(n, seed=seed)
        return drawn.images, np.asarray(drawn.labels)
    if name in ("parts", "partsgrey", "metals"):
        X, y = draw_parts(n, seed)
        return (X if name == "parts" else _bytes(X @ GREY / 255)), (
            y % 3 if name == "metals" else y
        )
    if name == "digits":
        from sklearn.datasets import load_digits

        bunch = load_digits()
        rows = rng.permutation(len(bunch.target))[:n]
        return bunch.images[rows], bunch.target[rows]
    if name in TABLES:
        from gmvae_lib.study.small_sets import load

        return load({"wine": "wine", "cancer": "breast cancer", "digitrows": "digits, rows"}[name])
    if name in ("gratings", "brightness"):
        return (_gratings if name == "gratings" else _discs)(n, rng)
    if name not in WITHOUT_GROUPS:
        raise InputError(f"set: found {name!r}, expected one that SPECS names")
    return _bytes(_nothing(name, n, rng)), rng.integers(0, 10, n)


def _some(pictures, n, seed):
    X, y = pictures
    rows = np.random.default_rng(seed).permutation(len(X))[:n]
    return X[rows], y[rows]


def _harder(name, X, y, rng, written, seed):
    """Letters that are harder to group, or cannot be grouped."""
    if name == "scattered":  # the pixels of each in an order of its own
        X = X.copy()
        for picture in X.reshape(len(X), -1):
            rng.shuffle(picture)
        return X, y
    if name == "permuted":  # the pixels of all in one order
        return X.reshape(len(X), -1)[:, rng.permutation(SIDE**2)].reshape(X.shape), y
    if name == "turned":
        from scipy.ndimage import rotate

        angles = rng.uniform(0, 360, len(X))
        turned = [rotate(x, a, reshape=False, order=1) for x, a in zip(X, angles, strict=True)]
        return np.stack(turned), y
    if name == "busy":
        return _bytes(0.5 * X / 255 + 0.6 * _clouds(len(X), rng, 1.2)), y
    if name == "faint":
        return _bytes(0.15 * X / 255 + 0.3 + 0.15 * rng.normal(size=X.shape)), y
    if name == "half":  # the other half are clouds, a class of their own
        X, y, k = X.copy(), y.copy(), len(X) // 2
        X[:k], y[:k] = _bytes(_clouds(k, rng, 2.0)), 99
        return X, y
    beside = _some(written["letters"], len(X), seed + 7)[0]  # "two": the class is the left one
    return np.concatenate([X[:, :, ::2], beside[:, :, ::2]], axis=2), y


def _nothing(name, n, rng):
    """Pictures without groups, values in [0, 1]."""
    from scipy.ndimage import gaussian_filter

    if name == "noise":
        return rng.random((n, SIDE, SIDE))
    if name == "clouds":
        return _clouds(n, rng, 2.0)
    if name == "crops":
        field = gaussian_filter(rng.normal(size=(400, 400)), 1.5, mode="wrap")
        field = (field - field.min()) / np.ptp(field)
        corners = rng.integers(0, 400 - SIDE, (n, 2))
        return np.stack([field[i : i + SIDE, j : j + SIDE] for i, j in corners])
    if name == "scattered":
        raise InputError("scattered: expected with handwriting")
    dots = np.zeros((n, SIDE, SIDE))
    for picture in dots:
        for _ in range(4):
            picture[rng.integers(3, 25), rng.integers(3, 25)] = 1
    dots = gaussian_filter(dots, (0, 1.5, 1.5))
    return dots / dots.max(axis=(1, 2), keepdims=True)


def _clouds(n, rng, sigma):
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.normal(size=(n, SIDE, SIDE)), (0, sigma, sigma), mode="wrap")
    field -= field.min((1, 2), keepdims=True)
    return field / field.max((1, 2), keepdims=True)


def _gratings(n, rng):
    """Sinusoids of four directions and two widths, eight classes."""
    y, at = rng.integers(0, 8, n), np.arange(SIDE)
    angle = (y % 4) * np.pi / 4 + rng.normal(0, 0.1, n)
    waves = np.where(y < 4, 0.45, 0.9) * rng.uniform(0.9, 1.1, n)
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    phase = (cos * at[:, None] + sin * at) * waves[:, None, None]
    phase += rng.uniform(0, 2 * np.pi, (n, 1, 1))
    return _bytes(0.5 + 0.35 * np.sin(phase) + 0.1 * rng.normal(size=phase.shape)), y


def _discs(n, rng):
    """Discs whose class is how bright they are, one of five: what the views ignore."""
    y, at = rng.integers(0, 5, n), np.arange(SIDE) - (SIDE - 1) / 2
    centre, radius = rng.normal(0, 1.5, (n, 2)), rng.uniform(6, 9, n)
    outside = np.hypot(at[:, None] - centre[:, :1, None], at - centre[:, 1:, None])
    cover = np.clip(0.5 - outside + radius[:, None, None], 0, 1)
    light = (0.3 + 0.15 * y)[:, None, None]
    return _bytes(cover * light + 0.03 * rng.normal(size=cover.shape)), y


def _bytes(values):
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


# ---- models ------------------------------------------------------------------------------------


def train(spec: Spec, written, path: Path, device="cpu") -> None:
    """Train on a set as `GMVAEClassifier` does by default, and keep what is measured later."""
    from gmvae_lib.classifier import GMVAEClassifier
    from gmvae_lib.label.pooled import nearest_first

    X, y = draw(spec, written)
    started = time.perf_counter()
    model = GMVAEClassifier(device=device, random_state=spec.seed, **SETTINGS[spec.setting]).fit(X)
    rows = model.collection_.embedding
    about = {"agreement": rows.about["agreement"], "seconds": time.perf_counter() - started}
    arrays = {
        "q": rows.q.astype(np.float16),
        "neighbours": nearest_first(rows.neighbours, rows.features).astype(np.int32),
        "y": y.astype(np.int32),
        "about": np.array(json.dumps(about)),
    }
    write_npz(path, arrays)


def read(path: Path):
    """(q float32 [N, K], neighbours [N, n], the nearest first, labels [N], about: dict)."""
    with np.load(path, allow_pickle=False) as stored:
        q = stored["q"].astype(np.float32)
        about = json.loads(str(stored["about"]))
        return q / q.sum(axis=1, keepdims=True), stored["neighbours"], stored["y"], about


def handwriting(letters, mnist) -> dict:
    """What handwritten sets are drawn from. letters : IDX file; mnist : folder of torchvision."""
    n_letters, n_digits = WRITTEN
    found = load_images(letters)
    digits = load_images("mnist", data_dir=mnist, download=False)
    return {
        "letters": (found.images[:n_letters], found.labels[:n_letters]),
        "mnist": (digits.images[:n_digits], digits.labels[:n_digits]),
    }


@program("made_sets")
def main(argv=None):
    parser = argparse.ArgumentParser(
        prog="python -m gmvae_lib.study.made_sets", description="Train the small models."
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the models")
    parser.add_argument("--letters", help="EMNIST letters, an IDX file of images")
    parser.add_argument("--mnist", help="folder in which torchvision finds MNIST")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(argv)
    written = handwriting(args.letters, args.mnist) if args.letters and args.mnist else None
    args.work.mkdir(parents=True, exist_ok=True)
    for text in SPECS:
        path = args.work / f"{text}.npz"
        if path.is_file() or (written is None and text.split("-")[0] in HANDWRITTEN):
            continue
        train(Spec.of(text), written, path, args.device)
        print(path.name, flush=True)


if __name__ == "__main__":
    import sys

    sys.exit(main())
