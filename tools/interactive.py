"""Sphinx extension of the book: the directive of its interactive figures, and their data.

    ```{interactive} collector
    ---
    alt: What the picture shows, for those who do not see it.
    ---
    The caption, in Markdown.
    ```

The page gets the figure's still picture, results/figures/live/NAME.svg (and .png), and the scripts
that replace it where there is JavaScript: book/_extra/figures/common.js, data/NAME.js, NAME.js. The data are
computed from results/ when the build begins (gmvae_lib.study.interactive).
"""

import html
import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from gmvae_lib.data.storage import write_atomically

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "book" / "_extra" / "figures"
STILLS = ROOT / "results" / "figures" / "live"


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
        raise FileNotFoundError(f"{svg}: not found, expected what tools/stills.py writes")
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
