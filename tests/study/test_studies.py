"""Studies: every row of the tables trains and is measured; labels come after the training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gmvae_lib import fit, rendered_letters
from gmvae_lib.errors import InputError
from gmvae_lib.label.neighbours import neighbour_decoder, smooth_posterior
from gmvae_lib.study import choice_rules, clusterings, studies, trials
from gmvae_lib.vae.config import preset


@pytest.fixture(scope="module")
def letters():
    return rendered_letters(n=780, seed=0)


@pytest.fixture
def source(letters, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "images_of", lambda *where: letters)
    monkeypatch.setattr(studies, "LABELS", (26, 73))
    return ("rendered", None)


def small(trial):
    """The same trial, made small enough for a test."""
    model, training = preset("quick", epochs=1)
    model = replace(
        trial.model, K=min(trial.model.K, 12), channels=model.channels, features=32, z_dim=8,
        encoder_hidden=(32,), decoder_hidden=(32,), style=trial.model.style and 16,
        auxiliary=trial.model.auxiliary and (20,), projection=trial.model.projection and 8,
    )  # fmt: skip
    training = replace(
        trial.training, epochs=1, batch_size=260, neighbours_from=0,
        generative_epochs=min(trial.training.generative_epochs, 1),
        neighbours=min(trial.training.neighbours, 3),
    )  # fmt: skip
    return replace(trial, model=model, training=training)


def test_names_tell_all_trials_apart():
    names = [trial.name for study in trials.STUDIES for trial in trials.trials(study)]
    assert len(names) == len(set(names))
    with pytest.raises(InputError, match="study: found 'x'"):
        trials.trials("x")


@pytest.mark.parametrize("variant", list(trials.ablation_rows()))
def test_every_row_of_the_ablation_trains_and_is_measured(variant, source, tmp_path, monkeypatch):
    monkeypatch.setattr(
        studies, "WITHOUT_Q", {name: few(f) for name, f in clusterings.WITHOUT_Q.items()}
    )
    trial = next(t for t in trials.trials("ablation") if t.variant == variant)
    row = studies.run_trial(small(trial), source, tmp_path, threads=1)
    assert row["n"] == 624 and 0 < row["graph 26"] < 1 and 0 < row["held-out soft 73"] < 1
    assert 1 <= row["in_use"] <= 100
    if trial.after == "q":
        assert row["elbo"] < 0 and 0 <= row["agreement"] <= np.log(12)


def few(clustering):
    """A clustering without a network, on few images, for speed."""
    return lambda x, rest, seed: [
        np.eye(100, dtype=np.float32)[np.arange(len(part)) % 100] for part in (x, rest)
    ]


@pytest.mark.parametrize("after", list(clusterings.WITHOUT_Q))
def test_clusterings_without_a_network_give_posteriors(after):
    x = np.random.default_rng(0).random((150, 60), dtype=np.float32)
    for q, n in zip(clusterings.WITHOUT_Q[after](x[:130], x[130:], 0), (130, 20), strict=True):
        assert q.shape == (n, 100)
        np.testing.assert_allclose(q.sum(1), 1, rtol=1e-4)


def test_labels_do_not_reach_what_is_known_without_them(letters, source, tmp_path, monkeypatch):
    trial = small(trials.trials("ablation")[0])
    row = studies.run_trial(trial, source, tmp_path / "a", threads=1)
    shuffled = replace(letters, labels=np.random.default_rng(1).permutation(letters.labels))
    monkeypatch.setattr(studies, "images_of", lambda *where: shuffled)
    other = studies.run_trial(trial, source, tmp_path / "b", threads=1)
    for name in ("loss", "elbo", "agreement", "in_use"):
        assert row[name] == other[name]
    # while what labels measure does change
    assert any(row[name] != other[name] for name in row if name.startswith(("soft", "hard")))


def test_a_finished_trial_is_read_not_run(source, tmp_path, monkeypatch):
    trial = small(trials.trials("seeds")[3])
    row = studies._finish(trial, source, tmp_path, 1)
    monkeypatch.setattr(studies, "run_trial", None)
    assert studies._finish(trial, source, tmp_path, 1) == row
    table = studies.collect(tmp_path, tmp_path / "studies.csv")
    assert studies.chosen_seed(table) == 3
    assert studies.seed_run(tmp_path, 3).history[-1]["loss"] == pytest.approx(row["loss"], abs=1e-4)


def test_rules_of_choice_have_rows_and_finished_seeds_stay(letters, source, tmp_path, monkeypatch):
    monkeypatch.setattr(choice_rules, "CHOSEN", (12, 30))
    monkeypatch.setattr(studies, "LABEL_SEEDS", range(2))
    trial = small(trials.trials("seeds")[1])
    fit(letters, trial.model, trial.training, out=tmp_path / trial.name)
    out = tmp_path / "choosing.csv"
    choice_rules.compare_choices(tmp_path, source, out)
    table = pd.read_csv(out)
    assert set(table["model_seed"]) == {1} and len(table) == (5 + 2) * 2
    assert table["accuracy"].between(0, 1).all()
    assert table["letters"].between(1, 26).all()
    monkeypatch.setattr(choice_rules, "rules_of_choice", None)  # not called again
    choice_rules.compare_choices(tmp_path, source, out)
    assert pd.read_csv(out).equals(table)


def test_later_images_change_nothing_for_the_earlier():
    rng = np.random.default_rng(0)
    q, later_q = rng.dirichlet(np.ones(4), 30), rng.dirichlet(np.ones(4), 5)
    near, later = rng.integers(0, 30, (30, 3)), rng.integers(0, 30, (5, 3))
    alone = neighbour_decoder(q, near)
    together = studies.with_later_images(alone, later_q, later)
    np.testing.assert_array_equal(together.q[:30], alone.q)
    np.testing.assert_array_equal(together.q[30:], smooth_posterior(later_q, later, others=alone.q))
    graph = together.graph.toarray()
    np.testing.assert_array_equal(graph[:30, :30], alone.graph.toarray())
    assert not graph[:, 30:].any()  # no edge leads to an earlier image
    for i, nearest in enumerate(later):
        expected = np.bincount(nearest, minlength=30) / later.shape[1]
        np.testing.assert_allclose(graph[30 + i, :30], expected, atol=1e-6)
    labelled, y = np.arange(6), list("ababab")
    near_label = together.fit(labelled, y).near_[:30]
    np.testing.assert_allclose(near_label, alone.fit(labelled, y).near_, atol=1e-6)


def test_an_image_that_comes_later_gets_what_it_would_in_the_graph():
    """Against the graph with the later images in it."""
    rng = np.random.default_rng(0)
    n, m, k = 300, 7, 5
    cluster = np.arange(n + m) % k
    q = 0.8 * np.eye(k)[cluster] + 0.2 * rng.dirichlet(np.ones(k), n + m)
    alike = [np.flatnonzero(cluster[:n] == c) for c in cluster]
    near = np.array([rng.choice(rows, 6) for rows in alike])
    rows = np.arange(20)
    y = np.where(rng.random(20) < 0.8, cluster[:20], 0)
    alone = neighbour_decoder(q[:n], near[:n])
    decoder = studies.with_later_images(alone, q[n:], near[n:]).set_params(steps=400).fit(rows, y)
    smoothed, wanted = decoder.q, decoder.predict_proba(np.arange(n, n + m))
    later = alone.set_params(steps=400).fit(rows, y).predict_proba_later(smoothed[n:], near[n:])
    # the later images also count as clusters' images and for the background: 7 in 307
    np.testing.assert_allclose(later, wanted, atol=0.02)
    one = alone.predict_proba_later(smoothed[n : n + 1], near[n : n + 1])
    np.testing.assert_allclose(one[0], later[0], rtol=1e-6)  # whoever else comes
    np.testing.assert_allclose(later.sum(axis=1), 1, rtol=1e-6)
