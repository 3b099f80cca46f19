"""Folders as people have them: what is read, what is left out, and what is said of it."""

import json
import os
import subprocess
import sys
import time
import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image, features
from samples import corner_image, one_line, rejects, save_picture

from gmvae_lib.data import folders, pictures
from gmvae_lib.data.images import load_images, reading_notes, rendered_letters
from gmvae_lib.errors import InputError

NOISE = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)


def put(folder, *names, image=None, **options):
    """Save a picture under each name."""
    for name in names:
        save_picture(folder / name, corner_image()[0] if image is None else image, **options)
    return folder


def notes_of(folder, **options):
    return reading_notes(load_images(folder, **options))


# --------------------------------------------------------------------- formats


def test_every_picture_of_a_folder_is_read_whatever_its_suffix(tmp_path):
    """8 of 8; only 1 was."""
    for name in ("a.jpg", "b.jfif", "c.jpe", "d", "e.jpg_large"):
        put(tmp_path, name, image=NOISE, format="JPEG")
    put(tmp_path, "f.avif" if features.check("avif") else "f.png", "g.ppm", image=NOISE)
    put(tmp_path, "h.pgm", image=NOISE[..., 0])
    read = load_images(tmp_path)
    assert read.paths == (
        "a.jpg",
        "b.jfif",
        "c.jpe",
        "d",
        "e.jpg_large",
        "f.avif",
        "g.ppm",
        "h.pgm",
    )
    assert reading_notes(read) == [
        "7 of 8 pictures are coloured and read in grey (--colour keeps colours)"
    ]
    assert reading_notes(load_images(tmp_path, colour=True)) == []


# Pillow may be built without .jp2 and saves .apng by another name; AVIF came with 11.3.
@pytest.mark.parametrize("suffix", sorted({*folders.PICTURE_SUFFIXES} - {".jp2", ".apng"}))
def test_each_suffix(tmp_path, suffix):
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    put(tmp_path, f"A{suffix.upper()}")
    assert load_images(tmp_path).images.max() > 100


@pytest.mark.parametrize("depth", [8, 12, 16])
def test_portable_greymaps_of_more_than_8_bits(tmp_path, depth):
    top = 2**depth - 1
    for i in range(2):
        image = np.where(corner_image()[0] > 0, top // (i + 1), 0)
        data = image.astype(">u2" if depth > 8 else np.uint8).tobytes()
        (tmp_path / f"{i}.pgm").write_bytes(f"P5\n28 28\n{top}\n".encode() + data)
    tops = load_images(tmp_path).images.max((1, 2))
    assert tops[0] == 255 and abs(int(tops[1]) - 127) <= 1


def test_one_npy_file_a_picture(tmp_path):
    letters = rendered_letters(n=4, size=40)
    for i, image in enumerate(letters.images):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        np.save(tmp_path / "ab"[i % 2] / f"{i}.npy", image)
        save_picture(tmp_path.parent / f"{tmp_path.name}-png" / "ab"[i % 2] / f"{i}.png", image)
    read = load_images(tmp_path)
    same = load_images(tmp_path.parent / f"{tmp_path.name}-png")
    np.testing.assert_array_equal(read.images, same.images)
    assert read.paths == ("a/0.npy", "a/2.npy", "b/1.npy", "b/3.npy")
    assert read.class_names == ("a", "b") and read.labels.tolist() == same.labels.tolist()
    assert len({*read.digests}) == 4


@pytest.mark.parametrize(
    "store",
    [
        lambda x: np.repeat(x[..., None], 3, axis=2),
        lambda x: np.repeat(x[None], 3, axis=0)[:, :, :],
        lambda x: x[..., None],
        lambda x: x / 255,
        lambda x: x.astype(np.uint16) * 257,
        lambda x: x > 0,
        lambda x: x.astype(np.int64),
    ],
)
def test_kinds_of_one_npy_file_a_picture(tmp_path, store):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", store(corner_image()[0]))
    expected = corner_image(3)
    if store(corner_image()[0]).shape[0] == 3:  # [3, H, W] is a stack of grey images
        assert load_images(tmp_path).images.shape == (9, 28, 28)
    else:
        np.testing.assert_array_equal(load_images(tmp_path).images, expected)


def test_pictures_and_a_stray_array_are_refused_by_name(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(10)))
    np.save(tmp_path / "notes.npy", np.zeros((3, 28, 28), np.uint8))
    rejects(tmp_path, str(tmp_path / "notes.npy"), ".npy files (1) beside pictures (10)")


