"""Sphinx extension of the book: two corrections to pages of Sphinx and the theme.

- sphinx-thebe adds its settings to every page twice, which a browser reports as an error, and the
  book has no button for it: its scripts are left out.
- The bibliography's list has links as children, which a list may not have: it loses the role.
"""


def without_thebe(scripts):
    """The page's scripts except sphinx-thebe's."""
    return [script for script in scripts if "thebe" not in f"{script}{_inline(script)}".lower()]


def without_list_role(body):
    """The page's text with the role of a list taken from its bibliography."""
    return body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def _inline(script):
    return getattr(script, "attributes", {}).get("body") or ""


def correct(app, pagename, templatename, context, doctree):
    """Correct one page, just before it is written."""
    context["script_files"] = without_thebe(context.get("script_files", []))
    if "body" in context:
        context["body"] = without_list_role(context["body"])


def setup(app):
    # after the theme's own handlers, whose priority is 500
    app.connect("html-page-context", correct, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
