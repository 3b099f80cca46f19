"""MNIST with few labels: the published draws, the protocol's model, graphs, measuring in parts."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse.csgraph import connected_components

from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.storage import write_npz
from gmvae_lib.errors import InputError
from gmvae_lib.label.neighbours import adjacency
from gmvae_lib.study import mnist_few_labels as few
from gmvae_lib.study.rivals import unit_length
from gmvae_lib.vae.config import preset


@pytest.fixture
def groups(tmp_path):
    """Images that were embedded already: three groups of 40 points, far from one another."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 40)
    features = unit_length((5 * np.eye(3)[y] + rng.normal(size=(120, 3))).astype(np.float32))
    likeness = features @ features.T
    np.fill_diagonal(likeness, -2)
    neighbours = np.argsort(-likeness, axis=1)[:, :10].astype(np.int32)
    q = np.full((120, 3), 0.05, np.float32)
    q[np.arange(120), y] = 0.9
    columns = {"q": q, "features": features, "neighbours": neighbours}
    write_npz(tmp_path / "embedded-0.npz", columns)
    names = tuple("abc")
    return ImageSet(np.zeros((120, 4, 4), np.uint8), y, names, {"name": "groups"}), columns


def test_the_model_is_the_preset_but_for_k_and_the_second_stage():
    (model, training), (best, as_best) = few.configurations(2), preset("best", seed=2)
    assert (model.K, training.generative_epochs) == (30, 0)
    changed = {f for f in vars(best) if getattr(model, f) != getattr(best, f)}
    assert changed == {"K", "auxiliary"}  # the latter in proportion
    assert {f for f in vars(as_best) if getattr(training, f) != getattr(as_best, f)} == {
        "generative_epochs"
    }


def test_the_published_draws_are_read_and_others_refused(tmp_path, shared_data):
    draws = few.read_draws(shared_data / "mnist-few-labels" / "draws.npz")
    assert {n: rows.shape for n, rows in draws.items()} == {n: (100, n) for n in few.N_LABELS}
    write_npz(tmp_path / "draws.npz", {f"n{n}": np.zeros((100, n)) for n in few.N_LABELS})
    with pytest.raises(InputError, match="the published draws"):
        few.read_draws(tmp_path / "draws.npz")
    with pytest.raises(InputError, match="no such file"):
        few.read_draws(tmp_path / "none.npz")


def test_a_graph_in_parts_is_connected_with_few_changes(groups):
    features, neighbours = groups[1]["features"], groups[1]["neighbours"]
    parts = connected_components(adjacency(neighbours), directed=False)[0]
    joined = few.connected(features, neighbours)
    assert connected_components(adjacency(joined), directed=False)[0] == 1
    n_changed = np.sum(joined != neighbours)
    assert parts == 1 or 0 < n_changed <= 80
    assert np.array_equal(few.connected(features, joined), joined)


def test_measuring_resumes_and_scores_unlabelled_images(groups, tmp_path):
    images, _ = groups
    draws = {3: np.array([[0, 40, 80], [1, 41, 81]]), 6: np.array([[0, 1, 40, 41, 80, 81]])}
    whole = few.measure(images, draws, 0, tmp_path)
    assert whole.groupby("method").size().to_dict() == {
        "soft": 3, few.OURS: 3, few.POISSON: 3
    }  # fmt: skip
    assert (whole.loc[whole["method"] == "soft", "accuracy"] == 1).all()
    path = tmp_path / "ours-0.csv"
    part = pd.read_csv(path).iloc[:3].assign(accuracy=0.5)  # as if it had stopped there
    part.to_csv(path, index=False)
    resumed = few.measure(images, draws, 0, tmp_path)
    assert (resumed["accuracy"].iloc[:3] == 0.5).all()  # kept, not measured again
    assert np.allclose(resumed["accuracy"].iloc[3:], whole["accuracy"].iloc[3:])
    collected = few.collect(tmp_path, tmp_path / "all.csv")
    assert len(collected) == 9 and list(collected.columns) == few.COLUMNS


