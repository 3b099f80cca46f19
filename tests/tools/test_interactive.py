"""The interactive figures in Chromium, each on a page of its own: no book need be built.

What a figure's script computes must equal the library's answer to three decimals on fixed inputs.
"""

import json
import re

import interactive
import numpy as np
import pandas as pd
import pytest
from check_book import chromium

from gmvae_lib import GraphDecoder, HardDecoder, SoftDecoder, bounds
from gmvae_lib.label.neighbours import NeighbourDecoder, neighbour_graph
from gmvae_lib.study import interactive as data
from gmvae_lib.study import labeller
from gmvae_lib.study.evidence import evidence
from gmvae_lib.study.experiments import summarise
from gmvae_lib.study.labeller import unpack
from gmvae_lib.study.latent_maps import load_maps
from gmvae_lib.study.metrics import labels_at_accuracy

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
    return interactive.site(tmp_path_factory.mktemp("site"))


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
        page.goto(interactive.bare_page(name, site, theme).as_uri())
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
    page = opened(name, {"width": interactive.WIDTH + 64, "height": 900})
    words = re.compile(r">([^<]+)<")
    assert words.findall(without_tails(interactive.still(page, name))) == words.findall(
        without_tails(committed)
    )


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_light(site, name):
    files = [interactive.SCRIPTS / f"{name}.js", interactive.SCRIPTS / "data" / f"{name}.js"]
    files += [*interactive.STILLS.glob(f"{name}*")]
    kilobytes = sum(path.stat().st_size for path in files) / 1e3
    assert kilobytes < MAY_WEIGH_MORE.get(name, MOST_KB)


# You are the labeller


def graph_accuracy(found, labels):
    """Accuracy of the graph decoder on what the page was given: labels are (which, name)."""
    K = found["affinity"]["shape"][0]
    asked, sample = (labeller.unpacked_posterior(found[key], K) for key in ("asked", "sample"))
    which, names = np.array(labels).T
    decoder = GraphDecoder(labeller.unpacked_affinity(found["affinity"])).fit(asked[which], names)
    return (decoder.predict(sample) == unpack(found["sample"]["truth"])).mean(), decoder


def test_labeller_answers_as_the_graph_decoder(opened):
    page, found = opened("labeller"), packed("labeller")
    truth = unpack(found["asked"]["truth"]).astype(int)
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
    truth = unpack(found["asked"]["truth"]).astype(int)
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


# the coupon collector


@pytest.mark.parametrize("kind", ["equal", "real"])
def test_collector_expects_what_the_bounds_say(opened, ev, kind):
    page = opened("collector")
    shares = bounds.cluster_table(ev.run.posterior, ev.run.labels).weights
    shares = shares if kind == "real" else np.full(len(shares), 1 / len(shares))
    for n in (1, 73, 291, 1699):
        missed = bounds.expected_missing_mass(shares, n)
        found = page.evaluate("([k, n]) => live.collector.expectedReached(k, n)", [kind, n])
        assert found == pytest.approx(1 - missed, abs=5e-4)
        covered = (1 - (1 - shares) ** n).sum()
        found = page.evaluate("([k, n]) => live.collector.expectedCovered(k, n)", [kind, n])
        assert found == pytest.approx(covered, abs=5e-2)  # of a hundred clusters


@pytest.mark.parametrize("kind", ["equal", "real"])
def test_collections_end_where_the_exact_law_says(opened, ev, kind):
    page = opened("collector")
    shares = bounds.cluster_table(ev.run.posterior, ev.run.labels).weights
    of = len(shares) if kind == "equal" else shares
    times = page.evaluate("k => live.collector.collections(k, 1000, 3)", kind)
    for n in (bounds.labels_to_cover(of, 0.5), bounds.labels_to_cover(of, 0.95)):
        p = bounds.coverage_probability(of, int(n))
        # 1,000 runs: five standard deviations
        assert np.mean(np.array(times) <= n) == pytest.approx(
            p, abs=5 * (p * (1 - p) / 1000) ** 0.5
        )


def test_collector_counts_what_it_draws(opened):
    page, found = opened("collector"), packed("collector")
    page.get_by_role("button", name="100", exact=True).last.click()
    state = page.evaluate("live.collector.state()")
    votes, shares = np.array(state["votes"]), np.array(found["shares"])
    letters = unpack(found["letters"])
    has = votes.any(axis=1)
    assert (state["n"], state["covered"]) == (100, has.sum()) == (votes.sum(), has.sum())
    assert state["reached"] == pytest.approx(shares[has].sum(), abs=1e-6)
    named = letters[np.arange(len(votes)), votes.argmax(axis=1)]
    assert state["right"] == pytest.approx((shares * named)[has].sum(), abs=1e-4)
    page.get_by_role("button", name="labels chosen").click()
    page.get_by_role("button", name="until all").click()
    assert page.evaluate("live.collector.state()")["n"] == len(shares)
    guess = page.get_by_role("group", name="Your guess")
    guess.get_by_role("button", name="875").click()
    assert f"{found['cover']['real']:,}" in guess.get_by_role("status").inner_text()


