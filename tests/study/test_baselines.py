"""Pixel baselines: the article's settings, and random draws that lack classes."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from gmvae_lib.study.baselines import RandomDrawClassifier, pixel_baselines, tuned, tuned_baselines

NAMES = ["logistic regression", "mlp", "mlp (article)", "xgboost"]
TUNED = ["logistic regression", "mlp", "xgboost"]


@pytest.fixture(scope="module")
def blobs():
    """Three well separated classes among labels 0..25, as pixels [N, 25] in [0, 1]."""
    rng = np.random.default_rng(0)
    y = rng.choice([2, 11, 25], 240)
    X = np.clip(rng.normal(0.2, 0.1, (240, 25)), 0, 1)
    X[np.arange(240), y % 25] = 1.0
    return X.astype(np.float32), y


def small(name, n_labels, seed=0):
    """The baseline with few trees, to keep the test quick."""
    model = pixel_baselines()[name](n_labels, seed, 1)
    if name == "xgboost":
        model.estimator.set_params(n_estimators=5)
    return model


def test_the_names_of_the_sweep():
    assert list(pixel_baselines()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_learns_from_labels_with_gaps(name, blobs):
    X, y = blobs
    model = small(name, 120).fit(X[:120], y[:120])
    assert model.classes_.tolist() == [2, 11, 25]
    # the article's perceptron ends its training after eight passes without a gain
    assert model.score(X[120:], y[120:]) > (0.45 if name == "mlp (article)" else 0.9)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_labels_does_not_crash(name, n, blobs):
    X, _ = blobs
    y = np.array(["t", "j", "j"])[:n]
    predicted = small(name, n).fit(X[:n], y).predict(X)
    assert set(predicted) <= set(y)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_class_is_a_constant(name, blobs):
    X, _ = blobs
    model = small(name, 5).fit(X[:5], [7] * 5)
    assert set(model.predict(X)) == {7}
    assert model.predict_proba(X).tolist() == [[1.0]] * len(X)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_fixes_the_result(name, blobs):
    X, y = blobs
    first, second = (small(name, 60, seed=3).fit(X[:60], y[:60]).predict_proba(X) for _ in "ab")
    np.testing.assert_array_equal(first, second)


def test_the_articles_settings():
    boosting = pixel_baselines()["xgboost"](291, 4, 2).estimator.get_params()
    expected = {
        "n_estimators": 200,
        "max_depth": 6,
        "learning_rate": 0.1,
        "subsample": 0.9,
        "colsample_bytree": 0.9,
        "tree_method": "hist",
        "n_jobs": 2,
        "random_state": 4,
    }
    assert {key: boosting[key] for key in expected} == expected
    sizes = [pixel_baselines()["mlp"](n, 0, 1).estimator.hidden_layer_sizes for n in (7, 5e3, 5e4)]
    assert sizes == [(64,), (128,), (256, 128)]


@pytest.mark.parametrize(
    ("n", "hidden", "stops", "batch", "patience"),
    [
        (7, (64,), False, 7, 20),
        (49, (64,), False, 49, 20),
        (73, (64,), True, 65, 8),
        (100, (128,), True, 90, 8),
        (499, (128,), True, 128, 8),
        (500, (256, 128), True, 128, 8),
    ],
)
def test_the_articles_perceptron(n, hidden, stops, batch, patience):
    """As the article's public code sets it: sweeps.py at commit bb4f89b."""
    scaler, model = (
        step for _, step in pixel_baselines()["mlp (article)"](n, 3, 1).estimator.steps
    )
    assert type(scaler).__name__ == "StandardScaler"
    found = model.get_params()
    expected = {
        "hidden_layer_sizes": hidden,
        "early_stopping": stops,
        "batch_size": batch,
        "n_iter_no_change": patience,
        "validation_fraction": 0.1,
        "max_iter": 120,
        "alpha": 1e-4,
        "learning_rate_init": 1e-3,
        "random_state": 3,
    }
    assert {key: found[key] for key in expected} == expected


def test_the_articles_perceptron_stops_early_at_73_labels():
    """Eight held-out images decide, and no wrapper of ours switches that off."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 26, 73)
    X = rng.random((73, 30)) + np.eye(26)[y][:, :1]
    model = pixel_baselines()["mlp (article)"](73, 0, 1).fit(X, y)
    perceptron = model.estimator_.steps[-1][1]
    assert perceptron.early_stopping
    assert perceptron.n_iter_ < 120


@pytest.mark.parametrize(
    ("counts", "stops_early"),
    [
        ([100, 100], True),  # 20 held out for 2 classes
        ([199, 1], False),  # a class of one cannot be split
        ([40, 40], False),  # 8 held out for 2 classes: too few to judge by
    ],
)
def test_early_stopping_only_where_it_can_judge(counts, stops_early):
    y = np.repeat([0, 1], counts)
    X = y[:, None] + np.random.default_rng(0).normal(size=(len(y), 3))
    model = RandomDrawClassifier(MLPClassifier((4,), early_stopping=True, max_iter=5)).fit(X, y)
    assert model.estimator_.early_stopping is stops_early
    assert model.estimator.early_stopping  # the parameter is the user's


def test_can_be_cloned():
    model = RandomDrawClassifier(LogisticRegression(C=3))
    assert clone(model).estimator.C == 3


# ---- tuned on the labels themselves --------------------------------------------------------------


def quick(name, n_labels, seed=0):
    """A tuned baseline with few trees."""
    model = tuned_baselines()[name](n_labels, seed, 1)
    if name.startswith("xgboost"):
        model.estimator.estimator.estimator.set_params(n_estimators=2)
    return model


@pytest.mark.parametrize("name", [f"{name}, tuned" for name in TUNED])
@pytest.mark.parametrize("n", [1, 2, 3, 60])
def test_tuned_baselines_cope_with_any_draw(name, n, blobs):
    X, y = blobs
    model = quick(name, n).fit(X[:n], y[:n])
    assert set(model.predict(X)) <= set(y[:n])
    if n == 60:
        assert model.score(X[60:], y[60:]) > 0.8


def test_the_best_setting_wins():
    """A penalty that leaves nothing of the weights loses to one that leaves all."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [10, 30])
    X = y[:, None] + 0.1 * rng.normal(size=(40, 1))
    model = tuned(LogisticRegression(), {"C": [1e-9, 10.0]}, seed=0).fit(X, y)
    assert model.estimator_.best_params_ == {"estimator__C": 10.0}


def test_the_articles_setting_is_on_the_grid():
    """So that tuning loses only what cross-validation misjudges."""
    for name, article in pixel_baselines().items():
        if name.startswith("mlp"):
            continue  # these stop early, for which few labels leave no held-out set
        fixed = article(291, 0, 1).estimator.get_params()
        grid = tuned_baselines()[f"{name}, tuned"](291, 0, 1).estimator.param_grid
        for parameter, values in grid.items():
            assert fixed[parameter.removeprefix("estimator__")] in values
