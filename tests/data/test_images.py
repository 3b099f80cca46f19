import gzip
import hashlib
import json
import os
import string
from urllib.error import URLError

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from samples import A_TO_Z, corner_image, idx_bytes, one_line, rejects, save_picture, write_idx

from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.images import load_images, reading_notes, reading_rule, rendered_letters
from gmvae_lib.errors import InputError

# those that hold only 0 and 1 are read as masks
uint8_images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6)).filter(
    lambda images: images.max() != 1
)


# ------------------------------------------------------------------- ImageSet


def test_image_set_records_its_own_facts():
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    made = ImageSet(images, np.array([1, 0]), ("a", "b"), {"name": "toy", "n": 99})
    assert len(made) == 2
    assert made.labels.dtype == np.int64
    assert made.provenance["name"] == "toy"
    assert made.provenance["n"] == 2
    assert made.provenance["shape"] == [2, 3, 4]
    assert made.provenance["labels"] is True
    assert made.provenance["sha256"] == hashlib.sha256(images.tobytes()).hexdigest()
    json.dumps(made.provenance)


def test_image_set_hashes_the_images_as_presented():
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    made = ImageSet(images.swapaxes(1, 2))
    assert made.images.flags.c_contiguous
    expected = hashlib.sha256(images.swapaxes(1, 2).tobytes()).hexdigest()
    assert made.provenance["sha256"] == expected
    assert made.provenance["labels"] is False


def test_pixels_are_float32_rows_in_unit_range():
    pixels = ImageSet(np.array([[[0, 51], [255, 102]]], np.uint8)).pixels()
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, [[0, 0.2, 1, 0.4]], rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({"images": np.zeros((2, 3, 3))}, "float64"),
        ({"images": np.zeros((2, 9), np.uint8)}, "[2, 9]"),
        ({"labels": np.array([0, 1, 0]), "class_names": ("a", "b")}, "[3]"),
        ({"labels": np.array([0.0, 1.0]), "class_names": ("a", "b")}, "float64"),
        ({"labels": np.array([0, 2]), "class_names": ("a", "b")}, "0..2"),
        ({"labels": np.array([-2, 0]), "class_names": ("a", "b")}, "-2..0"),
        ({"labels": np.array([0, 0])}, "0 class names"),
        ({"extra": {"case": np.zeros(3)}}, "'case'"),
    ],
)
def test_image_set_rejects(fields, fragment):
    with pytest.raises(InputError) as error:
        ImageSet(**{"images": np.zeros((2, 3, 3), np.uint8), **fields})
    assert fragment in one_line(error)


@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        ([], []),
        (1, [1]),
    ],
)
def test_subset_takes_every_column(index, chosen):
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    whole = ImageSet(images, [0, 1, 0], ("a", "b"), {"name": "toy"}, {"case": [1, 2, 1]})
    part = whole.subset(index)
    np.testing.assert_array_equal(part.images, images[chosen])
    np.testing.assert_array_equal(part.labels, whole.labels[chosen])
    np.testing.assert_array_equal(part.extra["case"], whole.extra["case"][chosen])
    assert part.class_names == ("a", "b")
    assert part.provenance["subset_of"] == whole.provenance["sha256"]
    assert part.provenance["n"] == len(chosen)
    assert part.provenance["sha256"] == hashlib.sha256(part.images.tobytes()).hexdigest()


@pytest.mark.parametrize("index", [[3], np.array([True, False]), [0.5]])
def test_subset_rejects_positions_outside(index):
    with pytest.raises(InputError) as error:
        ImageSet(np.zeros((3, 2, 2), np.uint8)).subset(index)
    one_line(error)


# ------------------------------------------------------------------------ IDX


