"""The sweep: nested draws, the right images evaluated, resuming, and parallel runs."""

import json
from contextlib import ExitStack

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin

from gmvae_lib.errors import InputError
from gmvae_lib.label.decoding import SoftDecoder, decoders
from gmvae_lib.study import experiments
from gmvae_lib.study.experiments import draw_labelled, label_counts, summarise, sweep
from gmvae_lib.study.metrics import mean_and_interval

SHOWN = ["method", "n_labels", "seed", "accuracy", "n_evaluated"]  # all but the time


@pytest.fixture
def letters():
    """Posteriors [600, 12] that are right most of the time, and their labels."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 6, 600)
    q = rng.dirichlet(np.full(12, 0.1), 600)
    q[np.arange(600), 2 * y + rng.integers(0, 2, 600)] += 1.5
    return (q / q.sum(axis=1, keepdims=True)).astype(np.float32), y


class Recorder(ClassifierMixin, BaseEstimator):
    """Knows an image by its only pixel; is right unless it has seen the image's label."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.seen_ = set(X[:, 0].tolist())
        return self

    def predict(self, X):
        return np.array([-1 if value in self.seen_ else int(value) % 7 for value in X[:, 0]])


class Killed(Exception):
    pass


def kill_after(monkeypatch, cells):
    """Let `cells` cells finish, then stop as a kill would."""
    run, finished = experiments._run_cell, []

    def stop(*arguments):
        if len(finished) == cells:
            raise Killed
        finished.append(arguments[3])
        return run(*arguments)

    monkeypatch.setattr(experiments, "_run_cell", stop)
    return finished


@given(n_total=st.integers(1, 500), seed=st.integers(0, 99), data=st.data())
def test_draws_are_nested_and_without_repeats(n_total, seed, data):
    small, large = sorted(data.draw(st.integers(1, n_total)) for _ in "ab")
    few, many = draw_labelled(n_total, small, seed), draw_labelled(n_total, large, seed)
    np.testing.assert_array_equal(few, many[:small])
    assert len(set(many)) == large
    assert many.min() >= 0
    assert many.max() < n_total


def test_draws_are_uniform():
    drawn = np.concatenate([draw_labelled(10, 3, seed) for seed in range(2000)])
    # 6000 draws, 600 each, standard deviation about 20
    np.testing.assert_allclose(np.bincount(drawn, minlength=10), 600, atol=100)


@pytest.mark.parametrize("n_labels", [0, 11])
def test_draws_refuse(n_labels):
    with pytest.raises(InputError, match=f"n_labels: found {n_labels}"):
        draw_labelled(10, n_labels, 0)


def test_label_counts():
    assert label_counts(100_000) == [
        *(7, 15, 29, 73, 146, 291, 728, 1456, 2912, 7000, 14560, 50000),
    ]
    assert label_counts(100) == [7, 15, 29, 50]
    assert label_counts(2) == [1]
    with pytest.raises(InputError, match="n_total"):
        label_counts(1)


def test_sweep_fits_and_evaluates_as_by_hand(letters):
    q, y = letters
    table = sweep({"q": q}, y, {"q": decoders(q)}, [7, 73], [0, 1], progress=False)
    assert table.columns.tolist() == list(experiments.COLUMNS)
    assert len(table) == 5 * 2 * 2
    assert (table["n_evaluated"] == 600 - table["n_labels"]).all()
    for row in table.itertuples():
        labelled = draw_labelled(600, row.n_labels, row.seed)
        rest = np.setdiff1d(np.arange(600), labelled)
        decoder = decoders(q)[row.method].fit(q[labelled], y[labelled])
        assert row.accuracy == pytest.approx(decoder.score(q[rest], y[rest]))


def test_sweep_evaluates_all_unlabelled_images_and_no_labelled_one(monkeypatch):
    monkeypatch.setattr(experiments, "ROWS_AT_ONCE", 7)  # chunks that do not divide N
    pixel = np.arange(50)[:, None]
    table = sweep(
        {"q": pixel}, pixel[:, 0] % 7, {"q": {"r": Recorder()}}, [1, 49], [0, 5], progress=False
    )
    assert (table["accuracy"] == 1).all()
    assert table["n_evaluated"].tolist() == [49, 49, 1, 1]


def test_factories_are_told_the_cell(letters):
    q, y = letters
    told = []

    def factory(n_labels, seed, n_threads):
        told.append((n_labels, seed, n_threads))
        return SoftDecoder()

    sweep({"q": q}, y, {"q": {"made": factory}}, [9], [4], n_threads=2, progress=False)
    assert told == [(9, 4, 2)]


def test_parallel_equals_serial(letters):
    arguments = ({"q": letters[0]}, letters[1], {"q": decoders(letters[0])}, [7, 29], [0, 1])
    serial = sweep(*arguments, progress=False)
    parallel = sweep(*arguments, n_jobs=2, progress=False)
    pd.testing.assert_frame_equal(serial[SHOWN], parallel[SHOWN])


