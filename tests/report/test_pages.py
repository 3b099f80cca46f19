"""The pages for labelling and for the report: what they hold, and what a browser makes of them."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from check_book import chromium

from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.labels import guard, read_marked_labels
from gmvae_lib.report.findings import examine
from gmvae_lib.report.label_page import label_page
from gmvae_lib.report.report_page import report_page
from gmvae_lib.report.thumbnails import data_uri

EVIL = "<img src=x onerror=alert(1)>&\"'</script>"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def image_set(n=120, colour=False, names=None):
    """Images of three kinds of bright squares."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 30, (n, 12, 12), dtype=np.uint8)
    for i, place in enumerate(np.arange(n) % 3):
        images[i, 4 * place : 4 * place + 4, 2:10] += 180
    if colour:
        images = np.stack([images, images // 2, images // 3], axis=3)
    extra = {} if names is None else {"path": np.array(names)}
    return ImageSet(images, provenance={"name": EVIL}, extra=extra)


@pytest.fixture(scope="module")
def evil_set():
    return image_set(names=[f"{EVIL}/{i}.png" for i in range(120)])


@pytest.fixture(scope="module")
def table():
    reasons = [f"typical of cluster {i}, {EVIL}" for i in range(5)] + ["drawn at random"]
    return pd.DataFrame({"index": [7, 3, 99, 0, 14, 21], "cluster": 0, "reason": reasons})


def findings_of(images, names=("bolt", "nut", EVIL), n=40):
    """A report on posteriors that know the three kinds, and on names given at random."""
    kind = np.arange(len(images)) % 3
    q = np.full((len(images), 6), 0.02, np.float32)
    q[np.arange(len(images)), kind] = 0.9
    neighbours = (np.arange(len(images))[:, None] + 3 * np.arange(1, 6)) % len(images)
    index = np.random.default_rng(1).permutation(len(images))[:n]
    y = np.array(names)[kind[index]]
    return examine(q, neighbours, index, y, np.ones(n, bool))


@pytest.fixture(scope="module")
def pages(tmp_path_factory, evil_set, table):
    """Both pages as files: {name: path}."""
    folder = tmp_path_factory.mktemp("pages")
    report = report_page(evil_set, findings_of(evil_set), f"runs/{EVIL}", EVIL, EVIL, [EVIL])
    for name, text in {"label": label_page(evil_set, table), "report": report}.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["label", "report"])
def test_names_and_labels_cannot_become_markup(pages, name):
    text = pages[name].read_text(encoding="utf-8")
    soup = BeautifulSoup(text, "html.parser")
    assert soup.find_all(onerror=True) == [] and "<img src=x" not in text
    assert len(soup.find_all("script")) == (2 if name == "label" else 0)
    assert EVIL in soup.title.text
    addresses = [tag.get("src") or tag.get("href") for tag in soup.find_all(["img", "link", "a"])]
    assert all(re.match("data:|#", address or "#") for address in addresses)
    assert soup.html["lang"] == "en"
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert all(soup.find(id=a["href"][1:]) for a in soup.find_all("a"))
    assert all(image.has_attr("alt") for image in soup.find_all("img"))


def test_label_page_holds_the_images_in_the_order_of_the_table(evil_set, table):
    soup = BeautifulSoup(label_page(evil_set, table), "html.parser")
    data = json.loads(soup.find(id="data").string)
    assert data["sha256"] == evil_set.provenance["sha256"]
    assert [item["index"] for item in data["items"]] == table["index"].tolist()
    assert data["items"][0]["name"] == f"{EVIL}/7.png"
    assert data["items"][2]["src"] == data_uri(evil_set.images[99])


def test_pages_of_colour_pictures(table):
    images = image_set(colour=True)
    assert "data:image/png" in label_page(images, table)
    page = report_page(images, findings_of(images), "run", "images", "labels")
    assert "data:image/jpeg" in page and "data:image/png" not in page


def test_report_is_light_for_many_large_colour_pictures():
    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=(1000, 96, 96, 3), dtype=np.uint8)  # the hardest to pack
    q = rng.dirichlet(np.full(100, 0.02), 1000).astype(np.float32)
    neighbours = rng.integers(1000, size=(1000, 10))
    index = np.arange(200)
    found = examine(q, neighbours, index, index % 10, np.ones(200, bool))
    assert len(report_page(ImageSet(noise), found, "run", "images", "labels")) < 3e6


def test_report_with_one_label_and_with_all_labelled():
    images = image_set(n=12)
    for n, name in ((1, "bolt"), (12, "bolt")):
        page = report_page(images, findings_of(images, (name,) * 3, n), "run", "images", "labels")
        assert "All labels are the same" in page and "nan" not in page


# ------------------------------------------------------------------- in a browser

playwright_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = chromium()
in_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium found: install it with `apt-get install chromium`"
)


