"""The rows of the claims table: what they print, and what they do with gaps."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.study import article, claims
from gmvae_lib.study.evidence import (
    ARTICLE,
    article_accuracies,
    article_cells,
    evidence,
    over_trainings,
)
from gmvae_lib.study.metrics import crossings, labels_at_accuracy_interval


def row(number, obtained, low=None, high=None):
    return {"id": number, "obtained": obtained, "low": low, "high": high}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (row(3, 0.749, 0.744, 0.755), "74.9 % (74.4 to 75.5)"),
        (row(4, 10335.2, 10042, 10664), "10,335 labels (10,042 to 10,664)"),
        (row(5, None, None, 0.2), "less than 0.2 times"),
        (row(5, None, 5.0), "more than 5.0 times"),
        (row(7, -0.004, -0.01, 0.002), "-0.4 points (-1.0 to +0.2)"),
        (row(9, None), "–"),
    ],
)
def test_values_are_printed_with_their_unit(given, text):
    assert claims.shown(given) == text


def test_bad_input_is_one_line(tmp_path, capsys):
    assert claims.main(["12"]) == 2
    assert claims.main(["3", "--results", str(tmp_path)]) == 2
    assert article.main(["--results", str(tmp_path)]) == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "claims: error: NUMBER: found 12, expected 1 to 9"
    assert "found no sweep.csv" in second
    assert "article-public: not found" in third


def test_draws_that_were_not_measured_everywhere_count_where_they_were():
    table = pd.DataFrame(
        [("a", n, s, n / 1000) for n in (500, 900) for s in range(4)]
        + [("a", 1000, s, 1.0) for s in range(2)],
        columns=["method", "n_labels", "seed", "accuracy"],
    )
    counts, accuracy = claims.curve(table, "a")
    assert counts.tolist() == [500, 900, 1000] and np.isnan(accuracy[2:, 2]).all()
    found = labels_at_accuracy_interval((counts, accuracy), 0.8)
    assert found[0] == pytest.approx(500 * (900 / 500) ** 0.75)
    np.testing.assert_allclose(crossings((counts, accuracy), 0.8, n_resamples=5), found[0])
    assert claims.curve(table[table["seed"] == 0], "a")[0].tolist() == [500, 900, 1000]


def articles(*models):
    """Rows of article_sweep.csv: soft at 291 labels, accuracies by model."""
    return pd.DataFrame(
        [("soft", name, 291, s, a) for name, values in models for s, a in enumerate(values)],
        columns=["method", "model", "n_labels", "seed", "accuracy"],
    )


def test_trainings_of_the_article_are_compared_on_the_draws_that_all_have():
    one, other = ("public, seed 0", [0.70, 0.72, 0.74]), ("public, seed 1", [0.80, 0.81])
    form = ("ReLU, seed 0", [0.5, 0.5, 0.5])
    alone = article_accuracies(articles(one, form), "soft", 291)
    assert alone.tolist() == [0.70, 0.72, 0.74]
    both = articles(one, other, form)
    assert article_accuracies(both, "soft", 291).tolist() == [[0.70, 0.72], [0.80, 0.81]]
    assert article_cells(both)["soft", 291].shape == (2, 2)
    means = over_trainings(both).set_index("seed")["accuracy"]
    assert means.to_dict() == pytest.approx({0: 0.75, 1: 0.765, 2: 0.74})


def test_one_more_training_that_differs_leaves_claim_3_undecided():
    ev = evidence("results")
    first = ev.article[ev.article["model"] == "public, seed 0"]
    again = first.assign(model="public, seed 1", accuracy=first["accuracy"] + 0.05)
    further = ev.article[~ev.article["model"].str.startswith("public")]
    found = {}
    for name, table in (("one", [first, further]), ("two", [first, again, further])):
        rows = claims.claims_table(replace(ev, article=pd.concat(table)))
        found[name] = {row["id"]: row for row in rows if row["model"] == ARTICLE}
    one, two = (found[name][3] for name in ("one", "two"))
    assert two["obtained"] == pytest.approx(one["obtained"] + 0.025)
    assert one["verdict"] == "not reproduced" and two["verdict"] == "undecided"
    assert two["low"] < one["low"] and two["high"] > one["high"] + 0.05
    assert "the 2 trainings, by seed" in two["note"] and "2 trainings, 100 draws" in two["dataset"]
    assert found["two"][5]["high"] > found["one"][5]["high"]
