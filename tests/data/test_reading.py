"""How stored values become images: orientation, scale, polarity, transparency, and the rule."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from samples import A_TO_Z, corner_image, rejects, save_picture, write_idx

from gmvae_lib.data import idx
from gmvae_lib.data.images import load_images, reading_notes, reading_rule, rendered_letters
from gmvae_lib.data.pictures import original
from gmvae_lib.errors import InputError


def again(source, images, **options):
    """Read other images by the rule of a run that learned from some."""
    rule = reading_rule(images.images.shape[1:], json.loads(json.dumps(images.provenance)))
    return load_images(source, **{**rule, **options})


def npz(path, images, **more):
    np.savez(path, images=images, **more)
    return path


# ----------------------------------------------------------------- orientation


def letters_idx(folder, stored_upright=False):
    """26 images of 28 x 28 as EMNIST Letters stores them, with labels from 1 to 26."""
    folder.mkdir(exist_ok=True)
    images = corner_image(26)
    path = write_idx(
        folder / "images-idx3-ubyte", images if stored_upright else images.swapaxes(1, 2)
    )
    write_idx(folder / "labels-idx1-ubyte", np.arange(1, 27))
    return path


@pytest.mark.parametrize("name", ["emnist_vs_mnist", "FEMNIST", "EMNIST", "digits"])
@pytest.mark.parametrize("dash", "-.")
def test_no_word_in_a_path_turns_digits(tmp_path, name, dash):
    (tmp_path / name).mkdir()
    path = write_idx(tmp_path / name / f"t10k-images{dash}idx3-ubyte", corner_image(9))
    write_idx(tmp_path / name / f"t10k-labels{dash}idx1-ubyte", np.arange(1, 10))
    read = load_images(path)
    np.testing.assert_array_equal(read.images, corner_image(9))
    assert read.class_names == tuple("123456789") and read.labels.tolist() == list(range(9))
    assert read.provenance["transposed"] is False
    notes = reading_notes(read)
    assert ["--transpose turns them" in note for note in notes] == [True] * (
        "emnist" in name.lower()
    )


@pytest.mark.parametrize("dash", [("-", "."), (".", "-")])
@pytest.mark.parametrize("packed", [("", ".gz"), (".gz", "")])
def test_labels_are_found_in_either_spelling(tmp_path, dash, packed):
    path = write_idx(tmp_path / f"x-images{dash[0]}idx3-ubyte{packed[0]}", corner_image(2))
    write_idx(tmp_path / f"x-labels{dash[1]}idx1-ubyte{packed[1]}", [4, 7])
    write_idx(tmp_path / f"x-case{dash[1]}idx1-ubyte{packed[0]}", [1, 2])
    read = load_images(path)
    assert read.class_names == ("4", "7") and read.extra["case"].tolist() == [1, 2]
    assert read.provenance["name"] == "x"


def test_what_looks_like_emnist_letters_is_turned_with_a_word(tmp_path):
    path = letters_idx(tmp_path / "scans")
    read = load_images(path)
    np.testing.assert_array_equal(read.images, corner_image(26))
    assert read.class_names == A_TO_Z and read.labels.tolist() == list(range(26))
    assert "taken for EMNIST Letters" in reading_notes(read)[0]
    kept = load_images(path, transpose=False)
    np.testing.assert_array_equal(kept.images, corner_image(26).swapaxes(1, 2))
    assert kept.provenance["transposed"] is False and reading_notes(kept) == []
    write_idx(tmp_path / "scans" / "labels-idx1-ubyte", [*range(1, 26), 25])  # one is missing
    assert load_images(path).provenance["transposed"] is False


def test_the_official_files_are_known_by_their_content(tmp_path, monkeypatch):
    path = tmp_path / "a.gz"
    data = write_idx(path, corner_image(3)).read_bytes()
    monkeypatch.setattr(idx, "OFFICIAL_LETTERS", {len(data): hashlib.sha256(data).hexdigest()})
    read = load_images(path)
    np.testing.assert_array_equal(read.images, corner_image(3).swapaxes(1, 2))
    assert read.provenance["transposed"] is True and reading_notes(read) == []
    monkeypatch.setattr(idx, "OFFICIAL_LETTERS", {len(data): "0" * 64})
    assert load_images(path).provenance["transposed"] is False


def test_a_run_turns_later_files_as_it_turned_its_own(tmp_path):
    learned = load_images(letters_idx(tmp_path / "learned"))
    bare = write_idx(tmp_path / "new.idx", corner_image(2).swapaxes(1, 2))
    np.testing.assert_array_equal(again(bare, learned).images, corner_image(2))
    upright = npz(tmp_path / "upright.npz", corner_image(2))  # only IDX files are stored so
    np.testing.assert_array_equal(again(upright, learned).images, corner_image(2))
    assert again("rendered-letters", learned).provenance["transposed"] is False
    kept = load_images(letters_idx(tmp_path / "kept", stored_upright=True), transpose=False)
    other = letters_idx(tmp_path / "other", stored_upright=True)
    np.testing.assert_array_equal(again(other, kept).images, corner_image(26))
    assert reading_notes(again(other, kept)) == []
    turned = load_images(npz(tmp_path / "a.npz", corner_image(2)), transpose=True)
    np.testing.assert_array_equal(again(upright, turned).images, corner_image(2).swapaxes(1, 2))


@pytest.mark.parametrize("name", ["emnist-letters", "emnist-letters-100k"])
def test_runs_from_before_the_rule_was_kept(tmp_path, name):
    """The published run's provenance says that it was transposed, and no more."""
    provenance = {"name": name, "transposed": True, "sha256": "0"}
    rule = reading_rule((28, 28), provenance)
    bare = write_idx(tmp_path / "new.idx", corner_image(2).swapaxes(1, 2))
    np.testing.assert_array_equal(load_images(bare, **rule).images, corner_image(2))
    upright = npz(tmp_path / "upright.npz", corner_image(2))
    np.testing.assert_array_equal(load_images(upright, **rule).images, corner_image(2))


