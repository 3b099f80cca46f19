"""Images in, with where they came from: the `ImageSet` and its loaders.

`load_images` reads EMNIST Letters and MNIST (through torchvision), an IDX file, an NPZ, or a folder
of pictures; `rendered_letters` draws letters from the fonts that matplotlib ships, so that
everything runs with no file at all.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gmvae_lib.data import pixels
from gmvae_lib.data.folders import find_files, only_kind
from gmvae_lib.data.glyphs import draw_letters
from gmvae_lib.data.idx import load_idx
from gmvae_lib.data.image_set import LETTERS, ImageSet
from gmvae_lib.data.pictures import Rule, checked_size, converted_pictures, load_folder
from gmvae_lib.data.readers import load_npy, load_npz, load_torchvision
from gmvae_lib.data.shards import ShardedImages, open_npy
from gmvae_lib.errors import InputError

DATASETS = ("emnist-letters", "mnist", "rendered-letters")


def load_images(
    source,
    data_dir=None,
    download=True,
    transpose="auto",
    size=None,
    colour=False,
    inverted="auto",
    *,
    scale="auto",
    ground="auto",
    bright_borders=None,
    skip_damaged=False,
) -> ImageSet | ShardedImages:
    """Load a data set by name, or a file or folder of images.

    How the images were read is in `provenance["reading"]`; `reading_rule` makes of it the arguments
    that read other images likewise, and `reading_notes` says in sentences what was guessed, changed
    or left out. What the "auto" of an argument finds holds for the whole set.

    Parameters
    ----------
    source : str or Path
        "emnist-letters" (145,600: train and test merged), "mnist" (70,000, merged),
        "rendered-letters", or a path: a folder of pictures, whose sub-folders name the classes; an
        .npz with `images` and, optionally, `labels` (or x_train, X, data, MedMNIST's names); an IDX
        images file (gzipped or not; its `labels-idx1` and `case-idx1` files are read if beside it);
        an .npy file or a folder of them, which stay on disk (`shards.ShardedImages`, for any number
        of images, without labels); or a folder of .npy files of one picture each.
    data_dir : path, optional
        Folder that holds `EMNIST/raw` and `MNIST/raw`; by default the environment's EMNIST_ROOT,
        else `~/.cache/gmvae_lib`.
    download : bool
        Whether torchvision may download what `data_dir` lacks (536 MB for EMNIST).
    transpose : "auto", True, False, or dict
        Whether to swap rows and columns, as EMNIST's files need it. "auto": for "emnist-letters",
        an IDX file of EMNIST Letters by its sha256, and one that looks like it (`idx.load_idx`).
        A dict decides for a kind ("idx", "arrays", "pictures") and leaves others to "auto".
    size : int or (height, width), optional
        Pixels to fit every image into: aspect kept, centred, padded with the median of its border.
        Without it a folder's pictures become 28 x 28 and other images keep their size.
    colour : bool
        Whether to read RGB, [N, H, W, 3]; otherwise grey, whatever is stored.
    inverted : "auto", True or False
        Whether to turn dark on bright to bright on dark. "auto": grey pictures of a folder if most
        borders are bright, colour ones and arrays never.
    scale : "auto", None, or (low, high)
        The stored values of black and white where images have more than 8 bits, or hold 0 and 1
        alone. "auto": the range of the whole set. None: 8 bits as stored.
    ground : "auto", "white" or "black"
        What lies behind transparent pixels. "auto": white, unless most ink is bright.
    bright_borders : float, optional
        The share of images with a bright border in the set that these should look like. "auto"
        inverts towards it, and arrays are inverted only if that brings them nearer.
    skip_damaged : bool
        Whether to leave out pictures of a folder that cannot be read, and list them in the notes;
        otherwise they are refused.

    Raises
    ------
    InputError
        One line that says what is missing or malformed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/a.npz", images=np.eye(28, dtype=bool)[None])
    ...     images = load_images(f"{folder}/a.npz", size=14)
    >>> images.images.shape, reading_notes(images)
    ((1, 14, 14), ['images of 28x28, fitted into 14x14'])
    """
    if transpose not in ("auto", True, False) and not isinstance(transpose, dict):
        raise InputError(f"transpose: {transpose!r}; expected 'auto', True or False")
    if inverted not in ("auto", True, False):
        raise InputError(f"inverted: {inverted!r}; expected 'auto', True or False")
    if ground not in ("auto", "white", "black"):
        raise InputError(f"ground: {ground!r}; expected 'auto', 'white' or 'black'")
    if not str(source):
        raise InputError("source: found an empty path; expected that of a file or folder")
    size = checked_size(size)
    rule = Rule(size, bool(colour), inverted, scale, ground, bright_borders, skip_damaged)
    if isinstance(source, str) and source in DATASETS:
        if source == "rendered-letters":
            images, why = rendered_letters(), ""
        else:
            images = load_torchvision(source, data_dir, download)
            why = "known" if source == "emnist-letters" else ""
    else:
        path = Path(source).expanduser()
        try:
            images, why = _load_path(path, rule)
        except PermissionError as error:
            found = f"{error.filename or path}: {error.strerror}"
            raise InputError(f"{found}; expected readable files") from None
    if isinstance(images, ShardedImages):
        return _as_stored(images, size, transpose)
    images.extra.setdefault("digest", images.digests)  # of the rows as stored
    reading: dict[str, Any] = {"kind": "named", "scale": None, "transparency": None, "notes": []}
    reading |= images.provenance.get("reading", {})
    images = _upright(images, reading, transpose, why)
    if reading["kind"] != "pictures" and inverted is True:
        images = _inverted(images, reading, bright_borders)
    images, converted = converted_pictures(images, size, colour)
    if images.images.max() < pixels.DARK:
        reading["notes"].append(f"the brightest pixel is {images.images.max()} of 255: all is dark")
    images.provenance["digest"] = images.set_digest
    images.provenance["reading"] = reading | {
        "shape": list(images.images.shape[1:]),
        "colour": bool(colour),
        "transposed": images.provenance["transposed"],
        "inverted": images.provenance.get("inverted", False),
        "converted": converted,
        "bright_borders": round(pixels.bright_borders(images.images), 4),
    }
    return images


def _load_path(path, rule) -> tuple[ImageSet | ShardedImages, str]:
    """Read a file or folder, and say why its images should be transposed, if they should."""
    if path.is_dir():
        found = find_files(path)
        if only_kind(found, path) == "arrays" and not _one_picture_each(path, found.arrays):
            return ShardedImages(path), ""
        return load_folder(path, found, rule), ""
    if not path.is_file():
        choices = ", ".join(DATASETS)
        raise InputError(f"{path}: no such file or folder; expected a path or one of {choices}")
    if path.suffix.lower() == ".npy":
        return load_npy(path, rule.scale, rule.ground), ""
    if path.suffix.lower() == ".npz":
        return load_npz(path, rule.scale, rule.ground), ""
    return load_idx(path, rule.scale)


def _upright(images, reading, transpose, why) -> ImageSet:
    """Swap rows and columns if that was asked for, is known to be needed or looks like it."""
    asked = transpose.get(reading["kind"], "auto") if isinstance(transpose, dict) else transpose
    if asked == "auto":
        if why == "guessed":
            reading["notes"].append(
                "taken for EMNIST Letters, stored transposed, since all labels from 1 to 26 occur: "
                "turned upright (--no-transpose leaves them as stored)"
            )
        elif (
            not why and reading["kind"] == "idx" and "emnist" in images.provenance["source"].lower()
        ):
            reading["notes"].append(
                "read as stored; files of EMNIST are stored transposed (--transpose turns them)"
            )
        asked = bool(why)
    if not asked:
        return images
    provenance = images.provenance | {"transposed": True}
    return replace(images, images=images.images.swapaxes(1, 2), provenance=provenance)


def _inverted(images, reading, bright_borders) -> ImageSet:
    """Invert arrays, if asked to; by a run's rule only if that brings them nearer to its images."""
    share = pixels.bright_borders(images.images)
    if bright_borders is not None and share - bright_borders <= 0.5:
        return images
    if bright_borders is not None:
        reading["notes"].append(
            f"{share:.0%} of the images have a bright border: all are inverted, as those were that "
            "the run learned from"
        )
    provenance = images.provenance | {"inverted": True}
    return replace(images, images=255 - images.images, provenance=provenance)


def _one_picture_each(folder, names) -> bool:
    """Whether .npy files hold [H, W] or [H, W, C] each, and not a stack of images."""
    shape = open_npy(folder / names[0]).shape
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))


