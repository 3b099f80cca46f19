"""Intervals over models and draws at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gmvae_lib.data.storage import write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.study.two_way import (
    cells,
    crossing,
    load_cells,
    measure,
    models,
    save_cells,
    summary,
    two_way,
)
from gmvae_lib.vae.runs import pack_posterior

TABLES = arrays(
    float,
    st.tuples(st.integers(2, 5), st.integers(2, 6)),
    elements=st.integers(0, 1000).map(lambda n: n / 1000),
)


def simulated(rng, sd_model, sd_draw, sd_rest, shape=(10, 20)):
    model, draw = rng.normal(0, sd_model, shape[0]), rng.normal(0, sd_draw, shape[1])
    return 0.8 + model[:, None] + draw + rng.normal(0, sd_rest, shape)


@pytest.mark.parametrize("sds", [(0.003, 0.03, 0.005), (0.02, 0.02, 0.02), (0.03, 0.003, 0.01)])
def test_the_intervals_cover_what_they_say(sds):
    rng, of_mean, of_one, tries = np.random.default_rng(0), 0, 0, 600
    for _ in range(tries):
        found = two_way(simulated(rng, *sds))
        of_mean += found.low <= 0.8 <= found.high
        new = 0.8 + sum(rng.normal(0, sd) for sd in sds)
        of_one += found.one_low <= new <= found.one_high
    # 95 % of 600 is 570, with a standard deviation of 5
    assert of_mean >= 550 and of_one >= 550


def test_an_interval_over_models_that_share_few_draws_is_too_narrow():
    rng = np.random.default_rng(1)
    table = simulated(rng, 0.003, 0.03, 0.005, (10, 5))
    found = two_way(table)
    over_models = 2.26 * table.mean(axis=1).std(ddof=1) / np.sqrt(10)
    assert found.high - found.mean > 4 * over_models


def test_components_are_found():
    found = two_way(simulated(np.random.default_rng(2), 0.02, 0.05, 0.01, (200, 200)))
    assert found.sd_model == pytest.approx(0.02, rel=0.15)
    assert found.sd_draw == pytest.approx(0.05, rel=0.15)
    assert found.sd_rest == pytest.approx(0.01, rel=0.05)


@given(TABLES, st.sampled_from([-0.5, 0.25, 2.0]))
def test_laws(table, shift):
    found = two_way(table)
    assert found.low <= found.mean <= found.high
    assert found.one_low <= found.mean <= found.one_high
    assert np.allclose(two_way(table[::-1, ::-1]), found, atol=1e-9)
    moved = two_way(table + shift)
    assert np.allclose(moved[5:], found[5:], atol=1e-6)
    assert moved.mean == pytest.approx(found.mean + shift, abs=1e-9)


@pytest.mark.parametrize("table", [[[1.0, 2.0]], [[1.0], [2.0]], [[1.0, np.nan]] * 2, [1.0]])
def test_tables_that_say_nothing_of_the_spread_are_refused(table):
    with pytest.raises(InputError, match="two"):
        two_way(table)


def test_models_are_measured_and_summarised(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=300)
    for file, seeds in enumerate([(0, 1), (2,)]):
        columns = {}
        for seed in seeds:
            q = rng.dirichlet(np.full(6, 0.2), 300) + 2 * np.eye(6)[2 * y + seed % 2]
            q = (q / q.sum(axis=1, keepdims=True)).astype(np.float32)
            near = np.stack([np.flatnonzero(y == k)[:4] for k in y]).astype(np.int32)
            packed = pack_posterior(q) | {"neighbours": near}
            columns |= {f"{seed}.{name}": value for name, value in packed.items()}
        write_npz(tmp_path / f"seeds{file}.npz", columns)
    assert [seed for seed, *_ in models(tmp_path)] == [0, 1, 2]
    assert [seed for seed, *_ in models(tmp_path, only=[2, 0])] == [0, 2]
    settings = {"n_labels": {"q": (20, 40), "rows": (40,)}, "draws": {"q": 4, "rows": 2}}
    measured = measure(tmp_path, y, tmp_path / "work", **settings)
    again = measure(tmp_path, y, tmp_path / "work", **settings)
    assert measured.equals(again)
    table = summary(measured).set_index(["method", "n_labels"])
    assert table.loc[("soft", 40), ["models", "draws"]].tolist() == [3, 4]
    assert table.loc[("neighbours", 40), "draws"] == 2
    assert table.loc[("soft", 40), "mean"] > 0.9
    save_cells(tmp_path / "cells.npz", cells(measured))
    stored = load_cells(tmp_path / "cells.npz")
    assert set(stored) == set(table.index)
    assert stored["soft", 40].shape == (3, 4)
    found = two_way(stored["soft", 40])
    assert found.mean == pytest.approx(table.loc[("soft", 40), "mean"], abs=1e-6)
    with pytest.raises(InputError, match=r"seeds\*\.npz"):
        next(models(tmp_path / "work"))


def test_a_crossing_is_that_of_the_mean_with_models_and_draws_resampled():
    rng = np.random.default_rng(0)
    shift = simulated(rng, 0.01, 0.03, 0.005, (10, 100)) - 0.8
    found = {("soft", n): accuracy + shift for n, accuracy in ((100, 0.75), (200, 0.85))}
    given = crossing(found, "soft", 0.8, n_resamples=400)
    at = {n: table.mean() for (_, n), table in found.items()}
    share = (0.8 - at[100]) / (at[200] - at[100])
    assert given[0] == pytest.approx(100 * 2**share, rel=1e-6)
    # the mean has a standard deviation of 0.01 / sqrt(10) and 0.03 / sqrt(100): 0.0044 in all
    assert given[1:].std() == pytest.approx(given[0] * np.log(2) * 0.0044 / 0.1, rel=0.3)
    assert np.isinf(crossing(found, "soft", 0.99, n_resamples=10)).all()


def test_few_models_move_a_crossing_by_students_t():
    """Two models whose accuracy is linear in log labels: log of the crossing has a t interval."""
    counts = (100, 200, 400, 800, 1600, 3200)
    noise = np.random.default_rng(1).normal(0, 1e-6, (2, 3))
    found = {
        ("soft", n): 0.5 + 0.1 * np.log2(n / 100) + np.array([[-0.01], [0.01]]) + noise
        for n in counts
    }
    drawn = crossing(found, "soft", 0.75, n_resamples=4000)
    shift = np.log2(drawn[1:] / 100 / 2**2.5)  # t_1 * 0.01 / 0.1, its quartiles +- 0.1
    assert np.log2(drawn[0] / 100) == pytest.approx(2.5, abs=1e-3)
    assert np.quantile(shift, [0.25, 0.75]) == pytest.approx([-0.1, 0.1], abs=0.015)
    # the interval of the accuracy there, mean +- 12.7 * 0.01, is that of the crossing
    low, high = two_way(found["soft", 400])[1:3]
    assert (high - low) / 2 == pytest.approx(12.706 * 0.01, rel=1e-3)
    assert np.quantile(shift, 0.95) == pytest.approx(6.314 * 0.1, rel=0.25)
