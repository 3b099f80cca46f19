"""The playground's data must be the model's: layers, votes and samples, through the script file."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from gmvae_lib import (
    GMVAE,
    GMVAEConfig,
    GraphDecoder,
    HardDecoder,
    InputError,
    Run,
    SoftDecoder,
    TrainConfig,
    cluster_posterior,
    load_images,
)
from gmvae_lib.label.decoding import cluster_affinity
from gmvae_lib.study import playground
from gmvae_lib.study.experiments import draw_labelled

CONFIGS = {
    "conv": {"encoder": "conv", "channels": (4, 6, 8), "features": 16},
    "mlp": {"encoder": "mlp", "encoder_hidden": (16, 12)},
}


def make_run(encoder="conv", n_images=2000):
    """An untrained run whose batch normalisations are anything but the identity."""
    config = GMVAEConfig(K=6, z_dim=4, posterior="shared", decoder_hidden=(16,), **CONFIGS[encoder])
    torch.manual_seed(0)
    model = GMVAE(config)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                for values in (module.running_mean, module.bias):
                    values.normal_(0, 0.3)
                for values in (module.running_var, module.weight):
                    values.uniform_(0.3, 2)
    rng = np.random.default_rng(0)
    return Run(
        model_config=config,
        train_config=TrainConfig(),
        history=[],
        provenance={},
        state={name: value.numpy() for name, value in model.state_dict().items()},
        posterior=rng.dirichlet(np.full(6, 0.1), n_images).astype(np.float32),
        labels=rng.integers(26, size=n_images),
        class_names=tuple("abcdefghijklmnopqrstuvwxyz"),
    )


@pytest.fixture(scope="module")
def run():
    return make_run()


def forward(layers, images):
    """q(c|x) of float images [N, H, W] through folded layers, in NumPy."""
    x = images[:, None].astype(np.float64)
    for layer in layers:
        weight = layer["weight"]
        if layer["kind"] == "conv":
            k, stride = weight.shape[-1], layer["stride"]
            margin = (0, 0), (0, 0), (k // 2, k // 2), (k // 2, k // 2)
            patches = sliding_window_view(np.pad(x, margin), (k, k), axis=(2, 3))
            patches = patches[:, :, ::stride, ::stride]
            x = np.einsum("nchwij,ocij->nohw", patches, weight)
            x += layer["bias"][:, None, None]
        else:
            x = x.reshape(len(x), -1) @ weight.T + layer["bias"]
        if layer["relu"]:
            x = np.maximum(x, 0)
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True)


def unpack(packed):
    """Inverse of `playground.pack`, as the page does it."""
    dtype = np.dtype(packed["dtype"]).newbyteorder("<")
    values = np.frombuffer(base64.b64decode(packed["data"]), dtype).reshape(packed["shape"])
    return values * unpack(packed["scale"])[:, None] if "scale" in packed else values


def read_script(path):
    text = path.read_text(encoding="utf-8")
    start, end = f"window.{playground.VARIABLE} = ", ";\n"
    assert text.startswith(start) and text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


@pytest.mark.parametrize("encoder", CONFIGS)
def test_folded_encoder_is_the_model(encoder, letters):
    run = make_run(encoder)
    images = letters.images[:20]
    expected = cluster_posterior(run, images, device="cpu")
    found = forward(playground.fold_encoder(run.model), images / 255)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_script_file_holds_the_model_the_votes_and_the_samples(run, tmp_path, letters):
    path = tmp_path / "data.js"
    sweep = pd.DataFrame(
        [("soft", 73, 0, 0.5), ("soft", 73, 1, 0.7), ("graph", 73, 0, 0.6), ("soft", 29, 0, 0.4)],
        columns=["method", "n_labels", "seed", "accuracy"],
    )
    facts = playground.export(run, path, sweep, letters.images[0], truth="a", n_labels=73)
    data = read_script(path)
    assert facts["bytes"] == path.stat().st_size
    assert [draw["n_labels"] for draw in data["draws"]] == facts["label_counts"]
    assert max(facts["label_counts"]) <= playground.MOST_LABELS

    layers = [
        layer | {"weight": unpack(layer["weight"]), "bias": unpack(layer["bias"])}
        for layer in data["layers"]
    ]
    assert facts["n_weights"] == sum(x["weight"].size + x["bias"].size for x in layers)
    images = letters.images[:20]
    expected = cluster_posterior(run, images, device="cpu")
    np.testing.assert_allclose(forward(layers, images / 255), expected, atol=3e-4)

    for draw in data["draws"]:
        index = draw_labelled(len(run.labels), draw["n_labels"], data["label_seed"])
        q, y = run.posterior[index], run.labels[index]
        hard, soft = HardDecoder().fit(q, y), SoftDecoder().fit(q, y)
        votes, mean = unpack(draw["votes"]), unpack(draw["mean"])
        np.testing.assert_array_equal(votes[hard.classes_], hard.component_count_)
        np.testing.assert_allclose(mean[soft.classes_], soft.class_mean_, rtol=1e-6)
        unseen = np.setdiff1d(np.arange(26), y)
        assert not votes[unseen].any() and not mean[unseen].any()
        graph = GraphDecoder(cluster_affinity(run.posterior)).fit(q, y)
        found = unpack(draw["graph"])[graph.classes_]
        np.testing.assert_allclose(found, graph.label_given_component_, atol=1e-5)
        assert draw["accuracy"] == {73: {"soft": 0.5, "graph": 0.6}, 29: {"soft": 0.4}}.get(
            draw["n_labels"], {}
        )
        assert draw["class_count"] == np.bincount(y, minlength=26).tolist()

    samples = unpack(data["samples"])
    assert samples.shape == (6, playground.N_SAMPLES, 28, 28)
    one = run.model.sample(2, playground.N_SAMPLES, seed=2)
    np.testing.assert_allclose(samples[2] / 255, one, atol=0.51 / 255)
    assert len({component for component, _ in data["hesitant"]}) == len(data["hesitant"])
    assert data["letters"]["names"] == list(run.class_names)
    np.testing.assert_array_equal(unpack(data["example"]["image"]), letters.images[0])


def test_nothing_to_show_for_figure_2_is_said(run, tmp_path):
    playground.export(run, tmp_path / "data.js")
    assert read_script(tmp_path / "data.js")["example"] is None


def test_most_hesitant_samples_have_the_largest_entropy(run):
    samples = playground.draw_samples(run)
    q = cluster_posterior(run, samples.reshape(-1, 28, 28), device="cpu").reshape(6, -1, 6)
    entropy = -(q * np.log(q)).sum(axis=-1)
    chosen = playground.most_hesitant(run, samples)
    found = [entropy[c, i] for c, i in chosen]
    assert found == sorted(entropy.max(axis=1), reverse=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_packed_arrays_come_back(dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    np.testing.assert_array_equal(unpack(json.loads(json.dumps(playground.pack(array)))), array)


def test_bad_input_is_named(run, tmp_path):
    with pytest.raises(InputError, match="found the suffix '.json', expected '.js'"):
        playground.export(run, tmp_path / "data.json")
    with pytest.raises(InputError, match="not found, expected the folder"):
        playground.export(run, tmp_path / "nowhere" / "data.js")
    with pytest.raises(InputError, match="picture: found float64"):
        playground.export(run, tmp_path / "data.js", picture=np.zeros((28, 28)))
    with pytest.raises(InputError, match="found no posterior"):
        playground.export(Run(run.model_config, run.train_config, [], {}, {}), tmp_path / "data.js")
    assert not list(tmp_path.iterdir())


def test_pen_is_that_of_emnist(emnist_letters_path):
    from scipy.ndimage import distance_transform_edt, zoom

    images = load_images(emnist_letters_path).images[:300]
    ink = images > 25  # 10 %
    sides = np.maximum(ink.any(axis=2).sum(axis=1), ink.any(axis=1).sum(axis=1))
    assert np.median(sides) == playground.PEN["side"]

    widths, distance, intensity = [], [], []
    for image in images:
        fine = zoom(
            np.pad(image, 1).astype(float), 8, order=1, grid_mode=True, mode="grid-constant"
        )
        inside = fine > 127
        depth = (distance_transform_edt(inside) - distance_transform_edt(~inside)) / 8
        widths.append(4 * depth[inside].mean())  # exact for an even stroke
        distance.append(depth.ravel())
        intensity.append(fine.ravel() / 255)
    assert 3.2 < np.median(widths) < 3.6
    distance, intensity = np.concatenate(distance), np.concatenate(intensity)
    for at in (-1.0, -0.5, 0.5, 1.0):
        rise = at / playground.PEN["edge"] + 0.5
        near = np.abs(distance - at) < 0.1
        assert intensity[near].mean() == pytest.approx(rise**2 * (3 - 2 * rise), abs=0.06)
