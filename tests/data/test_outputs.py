"""Outputs: what they may overwrite, and what is never lost."""

import os

import numpy as np
import pandas as pd
import pytest

from gmvae_lib import InputError
from gmvae_lib.data.outputs import output_path, same_place, write_table, write_text

LABELS = {
    "small letters": "index,cluster,reason,label\n3,0,x,cat\n",
    "Label": "index,cluster,reason,Label\n3,0,x,cat\n",
    "LABEL": "index,cluster,reason,LABEL\n3,0,x,cat\n",
    "class": "file,class\na.png,cat\n",
    "semicolons": "index;label\n3;cat\n",
    "tabs": "index\tLabel\n3\tcat\n",
    "quoted": '"index","true label"\n3,cat\n',
    "full width": "index,ｌａｂｅｌ\n3,cat\n",
    "carriage returns": "index,label\r3,cat\r",
    "labels.csv with confidences": "index,label,confidence\n3,cat,1\n",
    "blank line first": "\n\nindex,label\n3,cat\n",
}
COMMANDS = ("suggest", "predict", "report", "posterior", "sweep")


@pytest.fixture
def suggested():
    return pd.DataFrame({"index": [3], "path": "a.png", "digest": "0f", "cluster": 1, "reason": ""})


@pytest.fixture
def predicted():
    columns = {"index": [3], "path": "a.png", "digest": "0f", "label": "cat"}
    return pd.DataFrame(columns | {"confidence": 0.5, "unlike": 0})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("command", COMMANDS)
def test_labels_are_never_overwritten(tmp_path, command, kind, encoding):
    path = tmp_path / "hand.csv"
    path.write_text(LABELS[kind], encoding=encoding)
    for force in (False, True):
        with pytest.raises(InputError, match="hand.csv, which holds labels, expected another"):
            output_path(path, command, force=force)


def test_a_workbook_may_hold_labels(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["index", "label"])
    book.save(tmp_path / "labels.xlsx")
    with pytest.raises(InputError, match="which holds labels"):
        output_path(tmp_path / "labels.xlsx", "predict", force=True)


@pytest.mark.parametrize(
    "content", ["hello\n", "a,b\n1,2\n", '{"a": 1}', "<!doctype html><p>", "\0"]
)
def test_other_files_only_by_force(tmp_path, content):
    path = tmp_path / "notes"
    path.write_text(content)
    for command in COMMANDS:
        with pytest.raises(InputError, match=f"not written by {command}, .* --force"):
            output_path(path, command)
        assert output_path(path, command, force=True) == path


def test_a_command_overwrites_what_it_wrote_itself(tmp_path, suggested, predicted):
    write_table(tmp_path / "to_label.csv", suggested)
    write_table(tmp_path / "predictions.csv", predicted)
    write_table(tmp_path / "of_array.csv", suggested.drop(columns="path").assign(set="0e"))
    np.savez(tmp_path / "q.npz", q=np.zeros((2, 3), np.float32))
    np.save(tmp_path / "q.npy", np.zeros((2, 3), np.float32))
    np.savez(tmp_path / "other.npz", q=np.zeros(3), more=np.zeros(3))
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 3), np.uint8))
    (tmp_path / "empty").touch()
    own = {
        "to_label.csv": "suggest",
        "of_array.csv": "suggest",
        "predictions.csv": "predict",
        "q.npz": "posterior",
        "q.npy": "posterior",
    }
    for name in ("to_label.csv", "of_array.csv", "predictions.csv", "q.npz", "q.npy", "other.npz",
                 "images.npy"):  # fmt: skip
        for command in COMMANDS:
            if own.get(name) == command:
                output_path(tmp_path / name, command)
                continue
            with pytest.raises(InputError, match=f"{name}, not written by {command}"):
                output_path(tmp_path / name, command)
    assert output_path(tmp_path / "empty", "predict")


def test_a_table_that_somebody_edited_is_kept(tmp_path, predicted):
    run, path = tmp_path / "run", tmp_path / "predictions.csv"
    run.mkdir()
    (run / "embedding.safetensors").touch()
    write_table(path, predicted, run)
    assert output_path(path, "predict", run=run)
    path.write_text(path.read_text().replace("cat", "dog"))
    with pytest.raises(InputError, match="edited since predict wrote it, .* --force"):
        output_path(path, "predict", run=run)
    assert output_path(path, "predict", run=run, force=True)
    write_table(path, predicted, run)
    assert output_path(path, "predict", run=run)
    (run / "written.json").write_text("[3")  # as if it had never been
    assert output_path(path, "predict", run=run)


def test_nothing_is_noted_in_the_folder_of_a_published_run(tmp_path, predicted):
    (tmp_path / "run").mkdir()
    write_table(tmp_path / "predictions.csv", predicted, tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_inputs_and_files_of_runs(tmp_path):
    (tmp_path / "labels.csv").write_text("hello")
    (tmp_path / "provenance.json").write_text("{}")
    for name in ("labels.csv", "Labels.CSV"):
        with pytest.raises(InputError, match="an input, expected another"):
            output_path(tmp_path / name, "predict", inputs=[tmp_path / "labels.csv"], force=True)
    for name in ("provenance.json", "posterior.npz", "History.csv"):
        with pytest.raises(InputError, match="a file of a run"):
            output_path(tmp_path / name, "predict", force=True)
    assert output_path(tmp_path / "predictions.csv", "predict")
    (tmp_path / "alias").symlink_to(tmp_path / "labels.csv")
    with pytest.raises(InputError, match="an input"):
        output_path(tmp_path / "alias", "predict", inputs=[tmp_path / "labels.csv"], force=True)


def test_among_the_images_nothing_is_written_that_would_be_read_as_one(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.png").write_bytes(b"\x89PNG")
    for name in ("cats/a.png", "b.JPG", "cats/q.npy"):
        with pytest.raises(InputError, match="among the images"):
            output_path(tmp_path / name, "posterior", inputs=[tmp_path], force=True)
    assert output_path(tmp_path / "predictions.csv", "predict", inputs=[tmp_path])


def test_places_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output_path("~/p.csv", "predict") == tmp_path / "p.csv"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to(tmp_path / "none")
    for name, words in (
        ("none/p.csv", "expected a file in a folder"),
        ("", "found an empty path"),
        (tmp_path, "expected a file in a folder"),
        (tmp_path / "pipe", "which is no file"),
        (tmp_path / "broken", "which is no file"),
        ("/dev/null", "which is no file"),
    ):
        with pytest.raises(InputError, match=words):
            output_path(name, "predict", force=True)


def test_names_that_are_one_file_on_some_machines(tmp_path):
    assert same_place(tmp_path / "A.csv", tmp_path / "a.csv")
    assert same_place(tmp_path / "na\u00efve", tmp_path / "nai\u0308ve")
    assert not same_place(tmp_path / "a.csv", tmp_path / "b.csv")
    (tmp_path / "A.csv").touch()
    (tmp_path / "a.csv").touch()  # where they are two, both there to be seen, they are two
    assert not same_place(tmp_path / "A.csv", tmp_path / "a.csv")


def test_names_that_are_no_utf_8(tmp_path, predicted):
    name = os.fsdecode(b"na\xefve.csv")
    write_table(tmp_path / name, predicted.assign(path=name))
    assert "na\\udcefve.csv" in (tmp_path / name).read_text()
    with pytest.raises(InputError, match="not written by suggest"):
        output_path(tmp_path / name, "suggest")
    write_text(tmp_path / "page.html", name)
