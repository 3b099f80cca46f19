"""Pictures with features that another network, or a file, gives for them."""

from functools import cached_property
from pathlib import Path

import numpy as np

from gmvae_lib.data.identity import printable
from gmvae_lib.data.image_set import ImageSet, described
from gmvae_lib.data.storage import file_digest, read_npz
from gmvae_lib.errors import InputError

SUFFIXES = (".npz", ".npy")


class FeatureSet:
    """Pictures of which a model sees features in place of the pixels.

    Parameters
    ----------
    pictures : ImageSet
    features : array [N, D], one row a picture, finite
    about : JSON-able, where the features come from: "name", and what identifies them
    bank : array [N, V, D], optional. Features of V random views of each picture; the second view
        of a training shows one of them.

    Attributes
    ----------
    images : float32 [N, D]
        Each row at length sqrt(D), so that a value is 1 in the root of the mean square.
    bank : float32 [N, V, D] likewise, or None

    Examples
    --------
    >>> pictures = ImageSet(np.zeros((1, 4, 4), np.uint8))
    >>> print(FeatureSet(pictures, [[3.0, 4.0]], {"name": "two numbers"}).images.round(2))
    [[0.85 1.13]]
    """

    def __init__(self, pictures: ImageSet, features, about: dict, bank=None):
        features = np.asarray(features)
        name = about["name"]
        if features.ndim != 2 or features.dtype.kind != "f" or len(features) != len(pictures):
            raise InputError(
                f"features: found {described(features)} from {name}, expected floats "
                f"[{len(pictures)}, D], one row a picture"
            )
        if not np.isfinite(features).all():
            raise InputError(f"features: found NaN or infinite values from {name}")
        self.pictures, self.images = pictures, at_length(features)
        self.bank = None if bank is None else at_length(bank)
        said = dict(about) | {"dimension": features.shape[1]}
        self.provenance = pictures.provenance | {"features": said}

    def __len__(self) -> int:
        return len(self.images)

    # what identifies the pictures, and what is known of them
    paths = property(lambda self: self.pictures.paths)
    digests = property(lambda self: self.pictures.digests)
    set_digest = property(lambda self: self.pictures.set_digest)
    labels = property(lambda self: self.pictures.labels)
    class_names = property(lambda self: self.pictures.class_names)
    extra = property(lambda self: self.pictures.extra)


class LaterFeatures(FeatureSet):
    """A `FeatureSet` whose features are made when somebody asks for them.

    make : function of the pictures that gives their `FeatureSet`.
    """

    def __init__(self, pictures: ImageSet, make):
        self.pictures, self._make = pictures, make
        self.provenance = pictures.provenance

    @cached_property
    def _made(self) -> FeatureSet:
        return self._make(self.pictures)

    images = property(lambda self: self._made.images)
    bank = property(lambda self: self._made.bank)

    def __len__(self) -> int:
        return len(self.pictures)


def at_length(rows) -> np.ndarray:
    """Rows [..., D] as float32, each at length sqrt(D); rows of nothing but 0 stay."""
    rows = np.asarray(rows, dtype=np.float32)
    length = np.linalg.norm(rows, axis=-1, keepdims=True) / np.sqrt(np.float32(rows.shape[-1]))
    return rows / np.where(length > 0, length, 1)


def shown(images):
    """The pictures of a `FeatureSet`; any other set as it is."""
    return images.pictures if isinstance(images, FeatureSet) else images


def features_note(learned: dict) -> str | None:
    """A sentence on the features that a model saw, by the provenance of its pictures.

    Examples
    --------
    >>> features_note({"features": {"name": "resnet18", "dimension": 512, "side": 224}})
    'The model saw 512 features of each picture from resnet18 (224 x 224 pixels), not its pixels.'
    """
    about = learned.get("features")
    if not about:
        return None
    side = f" ({about['side']} x {about['side']} pixels)" if "side" in about else ""
    return (
        f"The model saw {about['dimension']} features of each picture from {about['name']}{side}, "
        "not its pixels."
    )


def require_same(images: FeatureSet, learned: dict) -> None:
    """Refuse features that are not of the kind that a run learned from.

    learned : the provenance of the images of the run.
    """
    here, there = images.provenance["features"], learned["features"]
    if here["dimension"] != there["dimension"]:
        raise InputError(
            f"features: found {here['dimension']} from {here['name']}, expected "
            f"{there['dimension']} as from {there['name']}, which the run learned from"
        )
    same = all(here.get(key) == there.get(key) for key in ("name", "side", "sha256"))
    if ("side" in here or "side" in there) and not same:
        raise InputError(
            f"features: found those of {here['name']}, expected those of {there['name']} with the "
            "same weights, which the run learned from"
        )


def is_file(features) -> bool:
    """Whether features are named by a file of them, by its suffix."""
    return str(features).lower().endswith(SUFFIXES)


def file_features(path, pictures: ImageSet) -> FeatureSet:
    """Features of a file, each for the picture of its name.

    Parameters
    ----------
    path
        An .npz with `features` [M, D] and `paths` [M], text; or an .npy [M, D] beside a text file
        of the same name with the suffix .txt, one path a line. Paths are relative to the folder of
        the pictures, as `suggest` and `predict` write them; what else the file holds is left out.

    Raises
    ------
    InputError
        A file that is not like that; a picture that it does not name, or names twice.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected features of the pictures")
    if path.suffix.lower() == ".npy":
        features, names = _read_npy(path)
    else:
        arrays = read_npz(path, ("features", "paths"), ())
        features, names = arrays["features"], arrays["paths"]
    if features.ndim != 2 or features.dtype.kind not in "fiu" or features.shape[1] < 2:
        raise InputError(f"{path}: features are {described(features)}, expected floats [M, D]")
    if names.shape != (len(features),) or names.dtype.kind not in "US":
        raise InputError(f"{path}: paths are {described(names)}, expected text [{len(features)}]")
    if pictures.paths is None:
        raise InputError(
            f"{path}: found features by path for images of an array, expected a folder of pictures"
        )
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", "backslashreplace")
    rows: dict[str, int] = {}
    for row, name in enumerate(names.tolist()):
        if rows.setdefault(_plain(name), row) != row:
            raise InputError(f"{path}: found {name} twice, expected each picture once")
    order = [rows.get(_plain(printable(name)), -1) for name in pictures.paths]
    if -1 in order:
        missing = order.count(-1)
        first = printable(pictures.paths[order.index(-1)])
        raise InputError(
            f"{path}: found no features of {missing} of {len(order)} pictures, such as {first}; "
            "expected all of them"
        )
    about = {"name": path.name, "sha256": file_digest(path), "source": str(path.resolve())}
    return FeatureSet(pictures, features[order].astype(np.float32), about)


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")


def _read_npy(path):
    """The array, and the names in the text file beside it."""
    names = path.with_suffix(".txt")
    if not names.is_file():
        raise InputError(f"{names}: no such file, expected the paths of the pictures, one a line")
    try:
        features = np.load(path, allow_pickle=False)
        lines = names.read_text(encoding="utf-8").splitlines()
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not readable ({str(error)[:100]}), expected features") from None
    return features, np.array(lines, dtype=str)
