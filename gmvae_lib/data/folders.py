"""Which files of a folder are pictures, and what their sub-folders mean."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from gmvae_lib.errors import InputError

PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".apng"),
)
# Folders of thumbnails and of other copies that nobody sees (Synology, macOS, QNAP, Windows).
COPIES = ("@eadir", "__macosx", "@__thumb", "#recycle", "$recycle.bin", "@recycle")
PARTS = ("train", "training", "test", "testing", "val", "valid", "validation", "dev")
# How files begin; the parts of a name that Pillow tells formats by.
HEADS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"MATLAB", "a MATLAB file"),
    (b"\x93NUMPY", "a numpy array"),
    (b"%PDF", "a PDF document"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite", "an SQLite database"),
    (b"\x80\x04", "a Python pickle"),
)


@dataclass
class Found:
    """Files under a folder, as relative POSIX paths in sorted order.

    ``left_out`` counts by kind what is neither a picture nor an array.
    """

    pictures: list[str] = field(default_factory=list)
    arrays: list[str] = field(default_factory=list)
    left_out: Counter = field(default_factory=Counter)
    data_file: str | None = None  # an IDX or NPZ file, should there be no picture


def find_files(folder) -> Found:
    """Look through a folder and its sub-folders, linked ones too.

    Hidden files and folders and those of thumbnails are left out. A folder that may not be read
    raises PermissionError; a link to a folder that it lies in is not followed.
    """
    found = Found()
    _look(os.fspath(folder), "", frozenset(), found)
    found.pictures.sort()
    found.arrays.sort()
    return found


def _look(folder, prefix, above, found) -> None:
    stat = os.stat(folder)
    above = above | {(stat.st_dev, stat.st_ino)}
    with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    for entry in entries:
        name, suffix = prefix + entry.name, os.path.splitext(entry.name)[1].lower()
        if entry.name.startswith("."):
            found.left_out["hidden"] += 1
        elif entry.is_dir():
            inside = entry.stat()
            if entry.name.casefold() in COPIES:
                found.left_out[f"in {entry.name}"] += len(os.listdir(entry.path))
            elif (inside.st_dev, inside.st_ino) not in above:
                _look(entry.path, f"{name}/", above, found)
        elif not entry.is_file():
            found.left_out["broken link or special file"] += 1
        elif suffix in PICTURE_SUFFIXES or (_odd(suffix) and _is_picture(entry.path)):
            found.pictures.append(name)
        elif suffix == ".npy":
            found.arrays.append(name)
        else:
            found.left_out[suffix or "without a suffix"] += 1
            if suffix == ".npz" or "idx3" in entry.name:
                found.data_file = found.data_file or name


def _odd(suffix) -> bool:
    """Whether downloads and cameras give pictures such a suffix: none, or .jpg_large."""
    return not suffix or (suffix.startswith(PICTURE_SUFFIXES) and not suffix.endswith("~"))


def _is_picture(path) -> bool:
    with open(path, "rb") as file:
        head = file.read(16)
    return head[4:12] == b"ftypavif" or (kind_of(head) or "").endswith("picture")


def kind_of(head) -> str | None:
    """What a file is, by how it begins.

    Examples
    --------
    >>> kind_of(b"GIF89a"), kind_of(b"23,0,0,0"), kind_of(bytes(4))
    ('a GIF picture', 'a text', None)
    """
    for start, what in HEADS:
        if head.startswith(start):
            return what
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "a BMP picture"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    if head[4:8] == b"ftyp":
        return "a HEIC or AVIF picture or a film"
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return None
    return "a text" if text and all(c.isprintable() or c.isspace() for c in text) else None


def counted(left_out) -> str:
    """How many files of which kind: "3 .txt, 1 hidden"."""
    return ", ".join(f"{n} {kind}" for kind, n in left_out.most_common(8))


def classes_of(names) -> tuple[list[str], dict[str, int]]:
    """The class of each path, its top folder or "", and how many lie in train/, test/, ...

    Where all top folders are such parts of a data set, the folders in them name the classes;
    "" for a picture in none.

    Examples
    --------
    >>> classes_of(["cat/1.png", "dog/old/2.png", "3.png"])
    (['cat', 'dog', ''], {})
    >>> classes_of(["test/cat/1.png", "train/dog/2.png", "train/3.png"])
    (['cat', 'dog', ''], {'test': 1, 'train': 2})
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    top = Counter(parts[0] if parts else "" for parts in folders)
    if any(top) and all(part.casefold() in ("", *PARTS) for part in top):
        top.pop("", None)
        return [parts[1] if len(parts) > 1 else "" for parts in folders], dict(top)
    return [parts[0] if parts else "" for parts in folders], {}


def only_kind(found, folder) -> str:
    """ "pictures" or "arrays", of which a folder must hold one alone."""
    if found.pictures and found.arrays:
        raise InputError(
            f"{os.path.join(folder, found.arrays[0])}: found .npy files ({len(found.arrays)}) "
            f"beside pictures ({len(found.pictures)}), expected a folder of either"
        )
    if not found.pictures and not found.arrays:
        there = f" ({counted(found.left_out)})" if found.left_out else ""
        hint = f"; {found.data_file} is given by itself" if found.data_file else ""
        raise InputError(
            f"{folder}: holds no picture{there}; expected {', '.join(PICTURE_SUFFIXES)}{hint}"
        )
    return "pictures" if found.pictures else "arrays"