def _as_stored(images: ShardedImages, size, transpose) -> ShardedImages:
    """Images on disk are taken as they are, or refused."""
    if transpose is True:
        raise InputError(
            f"transpose: found True for {images.source}, expected .npy files as they are"
        )
    if size is not None and images.shape[1:3] != size:
        raise InputError(
            f"{images.source}: found images of shape {images.shape[1:]}, expected "
            f"{size[0]} x {size[1]}: .npy files are taken as they are"
        )
    images.provenance["reading"] = {
        "kind": "npy",
        "converted": None,
        "bright_borders": None,
        "notes": [],
    }
    return images


def reading_rule(image_shape, provenance) -> dict:
    """Arguments of `load_images` that read new images as those of a run were.

    Parameters
    ----------
    image_shape : (H, W) or (H, W, 3), of the run. provenance : that of the images it learned from.

    Examples
    --------
    >>> rule = reading_rule((28, 28), rendered_letters(3).provenance)
    >>> rule["size"], rule["colour"], rule["scale"]
    ((28, 28), False, 'auto')
    """
    reading = provenance.get("reading", {})
    if "features" in provenance:  # of pictures of that shape
        image_shape = tuple(reading.get("shape", provenance["shape"][1:]))
    if len(image_shape) not in (2, 3):
        raise InputError(
            f"run: found one trained on rows of {image_shape[0]} features; expected on images"
        )
    transposed = bool(provenance.get("transposed"))
    # runs from before there was a reading: only IDX files were transposed, only pictures inverted
    kind = reading.get("kind", "named")
    if kind == "named" and transposed:  # EMNIST, whose files are IDX
        kind = "idx"
    inverted = provenance.get("inverted")
    scale = reading.get("scale", "auto")
    return {
        "size": tuple(image_shape[:2]),
        "colour": len(image_shape) == 3,
        "transpose": "auto" if kind in ("named", "npy") else {kind: transposed},
        "inverted": "auto" if inverted is None else inverted,
        "scale": tuple(scale) if isinstance(scale, list) else scale,
        "ground": reading.get("transparency") or "auto",
        "bright_borders": reading.get("bright_borders", 0.0 if inverted else None),
    }


