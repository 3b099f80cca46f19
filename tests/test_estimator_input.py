"""`GMVAEClassifier`: folders, files, arrays, labels in every form; and what it leaves alone."""

import shutil
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_wine
from sklearn.exceptions import NotFittedError

from gmvae_lib import GMVAEClassifier, InputError, load_images, rendered_letters
from gmvae_lib.collection import Collection
from gmvae_lib.vae import embedding

pytestmark = pytest.mark.usefixtures("one_thread")
N = 60


def quick(**parameters):
    return GMVAEClassifier(**{"n_components": 6, "epochs": 1} | parameters)


@pytest.fixture(scope="module")
def letters():
    return rendered_letters(N, seed=1)


@pytest.fixture(scope="module")
def pictures(letters, tmp_path_factory):
    folder = tmp_path_factory.mktemp("letters") / "pictures"
    folder.mkdir()
    for i, picture in enumerate(letters.images):
        Image.fromarray(picture).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


def same_weights(a, b):
    a, b = a.run_.state, b.run_.state
    return all(np.array_equal(a[name], b[name]) for name in a)


# ---- images ----


def test_a_folder_a_file_a_set_and_an_array_are_the_same(letters, pictures, tmp_path):
    np.savez(tmp_path / "letters.npz", images=letters.images)
    np.save(tmp_path / "letters.npy", letters.images)
    first = quick().fit(letters.images)
    for X in (pictures, str(pictures), tmp_path / "letters.npz", tmp_path / "letters.npy", letters,
              load_images(pictures), letters.images.astype(int), list(letters.images),
              torch.from_numpy(letters.images)):  # fmt: skip
        other = quick().fit(X)
        # the training may compute in bf16, which makes much of the last digit of x / 255
        np.testing.assert_allclose(other.posterior_, first.posterior_, atol=2e-3)
        other.fit_labels(range(20), letters.labels[:20])
        first.fit_labels(range(20), letters.labels[:20])
        np.testing.assert_allclose(
            other.label_distributions_, first.label_distributions_, atol=2e-2
        )
        assert other.predict(X).shape == (N,)


