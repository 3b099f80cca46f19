"""How large the text of the figures is on a phone: `python tools/figure_text.py [PAGE ...]`.

Prints, for each page of the built book that has figures, the height of the smallest text in them,
in pixels of a screen 390 px wide, and which text that is. Needs `make book` and Chromium.
"""

import sys

import yaml
from check_book import ROOT, chromium, launched, toc_pages

HTML = ROOT / "book" / "_build" / "html"
PHONE = {"width": 390, "height": 844}
LEAST = 11  # px
PATIENCE = 120_000  # ms, on a busy machine
# Of each text seen: its size in pixels of the screen, its words, and how far it leaves its picture.
MEASURE = """() => [...document.querySelectorAll("article svg text")]
  .filter(text => text.textContent.trim() && text.ownerSVGElement.checkVisibility())
  .map(text => {
    const matrix = text.getScreenCTM();
    const box = text.getBoundingClientRect();
    const picture = text.ownerSVGElement.getBoundingClientRect();
    return {
      size: parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b),
      words: text.textContent.trim(),
      outside: Math.max(picture.left - box.left, box.right - picture.right),
    };
  })"""


def texts(browser, path, size=None):
    """What MEASURE finds on a page, with everything that is folded opened."""
    page = browser.new_page(viewport=size or PHONE)
    page.set_default_timeout(PATIENCE)
    page.goto(path.as_uri(), wait_until="load")
    page.evaluate("() => document.querySelectorAll('details').forEach(d => (d.open = true))")
    found = page.evaluate(MEASURE)
    page.close()
    return found


def main(pages) -> int:
    """Print a line a page; exit code 1 if a text is too small, 2 without book or browser."""
    program = chromium()
    missing = [name for name in pages if not (HTML / f"{name}.html").is_file()]
    if program is None or missing:
        what = "no Chromium" if program is None else f"no page {HTML / missing[0]}.html"
        print(f"found {what}, expected the built book and a browser", file=sys.stderr)
        return 2
    faults = 0
    with launched(program) as browser:
        for name in pages:
            found = texts(browser, HTML / f"{name}.html")
            if found:
                least = min(found, key=lambda text: text["size"])
                print(f"{name}: {least['size']:.1f} px ({least['words']!r}), {len(found)} texts")
                faults += least["size"] < LEAST
    return 1 if faults else 0


if __name__ == "__main__":
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    sys.exit(main(sys.argv[1:] or toc_pages(toc)))
