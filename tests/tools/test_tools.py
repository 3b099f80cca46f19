"""The checks on chapters and pages must find the faults that a green build hides."""

import ast
import re
from pathlib import Path

import charts
import check_book
import check_notebooks
import nbformat
import page_fixes
import page_weight
import pytest
import zenodo
from nbformat.v4 import new_code_cell, new_notebook, new_output


def stream(text="1\n", name="stdout"):
    return new_output("stream", text=text, name=name)


def write_chapter(path, *cells):
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def executed(count, *outputs, **metadata):
    return new_code_cell("x", execution_count=count, outputs=list(outputs), metadata=metadata)


# check_notebooks


def test_executed_chapter_has_no_faults(tmp_path):
    empty = new_code_cell("")  # a trailing empty cell has no execution count
    path = write_chapter(tmp_path / "a.ipynb", executed(1), executed(2, stream()), empty)
    assert check_notebooks.notebook_faults(path) == []
    assert check_notebooks.main(tmp_path) == 0


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ([executed(1, stream()), executed(3)], "execution counts [1, 3]"),
        ([executed(2, stream()), executed(1)], "execution counts [2, 1]"),
        ([executed(None, stream())], "execution counts [None]"),
        ([executed(1)], "no outputs"),
        (
            [executed(1, new_output("error", ename="KeyError", evalue="'q'"))],
            "code cell 1 raised KeyError: 'q'",
        ),
        (
            [executed(1, stream()), executed(2, stream("careful\n", "stderr"))],
            "code cell 2 wrote to stderr: careful",
        ),
    ],
)
def test_faulty_chapter_is_named(tmp_path, capsys, cells, fault):
    write_chapter(tmp_path / "a.ipynb", *cells)
    assert check_notebooks.main(tmp_path) == 1
    assert f"a.ipynb: {fault}" in capsys.readouterr().out


@pytest.mark.parametrize(("source", "faults"), [("x = 1", 1), ("assert x > 0", 0)])
def test_cells_that_are_not_compared_must_assert_something(tmp_path, source, faults):
    cell = new_code_cell(source, execution_count=1, outputs=[stream()])
    cell.metadata["tags"] = ["nbval-ignore-output"]
    path = write_chapter(tmp_path / "a.ipynb", cell)
    assert len(check_notebooks.notebook_faults(path)) == faults


def test_large_chapter_is_a_fault(tmp_path):
    path = write_chapter(tmp_path / "a.ipynb", executed(1, stream("x" * 2_100_000)))
    assert "2.1 MB" in check_notebooks.notebook_faults(path)[0]


def test_invalid_notebook_is_a_fault(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("{")
    assert "not a valid notebook" in check_notebooks.notebook_faults(path)[0]


def test_folder_without_chapters_is_a_fault(tmp_path):
    assert check_notebooks.main(tmp_path) == 1


# check_book


def test_toc_pages_follow_parts_and_sections():
    toc = {
        "format": "jb-book",
        "root": "intro",
        "parts": [
            {"caption": "A", "chapters": [{"file": "a", "sections": [{"file": "b"}]}]},
            {"caption": "B", "chapters": [{"file": "c"}, {"url": "https://example.org"}]},
        ],
    }
    assert check_book.toc_pages(toc) == ["intro", "a", "b", "c"]


def test_cells_with_outputs_counts_what_the_page_shows(tmp_path):
    glued = new_output("display_data", data={"application/papermill.record/text/plain": "1"})
    path = write_chapter(
        tmp_path / "a.ipynb",
        executed(1, stream()),
        executed(2),
        executed(3, glued),
        executed(4, glued, stream()),
        executed(5, stream(), tags=["remove-cell"]),
        executed(6, stream(), tags=["hide-output"]),
    )
    assert check_book.cells_with_outputs(path) == 3


OUTPUT = '<div class="cell_output docutils container"><pre>1</pre></div>'


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (OUTPUT, None),
        ("", "0 output cells, expected 1"),
        (OUTPUT + '<div class="output traceback highlight-ipythontb"></div>', "a traceback"),
        (OUTPUT + '<img src="a.png" alt="Letters">', None),
        (OUTPUT + '<img src="data:image/png;base64,AA==" alt="Letters">', None),
        (OUTPUT + '<img src="https://example.org/a.png" alt="Letters">', None),
        (OUTPUT + '<img src="a.png">', "a.png: no alt text"),
        (OUTPUT + '<img src="a.png" alt=" ">', "a.png: no alt text"),
        (OUTPUT + '<img src="a.png" alt="_images/a.png">', "a.png: no alt text"),
        (OUTPUT + '<img src="b.png" alt="Letters">', "b.png: no such image file"),
        (OUTPUT + '<div class="chart"><svg role="img" aria-label="Bars"></svg></div>', None),
        (
            OUTPUT + '<div class="chart"><svg role="img"></svg></div>',
            "chapter: no alt",
        ),
        (
            OUTPUT + '<div class="chart"><svg aria-label="Bars"></svg></div>',
            "figure of the chapter",
        ),
        (OUTPUT + "<article><p>| a | b |\n|:–|–:|</p></article>", "a table shown as text"),
        (OUTPUT + "<article><p>84 rows × 4 columns</p></article>", "84 rows × 4 columns"),
        (OUTPUT + "<article><p>It has 84 rows × 4 columns.</p></article>", None),
    ],
)
def test_page_faults(tmp_path, body, fault):
    (tmp_path / "a.png").touch()
    page = tmp_path / "page.html"
    page.write_text(f"<html><body>{body}</body></html>")
    faults = check_book.page_faults(page, expected_outputs=1)
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]


