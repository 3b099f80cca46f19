"""Images in, with where they came from: the `ImageSet` and its loaders.

`load_images` reads EMNIST Letters and MNIST (through torchvision), an IDX file, an NPZ, or a folder
of pictures; `rendered_letters` draws letters from the fonts that matplotlib ships, so that
everything runs with no file at all.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gmvae_lib.data.glyphs import draw_letters
from gmvae_lib.data.idx import load_idx, named_emnist
from gmvae_lib.data.image_set import LETTERS, ImageSet
from gmvae_lib.data.pictures import bright_borders, checked_size, converted_pictures, load_folder
from gmvae_lib.data.readers import load_npz, load_torchvision
from gmvae_lib.data.shards import ShardedImages
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
) -> ImageSet:
    """Load a data set by name, or a file or folder of images.

    How the images were read is in `provenance["reading"]`: `shape`, `colour`, `inverted`,
    `transparency`, `converted` (what had to be done to arrays of another form, or None) and
    `bright_borders`, the share of the images, as read, whose border is brighter than mid-grey.

    Parameters
    ----------
    source : str or Path
        "emnist-letters" (145,600: train and test merged), "mnist" (70,000, merged),
        "rendered-letters", or a path: an .npy file or a folder of them, which stay on disk
        (`shards.ShardedImages`, for any number of images, without labels), an IDX images file
        (gzipped or not; its `labels-idx1` and `case-idx1` files are read if beside it), an .npz
        with `images` and, optionally, `labels`, or a folder of pictures, whose sub-folders name
        the classes.
    data_dir : path, optional
        Folder that holds `EMNIST/raw` and `MNIST/raw`; by default the environment's EMNIST_ROOT,
        else `~/.cache/gmvae_lib`.
    download : bool
        Whether torchvision may download what `data_dir` lacks (536 MB for EMNIST).
    transpose : "auto", True or False
        Whether to swap rows and columns. EMNIST's files are stored transposed: "auto" does it for
        "emnist-letters" and for an IDX file with "emnist" in its name or its folder's.
    size : int or (height, width), optional
        Pixels to fit every image into: aspect kept, centred, padded with the median of its border.
        Without it a folder's pictures become 28 x 28 and other images keep their size.
    colour : bool
        Whether to read RGB, [N, H, W, 3]; otherwise grey, whatever is stored.
    inverted : "auto", True or False
        Whether to turn a folder's pictures from dark on bright to bright on dark. "auto": grey ones
        if most borders are bright, colour ones never. Arrays are taken as they are.

    Raises
    ------
    InputError
        One line that says what is missing or malformed.
    """
    if transpose not in ("auto", True, False):
        raise InputError(f"transpose: {transpose!r}; expected 'auto', True or False")
    if inverted not in ("auto", True, False):
        raise InputError(f"inverted: {inverted!r}; expected 'auto', True or False")
    size = checked_size(size)
    if isinstance(source, str) and source in DATASETS:
        stored_transposed = source == "emnist-letters"
        if source == "rendered-letters":
            images = rendered_letters()
        else:
            images = load_torchvision(source, data_dir, download)
    else:
        path = Path(source).expanduser()
        try:
            images, stored_transposed = _load_path(path, size, colour, inverted)
        except PermissionError as error:
            found = f"{error.filename or path}: {error.strerror}"
            raise InputError(f"{found}; expected readable files") from None
    if isinstance(images, ShardedImages):
        return _as_stored(images, size, transpose)
    images.extra.setdefault("digest", images.digests)  # of the rows as stored
    if stored_transposed if transpose == "auto" else transpose:
        provenance = images.provenance | {"transposed": True}
        images = replace(images, images=images.images.swapaxes(1, 2), provenance=provenance)
    images, converted = converted_pictures(images, size, colour)
    images.provenance["digest"] = images.set_digest
    images.provenance["reading"] = {
        "shape": list(images.images.shape[1:]),
        "colour": bool(colour),
        "inverted": images.provenance.get("inverted"),
        "transparency": "white",
        "converted": converted,
        "bright_borders": round(bright_borders(images.images), 4),
    }
    return images


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
    images.provenance["reading"] = {"converted": None, "bright_borders": None}
    return images


def reading_rule(image_shape, provenance) -> dict:
    """Arguments of `load_images` that read new images as those of a run were.

    Parameters
    ----------
    image_shape : (H, W) or (H, W, 3), of the run. provenance : that of the images it learned from.
    """
    if len(image_shape) not in (2, 3):
        raise InputError(
            f"run: found one trained on rows of {image_shape[0]} features; expected on images"
        )
    inverted = provenance.get("inverted")  # only a folder of pictures was asked
    return {
        "size": tuple(image_shape[:2]),
        "colour": len(image_shape) == 3,
        "inverted": "auto" if inverted is None else inverted,
    }


def reading_notes(images, provenance=None) -> list[str]:
    """What somebody should know of how images were read: sentences, mostly none.

    With the provenance of the images that a run learned from, also whether the borders, which are
    mostly background, are bright in one set and dark in the other.
    """
    here = images.provenance["reading"]
    notes = [here["converted"]] if here["converted"] else []
    there = (provenance or {}).get("reading", {}).get("bright_borders")
    known = None not in (here["bright_borders"], there)
    # either majority alone may be narrow; both must be clear, or a note would cry wolf
    if known and abs(here["bright_borders"] - there) > 0.5:
        notes.append(
            f"{here['bright_borders']:.0%} of the images have a bright border, {there:.0%} of "
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


def _load_path(path, size, colour, inverted) -> tuple[ImageSet, bool]:
    """Read a file or folder, and say whether its images are stored transposed."""
    if path.suffix.lower() == ".npy" or (path.is_dir() and any(path.glob("*.npy"))):
        return ShardedImages(path), False
    if path.is_dir():
        return load_folder(path, size, colour, inverted), False
    if not path.is_file():
        choices = ", ".join(DATASETS)
        raise InputError(f"{path}: no such file or folder; expected a path or one of {choices}")
    if path.suffix.lower() == ".npz":
        return load_npz(path), False
    return load_idx(path), named_emnist(path)
