"""The figures of the chapters on the letters, the model and the label bounds."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gmvae_lib import ImageSet, InputError, rendered_letters
from gmvae_lib.study import figures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawn(figure):
    """The figure, rendered once: some faults show only then."""
    figure.canvas.draw()
    return figure


@pytest.fixture(scope="module")
def letters():
    return rendered_letters(n=520, seed=0)


class TestLetterSheet:
    def test_upper_case_stands_above_lower_case(self, letters):
        constant = (
            letters.images * 0 + np.where(letters.extra["case"] == 1, 200, 100)[:, None, None]
        )
        images = ImageSet(
            constant.astype(np.uint8), letters.labels, letters.class_names, {}, letters.extra
        )
        figure = drawn(figures.letter_sheet(images, n=2))
        for ax in figure.axes:
            sheet = ax.images[0].get_array()
            assert sheet.shape == (4 * 28, 13 * 28)
            assert (sheet[: 2 * 28] == 200).all()
            assert (sheet[2 * 28 :] == 100).all()

    def test_each_column_is_one_letter(self, letters):
        coded = np.broadcast_to(letters.labels[:, None, None] + 1, letters.images.shape)
        images = ImageSet(coded.astype(np.uint8), letters.labels, letters.class_names)
        figure = drawn(figures.letter_sheet(images, n=1))
        columns = [ax.images[0].get_array()[0, ::28] for ax in figure.axes]
        assert np.concatenate(columns).tolist() == list(range(1, 27))
        names = [tick.get_text() for ax in figure.axes for tick in ax.get_xticklabels()]
        assert "".join(names) == "".join(letters.class_names)

    def test_a_letter_without_enough_images_leaves_room(self, letters):
        only_a = letters.subset(letters.labels == 0)
        figure = drawn(figures.letter_sheet(only_a, n=1))
        assert (figure.axes[1].images[0].get_array() == 0).all()

    def test_the_seed_decides(self, letters):
        first, again, other = (
            figures.letter_sheet(letters, seed=seed).axes[0].images[0].get_array()
            for seed in (0, 0, 1)
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_refuses_images_without_labels(self, letters):
        with pytest.raises(InputError, match="no labels"):
            figures.letter_sheet(ImageSet(letters.images))


def test_letter_counts_stacks_to_the_totals():
    counts = pd.DataFrame({"upper": [1, 2], "lower": [3, 4], "unknown": [5, 0]}, index=["a", "b"])
    ax = drawn(figures.letter_counts(counts)).axes[0]
    tops = [bar.get_y() + bar.get_height() for bar in ax.containers[-1]]
    assert tops == [9, 6]


def test_look_alikes_finds_the_nearest_pair():
    images = np.zeros((4, 2, 2), np.uint8)
    images[:, 0, 0] = [10, 90, 100, 250]
    images[:, 1, 1] = 255
    pictures = ImageSet(images, np.array([0, 0, 1, 1]), ("a", "b"))
    above, below = drawn(figures.look_alikes(pictures, [("a", "b")])).axes
    assert above.images[0].get_array()[0, 0] == 90
    assert below.images[0].get_array()[0, 0] == 100


def test_latent_clouds_draws_an_ellipse_of_two_standard_deviations_a_component():
    z = np.random.default_rng(0).normal(size=(20, 2))
    mean, std = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[0.5, 1.0], [1.0, 2.0]])
    figure = drawn(figures.latent_clouds([("one", z, mean, std)] * 2, ["a", "b"] * 10))
    for ax in figure.axes:
        assert [tuple(patch.get_center()) for patch in ax.patches] == [(0, 1), (2, 3)]
        assert [(patch.width, patch.height) for patch in ax.patches] == [(2, 4), (4, 8)]


def test_bound_gaps_draws_each_image():
    ax = drawn(figures.bound_gaps(np.array([[2.0, 1.0], [3.0, 0.5]]), [1, 4], [2.0, 3.0])).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines[:3:2]] == [[2, 1], [3, 0.5]]


def test_coverage_curves_marks_label_counts():
    curve = np.array([10, 100, 1000]), np.array([0, 0.5, 1])
    ax = drawn(figures.coverage_curves({"equal": curve}, marks=[(200, "here")])).axes[0]
    assert "here" in [text.get_text() for text in ax.texts]
    assert 200 in [line.get_xdata()[0] for line in ax.lines]


def test_missing_mass_and_coverage_draws_both():
    ax = drawn(figures.missing_mass_and_coverage([1, 10], [0.1, 0.9], [0.0, 0.2])).axes[0]
    assert [line.get_ydata()[-1] for line in ax.lines] == [0.9, 0.2]


@pytest.fixture
def theory():
    """Two models, two counts: bounds, predictions, measured."""
    predicted = {"ceiling": 0.9, "independent": 0.3, "proportional": 0.5, "nearest": 0.55}
    predicted["graph"] = 0.6
    measured = dict.fromkeys(("hard", "soft", "bayes", "graph", "hard (no fallback)"), 0.55)
    return pd.DataFrame(
        [
            (model, kind, rule, n, value + 0.01 * (n > 10))
            for model in ("one", "two")
            for kind, values in (("predicted", predicted), ("measured", measured))
            for rule, value in values.items()
            for n in (7, 73)
        ],
        columns=["model", "kind", "rule", "n_labels", "value"],
    )


def test_floor_and_prediction_has_a_panel_a_model(theory):
    fig = drawn(figures.floor_and_prediction(theory))
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["One", "Two"]
    points = [line for line in fig.axes[0].lines if line.get_linestyle() == "None"]
    assert len(points) == 4
    assert points[0].get_ydata().tolist() == pytest.approx([0.55, 0.56])
    floor = [line for line in fig.axes[1].lines if line.get_linestyle() == "--"]
    assert floor[0].get_ydata().tolist() == pytest.approx([0.3, 0.31])


def test_agreement_by_rank_begins_with_the_cluster_itself():
    profile = np.linspace(0.9, 0, 20)
    ax = drawn(figures.agreement_by_rank({"one": profile, "two": profile / 2}, 26)).axes[0]
    assert ax.lines[0].get_ydata().tolist() == profile[:13].tolist()
    assert ax.lines[2].get_ydata()[0] == pytest.approx(1 / 26)


def test_labels_needed_draws_what_is_never_reached_at_the_edge():
    table = pd.DataFrame(
        {
            "data": ["a", "a"],
            "target": [0.6, 0.9],
            "labels": [50, np.inf],
            "low": [20, 300],
            "high": [90, np.inf],
            "measured": [60, np.inf],
        }
    )
    ax = drawn(figures.labels_needed(table)).axes[0]
    expected, measured = ax.lines[:2]
    assert expected.get_xdata().tolist() == [50, 8000]
    assert measured.get_xdata().tolist() == [60, 8000]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a, 60%", "a, 90%"]
