"""Made sets, and what is measured on the small models of them."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.errors import InputError
from gmvae_lib.study import beforehand, default_decoder, made_sets, realistic
from gmvae_lib.study.made_sets import Spec

NAMES = sorted({text.split("-")[0] for text in made_sets.SPECS})


@pytest.fixture(scope="module")
def written():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (80, 28, 28), dtype=np.uint8)
    return {name: (pictures, rng.integers(0, 26, 80)) for name in ("letters", "mnist")}


@pytest.mark.parametrize("name", [name for name in NAMES if name != "rendered"])  # tested itself
def test_every_set_is_drawn_and_drawn_again(name, written):
    spec = Spec.of(f"{name}-60-3")
    (X, y), (again, same) = made_sets.draw(spec, written), made_sets.draw(spec, written)
    assert len(X) == len(y) and (X == again).all() and (y == same).all()
    assert len(np.unique(y)) > 1
    if name not in (*made_sets.TABLES, "digits"):
        assert X.dtype == np.uint8 and len(X) == 60 and X.shape[1:3] == (28, 28)


def test_what_cannot_be_drawn_is_named(written):
    with pytest.raises(InputError, match="busy: found no handwriting"):
        made_sets.draw(Spec.of("busy-60-0"), None)
    with pytest.raises(InputError, match="set: found 'faces'"):
        made_sets.draw(Spec.of("faces-60-0"), written)
    with pytest.raises(InputError, match="spec: found 'mnist-60-0-long'"):
        Spec.of("mnist-60-0-long")


def test_scattered_pictures_keep_their_pixels_and_half_are_clouds(written):
    X, _ = made_sets.draw(Spec.of("scattered-20-0"), written)
    letters, y = made_sets.draw(Spec.of("letters-20-0"), written)
    assert (np.sort(X.reshape(20, -1)) == np.sort(letters.reshape(20, -1))).all()
    half, labels = made_sets.draw(Spec.of("half-20-0"), written)
    assert (labels[:10] == 99).all() and (half[10:] == letters[10:]).all()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with stored models: groups, and none."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(1)
    for name, spread in (("rendered-300-0", 0.2), ("noise-300-0", 50.0)):
        y = rng.integers(0, 5, 150)
        points = np.eye(5)[y] + rng.normal(0, spread, (150, 5))
        q = np.exp(8 * points - (8 * points).max(axis=1, keepdims=True))
        distance = ((points[:, None] - points) ** 2).sum(axis=2)
        np.fill_diagonal(distance, np.inf)
        near = rng.permuted(np.tile(np.arange(150), (150, 1)), axis=1)[:, :10]
        near = distance.argsort(axis=1)[:, :10] if spread < 1 else near
        np.savez(folder / f"{name}.npz", q=q / q.sum(1, keepdims=True), neighbours=near,
                 y=y if spread < 1 else rng.integers(0, 5, 150), about=np.array("{}"))  # fmt: skip
    return folder


def test_decoders_are_compared_on_the_same_draws(work):
    q, near, y, _ = made_sets.read(work / "rendered-300-0.npz")
    rows = default_decoder.compare("x", q, near, y, [5, 20], 3)
    table = pd.DataFrame(rows)
    assert len(table) == 6 and (table[table["decoder"] == "soft"]["difference"] == 0).all()
    soft = table[table["decoder"] == "soft"].set_index("n_labels")["accuracy"]
    for row in table.itertuples():
        assert row.difference == pytest.approx(row.accuracy - soft[row.n_labels])
        assert row.default == (row.decoder == "neighbours")  # 30 images for each of 5 clusters
    assert "default against soft: 2 cells" in default_decoder.summary(table)


def test_what_is_said_beforehand_is_compared_with_what_came(work, capsys):
    table = beforehand.measure(work)
    assert table.set_index("set")["works"].to_dict() == {
        "rendered-300-0": True,
        "noise-300-0": False,
    }
    assert (table["said"] == table["works"]).all()
    assert capsys.readouterr().out.count("right") == 2
    # without one kind, the other alone fits no limit
    assert not table["elsewhere"].any()


def test_the_limit_is_the_line_between_sets_that_work_and_others():
    rng = np.random.default_rng(0)
    n, agreement = rng.integers(500, 15_000, 400), rng.uniform(0.05, 0.95, 400)
    odds = np.log(agreement / (1 - agreement))
    table = pd.DataFrame({"n": n, "K": 100, "agreement": agreement, "kind": np.arange(400) % 8})
    table["works"] = odds > -1.5 + 0.5 * np.log(n / 100)
    intercept, slope = beforehand.fitted_line(table)
    assert abs(intercept + 1.5) < 0.2 and abs(slope - 0.5) < 0.1
    assert (beforehand.said_elsewhere(table) == table["works"]).mean() > 0.95


def test_the_interval_holds_the_truth_in_most_draws(work):
    q, near, y, _ = made_sets.read(work / "rendered-300-0.npz")
    found = beforehand.interval_coverage(q, near, y, n_labels=30, draws=8)
    assert found["draws"] == 8 and found["covered"] >= 0.7 and 0 < found["width"] < 0.6
    assert abs(found["bias"]) < 0.1


def test_rare_classes_wrong_labels_and_an_unnamed_class():
    y = np.repeat(np.arange(26), 20)
    rows = realistic.zipf_rows(y, 1)
    counts = np.sort(np.bincount(y[rows], minlength=26))[::-1]
    assert counts[0] == 20 and counts[-1] == 0 and len(np.unique(rows)) == len(rows)
    wrong = realistic.mislabelled(y, 0.1, 0)
    assert np.count_nonzero(wrong != y) == round(0.1 * len(y))
    assert (realistic.mislabelled(y, 0.0, 0) == y).all()
    rng = np.random.default_rng(0)
    features = np.eye(26)[y] + rng.normal(0, 0.05, (len(y), 26))
    q = np.full((len(y), 26), 0.1 / 25, np.float32)
    q[np.arange(len(y)), y] = 0.9
    table = realistic.study(q, features.astype(np.float32), y, draws=2, counts=(40,))
    settings = {"zipf", "as many, balanced", "5% wrong", "10% wrong", "open"}
    assert set(table["setting"]) == settings
    accuracy = table[(table["measure"] == "accuracy") & (table["decoder"] == "soft")]
    assert (accuracy["mean"] > 0.5).all()
    unnamed = table[table["setting"] == "open"].set_index("measure")["mean"]
    assert unnamed["unlabelled"] == 1 and unnamed["found"] == 1
