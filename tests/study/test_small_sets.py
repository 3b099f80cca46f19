"""The study of small sets: the rule for K, resuming, and the committed table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gmvae_lib import InputError
from gmvae_lib.study import small_sets
from gmvae_lib.study.small_sets import COLUMNS, SETS, cells, choose_components, chosen, load, study

RESULTS = Path(__file__).parents[2] / "results" / "small_sets.csv"


def test_the_smallest_number_of_components_that_agrees_nearly_best():
    assert choose_components({10: 1.0, 20: 1.81, 40: 2.0}) == 20
    assert choose_components({10: 1.0, 20: 1.79, 40: 2.0}) == 40
    assert choose_components({40: 1.0, 10: 1.0}) == 10


def test_sets():
    for name in SETS:
        X, y = load(name)
        assert len(X) == len(y) and np.isfinite(X).all()
        assert all(5 * K <= len(y) for _, K in cells(name))
    with pytest.raises(InputError, match="set: found 'iris'"):
        load("iris")


def test_a_killed_study_goes_on_where_it_was(tmp_path, monkeypatch, one_thread):
    small = dict(sets=["wine"], epochs=2)
    whole = study(tmp_path / "whole.csv", **small)
    assert list(whole.columns) == COLUMNS
    assert set(zip(whole["method"], whole["K"], strict=True)) == set(cells("wine"))
    assert whole["mean"].between(0.2, 1).all() and (whole["low"] <= whole["mean"]).all()
    assert whole["agreement"].notna().eq(whole["method"].eq("GMVAE")).all()
    measure, done = small_sets.measure, []

    def dying(*args, **parameters):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(args)
        return measure(*args, **parameters)

    with monkeypatch.context() as patch:
        patch.setattr(small_sets, "measure", dying)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "again.csv", **small)
    assert len(pd.read_csv(tmp_path / "again.csv")) == 3 * len(small_sets.LABELS)
    study(tmp_path / "again.csv", **small)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_the_committed_table_is_whole():
    table = pd.read_csv(RESULTS)
    assert set(table["data"]) == set(SETS)
    for name, part in table.groupby("data"):
        assert set(zip(part["method"], part["K"], strict=True)) == set(cells(name))
        counts = part.groupby(["method", "K"])["n_labels"]
        assert all(tuple(group) == small_sets.LABELS for _, group in counts)
    best = chosen(table)
    assert set(best) == set(SETS)
    # where it pays and where it does not, as the module says
    shown = table[(table["K"] == 0) | (table["K"] == table["data"].map(best))]
    mean = shown.set_index(["data", "method", "n_labels"])["mean"]
    for n in (50, 100):
        for name in ("wine", "breast cancer"):
            assert mean[name, "GMVAE", n] < mean[name, "logistic regression", n]
        rows = [mean["digits, rows", method, n] for method in ("GMVAE", "label spreading")]
        assert abs(rows[0] - rows[1]) < 0.01
    pictures = mean["digits, images"].unstack("method")
    assert (pictures.idxmax(axis=1) == "GMVAE").all()