@settings(max_examples=25, deadline=None)
@given(images=uint8_images, packed=st.booleans(), data=st.data())
def test_idx_round_trip(tmp_path_factory, images, packed, data):
    n = len(images)
    labels = data.draw(hnp.arrays(np.uint8, n))
    folder = tmp_path_factory.mktemp("digits")
    ending = "-ubyte.gz" if packed else "-ubyte"
    path = write_idx(folder / f"images-idx3{ending}", images)
    write_idx(folder / f"labels-idx1{ending}", labels)
    read = load_images(path)
    np.testing.assert_array_equal(read.images, images)
    np.testing.assert_array_equal(np.array(read.class_names, int)[read.labels], labels)
    assert read.provenance["name"] == folder.name
    assert read.provenance["source"] == str(path)
    assert read.provenance["transposed"] is False
    assert read.extra.keys() == {"digest"}


def test_idx_without_labels(tmp_path):
    read = load_images(str(write_idx(tmp_path / "scans.idx", corner_image())))
    assert read.labels is None
    assert read.class_names == ()


def test_idx_takes_case_and_labels_packed_otherwise(tmp_path):
    path = write_idx(tmp_path / "my-images-idx3-ubyte", corner_image(3))
    write_idx(tmp_path / "my-labels-idx1-ubyte.gz", [7, 5, 7])
    write_idx(tmp_path / "my-case-idx1-ubyte", [0, 1, 2])
    read = load_images(path)
    assert read.class_names == ("5", "7")
    assert read.labels.tolist() == [1, 0, 1]
    assert read.extra["case"].tolist() == [0, 1, 2]
    assert read.provenance["name"] == "my"


def test_transpose_can_be_forced(tmp_path):
    path = write_idx(tmp_path / "images-idx3-ubyte", corner_image())
    read = load_images(path, transpose=True)
    np.testing.assert_array_equal(read.images, corner_image().swapaxes(1, 2))
    assert read.provenance["transposed"] is True
    rejects(path, "transpose", "'yes'", transpose="yes")


WHOLE = idx_bytes(corner_image())


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "starts with nothing"),
        (b"\x89PNG and so on, long enough", "found a PNG picture; expected the folder of"),
        (
            idx_bytes(np.zeros(20)),
            "starts with 00000801; expected an IDX file of images, magic",
        ),
        (b"\0\0\x0d\x03" + WHOLE[4:], "00000d03"),
        (WHOLE[:10], "header of 16"),
        (WHOLE[:-1], "783 bytes of data; expected 784"),
        (WHOLE + b"\0", "more than 784"),
        (idx_bytes(np.zeros((0, 28, 28))), "no dimension to be 0"),
        (WHOLE[:4] + b"\xff" * 12 + WHOLE[16:], "holds under 800 bytes"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_idx_rejects(tmp_path, content, fragment, packed):
    path = tmp_path / ("images-idx3-ubyte" + (".gz" if packed else ""))
    path.write_bytes(gzip.compress(content) if packed else content)
    message = rejects(path, str(path))
    # A packed file is checked against what it could hold unpacked.
    assert fragment in message or (packed and "holds under" in message and "holds" in fragment)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-12],
        lambda packed: packed[:40] + b"\xff" * 20 + packed[60:],
        lambda packed: packed[:-8] + b"\0" * 8,
        lambda packed: packed[:5],
    ],
    ids=["cut", "overwritten", "checksum", "stub"],
)
def test_idx_rejects_corrupt_gzip(tmp_path, damage):
    noise = np.random.default_rng(0).integers(256, size=(4, 28, 28))
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(noise))))
    rejects(path, str(path), "corrupt gzip")


@pytest.mark.parametrize("kind", ["labels-idx1", "case-idx1"])
def test_idx_rejects_columns_of_another_length(tmp_path, kind):
    path = write_idx(tmp_path / "images-idx3-ubyte", corner_image(3))
    column = write_idx(tmp_path / f"{kind}-ubyte", [1, 2])
    rejects(path, str(column), "2 entries; expected 3")


def test_paths_that_lead_nowhere(tmp_path):
    rejects(tmp_path / "absent.npz", "absent.npz", "no such file", "emnist-letters")
    rejects("emnist-leters", "emnist-leters", "rendered-letters")


# Root may read everything, so the refusal can be seen only by other users.
@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path):
    path = write_idx(tmp_path / "images-idx3-ubyte", corner_image())
    path.chmod(0)
    rejects(path, str(path), "Permission denied")