def test_a_killed_sweep_resumes_where_it_was(letters, tmp_path, monkeypatch):
    out = tmp_path / "new" / "sweep.csv"
    arguments = ({"q": letters[0]}, letters[1], {"q": decoders(letters[0])}, [7, 29], [0, 1])
    with monkeypatch.context() as patch:
        finished = kill_after(patch, 5)
        with pytest.raises(Killed):
            sweep(*arguments, out=out, progress=False)
    kept = pd.read_csv(out)
    assert len(kept) == 5
    with monkeypatch.context() as patch:
        again = kill_after(patch, 5 * 2 * 2 - 5)
        table = sweep(*arguments, out=out, progress=False)
    assert not set(finished) & set(again)
    pd.testing.assert_frame_equal(table[SHOWN], sweep(*arguments, progress=False)[SHOWN])
    pd.testing.assert_frame_equal(table, pd.read_csv(out))
    assert {path.name for path in out.parent.iterdir()} == {
        "sweep.csv",
        "sweep.csv.provenance.json",
    }


def test_a_finished_sweep_runs_nothing(letters, tmp_path, monkeypatch):
    arguments = ({"q": letters[0]}, letters[1], {"q": decoders(letters[0])}, [7], [0])
    first = sweep(*arguments, out=tmp_path / "s.csv", progress=False)
    kill_after(monkeypatch, 0)
    again = sweep(*arguments, out=tmp_path / "s.csv", progress=False)
    pd.testing.assert_frame_equal(first, again)


def test_more_methods_and_features_join_a_table(letters, tmp_path):
    q, y = letters
    out = tmp_path / "s.csv"
    sweep({"q": q}, y, {"q": {"soft": SoftDecoder()}}, [7], [0], out=out, progress=False)
    second = sweep({"p": q**2}, y, {"p": {"p": SoftDecoder()}}, [7], [0], out=out, progress=False)
    assert second["method"].tolist() == ["p"]
    assert pd.read_csv(out)["method"].tolist() == ["p", "soft"]
    provenance = json.loads((tmp_path / "s.csv.provenance.json").read_text())
    assert set(provenance["features"]) == {"q", "p"}
    assert provenance["n_images"] == 600


@pytest.mark.parametrize("change", ["labels", "q"])
def test_a_table_of_other_data_is_refused(change, letters, tmp_path):
    q, y = letters
    out = tmp_path / "s.csv"
    sweep({"q": q}, y, {"q": decoders(q)}, [7], [0], out=out, progress=False)
    before = out.read_bytes()
    if change == "labels":
        y = 5 - y
    else:
        q = q[::-1]
    with pytest.raises(InputError, match=f"provenance.json: found {change} with sha256"):
        sweep({"q": q}, y, {"q": decoders(q)}, [7, 9], [0], out=out, progress=False)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],  # cut off
        lambda text: text[:-9] + "\n",  # a row without its end
        lambda text: text.replace("seed", "sead"),
        lambda text: text + text.splitlines()[-1] + "\n",  # twice
        lambda text: text.replace("593", "592"),  # does not add up to N
        lambda text: "",
    ],
)
def test_a_damaged_table_is_refused_and_kept(damage, letters, tmp_path):
    arguments = ({"q": letters[0]}, letters[1], {"q": decoders(letters[0])}, [7], [0])
    out = tmp_path / "s.csv"
    sweep(*arguments, out=out, progress=False)
    out.write_text(damage(out.read_text()))
    before = out.read_bytes()
    with pytest.raises(InputError, match="s.csv: found"):
        sweep(*arguments, out=out, progress=False)
    assert out.read_bytes() == before


def test_a_table_without_provenance_is_refused(letters, tmp_path):
    arguments = ({"q": letters[0]}, letters[1], {"q": decoders(letters[0])}, [7], [0])
    sweep(*arguments, out=tmp_path / "s.csv", progress=False)
    (tmp_path / "s.csv.provenance.json").unlink()
    with pytest.raises(InputError, match="no readable provenance"):
        sweep(*arguments, out=tmp_path / "s.csv", progress=False)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": [0, 1]}, "found 600 rows; expected 2"),
        ({"methods": {"pixels": decoders(np.eye(2))}}, "found the kind 'pixels'"),
        ({"methods": {"q": {}}}, "expected at least one"),
        ({"seeds": []}, "expected at least one"),
        ({"n_labels": [0, 7]}, "found 0 to 7"),
        ({"n_labels": [600]}, "to leave an image"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed, message, letters):
    arguments = {
        "features": {"q": letters[0]},
        "y": letters[1],
        "methods": {"q": decoders(letters[0])},
        "n_labels": [7],
        "seeds": [0],
    }
    with pytest.raises(InputError, match=message):
        sweep(**(arguments | changed), progress=False)


def test_methods_need_names_of_their_own(letters):
    q, y = letters
    with pytest.raises(InputError, match="more than once"):
        sweep({"q": q, "p": q}, y, {"q": decoders(q), "p": decoders(q)}, [7], [0])


