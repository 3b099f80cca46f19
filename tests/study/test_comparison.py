"""Leads on paired draws, with verdicts from their intervals; the best of several."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.study import figures
from gmvae_lib.study.comparison import GROUPS, best_at, leads
from gmvae_lib.study.experiments import summarise


@pytest.fixture
def table():
    luck = np.array([-0.04, 0.0, 0.01, 0.03, 0.05])

    def rows(method, accuracy, seeds=range(5), n=73):
        return [(method, n, seed, accuracy + luck[seed]) for seed in seeds]

    wobble = [("wobbly", 73, s, 0.7 + luck[s] + d) for s, d in enumerate([-0.1, 0.1, -0.1, 0.1, 0])]
    return pd.DataFrame(
        rows("ours", 0.7) + rows("worse", 0.68) + rows("better", 0.73) + wobble
        + rows("rare", 0.9, seeds=[0, 1]) + rows("late", 0.5, seeds=[2, 3, 4])
        + rows("ours", 0.9, n=291),
        columns=["method", "n_labels", "seed", "accuracy"],
    )  # fmt: skip


def test_leads_are_paired_by_draw(table):
    found = leads(table, "ours", ["worse", "better", "wobbly", "late", "rare", "none"], [73, 291])
    found = found.set_index("rival")
    assert found["verdict"].to_dict() == {
        "worse": "ahead", "better": "behind", "wobbly": "level", "late": "ahead",
    }  # fmt: skip
    # the luck of the draws cancels: no width at all
    assert found.loc["worse", ["mean", "low", "high"]].tolist() == pytest.approx([0.02] * 3)
    assert found.loc["late", ["mean", "draws"]].tolist() == pytest.approx([0.2, 3])
    assert leads(table, "absent", ["worse"], [73]).empty


def test_the_best_needs_enough_draws(table):
    summary = summarise(table)
    assert best_at(summary, ["worse", "better", "rare"], 73) == ("better", pytest.approx(0.74))
    assert best_at(summary, ["worse", "rare"], 73, least=2)[0] == "rare"
    assert best_at(summary, ["rare"], 73) is None


def test_every_method_has_one_group_and_the_figure_a_look_for_each():
    methods = [method for group in GROUPS.values() for method in group]
    assert len(methods) == len(set(methods))
    rows = [
        (next(iter(group)), n, 0.5, 0.4, 0.6, 5) for group in GROUPS.values() for n in (73, 291)
    ]
    columns = ["method", "n_labels", "mean", "low", "high", "n_seeds"]
    figure = figures.rivals(pd.DataFrame(rows, columns=columns), GROUPS, (73, 291))
    looks = [(h.get_color(), h.get_marker()) for h in figure.legends[0].legend_handles]
    assert len(set(looks)) == len(GROUPS)