class Opened:
    """A page in a browser without a network, and what went wrong on it."""

    def __init__(self, browser, path, size=DESKTOP, theme="light"):
        self.faults = []
        self.context = browser.new_context(viewport=size, color_scheme=theme)
        self.context.set_default_timeout(60_000)
        self.context.set_offline(True)
        self.path = Path(path)
        self.open()

    def open(self):
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.goto(self.path.as_uri())
        return self.page

    def _console(self, message):
        if message.type == "error":
            self.faults.append(message.text)

    def _request(self, request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.faults.append(request.url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def type(self, *labels):
        for label in labels:
            self.page.keyboard.type(label)
            self.page.keyboard.press("Enter")

    def saved(self):
        with self.page.expect_download() as download:
            self.page.click("#save")
        return Path(download.value.path()).read_bytes()


@in_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["label", "report"])
def test_page_is_accessible_and_fits(browser, pages, name, size, theme):
    axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")
    with Opened(browser, pages[name], size, theme) as opened:
        if name == "label":
            opened.type("bolt", "nut")
        found = axe_api.Axe().run(opened.page).response["violations"]
        faults = [
            f"{fault['id']}: {node['html'][:120]}" for fault in found for node in fault["nodes"]
        ]
        assert faults == [] and opened.faults == []
        width = opened.page.evaluate("document.documentElement.scrollWidth")
        assert width <= size["width"]
        shown = "all => all.every(i => i.complete && i.naturalWidth > 0)"
        assert opened.page.eval_on_selector_all("img", shown)


@in_browser
def test_labels_typed_clicked_skipped_and_undone_arrive_in_the_csv(browser, pages, table, tmp_path):
    with Opened(browser, pages["label"]) as opened:
        page = opened.page
        opened.type('nut, "small"', "=SUM(A1)")
        page.get_by_role("button", name="Label it nut").click()
        page.click("#skip")
        opened.type("wrong")
        page.click("#undo")
        opened.type("-")
        (tmp_path / "labels.csv").write_bytes(opened.saved())
        assert opened.faults == []
    lines, labels, at_random = read_marked_labels(tmp_path / "labels.csv")
    expected = {
        7: 'nut, "small"',
        3: "=SUM(A1)",
        99: 'nut, "small"',
        14: "-",
    }
    assert dict(zip(lines, labels, strict=True)) == expected
    assert not any(at_random)
    text = (tmp_path / "labels.csv").read_bytes().decode()
    assert "\r\n3,'=SUM(A1)," in text and text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert [row["reason"] for row in rows] == [
        table.set_index("index")["reason"][int(row["index"])] for row in rows
    ]


@in_browser
def test_labels_are_there_again_when_the_page_is_opened_again(browser, pages):
    with Opened(browser, pages["label"]) as opened:
        opened.type("bolt", "nut")
        first = opened.saved()
        opened.page.close()
        page = opened.open()
        assert "2 of 6 labelled" in page.inner_text("#all-title")
        assert page.inner_text("#place") == "3 of 6"
        assert opened.saved() == first


@in_browser
def test_labels_given_before_are_saved_with_the_new_ones(browser, evil_set, table, tmp_path):
    known = {50: ("bolt", "drawn at random"), 51: ("=x", "")}
    (tmp_path / "label.html").write_text(label_page(evil_set, table, known), encoding="utf-8")
    with Opened(browser, tmp_path / "label.html") as opened:
        assert opened.page.inner_text("#all-title") == "0 of 6 labelled, and 2 before"
        opened.page.get_by_role("button", name="Label it bolt").click()
        (tmp_path / "labels.csv").write_bytes(opened.saved())
        assert opened.faults == []
    lines, labels, at_random = read_marked_labels(tmp_path / "labels.csv")
    assert list(lines) == [7, 50, 51]
    assert (labels, at_random) == (["bolt", "bolt", "=x"], [False, True, False])


@in_browser
def test_one_key_labels(browser, pages):
    with Opened(browser, pages["label"]) as opened:
        page = opened.page
        opened.type("bolt", "nut")
        page.keyboard.press("Escape")
        for key in ("n", "b", " ", "Backspace"):
            page.keyboard.press(key)
        cells = page.eval_on_selector_all("#all span", "all => all.map(s => s.textContent)")
        assert cells == ["bolt", "nut", "nut", "bolt", "", ""]
        page.keyboard.press("Enter")  # a new label takes words
        opened.type("pin")
        cells = page.eval_on_selector_all("#all span", "all => all.map(s => s.textContent)")
        assert cells[4] == "pin"
        page.keyboard.press("p")
        assert page.inner_text("#all-title").startswith("6 of 6")


@in_browser
def test_page_and_library_guard_the_same_labels(browser, pages):
    labels = ["a", "=1", "-", "+1", "-x", "@", "'=", "''-y", "'a", "1-2", "+1.5", "-1e9"]
    source = re.search(r"function guard.*?\n  }", pages["label"].read_text(), re.S)[0]
    with Opened(browser, pages["label"]) as opened:
        found = opened.page.evaluate(f"labels => {{ {source}; return labels.map(guard); }}", labels)
    assert found == [guard(label) for label in labels]
