"""Ways to name with fewer labels: cells, resuming, pairing."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.errors import InputError
from gmvae_lib.study import fewer_labels as fewer
from gmvae_lib.study import mnist_few_labels as few
from gmvae_lib.study import targets
from gmvae_lib.study.experiments import draw_labelled


@pytest.fixture(scope="module")
def groups():
    """Three models of 120 points in three groups: posteriors and neighbours, and the labels."""
    y = np.repeat([0, 1, 2], [30, 30, 60])
    embedded = {}
    for m in fewer.MODELS:
        rng = np.random.default_rng(m)
        x = 4 * np.eye(3)[y] + rng.normal(size=(120, 3))
        far = np.linalg.norm(x[:, None] - x, axis=2)
        np.fill_diagonal(far, np.inf)
        q = np.full((120, 3), 0.1, np.float32)
        q[np.arange(120), y] = 0.8
        embedded[m] = q, np.argsort(far, axis=1)[:, :10].astype(np.int32)
    return embedded, y


def test_every_way_names_the_groups_and_a_second_call_adds_nothing(groups, tmp_path):
    embedded, y = groups
    path = tmp_path / "cells.csv"
    fewer.measure_random(embedded, y, path, counts=(6, 12), draws=2, few_draws=1)
    table = pd.read_csv(path)
    few = {fewer.EQUAL, fewer.ESTIMATED, fewer.POISSON, fewer.DIFFUSION, fewer.UNION}
    always = {fewer.BASE, fewer.TOLD, fewer.TOGETHER, fewer.TOGETHER_TOLD}
    assert set(table[table["draw"] == 0]["method"]) == few | always
    assert set(table[table["draw"] == 1]["method"]) == always
    assert table[table["n_labels"] == 12].groupby("method")["accuracy"].mean().min() > 0.6
    before = path.read_bytes()
    fewer.measure_random(embedded, y, path, counts=(6, 12), draws=2, few_draws=1)
    assert path.read_bytes() == before
    # a draw that is missing is measured again, as before
    table[table["draw"] == 0].to_csv(path, index=False)
    fewer.measure_random(embedded, y, path, counts=(6, 12), draws=2, few_draws=1)
    assert path.read_bytes() == before


def test_chosen_labels_add_to_the_same_table(groups, tmp_path):
    embedded, y = groups
    path = tmp_path / "cells.csv"
    fewer.measure_random(embedded, y, path, counts=(6,), draws=1, few_draws=0)
    fewer.measure_chosen(embedded, y, path, counts=(3, 6))
    table = pd.read_csv(path)
    chosen = table[table["labels"] == "chosen"]
    assert set(chosen["method"]) == {fewer.BASE, fewer.TOLD} and len(chosen) == 12
    found = fewer.gains(table)
    assert len(found) == 8 and np.allclose(found[found["method"] == fewer.BASE]["gain"], 0)


def test_chosen_labels_alone_resume(groups, tmp_path):
    embedded, y = groups
    path = tmp_path / "cells.csv"
    fewer.measure_chosen(embedded, y, path, counts=(3, 6))
    before = path.read_bytes()
    fewer.measure_chosen(embedded, y, path, counts=(3, 6))
    assert path.read_bytes() == before
    assert len(fewer.gains(fewer.read(path))) == 4


def test_another_table_is_refused_and_kept(groups, tmp_path):
    embedded, y = groups
    path = tmp_path / "cells.csv"
    path.write_text("n_labels,accuracy\n73,0.5\n")
    with pytest.raises(InputError, match="found the columns n_labels, accuracy; expected labels"):
        fewer.measure_random(embedded, y, path)
    assert path.read_text() == "n_labels,accuracy\n73,0.5\n"


def test_the_gain_is_paired_with_the_models_and_draws():
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 0.03, 20)
    rows = []
    for d in range(20):
        for i, m in enumerate(fewer.MODELS):
            rows.append(["random", 73, d, str(m), fewer.BASE, 0.75 + luck[d] + 0.01 * i])
        rows.append(["random", 73, d, "all", fewer.TOGETHER, 0.78 + luck[d]])
    found = fewer.gains(pd.DataFrame(rows, columns=fewer.COLUMNS)).set_index("method")
    row = found.loc[fewer.TOGETHER]
    assert row["gain"] == pytest.approx(2.0) and row["gain_high"] - row["gain_low"] < 1e-6
    assert row["high"] - row["low"] > 1  # the draws


def test_told_sizes_are_those_of_the_images(groups):
    _, y = groups
    assert fewer.true_shares(y) == {0: 0.25, 1: 0.25, 2: 0.5}
    rows = draw_labelled(len(y), 6, 0)
    p = np.full((120, len(np.unique(y[rows]))), 1.0)
    assert fewer.score(p, y, rows) == pytest.approx((y == y[rows].min())[
        np.setdiff1d(np.arange(120), rows)
    ].mean())  # fmt: skip


def test_limits_count_i_for_l(groups):
    embedded, y = groups
    table = fewer.limits(embedded, y, ("a", "i", "l"))
    assert len(table) == 3
    assert (table["purity without i, l"] >= table["purity"]).all()
    assert (table["vote of 10"] > 0.9).all()


def test_targets_say_what_was_reached_and_on_how_much():
    rows = []
    for d in range(4):
        for m in fewer.MODELS:
            rows.append(["random", 73, d, str(m), fewer.BASE, 0.75 + 0.01 * d])
        rows.append(["random", 73, d, "all", fewer.TOGETHER, 0.79 + 0.01 * d])
    rows += [["chosen", 40, 0, str(m), fewer.TOLD, 0.86 + 0.01 * m] for m in fewer.MODELS]
    rows += [["chosen", 40, 0, str(m), fewer.BASE, 0.85] for m in fewer.MODELS]
    together, chosen = targets.fewer_targets(pd.DataFrame(rows, columns=fewer.COLUMNS))
    assert (together["target"], round(together["obtained"], 4)) == (0.80, 0.805)
    assert "3 trainings, 4 draws" in together["name"] and together["low"] < 0.80 < together["high"]
    assert "3 trainings)" in chosen["name"] and chosen["command"].endswith("--part chosen")


def test_the_target_on_digits_takes_draws_that_all_models_met():
    rows = [
        (m, 10, d, few.BALANCED, 0.98 + 0.001 * m)
        for m, n_draws in ((0, 5), (1, 3))
        for d in range(n_draws)
    ]
    (found,) = targets.digit_targets(pd.DataFrame(rows, columns=few.COLUMNS))
    assert "2 trainings x 3 published draws" in found["name"]
    assert found["obtained"] == pytest.approx(0.9805)
    assert targets.digit_targets(pd.DataFrame(columns=few.COLUMNS)) == []
