"""Figures: what they show is read back from the Figure; nothing is compared pixel by pixel."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from gmvae_lib.errors import InputError
from gmvae_lib.study import figures
from gmvae_lib.study.disagreement import Disagreement
from gmvae_lib.study.figures import style
from gmvae_lib.study.styles import style_table


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
    assert [text for text in drawn(fig) if text.strip()] == ["c = 36: f 97 %", "c = 0: f 88 %"]
    strips = [ax.images[0].get_array() for ax in fig.axes]
    assert [strip.shape for strip in strips] == [(8, 4 * 8 + 3 * 2)] * 2  # two pixels apart


def test_image_grid_shows_every_image_with_its_title():
    fig = figures.image_grid(np.ones((7, 8, 8)), list("abcdefg"), n_columns=4)
    assert drawn(fig) == list("abcdefg")
    assert sum(bool(ax.images) for ax in fig.axes) == 7


def test_components_by_purity_weight_and_letter():
    q = np.array([[0.9, 0.1, 0], [0.7, 0.3, 0], [0.6, 0.4, 0], [0.2, 0.8, 0]])
    table = style_table(q, np.array([3, 3, 1, 1]), np.zeros(4), class_names="abcd")
    fig = figures.purity_against_weight(table)
    assert "0: d b" in drawn(fig)
    pure, impure = fig.axes[0].collections
    assert len(pure.get_offsets()) == len(impure.get_offsets()) == 1  # the third holds no image
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
        "truth e",
        "hard says c",
        "soft says e",
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
    names = [text.replace("\n", " ") for text in drawn(fig)]
    assert {label for label, *_ in figures.METHODS.values()} <= set(names)
    for ax in fig.axes:
        curves = ax.lines[:-2]  # without those at 80 % and at n = K
        looks = {(c.get_color(), c.get_linestyle(), c.get_marker()) for c in curves}
        assert len(looks) == len(curves) <= figures.MOST_LINES


def test_figure_3_by_model_names_each_line_apart():
    names = [f"line {i}" for i in range(figures.MOST_LINES)]
    table = pd.DataFrame({"n_labels": [10, 100], "mean": [0.5, 0.9], "low": 0.4, "high": 0.95})
    fig = figures.figure_3_by_model(dict.fromkeys(names, table), n_total=1000, K=100)
    fig.canvas.draw()
    texts = [text for text in fig.axes[0].texts if text.get_text() in names]
    # of the words alone: an annotation's own extent holds its line, too
    boxes = [Text.get_window_extent(text) for text in texts]
    boxes.sort(key=lambda box: box.y0)
    assert len(boxes) == len(names)
    assert all(below.y1 <= above.y0 + 1 for below, above in zip(boxes, boxes[1:], strict=False))
    with pytest.raises(InputError, match="expected 1 to 7"):
        figures.figure_3_by_model(dict.fromkeys("abcdefgh", table), n_total=1000, K=100)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.floats(0.01, 0.12))
def test_labels_are_spread_in_order_and_apart(heights, gap):
    places = figures.spread(heights, gap, top=1.0)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(places[order]) >= gap * (1 - 1e-9)).all()
    assert places.max() <= 1.0
    if len(heights) == 1:
        assert places[0] == heights[0]


def test_figure_3_refuses_an_unknown_method():
    with pytest.raises(InputError, match="found the method 'oracle'"):
        figures.figure_3(summary(["oracle"]), n_total=1000, K=100)


def test_rivals_have_a_row_each_where_they_were_measured():
    table = pd.concat([summary(["soft", "poisson"]), summary(["net"]).query("n_labels == 291")])
    groups = {"ours": {"soft": "soft"}, "graphs": {"poisson": "Poisson", "absent": "absent"}}
    fig = figures.rivals(table, groups | {"labels": {"net": "a net"}}, counts=(73, 291))
    assert {"soft", "Poisson", "a net", "ours", "graphs", "labels"} <= set(drawn(fig))
    assert "absent" not in drawn(fig)
    assert [len(ax.lines) for ax in fig.axes] == [4, 6]  # an interval and a mean each


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


def test_confusion_writes_the_large_errors_and_not_the_diagonal():
    share = np.array([[0.9, 0.1, 0.0], [0.02, 0.98, 0.0], [0.5, 0.0, 0.5]])
    fig = figures.confusion(share, ["a", "b", "c"])
    drawn(fig)
    assert sorted(text.get_text() for text in fig.axes[0].texts) == ["10", "50"]


def test_training_curves_leave_out_what_a_training_did_not_have():
    history = [{"epoch": e, "elbo": -200 + e, "components_in_batch": 5 + e} for e in (1, 2, 3)]
    texts = drawn(figures.training_curves(history, K=10))
    assert {"ELBO, nats an image", "components in use", "K = 10", "epoch"} <= set(texts)
    assert "mutual information, nats" not in texts


def test_training_curves_draw_each_term_where_it_was_trained_by():
    history = [{"epoch": e, "mutual_information": e, "components_in_batch": 5} for e in (1, 2)]
    history += [{"epoch": e, "elbo": -200 + e} for e in (3, 4, 5)]
    fig = figures.training_curves(history, K=10)
    drawn(fig)
    assert [list(ax.lines[0].get_xdata()) for ax in fig.axes] == [[3, 4, 5], [1, 2], [1, 2]]
    elbo, information, _ = fig.axes  # a panel is as long as its term
    assert elbo.get_xlim()[0] > 2 and information.get_xlim()[1] < 3


def test_chosen_against_random_has_a_panel_for_each_decoder():
    random = summary(["soft", "bayes"])
    chosen = random.rename(columns={"mean": "accuracy"})[["method", "n_labels", "accuracy"]]
    fig = figures.chosen_against_random(chosen, random, K=100)
    assert {"soft", "Bayes", "chosen", "drawn at random", "100"} <= set(drawn(fig))
    assert len(fig.axes) == 2


def test_rules_of_choice_draws_a_line_for_each_rule():
    rows = [(rule, n, n / 500) for rule in "ab" for n in (40, 100) for _ in range(2)]
    fig = figures.rules_of_choice(pd.DataFrame(rows, columns=["rule", "n_labels", "accuracy"]))
    assert {"a", "b", "40", "100"} <= set(drawn(fig))
    assert list(fig.axes[0].lines[1].get_ydata()) == [0.08, 0.2]


def test_accuracy_of_the_confident_ends_at_the_accuracy_of_all():
    correct = np.arange(100) < 70
    fig = figures.accuracy_of_the_confident(np.linspace(1, 0, 100), correct)
    drawn(fig)
    share, accuracy = fig.axes[0].lines[0].get_data()
    assert share[-1] == 1 and accuracy[-1] == pytest.approx(0.7)
    assert accuracy[0] == 1


def test_confidence_of_several_methods():
    table = pd.DataFrame({"confidence": [0.3, 0.9], "accuracy": [0.4, 0.8], "share": [0.5, 0.5]})
    fig = figures.reliability_curves({73: {"soft": table, "hard": table}, 291: {"soft": table}})
    assert {"soft", "hard", "73 labels", "291 labels", "confidence"} <= set(drawn(fig))
    own = [line for line in fig.axes[0].lines if line.get_label().endswith("labels")]
    assert [line.get_xydata().tolist() for line in own] == [[[0.3, 0.4], [0.9, 0.8]]] * 2
    curve = np.array([0.5, 1.0]), np.array([0.9, 0.8])
    fig = figures.accuracy_against_coverage({73: {"graph": curve}})
    assert {"graph", "73 labels"} <= set(drawn(fig))
    assert fig.axes[0].lines[0].get_xydata().tolist() == [[0.5, 0.9], [1.0, 0.8]]


def test_verdicts_show_each_image_with_its_caption():
    images = np.random.default_rng(0).random((5, 8, 8))
    rows = [("soft right", images, list("abcde")), ("hard right", images[:2], list("fg"))]
    fig = figures.verdicts(rows, n_columns=5)
    words = [text for text in drawn(fig) if text.strip()]
    assert sorted(words) == sorted(["soft right", "hard right", *"abcdefg"])
    assert sum(bool(ax.images) for ax in fig.axes) == 7


def style_rows(n=12):
    """Components of one letter each, except that every third mixes two."""
    mixed = np.arange(n) % 3 == 0
    return pd.DataFrame(
        {
            "component": np.arange(n),
            "weight": np.linspace(0.02, 0.12, n),
            "size": 300,
            "purity": np.where(mixed, 0.55, 0.97),
            "mix": np.where(mixed, "t 55 %, j 45 %", "f 97 %"),
        }
    )


def test_purity_against_weight_names_the_impure_and_covers_no_name():
    fig = figures.purity_against_weight(style_rows())
    names = [text for text in drawn(fig) if text.endswith(": t j")]
    assert sorted(names) == ["0: t j", "3: t j", "6: t j", "9: t j"]
    boxes = [t.get_window_extent() for t in fig.axes[0].texts if t.get_text() in names]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_sample_sheet_has_a_strip_and_a_caption_for_each_component():
    fig = figures.sample_sheet(["a 97 %", "b 60 %", "b 99 %"], np.ones((3, 4, 8, 8)), n_columns=2)
    assert {"a 97 %", "b 60 %", "b 99 %"} <= set(drawn(fig))
    assert [ax.images[0].get_array().shape for ax in fig.axes if ax.images] == [(8, 38)] * 3


def test_real_images_stand_to_the_left_of_samples():
    real, samples = np.full((3, 8, 8), 255, np.uint8), np.zeros((3, 8, 8))
    fig = figures.real_and_generated([("c = 1", real, samples), ("c = 2", real, samples)])
    assert {"c = 1", "c = 2", "images of the data set", "samples of the model"} <= set(drawn(fig))
    left, right = (ax.images[0].get_array() for ax in fig.axes[:2])
    assert left[:, :8].min() == 1 and right.max() == 0


def test_reconstructions_stand_below_their_originals():
    fig = figures.originals_and_reconstructions(
        np.ones((3, 8, 8)), np.full((3, 8, 8), 0.5), list("abc"), n_columns=2
    )
    assert drawn(fig) == list("abc")
    shown = [ax.images[0].get_array().max() if ax.images else None for ax in fig.axes]
    assert shown == [1, 1, 0.5, 0.5, 1, None, 0.5, None]


def test_latent_map_writes_each_group_s_letter_unless_it_would_cover_another():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 10], [0.1, 0.1]])
    groups = np.repeat([0, 1, 2], [30, 20, 10])
    points = centres[groups] + 0.2 * rng.standard_normal((60, 2))
    texts = drawn(figures.latent_map(points, np.array(list("aba"))[groups], groups))
    assert texts == ["a", "b"]  # the third lies on the first


def test_distances_between_means_are_sorted_by_letter():
    distance = np.array([[0, 3.0, 1.0], [3.0, 0, 2.0], [1.0, 2.0, 0]])
    fig = figures.distances_between_means(distance, ["b", "a", "b"])
    drawn(fig)
    ax = fig.axes[0]
    assert [label.get_text().strip() for label in ax.get_xticklabels()] == ["a", "b"]
    shade = ax.images[0].get_array()[..., 3]  # the nearest pair the darkest, the farthest blank
    assert shade[1, 2] == shade[2, 1] == 1 and shade[0, 1] == 0
    assert (np.diag(shade) == 0).all()


def test_hesitation_by_letter_puts_the_most_hesitant_first():
    table = pd.DataFrame({"between": [0.1, 0.3], "within": [0.2, 0.1]}, index=["a", "b"])
    fig = figures.hesitation_by_letter(table)
    texts = drawn(fig)
    assert texts.index("b") < texts.index("a")
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    assert heights == pytest.approx([0.3, 0.1, 0.1, 0.2])


def test_truncation_loss_tells_losses_from_gains():
    ax = figures.truncation_loss([0.1, 0.01], [0.5, -0.2], [2.0, 1.0]).axes[0]
    shown = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert (shown["a loss"], shown["a gain"]) == ([0.5], [0.2])
    drawn(ax.figure)


def test_gap_against_sharpness_marks_the_least_gap():
    ax = figures.gap_against_sharpness([0.5, 1, 2], [3.0, 2.0, 2.5], 1.5).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[3, 2, 2.5], [1.5, 1.5]]
    drawn(ax.figure)


def trials():
    rows = [
        ("seeds", seed, 100, -160.0 - seed, 3.2 + 0.01 * seed, 0.9, 0.75, 0.88, 0.9)
        for seed in range(4)
    ]
    rows += [
        ("ablation", 0, 100, np.nan, np.nan, 0.57, 0.4, 0.5, 0.55),  # a clustering without q
        ("ablation", 0, 100, -150.0, 2.0, 0.7, 0.5, 0.6, 0.65),
        ("K", 0, 26, -170.0, 2.5, 0.6, 0.55, 0.6, 0.6),
        ("K", 0, 400, -165.0, 3.5, 0.92, 0.6, 0.8, 0.9),
    ]
    names = ["study", "seed", "K", "elbo", "agreement", "purity"]
    return pd.DataFrame(rows, columns=[*names, "graph 73", "graph 291", "graph 728"])


def test_criterion_against_accuracy_shows_every_training_that_has_a_criterion():
    fig = figures.criterion_against_accuracy(trials())
    drawn(fig)
    for ax in fig.axes:
        assert sum(len(points.get_offsets()) for points in ax.collections) == 5
    with pytest.raises(InputError, match="found no row with agreement"):
        figures.criterion_against_accuracy(trials().assign(agreement=np.nan))


def test_grid_of_components_has_a_curve_for_each_number():
    table = trials()
    axes = figures.grid_of_components(table[table["study"] == "K"]).axes
    left, right = (
        ax for ax in axes if ax.get_title(loc="left") in ("purity", "accuracy, graph decoder")
    )
    assert list(left.lines[0].get_ydata()) == [0.6, 0.92]
    assert [line.get_label() for line in right.lines] == ["K = 26", "K = 400"]
    assert list(right.lines[1].get_xdata()) == [73, 291, 728]
    drawn(left.figure)
    with pytest.raises(InputError, match="found no row of the study K"):
        figures.grid_of_components(table[:0])


def test_model_seeds_are_all_shown():
    table = trials()
    fig = figures.model_seeds(table[table["study"] == "seeds"], chosen=2, decoder="graph")
    points = [line for line in fig.axes[0].lines if line.get_label().endswith("labels")]
    assert [list(line.get_xdata()) for line in points] == [[0, 1, 2, 3]] * 3
    assert "291 labels" in drawn(fig)


# on a phone

PAIR = np.ones((2, 8, 8))
ON_A_PHONE = {
    "figure_1": (figures.figure_1, [("c = 1:  f 97 %  |  upper case 3 %  |  purity 97 %", PAIR)]),
    "image_grid": (figures.image_grid, np.ones((4, 8, 8)), list("abcd"), 4, 2),
    "figure_3": (figures.figure_3, summary(["neighbours", "soft", "xgboost", "mlp"]), 1000, 100),
    "verdicts": (figures.verdicts, [("soft right", PAIR, ["is a\nhard: b", "is b\nhard: a"])]),
    "real_and_generated": (figures.real_and_generated, [("c = 1", PAIR, PAIR)]),
    "confusion": (figures.confusion, np.array([[0.9, 0.1], [0.2, 0.8]]), ["a", "b"]),
    "chosen": (
        figures.chosen_against_random,
        summary(["soft", "bayes"]).rename(columns={"mean": "accuracy"}),
        summary(["soft", "bayes"]),
        100,
    ),
    "scatter": (figures.letter_scatter, [0, 1], [2, 3], ["a", "b"], 10 * "long words ", "y"),
    "rivals": (
        figures.rivals,
        summary(["soft", "xgboost"]),
        {"ours, without its mixture": {"soft": "soft"}, "labels": {"xgboost": "XGBoost, tuned"}},
        (7, 73),
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ON_A_PHONE)
def test_on_a_phone_no_text_leaves_the_figure(name):
    draw, *given = ON_A_PHONE[name]
    fig = draw(*given, width=figures.PHONE)
    drawn(fig)
    assert fig.get_figwidth() * style.INCH == pytest.approx(figures.PHONE)
    ticks = {id(text) for axis in fig.findobj(Axis) for text in axis.get_ticklabels(which="both")}
    for text in fig.findobj(Text):  # ticks beyond the limits are not drawn
        if id(text) not in ticks and text.get_visible() and text.get_text().strip():
            assert text.get_fontsize() >= 12
            box = text.get_window_extent()
            assert -1 <= box.x0 and box.x1 <= fig.bbox.x1 + 1, text.get_text()
    plt.close(fig)