def test_the_loop_on_a_folder(letters, pictures, tmp_path):
    names = np.array(letters.class_names)[letters.labels]
    model = quick().fit(pictures)
    todo = model.suggest(20, random=5)
    assert list(todo.columns) == ["index", "path", "digest", "cluster", "reason"]
    assert todo["path"].tolist() == [f"{i:02d}.png" for i in todo["index"]]
    table = todo.assign(label=names[todo["index"]])
    table.to_csv(tmp_path / "labels.csv", index=False)
    by_rows = quick().fit(pictures).fit_labels(todo["index"], names[todo["index"]])
    for labels in (table, tmp_path / "labels.csv", str(tmp_path / "labels.csv")):
        model.fit_labels(labels)
        assert np.array_equal(model.label_distributions_, by_rows.label_distributions_)
        assert model.at_random_.sum() == 5
    assert model.transduction_.tolist() == model.predict(pictures).tolist()
    assert model.report(tmp_path / "report.html").read_text().startswith("<!doctype html>")

    back = GMVAEClassifier.load(model.save(tmp_path / "run"))
    assert back.suggest(5).equals(model.suggest(5))
    assert back.predictions().equals(model.predictions())
    assert back.report(tmp_path / "again.html").exists()  # the pictures are where they were
    (tmp_path / "new").mkdir()
    for name in ("03.png", "07.png"):
        shutil.copy(pictures / name, tmp_path / "new" / f"new_{name}")
    new = rendered_letters(3, seed=8).images
    for i, picture in enumerate(new):
        Image.fromarray(picture).save(tmp_path / "new" / f"z{i}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two pictures say nothing about the whole set
        said = back.predict(tmp_path / "new")
    assert said[:2].tolist() == back.transduction_[[3, 7]].tolist()
    assert said[2:].tolist() == back.predict(new).tolist()


def test_labels_follow_their_picture(letters, pictures, tmp_path):
    model = quick().fit(pictures)
    table = model.suggest(10).assign(label=list("abcdefghij"))
    expected = dict(zip(table["digest"], table["label"], strict=True))
    shutil.copytree(pictures, tmp_path / "p")
    for i, path in enumerate(sorted((tmp_path / "p").iterdir(), reverse=True)):
        path.rename(path.with_name(f"x{i:02d}.png"))
    (tmp_path / "p" / "x03.png").unlink()
    other = quick(n_components=5).fit(tmp_path / "p")
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        other.fit_labels(table.drop(columns="index"))
    digests = other.collection_.embedding.digests[other.labelled_]
    assert {d: expected[d] for d in digests} == dict(zip(digests, other.labels_given_, strict=True))
    assert len(digests) >= 9
    with pytest.raises(InputError, match="found no label of an image in"):
        quick().fit(255 - letters.images).fit_labels(table)


def test_numbers_in_a_table_stay_numbers(letters):
    model = quick().fit(letters)
    todo = model.suggest(10)
    some = letters.labels[todo["index"]].astype(float)
    some[3] = np.nan
    model.fit_labels(todo.assign(label=some))
    assert len(model.labelled_) == 9 and model.classes_.dtype.kind == "i"


def test_a_second_suggestion_is_of_other_rows(letters, wine):
    for X, y in ((letters, letters.labels), wine):
        model = quick().fit(X)
        first = model.suggest(20)["index"]
        second = model.fit_labels(first, y[first]).suggest(20, random=10)["index"]
        assert not set(first) & set(second) and len(set(second)) == len(second)
    assert len(quick().fit(letters).suggest()) == N  # as many as there are, below 100


def test_what_is_no_image(letters, pictures, tmp_path, wine):
    model = quick().fit(pictures)
    for X, words in (
        (tmp_path / "none", "no such file or folder"),
        ("", "X: found an empty path"),
        (letters.images[:, :, :20], r"found shape \(60, 28, 20\), expected \[N, 28x28\]"),
        (rendered_letters(5, size=20), r"found shape \(5, 20, 20\), expected \[N, 28x28\]"),
    ):
        with pytest.raises(InputError, match=words):
            model.transform(X)
    with pytest.raises(InputError, match="expected on images"):
        quick().fit(wine[0]).predict_proba  # noqa: B018
        quick().fit(wine[0]).transform(pictures)
    with pytest.raises(InputError, match="report: found rows of features"):
        quick().fit(*wine).report(tmp_path / "r.html")
    with pytest.raises(NotFittedError):
        quick().suggest(3)


def test_arrays_can_be_reported_after_loading(letters, tmp_path):
    model = quick().fit(letters.images).fit_labels(range(20), letters.labels[:20])
    back = GMVAEClassifier.load(model.save(tmp_path / "run"))
    with pytest.raises(InputError, match=r"expected report\(path, images\)"):
        back.report(tmp_path / "report.html")
    assert back.report(tmp_path / "report.html", letters.images).exists()
    with pytest.raises(InputError, match="found 0 of the 60 images"):
        back.report(tmp_path / "other.html", 255 - letters.images)
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match="not written by report"):
        model.report(tmp_path / "notes")


