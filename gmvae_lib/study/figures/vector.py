"""A figure as an SVG that follows the theme of the page it stands in.

`show(draw, ...)` draws a figure twice, for the book's column and for a phone, and shows both as one
SVG; tools/charts.py takes it apart when the book is built and puts the pair into the page, where
custom.css shows the one that fits. Elsewhere (Jupyter, GitHub) the wide one is seen, on white.

Colours of `style` become variables of the page (``--c-blue``), with the colour itself where a page
defines none, and black becomes the colour of the text. Text stays text. Two executions give the
same bytes: no dates, coordinates rounded, ids numbered within a prefix that comes from the content.
"""

import base64
import hashlib
import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib import pyplot as plt

from gmvae_lib.errors import InputError
from gmvae_lib.study.figures import style

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
NAMES = ("orange", "sky", "green", "blue", "vermilion", "purple", "wine", "grey", "muted", "faint")
COLOURS = {getattr(style, name.upper()): f"--c-{name}" for name in NAMES}
COLOURS[style.WHITE] = "--c-ground"
CLASSES = ("ink", "heat", "halo")  # gids of artists that the page treats apart
SHOWN = "width: 100%; background: var(--c-paper, #fff); color: var(--c-ink, #222832)"


def show(draw, *args, **kwargs):
    """Show a figure in a notebook: ``show(figures.letter_counts, counts)``."""
    from IPython.display import display

    picture = svg(draw, *args, **kwargs)
    display({"image/svg+xml": picture, "text/plain": f"figure: {draw.__name__}"}, raw=True)


def show_saved(path):
    """Show in a notebook a figure that `save` has written."""
    from IPython.display import display

    picture = path.read_text(encoding="utf-8")
    display({"image/svg+xml": picture, "text/plain": f"figure: {path.stem}"}, raw=True)


def save(path, draw, *args, **kwargs):
    """Write a figure's SVG to a file, whole or not at all."""
    from gmvae_lib.data.storage import write_atomically

    picture = svg(draw, *args, **kwargs)
    write_atomically(path, lambda temporary: temporary.write_text(picture, encoding="utf-8"))


def svg(draw, *args, **kwargs):
    """Draw a figure for the book's column and for a phone; return both as one SVG.

    Parameters
    ----------
    draw : function of this package that takes the keyword `width`, px, and returns a Figure
    """
    wide, narrow = (
        _variant(draw(*args, width=width, **kwargs), name)
        for name, width in (("wide", style.COLUMN), ("narrow", style.PHONE))
    )
    size = re.search(r'viewBox.*? height="\S+"', wide)[0]
    hidden = narrow.replace("<svg ", '<svg display="none" ', 1)
    return f'<svg xmlns="{SVG}" {size}>\n{wide}\n{hidden}\n</svg>\n'


def for_page(picture, alt):
    """The HTML of a picture made by `svg`, with its alternative text.

    Raises
    ------
    InputError
        Without a text, or if the picture is not one made by `svg`.
    """
    from html import escape

    if not (alt or "").strip():
        raise InputError("alt: found no text, expected what the figure shows, in words")
    start = r'<svg (?:display="none" )?class="chart-'
    variants = re.findall(f"{start}.*?</svg>", picture, re.DOTALL)
    if len(variants) != 2:
        raise InputError(f"picture: found {len(variants)} variants, expected the 2 of figures.svg")
    label = f'<svg role="img" aria-label="{escape(alt)}" class="chart-'
    wide, narrow = (re.sub(f"^{start}", lambda _: label, variant) for variant in variants)
    return f'<div class="chart">\n{wide}\n{narrow}\n</div>'


def _variant(figure, name):
    """One figure as an SVG element of the class chart-NAME; the figure is closed."""
    buffer = io.BytesIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "gmvae", "image.composite_image": False}
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    plt.close(figure)
    root = ElementTree.fromstring(buffer.getvalue())
    _strip(root)
    text = ElementTree.tostring(root, encoding="unicode")
    text = re.sub(r' xmlns:\w+="[^"]*"| xmlns="[^"]*"|(?<=<)ns\d+:|(?<=</)ns\d+:', "", text)
    digest = hashlib.sha256((name + text).encode()).hexdigest()[:8]
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([\w-]+)', text))
    for number, old in enumerate(used):
        text = re.sub(rf'(id="|url\(#|href="#){old}(?=["\)])', rf"\g<1>c{digest}-{number}", text)
    _, _, width, height = root.get("viewBox").split()
    start = (
        f'<svg class="chart-{name}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" fill="currentColor" stroke-linejoin="round" '
        f'style="{SHOWN}">'
    )
    return start + re.sub(r"^<svg[^>]*>|</svg>$", "", text) + "</svg>"


