"""The letters that the first page asks for are those suggested; what it packs comes back."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gmvae_lib import GMVAEConfig, InputError, Run, TrainConfig
from gmvae_lib.data.images import ImageSet
from gmvae_lib.label.choosing import suggest
from gmvae_lib.label.decoding import cluster_affinity
from gmvae_lib.label.neighbours import smooth_posterior
from gmvae_lib.study import labeller

K, N = 8, 400


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    q = rng.dirichlet(np.full(K, 0.2), N).astype(np.float32)
    made = Run(GMVAEConfig(K=K), TrainConfig(), [], {}, {})
    made.posterior, made.labels = q, rng.integers(0, 3, N)
    made.class_names = ("a", "b", "c")
    made.extra = {"neighbours": rng.integers(0, N, (N, 10))}
    return made


@pytest.fixture(scope="module")
def sweep():
    rows = [("xgboost", 7, 0.1), ("xgboost", 7, 0.2), ("xgboost", 29, 0.4)]
    rows += [("convolutional net", 7, 0.3)]
    return pd.DataFrame(rows, columns=["method", "n_labels", "accuracy"])


def test_what_is_packed_comes_back(run, sweep):
    index = np.arange(40)
    found = json.loads(json.dumps(labeller.labeller_data(run, sweep, index, n_sample=200)))
    q = smooth_posterior(run.posterior, run.extra["neighbours"])
    asked = labeller.unpacked_posterior(found["asked"], K)
    np.testing.assert_allclose(asked, q[:40], atol=1e-5)
    sample = labeller.unpacked_posterior(found["sample"], K)
    assert ((sample > 0).sum(axis=1) <= labeller.KEPT).all() and found["n_sample"] == 200
    affinity = cluster_affinity(q)
    np.testing.assert_allclose(
        labeller.unpacked_affinity(found["affinity"]), affinity / affinity.max(), atol=1e-4
    )
    assert found["baselines"]["xgboost"] == {"n": [7, 29], "accuracy": [0.15, 0.4], "draws": 2}


def test_letters_that_are_asked_for_are_never_in_the_sample(run, sweep):
    index = np.arange(0, N, 2)
    found = labeller.labeller_data(run, sweep, index, n_sample=N)
    assert found["n_sample"] == N - len(index)


def test_sheet_shows_the_suggested_letters(run, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (N, 28, 28), dtype=np.uint8)
    index = labeller.draw_thumbnails(run, ImageSet(images), tmp_path)
    assert index.tolist() == suggest(run.posterior, 100, run.extra["neighbours"])["index"].tolist()
    assert labeller.asked_letters(run, tmp_path).tolist() == index.tolist()
    with Image.open(tmp_path / labeller.SHEET) as sheet:
        pixels = np.asarray(sheet.convert("L")).astype(int)
    rows = len(index) // labeller.COLUMNS
    assert pixels.shape == (28 * rows, 28 * labeller.COLUMNS)
    last = pixels[-28:, -28:]  # dark on white, in sixteen greys
    assert np.abs(last - (255 - images[index[-1]].astype(int))).max() <= 9


@pytest.mark.parametrize("text", ['{"index": [1, 1]}', '{"index": [4000]}', '{"index": 3}'])
def test_faulty_record_is_named(run, tmp_path, text):
    with pytest.raises(InputError, match="not found, expected what"):
        labeller.asked_letters(run, tmp_path)
    (tmp_path / labeller.RECORD).write_text(text)
    with pytest.raises(InputError, match="expected distinct row numbers below 400"):
        labeller.asked_letters(run, tmp_path)