def test_a_rule_for_rows_of_features_is_refused():
    with pytest.raises(InputError, match="64 features"):
        reading_rule((64,), {})
    assert reading_rule((20, 30, 3), {})["size"] == (20, 30)


def test_a_published_run_and_an_idx_file_in_any_folder(emnist_letters_path, tmp_path):
    """The reported case: purity 0.52 instead of 0.90, with exit code 0."""
    from gmvae_lib import cluster_posterior, load_run

    run = load_run(Path(__file__).parents[2] / "results" / "letters100k")
    whole = load_images(emnist_letters_path, transpose=True)
    some = whole.subset(slice(0, 400))
    bare = write_idx(tmp_path / "scans.idx", some.images.swapaxes(1, 2))
    rule = reading_rule(run.model_config.image_shape, run.provenance["data"])
    read = load_images(bare, **rule)
    np.testing.assert_array_equal(read.images, some.images)
    codes = cluster_posterior(run, read).argmax(1)
    counts = np.zeros((run.config.K, 26))
    np.add.at(counts, (codes, some.labels), 1)
    assert counts.max(1).sum() / 400 > 0.85


# ----------------------------------------------------------------------- scale


def stepped(top, n=8, low=0, side=40):
    """Images whose squares of value ``top`` on ``low`` grow."""
    images = np.full((n, side, side), low, np.uint16)
    for i in range(n):
        images[i, 8 : 20 + i, 10:30] = top
    return images


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize(("top", "low"), [(4095, 0), (250, 100), (65535, 0), (1023, 7)])
def test_more_than_8_bits_are_read_by_the_range_of_the_set(tmp_path, suffix, top, low):
    for i, image in enumerate(stepped(top, low=low)):
        save_picture(tmp_path / "a" / f"{i}{suffix}", image)
    read = load_images(tmp_path / "a")
    assert (read.images.min(), read.images.max()) == (0, 255)
    assert read.provenance["reading"]["scale"] == [low, top]
    assert f"values {low} to {top}" in reading_notes(read)[0]
    assert len(np.unique(read.images.reshape(8, -1), axis=0)) == 8
    arrays = load_images(npz(tmp_path / "a.npz", stepped(top, low=low)), size=28)
    np.testing.assert_allclose(arrays.images.astype(int), read.images, atol=1)