# ------------------------------------------------------------------------ NPZ


@settings(max_examples=25, deadline=None)
@given(images=uint8_images, as_float=st.booleans(), data=st.data())
def test_npz_round_trip(tmp_path_factory, images, as_float, data):
    elements = st.text("abcdefgh ö", min_size=1, max_size=4).filter(str.strip)
    labels = data.draw(st.lists(elements, min_size=len(images), max_size=len(images)))
    path = tmp_path_factory.mktemp("npz") / "mine.npz"
    np.savez(path, images=images / 255 if as_float else images, labels=labels)
    read = load_images(path)
    np.testing.assert_array_equal(read.images, images)
    assert [read.class_names[code] for code in read.labels] == labels
    assert read.class_names == tuple(sorted(set(labels)))
    assert read.provenance["name"] == "mine"


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 2, 10], ("2", "10")),
        (np.array([b"x", b"\xff", b"x"]), ("\\xff", "x")),
        (np.array([2**64 - 1, 0, 0], np.uint64), ("0", str(2**64 - 1))),
    ],
)
def test_npz_label_kinds(tmp_path, labels, names):
    np.savez(tmp_path / "a.npz", images=corner_image(3), labels=labels)
    assert load_images(tmp_path / "a.npz").class_names == names


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_floats_keep_all_256_greys(tmp_path, dtype):
    greys = np.arange(256).reshape(1, 16, 16)
    np.savez(tmp_path / "a.npz", images=(greys / 255).astype(dtype))
    read = load_images(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.images, greys)
    assert read.labels is None


@pytest.mark.parametrize(
    ("arrays", "fragment"),
    [
        ({"pictures": corner_image()}, "holds pictures; expected an array `images`"),
        ({}, "holds nothing"),
        ({"images": corner_image().astype(complex)}, "complex128"),
        ({"images": corner_image().astype(float)}, "from 0 to 255"),
        ({"images": corner_image() - 0.5}, "-0.5"),
        ({"images": np.full((1, 2, 2), np.nan)}, "nan"),
        ({"images": corner_image().reshape(1, -1)}, "[1, 784]"),
        ({"images": corner_image(0)}, "not empty"),
        ({"images": np.empty((1, 2, 2), object)}, "not an NPZ of plain arrays"),
        ({"images": corner_image(2), "labels": [1, 2, 3]}, "int64 [3]"),
        ({"images": corner_image(2), "labels": [0.5, 1.5]}, "float64 [2]"),
        ({"images": corner_image(2), "labels": [[1, 0], [0, 1]]}, "int64 [2, 2]"),
    ],
)
def test_npz_rejects(tmp_path, arrays, fragment):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    rejects(path, str(path), fragment)


def test_npz_rejects_other_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=corner_image(5))
    whole = path.read_bytes()
    bare = tmp_path / "bare.npy"
    np.save(bare, corner_image())
    overwritten = whole[:60] + bytes(20) + whole[80:]
    for content in (b"", b"not a zip", whole[: len(whole) // 2], overwritten, bare.read_bytes()):
        path.write_bytes(content)
        rejects(path, str(path), "not an NPZ")


# ------------------------------------------------------------------- pictures


def test_folder_keeps_28_pixel_pictures_as_they_are(tmp_path):
    images = np.random.default_rng(0).integers(100, size=(3, 28, 28), dtype=np.uint8)
    for name, image in zip(("c.png", "a.bmp", "b.TIF"), images, strict=True):
        save_picture(tmp_path / "scans" / name, image)
    (tmp_path / "scans" / "notes.txt").write_text("not a picture")
    save_picture(tmp_path / "scans" / ".hidden" / "x.png", images[0])
    read = load_images(tmp_path / "scans")
    assert read.extra["path"].tolist() == ["a.bmp", "b.TIF", "c.png"]
    np.testing.assert_array_equal(read.images, images[[1, 2, 0]])
    assert read.labels is None
    assert read.provenance["name"] == "scans"
    assert read.provenance["inverted"] is False
    assert read.provenance["transposed"] is False
    json.dumps(read.provenance)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".webp"])
