"""The text of chapters and pages: its length, the numbers it takes from its cells, its links."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_WORDS = 3_000  # of a chapter, without code and what is folded
FENCE = re.compile(r"^(:{3,}|`{3,})\s*\{?([\w-]*)\}?.*?^\1\s*$", re.S | re.M)


def cells(path, kind):
    """The sources of a chapter's cells of one kind."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def open_text(text: str) -> str:
    """The text that is read without unfolding anything: no code, no table, no closed block."""

    def kept(block):
        closed = re.search(r"^:class:.*dropdown", block[0], re.M) or block[1].startswith("`")
        return "" if closed else re.sub(r"^(:{3,}.*|:\w+:.*)$", "", block[0], flags=re.M)

    return re.sub(r"^\|.*$", "", FENCE.sub(kept, text), flags=re.M)


def words(text: str) -> int:
    """Words with a letter or a digit; a value from the results is one, and a formula."""
    text = re.sub(r"\{glue:text\}`[^`]*`", "value", open_text(text))
    text = re.sub(r"(\$\$?)[^$]+\1", "formula", text)
    text = re.sub(r"\{\w+(?::\w+)?\}`([^`<]*)(?:<[^`]*>)?`", r"\1", text)
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def test_folded_text_and_code_are_not_counted():
    text = (
        "# A title\n\nThree {glue:text}`value:.1f` words {doc}`here <there>`: $a + b$.\n\n"
        ":::{admonition} Proof\n:class: important dropdown\nNot counted.\n:::\n\n"
        ":::{admonition} Note\n:class: tip\nCounted too.\n:::\n\n"
        "```python\nx = 1\n```\n\n| a | b |\n"
    )
    assert words(text) == 9


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_is_short(path):
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    figures = [cell["metadata"].get("mystnb", {}).get("figure", {}) for cell in found]
    captions = [figure.get("caption", "") for figure in figures]
    assert 300 < words("\n\n".join([*cells(path, "markdown"), *captions])) <= MOST_WORDS


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_value_of_the_text_is_glued_in_its_chapter(path):
    text = "\n".join(cells(path, "markdown"))
    wanted = set(re.findall(r"\{glue:text\}`([^`:]+)", text))
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    glued = {
        output["metadata"]["scrapbook"]["name"]
        for cell in found
        for output in cell.get("outputs", [])
        if "scrapbook" in output.get("metadata", {})
    }
    assert wanted - glued == set()
