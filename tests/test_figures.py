"""Figures: what they show is read back from the Figure; nothing is compared pixel by pixel."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from gmvae_lib import figures
from gmvae_lib.decoding import Disagreement
from gmvae_lib.errors import InputError
from gmvae_lib.metrics import component_table


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawn(fig):
    """The figure's texts, after it was drawn on an opaque white background."""
    assert isinstance(fig, Figure)
    fig.canvas.draw()
    corner = np.asarray(fig.canvas.buffer_rgba())[0, 0]
    assert corner.tolist() == [255, 255, 255, 255]
    return [text.get_text() for text in fig.findobj(matplotlib.text.Text) if text.get_text()]


def summary(methods=tuple(figures.METHODS)):
    rows = [(m, n, 0.5, 0.4, 0.6, 5) for m in methods for n in (7, 73, 291)]
    return pd.DataFrame(rows, columns=["method", "n_labels", "mean", "low", "high", "n_seeds"])


def test_figure_1_has_a_caption_and_n_samples_a_row():
    images = np.random.default_rng(0).random((4, 8, 8))
    fig = figures.figure_1([("c = 36: f 97 %", images), ("c = 0: f 88 %", images)])
    assert drawn(fig) == ["c = 36: f 97 %", "c = 0: f 88 %"]
    assert sum(bool(ax.images) for ax in fig.axes) == 8


def test_image_grid_shows_every_image_with_its_title():
    fig = figures.image_grid(np.ones((7, 8, 8)), list("abcdefg"), n_columns=4)
    assert drawn(fig) == list("abcdefg")
    assert sum(bool(ax.images) for ax in fig.axes) == 7


def test_components_by_purity_weight_and_letter():
    q = np.array([[0.9, 0.1, 0], [0.7, 0.3, 0], [0.6, 0.4, 0], [0.2, 0.8, 0]])
    table = component_table(q, np.array([3, 3, 1, 1]), class_names="abcd")
    fig = figures.purity_against_weight(table)
    assert "c = 0: d, b" in drawn(fig)
    assert len(fig.axes[0].collections[0].get_offsets()) == 2  # the third holds no image
    fig = figures.components_per_letter(pd.Series({"b": 1, "d": 1}))
    assert [bar.get_height() for bar in fig.axes[0].patches] == [1, 1]
    drawn(fig)


def test_figure_2_shows_votes_and_verdicts():
    example = Disagreement(
        index=3,
        truth=1,
        hard=0,
        soft=1,
        margin=0.1,
        components=np.array([8, 5, 2]),
        posterior=np.array([0.4, 0.35, 0.2]),
        votes=np.array([[2, 1], [0, 3], [0, 0]]),
        classes=np.array([0, 1]),
        n_candidates=9,
    )
    texts = drawn(figures.figure_2(example, np.ones((8, 8)), ["c", "e"]))
    for expected in (
        "truth: e",
        "hard says c\nsoft says e",
        "c = 8",
        "c ×2, e ×1",
        "e ×3",
        "no labelled image",
    ):
        assert expected in texts


def test_gap_parts_totals():
    parts = pd.DataFrame({"fallback": [0.17, 0.02], "rest": [0.015, -0.01]}, index=[73, 291])
    texts = drawn(figures.gap_parts(parts))
    assert {"73 labels", "291 labels", "+18.5", "+1.0"} <= set(texts)


def test_figure_3_draws_the_methods_it_is_given():
    fig = figures.figure_3(summary(["soft", "xgboost"]), n_total=1000, K=100)
    texts = drawn(fig)
    assert {"soft", "XGBoost on pixels", "80%", "n = K = 100"} <= set(texts)
    assert "hard" not in texts
    ax = fig.axes[0]
    assert ax.get_xscale() == "log"
    share = ax.child_axes[0]
    assert share.get_xlim() == pytest.approx(np.array(ax.get_xlim()) / 10)  # percent of 1000


def test_figure_3_keeps_every_method_apart():
    fig = figures.figure_3(summary(), n_total=1000, K=100)
    drawn(fig)
    looks = [(line.get_color(), line.get_linestyle()) for line in fig.axes[0].lines[:-2]]
    assert len(set(looks)) == len(figures.METHODS)


def test_figure_3_refuses_an_unknown_method():
    with pytest.raises(InputError, match="found the method 'oracle'"):
        figures.figure_3(summary(["oracle"]), n_total=1000, K=100)


def test_gain_by_letter_is_sorted():
    table = pd.DataFrame(
        {"letter": list("abc"), "gain": [0.1, 0.3, -0.1], "low": [0.0, 0.2, -0.3]}
    ).assign(high=lambda t: 2 * t["gain"] - t["low"])
    fig = figures.gain_by_letter(table)
    drawn(fig)
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    assert heights == pytest.approx([30, 10, -10])


def test_letter_scatter_draws_the_letters():
    texts = drawn(figures.letter_scatter([0, 1], [2, 3], ["a", "b"], "x", "y"))
    assert {"a", "b", "x", "y"} <= set(texts)


def test_training_curves_leave_out_what_a_training_did_not_have():
    history = [{"epoch": e, "elbo": -200 + e, "components_in_batch": 5 + e} for e in (1, 2, 3)]
    texts = drawn(figures.training_curves(history, K=10))
    assert {"ELBO, nats an image", "components in use", "K = 10", "epoch"} <= set(texts)
    assert "mutual information, nats" not in texts


def test_chosen_against_random_has_a_panel_for_each_decoder():
    random = summary(["soft", "bayes"])
    chosen = random.rename(columns={"mean": "accuracy"})[["method", "n_labels", "accuracy"]]
    fig = figures.chosen_against_random(chosen, random, K=100)
    assert {"soft", "Bayes", "chosen", "drawn at random", "100"} <= set(drawn(fig))
    assert len(fig.axes) == 2


def test_accuracy_of_the_confident_ends_at_the_accuracy_of_all():
    correct = np.arange(100) < 70
    fig = figures.accuracy_of_the_confident(np.linspace(1, 0, 100), correct)
    drawn(fig)
    share, accuracy = fig.axes[0].lines[0].get_data()
    assert share[-1] == 1 and accuracy[-1] == pytest.approx(0.7)
    assert accuracy[0] == 1
