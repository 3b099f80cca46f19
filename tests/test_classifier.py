"""`GMVAEClassifier`: scikit-learn's contract, labels that never reach training, storage."""

import copy
import pickle
import shutil
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_classifiers_classes, parametrize_with_checks

from gmvae_lib import GMVAEClassifier, InputError, cluster_posterior, load_run, save_run
from gmvae_lib.collection import DECODERS
from gmvae_lib.vae.embedding import FILE

quick = partial(GMVAEClassifier, n_components=10, epochs=3)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


@pytest.fixture(scope="module")
def partly(wine):
    """wine's labels, four in five of them taken away."""
    y = wine[1].copy()
    y[np.arange(len(y)) % 5 > 0] = -1
    return y


@pytest.fixture(scope="module")
def fitted(wine, partly):
    return GMVAEClassifier(n_components=15, epochs=120).fit(wine[0], partly)


@pytest.fixture(scope="module")
def digits():
    """400 grey images as bytes [400, 8, 8], and their digits."""
    bunch = load_digits()
    return (bunch.images[:400] * 15).astype(np.uint8), bunch.target[:400]


MINUS_ONE = (
    "its labels are -1 and 1, and -1 means no label here; scikit-learn exempts its own "
    "semi-supervised classifiers by name, see the test below"
)


@parametrize_with_checks(
    [quick()],
    expected_failed_checks=lambda estimator: {"check_classifiers_classes": MINUS_ONE},
)
@pytest.mark.filterwarnings("ignore:n_components")
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:n_components")
def test_classes_as_scikit_learn_checks_its_own_semi_supervised_classifiers():
    check_classifiers_classes("SelfTrainingClassifier", quick())


def same_weights(a, b):
    a, b = a.run_.state, b.run_.state
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_labels_cannot_reach_training(wine, partly):
    X, y = wine
    first = quick().fit(X)
    shuffled = np.random.default_rng(0).permutation(y)
    for labels in (y, partly, shuffled, np.where(y > 0, "many", ""), np.full(len(y), -1)):
        assert same_weights(first, quick().fit(X, labels))
    assert not same_weights(first, quick(random_state=1).fit(X, y))


