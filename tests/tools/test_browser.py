"""The built book in a real browser: Debian's Chromium, driven by Playwright, without a network.

`make book` builds the pages; without them, or without Chromium, these tests are skipped.
"""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import page_weight
import pytest
import yaml
from bs4 import BeautifulSoup
from check_book import chromium, toc_pages
from figure_text import LEAST, texts

from gmvae_lib import (
    GraphDecoder,
    HardDecoder,
    SoftDecoder,
    cluster_posterior,
    load_run,
    rendered_letters,
)
from gmvae_lib.label.decoding import cluster_affinity
from gmvae_lib.study.claims import figure_2_example
from gmvae_lib.study.experiments import draw_labelled, label_counts

playwright_api = pytest.importorskip("playwright.sync_api")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "book" / "_build" / "html"
PAGES = toc_pages(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
# Hosts that a page may ask for something: none, since formulas too come from the book itself.
ELSEWHERE: set[str] = set()
MOST_SCREENS, MOST_WORDS = 20, 3_000  # of a chapter
MOST_MEGABYTES = 12  # of the playground, with all that it loads
SLOW = 120_000  # ms to wait for anything, on a machine that is busy with other tests

CHROMIUM = chromium()
if CHROMIUM is None:
    pytest.skip(
        "no Chromium found: install it with `apt-get install chromium`", allow_module_level=True
    )
if not (HTML / "playground.html").is_file():
    pytest.skip(
        "no book found in book/_build/html: build it with `make book`", allow_module_level=True
    )


@pytest.fixture(scope="module", autouse=True)
def patience():
    playwright_api.expect.set_options(timeout=SLOW)


class Visit:
    """A page of the book, opened; and what went wrong or was asked for meanwhile."""

    def __init__(self, browser, name, size=DESKTOP, theme="light", touch=False):
        self.name, self.faults, self.asked = name, [], []
        self.context = browser.new_context(viewport=size, color_scheme=theme, has_touch=touch)
        self.context.set_default_timeout(SLOW)
        self.context.route(re.compile("^https?:"), lambda route: route.abort())
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._console)
        self.page.goto((HTML / f"{name}.html").as_uri())

    def _console(self, message):
        blocked = message.location.get("url", "").startswith("http")
        if message.type == "error" and not blocked:
            self.faults.append(message.text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def elsewhere(self):
        """Hosts other than the book's own files that the page asked for something."""
        return {urlsplit(url).netloc for url in self.asked if url.startswith("http")}

    def files(self):
        """The book's files that the page loaded."""
        urls = {urlsplit(url) for url in self.asked if url.startswith("file:")}
        return {Path(unquote(url.path)) for url in urls}

    def accessibility_faults(self):
        """What axe-core calls serious or critical, one line each."""
        found = axe_api.Axe().run(self.page).response["violations"]
        return [
            f"{fault['id']} ({fault['impact']}): {node['html'][:120]}"
            for fault in found
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]


@cache
def anchors(path):
    """The names that a link may point to in a page."""
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    return {tag[key] for key in ("id", "name") for tag in soup.find_all(attrs={key: True})}


def broken(link):
    """Whether an internal link points to no file, or to no place in it."""
    url = urlsplit(link)
    path = Path(unquote(url.path))
    if not path.is_file():
        return True
    return bool(url.fragment) and unquote(url.fragment) not in anchors(path)


@pytest.mark.parametrize("name", PAGES)
def test_page_on_a_desktop(browser, name):
    with Visit(browser, name) as visit:
        links = visit.page.eval_on_selector_all("a[href]", "links => links.map(a => a.href)")
        images = visit.page.eval_on_selector_all("img", "all => all.map(i => [i.src, i.alt])")
        unseen = "all => all.filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        assert visit.faults == []
        assert visit.elsewhere() <= ELSEWHERE
        assert [link for link in links if link.startswith("file:") and broken(link)] == []
        assert [source for source, alt in images if not alt.strip()] == []
        assert visit.page.eval_on_selector_all("img", unseen) == []
        assert visit.accessibility_faults() == []
        formulas = visit.page.locator("article .math").count()
        assert any("mathjax" in url for url in visit.asked) == bool(formulas)  # a megabyte


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("notebooks/")])
def test_chapter_is_short_and_nothing_is_wider_than_the_column(browser, name):
    with Visit(browser, name) as visit:
        found = visit.page.evaluate(page_weight.SIZES, DESKTOP["height"])
        assert found["screens"] <= MOST_SCREENS and found["words"] <= MOST_WORDS
        wide = """all => all.filter(n => n.checkVisibility()
            && n.scrollWidth > n.parentElement.clientWidth + 1)
            .map(n => n.textContent.slice(0, 60))"""
        for selector in ("article table", "article div.highlight > pre"):
            assert visit.page.eval_on_selector_all(selector, wide) == []


