"""Pretrained networks in front of the model: weights, preprocessing, cache, bank."""

import numpy as np
import pytest
import torch

from gmvae_lib.classifier import GMVAEClassifier
from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.errors import InputError
from gmvae_lib.vae import pretrained
from gmvae_lib.vae.pretrained import EFFICIENTNET, network, side_of, with_features


@pytest.fixture
def pictures():
    images = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    images[3:] //= 3
    return ImageSet(images)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GMVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def means(pictures):
    return pictures.astype(np.float64).mean((1, 2))


def test_efficientnet_sees_what_it_was_trained_on():
    """(x - 127) / 128 of 0..255, the last layer left out, TensorFlow's padding "same"."""
    net = network(EFFICIENTNET)
    seen = {}
    hook = net.module._conv_stem.register_forward_pre_hook(
        lambda module, args: seen.update(x=args[0])
    )
    x = torch.linspace(0, 1, 256).expand(1, 3, 256, 256)[..., :128, 64:192]
    assert net(x).shape == (1, 1280)
    hook.remove()
    expected = (255 * x - 127) / 128
    torch.testing.assert_close(seen["x"], expected, atol=1e-4, rtol=0)
    # at any multiple of 32 the stem halves the picture, padded on the far side alone
    stem = net.module._conv_stem
    ones = torch.ones(1, 3, 128, 128)
    padded = torch.nn.functional.pad(ones, (0, 1, 0, 1))
    by_hand = torch.nn.functional.conv2d(padded, stem.weight, stride=2)
    torch.testing.assert_close(stem(ones), by_hand)


def test_features_are_computed_once_and_do_not_depend_on_the_cache(pictures, cache, monkeypatch):
    first = with_features(pictures, EFFICIENTNET, bank=1)
    assert first.images.shape == (6, 1280) and first.bank.shape == (6, 1, 1280)
    assert np.allclose((first.images**2).mean(1), 1, atol=1e-3)
    about = first.provenance["features"]
    assert about["side"] == side_of(EFFICIENTNET) and about["sha256"].startswith("57934424")
    monkeypatch.setattr(pretrained, "network", None)  # not needed any more
    again = with_features(pictures, EFFICIENTNET, bank=1)
    assert np.array_equal(first.images, again.images) and np.array_equal(first.bank, again.bank)
    monkeypatch.undo()
    monkeypatch.setenv("GMVAE_CACHE", str(cache.parent))
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:-40])  # cut short: made again
    assert np.array_equal(with_features(pictures, EFFICIENTNET, bank=1).images, first.images)


def test_views_of_the_bank_resemble_their_picture_more_than_others():
    rng = np.random.default_rng(1)
    plain = np.clip(
        rng.integers(0, 256, (20, 1, 1, 3)) + rng.integers(-20, 20, (20, 40, 40, 3)), 0, 255
    )
    found = with_features(ImageSet(plain.astype(np.uint8)), means, bank=2)
    a, b = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (found.images, found.bank[:, 0])
    )
    assert ((a @ b.T).argmax(1) == np.arange(20)).mean() > 0.5  # chance: 0.05
    assert not np.allclose(found.bank[:, 0], found.bank[:, 1])


def test_weights_are_verified_before_they_are_read(tmp_path):
    path = tmp_path / "net-00000000.pth"
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(InputError, match="expected 00000000… as published"):
        pretrained.verified_weights(path, "00000000")
    good = pretrained.file_digest(path)
    assert pretrained.verified_weights(path, good[:8])["weight"].tolist() == [1, 1]
    torch.save({"weight": print}, path)  # a pickle that names a function
    with pytest.raises(Exception, match="[Ww]eights"):
        pretrained.verified_weights(path, pretrained.file_digest(path)[:8])
    with pytest.raises(InputError, match="no such file"):
        pretrained.verified_weights(tmp_path / "none.pth", good)


