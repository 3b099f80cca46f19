"""Check the built book: every page of _toc.yml is there, and every chapter shows its outputs.

A build can be green while pages are empty (execution off, stale doctrees, a chapter that raised),
so this looks at the HTML itself. Run it after `jupyter-book build book/`:
`python tools/check_book.py`, which prints one line per fault and exits with 1 if there is any.
"""

import re
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
# myst-nb leaves these out of the page, so their outputs are not to be expected there.
REMOVED = {"remove-cell", "remove_cell", "remove-output", "remove_output"}
# What `glue(..., display=False)` stores: data for other places, never shown in the cell itself.
GLUE_PREFIX = "application/papermill.record/"


def chromium() -> str | None:
    """Return the path of the Chromium that prints, photographs and tests the book; None without."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def launched(program):
    """Start the Chromium at a path, headless, by Playwright; yield the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            # a container has neither user namespaces nor a large /dev/shm
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


def toc_pages(toc: dict) -> list[str]:
    """Return the pages that a parsed `_toc.yml` names, in order, without suffix."""
    pages = [toc[key] for key in ("root", "file") if key in toc]
    for key in ("parts", "chapters", "sections"):
        for entry in toc.get(key, []):
            pages += toc_pages(entry)
    return pages


def cells_with_outputs(notebook: Path) -> int:
    """Count the cells of a committed notebook whose outputs the page must show."""
    return sum(
        any(_is_shown(output) for output in cell.outputs)
        for cell in nbformat.read(notebook, as_version=4).cells
        if cell.cell_type == "code" and not REMOVED & set(cell.metadata.get("tags", []))
    )


def _is_shown(output: nbformat.NotebookNode) -> bool:
    return not any(mime.startswith(GLUE_PREFIX) for mime in output.get("data", {}))


def glued_values(source: Path) -> int:
    """Count the values that the text of a page, notebook or Markdown, takes from results."""
    if source.suffix == ".ipynb":
        cells = nbformat.read(source, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = source.read_text(encoding="utf-8")
    return text.count("{glue:text}`")


def page_faults(html: Path, expected_outputs: int = 0, expected_values: int = 0) -> list[str]:
    """Return one line for each fault of the built page `html`."""
    if not html.is_file():
        return ["the page was not built"]
    soup = BeautifulSoup(html.read_text(encoding="utf-8"), "html.parser")
    faults = []
    found = len(soup.select("div.cell_output"))
    if found < expected_outputs:
        faults.append(f"{found} output cells, expected {expected_outputs} as in the notebook")
    # a value that cannot be formatted leaves a hole in the sentence, without a warning
    found = len(soup.select(".pasted-text"))
    if found < expected_values:
        faults.append(f"{found} values in the text, expected {expected_values} as in the source")
    if soup.select(".traceback"):
        faults.append("a traceback on the page")
    for paragraph in soup.select("article p"):
        text = paragraph.get_text()
        if text.startswith("|") and re.search(r"\|:?[-–—]+:?\|", text):
            faults.append(f"a table shown as text: {text[:40]}")
        if re.fullmatch(r"\d+ rows × \d+ columns", text.strip()):
            faults.append(f"a table of which rows are left out: {text.strip()}")
    for image in soup.find_all("img"):
        faults += _image_faults(image, html)
    for figure in soup.select(".chart svg"):
        if figure.get("role") != "img" or not figure.get("aria-label", "").strip():
            faults.append("a figure of the chapter: no alt text")
    return faults


def _image_faults(image, html: Path) -> list[str]:
    source = image.get("src", "")
    name = "an embedded image" if source.startswith("data:") else source
    faults = []
    alt = image.get("alt", "").strip()
    # Sphinx fills a missing alt text with the image's path.
    if not alt or alt.endswith(Path(urlsplit(source).path).name or "\0"):
        faults.append(f"{name}: no alt text")
    url = urlsplit(source)
    if not url.scheme and not url.netloc and not (html.parent / unquote(url.path)).is_file():
        faults.append(f"{name}: no such image file")
    return faults


def main(root: Path = ROOT) -> int:
    """Check the book built from the repository at `root`; return the exit code."""
    pages = toc_pages(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")))
    faults, n_outputs = [], 0
    for page in pages:
        notebook, markdown = (root / "book" / f"{page}{suffix}" for suffix in (".ipynb", ".md"))
        expected = cells_with_outputs(notebook) if notebook.is_file() else 0
        values = sum(glued_values(source) for source in (notebook, markdown) if source.is_file())
        n_outputs += expected
        html = root / "book" / "_build" / "html" / f"{page}.html"
        faults += [f"{page}: {fault}" for fault in page_faults(html, expected, values)]
    print("\n".join(faults) if faults else f"{len(pages)} pages, {n_outputs} outputs, no faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
