"""Sphinx extension of the book: corrections to pages of Sphinx and the theme.

- sphinx-thebe adds its settings to every page twice, which a browser reports as an error, and the
  book has no button for it: its scripts are left out.
- Jupyter Book adds every script of a static folder to every page: those of the previews of links,
  which their own extension adds, once and deferred, are left out.
- The bibliography's list has links as children, which a list may not have: it loses the role.
- A page gets a description, for search engines and previews: the beginning of its first paragraph.
- The contents beside a page fold the pages of a chapter: what unfolds them gets a name.
- Sphinx gives MathJax to a page without formulas if a page below it in the contents has some. All
  are below the first one, which is spared the megabyte.
- The first page's title is the book's, once; the footer names the version.
"""

import html

import gmvae_lib

MOST = 160  # characters of a description


def without_thebe(scripts):
    """The page's scripts except sphinx-thebe's."""
    return [script for script in scripts if "thebe" not in f"{script}{_inline(script)}".lower()]


def without_second_previews(scripts):
    """The page's scripts except those of previews/ that are not deferred."""
    return [
        script
        for script in scripts
        if "previews/" not in f"{script}{getattr(script, 'filename', '')}"
        or getattr(script, "attributes", {}).get("defer")
    ]


def without_mathjax(scripts):
    """The page's scripts except MathJax and its settings."""
    return [
        script
        for script in scripts
        if "mathjax" not in f"{getattr(script, 'filename', '') or script}{_inline(script)}".lower()
    ]


def without_list_role(body):
    """The page's text with the role of a list taken from its bibliography."""
    return body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')


def with_named_folds(contents):
    """The HTML of the contents, in which each fold says what it holds."""
    return str(contents).replace("<summary>", '<summary aria-label="Pages of this chapter">')


def has_formulas(doctree):
    """Whether a page has a formula of its own."""
    from docutils import nodes

    return any(doctree.findall(lambda node: isinstance(node, (nodes.math, nodes.math_block))))


def description(doctree):
    """The beginning of the page's first paragraph of any length, as one line of whole words."""
    from docutils import nodes

    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) < 60:
            continue
        return text if len(text) <= MOST else text[: text.rindex(" ", 0, MOST)] + " …"
    return ""


def _inline(script):
    return getattr(script, "attributes", {}).get("body") or ""


def correct(app, pagename, templatename, context, doctree):
    """Correct one page, just before it is written."""
    scripts = without_thebe(context.get("script_files", []))
    scripts = without_second_previews(scripts)
    if doctree is not None and not has_formulas(doctree):
        scripts = without_mathjax(scripts)
    context["script_files"] = scripts
    if "body" in context:
        context["body"] = without_list_role(context["body"])
    if contents := context.get("generate_toctree_html"):
        context["generate_toctree_html"] = lambda *args, **options: with_named_folds(
            contents(*args, **options)
        )
    if doctree is not None and (words := description(doctree)):
        tag = f'<meta name="description" content="{html.escape(words)}">'
        context["metatags"] = f"{context.get('metatags', '')}\n{tag}\n"
    if context.get("docstitle") and context.get("title") == context["docstitle"]:
        context["docstitle"] = ""  # else the first page's title would be followed by itself


def show_version(app, config):
    """The library's version, at the end of the footer."""
    options = config.html_theme_options
    footer = options.get("extra_footer", "")
    options["extra_footer"] = f"{footer} Version {gmvae_lib.__version__}.".strip()


def setup(app):
    # after the theme's own handlers, whose priority is 500
    app.connect("html-page-context", correct, priority=900)
    app.connect("config-inited", show_version, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