def test_folder_reads_each_format(tmp_path, suffix):
    picture = np.zeros((28, 28), np.uint8)
    picture[10:18] = 255
    save_picture(tmp_path / f"a{suffix}", picture)
    read = load_images(tmp_path).images[0].astype(int)
    assert np.abs(read - picture).max() < 40  # JPEG and WebP lose a little


def test_folder_sub_folders_are_the_labels(tmp_path):
    for name in ("b/1.png", "a/deep/2.png", "a/3.png"):
        save_picture(tmp_path / name, corner_image()[0])
    read = load_images(tmp_path)
    assert read.extra["path"].tolist() == ["a/3.png", "a/deep/2.png", "b/1.png"]
    assert read.class_names == ("a", "b")
    assert read.labels.tolist() == [0, 0, 1]


def test_folder_turns_black_on_white_around_by_majority(tmp_path):
    white = 255 - corner_image()[0]
    for name in ("a.png", "b.png"):
        save_picture(tmp_path / name, white)
    save_picture(tmp_path / "c.png", corner_image()[0])
    read = load_images(tmp_path)
    np.testing.assert_array_equal(read.images[:2], corner_image(2))
    np.testing.assert_array_equal(read.images[2], white)
    assert read.provenance["inverted"] is True
    assert "2 of 3" in read.provenance["polarity"]


def test_folder_keeps_the_aspect_and_pads_with_the_border(tmp_path):
    tall = np.full((560, 140), 250, np.uint8)
    tall[40:520, 60:80] = 0
    save_picture(tmp_path / "l.png", tall)
    image = load_images(tmp_path).images[0]
    assert (image[:, :10] == 5).all()
    assert (image[:, -10:] == 5).all()
    rows, columns = np.nonzero(image > 127)
    assert (rows.min(), rows.max()) == (2, 25)
    assert (columns.min(), columns.max()) == (13, 13)


def test_folder_reads_one_pixel_lines(tmp_path):
    save_picture(tmp_path / "line.png", np.zeros((3000, 1), np.uint8))
    assert load_images(tmp_path).images.shape == (1, 28, 28)


def test_folder_scales_16_bits_and_lays_transparency_on_white(tmp_path):
    save_picture(tmp_path / "deep" / "a.png", corner_image()[0].astype(np.uint16) * 257)
    np.testing.assert_array_equal(load_images(tmp_path / "deep").images, corner_image())
    ink = np.zeros((28, 28, 4), np.uint8)
    ink[2, 9, 3] = 255  # black where it is opaque
    save_picture(tmp_path / "clear" / "a.png", ink)
    np.testing.assert_array_equal(load_images(tmp_path / "clear").images, corner_image())


def test_folder_heeds_the_camera_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn anticlockwise
    save_picture(tmp_path / "a.png", np.rot90(corner_image()[0]), exif=exif)
    np.testing.assert_array_equal(load_images(tmp_path).images, corner_image())


def test_folder_rejects(tmp_path):
    rejects(tmp_path, str(tmp_path), "holds no picture")
    noise = np.random.default_rng(0).integers(256, size=(28, 28), dtype=np.uint8)
    good = save_picture(tmp_path / "good.png", noise)
    bad = tmp_path / "bad.png"
    for content in (b"", b"no picture", good.read_bytes()[:400], good.read_bytes()[:40]):
        bad.write_bytes(content)
        rejects(tmp_path, str(bad), "not readable")
    bad.unlink()
    floats = save_picture(tmp_path / "float.tif", np.zeros((28, 28), np.float32))
    rejects(tmp_path, str(floats), "32-bit")
    floats.unlink()


def test_pictures_beside_sub_folders_have_no_label(tmp_path):
    for name in ("b/1.png", "0.png", "a/3.png", "z.png"):
        save_picture(tmp_path / name, corner_image()[0])
    read = load_images(tmp_path)
    assert read.paths == ("0.png", "a/3.png", "b/1.png", "z.png")
    assert read.class_names == ("a", "b") and read.labels.tolist() == [-1, 0, 1, -1]


