"""The report: what it holds, and labels corrected on it."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup

from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.labels import AT_RANDOM
from gmvae_lib.data.shards import ShardedImages
from gmvae_lib.report.findings import examine
from gmvae_lib.report.report_page import report_page

EVIL = "<img src=x onerror=alert(1)>&\"'</script>"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def findings_of(images, names=("bolt", "nut", EVIL), n=40, wrong=0):
    """A report on posteriors that know the three kinds, and on labels given at random."""
    kind = np.arange(len(images)) % 3
    q = np.full((len(images), 6), 0.02, np.float32)
    q[np.arange(len(images)), kind] = 0.9
    neighbours = (np.arange(len(images))[:, None] + 3 * np.arange(1, 6)) % len(images)
    index = np.random.default_rng(1).permutation(len(images))[:n]
    kind[index[:wrong]] = (kind[index[:wrong]] + 1) % 3
    y = np.array(names)[kind[index]]
    return examine(q, neighbours, index, y, np.ones(n, bool))


def test_a_cluster_that_its_neighbours_outvote_says_so(evil_set):
    found = findings_of(evil_set)
    first = found.clusters.iloc[0]
    inside, other = found.component == first["component"], (first["name"] + 1) % 3
    proba = found.proba.copy()
    proba[inside] = np.eye(3)[other]
    for findings, said in ((found, False), (replace(found, proba=proba), True)):
        page = report_page(evil_set, findings, "run", "images", "labels.csv")
        card = BeautifulSoup(page, "html.parser").find(id=f"c{first['component']}")
        assert card.h3.text.startswith(found.classes[first["name"]])
        sentence = f"most of its images are predicted to be {found.classes[other]}"
        assert (sentence in card.text) == said


@pytest.fixture(scope="module")
def findings(evil_set):
    return findings_of(evil_set, wrong=2)


@pytest.fixture(scope="module")
def page(tmp_path_factory, evil_set, findings):
    path = tmp_path_factory.mktemp("pages") / "report.html"
    text = report_page(evil_set, findings, f"runs/{EVIL}", EVIL, EVIL, [EVIL])
    path.write_text(text, encoding="utf-8")
    return path


def test_names_and_labels_cannot_become_markup(page):
    text = page.read_text(encoding="utf-8")
    soup = BeautifulSoup(text, "html.parser")
    assert soup.find_all(onerror=True) == [] and "<img src=x" not in text
    assert len(soup.find_all("script")) == 2 and EVIL in soup.title.text
    addresses = [tag.get("src") or tag.get("href") for tag in soup.find_all(["img", "link", "a"])]
    assert all(re.match("data:|#", address or "#") for address in addresses)
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    assert all(soup.find(id=a["href"][1:]) for a in soup.find_all("a"))
    assert all(image.has_attr("alt") for image in soup.find_all("img"))


def test_percentages_have_one_form(page):
    text = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").get_text(" ")
    assert re.search(r"\d%", text) and not re.search(r"\d %", text)


def test_pictures_in_question_are_named_by_their_files(page, findings):
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    shown = {int(li["data-row"]): li.text for li in soup.select("li[data-row]")}
    rows = {*findings.contradicted["index"], *findings.doubtful, *findings.next_to_label}
    assert set(shown) == rows and len(findings.contradicted) == 2
    assert all(f"{EVIL}/{row}.png" in text for row, text in shown.items())


def test_report_is_light_for_many_large_colour_pictures():
    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=(1000, 96, 96, 3), dtype=np.uint8)  # the hardest to pack
    q = rng.dirichlet(np.full(100, 0.02), 1000).astype(np.float32)
    neighbours = rng.integers(1000, size=(1000, 10))
    index = np.arange(200)
    found = examine(q, neighbours, index, index % 10, np.ones(200, bool))
    assert len(report_page(ImageSet(noise), found, "run", "images", "labels")) < 3e6


def test_report_with_one_label_and_with_all_labelled(images_of_squares):
    images = images_of_squares(n=12)
    for n, name in ((1, "bolt"), (12, "bolt")):
        page = report_page(images, findings_of(images, (name,) * 3, n), "run", "images", "labels")
        assert "All labels are the same" in page and "nan" not in page


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_report_on_arrays_on_disk(kind, tmp_path, images_of_squares):
    images = images_of_squares(colour=True).images
    np.save(tmp_path / "a.npy", images if kind == "uint8" else np.float32(images / 255))
    shards = ShardedImages(tmp_path)
    page = report_page(shards, findings_of(shards), "run", "images", "labels")
    assert page.count("<img ") > 30


# ------------------------------------------------------------------- in a browser


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_is_accessible_and_fits(visit, page, size, theme):
    axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = visit(page, size=size, theme=theme, touch=size is PHONE)
    opened.page.locator("li[data-row] button").first.click()
    found = axe_api.Axe().run(opened.page).response["violations"]
    assert [f"{fault['id']}: {n['html'][:120]}" for fault in found for n in fault["nodes"]] == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    shown = "all => all.every(i => i.complete && i.naturalWidth > 0)"
    assert opened.page.eval_on_selector_all("img", shown)


def test_corrections_are_saved_with_all_other_labels(visit, page, evil_set, findings):
    opened = visit(page)
    assert not opened.page.is_visible("#changes")
    wrong, other = (int(row) for row in findings.contradicted["index"])
    doubtful = int(findings.doubtful[0])
    boxes = opened.page.locator
    boxes(f"li[data-row='{wrong}'] input").first.fill("nut")
    boxes(f"li[data-row='{other}'] input").first.fill("")  # no label at all
    boxes(f"li[data-row='{doubtful}'] button").first.click()
    assert opened.page.inner_text("#changes-count") == "3 labels"
    rows = list(csv.DictReader(io.StringIO(opened.saved(), newline=""), strict=True))
    said = {int(row["index"]): row["label"] for row in rows}
    expected = dict(zip(findings.index.tolist(), findings.classes[findings.given], strict=True))
    del expected[other]
    likeliest = findings.classes[findings.proba[doubtful].argmax()]
    assert said == expected | {wrong: "nut", doubtful: likeliest}
    by_row = {int(row["index"]): row for row in rows}
    assert by_row[wrong]["digest"] == evil_set.digests[wrong]
    assert by_row[wrong]["reason"] == AT_RANDOM and "doubtful" in by_row[doubtful]["reason"]
    opened.page.click("#forget")
    assert not opened.page.is_visible("#changes")


def test_rows_of_the_file_without_a_class_are_saved_too(visit, evil_set, findings, tmp_path):
    known = {3: ("bolt", "typical"), 4: ("", "unsure; typical")}
    text = report_page(evil_set, findings, "run", "images", "labels", known=known)
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    opened = visit(tmp_path / "report.html")
    row = next(int(i) for i in findings.doubtful if i not in known)
    opened.page.locator(f"li[data-row='{row}'] button").first.click()
    lines = opened.saved().splitlines()
    assert len(lines) == 4 and any(line.endswith(",,unsure; typical") for line in lines)