@pytest.mark.parametrize("name", PAGES)
def test_page_on_a_phone_in_dark_mode(browser, name):
    with Visit(browser, name, PHONE, theme="dark") as visit:
        theme = visit.page.evaluate("document.documentElement.dataset.theme")
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        assert theme == "dark"
        assert width <= PHONE["width"]
        assert visit.accessibility_faults() == []


@pytest.mark.parametrize("name", PAGES)
def test_figures_are_legible_on_a_phone(browser, name):
    for size in (PHONE, DESKTOP):
        found = texts(browser, HTML / f"{name}.html", size)
        assert [text for text in found if text["size"] < LEAST] == []
        # a few pixels beyond the picture are shown, in the margin of the column
        assert [text for text in found if text["outside"] > 5] == []


INTERACTIVE = {
    "intro": ["labeller", "front"],
    "notebooks/03_how_many_labels": ["collector", "floor"],
    "notebooks/05_clusters": ["map"],
    "notebooks/06_decoding": ["triangle"],
    "notebooks/07_label_efficiency": ["front"],
}


@pytest.mark.parametrize("name", INTERACTIVE)
def test_interactive_figures_start_on_their_pages(browser, name):
    with Visit(browser, name, PHONE) as visit:
        for figure in INTERACTIVE[name]:
            visit.page.wait_for_selector(f"#{figure}[data-state=ready]")
        assert visit.page.locator(".live").count() == len(INTERACTIVE[name])
        assert visit.page.locator(".live-still").count() == 0  # replaced by the figure itself
        assert visit.faults == []