# ----------------------------------------------------------- size, colour, rule


def save_colours(folder, n=3, side=40):
    """Pictures whose left half is red and right half blue, on a white frame."""
    picture = np.full((side, side, 3), 255, np.uint8)
    picture[4:-4, 4 : side // 2] = (255, 0, 0)
    picture[4:-4, side // 2 : -4] = (0, 0, 255)
    for i in range(n):
        save_picture(folder / f"{i}.png", picture)
    return folder


def test_folder_in_colour_keeps_rgb_and_never_inverts(tmp_path):
    read = load_images(save_colours(tmp_path), colour=True, size=20)
    assert read.images.shape == (3, 20, 20, 3)
    assert read.images[0, 10, 5].tolist() == [255, 0, 0]
    assert read.images[0, 10, 14].tolist() == [0, 0, 255]
    assert read.images[0, 0, 0].tolist() == [255, 255, 255]
    assert read.provenance["inverted"] is False
    assert read.provenance["reading"] == {
        "kind": "pictures",
        "shape": [20, 20, 3],
        "colour": True,
        "transposed": False,
        "inverted": False,
        "scale": None,
        "transparency": None,
        "converted": None,
        "notes": [],
        "bright_borders": 1.0,
    }
    assert read.pixels().shape == (3, 20 * 20 * 3)
    assert load_images(tmp_path).images.shape == (3, 28, 28)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    to=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    colour=st.booleans(),
    stored_colour=st.booleans(),
)
def test_arrays_are_fitted_with_their_aspect(
    tmp_path_factory, height, width, to, colour, stored_colour
):
    path = tmp_path_factory.mktemp("fit") / "a.npz"
    shape = (2, height, width, 3) if stored_colour else (2, height, width)
    np.savez(path, images=np.full(shape, 77, np.uint8))
    read = load_images(path, size=to, colour=colour)
    # an even picture stays even: resized, padded with its own border, grey or in three channels
    assert (read.images == 77).all()
    assert read.images.shape == ((2, *to, 3) if colour else (2, *to))
    changed = (height, width) != to or colour != stored_colour
    assert bool(reading_notes(read)) == changed


def test_npz_of_the_size_asked_for_is_kept_bit_for_bit(tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(3, 9, 7, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=noise, labels=[1, 2, 1])
    read = load_images(tmp_path / "a.npz", size=(9, 7), colour=True)
    np.testing.assert_array_equal(read.images, noise)
    grey = load_images(tmp_path / "a.npz")
    expected = [np.asarray(Image.fromarray(image).convert("L")) for image in noise]
    np.testing.assert_array_equal(grey.images, expected)
    assert grey.labels.tolist() == [0, 1, 0]
    assert reading_notes(grey) == ["images of 9x7, read in grey"]


def test_idx_is_resized_like_a_picture(tmp_path):
    picture = rendered_letters(n=1, size=40).images
    save_picture(tmp_path / "folder" / "a.png", picture[0])
    from_idx = load_images(write_idx(tmp_path / "a-images-idx3-ubyte", picture), size=28)
    np.testing.assert_array_equal(from_idx.images, load_images(tmp_path / "folder").images)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "28", (28,), (28, 0), (1, 2, 3), 5000])
def test_sizes_that_make_no_sense(tmp_path, size):
    save_picture(tmp_path / "a.png", corner_image()[0])
    rejects(tmp_path, "size: found", size=size)


def test_more_than_the_memory_is_refused_before_it_is_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((70_000, 1, 1), np.uint8))
    rejects(tmp_path / "a.npz", "GB", size=4096, colour=True)


