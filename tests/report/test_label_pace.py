"""How many labels a minute the label page makes possible, by a model of the person.

A script labels as a person would, on the pages themselves; each of its actions takes the time of
the keystroke-level model (Card, Moran and Newell 1980): pressing a key 0.28 s, moving the pointer
1.1 s, pressing the mouse button 0.2 s, moving the hand between keyboard and mouse 0.4 s, a decision
1.35 s; and looking at a picture 0.23 s, a fixation of the eye (the same authors, 1983). Naming a
picture or a group is a decision, and so is striking one out. Clusters and letters are those of the
published run on handwritten letters: groups are as mixed as they are.
"""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup

from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.label.choosing import label_queue
from gmvae_lib.report.label_page import label_page
from gmvae_lib.vae.runs import load_run

KEY, POINT, BUTTON, HOME, DECIDE, LOOK = 0.28, 1.1, 0.2, 0.4, 1.35, 0.23  # seconds
RUN = Path(__file__).parents[2] / "results" / "letters100k"
BUDGET, RANDOM = map(int, os.environ.get("LABEL_PACE", "40,15").split(","))
COLUMNS = 4


@pytest.fixture(scope="module")
def truth_and_page(tmp_path_factory, letters):
    """The true letter of each row, and the path of a page that asks for some of them."""
    run = load_run(RUN)
    some = slice(0, len(run.labels), 20)
    q, names = run.posterior[some].astype(np.float32), np.array(run.class_names)[run.labels[some]]
    q /= q.sum(axis=1, keepdims=True)
    like = np.array([np.flatnonzero(letters.labels == label)[0] for label in run.labels[some]])
    images = ImageSet(letters.images[like], provenance={"name": "letters"})
    path = tmp_path_factory.mktemp("pace") / "label.html"
    queue = label_queue(q, BUDGET, random=RANDOM, batches=1)
    path.write_text(label_page(images, queue), encoding="utf-8")
    return names, path


class Person:
    """Labels on an opened page, knows the truth, and takes her time."""

    def __init__(self, opened, names, path):
        self.opened, self.page, self.names = opened, opened.page, names
        data = json.loads(BeautifulSoup(path.read_text(), "html.parser").find(id="data").string)
        self.rows = [item["row"] for item in data["items"]]
        self.seconds, self.at_mouse, self.known = 0.0, False, set()

    def take(self, seconds, mouse):
        self.seconds += seconds + HOME * (mouse != self.at_mouse)
        self.at_mouse = mouse

    def press(self, *keys):
        self.take(KEY * len(keys), mouse=False)
        self.opened.press(*keys)

    def click(self, place):
        self.take(POINT + BUTTON, mouse=True)
        place.click()

    def name(self, label):
        """One key for a letter used before, which is its own key; a new one is typed."""
        self.press(*([label] if label in self.known else ["/", label, "Enter"]))
        self.known.add(label)

    def look(self, n=1):
        self.seconds += LOOK * n

    def decide(self):
        self.seconds += DECIDE

    def shown(self):
        """The true letter of the one picture on show."""
        row = int(self.page.get_attribute("#image", "alt").split()[-1])
        return str(self.names[row])

    def one(self, with_guess):
        self.look()
        self.decide()
        guess = self.page.locator("#guess-label")
        if with_guess and guess.is_visible() and guess.inner_text() == self.shown():
            self.press("Enter")
        else:
            self.name(self.shown())

    def group(self, by_mouse):
        """Strike out all but the commonest letter, then name it."""
        cells = self.page.locator("#grid button")
        state = "all => all.map(b => [Number(b.dataset.id), b.classList.contains('labelled')])"
        letters = {
            place: str(self.names[self.rows[i]])
            for place, (i, labelled) in enumerate(cells.evaluate_all(state))
            if not labelled  # of a group of which most were struck out
        }
        [(label, _)] = Counter(letters.values()).most_common(1)
        self.look(len(letters))
        self.decide()
        at = self.page.evaluate(
            "[...document.querySelectorAll('#grid button')].indexOf(document.activeElement)"
        )
        for place in [k for k, letter in letters.items() if letter != label]:
            self.decide()
            if by_mouse:
                self.click(cells.nth(place))
            else:
                down, right = place // COLUMNS - at // COLUMNS, place % COLUMNS - at % COLUMNS
                along = ["ArrowRight" if right > 0 else "ArrowLeft"] * abs(right)
                across = ["ArrowDown" if down > 0 else "ArrowUp"] * abs(down)
                # the last row may be short: into it along the row first, out of it upwards first
                self.press(*(across + along if down < 0 else along + across), " ")
                at = place
        guess = self.page.locator("#guess-label")
        if guess.is_visible() and guess.inner_text() == label:
            self.press("Enter")
            self.known.add(label)
        else:
            self.name(label)

    def labels_a_minute(self):
        said = self.opened.labels()
        assert all(label == self.names[row] for row, label in said.items())
        return 60 * len(said) / self.seconds, len(said)


def test_groups_and_guesses_give_three_times_the_labels_a_minute(visit, truth_and_page, capsys):
    names, path = truth_and_page
    pace, n = {}, {}

    one = Person(visit(path), names, path)
    one.opened.press("Escape")  # one key a label, which suits one by one best
    while not one.page.is_visible("#finished"):
        one.one(with_guess=False)
    pace["one by one"], n["one by one"] = one.labels_a_minute()

    typing = Person(visit(path), names, path)
    for _ in range(20):
        typing.look()
        typing.decide()
        typing.press(typing.shown(), "Enter")
    pace["typed"], n["typed"] = typing.labels_a_minute()

    for way, by_mouse in {"groups by mouse": True, "groups by keys": False}.items():
        person = Person(visit(path), names, path)
        person.opened.press("Escape")
        person.page.click("#groups")
        while not person.page.is_visible("#finished"):
            if person.page.is_visible("#grid"):
                person.group(by_mouse)
            else:
                person.one(with_guess=True)
        pace[way], n[way] = person.labels_a_minute()

    with capsys.disabled():
        found = ", ".join(f"{way} {pace[way]:.0f} ({n[way]} labels)" for way in pace)
        print(f"\nlabels a minute by the keystroke-level model: {found}")
    # Pictures drawn at random are labelled one by one. Where they are a third, as in
    # LABEL_PACE=100,50, groups are 2.8 (by mouse) to 3.1 times (by keys) as fast.
    least = 3 if "LABEL_PACE" not in os.environ else 2
    for way in ("groups by mouse", "groups by keys"):
        assert pace[way] >= least * max(pace["one by one"], pace["typed"])