def test_without_a_network_one_line_says_where_to_put_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def fails(url, path, prefix, progress):
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fails)
    with pytest.raises(InputError) as error:
        network("resnet18")
    said = str(error.value)
    assert str(tmp_path / "checkpoints") in said and "\n" not in said
    assert "expected https://download.pytorch.org/models/resnet18-f37072fd.pth there" in said


def test_a_model_of_torchvision_without_its_last_layer(tmp_path, monkeypatch):
    from torchvision import models

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    state = models.get_model("squeezenet1_1", weights=None)  # no linear layer at its end
    assert state is not None
    torch.manual_seed(0)
    weights = models.get_model("resnet18", weights=None).state_dict()
    (tmp_path / "checkpoints").mkdir()
    path = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    torch.save(weights, path)
    digest = pretrained.file_digest(path)
    original = pretrained.verified_weights
    monkeypatch.setattr(pretrained, "verified_weights", lambda p, sha: original(p, digest))
    net = network("resnet18")
    assert net.side == side_of("resnet18") == 224 and net.sha256 == digest
    assert net(torch.rand(1, 3, 64, 64)).shape == (1, 512)


@pytest.mark.parametrize(
    "features, said",
    [
        ("resnet19", "expected efficientnet-lite0, a file .npz or .npy, or a model"),
        ("fcn_resnet50", "expected efficientnet-lite0, a file"),  # finds no classes of pictures
        ("none.npz", "no such file"),
        (lambda pictures: np.ones((2, 3)), "the function gave"),
        (lambda pictures: np.full((len(pictures), 3), np.nan), "NaN or infinite"),
    ],
)
def test_what_gives_no_features_is_refused_in_one_line(features, said, pictures):
    with pytest.raises(InputError) as error:
        with_features(pictures, features)
    assert said in str(error.value) and "\n" not in str(error.value)


# ---- with the estimator -------------------------------------------------------------------------


def fitted(pictures, **changes):
    options = {"preset": "features", "epochs": 2, "features": means, **changes}
    return GMVAEClassifier(2, **options).fit(pictures)


def many(n=40):
    rng = np.random.default_rng(2)
    dark = np.arange(n) % 2
    images = rng.integers(0, 120, (n, 10, 10, 3)) + 120 * dark[:, None, None, None]
    return ImageSet(images.astype(np.uint8), dark, ("bright", "dark"))


def test_the_estimator_learns_from_features_and_predicts_new_pictures(tmp_path):
    images = many()
    model = fitted(images)
    assert model.run_.config.image_shape == (3,) and model.run_.config.likelihood == "gaussian"
    model.fit_labels([0, 1, 2, 3], images.labels[:4])
    before = model.predict(images.images[:6])
    assert before.shape == (6,)
    model.report(tmp_path / "report.html")
    assert "The model saw 3 features" in (tmp_path / "report.html").read_text()
    model.save(tmp_path / "run")
    again = GMVAEClassifier.load(tmp_path / "run")
    assert np.array_equal(again.transduction_, model.transduction_)
    with pytest.raises(InputError, match="features: found None, expected those that the run"):
        again.predict(images.images[:6])
    again.features = means
    assert np.array_equal(again.predict(images.images[:6]), before)
    again.features = lambda pictures: means(pictures)[:, :2]
    with pytest.raises(InputError, match="found 2 from a function, expected 3"):
        again.predict(images.images[:6])


def test_views_of_the_bank_reach_the_training(tmp_path):
    """Without a bank the same pictures give other weights."""
    images = many()
    with_bank = pretrained.pictures_with_features(images, means)
    assert with_bank.bank.shape == (40, pretrained.VIEWS_KEPT, 3)
    without = with_features(images, means)
    first, same, other = (fitted(some).run_.state for some in (with_bank, with_bank, without))
    name = next(name for name in first if name.startswith("encoder") and name.endswith("weight"))
    assert np.array_equal(first[name], same[name]) and not np.allclose(first[name], other[name])


def test_pixels_and_features_are_not_confused():
    images = many()
    model = GMVAEClassifier(2, epochs=1).fit(images)
    model.features = means
    with pytest.raises(InputError, match="expected None as the run learned from"):
        model.transform(images.images)
