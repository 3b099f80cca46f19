"""Sphinx extension of the book: the directive of its interactive figures, and their data.

    ```{interactive} collector
    ---
    alt: What the picture shows, for those who do not see it.
    ---
    The caption, in Markdown.
    ```

The page gets the figure's still picture, results/figures/live/NAME.svg (and .png), and the scripts
that replace it where there is JavaScript: common.js, data/NAME.js and NAME.js of
book/_extra/figures. The data are computed from results/ when the build begins
(gmvae_lib.study.interactive).

`python tools/interactive.py [NAME ...]` draws the still pictures: it opens each figure on a page of
its own in headless Chromium and writes what it shows. Again after a figure or its data changed; a
test compares.
"""

import html
import json
import sys
import tempfile
from pathlib import Path

from check_book import chromium, launched
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from gmvae_lib.data.storage import write_atomically

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "book" / "_extra" / "figures"
STILLS = ROOT / "results" / "figures" / "live"


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


def write_data(found: dict, folder: Path = SCRIPTS) -> dict:
    """Write each figure's data as a script; return the bytes of each."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    size = {}
    for name, data in found.items():
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        text = f"(window.liveData ??= {{}}).{name} = {text};\n"
        path = folder / "data" / f"{name}.js"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, lambda p, text=text: p.write_text(text, encoding="utf-8"))
        size[name] = len(text.encode())
    return size


def opening(name: str, root: str, alt: str, stills: Path = STILLS) -> str:
    """The HTML of a figure up to its caption; `root` leads from the page to the book's folder."""
    svg, png = stills / f"{name}.svg", stills / f"{name}.png"
    still = ""
    if svg.is_file():
        still += svg.read_text(encoding="utf-8")
    if png.is_file():
        still += f'<img src="{root}figures/{png.name}" alt="{html.escape(alt)}">'
    if not still:
        raise FileNotFoundError(f"{svg}: not found, expected what tools/interactive.py writes")
    return (
        f'<link rel="stylesheet" href="{root}figures/figures.css">\n'
        f'<div class="live" id="{name}" data-live="{name}" data-root="{root}">\n'
        f'<div class="live-still">{still}</div>\n'
    )


def closing(name: str, root: str) -> str:
    """The HTML of a figure after its caption: its end, and its scripts."""
    scripts = ("common", f"data/{name}", name)
    return "</div>\n" + "\n".join(
        f'<script defer src="{root}figures/{script}.js"></script>' for script in scripts
    )


class Interactive(SphinxDirective):
    required_arguments = 1
    has_content = True
    option_spec = {"alt": directives.unchanged_required}

    def run(self):
        name = self.arguments[0]
        if not (SCRIPTS / f"{name}.js").is_file():
            raise self.error(f"interactive: found no {name}.js in {SCRIPTS}")
        if not self.options.get("alt") or not self.content:
            raise self.error(f"interactive {name}: expected the option alt, and a caption")
        root = "../" * self.env.docname.count("/")
        caption = nodes.container(classes=["live-caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        try:
            start = opening(name, root, self.options["alt"])
        except FileNotFoundError as error:
            raise self.error(str(error)) from None
        for still in STILLS.glob(f"{name}.*"):
            self.env.note_dependency(str(still))
        return [
            nodes.raw("", start, format="html"),
            caption,
            nodes.raw("", closing(name, root), format="html"),
        ]


def prepare(app):
    """Compute and write the data of all figures, and what the book copies beside them."""
    from gmvae_lib.errors import InputError
    from gmvae_lib.study.interactive import figure_data

    try:
        write_data(figure_data(ROOT / "results"))
    except InputError as error:
        raise ExtensionError(f"interactive figures: {error}") from None
    copy_pictures()


def copy_pictures(folder: Path = SCRIPTS):
    """Copy the pictures that are not SVG beside the scripts."""
    for picture in STILLS.glob("*.png"):
        (folder / picture.name).write_bytes(picture.read_bytes())


def setup(app):
    app.add_directive("interactive", Interactive)
    app.connect("builder-inited", prepare)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def bare_page(name: str, folder: Path, theme: str = "light") -> Path:
    """Write a page with one figure beside the scripts in `folder`; return its path."""
    path = folder / f"{name}.html"
    try:
        start = opening(name, "", name)
    except FileNotFoundError:  # not drawn yet
        start = (
            '<link rel="stylesheet" href="figures/figures.css">'
            f'<div class="live" id="{name}" data-live="{name}" data-root="">'
            '<div class="live-still"></div>'
        )
    body = start + '<div class="live-caption">Caption.</div>' + closing(name, "")
    text = THEME.format(name=name, theme=theme, width=WIDTH + 48) + body + "</main></html>"
    path.write_text(text, encoding="utf-8")
    return path


def site(folder: Path) -> Path:
    """A folder with the figures' scripts and data, where pages can be written; return it."""
    from gmvae_lib.study.interactive import figure_data

    write_data(figure_data(ROOT / "results"))
    copy_pictures()
    if not (folder / "figures").exists():
        (folder / "figures").symlink_to(SCRIPTS)
    return folder


def still(page, name: str) -> str:
    """The SVG of a figure's still picture, from its page."""
    page.wait_for_selector(f"#{name}[data-state=ready]")
    return page.evaluate(f"live.{name}.still()") + "\n"


def main(names) -> int:
    """Write the pictures; return the exit code."""
    program = chromium()
    if program is None:
        print("found no Chromium, expected one on the path", file=sys.stderr)
        return 2
    STILLS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, launched(program) as browser:
        folder = site(Path(temporary))
        for name in names or sorted(path.stem for path in (SCRIPTS / "data").glob("*")):
            page = browser.new_page(viewport={"width": WIDTH + 64, "height": 900})
            page.goto(bare_page(name, folder).as_uri())
            (STILLS / f"{name}.svg").write_text(still(page, name), encoding="utf-8")
            print(STILLS / f"{name}.svg")
            page.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