def test_few_labels_name_the_wines(fitted, wine, partly):
    X, y = wine
    unlabelled = partly == -1
    assert (fitted.transduction_ == y)[unlabelled].mean() > 0.9
    assert (fitted.predict(X) == y)[unlabelled].mean() > 0.9
    assert fitted.label_distributions_.shape == (178, 3)
    np.testing.assert_allclose(fitted.label_distributions_.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(fitted.predict_proba(X).sum(axis=1), 1, rtol=1e-9)
    assert fitted.run_.model_config.likelihood == "gaussian"


def test_a_row_seen_in_training_is_seen_the_same_later(fitted, wine):
    X, _ = wine
    assert np.array_equal(fitted.transform(X), fitted.posterior_)
    again = cluster_posterior(fitted.run_, fitted._scale.apply(X), device="cpu")
    np.testing.assert_allclose(fitted.posterior_, again, atol=1e-4)
    assert (fitted.predict(X) == fitted.transduction_).mean() > 0.97


def test_naming_afterwards_is_naming_at_once(fitted, wine, partly):
    X, y = wine
    clusters = clone(fitted).fit(X)
    assert same_weights(clusters, fitted)
    with pytest.raises(NotFittedError, match="found no label in fit; expected some, or call fit_"):
        clusters.predict(X)
    assert not hasattr(clusters, "classes_")
    index = np.flatnonzero(partly >= 0)
    clusters.fit_labels(index, y[index])
    assert np.array_equal(clusters.predict_proba(X), fitted.predict_proba(X))
    chosen = clusters.suggest(12)["index"].to_numpy()
    assert len(set(chosen)) == 12 and chosen.max() < len(X)
    clusters.fit_labels(chosen, y[chosen])  # in place of those before
    assert clusters.labelled_.tolist() == chosen.tolist()
    assert (clusters.transduction_ == y).mean() > 0.85


def test_a_refit_forgets(wine):
    X, y = wine
    model = quick().fit(X, y)
    assert hasattr(model.fit(X), "posterior_")
    assert not any(hasattr(model, name) for name in ("decoder_", "classes_", "transduction_"))


def test_every_way_to_say_that_a_row_has_no_label(wine, partly):
    X, _ = wine
    known = partly >= 0
    names = np.array(["red", "white", "orange"])[np.where(known, partly, 0)]
    empty = np.where(known, names, "")
    none = np.where(known, names.astype(object), None)
    minus = np.where(known, partly.astype(object), -1)
    proba = quick().fit(X, partly).predict_proba(X)
    for y, classes in (
        (empty, ["orange", "red", "white"]),
        (none, ["orange", "red", "white"]),
        (none.tolist(), ["orange", "red", "white"]),
        (minus, [0, 1, 2]),
        (partly.astype(float), [0, 1, 2]),
        (pd.Series(partly), [0, 1, 2]),
    ):
        model = quick().fit(X, y)
        assert model.classes_.tolist() == classes
        assert np.array_equal(model.labelled_, np.flatnonzero(known))
        order = [1, 2, 0] if classes[0] == "orange" else [0, 1, 2]
        np.testing.assert_allclose(model.predict_proba(X)[:, order], proba, atol=1e-6)
        assert model.classes_.dtype.kind != "O"


def test_score_leaves_out_rows_without_a_label(fitted, wine, partly):
    X, y = wine
    known = partly >= 0
    assert fitted.score(X, partly) == fitted.score(X[known], y[known])
    assert fitted.score(X, y) == (fitted.predict(X) == y).mean()
    weight = np.arange(len(y)) + 1.0
    right = fitted.predict(X) == y
    expected = np.average(right[known], weights=weight[known])
    assert fitted.score(X, partly, weight) == pytest.approx(expected)
    with pytest.raises(InputError, match="y: found no label; expected at least one to score by"):
        fitted.score(X, np.full(len(y), -1))


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder(decoder, wine, partly, fitted):
    X, y = wine
    model = copy.deepcopy(fitted).set_params(decoder=decoder)
    model.fit_labels(fitted.labelled_, fitted.labels_given_)
    assert model.transduction_.shape == y.shape
    assert (model.predict(X) == y).mean() > 0.85


# ---- images and scales ----


def test_images_of_bytes_and_of_any_range_are_the_same(digits):
    images, y = digits
    as_bytes = quick().fit(images, y)
    shares = quick().fit(images / 255, y)
    assert as_bytes.run_.model_config.image_shape == (8, 8)
    assert as_bytes.run_.model_config.likelihood == "bernoulli"
    np.testing.assert_allclose(as_bytes.posterior_, shares.posterior_, atol=1e-4)
    # a range of its own is brought to [0, 1], and kept for later images
    wide = quick().fit(images * 7.0 - 300)
    assert (wide.offset_, wide.scale_) == (-300, 7.0 * images.max())
    brighter = np.full((2, 8, 8), 1e6)
    with pytest.warns(UserWarning, match="those beyond are cut off"):
        assert np.array_equal(wide.transform(brighter), wide.transform(brighter * 2))
    assert as_bytes.run_.model.sample(0, 2).shape == (2, 8, 8)


@pytest.mark.parametrize("likelihood", ["auto", "bernoulli", "gaussian"])
def test_colour_images(likelihood, digits):
    images, y = digits
    X = np.stack([images, images // 2, 255 - images], axis=-1)
    model = quick(likelihood=likelihood).fit(X[:200], y[:200])
    assert model.predict_proba(X[200:]).shape == (200, 10)
    assert model.run_.model.sample(0).shape == (1, 8, 8, 3)


def test_scale_of_rows(wine):
    X, _ = wine
    X = np.column_stack([X, np.full(len(X), 3.0)])  # a constant has no spread to divide by
    model = quick().fit(X)
    scaled = model._scale.apply(X)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), [1] * 13 + [0], atol=1e-5)
    shares = quick().fit(X / X.max())
    assert shares.run_.model_config.likelihood == "bernoulli"
    assert (shares.offset_, shares.scale_) == (0, 1)
    assert quick(likelihood="gaussian").fit(X / X.max()).offset_.shape == (14,)


# ---- a citizen ----


def test_pipelines(wine, partly):
    X, y = wine
    pipe = make_pipeline(StandardScaler(), quick()).fit(X, partly)
    assert pipe.predict(X).shape == y.shape
    on_clusters = make_pipeline(quick(epochs=30), LogisticRegression()).fit(X, y)
    assert on_clusters.score(X, y) > 0.7
    frame = quick().set_output(transform="pandas").fit(X).transform(X)
    assert list(frame.columns[:2]) == ["gmvaeclassifier0", "gmvaeclassifier1"]


@pytest.mark.slow
def test_grid_search_over_the_number_of_components_in_two_processes(wine, partly):
    X, _ = wine
    search = GridSearchCV(quick(), {"n_components": [4, 12]}, cv=2, n_jobs=2, error_score="raise")
    search.fit(X, partly)
    assert search.best_estimator_.n_components_ == search.best_params_["n_components"]
    alone = clone(search).set_params(n_jobs=1).fit(X, partly)
    scores = "mean_test_score"
    np.testing.assert_array_equal(search.cv_results_[scores], alone.cv_results_[scores])


def test_random_states(wine):
    X, _ = wine
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, second = (quick(random_state=np.random.RandomState(3)).fit(X) for _ in range(2))
    assert same_weights(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert not same_weights(*(quick(random_state=None).fit(X) for _ in range(2)))


def test_too_many_components_are_reduced_with_a_warning(wine):
    X, _ = wine
    with pytest.warns(UserWarning, match="n_components: found 100 for 178 rows, .* 35 are used"):
        model = quick(n_components=100).fit(X)
    assert model.n_components_ == 35 and model.transform(X).shape == (178, 35)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(n_components=35).fit(X)


# ---- on disk ----


def test_saved_and_loaded_it_says_the_same(fitted, wine, partly, tmp_path):
    X, _ = wine
    back = GMVAEClassifier.load(fitted.save(tmp_path / "model"))
    assert back.get_params() == fitted.get_params()
    assert np.array_equal(back.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(back.label_distributions_, fitted.label_distributions_)
    assert back.suggest(5).equals(fitted.suggest(5))
    assert load_run(tmp_path / "model").model_config == fitted.run_.model_config
    GMVAEClassifier.load(back.save(tmp_path / "again"))


def test_clusters_alone_and_names_as_strings_are_stored_too(wine, tmp_path):
    X, y = wine
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(13)])
    model = quick(random_state=np.random.RandomState(1)).fit(frame)
    back = GMVAEClassifier.load(model.save(tmp_path / "a"))
    with pytest.raises(NotFittedError, match="no label"):
        back.predict(frame)
    back.fit_labels([0, 100, 170], ["a", "b", "ü"])
    again = GMVAEClassifier.load(back.save(tmp_path / "b"))
    assert again.predict(frame).tolist() == back.predict(frame).tolist()
    assert again.feature_names_in_.tolist() == frame.columns.tolist()
    assert same_weights(clone(again).fit(frame), model)  # the seed that was drawn is kept


def test_pickled_it_says_the_same(fitted, wine):
    X, _ = wine
    back = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(back.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("kind", ["cut short", "altered", "missing", "of pickled objects"])
def test_damaged_files_are_refused(fitted, tmp_path, kind):
    path = fitted.save(tmp_path / "model") / FILE
    data = path.read_bytes()
    if kind == "cut short":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "altered":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif kind == "missing":
        path.unlink()
    else:
        with open(path, "wb") as handle:
            np.savez(handle, about=np.array([{}], dtype=object))
    words = "a run that does not keep its images" if kind == "missing" else FILE
    with pytest.raises(InputError, match=words) as caught:
        GMVAEClassifier.load(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_a_folder_does_not_mix_two_models(fitted, wine, tmp_path):
    """Another run saved there takes what the first one kept of its images with it."""
    fitted.save(tmp_path)
    other = quick(random_state=1).fit(wine[0])
    with pytest.raises(InputError, match="found another run, expected a new folder, or force"):
        other.save(tmp_path)
    assert np.array_equal(GMVAEClassifier.load(tmp_path).posterior_, fitted.posterior_)
    save_run(other.run_, tmp_path)
    with pytest.raises(InputError, match="a run that does not keep its images"):
        GMVAEClassifier.load(tmp_path)
    shutil.copy(fitted.save(tmp_path / "kept") / FILE, tmp_path / FILE)
    with pytest.raises(InputError, match="as another model sees them"):
        GMVAEClassifier.load(tmp_path)
    other.run_.path = None
    other.save(tmp_path / "kept", force=True)
    assert same_weights(GMVAEClassifier.load(tmp_path / "kept"), other)


# ---- bad input ----


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (dict(n_components=0), "n_components: found 0"),
        (dict(n_components=2.5), "n_components: found 2.5"),
        (dict(epochs=0), "epochs: found 0"),
        (dict(epochs=True), "epochs: found True"),
        (dict(decoder="votes"), "decoder: found 'votes'"),
        (dict(likelihood="poisson"), "likelihood: found 'poisson'"),
        (dict(preset="huge"), "preset: found 'huge'"),
        (dict(likelihood="bernoulli"), r"X: found values .* expected 0 to 1"),
    ],
)
def test_bad_parameters(parameters, words, wine):
    with pytest.raises(InputError, match=words) as caught:
        quick(**parameters).fit(wine[0])
    assert "\n" not in str(caught.value)


def test_bad_data(fitted, wine, digits):
    X, y = wine
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        quick().fit(X, y[:-1])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        quick().fit(X, y + 0.5)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        quick().fit(X[:1], y[:1])
    images, _ = digits
    with pytest.raises(InputError, match=r"image_shape: found \(8, 8, 4\)"):
        quick().fit(np.stack([images] * 4, axis=-1))
    with pytest.raises(InputError, match=r"X: found shape \(178, 13, 1\), expected \[N, 13\]"):
        fitted.transform(X[:, :, None])
    for index, labels, words in (
        ([0, 178], [0, 1], "labels: found rows 0 to 178; expected 0 to 177"),
        ([3, 3], [0, 0], "labels: found a row twice"),
        ([3], [0, 0], "expected one row number each"),
        ([0.5], [0], "labels: found rows float64"),
        ([], [], "expected one row number each, at least one"),
        ([3, 4], [0, -1], "y: found a row without a label"),
    ):
        with pytest.raises(InputError, match=words):
            fitted.fit_labels(index, labels)
    assert (fitted.transduction_ == y).mean() > 0.9  # as before
