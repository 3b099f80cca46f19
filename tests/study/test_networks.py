"""Convolutional networks: small pictures of known answer, and rules that are fixed beforehand."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from gmvae_lib.errors import InputError
from gmvae_lib.study import networks
from gmvae_lib.vae.config import GMVAEConfig


@pytest.fixture(scope="module")
def bars():
    """Pixels [60, 64] of 8x8 images with a bar at the left, in the middle or at the right."""
    images = np.zeros((60, 8, 8), dtype=np.float32)
    y = np.arange(60) % 3
    for image, label in zip(images, y, strict=True):
        image[:, 3 * label : 3 * label + 2] = 1
    return images.reshape(60, 64), np.array(["l", "m", "r"])[y]


CONFIG = GMVAEConfig(
    K=3, z_dim=2, image_shape=(8, 8), encoder="conv", channels=(8, 8), features=16,
    decoder_hidden=(8,), posterior="shared",
)  # fmt: skip


def test_a_convolutional_net_learns_from_labels(bars):
    X, y = bars
    net = networks.ConvolutionalNetwork(CONFIG, steps=40)
    predicted = clone(net).fit(X[:9], y[:9]).predict(X)
    assert (predicted == y).mean() > 0.9
    np.testing.assert_array_equal(predicted, clone(net).fit(X[:9], y[:9]).predict(X))


def test_pseudo_labels_train_the_encoder(bars):
    from gmvae_lib.label.neighbours import NeighbourDecoder, neighbour_graph
    from gmvae_lib.vae.model import GMVAE

    X, y = bars
    q = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    ring = (np.arange(60)[:, None] + [3, -3]) % 60  # next of the same letter
    model = GMVAE(CONFIG)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    decoder = NeighbourDecoder(q, neighbour_graph(ring))
    net = networks.PseudoLabels(X, model, decoder, steps=40).fit([0, 1, 2], y[:3])
    assert (net.predict(np.arange(60)) == y).mean() > 0.9
    for name, value in model.state_dict().items():
        assert (value == before[name]).all()  # the model is not touched


def test_fixmatch_learns_from_images_without_a_label(bars):
    """One label a class, the bars at other places in other images: guesses do the rest."""
    X, y = bars
    net = networks.FixMatch(X, CONFIG, steps=50, batch=6, ratio=4, threshold=0.6)
    net = clone(net).fit([0, 1, 2], y[:3])
    assert (net.predict(np.arange(60)) == y).mean() > 0.9
    assert net.sure_.shape == (50,)
    assert net.sure_[:5].mean() < net.sure_[-10:].mean()  # guesses become surer
    again = clone(net).fit([0, 1, 2], y[:3])
    np.testing.assert_array_equal(net.scores_, again.scores_)


def test_fixmatch_trains_on_guesses_above_its_threshold_alone(bars):
    """With a threshold that no guess passes, pictures without a label teach nothing by their
    targets; the loss of the labels is then all there is, so that the weights differ."""
    X, y = bars

    def weights(threshold):
        net = networks.FixMatch(X, CONFIG, steps=30, batch=6, ratio=2, threshold=threshold)
        net.fit([0, 1, 2], y[:3])
        return net.sure_, net.network_[1].weight.detach()

    (sure, with_guesses), (never, without) = weights(0.5), weights(1.1)
    assert sure.max() > 0
    assert not never.any()
    assert not torch.equal(with_guesses, without)


def test_fixmatch_names_bad_rows(bars):
    X, y = bars
    with pytest.raises(InputError, match="rows: found 0 to 60"):
        networks.FixMatch(X, CONFIG, steps=1).fit(np.array([0, 60]), y[:2])


def test_factories_pass_on_draw_and_steps(bars):
    X, _ = bars
    net = networks.from_labels(CONFIG)["convolutional net"](6000, 4, 1)
    assert (net.steps, net.seed) == (2000, 4)
    net = networks.semi_supervised(X, CONFIG, steps=7)["fixmatch"](291, 2, 1)
    assert (net.steps, net.seed) == (7, 2)


def test_scores_do_not_depend_on_the_batch(bars):
    X, y = bars
    net = networks.ConvolutionalNetwork(CONFIG, steps=5).fit(X[:9], y[:9]).network_
    whole, parts = networks._logits(net, X), networks._logits(net, X, batch=7)
    np.testing.assert_allclose(whole, parts, atol=0.05)  # bf16 where it is fast
