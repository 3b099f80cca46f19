"""Measure the built pages in headless Chromium: their length, weight, and how soon they paint.

`python tools/page_weight.py` after `make book` writes results/pages.json. For each page: words of
the text (without code, outputs, tables and what is folded), screens of 1280 by 900 pixels, and
tables, figures and lines of code that are seen without unfolding anything; requests and bytes of a
first visit (nothing cached or compressed, files served from this machine), and the medians of first
contentful paint and of the load event over several visits. Needs Chromium.
"""

import json
import statistics
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from check_book import ROOT, chromium, launched, toc_pages

from gmvae_lib.data.storage import write_atomically
from gmvae_lib.vae.runs import environment

VISITS = 5
TIMED = ("first_paint", "loaded")
VIEW = {"width": 1280, "height": 900}
TIMES = """() => ({
  first_paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
  loaded: performance.getEntriesByType("navigation")[0].loadEventEnd,
})"""
SIZES = """height => {
  const article = document.querySelector("article.bd-article") ?? document.body;
  const folds = "details:not([open]) > :not(summary), .toggle-hidden, .admonition.dropdown";
  const all = selector =>
    [...article.querySelectorAll(selector)].filter(n => n.checkVisibility() && !n.closest(folds));
  const text = article.cloneNode(true);
  const unread = ".cell, .live-body, .highlight, script, style, .headerlink, table";
  text.querySelectorAll(`${unread}, ${folds}`).forEach(node => node.remove());
  return {
    words: text.textContent.split(/\\s+/).filter(word => /\\w/.test(word)).length,
    screens: Number((article.getBoundingClientRect().height / height).toFixed(1)),
    tables: all("table").length,
    figures: all("figure, .live").length,
    code_lines: all("div.highlight > pre")
      .reduce((sum, n) => sum + n.textContent.trim().split("\\n").length, 0),
  };
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves the book without a line for each request."""

    def log_message(self, *_):
        pass


def visit(browser, url, settle):
    """Open a page with an empty cache: bytes, requests, and milliseconds to paint and load.

    Only a visit that lets the page ``settle`` sees all that its scripts ask for later.
    """
    context = browser.new_context(viewport=VIEW)
    page, asked = context.new_page(), []
    page.on("response", lambda response: asked.append(response))
    page.goto(url, wait_until="load")
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
    if settle:
        page.wait_for_load_state("networkidle")
    times = page.evaluate(TIMES)
    sizes = [len(response.body()) for response in asked if settle and response.ok]
    length = page.evaluate(SIZES, VIEW["height"]) if settle else {}
    context.close()
    return length | {"requests": len(sizes), "bytes": sum(sizes)} | times


def measure(html, pages, program, visits=VISITS):
    """Rows for ``results/pages.json``: one a page of the book in the folder ``html``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rows = []
    with launched(program) as browser:
        for name in pages:
            url = f"http://127.0.0.1:{server.server_port}/{name}.html"
            seen = [visit(browser, url, settle=not i) for i in range(visits)]
            row = {"page": name} | {key: seen[0][key] for key in seen[0] if key not in TIMED}
            for key in TIMED:
                row[f"{key}_ms"] = round(statistics.median(times[key] for times in seen))
            rows.append(row)
            print(row)
        version = browser.version
    server.shutdown()
    return rows, version


def main(root: Path = ROOT) -> int:
    """Measure the pages of the toc; the exit code is 2 where Chromium or the book is missing."""
    html, program = root / "book" / "_build" / "html", chromium()
    pages = toc_pages(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")))
    missing = [page for page in pages if not (html / f"{page}.html").is_file()]
    if program is None or missing:
        found = "no Chromium on the path" if program is None else f"no {html / missing[0]}.html"
        print(f"page_weight: found {found}, expected a browser and the built book", file=sys.stderr)
        return 2
    rows, version = measure(html, pages, program)
    about = {"chromium": version, "visits": VISITS, "view": VIEW} | environment()
    text = json.dumps({"about": about, "pages": rows}, indent=1) + "\n"
    write_atomically(root / "results" / "pages.json", lambda path: path.write_text(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