def _strip(root):
    """Leave out what shows nothing, round coordinates, and turn colours into variables."""
    for group in root.iter(
        f"{{{SVG}}}g"
    ):  # a clipped group is blended by itself, not with the page
        if len(group) == 1 and group[0].tag == f"{{{SVG}}}image":
            group.attrib.pop("clip-path", None)
    used = set()
    for node in root.iter():
        used.update(re.findall(r"url\(#([\w-]+)\)", " ".join(node.attrib.values())))
        used.add(node.get(f"{{{XLINK}}}href", "").lstrip("#"))
    for node in list(root.iter()):
        node.tail = None
        tag = node.tag.removeprefix(f"{{{SVG}}}")
        if tag not in ("text", "tspan"):
            node.text = None
        _attributes(node, tag, used)
    _prune(root)


def _attributes(node, tag, used):
    """Shorten one element's attributes in place."""
    if (target := node.attrib.pop(f"{{{XLINK}}}href", None)) is not None:
        node.set("href", _picture(target) if tag == "image" else target)
    name = node.get("id", "")
    if name in CLASSES:
        node.set("class", name)
    if name and name not in used:
        del node.attrib["id"]
    if "d" in node.attrib:
        node.set("d", _path(node.get("d"), digits=2 if name in used else 1))
    for key in ("x", "y"):
        if key in node.attrib and tag != "image":
            node.set(key, _round(node.get(key), 1))
    if "transform" in node.attrib:
        moved = re.sub(r"^rotate\(-?0(\.0*)? .*\)$", "", node.get("transform"))
        node.set("transform", _round(moved, 3))
        if not moved:
            del node.attrib["transform"]
    for key in ("fill", "stroke"):  # of a hatch's parts
        if key in node.attrib:
            node.set("style", f"{node.get('style', '')}; {key}: {node.attrib.pop(key)}")
    if "style" in node.attrib:
        _style(node, tag)


def _style(node, tag):
    parts = dict(part.split(": ", 1) for part in node.get("style").split("; ") if ": " in part)
    parts.pop("font-family", None)
    if parts.get("stroke-linejoin") == "round":
        del parts["stroke-linejoin"]
    for key in ("fill", "stroke"):
        if (colour := parts.get(key)) in COLOURS:
            parts[key] = f"var({COLOURS[colour]}, {colour})"
        elif colour == style.BLACK:
            parts[key] = "currentColor"
        elif tag == "text" and colour is not None:
            raise InputError(f"text: found the colour {colour}, expected one of figures.style")
    if "stroke-width" in parts:
        parts["stroke-width"] = _round(parts["stroke-width"], 2)
    if "stroke-dasharray" in parts:
        parts["stroke-dasharray"] = _round(parts["stroke-dasharray"], 1)
    node.set("style", "; ".join(f"{key}: {value}" for key, value in parts.items()))
    if not parts:
        del node.attrib["style"]


def _prune(node):
    """Leave out empty groups and invisible paths; a group without attributes gives its children."""
    kept = []
    for child in list(node):
        _prune(child)
        tag = child.tag.removeprefix(f"{{{SVG}}}")
        node.remove(child)
        unused = tag == "clipPath" and "id" not in child.attrib
        if unused or tag in ("metadata", "style") or (tag in ("g", "defs") and not len(child)):
            continue
        if tag == "path" and child.get("style") == "fill: none" and "id" not in child.attrib:
            continue
        if tag == "g" and not child.attrib:
            kept.extend(child)
        else:
            kept.append(child)
    node.extend(kept)


def _round(text, digits):
    """Every number of a text to so many digits, without trailing zeros."""

    def short(match):
        value = f"{float(match[0]):.{digits}f}".rstrip("0").rstrip(".")
        return "0" if value in ("-0", "") else value

    return re.sub(r"-?\d+\.\d+(?:e-?\d+)?", short, text)


def _path(data, digits):
    """A path's data, rounded; a line back to its own start becomes a dot."""
    data = _round(" ".join(data.split()), digits)
    data = re.sub(r"M (\S+ \S+) L \1(?= M|$)", r"M\1h0", data)
    return re.sub(r" ?([MLCQZz]) ?", r"\1", data).strip()


def _picture(target):
    """A picture's PNG again: greys as such, in 16 steps, which is what a thumbnail shows."""
    from PIL import Image

    data = base64.b64decode(target.partition(",")[2])
    picture = Image.open(io.BytesIO(data))
    red, green, blue, alpha = picture.convert("RGBA").split()
    if alpha.getextrema() == (255, 255):
        same = red.tobytes() == green.tobytes() == blue.tobytes()
        picture = red.point(lambda grey: 17 * round(grey / 17)) if same else picture.convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