def test_a_file_by_itself_is_called_what_it_is(tmp_path):
    for name, content, what in (
        ("emnist-letters-train.csv", b"23,0,0" * 9, "a text"),
        ("photo.png", b"\x89PNG\r\n\x1a\n", "a PNG picture; expected the folder of the pictures"),
        ("photo.jpg", b"\xff\xd8\xff\xe0 JFIF", "a JPEG picture"),
        ("pics.zip", b"PK\x03\x04" * 9, "a ZIP archive"),
        ("emnist-letters.mat", b"MATLAB 5.0 MAT-file", "a MATLAB file"),
        ("data.h5", b"\x89HDF\r\n\x1a\n" + bytes(9), "an HDF5 file"),
        ("data.pkl", b"\x80\x04\x95" + bytes(20), "a Python pickle"),
        ("none", bytes(20), "starts with 00000000; expected"),
        ("empty", b"", "starts with nothing"),
    ):
        (tmp_path / name).write_bytes(content)
        rejects(tmp_path / name, name, what)


@pytest.mark.parametrize("kind", ["", "raw.gz", "x.npz"])
def test_a_folder_of_other_data_points_to_the_file(tmp_path, kind):
    (tmp_path / f"train-images-idx3-ubyte{kind}").write_bytes(b"")
    rejects(tmp_path, "holds no picture", f"train-images-idx3-ubyte{kind} is given by itself")


@pytest.mark.parametrize("empty", ["", b"".decode()])
def test_an_empty_path_is_not_the_current_folder(tmp_path, empty, monkeypatch):
    monkeypatch.chdir(put(tmp_path, "a.png"))
    rejects(empty, "source: found an empty path")
    assert len(load_images(".")) == 1


# ------------------------------------------------------------ folders and links