def test_paths_of_the_home_folder(letters, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = quick().fit(letters).fit_labels([0, 1], ["a", "b"])
    assert model.save("~/run") == tmp_path / "run"
    assert model.report("~/r.html") == tmp_path / "r.html"
    assert GMVAEClassifier.load("~/run").classes_.tolist() == ["a", "b"]
    (tmp_path / "l.csv").write_text(f"digest,label\n{letters.digests[0]},c\n")
    assert model.fit_labels("~/l.csv").classes_.tolist() == ["c"]


# ---- labels that are missing ----


def known(wine):
    return np.arange(len(wine[1])) % 5 == 0, np.array(["red", "white", "rose"])[wine[1]]


MISSING = {
    "object, -1": lambda names, here: np.where(here, names.astype(object), -1),
    "object, None": lambda names, here: np.where(here, names.astype(object), None),
    "object, NaN": lambda names, here: np.where(here, names.astype(object), np.nan),
    "empty text": lambda names, here: np.where(here, names, ""),
    "blank text": lambda names, here: np.where(here, names, "  "),
    "Series with NaN": lambda names, here: pd.Series(names).where(here),
    "Series of str": lambda names, here: pd.Series(names).where(here).astype("str"),
    "Series with NA": lambda names, here: pd.Series(names).where(here).astype("string"),
    "Categorical": lambda names, here: pd.Categorical(pd.Series(names).where(here)),
    "list": lambda names, here: [n if h else None for n, h in zip(names, here, strict=True)],
    "column": lambda names, here: pd.Series(names).where(here).to_numpy()[:, None],
}


@pytest.mark.filterwarnings("ignore:A column-vector")
@pytest.mark.parametrize("kind", MISSING)
def test_a_missing_label_is_no_class(wine, kind):
    here, names = known(wine)
    model = quick().fit(wine[0], MISSING[kind](names, here))
    assert model.classes_.tolist() == ["red", "rose", "white"]
    assert model.labelled_.tolist() == np.flatnonzero(here).tolist()
    assert model.labels_given_.tolist() == names[here].tolist()


@pytest.mark.parametrize("kind", ["masked", "float", "Int64"])
def test_a_missing_number_is_no_class(wine, kind):
    here, _ = known(wine)
    y = {
        "masked": np.ma.masked_array(wine[1], ~here),
        "float": np.where(here, wine[1], np.nan),
        "Int64": pd.Series(wine[1]).where(here).astype("Int64"),
    }[kind]
    model = quick().fit(wine[0], y)
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.labelled_.tolist() == np.flatnonzero(here).tolist()
    assert model.score(wine[0], y) == model.score(wine[0][here], wine[1][here])


@pytest.mark.parametrize("text", ["-1", "nan", "NaN", "<NA>"])
def test_missing_labels_that_became_texts_are_refused(wine, text):
    here, names = known(wine)
    with pytest.raises(InputError, match=f"y: found the text '{text}'"):
        quick().fit(wine[0], np.where(here, names, text))


def test_labels_that_are_no_classes(wine):
    for y, words in (
        (wine[1] + 0.5, "continuous"),
        (np.full(len(wine[1]), np.nan), "nothing but NaN"),
        (np.where(wine[1] == 0, np.inf, wine[1]), "infinity"),
    ):
        with pytest.raises(ValueError, match=words):
            quick().fit(wine[0], y)


# ---- scales ----


def test_bytes_and_shares_are_told_apart():
    """Fitted on bytes and asked with the same divided by 255, or the other way round."""
    images = (load_digits().images[:200] * 15).astype(np.uint8)
    y = load_digits().target[:200]
    of_bytes = quick(n_components=20).fit(images, y)
    of_shares = quick(n_components=20).fit(images / 255, y)
    expected = of_bytes.predict(images)
    assert np.array_equal(of_bytes.predict(images * 1.0), expected)
    with pytest.warns(UserWarning, match="they are taken for shares of 255"):
        assert np.array_equal(of_bytes.predict(images / 255), expected)
    np.testing.assert_allclose(of_shares.transform(images), of_bytes.transform(images), atol=1e-4)
    with pytest.warns(UserWarning, match="those beyond are cut off"):
        of_shares.predict(images * 1.0)


def test_masks_of_zero_and_one_are_not_black(letters):
    masks = (letters.images > 128).astype(np.uint8)
    model = quick().fit(masks)
    assert (model.offset_, model.scale_) == (0, 1)
    same = quick().fit(masks * np.uint8(255))
    np.testing.assert_allclose(model.posterior_, same.posterior_, atol=1e-5)


def test_a_table_on_another_scale_is_noticed(wine):
    model = quick().fit(*wine)
    with pytest.warns(UserWarning, match="expected values on the same scale"):
        model.predict(wine[0] / 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(wine[0][:1])


def test_images_unlike_those_of_the_training_are_noticed(letters):
    model = quick().fit(letters).fit_labels(range(9), letters.labels[:9])
    noise = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    with pytest.warns(UserWarning, match="unlike those that the run learned from"):
        model.predict(type(letters)(noise))
    assert model.predictions(type(letters)(noise))["unlike"].all()
    assert model.predictions(letters)["unlike"].mean() < 0.1


# ---- what it leaves alone ----


def test_it_leaves_the_caller_s_things_alone(letters):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    filters = list(warnings.filters)
    model = quick().fit(letters).fit_labels(range(9), letters.labels[:9])
    model.run_.model.train()
    model.run_.model.encoder.eval()
    modes = [module.training for module in model.run_.model.modules()]
    model.predict(letters.images)
    assert [module.training for module in model.run_.model.modules()] == modes
    assert next(model.run_.model.parameters()).device.type == "cpu"
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
    assert warnings.filters == filters


def test_what_is_said_of_an_image_does_not_depend_on_the_others(letters):
    model = quick().fit(letters).fit_labels(range(9), letters.labels[:9])
    new = rendered_letters(40, seed=3).images
    together = model.predict_proba(new)
    alone = np.concatenate([model.predict_proba(new[i : i + 1]) for i in range(0, 40, 7)])
    np.testing.assert_allclose(together[::7], alone, atol=1e-5)


def test_predictions_take_no_copy_of_the_training_images(monkeypatch):
    """Bytes stay bytes until they are cut into batches, and no model is copied."""
    letters = rendered_letters(500)
    model = quick().fit(letters).fit_labels(range(9), letters.labels[:9])
    model.predict(letters.images[:1])
    many = np.repeat(letters.images, 20, axis=0)
    tracemalloc.start()
    model._read(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * many.nbytes
    floats = many.astype(np.float32)
    tracemalloc.start()
    model._read(floats)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * floats.nbytes
    with monkeypatch.context() as patched:
        patched.setattr("gmvae_lib.collection.copy", None)
        model.predict(letters.images[:1])


def test_progress_is_shown_when_asked_for(letters, capsys, monkeypatch):
    quick().fit(letters)
    assert capsys.readouterr().err == ""
    quick(verbose=1).fit(letters)
    assert "training" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stderr", None)
    quick(verbose=1).fit(letters)


def test_a_device_that_is_not_here_any_more(letters, tmp_path):
    model = quick().fit(letters).fit_labels([0, 1], ["a", "b"])
    model.device = "cuda:7"
    model.save(tmp_path / "run")
    with pytest.warns(UserWarning, match="found device 'cuda:7', which is not here"):
        back = GMVAEClassifier.load(tmp_path / "run")
    assert back.predict(letters.images[:2]).shape == (2,)
    back.fit_labels([3, 4], ["c", "d"])


def test_a_pickle_does_not_hold_the_images(pictures):
    import pickle

    model = quick().fit(pictures)
    assert len(pickle.dumps(model)) < len(pickle.dumps(model)) + model._images.images.nbytes
    back = pickle.loads(pickle.dumps(model))
    assert back._images is None and back.suggest(3).equals(model.suggest(3))


# ---- what a run keeps ----


def test_a_joined_collection_keeps_each_picture_once(letters):
    model = quick().fit(letters)
    learned = model.collection_.embedding
    new = rendered_letters(10, seed=3)
    both = type(letters)(np.concatenate([letters.images[5:20], new.images]))
    joined = embedding.embed_images(model.collection_._embed, both, 10, learned, join=True)
    assert len(joined) == N + 10
    assert np.array_equal(joined.q[:N], learned.q)
    assert joined.digests[N:].tolist() == new.digests.tolist()
    same = embedding.joined(learned, both)
    assert same.set_digest == joined.set_digest and same.digests.tolist() == joined.digests.tolist()
    apart = embedding.embed_images(model.collection_._embed, both, 10, learned)
    assert np.array_equal(apart.q[:15], learned.q[5:20])
    alone = Collection(model.run_, learned)
    alone.set_labels([0, 1], ["a", "b"])
    assert alone.predict_proba(both)[0].shape == (25, 2)


# ---- README ----


def test_the_lines_of_the_readme(pictures, letters, tmp_path, monkeypatch):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    block = readme.split("## On your own images")[1].split("```python\n")[1].split("```")[0]
    lines = block.replace('preset="best"', "n_components=6, epochs=1").splitlines()
    assert len(block.strip().splitlines()) <= 6
    monkeypatch.chdir(tmp_path)
    shutil.copytree(pictures, "my_pictures")
    shutil.copytree(pictures, "new_pictures")
    names = {}
    at = next(i for i, line in enumerate(lines) if "fit_labels" in line)
    small = "\n".join(lines[:at]).replace("suggest(100, random=50)", "suggest(20, random=10)")
    exec(small, names)
    table = pd.read_csv("to_label.csv")
    truth = np.array(letters.class_names)[letters.labels]
    table.assign(label=truth[table["index"]]).to_csv("labels.csv", index=False)
    exec("\n".join(lines[at:]), names)
    assert Path("report.html").exists() and names["names"].shape == (N,)
    assert set(names["names"]) <= set(truth)
