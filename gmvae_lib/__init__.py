"""Gaussian mixture VAEs trained without labels, and the few labels that name their clusters.

Names are resolved on first use, so that ``import gmvae_lib`` does not load torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_MODULE_OF = {
    "BayesDecoder": "decoding",
    "GraphDecoder": "decoding",
    "GMVAE": "model",
    "GMVAEClassifier": "classifier",
    "GMVAEConfig": "config",
    "HardDecoder": "decoding",
    "ImageSet": "images",
    "InputError": "errors",
    "Run": "runs",
    "SoftDecoder": "decoding",
    "TrainConfig": "config",
    "cluster_posterior": "model",
    "fit": "training",
    "load_images": "images",
    "load_run": "runs",
    "preset": "config",
    "rendered_letters": "images",
    "save_run": "runs",
}
_SUBMODULES = {"bounds", "metrics", "experiments", "figures", "styles", "studies"}

__all__ = [*_MODULE_OF, *_SUBMODULES]


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
