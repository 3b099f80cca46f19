"""Sphinx extension of the book: the figures that chapters draw become part of their pages.

A figure's output is an SVG (gmvae_lib.study.figures.vector). As a picture file it could not follow
the page's theme, so its two variants, for the column and for a phone, are put into the page itself,
with the cell's alternative text. A figure without one is an error. Previews of links to a figure
have its caption alone: else they would hold every figure a second time.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform

from gmvae_lib.errors import InputError
from gmvae_lib.study.figures import for_page


class InlineFigures(SphinxTransform):
    default_priority = 400  # before Sphinx collects the pictures of the page

    def apply(self, **kwargs):
        for node in list(self.document.findall(nodes.image)):
            path = Path(self.env.srcdir, node["uri"].lstrip("/"))
            if path.suffix != ".svg" or not path.is_file():
                continue
            picture = path.read_text(encoding="utf-8")
            if 'class="chart-' not in picture:
                continue
            try:
                html = for_page(picture, node.get("alt"))
            except InputError as error:
                raise ExtensionError(f"{self.env.docname}: a figure: {error}") from None
            node.replace_self(nodes.raw("", html, format="html"))


CHART = re.compile(r'<div class="chart">\n.*?</svg>\n</div>', re.DOTALL)
MARK = re.compile("<!--chart (\\d+)-->")


def set_aside(app, pagename, templatename, context, doctree):
    """Take the figures out of a page's text, before sphinx-tippy reads it."""
    context["charts"] = CHART.findall(context.get("body", ""))
    numbers = iter(range(len(context["charts"])))
    if context["charts"]:
        context["body"] = CHART.sub(lambda _: f"<!--chart {next(numbers)}-->", context["body"])


def put_back(app, pagename, templatename, context, doctree):
    """Put them in again."""
    charts = context.pop("charts", [])
    if charts:
        context["body"] = MARK.sub(lambda mark: charts[int(mark[1])], context["body"])


def setup(app):
    app.add_transform(InlineFigures)
    app.connect("html-page-context", set_aside, priority=440)  # sphinx-tippy's is 450
    app.connect("html-page-context", put_back, priority=460)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