def test_linked_folders_are_followed_and_loops_are_not(tmp_path):
    put(tmp_path, "else/1.png", "else/2.png", "pics/real/1.png")
    os.symlink(tmp_path / "else", tmp_path / "pics" / "linked")
    os.symlink(tmp_path / "pics", tmp_path / "pics" / "real" / "loop")
    os.symlink("nowhere", tmp_path / "pics" / "dangling.png")
    os.symlink(tmp_path / "else" / "1.png", tmp_path / "pics" / "real" / "file.png")
    read = load_images(tmp_path / "pics")
    assert read.paths == ("linked/1.png", "linked/2.png", "real/1.png", "real/file.png")
    assert read.class_names == ("linked", "real")
    assert reading_notes(read) == ["1 file was not read as pictures: 1 broken link or special file"]
    os.symlink(tmp_path / "pics", tmp_path / "only_links")
    assert load_images(tmp_path / "only_links").paths == read.paths


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    put(tmp_path, "a/1.png", "b/1.png")
    scandir = os.scandir

    def closed(folder):
        if str(folder).endswith("b"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", closed)
    rejects(tmp_path, str(tmp_path / "b"), "Permission denied")


# Root may read everything, so a process of another user looks.
@pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="only root may become another user")
def test_a_closed_folder_is_an_error_for_other_users(tmp_path):
    put(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "b").chmod(0)
    code = (
        "import os, sys; from gmvae_lib.data.folders import find_files;"
        "os.seteuid(65534);\n"
        "try: find_files(sys.argv[1])\n"
        "except PermissionError as error: print(error.filename)"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    told = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(tmp_path / "b")


def test_parts_of_a_set_at_the_top_are_no_classes(tmp_path):
    put(tmp_path, "train/cat/1.png", "test/dog/1.png", "Val/dog/2.png", "train/3.png")
    read = load_images(tmp_path)
    assert read.class_names == ("cat", "dog")
    assert dict(zip(read.paths, read.labels.tolist(), strict=True)) == {
        **{"Val/dog/2.png": 1, "test/dog/1.png": 1, "train/3.png": -1, "train/cat/1.png": 0}
    }
    assert read.provenance["parts"] == {"Val": 1, "test": 1, "train": 2}
    assert "parts of the set, not classes" in reading_notes(read)[-1]
    put(tmp_path, "car/1.png")  # vehicles, of which one kind is called train
    assert load_images(tmp_path).class_names == ("Val", "car", "test", "train")


def test_classes_may_have_any_name(tmp_path):
    put(tmp_path, "nan/1.png", "-1/1.png", "None/1.png")
    assert load_images(tmp_path).class_names == ("-1", "None", "nan")


def test_thumbnails_and_hidden_files_are_counted_and_not_read(tmp_path):
    put(tmp_path, "cat/x.jpg", "cat/@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/cat/._x.jpg")
    put(tmp_path, "cat/._x.jpg", ".thumbnails/x.jpg", "cat/.ipynb_checkpoints/x-checkpoint.jpg")
    (tmp_path / "cat" / "notes.txt").write_text("text")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"db")
    (tmp_path / "cat" / "y.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(9))
    read = load_images(tmp_path)
    assert read.paths == ("cat/x.jpg",)
    (note,) = reading_notes(read)
    assert note.startswith("8 files were not read as pictures: 3 hidden")
    for kind in ("1 .txt", "1 .db", "1 .heic", "1 in @eaDir", "1 in __MACOSX"):
        assert kind in note
    json.dumps(read.provenance)


def test_names_of_all_kinds(tmp_path):
    names = [
        "a,b.png",
        'q"uote.png',
        "new\nline.png",
        "-dash.png",
        "\U0001f600.png",
        "a" * 240 + ".png",
    ]
    names += ["nai\u0308ve.png", "na\u00efve.png", " blank .png", "a;b.png", "=1+1.png", "#.png"]
    put(tmp_path, *names)
    assert sorted(load_images(tmp_path).paths) == sorted(names)


# ----------------------------------------------------------- what is said of them


def test_frames_and_pages_are_counted(tmp_path):
    frames = [Image.fromarray(np.rot90(NOISE, i)) for i in range(1, 5)]
    first = Image.fromarray(NOISE[..., 0])
    more = {"save_all": True, "append_images": [frame.convert("L") for frame in frames]}
    for suffix in ("tif", "gif", "webp", "png"):
        first.save(tmp_path / f"stack.{suffix}", **more)
        first.save(tmp_path / f"single.{suffix}")
    read = load_images(tmp_path)
    assert len(read) == 8
    expected = "4 of 8 pictures have several frames or pages; the first of each is read"
    assert expected in reading_notes(read)


def test_photographs_that_become_small_are_said(tmp_path):
    put(tmp_path, "a.jpg", "b.jpg", image=np.full((480, 640), 90, np.uint8))
    put(tmp_path, "c.jpg", image=np.full((40, 40), 90, np.uint8))
    (note,) = notes_of(tmp_path)
    assert note.startswith("2 of 3 pictures, mostly of about 640 pixels, are reduced to 28 pixels")
    assert notes_of(tmp_path, size=28) == []


def test_grey_pictures_stored_in_colour_are_not_called_coloured(tmp_path):
    grey = np.repeat(NOISE[..., :1], 3, axis=2)
    put(tmp_path, "a.png", "b.jpg", "c.webp", image=grey)
    Image.fromarray(NOISE[..., 0]).convert("P").save(tmp_path / "d.png")
    assert notes_of(tmp_path) == []


# ------------------------------------------------------------- damaged and large


@pytest.fixture
def damaged(tmp_path):
    """Twenty JPEG pictures, of which three lack their last bytes."""
    put(tmp_path, "00.jpg", image=np.kron(NOISE, np.ones((6, 6, 1), np.uint8)))
    data = (tmp_path / "00.jpg").read_bytes()
    for i in range(20):
        (tmp_path / f"{i:02}.jpg").write_bytes(data[:-2] if i in (3, 11, 17) else data)
    return tmp_path


def test_the_first_damaged_picture_is_named_and_the_others_counted(damaged):
    message = rejects(damaged, str(damaged / "03.jpg"), "2 more of 20 are damaged")
    assert "--skip-damaged" in message and "11.jpg" not in message


def test_damaged_pictures_are_left_out_and_all_listed(damaged):
    read = load_images(damaged, skip_damaged=True)
    names = [f"{i:02}.jpg" for i in range(20)]
    assert list(read.paths) == [
        name for name in names if name not in ("03.jpg", "11.jpg", "17.jpg")
    ]
    note = next(note for note in reading_notes(read) if "damaged" in note)
    assert note.startswith("3 damaged pictures were left out: 03.jpg (")
    assert "; 11.jpg (" in note and "; 17.jpg (" in note
    whole = load_images(put(damaged.parent / "whole", "x.jpg", image=NOISE), skip_damaged=True)
    assert len(whole) == 1
    for path in damaged.iterdir():
        path.write_bytes(b"no picture")
    message = rejects(damaged, "00.jpg", "19 more of 20", skip_damaged=True)
    assert "skip_damaged" not in message


def bomb(path, width, height):
    """A PNG of a few bytes that claims to hold so many pixels."""
    from zlib import crc32

    parts = (b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes((8, 0, 0, 0, 0)), b"IDAT")
    chunks = [(len(part) - 4).to_bytes(4) + part + crc32(part).to_bytes(4) for part in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_pictures_too_large_to_be_true_are_refused_every_time(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(9)), image=NOISE)
    bomb(tmp_path / "m.png", 2**16, 2**16)
    messages = set()
    for _ in range(5):
        messages.add(rejects(tmp_path, "m.png", "65536 x 65536 pixels, more than the 134 million"))
    assert len(messages) == 1
    assert len(load_images(tmp_path, skip_damaged=True)) == 9


@pytest.mark.slow
def test_a_photograph_of_108_megapixels_is_read_without_a_warning(tmp_path, monkeypatch):
    """Refused or accepted by chance; accepted, with a raw warning of Python."""
    put(tmp_path, *(f"{i}.png" for i in range(9)), image=NOISE)
    Image.new("L", (12000, 9000), 120).save(tmp_path / "m.png", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = load_images(tmp_path)
    assert len(read) == 10 and (read.images[9] == 120).all()


def test_the_filters_of_warnings_stay_as_they_were(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(60)), image=np.zeros((200, 200), np.uint8))
    before = list(warnings.filters)
    for _ in range(10):
        load_images(tmp_path)
        assert warnings.filters == before


def test_what_is_counted_does_not_depend_on_the_threads(tmp_path, monkeypatch):
    put(tmp_path, *(f"{i}.png" for i in range(200)), image=NOISE)
    several = load_images(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    one = load_images(tmp_path)
    np.testing.assert_array_equal(one.images, several.images)
    assert one.provenance == several.provenance
    assert reading_notes(one)[0].startswith("200 of 200 pictures are coloured and read in grey")


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16"]
)
@pytest.mark.parametrize("colour", [False, True])
def test_every_mode_of_pillow(tmp_path, mode, colour):
    grey = Image.fromarray(np.kron(corner_image(side=14)[0], np.ones((2, 2), np.uint8)))
    picture = grey.convert("RGB").convert(mode) if mode not in ("I", "I;16") else grey.convert(mode)
    picture.save(tmp_path / "a.tif") if mode not in ("PA", "HSV") else picture.convert("RGBA").save(
        tmp_path / "a.tif"
    )
    read = load_images(tmp_path, colour=colour)
    assert read.images[0, 4:6, 18:20].min() > 200 and read.images[0, 10:].max() < 60


def test_a_floating_point_picture_is_refused(tmp_path):
    put(tmp_path, "a.tif", image=np.zeros((9, 9), np.float32))
    rejects(tmp_path, "a.tif", "32-bit")


def test_names_of_the_formats_are_those_of_pillow():
    Image.init()
    assert {*pictures.FORMATS} - {"AVIF"} <= {*Image.OPEN}
    known = {s for s, kind in Image.registered_extensions().items() if kind in pictures.FORMATS}
    assert {*folders.PICTURE_SUFFIXES} - {".avif"} <= known


def test_classes_of_parts_and_loose_pictures():
    assert folders.classes_of(["train/a.png", "test/b.png"]) == (["", ""], {"train": 1, "test": 1})
    assert folders.classes_of(["0.png", "train/x/a.png"]) == (["", "x"], {"train": 1})
    assert folders.classes_of(["0.png", "1.png"]) == (["", ""], {})
    assert folders.counted(Counter({".txt": 2, "hidden": 1})) == "2 .txt, 1 hidden"
    with pytest.raises(InputError) as error:
        folders.only_kind(folders.Found(left_out=Counter({".heic": 12})), "pics")
    assert "holds no picture (12 .heic)" in one_line(error)


def test_an_interrupt_does_not_wait_for_all_pictures(tmp_path, monkeypatch):
    put(tmp_path, *(f"{i:04}.png" for i in range(1000)))
    begun = []

    def interrupted(data):
        begun.append(1)
        if len(begun) == 70:
            raise KeyboardInterrupt
        time.sleep(0.002)
        return Image.fromarray(corner_image()[0])

    monkeypatch.setattr(pictures, "_opened", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_images(tmp_path)
    assert len(begun) < 900
