"""The interactive figures in Chromium, each on a page of its own: no book need be built.

What a figure's script computes must equal the library's answer to three decimals on fixed inputs.
"""

import json
import re

import interactive
import numpy as np
import pytest
import stills
from check_book import chromium

from gmvae_lib import GraphDecoder
from gmvae_lib.study import interactive as data
from gmvae_lib.study import labeller
from gmvae_lib.study.evidence import evidence

pytest.importorskip("playwright.sync_api")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")
if chromium() is None:
    pytest.skip(
        "no Chromium found: install it with `apt-get install chromium`", allow_module_level=True
    )

FIGURES = sorted(path.stem for path in interactive.SCRIPTS.glob("*.js") if path.stem != "common")
WIDE, PHONE = {"width": 752, "height": 900}, {"width": 390, "height": 844}
RESULTS = interactive.ROOT / "results"
MOST_KB = 150  # of a figure: data, script and still picture
MAY_WEIGH_MORE = {"labeller": 220, "map": 1000}


@pytest.fixture(scope="module")
def ev():
    return evidence(RESULTS)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return stills.site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def opened(browser, site):
    """Open a figure; faults of the page fail the test at its end."""
    faults, contexts = [], []

    def open_page(name, size=WIDE, theme="light", watched=True, **options):
        context = browser.new_context(viewport=size, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        if watched:
            page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.goto(stills.bare_page(name, site, theme).as_uri())
        page.wait_for_selector(f"#{name}[data-state=ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def packed(name):
    """The data of a figure as its page reads them."""
    text = (interactive.SCRIPTS / "data" / f"{name}.js").read_text(encoding="utf-8")
    return json.loads(text[text.index(" = ") + 3 : text.rindex(";")])


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figure_is_accessible_and_fits_a_phone(opened, name, theme):
    page = opened(name, PHONE, theme, watched=False)  # axe asks for files in vain
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    found = axe_api.Axe().run(page).response["violations"]
    assert [f"{fault['id']}: {n['html'][:99]}" for fault in found for n in fault["nodes"]] == []


@pytest.mark.parametrize("name", FIGURES)
def test_text_is_at_least_11_pixels_on_a_phone(opened, name):
    page = opened(name, PHONE)
    sizes = page.eval_on_selector_all(
        ".live svg text", "all => all.map(t => parseFloat(getComputedStyle(t).fontSize))"
    )
    assert not sizes or min(sizes) >= 11
    shrunk = page.eval_on_selector_all(
        ".live-body svg.live-chart",
        "all => all.map(s => s.getBoundingClientRect().width / s.viewBox.baseVal.width)",
    )
    assert all(scale > 0.99 for scale in shrunk)


def without_tails(text):
    """Numbers of a drawing to a pixel: the last digits depend on the processor."""
    return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.0f}", text)


@pytest.mark.parametrize("name", FIGURES)
def test_still_picture_is_what_the_figure_draws(opened, name):
    committed = (interactive.STILLS / f"{name}.svg").read_text(encoding="utf-8")
    page = opened(name, {"width": stills.WIDTH + 64, "height": 900})
    words = re.compile(r">([^<]+)<")
    assert words.findall(without_tails(stills.still(page, name))) == words.findall(
        without_tails(committed)
    )


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_light(site, name):
    files = [interactive.SCRIPTS / f"{name}.js", interactive.SCRIPTS / "data" / f"{name}.js"]
    files += [*interactive.STILLS.glob(f"{name}.*"), *interactive.SCRIPTS.glob(f"{name}.png")]
    kilobytes = sum(path.stat().st_size for path in files) / 1e3
    assert kilobytes < MAY_WEIGH_MORE.get(name, MOST_KB)


# You are the labeller


def graph_accuracy(found, labels):
    """Accuracy of the graph decoder on what the page was given: labels are (which, name)."""
    K = found["affinity"]["shape"][0]
    asked, sample = (labeller.unpacked_posterior(found[key], K) for key in ("asked", "sample"))
    which, names = np.array(labels).T
    decoder = GraphDecoder(labeller.unpacked_affinity(found["affinity"])).fit(asked[which], names)
    return (decoder.predict(sample) == labeller._unpack(found["sample"]["truth"])).mean(), decoder


def test_labeller_answers_as_the_graph_decoder(opened):
    page, found = opened("labeller"), packed("labeller")
    truth = labeller._unpack(found["asked"]["truth"]).astype(int)
    for n in (1, 7, 40, 100):
        labels = [[i, int(truth[i])] for i in range(n)]
        if n == 40:
            labels[3][1], labels[20] = 25, [41, int(truth[41])]  # a slip, and a letter passed over
        expected, decoder = graph_accuracy(found, labels)
        table = page.evaluate("labels => live.labeller.tableOf(labels)", labels)
        np.testing.assert_allclose(table, decoder.label_given_component_.T, atol=5e-4)
        accuracy = page.evaluate("labels => live.labeller.accuracyOf(labels)", labels)
        assert accuracy == pytest.approx(expected, abs=5e-4)


def test_sample_stands_for_all_letters(ev):
    from gmvae_lib.label.decoding import cluster_affinity
    from gmvae_lib.label.neighbours import smooth_posterior

    found = packed("labeller")
    index = labeller.asked_letters(ev.run, RESULTS / "figures" / "live")
    q, y = smooth_posterior(ev.run.posterior, ev.run.extra["neighbours"]), ev.run.labels
    for n in (10, 40, 100):
        decoder = GraphDecoder(cluster_affinity(q)).fit(q[index[:n]], y[index[:n]])
        others = np.setdiff1d(np.arange(len(y)), index[:n])
        everywhere = (decoder.predict(q[others]) == y[others]).mean()
        sampled, _ = graph_accuracy(found, [(i, y[index[i]]) for i in range(n)])
        assert sampled == pytest.approx(everywhere, abs=0.005)


def test_forty_letters_named_with_the_keyboard(opened):
    page, found = opened("labeller"), packed("labeller")
    truth = labeller._unpack(found["asked"]["truth"]).astype(int)
    page.get_by_role("group", name="Your guess").get_by_role("button", name="150").click()
    for letter in truth[:40]:
        page.keyboard.type(found["class_names"][letter])
    expected, _ = graph_accuracy(found, [(i, truth[i]) for i in range(40)])
    assert page.locator(".labeller-big").inner_text() == f"{100 * expected:.0f}\u00a0%"
    sentence = page.locator(".labeller-sentence").inner_text()
    assert sentence.startswith(f"40 letters named: {100 * expected:.0f}\u00a0% of the other 99,960")
    for name, words in (("xgboost", "XGBoost gets"), ("network", "the other letters")):
        curve = found["baselines"][name]
        mean = np.interp(np.log(40), np.log(curve["n"]), curve["accuracy"])
        assert page.evaluate(f"live.labeller.baseline('{name}', 40)") == pytest.approx(mean)
        assert f"{words} {100 * mean:.0f}\u00a0%" in sentence
    assert "your guess was 150" in page.locator(".live-answer").inner_text()
    page.keyboard.press("Backspace")
    assert page.locator(".labeller-sentence").inner_text().startswith("39 letters named")
    assert page.locator(".labeller-own").count() > 20


def test_letters_named_with_a_finger(opened):
    page = opened("labeller", PHONE, has_touch=True)
    names = packed("labeller")["class_names"]
    for which in page.evaluate("live.labeller.truth.slice(0, 5)"):
        page.locator(".labeller-keys button").nth(which).tap()
    assert page.locator(".labeller-sentence").inner_text().startswith("5 letters named")
    page.get_by_role("button", name="Pass").tap()
    assert page.locator(".labeller-sentence").inner_text().startswith("5 letters named")
    assert "Letter 7 of 100" in page.locator(".labeller-where").inner_text()
    assert len(names) == page.locator(".labeller-keys button").count()


# the directive and its files


def test_data_are_those_of_the_results(ev):
    found = data.figure_data(RESULTS)
    assert sorted(found) == FIGURES
    for name in FIGURES:
        assert packed(name) == json.loads(json.dumps(found[name]))


def test_figure_without_a_still_picture_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.svg: not found, expected what tools"):
        interactive.opening("nothing", "", "alt", tmp_path)


def test_page_of_a_folder_finds_the_scripts():
    text = interactive.opening("labeller", "../", "alt") + interactive.closing("labeller", "../")
    assert text.count('"../figures/') == 5  # style, picture, scripts
    assert text.count("<svg") == 1
