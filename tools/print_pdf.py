"""Print every page of the built book with Chromium: book/_build/pdf/, one PDF a page.

Run `python tools/print_pdf.py` after `make book`. It needs Chromium and Playwright.
"""

import sys
from pathlib import Path

import yaml
from check_book import ROOT, chromium, launched, toc_pages


def main(root: Path = ROOT) -> int:
    """Print the pages of the toc; the exit code is 2 where Chromium or the book is missing."""
    program = chromium()
    html, out = (root / "book" / "_build" / kind for kind in ("html", "pdf"))
    if program is None or not html.is_dir():
        missing = "chromium on the path" if program is None else f"{html} (run make book)"
        print(f"print_pdf: found no {missing}, expected it", file=sys.stderr)
        return 2
    with launched(program) as browser:
        page = browser.new_page()
        for name in toc_pages(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))):
            page.goto((html / f"{name}.html").as_uri(), wait_until="load")
            page.wait_for_timeout(2000)  # for the formulas
            target = out / f"{name}.pdf"
            target.parent.mkdir(parents=True, exist_ok=True)
            page.pdf(path=target, format="A4", print_background=True)
            print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