def test_book_is_checked_against_toc_and_notebooks(tmp_path, capsys):
    (tmp_path / "_toc.yml").write_text("root: intro\nchapters:\n  - file: notebooks/01\n")
    html = tmp_path / "book" / "_build" / "html"
    (html / "notebooks").mkdir(parents=True)
    (tmp_path / "book" / "notebooks").mkdir()
    write_chapter(tmp_path / "book" / "notebooks" / "01.ipynb", executed(1, stream()))
    (html / "notebooks" / "01.html").write_text(OUTPUT)

    assert check_book.main(tmp_path) == 1
    assert "intro: the page was not built" in capsys.readouterr().out
    (html / "intro.html").write_text("<h1>How few labels?</h1>")
    assert check_book.main(tmp_path) == 0
    (html / "notebooks" / "01.html").write_text("")
    assert check_book.main(tmp_path) == 1
    assert "notebooks/01: 0 output cells" in capsys.readouterr().out


def test_a_value_missing_from_the_text_is_a_fault(tmp_path):
    source, page = tmp_path / "page.md", tmp_path / "page.html"
    source.write_text("{glue:text}`n:,d` letters, {glue:text}`purity:.0%` pure, `glue`")
    assert check_book.glued_values(source) == 2
    page.write_text('<p><span class="pasted-text">7</span> letters,  pure</p>')
    assert check_book.page_faults(page, expected_values=2) == [
        "1 values in the text, expected 2 as in the source"
    ]
    assert check_book.page_faults(page, expected_values=1) == []


# page_fixes


class Script(str):
    """A script as Sphinx keeps it: its file name, and text of its own among its attributes."""

    def __new__(cls, name="", body=None):
        script = super().__new__(cls, name)
        script.attributes = {"body": body}
        return script


def test_pages_lose_thebe_and_the_role_of_a_list_with_links():
    kept = [Script("_static/doctools.js"), Script(body="let togglebuttonSelector"), "plain.js"]
    thebe = [Script("_static/sphinx-thebe.js"), Script(body="const THEBE_JS_URL = 1")]
    body = '<div role="list" class="citation-list"><a></a></div>'
    context = {"script_files": [*kept, *thebe], "body": body}
    page_fixes.correct(None, "bibliography", "page.html", context, None)
    assert context["script_files"] == kept
    assert "role" not in context["body"] and "citation-list" in context["body"]


def test_pages_load_the_previews_of_links_once():
    own, again = (Script("_static/previews/popper.min.js") for _ in range(2))
    own.attributes["defer"] = "defer"
    context = {"script_files": [own, again, "_static/plain.js"]}
    page_fixes.correct(None, "intro", "page.html", context, None)
    assert context["script_files"] == [own, "_static/plain.js"]
    assert context["script_files"][0] is own


def test_a_page_without_text_is_left_alone():
    context = {"script_files": ["search.js"]}
    page_fixes.correct(None, "search", "search.html", context, None)
    assert context == {"script_files": ["search.js"]}


def test_page_without_formulas_has_no_mathjax():
    from docutils import nodes

    for formulas, left in (([], ["a.js"]), ([nodes.math("", "K")], ["a.js", "mathjax/tex.js"])):
        document = page("A first paragraph.")
        document.extend(formulas)
        context = {"script_files": ["a.js", "mathjax/tex.js"]}
        page_fixes.correct(None, "intro", "page.html", context, document)
        assert context["script_files"] == left


def test_folds_of_the_contents_have_names():
    context = {"generate_toctree_html": lambda kind, depth=1: f"{kind}{depth}<summary>v</summary>"}
    page_fixes.correct(None, "intro", "page.html", context, None)
    found = context["generate_toctree_html"]("sidebar", depth=2)
    assert found == 'sidebar2<summary aria-label="Pages of this chapter">v</summary>'


