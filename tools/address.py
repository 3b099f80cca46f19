"""Sphinx extension of the book: all that needs a public address follows from BOOK_REPOSITORY.

Set that environment variable to https://github.com/OWNER/REPO and a build has repository and launch
buttons (Colab, Binder), canonical links, Open Graph tags with a card, and sitemap.xml, for pages at
https://OWNER.github.io/REPO/. Without it there are none of these, since they would be dead links.
"""

import os
import re
from pathlib import Path

from sphinx.errors import ExtensionError

VARIABLE = "BOOK_REPOSITORY"
BRANCH = "main"
CARD = "_static/card.png"


def repository() -> str:
    """The repository's address, "" if none is set."""
    address = os.environ.get(VARIABLE, "").rstrip("/")
    if address and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise ExtensionError(
            f"{VARIABLE}: found {address!r}, expected https://github.com/OWNER/REPO"
        )
    return address


def pages_address(address: str) -> str:
    """Where GitHub Pages shows a repository's pages."""
    owner, name = address.split("/")[-2:]
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def configure(app, config):
    """Turn on the theme's buttons and the tags of the pages."""
    config.html_baseurl = config.ogp_site_url = pages_address(repository())
    config.html_theme_options |= {
        "repository_url": repository(),
        "repository_branch": BRANCH,
        "use_repository_button": True,
        "use_source_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        },
    }
    config.ogp_site_name = config.html_title or config.project
    config.ogp_image = CARD
    config.ogp_image_alt = "Accuracy against the number of labels, and letters drawn by the model"
    config.ogp_social_cards = {"enable": False}  # one card of our own for all pages
    config.ogp_enable_meta_description = False  # the theme writes one
    config.ogp_custom_meta_tags = (
        '<meta property="og:image:width" content="1200" />',
        '<meta property="og:image:height" content="630" />',
        '<meta name="twitter:card" content="summary_large_image" />',
    )
    config.sitemap_url_scheme = "{link}"
    config.sitemap_excludes = ["search.html", "genindex.html", "py-modindex.html"]


def place_page(app, pagename, templatename, context, doctree):
    """Prose lies in book/, seen from the repository's root; chapters where their name says."""
    context["doc_path"] = "" if pagename.startswith("notebooks/") else "book"


def keep_launch_to_chapters(app, pagename, templatename, context, doctree):
    """Neither Colab nor Binder opens a page of prose."""
    if not pagename.startswith("notebooks/"):
        buttons = context.get("header_buttons", [])
        context["header_buttons"] = [b for b in buttons if b.get("label") != "launch-buttons"]


def draw_card(app, exception):
    """Draw the picture that a link to the book shows elsewhere."""
    if exception is None:
        from card import draw

        draw(Path(app.outdir) / CARD)


def setup(app):
    if repository():
        app.setup_extension("sphinxext.opengraph")
        app.setup_extension("sphinx_sitemap")
        app.connect("config-inited", configure)
        app.connect("html-page-context", place_page, priority=400)  # before the theme's buttons
        app.connect("html-page-context", keep_launch_to_chapters, priority=900)  # and after
        app.connect("build-finished", draw_card)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
