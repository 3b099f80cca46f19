"""Gaussian mixture VAEs trained without labels, and the few labels that name their clusters.

Names are resolved on first use, so that ``import gmvae_lib`` does not load torch.
"""

from importlib import import_module

__version__ = "0.1.0"

_MODULE_OF = {
    "BayesDecoder": "label.decoding",
    "GraphDecoder": "label.decoding",
    "GMVAE": "vae.model",
    "GMVAEClassifier": "classifier",
    "GMVAEConfig": "vae.config",
    "HardDecoder": "label.decoding",
    "ImageSet": "data.image_set",
    "InputError": "errors",
    "Run": "vae.runs",
    "SoftDecoder": "label.decoding",
    "TrainConfig": "vae.config",
    "cluster_posterior": "vae.model",
    "fit": "vae.training",
    "load_images": "data.images",
    "load_run": "vae.runs",
    "preset": "vae.config",
    "rendered_letters": "data.images",
    "save_run": "vae.runs",
}

__all__ = [*_MODULE_OF, "bounds"]


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    if name == "bounds":
        return import_module(".label.bounds", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
