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


def test_cluster_sizes_sorts_and_keeps_the_shares():
    ax = drawn(figures.cluster_sizes(np.array([0.2, 0.5, 0.3]))).axes[0]
    assert [bar.get_height() for bar in ax.patches] == [0.5, 0.3, 0.2]


def test_missing_mass_and_coverage_draws_both():
    ax = drawn(figures.missing_mass_and_coverage([1, 10], [0.1, 0.9], [0.0, 0.2])).axes[0]
    assert [line.get_ydata()[-1] for line in ax.lines] == [0.9, 0.2]


def test_predicted_and_measured_uses_one_colour_a_method():
    summary = pd.DataFrame(
        {
            "method": ["soft", "soft", "hard", "hard", "mlp"],
            "n_labels": [7, 73, 7, 73, 7],
            "mean": [0.2, 0.6, 0.1, 0.5, 0.1],
            "low": [0.1, 0.5, 0.0, 0.4, 0.0],
            "high": [0.3, 0.7, 0.2, 0.6, 0.2],
        }
    )
    predicted = pd.DataFrame({"soft": [0.2, 0.6], "hard": [0.1, 0.5]}, index=[7, 73])
    ax = drawn(figures.predicted_and_measured(summary, predicted)).axes[0]
    curves = [line for line in ax.lines if line.get_linestyle() == "-"]
    points = [container[0] for container in ax.containers]
    assert [p.get_color() for p in points] == [line.get_color() for line in curves[:2]]
    assert len(points) == 2