def test_a_dim_picture_of_the_set_stays_dim_and_the_scale_is_kept(tmp_path):
    bright, dim = stepped(4000, 3), stepped(1000, 3)
    for i, image in enumerate([*bright, *dim]):
        save_picture(tmp_path / "a" / f"{i}.tif", image)
    for i, image in enumerate(dim):
        save_picture(tmp_path / "later" / f"{i}.tif", image)
    learned = load_images(tmp_path / "a")
    assert learned.images[3:].max() == round(255 * 1000 / 4000)
    later = again(tmp_path / "later", learned)
    np.testing.assert_array_equal(later.images, learned.images[3:])
    assert later.provenance["reading"]["scale"] == [0, 4000] and reading_notes(later) == []
    by_array = again(npz(tmp_path / "later.npz", dim), learned)
    np.testing.assert_allclose(by_array.images.astype(int), later.images, atol=1)


def test_pictures_of_8_bits_beside_others_stay_as_they_are(tmp_path):
    save_picture(tmp_path / "0.tif", stepped(4000)[0])
    save_picture(tmp_path / "1.png", (stepped(200)[0]).astype(np.uint8))
    read = load_images(tmp_path)
    assert read.images[0].max() == 255 and read.images[1].max() == 200
    plain = load_images(tmp_path, scale=(0, 8000))
    assert plain.images[0].max() == 128 and plain.images[1].max() == 200


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int64, np.float32])
def test_masks_of_0_and_1_can_be_seen(tmp_path, dtype):
    masks = (stepped(1) > 0).astype(dtype)
    read = load_images(npz(tmp_path / "a.npz", masks))
    np.testing.assert_array_equal(read.images, 255 * (masks > 0))
    if dtype in (bool, np.uint8):
        for i, mask in enumerate(masks):
            save_picture(tmp_path / "a" / f"{i}.png", mask)
        np.testing.assert_array_equal(load_images(tmp_path / "a", size=40).images, read.images)
        np.save(tmp_path / "a.npy", masks)
        np.testing.assert_array_equal(load_images(tmp_path / "a.npy").images, read.images)
        later = again(npz(tmp_path / "b.npz", masks[:2]), read)
        np.testing.assert_array_equal(later.images, read.images[:2])


def test_an_empty_mask_among_masks(tmp_path):
    masks = (stepped(1) > 0).astype(np.uint8)
    masks[3] = 0
    for i, mask in enumerate(masks):
        save_picture(tmp_path / f"{i}.png", mask)
    np.testing.assert_array_equal(load_images(tmp_path, size=40).images, 255 * masks)
    for i in range(len(masks)):
        save_picture(tmp_path / f"{i}.png", masks[3])
    assert load_images(tmp_path).provenance["reading"]["scale"] is None


def test_a_black_picture_among_others_is_no_mask(tmp_path):
    for i, top in enumerate((200, 1, 200)):
        save_picture(tmp_path / f"{i}.png", stepped(top)[0].astype(np.uint8))
    assert load_images(tmp_path).images[1].max() == 1
    learned = load_images(npz(tmp_path / "a.npz", stepped(200).astype(np.uint8)))
    later = again(npz(tmp_path / "b.npz", stepped(1).astype(np.uint8)), learned)
    assert later.images.max() == 1 and "all is dark" in reading_notes(later)[-1]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.int64])
def test_other_integers(tmp_path, dtype):
    images = np.array([[[-5 if np.iinfo(dtype).min else 0, 95], [20, 45]]], dtype)
    low = int(images.min())
    read = load_images(npz(tmp_path / "a.npz", images))
    np.testing.assert_array_equal(read.images, np.rint((images - low) * (255 / (95 - low))))


# --------------------------------------------------------------------- polarity


def test_what_was_inverted_by_guess_is_said(tmp_path):
    for i in range(3):
        save_picture(tmp_path / f"{i}.png", 255 - corner_image()[0])
    read = load_images(tmp_path)
    assert reading_notes(read) == ["3 of 3 pictures have a bright border: all are inverted"]
    assert reading_notes(load_images(tmp_path, inverted=True)) == []


def test_arrays_of_a_run_on_dark_pictures_follow_it(tmp_path):
    """A run on black-on-white scans, given the same scans or its own images as arrays."""
    scans = 255 - corner_image(4)
    for i, image in enumerate(scans):
        save_picture(tmp_path / "a" / f"{i}.png", image)
    learned = load_images(tmp_path / "a")
    raw = again(npz(tmp_path / "raw.npz", scans), learned)
    np.testing.assert_array_equal(raw.images, learned.images)
    assert "all are inverted, as those were" in reading_notes(raw, learned.provenance)[0]
    exported = again(npz(tmp_path / "own.npz", learned.images), learned)
    np.testing.assert_array_equal(exported.images, learned.images)
    assert reading_notes(exported, learned.provenance) == []