def test_what_was_measured_elsewhere_stays_in_the_table(groups, tmp_path):
    images, _ = groups
    draws = {3: np.array([[0, 40, 80]])}
    out = tmp_path / "all.csv"
    there = pd.DataFrame(
        [[7, 10, 0, few.POISSON, 0.9], [0, 3, 0, few.BALANCED, 0.1]], columns=few.COLUMNS
    )
    there.to_csv(out, index=False)
    few.measure(images, draws, 0, tmp_path, part="balanced")
    found = few.collect(tmp_path, out).set_index(["method", "model_seed"])["accuracy"]
    assert found[few.POISSON, 7] == 0.9  # kept
    assert found[few.BALANCED, 0] > 0.9 and len(found) == 2  # measured again


def test_the_package_gives_its_two_methods(groups, tmp_path):
    pytest.importorskip("graphlearning")
    images, columns = groups
    draws = {3: np.array([[0, 40, 80]])}
    table = few.measure(images, draws, 0, tmp_path, part="package")
    assert list(table["method"]) == list(few.PACKAGE)
    assert (table["accuracy"] > 0.9).all()


def test_a_labelled_image_is_not_counted():
    y = np.array([0, 1, 0, 1])
    assert few.accuracy([1, 1, 0, 0], y, [0]) == pytest.approx(2 / 3)
    assert few.accuracy([0, 1, 0, 0], y, [0, 1, 2]) == 0


def test_bad_arguments_end_in_one_line(tmp_path, capsys):
    assert few.main(["--draws", str(tmp_path / "none.npz")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(InputError, match="found no table"):
        few.collect(tmp_path, tmp_path / "out.csv")


# ---- comparison ---------------------------------------------------------------------------------


def table_of(accuracy, n_models=3, n_draws=100, n=10):
    """Cells of all methods from accuracy(method, model, draw)."""
    rows = [
        (m, n, d, method, accuracy(method, m, d))
        for method in (few.OURS, few.POISSON)
        for m in range(n_models)
        for d in range(n_draws)
    ]
    return pd.DataFrame(rows, columns=few.COLUMNS)


def test_pairing_takes_the_draws_out():
    rng = np.random.default_rng(0)
    luck, noise = rng.normal(0, 0.03, 100), rng.normal(0, 0.001, (3, 100))
    ours = {few.OURS: 0.01, few.POISSON: 0.0}
    table = table_of(lambda method, m, d: 0.9 + ours[method] + luck[d] + noise[m, d] * ours[method])
    paired, published = few.comparison(table).to_dict("records")
    assert (paired["rival"], paired["models"], paired["draws"]) == (few.POISSON, 3, 100)
    assert paired["difference"] == pytest.approx(1.0, abs=0.01) and paired["won"] == 1
    assert paired["high"] - paired["low"] < 0.05  # the luck of the draws is 3 points
    assert published["theirs"] == 96.53 and np.isnan(published["won"])
    assert published["difference"] == pytest.approx(published["ours"] - 96.53)
    half = (published["high"] - published["low"]) / 2
    assert half > 1.96 * 2.59 / 10  # at least the published mean's own


def test_models_widen_the_interval():
    apart = [-0.01, 0.0, 0.01]
    table = table_of(lambda method, m, d: 0.9 + (method == few.OURS) * (0.01 + apart[m]) + d * 1e-4)
    paired = few.comparison(table).iloc[0]
    assert paired["low"] < 0 < paired["difference"]  # three models, as far apart as the gain
    one = few.comparison(table[table["model_seed"] == 2]).iloc[0]
    assert (one["models"], one["low"]) == (1, pytest.approx(2.0))  # the draws alone say: certain


def test_a_draw_that_one_model_has_not_met_counts_for_none():
    table = table_of(lambda method, m, d: 0.9 + m * 0.01)
    table = table[~((table["model_seed"] == 2) & (table["draw"] == 99))]
    found = few.comparison(table)
    assert found["models"].tolist() == [3, 3] and found["draws"].tolist() == [99, 99]
    assert few.comparison(table[table["model_seed"] > 5]).empty


def test_published_figures_cover_all_numbers_of_labels():
    assert {len(rows) for rows in few.PUBLISHED.values()} == {len(few.N_LABELS)}


def test_published_figures_are_those_of_the_file(shared_data):
    stored = pd.read_csv(shared_data / "mnist-few-labels" / "published.csv")
    names = {"laplace": "Laplace", "nearestneighbor": "nearest neighbour", "poisson": few.POISSON}
    names["poissonmbo"] = "PoissonMBO"
    for row in stored.itertuples():
        of_size = few.PUBLISHED[names[row.method]][few.N_LABELS.index(row.n_labels)]
        assert of_size == (row.mean, row.sd)
