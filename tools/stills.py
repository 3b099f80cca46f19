"""Draw the still pictures of the interactive figures, for readers without JavaScript and for print.

`python tools/stills.py [NAME ...]` opens each figure on a page of its own in headless Chromium and
writes what it shows to results/figures/live/NAME.svg. Again after a figure or its data changed; a
test compares. Needs Chromium.
"""

import sys
from pathlib import Path

import interactive
from check_book import chromium, launched

WIDTH = 688  # px, of the book's column
# what a page of the book has from its theme
THEME = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{name}</title>
<style>:root {{ --pst-color-text-base: #222832; --pst-color-text-muted: #48566b;
 --pst-color-border: #d1d5da; --pst-color-surface: #f3f4f5; --pst-color-background: #fff;
 --pst-color-primary: #0a7d91; }}
[data-theme=dark] {{ --pst-color-text-base: #ced6dd; --pst-color-text-muted: #9ca4af;
 --pst-color-border: #48566b; --pst-color-surface: #29313d; --pst-color-background: #14181e;
 --pst-color-primary: #3fb1c5; }}
body {{ margin: 0 auto; max-width: {width}px; font: 16px/1.5 sans-serif; padding: 8px;
 background: var(--pst-color-background); color: var(--pst-color-text-base); }}
* {{ box-sizing: border-box }}</style><main><h1>{name}</h1>"""


def bare_page(name: str, folder: Path, theme: str = "light") -> Path:
    """Write a page with one figure beside the scripts in `folder`; return its path."""
    path = folder / f"{name}.html"
    try:
        start = interactive.opening(name, "", name)
    except FileNotFoundError:  # not drawn yet
        start = (
            '<link rel="stylesheet" href="figures/figures.css">'
            f'<div class="live" id="{name}" data-live="{name}" data-root="">'
            '<div class="live-still"></div>'
        )
    body = start + '<div class="live-caption">Caption.</div>' + interactive.closing(name, "")
    text = THEME.format(name=name, theme=theme, width=WIDTH + 48) + body + "</main></html>"
    path.write_text(text, encoding="utf-8")
    return path


def site(folder: Path) -> Path:
    """A folder with the figures' scripts and data, where pages can be written; return it."""
    from gmvae_lib.study.interactive import figure_data

    interactive.write_data(figure_data(interactive.ROOT / "results"))
    interactive.copy_pictures()
    if not (folder / "figures").exists():
        (folder / "figures").symlink_to(interactive.SCRIPTS)
    return folder


def still(page, name: str) -> str:
    """The SVG of a figure's still picture, from its page."""
    page.wait_for_selector(f"#{name}[data-state=ready]")
    return page.evaluate(f"live.{name}.still()") + "\n"


def main(names) -> int:
    """Write the pictures; return the exit code."""
    import tempfile

    program = chromium()
    if program is None:
        print("found no Chromium, expected one on the path", file=sys.stderr)
        return 2
    interactive.STILLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, launched(program) as browser:
        folder = site(Path(temporary))
        for name in names or sorted(path.stem for path in (interactive.SCRIPTS / "data").glob("*")):
            page = browser.new_page(viewport={"width": WIDTH + 64, "height": 900})
            page.goto(bare_page(name, folder).as_uri())
            (interactive.STILLS / f"{name}.svg").write_text(still(page, name), encoding="utf-8")
            print(interactive.STILLS / f"{name}.svg")
            page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
