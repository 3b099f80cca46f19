"""Labels in the files of Label Studio and FiftyOne, in samples written by their documentation.

Label Studio: labelstud.io/guide/task_format, /guide/export. FiftyOne: "Loading datasets from disk",
FiftyOneImageClassificationDataset and ImageClassificationDirectoryTree.
"""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from gmvae_lib.data.identity import known_rows, match_labels
from gmvae_lib.data.images import load_images
from gmvae_lib.data.labels import FLAGS, read_labels
from gmvae_lib.errors import InputError

NAMES = ["a b.png", "b.png", "c.png", "sub/d.png", "sub/e.png"]


@pytest.fixture
def pictures(tmp_path):
    """A folder of five pictures, each with a brightness of its own."""
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(NAMES):
        Image.new("L", (8, 8), 40 * i).save(folder / name)
    return folder


def task(address, *choices, question="choice", **about):
    """A task as Label Studio exports it, with one answer."""
    result = {
        "id": "Dx_aB91ISN",
        "from_name": question,
        "to_name": "image",
        "type": "choices",
        "value": {"choices": list(choices)},
    }
    return {
        "id": 1,
        "project": 83,
        "data": {"image": address},
        "annotations": [{"id": "1001", "result": [result], "was_cancelled": False} | about],
        "predictions": [],
    }


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def matched(path, pictures):
    """{name: label} of what a file says, and the notes on it."""
    images = load_images(pictures)
    rows, labels, _, notes = match_labels(read_labels(path), images)
    return {images.paths[row]: str(label) for row, label in zip(rows, labels, strict=True)}, notes


def test_label_studio(pictures, tmp_path):
    tasks = [
        task("/data/local-files/?d=a%20b.png", "cat"),
        task("/data/upload/83/1f2a3b4c-b.png", "dog"),
        task("https://example.com/pictures/sub/d.png?x=1", "cow"),
        task("s3://bucket/some/pictures/sub/e.png", "cat"),
    ]
    found, notes = matched(write(tmp_path / "labels.json", tasks), pictures)
    assert found == {"a b.png": "cat", "b.png": "dog", "sub/d.png": "cow", "sub/e.png": "cat"}
    assert notes == []


def test_label_studio_leaves_out_what_has_no_single_answer(pictures, tmp_path):
    differing = task("b.png", "cat")
    differing["annotations"] += task("b.png", "dog")["annotations"]
    truth = task("sub/d.png", "dog")
    truth["annotations"] += task("sub/d.png", "cow", ground_truth=True)["annotations"]
    tasks = [
        task("a b.png", "cat", "dog"),
        differing,
        task("c.png", "cat", was_cancelled=True),
        truth,
        {"id": 5, "data": {"image": "sub/e.png"}, "annotations": []},
    ]
    found, notes = matched(write(tmp_path / "labels.json", tasks), pictures)
    assert found == {"sub/d.png": "cow"}
    assert notes == [
        "1 picture left out, several choices each: a b.png",
        "1 picture left out, annotators who differ: b.png",
    ]


def test_label_studio_in_short(pictures, tmp_path):
    """The export JSON-MIN."""
    tasks = [
        {"image": "/data/upload/1/00aa11bb-b.png", "id": 1, "choice": "cat", "annotator": 1},
        {"image": "c.png", "id": 2, "choice": {"choices": ["dog", "cat"]}, "lead_time": 2.5},
        {"image": "sub/d.png", "id": 3, "annotation_id": 7, "created_at": "2026-11-27"},
        {"image": "sub/e.png", "id": 3, "choice": "cow", "updated_at": "2026-11-27"},
    ]
    found, notes = matched(write(tmp_path / "labels.json", tasks), pictures)
    assert found == {"b.png": "cat", "sub/e.png": "cow"}
    assert notes == ["1 picture left out, several choices each: c.png"]


@pytest.mark.parametrize("classes", [["cat", "dog"], None])
def test_fiftyone_labels(classes, pictures, tmp_path):
    cat, dog = (0, 1) if classes else ("cat", "dog")
    labels = {
        "a b": cat,
        "sub/d": {"label": dog, "confidence": 0.9, "attributes": {}},
        "c.png": [{"label": cat}],
        "b": None,
        "sub/e": [{"label": cat}, {"label": dog}],
    }
    content = {"classes": classes, "labels": labels}
    found, notes = matched(write(tmp_path / "labels.json", content), pictures)
    assert found == {"a b.png": "cat", "sub/d.png": "dog", "c.png": "cat"}
    assert notes == ["1 picture left out, several labels each: sub/e"]


def test_fiftyone_data_set_knows_pictures_by_their_content(pictures, tmp_path):
    dataset = tmp_path / "exported"
    (dataset / "data").mkdir(parents=True)
    shutil.copy(pictures / "sub/d.png", dataset / "data" / "0f3c.png")
    write(dataset / "labels.json", {"classes": ["cat"], "labels": {"0f3c": 0}})
    assert matched(dataset, pictures)[0] == {"sub/d.png": "cat"}
    assert matched(dataset / "labels.json", pictures)[0] == {"sub/d.png": "cat"}


def test_class_folders_know_pictures_by_their_content(pictures, tmp_path):
    folder = tmp_path / "classes"
    for source, copy in {
        "b.png": "cat/renamed.png",
        "sub/e.png": "cat/deeper/b.png",
        "c.png": "dog/.hidden.png",
        "a b.png": "_unlabeled/a.png",
    }.items():
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures / source, folder / copy)
    Image.new("L", (8, 8), 255).save(folder / "cat" / "new.png")
    found, notes = matched(folder, pictures)
    assert found == {"b.png": "cat", "sub/e.png": "cat"}
    assert len(notes) == 2 and "new.png" in notes[0]
    assert "renamed.png is b.png" in notes[1] and "deeper/b.png is sub/e.png" in notes[1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        (
            "[]",
            "found a list of 0, expected Label Studio's list of tasks or FiftyOne's labels.json",
        ),
        ('{"a": 1}', "found dict"),
        ("[1]", "found a list of 1"),
        ("[" * 100_000, "no JSON"),
        ('[{"data": {"text": "x"}}]', "line 1: found text, expected the address of one picture"),
        ('{"classes": ["cat"], "labels": {"b": 3}}', "b: found class 3, expected a position in 1"),
        ('{"classes": ["cat"], "labels": {"b": true}}', "b: found class True"),
        (json.dumps([task("b.png", "x", question=q) for q in "pq"]), "answers to p, q, expected"),
    ],
)
def test_other_json_is_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_labels(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="found no picture in a sub-folder"):
        read_labels(tmp_path)


def test_flags_and_reasons_are_kept_beside_the_labels(pictures, tmp_path):
    images = load_images(pictures)
    path = tmp_path / "labels.csv"
    path.write_text(
        "index,path,digest,label,reason\n"
        f"0,a b.png,{images.digests[0]},cat,drawn at random\n"
        f"9,moved.png,{images.digests[3]},,{FLAGS[0]}; typical of cluster 3\n"
        f"2,c.png,{images.digests[2]},,{FLAGS[1]}\n"
        f"1,b.png,{images.digests[1]},,typical of cluster 4\n"
    )
    table = read_labels(path)
    assert [entry.label for entry in table.entries] == ["cat"]
    assert known_rows(table, images) == {
        0: ("cat", "drawn at random"),
        2: ("", "none of these"),
        3: ("", "unsure; typical of cluster 3"),
    }
    assert np.array_equal(match_labels(table, images)[0], [0])
