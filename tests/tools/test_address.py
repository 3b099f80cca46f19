"""What needs a public address: there when BOOK_REPOSITORY is set, and only then."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import address
import nbformat
import pytest
import setup_cell
import yaml
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image
from sphinx.errors import ExtensionError

pytest.importorskip("jupyter_book")

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/Someone/few-labels"
SITE = "https://someone.github.io/few-labels/"


@pytest.mark.parametrize(
    ("found", "pages"),
    [
        (REPOSITORY, SITE),
        (REPOSITORY + "/", SITE),
        ("https://github.com/me/me.github.io", "https://me.github.io/"),
    ],
)
def test_pages_follow_from_the_repository(monkeypatch, found, pages):
    monkeypatch.setenv(address.VARIABLE, found)
    assert address.pages_address(address.repository()) == pages


@pytest.mark.parametrize("found", ["few-labels", "http://github.com/a/b", "https://github.com/a"])
def test_other_addresses_are_refused(monkeypatch, found):
    monkeypatch.setenv(address.VARIABLE, found)
    with pytest.raises(ExtensionError, match="expected https://github.com/OWNER/REPO"):
        address.repository()


def small_book(folder):
    """The book's own settings, with one page of prose and one chapter that is not executed."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    settings["execute"] = {"execute_notebooks": "off"}
    settings["sphinx"]["local_extensions"] = dict.fromkeys(("page_mends", "address"), "../tools")
    settings["sphinx"]["config"]["html_extra_path"] = []
    shutil.copytree(ROOT / "book" / "_static", folder / "book" / "_static")
    shutil.copytree(ROOT / "tools", folder / "tools")
    (folder / "results").symlink_to(ROOT / "results")
    (folder / "book" / "references.bib").write_text("")
    (folder / "book" / "_config.yml").write_text(yaml.safe_dump(settings))
    (folder / "book" / "_toc.yml").write_text(
        "format: jb-book\nroot: intro\nchapters:\n  - file: notebooks/01_letters\n"
    )
    (folder / "book" / "intro.md").write_text("# How few labels?\n\nA hundred will do.\n")
    chapter = new_notebook(cells=[new_markdown_cell("# The letters\n\nReal ones.")])
    chapter.cells.append(new_code_cell("1"))
    chapter.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    chapter.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    (folder / "book" / "notebooks").mkdir()
    nbformat.write(chapter, folder / "book" / "notebooks" / "01_letters.ipynb")
    return folder / "book"


def build(folder, repository):
    book = small_book(folder)
    settings = os.environ | {address.VARIABLE: repository, "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [Path(sys.executable).with_name("jupyter-book"), "build", "-W", "-n", "-q", book],
        env=settings, check=True, capture_output=True, text=True,
    )  # fmt: skip
    html = book / "_build" / "html"
    pages = {
        name: BeautifulSoup((html / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        for name in ("intro", "notebooks/01_letters")
    }
    return html, pages


def links(page):
    return {tag["href"] for tag in page.find_all("a", href=True)}


def tags(page):
    found = page.find_all("meta", attrs={"property": re.compile("^og:")})
    return {tag["property"]: tag["content"] for tag in found}


def test_a_book_with_an_address(tmp_path):
    html, pages = build(tmp_path, REPOSITORY)
    intro, chapter = pages["intro"], pages["notebooks/01_letters"]

    assert tags(intro)["og:title"] == "How few labels?"
    assert tags(chapter)["og:title"] == "The letters"
    assert "A hundred will do." in tags(intro)["og:description"]
    assert tags(chapter)["og:url"] == f"{SITE}notebooks/01_letters.html"
    for page in (intro, chapter):
        assert tags(page)["og:image"] == f"{SITE}_static/card.png"
        assert len(page.find_all("meta", attrs={"name": "description"})) <= 1
    with Image.open(html / "_static" / "card.png") as card:
        assert card.size == (1200, 630)
    assert (html / "_static" / "card.png").stat().st_size < 300_000
    canonical = chapter.find("link", rel="canonical")["href"]
    assert canonical == f"{SITE}notebooks/01_letters.html"

    path = "blob/main/notebooks/01_letters.ipynb"
    colab = f"https://colab.research.google.com/github/Someone/few-labels/{path}"
    binder = "https://mybinder.org/v2/gh/Someone/few-labels/main?urlpath=lab/tree/notebooks/"
    assert {colab, f"{binder}01_letters.ipynb", REPOSITORY} <= links(chapter)
    assert f"{REPOSITORY}/{path}?plain=1" in links(chapter)
    assert f"{REPOSITORY}/blob/main/book/intro.md?plain=1" in links(intro)
    assert not [link for link in links(intro) if "colab" in link or "mybinder" in link]

    places = ElementTree.parse(html / "sitemap.xml").getroot().iter()
    found = {place.text for place in places if place.tag.endswith("loc")}
    assert found == {f"{SITE}intro.html", f"{SITE}notebooks/01_letters.html"}


def test_a_book_without_an_address(tmp_path):
    html, pages = build(tmp_path, "")
    for page in pages.values():
        assert tags(page) == {}
        assert page.find("link", rel="canonical") is None
        assert not [link for link in links(page) if re.search("github.com/|colab|binder", link)]
    assert not (html / "sitemap.xml").exists()
    assert "_sources/notebooks/01_letters.ipynb" in "".join(links(pages["notebooks/01_letters"]))


# the chapters' setup cell

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_chapters_share_one_setup_cell():
    cells = {}
    for path in CHAPTERS:
        code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        if any(setup_cell.is_setup(cell) for cell in code):
            assert setup_cell.is_setup(code[0]), path.name
            assert setup_cell.TAG in code[0].metadata.tags
            cells[path.name] = code[0].source
    assert len(cells) >= 8
    assert len(set(cells.values())) == 1


def test_setup_cell_is_written_once(tmp_path):
    path = tmp_path / "01_a.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A"), new_code_cell("1")]), path)
    assert setup_cell.write_setup(path, "")
    assert not setup_cell.write_setup(path, "")
    assert setup_cell.write_setup(path, REPOSITORY)
    first, *others = (c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    assert f'REPOSITORY = "{REPOSITORY}"' in first.source
    assert [cell.source for cell in others] == ["1"]


def run_setup(source, missing):
    """Run a setup cell in IPython: its commands are kept, not run. Return them and the error."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.user_ns["asked"] = asked = []
    shell.run_cell(
        "import importlib.util\n"
        f"importlib.util.find_spec = lambda name: {None if missing else 1}\n"
        "shell = get_ipython()\n"
        "shell.system = lambda line: asked.append(shell.var_expand(line))\n"
        "shell.run_line_magic = lambda name, line: asked.append(f'{name} {line}')\n"
    )
    error = shell.run_cell(source).error_in_exec
    return asked, error


def test_setup_cell_fetches_the_repository_where_the_library_is_missing(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", importlib.util.find_spec)  # restored after
    assert run_setup(setup_cell.setup_source(REPOSITORY), missing=False) == ([], None)
    asked, error = run_setup(setup_cell.setup_source(REPOSITORY), missing=True)
    assert error is None
    assert [line.split()[:2] for line in asked] == [
        ["git", "clone"],
        ["pip", "install"],
        ["cd", "book/notebooks"],
    ]
    assert REPOSITORY in asked[0]
    asked, error = run_setup(setup_cell.setup_source(""), missing=True)
    assert asked == [] and isinstance(error, ModuleNotFoundError)
