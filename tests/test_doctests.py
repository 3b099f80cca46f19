"""The examples in the core's docstrings, run as they stand."""

import doctest
import importlib
import pkgutil

import pytest

import gmvae_lib

CORE = [
    module.name
    for module in pkgutil.walk_packages(gmvae_lib.__path__, "gmvae_lib.")
    if not module.name.startswith(("gmvae_lib.study", "gmvae_lib.__main__"))
]
# Modules whose public functions a newcomer meets first.
WITH_EXAMPLES = (
    "gmvae_lib.label.decoding",
    "gmvae_lib.label.neighbours",
    "gmvae_lib.label.choosing",
    "gmvae_lib.label.calibration",
)


@pytest.mark.parametrize("name", CORE)
@pytest.mark.usefixtures("one_thread")
def test_the_examples_of_a_module_hold(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_public_functions_and_classes_have_examples(name):
    module = importlib.import_module(name)
    public = [
        value
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
    ]
    without = [value.__name__ for value in public if ">>>" not in (value.__doc__ or "")]
    assert not without
