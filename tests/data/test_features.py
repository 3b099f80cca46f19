"""Features of pictures: from files, at one length, and refused in one line."""

import numpy as np
import pytest

from gmvae_lib.data.features import (
    FeatureSet,
    LaterFeatures,
    at_length,
    features_note,
    file_features,
    require_same,
)
from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.errors import InputError

PATHS = ("a/1.png", "a/2.png", "b/é.png")


@pytest.fixture
def pictures():
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    return ImageSet(images, extra={"path": np.array(PATHS, dtype=object)})


def write(path, features, names=PATHS):
    np.savez(path, features=features, paths=np.array(names))
    return path


def test_rows_are_at_one_length_whatever_their_scale():
    rows = np.random.default_rng(0).normal(size=(5, 16))
    assert np.allclose((at_length(rows) ** 2).mean(1), 1, atol=1e-5)
    assert np.allclose(at_length(rows), at_length(1000 * rows), atol=1e-5)
    assert (at_length(np.zeros((2, 3))) == 0).all()


def test_features_of_a_file_follow_the_names_and_not_the_order(pictures, tmp_path):
    rows = np.arange(12.0).reshape(4, 3) + 1
    names = ["b/é.png", "elsewhere.png", "./a/2.png", "a\\1.png"]
    found = file_features(write(tmp_path / "f.npz", rows, names), pictures)
    assert np.allclose(found.images, at_length(rows[[3, 2, 0]]))
    assert found.bank is None and found.provenance["features"]["dimension"] == 3
    assert len(found) == 3 and found.digests is pictures.digests and found.paths == PATHS
    np.save(tmp_path / "f.npy", rows)
    (tmp_path / "f.txt").write_text("\n".join(names), encoding="utf-8")
    assert np.array_equal(file_features(tmp_path / "f.npy", pictures).images, found.images)


BAD = {
    "no such file": lambda path: None,
    "no features of 1 of 3 pictures, such as b/é.png": lambda path: write(
        path, np.ones((2, 4)), PATHS[:2]
    ),
    "found a/1.png twice": lambda path: write(path, np.ones((4, 4)), [*PATHS, "a/1.png"]),
    "expected text [3]": lambda path: write(path, np.ones((3, 4)), [1, 2, 3]),
    "expected floats [M, D]": lambda path: write(path, np.ones(3)),
    "NaN or infinite": lambda path: write(path, np.array([[1, 2], [3, np.nan], [5, 6]])),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_files_are_refused_in_one_line(said, pictures, tmp_path):
    path = tmp_path / "f.npz"
    BAD[said](path)
    with pytest.raises(InputError) as error:
        file_features(path, pictures)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_an_array_without_names_or_pictures_without_paths_are_refused(pictures, tmp_path):
    np.save(tmp_path / "f.npy", np.ones((3, 4)))
    with pytest.raises(InputError, match=r"f\.txt: no such file, expected the paths"):
        file_features(tmp_path / "f.npy", pictures)
    with pytest.raises(InputError, match="features by path for images of an array"):
        file_features(write(tmp_path / "f.npz", np.ones((3, 4))), ImageSet(pictures.images))
    with pytest.raises(InputError, match="expected floats"):
        FeatureSet(pictures, np.ones((2, 4)), {"name": "test"})


def test_later_features_are_made_when_asked_for(pictures):
    made = []

    def make(some):
        made.append(len(some))
        return FeatureSet(some, np.ones((3, 2)), {"name": "test"})

    later = LaterFeatures(pictures, make)
    assert len(later) == 3 and later.set_digest == pictures.set_digest and not made
    assert later.images.shape == later.images.shape == (3, 2) and made == [3]


def test_features_of_another_kind_are_refused(pictures):
    def about(dimension=4, **more):
        return FeatureSet(pictures, np.ones((3, dimension)), {"name": "net", **more})

    learned = about(side=96, sha256="0a").provenance
    require_same(about(side=96, sha256="0a"), learned)
    for other in (about(2), about(side=64, sha256="0a"), about(side=96, sha256="0b"), about()):
        with pytest.raises(InputError, match="which the run learned from"):
            require_same(other, learned)
    require_same(about(sha256="1"), about(sha256="2").provenance)  # files: of other pictures
    assert features_note(learned).startswith("The model saw 4 features") and not features_note({})
