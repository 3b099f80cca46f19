"""The article's model: its sampler, its sweep, and what soft corrects."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gmvae_lib import GMVAEConfig, TrainConfig
from gmvae_lib.errors import InputError
from gmvae_lib.study.article import (
    corrections,
    public_runs,
    read_training,
    sampler,
    sweep_models,
)
from gmvae_lib.study.disagreement import count_disagreements, find_disagreement
from gmvae_lib.vae.model import GMVAE
from gmvae_lib.vae.runs import Run


@pytest.fixture(scope="module")
def partial():
    """A run that has kept the weights of its prior and its decoder only, and its whole model."""
    config = GMVAEConfig(
        K=3, z_dim=2, image_shape=(4, 4), posterior="heads", encoder="mlp", encoder_hidden=(8,),
        decoder_hidden=(8,), last_activation=False,
    )  # fmt: skip
    whole = GMVAE(config).eval()
    state = {
        name: value.numpy().copy()
        for name, value in whole.state_dict().items()
        if name.startswith(("prior", "decoder"))
    }
    return Run(config, TrainConfig(), [], {}, state), whole


def test_samples_need_the_prior_and_the_decoder_only(partial):
    run, whole = partial
    np.testing.assert_array_equal(sampler(run).sample(1, n=2, seed=5), whole.sample(1, 2, 5))
    with pytest.raises(InputError, match="decoder"):
        sampler(replace(run, state={k: v for k, v in run.state.items() if "decoder" not in k}))


def test_each_kind_of_correction_is_counted():
    labelled_q, labelled_y = np.eye(6)[[0, 0, 1, 2, 3]], np.array([0, 1, 1, 1, 0])
    # component 0 is tied, 1 and 2 vote for letter 1, 3 for letter 0, 4 and 5 are empty
    new = [
        ([0.60, 0.40, 0.00, 0.00, 0.00, 0.00], 1, "tie"),  # hard says 0
        ([0.00, 0.33, 0.33, 0.34, 0.00, 0.00], 1, "mass"),
        ([0.00, 0.00, 0.00, 0.45, 0.55, 0.00], 0, None),  # both right
    ]
    q = np.vstack([labelled_q, [row for row, *_ in new]])
    y = np.r_[labelled_y, [truth for _, truth, _ in new]]
    found = count_disagreements(q, y, np.arange(5))
    assert found["corrected_tie"] == found["corrected_mass"] == 1
    assert found["corrected"] == 2 and found["spoiled"] == 0
    assert found["corrected_example"] == 1  # three components are above 0.1


def test_parts_add_up_and_agree_with_the_rule_of_figure_2():
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=3000)
    q = (
        rng.dirichlet(np.full(12, 0.15), 3000)
        + 0.7 * np.eye(12)[3 * y + rng.integers(3, size=3000)]
    )
    q /= q.sum(axis=1, keepdims=True)
    for n in (6, 20, 60):
        labelled = rng.permutation(3000)[:n]
        found = count_disagreements(q, y, labelled)
        for kind in ("corrected", "spoiled"):
            parts = [found[f"{kind}_{part}"] for part in ("unlabelled", "mass", "tie", "rate")]
            assert found[kind] == sum(parts)
        if found["corrected_example"]:
            example = find_disagreement(q, y, labelled)
            assert example.n_candidates == found["corrected_example"]


def test_models_are_swept_with_the_same_draws_and_resumed(tmp_path):
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=60)
    models = {
        name: (rng.dirichlet(np.ones(5), 60).astype(np.float32), y) for name in ("public", "b, 1")
    }
    found = sweep_models(models, tmp_path, {"public": 3, "b, 1": 2}, progress=False)
    again = sweep_models(models, tmp_path, {"public": 3, "b, 1": 2}, progress=False)
    pd.testing.assert_frame_equal(found, again)
    assert found.groupby("model")["seed"].nunique().to_dict() == {"public": 3, "b, 1": 2}
    counted = corrections(models, n_labels=(10,), draws=2, progress=False)
    assert len(counted) == 4 and (counted["corrected"] >= counted["corrected_mass"]).all()


def test_the_published_trainings_differ_in_their_seed_alone():
    paths = public_runs("results")
    assert list(paths)[:2] == ["public, seed 0", "public, seed 1"]
    configs = [json.loads((path / "config.json").read_text()) for path in paths.values()]
    seeds = [config["training"].pop("seed") for config in configs]
    assert seeds == list(range(len(seeds))) and all(config == configs[0] for config in configs)
    for path in paths.values():
        found = read_training(path)
        assert len(found.history) == 450 and found.made["card"]
        assert found.posterior.shape == (100_000, 100)
        np.testing.assert_allclose(found.posterior.sum(axis=1), 1, atol=1e-3)
