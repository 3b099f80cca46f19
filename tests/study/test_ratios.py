"""Ratios of labels: curves of known crossing, draws that are missing, rivals that never arrive."""

import json

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.study import ratios

COUNTS = (10, 100, 1000)


def table(method, crossing, seeds=5, slope=0.1, counts=COUNTS, noise=0.0):
    """Accuracies linear in log10 n, 0.8 at the crossing: rows of a sweep."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            (method, n, seed, 0.8 + slope * np.log10(n / crossing) + noise * rng.normal())
            for n in counts
            for seed in range(seeds)
        ],
        columns=["method", "n_labels", "seed", "accuracy"],
    )


def test_the_ratio_of_two_known_crossings():
    found = ratios.ratio((table("soft", 30), "soft"), (table("net", 240), "net"))
    assert found["ours_needed"] == pytest.approx(30)
    assert found["rival_needed"] == pytest.approx(240)
    assert [found[k] for k in ("ratio", "low", "high")] == pytest.approx([8, 8, 8])
    assert found["paired"]
    assert found["draws"] == 5


def test_few_draws_have_no_interval():
    found = ratios.ratio((table("soft", 30), "soft"), (table("net", 240, seeds=2), "net"))
    assert found["ratio"] == pytest.approx(8)
    assert (found["low"], found["high"], found["paired"]) == (None, None, False)


def test_a_rival_that_never_arrives_has_no_ratio():
    found = ratios.ratio((table("soft", 30), "soft"), (table("net", 1e6), "net"))
    assert found["ratio"] is None
    assert found["rival_needed"] is None
    assert found["at_most"] == 1000
    assert ratios.ratio((table("soft", 30), "soft"), (table("net", 30), "other")) is None


def test_draws_that_lack_a_count_near_the_crossing_are_left_out():
    """A partial sweep: draw 3 has nothing above 10, draw 4 lacks 1,000, far from the crossing."""
    rows = table("net", 30)
    rows.loc[rows["seed"] == 0, "accuracy"] += 0.01
    rows = rows[~((rows["seed"] == 3) & (rows["n_labels"] > 10))]
    rows = rows[~((rows["seed"] == 4) & (rows["n_labels"] > 100))]
    counts, accuracy, seeds = ratios.curve_near(rows, "net")
    assert seeds.tolist() == [0, 1, 2, 4]
    assert counts.tolist() == [10, 100]
    assert accuracy.shape == (4, 2)


def test_draws_of_both_are_paired():
    """Where luck moves both curves alike, the ratio has no spread, though each crossing has."""
    shift = 0.004 * np.arange(5)
    ours, rival = table("soft", 30), table("net", 240)
    for rows in (ours, rival):
        rows["accuracy"] += shift[rows["seed"]]
    found = ratios.ratio((ours, "soft"), (rival, "net"))
    assert found["high"] - found["low"] < 1e-6


def test_the_best_of_several_needs_the_fewest_labels():
    rows = pd.concat([table("a", 300), table("b", 50), table("c", 1e6)])
    assert ratios.best_of(rows, ("a", "b", "c", "d")) == "b"
    assert ratios.best_of(rows, ("c", "d")) == "c"
    assert ratios.best_of(rows, ("d",)) is None
    # a method with a draw or two is not the best, unless there is no other
    lucky = pd.concat([rows, table("lucky", 20, seeds=1)])
    assert ratios.best_of(lucky, ("a", "b", "lucky")) == "b"
    assert ratios.best_of(lucky, ("lucky", "d")) == "lucky"


def test_the_three_ratios_and_their_file(tmp_path, capsys):
    sweep = pd.concat(
        [table("soft", 30), table("neighbours", 20), table("xgboost", 900), table("mlp", 600)]
        + [table("convolutional net", 60, counts=(10, 50, 100))]
    )
    sweep.to_csv(tmp_path / "sweep.csv", index=False)
    table("fixmatch", 40, seeds=3).to_csv(tmp_path / "rivals.csv", index=False)
    assert ratios.main(["--results", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "ratios.json").read_text())
    found = {(row["ours"], row["rival"]): row["ratio"] for row in rows}
    assert found == {
        ("soft", "xgboost"): pytest.approx(30),
        ("neighbours", "xgboost"): pytest.approx(45),
        ("soft", "convolutional net"): pytest.approx(2),
        ("neighbours", "convolutional net"): pytest.approx(3),
        ("soft", "fixmatch"): pytest.approx(4 / 3),
        ("neighbours", "fixmatch"): pytest.approx(2),
    }
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert said[2] == (
        "this book's recipe, soft, 80 %: 2.0 times (2.0 to 2.0; 5 draws) against the best network "
        "on labels alone (convolutional net)"
    )


def test_a_missing_table_is_one_line(tmp_path, capsys):
    assert ratios.main(["--results", str(tmp_path)]) == 2
    assert "sweep.csv" in capsys.readouterr().err
