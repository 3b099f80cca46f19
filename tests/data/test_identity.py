"""Labels stay with their pictures, whatever becomes of the folder or the file."""

import csv
import hashlib
import os
import shutil
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gmvae_lib.data.identity import identity_columns, match_labels
from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.data.images import load_images
from gmvae_lib.data.labels import Entry, LabelTable, read_labels
from gmvae_lib.errors import InputError

EDITS, CHAINS = 1000, 20


def png(rng):
    data = BytesIO()
    Image.fromarray(rng.integers(256, size=(5, 5), dtype=np.uint8)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, some of them in class folders."""
    rng = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / "pictures" / ("", "cat/", "dog/old/")[i % 3] / f"img{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(rng))
    return tmp_path / "pictures"


def written(path, images, labels):
    """Write a CSV as the commands do: the columns of identity and a label where there is one."""
    table = pd.DataFrame(identity_columns(images) | {"label": labels})
    table[table["label"] != ""].to_csv(path, index=False)
    return path


def found(path, images, learned=None):
    """{row: label} of a CSV, and the notes on it."""
    rows, labels, _, notes = match_labels(read_labels(path), images, learned)
    return dict(zip(rows.tolist(), labels.tolist(), strict=True)), notes


# ------------------------------------------------------------------ the property


class Folder:
    """A folder of pictures and the edits that people make to it."""

    def __init__(self, root, rng):
        self.root, self.rng = root, rng
        self.names = iter(f"{i:05}" for i in rng.permutation(100_000))

    def files(self):
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def any(self):
        files = self.files()
        return files[self.rng.integers(len(files))]

    def new_place(self):
        """A path that no picture has, often one that some picture had before."""
        folder = self.root / self.rng.choice(["", "cat", "dog", "cat/deep", "zebra"])
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            name = f"img{self.rng.integers(20)}" if self.rng.random() < 0.7 else next(self.names)
            path = folder / f"{name}.png"
            if not path.exists():
                return path

    def add(self):
        self.new_place().write_bytes(png(self.rng))

    def delete(self):
        if len(self.files()) > 6:
            self.any().unlink()

    def move(self):
        self.any().rename(self.new_place())

    def swap(self):
        one, other = self.any(), self.any()
        contents = one.read_bytes(), other.read_bytes()
        other.write_bytes(contents[0])
        one.write_bytes(contents[1] if one != other else contents[0])

    def duplicate(self):
        shutil.copy(self.any(), self.new_place())

    def encode_anew(self):
        path = self.any()
        with Image.open(path) as picture:
            picture.convert("RGB").save(path, "PNG", compress_level=0)

    def replace_content(self):
        self.any().write_bytes(png(self.rng))


@pytest.mark.parametrize("chain", range(CHAINS))
def test_no_edit_of_a_folder_puts_a_label_on_a_wrong_picture(chain, tmp_path):
    """1,000 random edits: all labels stay on their content, and no content loses its label."""
    rng = np.random.default_rng(chain)
    folder = Folder(tmp_path / "pictures", rng)
    (tmp_path / "pictures").mkdir()
    for _ in range(14):
        folder.add()
    before = load_images(folder.root)
    labels = np.array([f"label {i}" if i % 2 else "" for i in range(len(before))], dtype=object)
    table = written(tmp_path / "labels.csv", before, labels)
    truth = {
        (folder.root / path).read_bytes(): label
        for path, label in zip(before.paths, labels, strict=True)
        if label
    }
    edits = ("add", "delete", "move", "swap", "duplicate", "encode_anew", "replace_content")
    for _ in range(EDITS // CHAINS):
        getattr(folder, rng.choice(edits))()
        images = load_images(folder.root)
        contents = [(folder.root / path).read_bytes() for path in images.paths]
        there = {truth[content] for content in contents if content in truth}
        try:
            given, notes = found(table, images)
        except InputError:
            given, notes = {}, []
        for row, label in given.items():
            assert truth.get(contents[row]) == label, images.paths[row]
        assert set(given.values()) == there
        gone = len(truth) - len(there)
        left_out = [note for note in notes if "left out" in note]
        assert not given or sum(int(note.split()[0]) for note in left_out) == gone


def test_the_folder_of_the_property_is_really_edited(tmp_path):
    """The test above could pass on a folder that never changes."""
    folder = Folder(tmp_path, np.random.default_rng(0))
    for _ in range(8):
        folder.add()
    for edit, change in (("add", 1), ("delete", -1), ("move", 0), ("duplicate", 1)):
        n, before = len(folder.files()), folder.files()
        getattr(folder, edit)()
        assert len(folder.files()) == n + change and folder.files() != before
    for edit in ("swap", "encode_anew", "replace_content"):
        before = [path.read_bytes() for path in folder.files()]
        for _ in range(3):
            getattr(folder, edit)()
        assert [path.read_bytes() for path in folder.files()] != before


# -------------------------------------------------------- reproducers of case 01


@pytest.mark.parametrize("edit", ["added", "deleted", "unpadded", "camera", "sorted", "alone"])
def test_the_edits_of_the_reports_keep_every_label(folder, tmp_path, edit):
    images = load_images(folder)
    truth = {(folder / path).read_bytes(): f"is {path}" for path in images.paths}
    labels = [truth[(folder / path).read_bytes()] for path in images.paths]
    table = written(tmp_path / "labels.csv", images, np.array(labels, dtype=object))
    rng = np.random.default_rng(1)
    if edit == "added":
        shutil.copy(folder / images.paths[7], folder / "aaa_new.png")
        (folder / "aab.png").write_bytes(png(rng))
    elif edit == "deleted":
        (folder / images.paths[0]).unlink()
    elif edit == "unpadded":
        for i, path in enumerate(images.paths):
            (folder / path).rename((folder / path).with_name(f"{99 - i}.png"))
    elif edit == "camera":
        for i in range(5):
            (folder / f"DSC_{i}.png").write_bytes(png(rng))
    elif edit == "sorted":
        for i, path in enumerate(images.paths):
            (folder / f"class{i % 4}").mkdir(exist_ok=True)
            (folder / path).rename(folder / f"class{i % 4}" / f"x{i}.png")
    else:
        folder = tmp_path / "new"
        folder.mkdir()
        for i in range(12):  # the same names, other pictures
            (folder / f"img{i}.png").write_bytes(png(rng))
        with pytest.raises(InputError, match="found no label of an image in .*new, expected"):
            found(table, load_images(folder))
        return
    after = load_images(folder)
    given, notes = found(table, after)
    for row, label in given.items():
        assert truth[(folder / after.paths[row]).read_bytes()] == label
    assert len(given) == 12 - (edit == "deleted")
    if edit == "deleted":
        expected = f"1 label left out, of images not in {folder}: {images.paths[0]} (line"
        assert len(notes) == 1 and notes[0].startswith(expected)
    elif edit in ("unpadded", "sorted"):
        assert [n.partition(":")[0] for n in notes] == [
            "12 labelled images have another name now and kept the label"
        ]
    else:
        assert notes == []


def test_a_renamed_picture_keeps_its_label_and_it_is_said(folder, tmp_path):
    images = load_images(folder)
    table = written(tmp_path / "labels.csv", images, np.array(["a"] * 12, dtype=object))
    (folder / images.paths[3]).rename(folder / "other.png")
    given, notes = found(table, load_images(folder))
    assert len(given) == 12 and notes == [
        f"1 labelled image has another name now and kept the label: {images.paths[3]} is other.png"
    ]


def test_a_changed_picture_is_left_out_by_name(folder, tmp_path):
    images = load_images(folder)
    table = written(tmp_path / "labels.csv", images, np.array(["a"] * 12, dtype=object))
    (folder / images.paths[3]).write_bytes(png(np.random.default_rng(9)))
    given, notes = found(table, load_images(folder))
    assert len(given) == 11 and 3 not in given
    assert notes == [
        f"1 label left out, of images changed since they were labelled: {images.paths[3]} (line 5)"
    ]


# --------------------------------------------------------------- hand-made tables


def by_hand(tmp_path, text):
    path = tmp_path / "by_hand.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("written_path", "stored"),
    [
        ("cat/img1.png", "cat/img1.png"),
        ("cat\\img1.png", "cat/img1.png"),
        ("./cat/img1.png", "cat/img1.png"),
        ("CAT/IMG1.PNG", "cat/img1.png"),
        ("img1.png", "cat/img1.png"),
        ("pictures/cat/img1.png", "cat/img1.png"),
        ("C:\\me\\pictures\\cat\\img1.png", "cat/img1.png"),
        ("img0.png", "img0.png"),
    ],
)
def test_paths_as_people_write_them(folder, tmp_path, written_path, stored):
    images = load_images(folder)
    given, notes = found(by_hand(tmp_path, f"filename,label\n{written_path},a\n"), images)
    assert (list(given), notes) == ([images.paths.index(stored)], [])


def test_a_path_of_another_folder_is_not_taken_for_this_one(folder, tmp_path):
    images = load_images(folder)
    table = by_hand(tmp_path, "path,label\ntrain/img1.png,a\ncat/img4.png,b\n")
    given, notes = found(table, images)
    assert list(given.values()) == ["b"] and "train/img1.png (line 2)" in notes[0]
    shutil.copy(folder / "cat/img1.png", folder / "dog/img1.png")
    table = by_hand(tmp_path, "path,label\nimg1.png,a\nimg0.png,b\n")
    given, notes = found(table, load_images(folder))
    assert list(given.values()) == ["b"] and "several pictures" in notes[0]


def test_file_names_in_either_unicode_form(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "nai\u0308ve.png").write_bytes(png(rng))
    images = load_images(tmp_path / "pictures")
    assert images.paths == ("nai\u0308ve.png",)
    assert found(by_hand(tmp_path, "file,label\nna\u00efve.png,a\n"), images) == ({0: "a"}, [])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_file_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path / "pictures")
    os.mkdir(folder)
    with open(folder + b"/No\xebl.png", "wb") as handle:
        handle.write(png(np.random.default_rng(0)))
    images = load_images(tmp_path / "pictures")
    assert images.paths == ("No\udcebl.png",)
    table = written(tmp_path / "labels.csv", images, np.array(["a"], dtype=object))
    assert read_labels(table).entries[0].path == "No\\xebl.png"
    assert found(table, images)[0] == {0: "a"}
    assert found(by_hand(tmp_path, "path,label\nNo\\xebl.png,a\n"), images)[0] == {0: "a"}


def test_a_path_counts_and_not_the_index_beside_it(folder, tmp_path):
    images = load_images(folder)
    given, notes = found(
        by_hand(tmp_path, "index,path,label\n0,img0.png,a\n1,img3.png,b\n"), images
    )
    rows = [images.paths.index(name) for name in ("img0.png", "img3.png")]
    assert list(given) == rows and notes == [
        "2 labels have the index of another picture than their path, which counts"
    ]


def test_a_folder_takes_bare_indices_only_as_the_run_saw_it(folder, tmp_path):
    table = by_hand(tmp_path, "index,label\n0,a\n5,b\n")
    images = load_images(folder)
    with pytest.raises(InputError, match="line 2: found an index alone.*column path"):
        found(table, images)
    given, notes = found(table, images, images.provenance)
    assert given == {0: "a", 5: "b"} and "2 labels name a row only" in notes[0]
    older = {"sha256": images.provenance["sha256"]}  # a run from before there were digests
    assert found(table, images, older)[0] == given
    (folder / "new.png").write_bytes(png(np.random.default_rng(5)))
    with pytest.raises(InputError, match="found an index alone"):
        found(table, load_images(folder), images.provenance)


def test_an_array_takes_bare_indices_with_a_note(tmp_path):
    array = np.random.default_rng(0).integers(256, size=(6, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=array)
    images = load_images(tmp_path / "a.npz")
    table = by_hand(tmp_path, "index,label\n0,a\n5,b\n")
    given, notes = found(table, images)
    assert given == {0: "a", 5: "b"} and images.set_digest in notes[0]
    with pytest.raises(InputError, match="line 2: found index 6, expected 0 to 5"):
        found(by_hand(tmp_path, "index,label\n6,a\n"), images)
    other = by_hand(tmp_path, f"index,set,label\n0,{'0' * 16},a\n")
    with pytest.raises(InputError, match="line 2: found a row of the set 0000000000000000"):
        found(other, images)
    same = by_hand(tmp_path, f"index,set,label\n4,{images.set_digest.upper()},a\n")
    assert found(same, images) == ({4: "a"}, [])


def test_rows_of_arrays_are_found_after_sorting_and_cutting(tmp_path):
    rng = np.random.default_rng(0)
    array = rng.integers(256, size=(30, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=array)
    labels = np.array([f"row {i}" for i in range(30)], dtype=object)
    table = written(tmp_path / "labels.csv", load_images(tmp_path / "a.npz"), labels)
    order = rng.permutation(30)[:20]
    np.savez(tmp_path / "b.npz", images=array[order])
    given, notes = found(table, load_images(tmp_path / "b.npz"))
    assert given == {i: f"row {row}" for i, row in enumerate(order)}
    assert notes[0].startswith("10 labels left out")
    np.save(tmp_path / "b.npy", array[order])
    assert found(table, load_images(tmp_path / "b.npy"))[0] == given
    table = written(table, load_images(tmp_path / "b.npy"), labels[order])
    assert found(table, load_images(tmp_path / "b.npz")) == (given, [])


def test_several_shards_take_no_bare_indices(tmp_path):
    (tmp_path / "shards").mkdir()
    for name in "ab":
        np.save(tmp_path / "shards" / f"{name}.npy", np.zeros((3, 4, 4), np.uint8))
    with pytest.raises(InputError, match="found an index alone"):
        found(by_hand(tmp_path, "index,label\n0,a\n"), load_images(tmp_path / "shards"))


# --------------------------------------------------------------- identical pictures


def test_copies_of_a_labelled_picture(folder, tmp_path):
    shutil.copy(folder / "img0.png", folder / "img0 (1).png")
    images = load_images(folder)
    labels = np.full(len(images), "", dtype=object)
    one, copy = images.paths.index("img0.png"), images.paths.index("img0 (1).png")
    labels[copy] = "a"
    table = written(tmp_path / "labels.csv", images, labels)
    assert found(table, images) == ({copy: "a"}, [])
    labels[one] = "b"
    table = written(tmp_path / "labels.csv", images, labels)
    given, notes = found(table, images)
    assert given == {one: "b", copy: "a"}
    assert notes[0].startswith("identical images have different labels: img0 (1).png 'a' (line")
    (folder / "img0 (1).png").unlink()
    after = load_images(folder)
    given, notes = found(table, after)
    assert given == {after.paths.index("img0.png"): "b"}
    assert "another label of the same content is kept: img0 (1).png" in notes[0]


def test_contradictions_are_refused_with_both_lines(folder, tmp_path):
    images = load_images(folder)
    with pytest.raises(InputError, match=r"line 4: found label 'b' for img0.png, expected 'a' as"):
        found(by_hand(tmp_path, "path,label\nimg0.png,a\nimg3.png,a\nimg0.png,b\n"), images)
    assert len(found(by_hand(tmp_path, "path,label\nimg0.png,a\nimg0.png,a\n"), images)[0]) == 1


# ----------------------------------------------------------------------- digests


def test_digests_are_of_the_content_alone(folder):
    images = load_images(folder)
    for path, digest in zip(images.paths, images.digests, strict=True):
        assert digest == hashlib.sha256((folder / path).read_bytes()).hexdigest()[:16]
    other = load_images(folder, size=9, colour=True, inverted=True, transpose=True)
    np.testing.assert_array_equal(images.digests, other.digests)
    assert images.set_digest == other.set_digest == images.provenance["digest"]
    part = images.subset([3, 1])
    np.testing.assert_array_equal(part.digests, images.digests[[3, 1]])
    assert part.paths == (images.paths[3], images.paths[1])
    assert part.provenance["digest"] == part.set_digest != images.set_digest


def test_digests_of_rows_are_those_of_the_stored_bytes(tmp_path):
    array = np.random.default_rng(0).integers(256, size=(6, 9, 9), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=array)
    for options in ({}, {"size": 5}, {"colour": True}, {"transpose": True}):
        read = load_images(tmp_path / "a.npz", **options)
        assert read.paths is None
        expected = [hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in array]
        assert read.digests.tolist() == expected
    assert ImageSet(array).digests.tolist() == expected
    np.save(tmp_path / "a.npy", array)
    assert load_images(tmp_path / "a.npy").digests.tolist() == expected
    assert load_images(tmp_path / "a.npy").set_digest == read.set_digest


def test_a_digest_that_a_spreadsheet_took_for_a_number(folder, tmp_path):
    """Excel turns 1234567890123456 into 1.23457E+15; the path and what is left must both fit."""
    images = load_images(folder)
    digests = images.digests.copy()
    digests[:2] = "1234567890123456", "12345678901234e5"
    images = replace(images, extra=images.extra | {"digest": digests})
    rows = ((0, "1.23457E+15"), (1, "1.23457E+18"), (2, digests[2]))
    with open(tmp_path / "labels.csv", "w", newline="") as handle:
        csv.writer(handle).writerows(
            [("path", "digest", "label"), *((images.paths[i], text, f"{i}") for i, text in rows)]
        )
    expected = {0: "0", 1: "1", 2: "2"}
    assert found(tmp_path / "labels.csv", images) == (expected, [])
    moved = [Entry(2, "a", path=images.paths[2], digest="1.23457e+15")]
    with pytest.raises(InputError, match="changed since they were labelled"):
        match_labels(LabelTable("x.csv", moved), images)


def test_names_like_formulas_are_guarded_in_a_csv(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "=1+1.png").write_bytes(png(np.random.default_rng(0)))
    images = load_images(tmp_path / "pictures")
    assert identity_columns(images)["path"].tolist() == ["'=1+1.png"]
    table = written(tmp_path / "labels.csv", images, np.array(["a"], dtype=object))
    assert read_labels(table).entries[0].path == "=1+1.png"
    assert found(table, images) == ({0: "a"}, [])
