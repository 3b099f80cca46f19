"""Photograph pages of the built book: 1280 and 390 px wide, in light and in dark mode.

`python tools/screenshots.py [PAGE ...]` writes book/_build/screenshots/PAGE-WIDTH-THEME.png, by
default of every page; PAGE as in _toc.yml. Needs `make book` and Chromium.
"""

import sys

import yaml
from check_book import ROOT, chromium, launched, toc_pages

HTML = ROOT / "book" / "_build" / "html"
FOLDER = ROOT / "book" / "_build" / "screenshots"
SETTLED = 3000  # ms for formulas and the playground


def main(pages):
    """Write the pictures; return the exit code."""
    missing = [page for page in pages if not (HTML / f"{page}.html").is_file()]
    program = chromium()
    if missing or program is None:
        found = f"no page {HTML / missing[0]}.html" if missing else "no Chromium"
        print(f"found {found}, expected the built book and a browser", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    with launched(program) as browser:
        for width in (1280, 390):
            for theme in ("light", "dark"):
                view = {"width": width, "height": 900}
                context = browser.new_context(viewport=view, color_scheme=theme)
                for name in pages:
                    page = context.new_page()
                    page.goto((HTML / f"{name}.html").as_uri(), wait_until="domcontentloaded")
                    page.wait_for_timeout(SETTLED)
                    picture = FOLDER / f"{name.replace('/', '_')}-{width}-{theme}.png"
                    page.screenshot(path=picture, full_page=True)
                    page.close()
                context.close()
    return 0


if __name__ == "__main__":
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    sys.exit(main(sys.argv[1:] or toc_pages(toc)))