def test_the_rule_of_a_run_decides_the_polarity_of_new_pictures(tmp_path):
    dark_on_white = 255 - corner_image()[0]
    for i in range(4):
        save_picture(tmp_path / "learned" / f"{i}.png", dark_on_white)
    learned = load_images(tmp_path / "learned").provenance
    rule = reading_rule((28, 28), learned)
    assert rule["size"] == (28, 28) and rule["inverted"] is True and rule["colour"] is False
    # two pictures that were inverted already would be left as they are, if they could choose
    for i in range(2):
        save_picture(tmp_path / "new" / f"{i}.png", corner_image()[0])
    assert load_images(tmp_path / "new").provenance["inverted"] is False
    new = load_images(tmp_path / "new", **rule)
    np.testing.assert_array_equal(new.images, 255 - corner_image(2))
    assert ["wrong way round" in note for note in reading_notes(new, learned)] == [True]
    same = load_images(tmp_path / "learned", **rule)
    assert same.provenance["sha256"] == learned["sha256"]
    assert reading_notes(same, learned) == []


# ---------------------------------------------------------------- torchvision


def fake_emnist(root, labels=((1, 26, 2), (3,))):
    """A few images laid out as torchvision lays out EMNIST Letters."""
    raw = root / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, part_labels in zip(("train", "test"), labels, strict=True):
        images = corner_image(len(part_labels)).swapaxes(1, 2)
        write_idx(raw / f"emnist-letters-{part}-images-idx3-ubyte", images)
        write_idx(raw / f"emnist-letters-{part}-labels-idx1-ubyte", part_labels)
    return raw


def test_emnist_letters_merges_train_and_test_upright(tmp_path):
    fake_emnist(tmp_path)
    read = load_images("emnist-letters", data_dir=tmp_path, download=False)
    np.testing.assert_array_equal(read.images, corner_image(4))
    assert read.labels.tolist() == [0, 25, 1, 2]
    assert read.class_names == A_TO_Z
    assert read.provenance["source"] == "torchvision EMNIST letters train+test merged"
    assert read.provenance["parts"] == {"train": 3, "test": 1}
    assert read.provenance["transposed"] is True
    assert read.provenance["n"] == 4
    stored = load_images("emnist-letters", data_dir=tmp_path, download=False, transpose=False)
    np.testing.assert_array_equal(stored.images, corner_image(4).swapaxes(1, 2))


def test_data_dir_comes_before_the_environment(tmp_path, monkeypatch):
    fake_emnist(tmp_path / "full")
    monkeypatch.setenv("EMNIST_ROOT", str(tmp_path / "full"))
    assert len(load_images("emnist-letters", download=False)) == 4
    empty = str(tmp_path / "empty")
    rejects("emnist-letters", empty, data_dir=empty, download=False)