def test_summarise():
    table = pd.DataFrame(
        {"method": "soft", "n_labels": [7, 7, 7, 73], "accuracy": [0.1, 0.2, 0.6, 0.7]}
    )
    found = summarise(table)
    assert found["n_seeds"].tolist() == [3, 1]
    # an accuracy lies between 0 and 1, and so does its interval
    expected = np.clip(mean_and_interval([0.1, 0.2, 0.6]), 0, 1)
    assert found.loc[0, ["mean", "low", "high"]].tolist() == pytest.approx(expected)
    assert np.isnan(found.loc[1, "low"])


def test_tables_measured_apart_are_joined(letters, tmp_path, capsys):
    q, y = letters
    whole, first, second = (tmp_path / name for name in ("all.csv", "1.csv", "2.csv"))
    pixels = np.round(q, 2)
    sweep({"q": q}, y, {"q": decoders(q)}, [12], range(2), out=first, progress=False)
    methods = {"pixels": {"net": SoftDecoder()}}
    sweep({"pixels": pixels}, y, methods, [12, 60], range(2), out=second, progress=False)
    before = pd.read_csv(first)
    assert experiments.main([str(whole), str(first), str(second)]) == 0
    assert f"{whole}: {len(before) + 4} cells" in capsys.readouterr().out
    joined = pd.read_csv(whole)
    pd.testing.assert_frame_equal(
        joined[joined["method"] != "net"].reset_index(drop=True), before, check_exact=True
    )
    # the joined table knows the data of both: each goes on where it was
    again = sweep({"pixels": pixels}, y, methods, [12, 60], range(2), out=whole, progress=False)
    assert len(again) == 4
    with pytest.raises(InputError, match="found pixels with sha256"):
        sweep({"pixels": 1 - pixels}, y, methods, [12], [5], out=whole, progress=False)
    # cells that are there stay
    experiments.join(first, [whole])
    assert pd.read_csv(first).equals(joined)


def test_tables_of_other_data_are_not_joined(letters, tmp_path, capsys):
    q, y = letters
    for name, labels in (("1.csv", y), ("2.csv", (y + 1) % 6)):
        methods = {"q": {"soft": SoftDecoder()}}
        sweep({"q": q}, labels, methods, [12], [0], out=tmp_path / name, progress=False)
    kept = (tmp_path / "1.csv").read_text()
    assert experiments.main([str(tmp_path / "1.csv"), str(tmp_path / "2.csv")]) == 2
    assert "found labels with sha256" in capsys.readouterr().err
    assert (tmp_path / "1.csv").read_text() == kept


def test_intervals_of_an_accuracy_stay_within_zero_and_one():
    for accuracy in ([0.03, 0.9], [0.5, 1.0], [0.0, 0.2]):
        table = pd.DataFrame({"method": "soft", "n_labels": 9, "accuracy": accuracy})
        found = summarise(table).loc[0]
        assert 0 <= found["low"] < found["mean"] < found["high"] <= 1


def test_dropped_methods_make_room_for_a_new_posterior(letters, tmp_path):
    q, y = letters
    out = tmp_path / "sweep.csv"
    pixels = {"pixels": {"recorder": Recorder()}}
    both = {"q": decoders(q)} | pixels
    features = {"q": q, "pixels": np.arange(600.0)[:, None]}
    sweep(features, y, both, [10], [0], out=out, progress=False)
    new = {"q": q[:, ::-1].copy()}
    with pytest.raises(InputError, match="found q with sha256"):
        sweep(new, y, {"q": decoders(q)}, [10], [0], out=out, progress=False)
    experiments.drop_methods(out, "q", decoders(q))
    assert set(pd.read_csv(out)["method"]) == {"recorder"}
    sweep(new, y, {"q": decoders(q)}, [10], [0], out=out, progress=False)
    assert set(pd.read_csv(out)["method"]) == {"recorder", *decoders(q)}
    experiments.drop_methods(tmp_path / "none.csv", "q", decoders(q))


@pytest.mark.parametrize("backend", ["threading", "loky", "dask"])
def test_where_the_cells_run_does_not_change_the_table(backend, tmp_path):
    q, y = np.random.default_rng(0).dirichlet(np.ones(4), 60), np.arange(60) % 3

    def table(**how):
        methods = {"q": {"soft": SoftDecoder()}}
        found = sweep({"q": q}, y, methods, [5, 10], range(2), progress=False, **how)
        return found.drop(columns="seconds")

    expected = table()
    with ExitStack() as stack:
        if backend == "dask":
            distributed = pytest.importorskip("distributed")
            stack.enter_context(
                distributed.Client(
                    processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None,
                    local_directory=tmp_path,
                )
            )  # fmt: skip
        stack.enter_context(joblib.parallel_config(backend=backend, n_jobs=2))
        pd.testing.assert_frame_equal(table(out=tmp_path / "sweep.csv"), expected)
    kept = pd.read_csv(tmp_path / "sweep.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(kept, expected)
