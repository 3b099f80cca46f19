"""The tables of chapter 3's theory, on a small world."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib import bounds
from gmvae_lib.label.decoding import cluster_affinity
from gmvae_lib.study import theory


@pytest.fixture(scope="module")
def problem():
    """Twelve clusters of four letters on a ring; neighbours share images, and mostly a letter."""
    rng = np.random.default_rng(0)
    cluster = rng.choice(12, 4000, p=rng.dirichlet(np.full(12, 8.0)))
    y = np.where(rng.random(4000) < 0.9, cluster // 3, rng.integers(0, 4, 4000))
    away = np.abs(cluster[:, None] + rng.normal(0, 0.3, (4000, 1)) - np.arange(12))
    q = np.exp(-4 * np.minimum(away, 12 - away)) + 1e-5
    return (q / q.sum(axis=1, keepdims=True)).astype(np.float32), y


def clusters(q, y):
    table = bounds.cluster_table(q, y)
    return table.label_given_cluster, table.weights, cluster_affinity(q)


def test_measured_lies_about_the_prediction(problem):
    q, y = problem
    measured = theory.measured_curves(q, y, counts=(10, 60), draws=25, progress=False)
    predicted = theory.predicted_curves(*clusters(q, y), counts=(10, 60))
    value = {
        (kind, row.rule, row.n_labels): row.value
        for kind, table in (("m", measured), ("p", predicted))
        for row in table.itertuples()
    }
    assert set(measured["draws"]) == {25}
    for n in (10, 60):
        error = 4 * measured["spread"].max() / 5 + 0.02
        assert value["p", "proportional", n] - error < value["m", "hard", n]
        assert value["m", "graph", n] < value["p", "graph", n] + error
        assert value["p", "graph", n] <= value["p", "ceiling", n] + 0.01
        # the bound for unrelated clusters holds for the rule that ignores how they are related
        assert value["m", "hard (no fallback)", n] < value["p", "independent", n] + error


def test_stratified_measured_is_what_is_expected(problem):
    q, y = problem
    table = theory.stratified(q, y, draws=20)
    drawn = table[table["placed"] == "at random"].set_index("labels")
    assert drawn.index.tolist() == list(theory.PER_CLUSTER)
    half = (drawn["high"] - drawn["low"]).max()
    assert (drawn["value"] - drawn["expected"]).abs().max() < 2 * half + 0.002
    typical = table[table["placed"] == "typical"]
    assert typical["of_majority"].between(0, 1).all()
    near = np.argsort(np.abs(np.subtract.outer(q.argmax(1)[:400], q.argmax(1)[:400])), axis=1)
    table = theory.stratified(q[:400], y[:400], near[:, 1:4], draws=2)
    assert set(table["placed"]) == {"at random", "typical", "typical, smoothed"}


def test_forecasts_beside_the_truth(problem):
    table = theory.forecast_errors(*problem, counts=(20,), draws=15, progress=False)
    assert table["rule"].tolist() == list(theory.FORECAST_RULES)
    assert (table["forecast"] - table["truth"]).abs().max() < 0.1
    assert table["coverage"].between(0.6, 1).all()
    assert (table["turing_rmse"] < 0.1).all()


def test_needed_compares_with_measured_curves(problem):
    table = theory.needed(*problem, draws=3, progress=False)
    assert len(table) == 2 * len(theory.PILOTS) * len(theory.TARGETS)
    reached = table[np.isfinite(table["measured"])]
    assert len(reached)
    assert (reached["low"] <= reached["labels"]).all()
    # a target is not easier when it is higher
    for _, group in table.groupby(["chosen", "pilot"]):
        assert group["measured"].is_monotonic_increasing


def test_saved_clusters_are_the_cluster_table(problem, tmp_path):
    q, y = problem
    q = np.concatenate([q, np.zeros((len(q), 1), np.float32)], axis=1)  # one not in use
    theory.save_clusters(tmp_path / "clusters.npz", q, y)
    table, weights, affinity = theory.load_clusters(tmp_path / "clusters.npz")
    expected = clusters(*problem)
    np.testing.assert_allclose(table, expected[0])
    np.testing.assert_allclose(weights, expected[1])
    np.testing.assert_allclose(affinity, expected[2], rtol=1e-4)


def test_agreement_by_rank_gives_the_accuracy_of_equal_clusters():
    """A_n = sum of ((1 - r/K)^n - (1 - (r+1)/K)^n) s_r, exactly, for equal pure clusters."""
    rng, K, n = np.random.default_rng(0), 8, 5
    names = np.eye(3)[rng.integers(0, 3, K)]
    affinity = rng.random((K, K))
    s = theory.agreement_by_rank(names, np.full(K, 1 / K), affinity)
    assert s[0] == 1
    empty = (1 - np.arange(K + 1) / K) ** n
    expected = bounds.expected_hard_accuracy(names, K, n, affinity=affinity)
    assert (empty[:-1] - empty[1:]) @ s == pytest.approx(expected)


def test_effective_clusters_of_unrelated_ones_is_their_number():
    for n in (1, 10, 73):
        covered = 1 - bounds.expected_missing_mass(40, n)
        assert theory.effective_clusters(0.9 * covered, 0.9, n) == pytest.approx(40)


def test_tables_are_written_with_their_provenance(problem, tmp_path, monkeypatch):
    q, y = problem

    class Run:
        posterior, labels, extra = q, y, {}

    monkeypatch.setattr(theory, "load_run", lambda path: Run)
    monkeypatch.setattr(theory, "COUNTS", (10,))
    for name in ("measured_curves", "predicted_curves"):
        function = getattr(theory, name)
        monkeypatch.setattr(
            theory,
            name,
            lambda *a, f=function, **k: f(*a, counts=(10,), **(k and {"draws": 3} | k)),
        )
    theory.write_tables(tmp_path, tmp_path / "article", None, ["theory"], progress=False)
    table = pd.read_csv(tmp_path / "theory.csv")
    assert set(table["kind"]) == {"predicted", "measured"}
    assert table["model"].nunique() == 2
    assert (tmp_path / "article_clusters.npz").exists()
    assert '"command"' in (tmp_path / "theory.json").read_text()
