"""The page of the library names what is there: autodoc would fail at the end of a long build."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "book" / "api.md").read_text(encoding="utf-8")
DIRECTIVE = re.compile(r"^\.\. auto(module|class|function):: (\S+)\n((?:[ ]+\S.*\n)*)", re.M)
ENTRIES = [match.groups() for match in DIRECTIVE.finditer(PAGE)]


@pytest.mark.parametrize(("kind", "name", "options"), ENTRIES, ids=[name for _, name, _ in ENTRIES])
def test_documented_names_exist(kind, name, options):
    module, _, last = (name, "", "") if kind == "module" else name.rpartition(".")
    found = importlib.import_module(module)
    if last:
        found = getattr(found, last)
        assert found.__doc__
    members = re.search(r":members:(.*(?:\n[ ]{6,}.*)*)", options)
    for member in re.split(r"[,\s]+", members[1].strip()) if members else ():
        assert not member or hasattr(found, member), f"{name}: {member}"


def test_the_page_is_read():
    assert len(ENTRIES) > 40