def test_default_folder_is_in_the_home_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("EMNIST_ROOT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    fake_emnist(tmp_path / ".cache" / "gmvae_lib")
    assert len(load_images("emnist-letters", download=False)) == 4


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("emnist-letters", "EMNIST", "emnist-letters-{train,test}-{images-idx3,labels-idx1}-ubyte"),
        ("mnist", "MNIST", "{train,t10k}-{images-idx3,labels-idx1}-ubyte"),
    ],
)
@pytest.mark.parametrize("download", [False, True])
def test_absent_data_says_what_to_put_where(tmp_path, monkeypatch, name, folder, file, download):
    def no_network(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    raw = str(tmp_path / folder / "raw")
    message = rejects(name, file, raw, data_dir=tmp_path, download=download)
    assert ("no network" in message) == download
    assert ("gzip.zip" in message) == (name == "emnist-letters")


@pytest.mark.parametrize("content", [b"", WHOLE[:-1], b"<html>", b"\0\0\x02\x03" + WHOLE[4:]])
def test_emnist_rejects_malformed_raw_files(tmp_path, content):
    raw = fake_emnist(tmp_path)
    (raw / "emnist-letters-train-images-idx3-ubyte").write_bytes(content)
    rejects("emnist-letters", str(raw), data_dir=tmp_path, download=False)


def test_emnist_rejects_labels_of_another_length(tmp_path):
    raw = fake_emnist(tmp_path)
    write_idx(raw / "emnist-letters-test-labels-idx1-ubyte", [3, 4])
    rejects("emnist-letters", data_dir=tmp_path, download=False)


# ------------------------------------------------------------------ real data


def test_mnist_from_the_shared_folder(shared_data, tmp_path):
    if not (shared_data / "MNIST" / "raw").is_dir():
        pytest.skip(f"MNIST not found: no folder {shared_data / 'MNIST' / 'raw'}")
    digits = load_images("mnist", data_dir=shared_data, download=False)
    assert digits.images.shape == (70_000, 28, 28)
    assert digits.class_names == tuple(string.digits)
    counts = [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
    assert np.bincount(digits.labels).tolist() == counts
    assert digits.labels[:5].tolist() == [5, 0, 4, 1, 9]  # train first
    assert digits.provenance["transposed"] is False


def test_shared_letters_stand_upright(emnist_letters_path):
    real = load_images(emnist_letters_path)
    assert len(real) == 100_000
    assert real.class_names == A_TO_Z
    counts = "5128 3490 4477 5062 5128 4142 2606 4370 4921 2335 2185 5128 4100 5128 5128 3794 2470"
    counts += " 5128 5128 5128 4507 2337 2348 1776 2251 1805"
    assert np.bincount(real.labels).tolist() == [int(count) for count in counts.split()]
    assert set(np.unique(real.extra["case"])) == {0, 1, 2}
    assert real.provenance["name"] == "emnist-letters-100k"
    assert_upright(real)


def assert_upright(letters):
    """Check the mean letters: T's bar is above, L is tall, P's bowl is above and its stem left."""
    mean = {name: letters.images[letters.labels == A_TO_Z.index(name)].mean(0) for name in "tlp"}
    assert mean["t"].sum(1).argmax() < 14
    assert np.count_nonzero(mean["l"].sum(1) > 200) > np.count_nonzero(mean["l"].sum(0) > 200)
    assert mean["p"][:14].sum() > mean["p"][14:].sum()
    assert mean["p"].sum(0).argmax() < 14


# ----------------------------------------------------------- rendered letters


def test_rendered_letters_are_balanced_and_look_like_emnist(letters):
    assert letters.images.shape == (1300, 28, 28)
    assert (np.bincount(letters.labels) == 50).all()
    assert letters.class_names == A_TO_Z
    assert set(np.unique(letters.extra["case"])) == {1, 2}
    assert 25 < letters.images.mean() < 60  # EMNIST: 44
    assert np.median(letters.images[:, 0]) == 0  # the background is black
    assert (letters.images.max((1, 2)) > 150).all()  # no letter faded or fell outside
    lit = letters.images > 100
    assert 18 <= np.median(np.ptp(np.where(lit.any(2), np.arange(28), 14), axis=1)) <= 24
    assert_upright(letters)


def test_rendered_letters_are_shuffled_and_seeded(letters):
    again = rendered_letters(n=1300, seed=0)
    assert again.provenance == letters.provenance
    np.testing.assert_array_equal(again.labels, letters.labels)
    other = rendered_letters(n=1300, seed=1)
    assert other.provenance["sha256"] != letters.provenance["sha256"]
    assert (np.diff(letters.labels) != 1).any()


def test_rendered_letters_by_name(monkeypatch):
    monkeypatch.setattr("gmvae_lib.data.images.rendered_letters.__defaults__", (52, 0, 28))
    upright = load_images("rendered-letters")
    turned = load_images("rendered-letters", transpose=True)
    np.testing.assert_array_equal(turned.images, upright.images.swapaxes(1, 2))
    assert turned.provenance["transposed"] is True


def test_rendered_letters_sizes():
    assert rendered_letters(n=27, size=32).images.shape == (27, 32, 32)
    for options in ({"n": 0}, {"n": 5, "size": 4}):
        with pytest.raises(InputError) as error:
            rendered_letters(**options)
        one_line(error)


def test_rendered_letters_can_be_told_apart(letters):
    from sklearn.neighbors import KNeighborsClassifier

    train, test = letters.subset(slice(0, 1000)), letters.subset(slice(1000, None))
    model = KNeighborsClassifier(1).fit(train.pixels(), train.labels)
    assert model.score(test.pixels(), test.labels) > 0.45  # chance: 0.04