def test_interactive_figures_are_pictures_without_scripts(browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((HTML / "notebooks/03_how_many_labels.html").as_uri())
    playwright_api.expect(page.locator("#collector .live-still svg").first).to_be_visible()
    context.close()


def test_link_shows_where_it_leads(browser):
    with Visit(browser, "notebooks/03_how_many_labels") as visit:
        link = visit.page.locator('article a[href="#prop-9"]').first
        link.scroll_into_view_if_needed()
        link.hover()
        tip = visit.page.locator(".tippy-box")
        playwright_api.expect(tip).to_contain_text("Proposition 9 (missing mass)")
        assert visit.faults == []


def test_preview_loads_what_its_formula_needs(browser):
    with Visit(browser, "notebooks/01_letters") as visit:
        link = visit.page.locator('article a[href="04_training.html"]').first
        link.scroll_into_view_if_needed()
        visit.page.wait_for_function("link => link._tippy", arg=link.element_handle())
        # the previews of this page hold no formula: one that does
        link.evaluate("""link => link._tippy.setContent(
            '<p>With <span class="math notranslate nohighlight">\\\\(K = 100\\\\)</span></p>')""")
        link.hover()
        visit.page.wait_for_selector(".tippy-box mjx-container")
        assert visit.faults == []


# What a reader wants who sees the first page only: the links to follow, and what shows then.
TASKS = {
    "redo a number": (["Reproducing the results"], "make reproduce"),
    "draw a letter": (["Try it: draw a letter"], "Your drawing."),
    "start on own images": (["How to: your own images"], "gmvae train"),
    "find a proof": (
        ["How many labels?", "Proofs of Propositions 2 to 4"],
        "inclusion and exclusion",
    ),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_reader_gets_there_in_three_clicks(browser, size, task):
    links, sought = TASKS[task]
    with Visit(browser, "intro", size) as visit:
        page, clicks = visit.page, 0
        if size == PHONE:
            page.get_by_role("button", name="Toggle primary sidebar").click()
            clicks += 1
        for link in links:
            page.locator(f':is(a, .admonition-title):has-text("{link}"):visible').first.click()
            clicks += 1
        playwright_api.expect(page.get_by_text(sought).first).to_be_visible()
        assert clicks <= 3
        assert visit.faults == []


def test_first_page_asks_and_answers_on_its_first_screen(browser):
    with Visit(browser, "intro") as visit:
        for words in ("The question.", "The answer.", "Try it"):
            place = visit.page.get_by_text(words, exact=True).first.bounding_box()
            assert place["y"] + place["height"] < DESKTOP["height"]
        assert visit.page.title() == "How few labels?"
        visit.page.get_by_role("link", name="Try it", exact=True).click()
        playwright_api.expect(visit.page.locator("#labeller")).to_be_in_viewport()


# the playground


def open_playground(browser, **options):
    visit = Visit(browser, "playground", **options)
    visit.page.wait_for_selector("#playground[data-state=ready]")
    return visit


@pytest.fixture(scope="module")
def playground(browser):
    with open_playground(browser) as visit:
        yield visit.page


@pytest.fixture(scope="module")
def run():
    return load_run(ROOT / "results" / "letters100k")


@pytest.fixture(scope="module")
def inputs(run):
    """Twenty fixed images: letters from fonts, and samples of components."""
    samples = [run.model.sample(c, seed=1)[0] for c in range(0, run.model_config.K, 10)]
    letters = rendered_letters(n=10, seed=1).images / 255
    return np.concatenate([letters, samples]).astype(np.float32)


@pytest.fixture(scope="module")
def posterior(run, inputs):
    return cluster_posterior(run, inputs, device="cpu")


def as_list(image):
    return image.ravel().tolist()


def part(page, name):
    return page.locator(f'[data-part="{name}"]')


def verdicts(page):
    return tuple(part(page, rule).inner_text() for rule in ("hard", "soft"))


def set_labels(page, n_labels):
    counts = page.evaluate("playground.labelCounts")
    part(page, "slider").fill(str(counts.index(n_labels)))


def place(box, u, v):
    """The point at shares u, v of a box's width and height."""
    return box["x"] + u * box["width"], box["y"] + v * box["height"]


def test_posterior_is_that_of_pytorch(playground, inputs, posterior):
    found = [playground.evaluate("x => playground.posterior(x)", as_list(x)) for x in inputs]
    np.testing.assert_allclose(found, posterior, atol=1e-3)
    assert posterior.max(axis=1).min() < 0.9  # not all are easy


def test_verdicts_are_those_of_the_decoders(playground, run, inputs, posterior):
    counts, affinity = (
        playground.evaluate("playground.labelCounts"),
        cluster_affinity(run.posterior),
    )
    assert counts == [n for n in label_counts(len(run.labels)) if n <= 14_560]
    for n in counts:
        index = draw_labelled(len(run.labels), n, seed=0)
        q, y = run.posterior[index], run.labels[index]
        expected = {
            "hard": HardDecoder().fit(q, y).predict(posterior),
            "soft": SoftDecoder().fit(q, y).predict(posterior),
            "graph": GraphDecoder(affinity).fit(q, y).predict(posterior),
        }
        for i, image in enumerate(inputs):
            found = playground.evaluate(
                "([image, n]) => playground.verdicts(image, n)", [as_list(image), n]
            )
            assert found == {rule: run.class_names[y[i]] for rule, y in expected.items()}, (n, i)


def test_figure_2_shows_hard_wrong_and_soft_right(browser, run):
    example = figure_2_example(run)
    hard, soft = (run.class_names[letter] for letter in (example.hard, example.soft))
    with open_playground(browser) as visit:
        page = visit.page
        part(page, "clear").click()
        part(page, "hint").wait_for(state="visible")
        part(page, "example").click()
        part(page, "results").wait_for(state="visible")
        assert verdicts(page) == (hard, soft)
        shown = part(page, "clusters").locator(".playground-name").all_inner_texts()
        assert shown == [f"c = {c}" for c in example.components]
        assert visit.faults == []


def test_letter_drawn_with_the_mouse(browser):
    with open_playground(browser) as visit:
        page = visit.page
        set_labels(page, 14_560)
        box = part(page, "canvas").bounding_box()
        corners = [(0.3, 0.2), (0.3, 0.8), (0.7, 0.8)]
        (x, y), *others = [place(box, *corner) for corner in corners]
        page.mouse.move(x, y)
        page.mouse.down()
        for x, y in others:
            page.mouse.move(x, y, steps=8)
        page.mouse.up()
        playwright_api.expect(part(page, "status")).to_contain_text("Your letter")
        assert verdicts(page) == ("l", "l")
        part(page, "clear").click()
        part(page, "hint").wait_for(state="visible")
        assert visit.faults == []


def test_letter_drawn_with_a_finger(browser):
    with open_playground(browser, size=PHONE, touch=True) as visit:
        page = visit.page
        assert page.evaluate("scrollY") == 0  # the example on show must not move the page
        set_labels(page, 14_560)
        part(page, "canvas").scroll_into_view_if_needed()
        box = part(page, "canvas").bounding_box()
        scrolled = page.evaluate("scrollY")
        hand = visit.context.new_cdp_session(page)

        def touch(kind, *points):
            places = [dict(zip("xy", place(box, *point), strict=True)) for point in points]
            hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

        stem = [(0.5, 0.2), (0.5, 0.5), (0.5, 0.8)]
        bar = [(0.25, 0.22), (0.5, 0.22), (0.75, 0.22)]
        for stroke in (stem, bar):
            touch("touchStart", stroke[0])
            for point in stroke[1:]:
                touch("touchMove", point)
            touch("touchEnd")
        playwright_api.expect(part(page, "status")).to_contain_text("Your letter")
        assert verdicts(page) == ("t", "t")
        # what it says is seen while one draws
        playwright_api.expect(part(page, "graph")).to_be_in_viewport(ratio=1)
        page.wait_for_timeout(500)  # not the second tap of a double one
        part(page, "undo").tap()
        playwright_api.expect(part(page, "status")).to_contain_text("Your letter")
        playwright_api.expect(part(page, "hard")).not_to_have_text("t")  # a bare stem
        assert page.evaluate("scrollY") == scrolled  # the finger drew and did not scroll
        part(page, "letters").get_by_role("button").last.tap()
        playwright_api.expect(part(page, "canvas")).to_be_in_viewport(ratio=1)
        assert visit.faults == []


def test_keyboard_reaches_everything(browser):
    with open_playground(browser) as visit:
        page = visit.page
        focused = "document.activeElement.dataset.part ?? document.activeElement.ariaLabel"
        part(page, "clear").focus()
        path = [page.evaluate(focused)]
        for _ in range(3):
            page.keyboard.press("Tab")
            path.append(page.evaluate(focused))
        assert path == ["clear", "example", "slider", "The letter a from a font"]
        page.keyboard.press("ArrowRight")  # one stop a gallery: arrows walk through it
        assert page.evaluate(focused) == "The letter b from a font"
        page.keyboard.press("End")
        assert page.evaluate(focused) == "The letter z from a font"
        page.keyboard.press("Home")

        page.keyboard.press("Enter")
        playwright_api.expect(part(page, "status")).to_contain_text("The letter a from a font")
        part(page, "slider").focus()
        before = part(page, "labels").inner_text()
        page.keyboard.press("ArrowRight")
        playwright_api.expect(part(page, "labels")).not_to_have_text(before)
        now = part(page, "labels").inner_text()
        assert part(page, "slider").get_attribute("aria-valuetext") == now
        playwright_api.expect(part(page, "status")).to_contain_text(now)
        assert part(page, "status").get_attribute("role") == "status"
        assert visit.faults == []


def test_page_is_light_and_quick(browser, inputs, capsys):
    with open_playground(browser) as visit:
        megabytes = sum(path.stat().st_size for path in visit.files()) / 1e6
        paint = visit.page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        )
        times = visit.page.evaluate(
            """images => images.map(image => {
                 const began = performance.now();
                 playground.verdicts(image, 73);
                 return performance.now() - began;
               })""",
            [as_list(image) for image in inputs],
        )
    with capsys.disabled():  # figures of this machine, and of what else it does: not asserted
        print(
            f"\nplayground: {megabytes:.1f} MB, first paint after {paint:.0f} ms, "
            f"answer in {np.median(times):.0f} ms (median of {len(times)})"
        )
    assert megabytes < MOST_MEGABYTES
