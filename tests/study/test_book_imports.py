"""Chapters and pages import only what is there, and name modules that exist."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = [*sorted((ROOT / "book").glob("*.md")), ROOT / "README.md"]


def code(path) -> str:
    """The Python of a chapter's code cells, or of a page's cells and listings."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        parts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    else:
        text = path.read_text(encoding="utf-8")
        parts = re.findall(r"^```(?:\{code-cell\} ipython3|python)\n(.*?)^```", text, re.S | re.M)
        parts = [
            re.sub(r"\A(---\n.*?^---\n|(?::[^\n]*\n)+)", "", p, flags=re.S | re.M) for p in parts
        ]
    lines = "\n".join(parts).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def imported(path):
    """(module, name) of every import from the library."""
    for node in ast.walk(ast.parse(code(path))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("gmvae_lib"):
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", [*CHAPTERS, *PAGES], ids=lambda path: path.stem)
def test_what_is_imported_is_there(path):
    for module, name in imported(path):
        found = importlib.import_module(module)
        if not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")


def test_the_imports_are_found():
    assert ("gmvae_lib.study", "claims") in set(imported(ROOT / "book" / "intro.md"))
    assert all(any(imported(path)) for path in CHAPTERS)


DIRECTIVE = re.compile(r"^\.\. auto(module|class|function):: (\S+)\n((?:[ ]+\S.*\n)*)", re.M)


def test_the_reference_names_what_is_there():
    """Autodoc would say so too, as a warning at the end of a build of many minutes."""
    entries = DIRECTIVE.findall((ROOT / "book" / "api.md").read_text(encoding="utf-8"))
    assert len(entries) > 30
    for kind, name, options in entries:
        module, _, attribute = (name, "", "") if kind == "module" else name.rpartition(".")
        found = importlib.import_module(module)
        if attribute:
            found = getattr(found, attribute)
        members = re.search(r":members:(.*(?:\n[ ]{6,}.*)*)", options)
        for member in re.findall(r"\w+", members[1]) if members else ():
            assert hasattr(found, member), f"{name}: {member}"
