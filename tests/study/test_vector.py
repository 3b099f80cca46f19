"""Figures as SVG: the same bytes twice, colours of the page, text as text, two variants."""

import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gmvae_lib.errors import InputError
from gmvae_lib.study import figures
from gmvae_lib.study.figures import style, vector

CSS = Path(__file__).parents[2] / "book" / "_static" / "custom.css"
COUNTS = pd.DataFrame({"upper": [3, 1], "lower": [2, 2], "unknown": [1, 4]}, index=list("ab"))


@pytest.fixture(scope="module")
def bars():
    return figures.svg(figures.letter_counts, COUNTS)


@pytest.fixture(scope="module")
def pictures():
    images = np.random.default_rng(0).random((4, 6, 6))
    return figures.svg(figures.image_grid, images, list("abcd"), n_columns=4, narrow_columns=2)


def variants(picture):
    root = ElementTree.fromstring(picture)
    return {node.get("class"): node for node in root}


def test_two_drawings_have_the_same_bytes(bars, pictures):
    assert figures.svg(figures.letter_counts, COUNTS) == bars
    images = np.random.default_rng(0).random((4, 6, 6))
    again = figures.svg(figures.image_grid, images, list("abcd"), n_columns=4, narrow_columns=2)
    assert again == pictures


def test_both_variants_say_the_same_in_letters_that_a_phone_can_show(bars):
    found = variants(bars)
    assert set(found) == {"chart-wide", "chart-narrow"}
    words = {
        name: sorted(text.text for text in node.iter(f"{{{vector.SVG}}}text"))
        for name, node in found.items()
    }
    for name, width in (("chart-wide", style.COLUMN), ("chart-narrow", style.PHONE)):
        assert float(found[name].get("width")) == width
        assert {"a", "b", "letter", "images", "upper", "lower", "unknown"} <= set(words[name])
        for text in found[name].iter(f"{{{vector.SVG}}}text"):
            assert (
                float(re.search(r"font-size: ([\d.]+)px", text.get("style"))[1]) >= 12
            )  # a folded cell shrinks it


def test_no_colour_is_fixed_and_black_is_the_colour_of_the_text(bars):
    for node in ElementTree.fromstring(bars).iter():
        assert node.get("fill") in (None, "currentColor") and node.get("stroke") is None
        for colour in re.findall(r"(?:fill|stroke): ([^;]+)", node.get("style", "")):
            assert re.fullmatch(r"none|currentColor|url\(#.*\)|var\(--c-\w+, #\w{6}\)", colour)
    assert "font-family: 'DejaVu" not in bars and "<metadata" not in bars


def test_a_text_of_another_colour_is_refused():
    def wrong(width):
        fig, ax = style.panel(width, 100)
        ax.set_title("dark", color="#222222")
        return fig

    with pytest.raises(InputError, match="found the colour #222222"):
        figures.svg(wrong)


def test_ids_are_the_picture_s_own_and_lead_somewhere(bars):
    seen = set()
    curves = {"equal": (np.arange(5, 50), np.linspace(0, 1, 45))}  # clipped
    for picture in (bars, figures.svg(figures.coverage_curves, curves)):
        ids = re.findall(r' id="([^"]+)"', picture)
        assert len(ids) == len(set(ids)) and ids
        assert set(re.findall(r'(?:url\(#|href="#)([\w-]+)', picture)) == set(ids)
        assert not seen & set(ids)
        seen |= set(ids)


def test_thumbnails_are_embedded_pixel_by_pixel_in_sixteen_greys(pictures):
    import base64
    import io

    from PIL import Image

    found = re.findall(r'href="data:image/png;base64,([^"]+)"', pictures)
    assert len(found) == 2 * 4
    assert pictures.count('class="ink"') == 2 * 4  # inverted in dark mode
    for data in found:
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.size == (6, 6) and picture.mode == "L"
        assert set(np.unique(picture) % 17) == {0}


def test_page_shows_both_variants_with_the_alternative_text(bars):
    html = figures.for_page(bars, 'bars of "letters" & cases')
    label = 'role="img" aria-label="bars of &quot;letters&quot; &amp; cases" class="chart-'
    assert html.count(label) == 2 and 'display="none"' not in html
    assert html.startswith('<div class="chart">')


@pytest.mark.parametrize("alt", [None, "", "  "])
def test_page_demands_an_alternative_text(bars, alt):
    with pytest.raises(InputError, match="alt: found no text"):
        figures.for_page(bars, alt)


def test_page_refuses_another_picture():
    with pytest.raises(InputError, match="found 0 variants"):
        figures.for_page("<svg></svg>", "a logo")


def test_saved_figure_is_the_one_shown(tmp_path, bars):
    figures.save(tmp_path / "bars.svg", figures.letter_counts, COUNTS)
    assert (tmp_path / "bars.svg").read_text(encoding="utf-8") == bars


def test_many_points_are_one_short_path():
    points = np.random.default_rng(0).random((2000, 2))

    def cloud(width):
        fig, ax = style.panel(width, 300)
        style.dots(ax, points, style.BLUE)
        return fig

    drawn = variants(figures.svg(cloud))["chart-wide"]
    longest = max((node.get("d", "") for node in drawn.iter()), key=len)
    assert longest.count("h0") == 2000 and len(longest) < 2000 * 18


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8), st.integers(1, 3))
def test_rounding_keeps_numbers_within_half_a_digit(values, digits):
    text = " ".join(f"{value:.6f}" for value in values)
    rounded = [float(part) for part in vector._round(text, digits).split()]
    np.testing.assert_allclose(rounded, values, atol=0.5 * 10**-digits + 1e-6)


# the palette


def linear(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    weights = [0.2126, 0.7152, 0.0722]
    low, high = sorted(float(weights @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    to_xyz = np.array(
        [[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]
    )
    x, y, z = np.cbrt(to_xyz @ np.clip(rgb, 0.001, 1) / [0.9505, 1, 1.0888])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
SIGHTS = {
    "full": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def palette(dark):
    """The page's colours, as custom.css defines them, and of the text."""
    text = CSS.read_text(encoding="utf-8")
    block = text.split('html[data-theme="dark"] {' if dark else "html {")[1].split("}")[0]
    found = dict(re.findall(r"--c-(\w+): (#\w{6});", block))
    return found | {"ink": "#ced6dd" if dark else "#222832"}


@pytest.mark.parametrize(("dark", "ground"), [(False, "#ffffff"), (True, "#121212")])
def test_colours_stand_out_from_the_ground_and_from_each_other(dark, ground):
    colours = palette(dark)
    assert set(colours) == {*vector.NAMES, "ink"} - {"muted", "faint"}
    assert min(contrast(colour, ground) for colour in colours.values()) >= 3
    for sight in SIGHTS.values():
        seen = np.array([lab(np.array(sight) @ linear(colour)) for colour in colours.values()])
        apart = np.linalg.norm(seen[:, None] - seen, axis=-1)
        assert apart[~np.eye(len(seen), dtype=bool)].min() > 15


def test_the_page_s_light_colours_are_those_of_the_figures():
    for name, colour in palette(dark=False).items():
        assert name == "ink" or colour == getattr(style, name.upper())
    text = CSS.read_text(encoding="utf-8")
    printed = dict(re.findall(r"--c-(\w+): (#\w+);", text.split("@media print")[1].split("}")[0]))
    light = palette(dark=False)
    assert {name: printed[name] for name in light} == light  # paper is white