# hard against soft


def test_triangle_answers_as_the_decoders(opened):
    page = opened("triangle")
    grid = [[i, j, 20 - i - j] for i in range(21) for j in range(21 - i)]
    q = (np.array(grid) + [0.31, 0.17, 0.23]) / (20 + 0.71)  # no ties
    given = [{"q": q, "y": y} for q, y in zip(data.EXAMPLE["q"], data.EXAMPLE["y"], strict=True)]
    more = [*given, {"q": [0.2, 0.2, 0.6], "y": "c"}, {"q": [0.3, 0.1, 0.6], "y": "e"}]
    more += [{"q": [0.1, 0.25, 0.65], "y": "e"}]
    for labels in (given, more):
        known = np.array([each["q"] for each in labels]), [each["y"] for each in labels]
        rules = {
            "hard": HardDecoder(fallback="nearest"),
            "none": HardDecoder(fallback="none"),
            "soft": SoftDecoder(),
        }
        found = page.evaluate(
            "([all, labels]) => all.map(q => live.triangle.verdicts(q, labels))",
            [q.tolist(), labels],
        )
        for rule, decoder in rules.items():
            expected = decoder.fit(*known).predict(q)
            assert [each[rule] for each in found] == expected.tolist(), rule
        soft = rules["soft"].class_mean_ @ q.T
        np.testing.assert_allclose([each["similarity"] for each in found], soft.T, atol=5e-4)


@pytest.mark.parametrize("rule", ["hard", "soft"])
def test_areas_hold_the_verdicts(opened, rule):
    page = opened("triangle")
    q = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    areas = page.evaluate("rule => live.triangle.areaOf(rule, true)", rule)
    found = page.evaluate("all => all.map(q => live.triangle.verdicts(q))", q.tolist())

    def inside(polygon, point):  # crossings of a ray
        x, y = np.array(polygon)[:, 0], np.array(polygon)[:, 1]
        x0, y0 = np.roll(x, 1), np.roll(y, 1)
        crosses = (y > point[1]) != (y0 > point[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            at = x0 + (point[1] - y0) * (x - x0) / (y - y0)
        return (crosses & (at > point[0])).sum() % 2 == 1

    for point, verdict in zip(q, found, strict=True):
        holding = [a["letter"] for a in areas if a["polygon"] and inside(a["polygon"], point)]
        assert holding == [verdict[rule]]


def test_picture_is_dragged_and_moved_by_keys(opened):
    page = opened("triangle")
    handle = page.locator(".triangle-handle[data-rule=hard]")
    assert handle.get_attribute("aria-valuetext") == (
        "cluster 0 10\u00a0%, cluster 1 30\u00a0%, cluster 2 60\u00a0%: e"
    )
    page.get_by_role("button", name="nothing").click()  # the guess takes the fallback away
    assert handle.get_attribute("aria-valuetext").endswith(": c")
    handle.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuetext").endswith(": e")
    box = page.locator(".triangle-panels svg").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] - 40, steps=4)
    page.mouse.up()
    assert int(handle.get_attribute("aria-valuenow")) > 90


# Figure 3


def test_front_reads_labels_as_the_metrics_do(opened, ev):
    page = opened("front")
    for method in ("neighbours", "soft", "convolutional net", "xgboost"):
        rows = summarise(ev.sweep[ev.sweep["method"] == method])
        for target in (0.3, 0.655, 0.8):
            expected = labels_at_accuracy(rows["n_labels"], rows["mean"], target)
            found = page.evaluate("([m, t]) => live.front.needed(m, t)", [method, target])
            assert found == pytest.approx(expected, rel=1e-3)
        found = page.evaluate("m => live.front.at(m, 200)", method)
        expected = np.interp(np.log(200), np.log(rows["n_labels"]), rows["mean"])
        assert found == pytest.approx(expected, abs=5e-4)
    assert page.evaluate("live.front.needed('soft', 0.99)") is None