@pytest.mark.parametrize("dark_on_bright", [False, True])
def test_pictures_of_a_run_on_arrays_follow_it(tmp_path, dark_on_bright):
    array = 255 - corner_image(4) if dark_on_bright else corner_image(4)
    learned = load_images(npz(tmp_path / "a.npz", array))
    np.testing.assert_array_equal(learned.images, array)
    for i in range(4):
        save_picture(tmp_path / "bright" / f"{i}.png", 255 - corner_image()[0])
        save_picture(tmp_path / "dark" / f"{i}.png", corner_image()[0])
    for folder in ("bright", "dark"):
        np.testing.assert_array_equal(again(tmp_path / folder, learned).images, array)


def test_arrays_are_inverted_if_asked(tmp_path):
    path = npz(tmp_path / "a.npz", corner_image(2))
    read = load_images(path, inverted=True)
    np.testing.assert_array_equal(read.images, 255 - corner_image(2))
    assert read.provenance["inverted"] is True
    np.testing.assert_array_equal(load_images(path, inverted=False).images, corner_image(2))


# ----------------------------------------------------------------- transparency


def ink(value, side=40):
    """Opaque ink of a grey value on transparent ground of the same colour."""
    image = np.full((side, side, 4), value, np.uint8)
    image[..., 3] = 0
    image[8:30, 10:20, 3] = 255
    return image


@pytest.mark.parametrize("inverted", ["auto", False])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("value", [0, 255])
def test_ink_of_either_colour_can_be_seen_on_transparent_ground(tmp_path, value, colour, inverted):
    for i in range(3):
        save_picture(tmp_path / "a" / f"{i}.png", ink(value))
    read = load_images(tmp_path / "a", size=40, colour=colour, inverted=inverted)
    assert (read.images.min(), read.images.max()) == (0, 255)
    assert read.provenance["reading"]["transparency"] == ("black" if value else "white")
    arrays = load_images(npz(tmp_path / "a.npz", np.stack([ink(value)] * 3)), colour=colour)
    as_stored = load_images(tmp_path / "a", size=40, colour=colour, inverted=False)
    np.testing.assert_array_equal(arrays.images, as_stored.images)
    later = again(tmp_path / "a", read)
    np.testing.assert_array_equal(later.images, read.images)


def test_the_ground_is_one_for_the_set_and_kept_with_the_run(tmp_path):
    for i, value in enumerate((255, 255, 0)):
        save_picture(tmp_path / "a" / f"{i}.png", ink(value))
    learned = load_images(tmp_path / "a", inverted=False)
    assert [image.max() for image in learned.images] == [255, 255, 0]
    save_picture(tmp_path / "later" / "0.png", ink(0))
    assert again(tmp_path / "later", learned).images.max() == 0
    opaque = np.full((9, 9, 4), 255, np.uint8)
    save_picture(tmp_path / "opaque" / "0.png", opaque)
    assert load_images(tmp_path / "opaque").provenance["reading"]["transparency"] is None


def test_half_transparent_pixels_are_mixed_with_the_ground(tmp_path):
    image = np.zeros((28, 28, 4), np.uint8)
    image[..., 3] = 64
    save_picture(tmp_path / "a.png", image)
    assert np.unique(load_images(tmp_path, inverted=False).images).tolist() == [191]
    palette = Image.fromarray(corner_image()[0]).convert("P")
    palette.save(tmp_path / "a.png", transparency=0)
    assert load_images(tmp_path).images.max() == 255


# ----------------------------------------------------------------------- layout