def reading_notes(images, provenance=None) -> list[str]:
    """What somebody should know of how images were read: sentences, mostly none.

    With the provenance of the images that a run learned from, also whether the borders, which are
    mostly background, are bright in one set and dark in the other.
    """
    here = images.provenance.get("reading", {})
    notes = [*([here["converted"]] if here.get("converted") else []), *here.get("notes", ())]
    mine = here.get("bright_borders")
    theirs = (provenance or {}).get("reading", {}).get("bright_borders")
    # either majority alone may be narrow; both must be clear, or a note would cry wolf
    if mine is not None and theirs is not None and abs(mine - theirs) > 0.5:
        notes.append(
            f"{mine:.0%} of the images have a bright border, {theirs:.0%} of "
            "those that the run learned from: dark and bright may be the wrong way round"
        )
    return notes


def rendered_letters(n=5200, seed=0, size=28) -> ImageSet:
    """Draw n letters a..z by `glyphs.draw_letters`; `extra["case"]` is 1 for upper, 2 for lower.

    The same seed gives the same bytes (with the same matplotlib and Pillow).
    """
    images, labels, upper = draw_letters(n, seed, size)
    provenance = {
        "name": "rendered-letters",
        "source": f"rendered_letters(n={n}, seed={seed}, size={size}), fonts of matplotlib",
    }
    case = np.where(upper, 1, 2).astype(np.uint8)
    return ImageSet(images, labels, LETTERS, provenance, {"case": case})