def test_accuracy_line_is_dragged_and_slid(opened):
    page = opened("front")
    assert page.locator(".front-table").is_hidden()  # the reader guesses first
    page.get_by_role("group", name="Your guess").get_by_role("button", name="35 times").click()
    rows = page.locator(".front-table tbody tr")
    before = rows.all_inner_texts()
    slider = page.get_by_role("slider")
    slider.fill("60")
    assert slider.get_attribute("aria-valuetext") == "60\u00a0%"
    assert rows.all_inner_texts() != before
    grip = page.locator(".front-grip").bounding_box()
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 50, steps=4)
    page.mouse.up()
    assert int(slider.input_value()) < 55
    page.get_by_role("button", name="K = 200").click()
    assert "K = 200" in rows.last.inner_text()


# the floor


def test_floor_reads_what_theory_says(opened):
    page = opened("floor")
    table = pd.read_csv(RESULTS / "theory.csv")
    for (model, kind, rule), rows in table.groupby(["model", "kind", "rule"]):
        rows = rows.sort_values("n_labels")
        for n in (7, 50, 291):
            expected = np.interp(np.log(n), np.log(rows["n_labels"]), rows["value"])
            found = page.evaluate("all => live.floor.read(...all)", [model, kind, rule, n])
            assert found == pytest.approx(expected, abs=5e-4)


def test_floor_says_what_it_draws(opened):
    page, found = opened("floor"), packed("floor")
    page.get_by_role("button", name="the article's recipe").click()
    page.get_by_role("button", name="soft").click()
    said = page.locator("p[role=status]").inner_text()
    of = found["the article's recipe"]
    at = of["n"].index(73)
    for value in (of["measured"]["soft"]["value"][at], of["predicted"]["ceiling"]["value"][at]):
        assert f"{100 * value:.1f}\u00a0%" in said


# the latent map


def test_labels_spread_as_in_the_library(opened, ev):
    page = opened("map")
    maps = load_maps(RESULTS / "latent_maps.npz", ev.run)
    y, n_classes = ev.run.labels[maps.index], len(ev.run.class_names)
    rows = np.array(packed("map")["typical"][:40:2])
    given = [[int(i), int(y[i])] for i in rows]
    sources = np.zeros((len(y), n_classes), dtype=np.float32)
    sources[rows, y[rows]] = 1
    decoder = NeighbourDecoder(np.ones((len(y), 1)), neighbour_graph(maps.neighbours))
    expected = decoder.fit(rows, y[rows])
    found = page.evaluate("given => live.map.nearness(given)", given)
    found = np.reshape(found, (-1, n_classes))
    np.testing.assert_allclose(found[:, expected.classes_], expected.near_, atol=5e-4)
    called = np.array(page.evaluate("given => live.map.namesOf(given)", given))
    near = expected.near_.sum(axis=1) > 1e-9
    counts = np.bincount(y[rows], minlength=n_classes)[expected.classes_]
    density = (expected.near_ + 1 / len(y)) / (counts + 1)
    best = np.sort(density, axis=1)
    clear = near & (best[:, -1] - best[:, -2] > 1e-6)  # where rounding cannot decide
    assert clear.mean() > 0.5
    answers = expected.classes_[density.argmax(axis=1)]
    np.testing.assert_array_equal(called[clear], answers[clear])


def test_letters_on_the_map_are_typical_of_their_clusters(opened, ev):
    page = opened("map")
    assert page.locator(".map-thumbnail").count() > 20
    page.get_by_role("button", name="label ten clusters").click()
    assert page.locator(".map-thumbnail").count() == 0  # names take their place
    maps = load_maps(RESULTS / "latent_maps.npz", ev.run)
    typical = data.typical_letters(ev.run, maps)
    assert (typical >= 0).sum() > 90
    shown = json.loads((RESULTS / "figures" / "live" / "map-letters.json").read_text())["index"]
    assert shown == np.where(typical < 0, -1, maps.index[typical]).tolist()


def test_point_of_the_map_is_labelled_by_touch_and_by_key(opened):
    page = opened("map", PHONE, has_touch=True)
    box = page.locator(".map-chart").bounding_box()
    page.touchscreen.tap(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
    assert page.locator("p[role=status]").inner_text().startswith("1 label spread")
    page.locator(".map-chart").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    assert page.locator("p[role=status]").inner_text().startswith("2 labels spread")
    for _ in range(10):
        if page.get_by_role("button", name="label ten clusters").is_enabled():
            page.get_by_role("button", name="label ten clusters").click()
    right = re.search(r"([\d.]+)\u00a0%", page.locator("p[role=status]").inner_text())
    assert float(right[1]) > 75  # about a label for each cluster
    page.get_by_role("slider").fill("0")
    assert page.get_by_role("slider").get_attribute("aria-valuetext") == "PCA"