def test_first_page_has_its_title_once():
    context = {"title": "How few labels?", "docstitle": "How few labels?", "script_files": []}
    page_fixes.correct(None, "intro", "page.html", context, page("A first paragraph. " * 5))
    assert context["docstitle"] == "" and 'name="description"' in context["metatags"]


def page(*paragraphs):
    from docutils import nodes

    document = nodes.document(None, None)
    document += [nodes.paragraph("", text) for text in paragraphs]
    return document


def test_description_is_the_beginning_of_the_first_long_paragraph():
    short, long = "A caption.", "The quick brown fox jumps over the lazy dog. " * 9
    found = page_fixes.description(page(short, long))
    assert found.startswith("The quick brown fox") and found.endswith(" …")
    assert len(found) <= page_fixes.MOST + 2
    assert long.startswith(found[:-2])
    assert page_fixes.description(page(long[:80])) == long[:80].strip()
    assert page_fixes.description(page(short)) == ""


# zenodo


def test_zenodo_metadata_are_those_of_the_citation():
    import yaml

    citation = yaml.safe_load((check_book.ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (check_book.ROOT / ".zenodo.json").read_text(encoding="utf-8") == zenodo.text(citation)
    citation["authors"] = [{"family-names": "Lovelace", "given-names": "Ada"}]
    assert zenodo.metadata(citation)["creators"] == [{"name": "Lovelace, Ada"}]


# page_weight


@pytest.mark.skipif(check_book.chromium() is None, reason="no Chromium found")
def test_page_weight_counts_what_a_page_asks_for(tmp_path):
    pytest.importorskip("playwright.sync_api")
    (tmp_path / "style.css").write_text("p { color: black }")
    (tmp_path / "a.html").write_text(
        '<link rel="stylesheet" href="style.css"><p>Seen by all</p>\n<table><tr><td>1</table>'
        '<details><summary>more</summary><div class="highlight"><pre>hidden</pre></div></details>'
        '<div class="highlight"><pre>x = 1\ny = 2\n</pre></div>'
    )
    (row,), _ = page_weight.measure(tmp_path, ["a"], check_book.chromium(), visits=2)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert (row["page"], row["requests"], row["bytes"]) == ("a", 2, sum(sizes))
    assert 0 < row["first_paint_ms"]
    assert (row["words"], row["tables"], row["code_lines"]) == (4, 1, 2)  # and "more"
    assert 0 < row["screens"] <= 1


# the tools themselves


def test_tools_share_nothing_but_check_book():
    """The scripts import each other by their file names, which import-linter does not follow."""
    scripts = {path.stem: path for path in Path(check_book.__file__).parent.glob("*.py")}
    for name, path in scripts.items():
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        imported |= {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
        assert imported & set(scripts) <= {"check_book"} - {name}, name


# figures in the page


def test_previews_are_made_without_the_figures_and_the_page_keeps_them():
    page = "<p>a</p>" + '<div class="chart">\n<svg>1</svg>\n<svg>2</svg>\n</div>' + "<p>b</p>"
    context = {"body": page + page}
    charts.set_aside(None, "a", "page.html", context, None)
    assert "svg" not in context["body"] and context["body"].count("<p>") == 4
    charts.put_back(None, "a", "page.html", context, None)
    assert context == {"body": page + page}


# the article's numbers


def words_of_the_book():
    """Each page's prose, with captions and alternative texts, and the scripts' words."""
    root = Path(check_book.__file__).parents[1]
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            shown = cell.metadata.get("mystnb", {})
            yield path.name, shown.get("figure", {}).get("caption", "")
            yield path.name, shown.get("image", {}).get("alt", "")
            if cell.cell_type == "markdown":
                yield path.name, cell.source
    scripts = (root / "book" / "_extra").glob("*/*.js")
    for path in sorted([*(root / "book").glob("*.md"), *scripts]):
        text = path.read_text(encoding="utf-8")
        yield path.name, re.sub(r"^/\*.*?\*/", "", text, flags=re.DOTALL)


def test_figures_and_tables_of_the_article_are_named_as_such():
    """The book's own numbers are references ("Fig. 3.1"); one in words must say whose it is."""
    for name, text in words_of_the_book():
        for found in re.finditer(r"\b(?:Figure|Table) \d", text):
            before, after = text[: found.start()], text[found.end() :]
            named = re.search(r"(article['’]s|\b[Ii]ts) $", before)
            assert named or after.startswith(" of the article"), f"{name}: {text[:90]!r}"
