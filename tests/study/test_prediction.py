"""Predicted accuracies against counting draws, and their table."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib import bounds
from gmvae_lib.study import prediction
from gmvae_lib.study.experiments import summarise, sweep
from gmvae_lib.study.metrics import purity


@pytest.fixture(scope="module")
def problem():
    """Twelve clusters of two letters each, and posteriors that mostly know their cluster."""
    rng = np.random.default_rng(0)
    cluster = rng.choice(12, size=3000, p=rng.dirichlet(np.full(12, 5.0)))
    y = np.where(rng.random(3000) < 0.9, cluster % 5, (cluster + 1) % 5)
    q = rng.dirichlet(np.full(12, 0.1), size=3000) + 3 * np.eye(12)[cluster]
    return (q / q.sum(axis=1, keepdims=True)).astype(np.float32), y


def test_the_prediction_is_what_is_measured(problem):
    q, y = problem
    table = sweep({"q": q}, y, {"q": prediction.RULES}, [400, 1000], range(20), progress=False)
    few = sweep({"q": q}, y, {"q": prediction.RULES}, [20], range(2), progress=False)
    found = prediction.predicted_and_measured(q, y, summarise(pd.concat([few, table])))
    assert sorted(found["draws"].unique()) == [20, len(prediction.MORE_DRAWS)]
    assert len(found) == 3 * 3
    error = (found["predicted"] - found["measured"]).abs()
    # half the width of the interval is about two standard errors; the sample has one of its own
    assert (error < 2 * (found["high"] - found["measured"]) + 0.01).all()


def test_all_images_are_a_sample_of_themselves(problem):
    q, y = problem
    cells = prediction.sample_cells(q, y, size=10**6)
    assert len(cells.labels) == len(y)
    assert cells.weights.sum() == pytest.approx(1)
    table = bounds.cluster_table(q, y)
    accuracy = prediction.predict(table, cells, 3000)
    # every cluster is covered, and the majority of its labels is that of its images
    assert accuracy["hard"] == pytest.approx(purity(q.argmax(1), y), abs=1e-3)
    assert accuracy["hard (no fallback)"] == pytest.approx(accuracy["hard"], abs=1e-3)