@pytest.mark.parametrize(
    "layout",
    [
        lambda x: x[..., None],
        lambda x: x[:, None],
        lambda x: np.repeat(x[:, None], 3, axis=1),
        lambda x: np.repeat(x[..., None], 3, axis=3),
        lambda x: np.concatenate([np.repeat(x[..., None], 3, 3), 0 * x[..., None] + 255], axis=3),
        lambda x: x.astype(np.float64) / 255,
        np.asfortranarray,
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_layouts_of_arrays(tmp_path, layout, suffix):
    images = rendered_letters(n=5).images
    stored = layout(images)
    path = tmp_path / f"a{suffix}"
    np.save(path, stored) if suffix == ".npy" else np.savez(path, images=stored)
    if suffix == ".npz":
        np.testing.assert_array_equal(load_images(path).images, images)
    read = load_images(path, colour=stored.ndim == 4 and 1 not in stored.shape)
    scale = 255 if read.images.dtype.kind == "f" else 1
    grey = read.images[:] if read.images.ndim == 3 else read.images[:][..., 0]
    np.testing.assert_allclose(grey * scale, images)
    assert len(read.digests) == 5


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x_train": 3, "y_train": [7, 8, 7], "x_test": 2, "y_test": [9, 8]}, "78798"),
        ({"X": 2, "y": [5, 6]}, "56"),
        ({"data": 2, "target": [5, 6]}, "56"),
        ({"arr_0": 2, "arr_1": [5, 6]}, "56"),
        ({"arr_0": 2}, None),
        ({"images": 2, "labels": [[3], [4]]}, "34"),
        (
            {
                **{"train_images": 2, "val_images": 1, "test_images": 1},
                **{"train_labels": [[1], [2]], "val_labels": [[3]], "test_labels": [[1]]},
            },
            "1231",
        ),
    ],
)
def test_names_of_arrays(tmp_path, arrays, expected):
    stored = {
        name: corner_image(value) if isinstance(value, int) else np.array(value)
        for name, value in arrays.items()
    }
    np.savez(tmp_path / "a.npz", **stored)
    read = load_images(tmp_path / "a.npz")
    assert len(read) == sum(value for value in arrays.values() if isinstance(value, int))
    if expected is None:
        assert read.labels is None
    else:
        assert [read.class_names[code] for code in read.labels] == list(expected)
    parts = [name for name, value in arrays.items() if isinstance(value, int)]
    assert read.provenance.get("parts", {}).keys() == set(parts if len(parts) > 1 else [])


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["cat", "", "dog", ""]),
        np.array([3, -1, 5, -1]),
        np.array([3, np.nan, 5, np.nan]),
        np.array([[3], [-1], [5], [-1]]),
    ],
)
def test_missing_labels_of_an_npz(tmp_path, labels):
    read = load_images(npz(tmp_path / "a.npz", corner_image(4), labels=labels))
    assert read.labels.tolist() == [0, -1, 1, -1] and len(read.class_names) == 2
    assert not {"nan", "-1", ""} & {*read.class_names}


@pytest.mark.parametrize("text", ["-1", "nan"])
def test_texts_for_missing_labels_of_an_npz_are_refused(tmp_path, text):
    path = npz(tmp_path / "a.npz", corner_image(2), labels=np.array(["cat", text]))
    rejects(path, str(path), "labels", f"found the text '{text}'")


def test_parts_of_different_shapes_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=corner_image(2), x_test=corner_image(2, 32))
    rejects(tmp_path / "a.npz", "[2, 28, 28] and uint8 [2, 32, 32]; expected parts of one shape")


# -------------------------------------------------------------------- originals


def test_originals_are_shown_as_they_are_read(tmp_path):
    wide = save_picture(tmp_path / "wide.tif", stepped(4000)[0]).read_bytes()
    assert np.asarray(original(wide)).max() == 255
    assert np.asarray(original(wide, {"scale": [0, 8000]})).max() == 128
    mask = save_picture(tmp_path / "mask.png", stepped(1)[0].astype(np.uint8)).read_bytes()
    assert np.asarray(original(mask)).max() == 1
    assert np.asarray(original(mask, {"scale": [0, 1]})).max() == 255
    clear = save_picture(tmp_path / "clear.png", ink(255)).read_bytes()
    assert np.asarray(original(clear)).min() == 255
    assert np.asarray(original(clear, {"transparency": "black"})).min() == 0
    np.save(tmp_path / "a.npy", corner_image()[0])
    shown = original((tmp_path / "a.npy").read_bytes())
    assert shown.mode == "RGB" and np.asarray(shown)[2, 9].tolist() == [255] * 3
    with pytest.raises(InputError, match="picture: not readable"):
        original(b"no picture")
