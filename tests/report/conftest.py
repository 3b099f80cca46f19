"""A page in a browser without a network, and the images that the pages of these tests show."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from gmvae_lib.data.image_set import ImageSet

EVIL = "<img src=x onerror=alert(1)>&\"'</script>"
DESKTOP = {"width": 1280, "height": 900}


class Opened:
    """A page in a browser, or in a further tab of ``beside``, and what went wrong on it."""

    def __init__(self, browser, path, size=DESKTOP, theme="light", touch=False, beside=None):
        self.faults = [] if beside is None else beside.faults
        self.own = beside is None
        self.context = (
            browser.new_context(viewport=size, color_scheme=theme, has_touch=touch, is_mobile=touch)
            if self.own
            else beside.context
        )
        self.context.set_default_timeout(60_000)
        self.context.set_offline(True)
        self.browser, self.path = browser, Path(path)
        self.open()

    def open(self, path=None):
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("console", self._console)
        self.page.on("request", self._request)
        self.page.goto(Path(path or self.path).as_uri())
        return self.page

    def tab(self, path=None):
        return Opened(self.browser, path or self.path, beside=self)

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

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def saved(self, button="#save"):
        """What a button downloads, as text."""
        with self.page.expect_download() as download:
            self.page.click(button)
        return Path(download.value.path()).read_bytes().decode()

    def labels(self):
        """{row: label} of the CSV that the page saves."""
        rows = csv.DictReader(io.StringIO(self.saved(), newline=""), strict=True)
        return {int(row["index"]): row["label"] for row in rows if row["label"]}

    def captions(self, of="#all"):
        return self.page.eval_on_selector_all(f"{of} span", "all => all.map(s => s.textContent)")


@pytest.fixture
def visit(browser):
    """A function that opens a page as `Opened` does; what it opened is closed in the end."""
    pytest.importorskip("playwright.sync_api")
    opened = []

    def visit(path, **options):
        opened.append(Opened(browser, path, **options))
        return opened[-1]

    yield visit
    for page in opened:
        page.context.close()
        assert page.faults == []


def image_set(n=120, colour=False, names=None, name=EVIL):
    """Images of three kinds of bright squares."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 30, (n, 12, 12), dtype=np.uint8)
    for i, place in enumerate(np.arange(n) % 3):
        images[i, 4 * place : 4 * place + 4, 2:10] += 180
    if colour:
        images = np.stack([images, images // 2, images // 3], axis=3)
    extra = {} if names is None else {"path": np.array(names)}
    return ImageSet(images, provenance={"name": name}, extra=extra)


@pytest.fixture(scope="session")
def images_of_squares():
    return image_set


@pytest.fixture(scope="session")
def evil_set():
    return image_set(names=[f"{EVIL}/{i}.png" for i in range(120)])


@pytest.fixture(scope="session")
def posterior():
    """q of the 120 images over six clusters, two for each kind, all pure: image i is of cluster
    i % 6, and of kind i % 3."""
    q = np.full((120, 6), 0.01, np.float32)
    rows = np.arange(120)
    q[rows, rows % 6] = 0.9
    q[rows, (rows + 3) % 6] = 0.06
    return q / q.sum(axis=1, keepdims=True)
