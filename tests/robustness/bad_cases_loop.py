"""Bad input of the loop on pictures, second table: places, runs, tables of labels, outputs, calls.

Most are what the reports in `../shared/review/bugs.md` tell of, and their neighbours.
"""

import gzip
import os
import shutil
import zipfile

import numpy as np
import pandas as pd
from bad_files import (
    RIGHT,
    WARNED,
    Case,
    as_json,
    cut,
    damaged_run,
    grey,
    halve,
    labelled,
    linked,
    npz,
    pictures,
    png,
    raw,
    stored,
    together,
)

from gmvae_lib import GMVAEClassifier, load_images, rendered_letters

TRAIN = "train --preset quick --k 4 --epochs 1 -o {f}/out"
GOOD = f"{TRAIN} {{good}}"
SUGGEST = "suggest {own} --budget 5 -o {f}/out"
PREDICT = "predict {own} {f}/labels.csv --decoder soft -o {f}/out"
JSON, EXCEL = (PREDICT.replace("csv", suffix) for suffix in ("json", "xlsx"))
REPORT = "report {own} {f}/labels.csv -o {f}/out"
POSTERIOR = "posterior {run} -o {f}/out"
ANOTHER = "suggest {f}/run -o {f}/out"  # on a run of the case's own
labels = labelled("path,label\n00.png,a\n01.png,b\n02.png,a\n")


def to(place, line=PREDICT):
    """A line with another output."""
    return line.replace("{f}/out", place)


def new(**kinds):
    return together(labels, pictures(**kinds))


def task(i, *choices, question="class", **more):
    answer = {"from_name": question, "type": "choices", "value": {"choices": list(choices)}}
    return {"data": {"image": f"{i:02}.png"}, "annotations": [{"result": [answer]}]} | more


def answered(*result):
    return as_json([{"data": {"image": "00.png"}, "annotations": [{"result": list(result)}]}])


def workbook(name="labels.xlsx", **columns):
    def make(folder):
        pd.DataFrame(columns).to_excel(folder / "w.xlsx", index=False)
        (folder / "w.xlsx").rename(folder / name)

    return make


def document(folder):
    with zipfile.ZipFile(folder / "labels.csv", "w") as archive:
        archive.writestr("word/document.xml", "hello")


def class_folder(*names, picture=None):
    """Folders in labels.csv that hold the first picture of the run, or another."""

    def make(folder):
        for name in names:
            (folder / "labels.csv" / name).mkdir(parents=True)
            source = folder.parent / "pictures" / "00.png"
            data = source.read_bytes() if picture is None else picture
            (folder / "labels.csv" / name / "a.png").write_bytes(data)

    return make


def features(folder):
    rows = np.random.default_rng(0).random((40, 5)).astype(np.float32)
    GMVAEClassifier(3, epochs=1).fit(rows).save(folder / "run")


def moved_away(folder):
    """A run whose pictures are gone."""
    shutil.copytree(folder.parent / "own", folder / "run")
    for name in ("provenance.json",):
        text = (folder / "run" / name).read_text()
        (folder / "run" / name).write_text(text.replace(str(folder.parent / "pictures"), "/gone"))


def predicted(folder):
    """predictions.csv in the place of labels.csv."""
    GMVAEClassifier.load(folder.parent / "own").fit_labels([0, 1], ["a", "b"]).predictions().to_csv(
        folder / "labels.csv", index=False
    )


def suggested(folder):
    GMVAEClassifier.load(folder.parent / "own").suggest(3).to_csv(
        folder / "labels.csv", index=False
    )


def hard_link(folder):
    os.link(folder / "labels.csv", folder / "out")


def of_picture(folder):
    os.symlink(folder.parent / "pictures" / "03.png", folder / "out")


def others(name, content="mine\n"):
    """A file of somebody in the folder out."""
    return together(lambda folder: (folder / "out").mkdir(), raw(f"out/{name}", content.encode()))


CASES = [
    # places
    Case("text as pictures", f"{TRAIN} {{f}}/notes.txt", "notes.txt: found a text",
         raw("notes.txt", b"hello\n")),
    Case("table as pictures", f"{TRAIN} {{f}}/x.csv", "x.csv: found a text",
         raw("x.csv", b"23,0,0\n" * 9)),
    Case("ZIP as pictures", f"{TRAIN} {{f}}/x.zip", "x.zip: found a ZIP archive",
         raw("x.zip", b"PK\3\4" + bytes(99))),
    Case("HDF5 as pictures", f"{TRAIN} {{f}}/x.h5", "x.h5: found an HDF5 file",
         raw("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(99))),
    Case("one picture as pictures", f"{TRAIN} {{f}}/x.png", "x.png: found a PNG picture",
         raw("x.png", png())),
    Case("telephone pictures that Pillow does not read", f"{TRAIN} {{f}}/x", "(1 .heic)",
         pictures(a_heic=b"\0\0\0\x18ftypheic" + bytes(99))),
    Case("drawing under the name of a picture", f"{TRAIN} {{f}}/x", "b.png: not readable",
         pictures(a_png=png(), b_png=b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
    Case("web page under the name of a picture", f"{TRAIN} {{f}}/x", "b.jpg: not readable",
         pictures(a_png=png(), b_jpg=b"<!doctype html><title>404</title>")),
    Case("nothing but damaged pictures", f"{TRAIN} {{f}}/x --skip-damaged", "a.png: not readable",
         pictures(a_png=b"x", b_png=b"y")),
    Case("an array among pictures", f"{TRAIN} {{f}}/x", "q.npy: found .npy files (1) beside",
         together(pictures(a_png=png()), stored(grey, "x/q.npy"))),
    Case("arrays of two sizes", f"{TRAIN} {{f}}/x", "b.npy: found uint8 [4, 20, 28]",
         together(stored(grey, "x/a.npy"), stored(grey[:, :20], "x/b.npy"))),
    Case("arrays of two types", f"{TRAIN} {{f}}/x", "b.npy: found float64",
         together(stored(grey, "x/a.npy"), stored(grey / 255, "x/b.npy"))),
    Case("array of objects", f"{TRAIN} {{f}}/x.npy", "x.npy: found no readable array",
         stored(np.array([{}, {}], dtype=object))),
    Case("array of one axis", f"{TRAIN} {{f}}/x.npy", "x.npy: found float64 [9]",
         stored(np.arange(9.0))),
    Case("array without an axis", f"{TRAIN} {{f}}/x.npy", "x.npy: found no array of rows",
         stored(np.array(3))),
    Case("array of texts", f"{TRAIN} {{f}}/x.npy", "x.npy: found <U1 [2]", stored(["a", "b"])),
    Case("array of complex numbers", f"{TRAIN} {{f}}/x.npy", "x.npy: found complex128",
         stored(grey * 1j)),
    Case("array without rows", f"{TRAIN} {{f}}/x.npy", "x.npy: images are uint8 [0, 28, 28]",
         stored(grey[:0])),
    Case("array with NaN", f"{TRAIN} {{f}}/x.npy", "x.npy: found NaN",
         stored(np.where(grey > 250, np.nan, 0.5))),
    Case("array of floats up to 255", f"{TRAIN} {{f}}/x.npy", "x.npy: found values 0 to 255",
         stored(grey * 1.0)),
    Case("array cut short", f"{TRAIN} {{f}}/x.npy", "x.npy: found no readable array",
         cut("x.npy", stored(grey))),
    Case("empty file of an array", f"{TRAIN} {{f}}/x.npy", "x.npy: found no readable array",
         raw("x.npy", b"")),
    Case("one-hot labels of an NPZ", f"{TRAIN} {{f}}/x.npz", "x.npz: labels are float64 [4, 4]",
         npz(images=grey, labels=np.eye(4))),
    Case("text -1 among the labels of an NPZ", f"{TRAIN} {{f}}/x.npz", "found the text '-1'",
         npz(images=grey, labels=["a", "-1", "b", "c"])),
    Case("text nan among the labels of an NPZ", f"{TRAIN} {{f}}/x.npz", "found the text 'nan'",
         npz(images=grey, labels=["a", "nan", "b", "c"])),
    Case("NPZ of dates", f"{TRAIN} {{f}}/x.npz", "x.npz: images are datetime64[s]",
         npz(images=np.zeros((4, 28, 28), "M8[s]"))),
    Case("NPZ of values from -1 to 1", f"{TRAIN} {{f}}/x.npz", "x.npz: images are floats from -1",
         npz(images=grey / 127.5 - 1)),
    Case("dangling link", f"{TRAIN} {{f}}/x", "x: no such file", linked("x", "gone")),
    Case("link to itself", f"{TRAIN} {{f}}/x", "x: no such file", linked("x", "x")),
    Case("name of 300 letters", f"{TRAIN} {{f}}/{'a' * 300}", "File name too long"),
    Case("pipe", f"{TRAIN} {{f}}/x", "x: no such file", lambda folder: os.mkfifo(folder / "x")),
    Case("endless device", f"{TRAIN} /dev/zero", "/dev/zero: no such file"),
    Case("address of the web", f"{TRAIN} https://example.org/x.zip", "x.zip: no such file"),
    Case("pattern that no shell filled in", f"{TRAIN} {{f}}/*.png", "*.png: no such file"),
    Case("variable that is not set", f"{TRAIN} ''", "data: found an empty path"),
    Case("home of nobody", f"{TRAIN} ~nobodyatall/x", "~nobodyatall/x"),
    Case("zero character in a name", f"{TRAIN} 'a\0b'", "'a\\x00b'"),
    Case("data that are named twice", f"{GOOD} --data {{bare}}", "--data: found"),
    Case("folder of a data set that is not there", f"{TRAIN} mnist --data-dir {{f}}/none", "mnist"),
    # options
    Case("size of nothing", f"{GOOD} --size 0", "--size: found '0'"),
    Case("size of two numbers", f"{GOOD} --size 28x28", "--size: found '28x28'"),
    Case("size beyond reason", f"{GOOD} --size 99999", "--size: found '99999'"),
    Case("components as a fraction", f"{GOOD} --k 2.5", "--k: found '2.5'"),
    Case("epochs as a power", f"{GOOD} --epochs 1e3", "--epochs: found '1e3'"),
    Case("seed of 13 digits", f"{GOOD} --seed {2**40}", "--seed: found '1099511627776'"),
    Case("learning rate without end", f"{GOOD} --learning-rate inf", "--learning-rate: found"),
    Case("device without a name", f"{GOOD} --device ''", "--device: found ''"),
    Case("hundredth GPU", f"{GOOD} --device cuda:99", "--device: found 'cuda:99'"),
    Case("device that computes nothing", f"{GOOD} --device meta", "--device: found 'meta'"),
    # folders for a run
    Case("run without a name", to("''", GOOD), "--out: found an empty path"),
    Case("run within a file", to("{f}/a/b", GOOD), "a/b: Not a directory", raw("a", b"x")),
    Case("run over a dangling link", GOOD, "out: File exists", linked("out", "gone")),
    Case("run into a folder with somebody's history", GOOD, "out: found history.csv of no run",
         others("history.csv")),
    Case("run into a folder with somebody's settings", f"{GOOD} --resume",
         "out: found config.json of no run", others("config.json", "{}")),
    Case("going on from a damaged checkpoint", f"{GOOD} --resume", "checkpoint.safetensors: not",
         others("checkpoint.safetensors")),
    Case("going on with more components",
         "train {good} --preset quick --k 5 -o {run} --resume", "config.json: found model.K = 6"),
    # runs
    Case("file in place of a run", "suggest {good} -o {f}/out", "no provenance.json"),
    Case("pictures in place of a run", "suggest {pics} -o {f}/out", "no provenance.json"),
    Case("training that was not finished", ANOTHER, "found an unfinished training",
         lambda folder: shutil.copytree(folder.parent / "own", folder / "run").joinpath(
             "provenance.json").rename(folder / "run" / "checkpoint.safetensors")),
    Case("run that keeps no images", "suggest {run} -o {f}/out", "does not keep its images"),
    Case("kept images cut short", ANOTHER, "embedding.safetensors: not readable",
         damaged_run("embedding.safetensors", halve, "own")),
    Case("kept images of nothing", ANOTHER, "embedding.safetensors: not readable",
         damaged_run("embedding.safetensors", lambda path: path.write_bytes(b""), "own")),
    Case("provenance that is a list", ANOTHER, "provenance.json: not readable",
         damaged_run("provenance.json", lambda path: path.write_text("[]"), "own")),
    Case("provenance without files", ANOTHER, "provenance.json: not readable",
         damaged_run("provenance.json", lambda path: path.write_text("{}"), "own")),
    Case("provenance that is no text", ANOTHER, "provenance.json: not readable",
         damaged_run("provenance.json", lambda path: path.write_bytes(b"\xff\xfe{"), "own")),
    Case("configuration missing", ANOTHER, "config.json: not found",
         damaged_run("config.json", lambda path: path.unlink(), "own")),
    Case("run of a table", f"{ANOTHER} --images {{pics}}", "rows of 5 features", features),
    Case("report on a run of a table", REPORT.replace("{own}", "{f}/run"), "expected their place",
         together(features, labelled("index,label\n0,a\n1,b\n"))),
    Case("pictures of the run gone", f"{ANOTHER} --page {{f}}/l.html", "found no longer the images",
         moved_away),
    # what to label
    Case("more random ones than there are", f"{SUGGEST} --random 99", "random: found 99"),
    Case("random ones below none", f"{SUGGEST} --random -3", "--random: found '-3'"),
    Case("all have a label", f"{SUGGEST} --labels {{f}}/labels.csv", "found all 60 images",
         labelled("path,label\n" + "".join(f"{i:02}.png,a\n" for i in range(60)))),
    Case("page where the table is", f"{SUGGEST} --page {{f}}/out", "--page: found"),
    Case("page in no folder", f"{SUGGEST} --page {{f}}/no/l.html", "--page: found"),
    Case("page over somebody's page", f"{SUGGEST} --page {{f}}/n.html", "not written by suggest",
         raw("n.html", b"<p>mine")),
    Case("page among the pictures of the run", "suggest {own} --page {pics}/l.png",
         "--page: found"),
    Case("labels that are not there", f"{SUGGEST} --labels {{f}}/none.csv", "none.csv"),
    # tables of labels
    Case("labels of other pictures", PREDICT, "1 label left out, of images not in",
         labelled("path,label\nq.png,a\n")),
    Case("labels of other content", PREDICT, "of images changed since they were labelled: 00.png",
         labelled("path,digest,label\n00.png,0123456789abcdef,a\n")),
    Case("rows of another set", PREDICT, "found a row of the set 0123456789abcdef",
         labelled("index,set,label\n0,0123456789abcdef,a\n")),
    Case("two labels of one path", PREDICT, "line 3: found label 'b' for 00.png",
         labelled("path,label\n00.png,a\n00.png,b\n")),
    Case("two labels of one path in two spellings", PREDICT, "line 3: found label 'b'",
         labelled("path,label\n00.png,a\n./00.PNG,b\n")),
    Case("nothing but unsure", PREDICT, "found no label",
         labelled("path,label,reason\n00.png,,unsure\n")),
    Case("nothing but -1 and nan", PREDICT, "found no label",
         labelled("path,label\n00.png,-1\n01.png,nan\n")),
    Case("-1 and nan among labels", PREDICT, "found '-1' (1 times), 'nan' (1 times)",
         labelled("path,label\n00.png,-1\n01.png,nan\n02.png,a\n03.png,b\n"), WARNED),
    Case("label of no picture", PREDICT, "the label 'a' of no image", labelled("path,label\n,a\n")),
    Case("column of labels twice", PREDICT, "found the column label twice",
         labelled("path,label,Label\n00.png,a,b\n")),
    Case("column of paths twice", PREDICT, "found the column path twice",
         labelled("path,path,label\n00.png,01.png,b\n")),
    Case("no line of headers", PREDICT, "line 1: found '00.png', 'a'",
         labelled("00.png,a\n01.png,b\n")),
    Case("blanks for commas", PREDICT, "line 1: found 'path label'",
         labelled("path label\n00.png a\n")),
    Case("100,000 columns", PREDICT, "line 1: found 'x', 'x'", labelled("x," * 100_000 + "\n")),
    Case("a field too many after a semicolon", PREDICT, "line 2: found 3 fields",
         labelled("path;label\n00.png;a;b\n")),
    Case("comma for a point", PREDICT, "line 2: found index '1,5'",
         labelled("index;label\n1,5;a\n")),
    Case("digits that are not 0 to 9", PREDICT, "line 2: found index",
         labelled("index,label\n٣,a\n")),
    Case("index as a power", PREDICT, "found index '1e1'", labelled("index,label\n1e1,a\n")),
    Case("index in hexadecimal digits", PREDICT, "index '0x1'", labelled("index,label\n0x1,a\n")),
    Case("text after a quote", PREDICT, "line 2: no CSV", labelled('path,label\n00.png,"a"b\n')),
    Case("label of 200,000 letters", PREDICT, "line 2: no CSV (field larger",
         labelled("path,label\n00.png," + "a" * 200_000 + "\n")),
    Case("zero character in a label", PREDICT, "line 2: found bytes",
         labelled("path,label\n00.png,a\0b\n")),
    Case("labels in UTF-32", PREDICT, "line 1: found bytes", labelled("path,label\n", "utf-32")),
    Case("packed labels", PREDICT, "found bytes", labelled(gzip.compress(b"path,label\n00.png,a"))),
    Case("picture for labels", PREDICT, "found bytes", labelled(png())),
    Case("Parquet for labels", PREDICT, "found bytes", labelled(b"PAR1" + bytes(30))),
    Case("PDF for labels", PREDICT, "line 1: found '%PDF-1.4'", labelled("%PDF-1.4\n")),
    Case("web page for labels", PREDICT, "line 1: found '<table>",
         labelled("<table><tr><td>path</td></tr></table>")),
    Case("old workbook", PREDICT, "found an old Excel", labelled(b"\xd0\xcf\x11\xe0" + bytes(50))),
    Case("text document for labels", PREDICT, "labels.csv: not readable", document),
    Case("workbook cut short", EXCEL, "labels.xlsx: not readable",
         raw("labels.xlsx", b"PK\3\4" + bytes(50))),
    Case("text under the name of a workbook", EXCEL, "labels.xlsx: not readable",
         raw("labels.xlsx", b"path,label\n00.png,a\n")),
    Case("workbook without the columns", EXCEL, "labels.xlsx: line 1: found 'a'", workbook(a=[1])),
    Case("workbook under the name of a CSV", PREDICT, "found only the label 'a'",
         workbook("labels.csv", path=["00.png", "01.png"], label=["a", "a"]), WARNED),
    Case("workbook without rows", EXCEL, "found no label", workbook(path=[], label=[])),
    Case("table of suggestions without labels", PREDICT, "line 1: found 'index', 'path'",
         suggested),
    Case("table of predictions for labels", PREDICT, "its 60 labels count as given by a person",
         predicted, WARNED),
    Case("JSON cut short", JSON, "labels.json: no JSON", raw("labels.json", b"[{")),
    Case("JSON in Latin-1", JSON, "labels.json: no JSON", raw("labels.json", b'{"\xe9":1}')),
    Case("JSON 100,000 lists deep", JSON, "labels.json: no JSON", raw("labels.json", b"[" * 10**5)),
    Case("JSON of numbers", JSON, "found a list of 2", as_json([1, 2])),
    Case("JSON of nothing", JSON, "found a list of 0", as_json([])),
    Case("tasks without pictures", JSON, "line 1: found text", as_json([{"data": {"text": "a"}}])),
    Case("tasks with two questions", JSON, "found answers to class, kind",
         as_json([task(0, "a"), task(1, "b", question="kind")])),
    Case("tasks without an answer", JSON, "found no label", as_json([task(0), task(1)])),
    Case("tasks with two choices", JSON, "found no label", as_json([task(0, "a", "b")])),
    Case("annotations that are a text", JSON, "JSON of another form",
         as_json([task(0, annotations="x")])),
    Case("annotations that are numbers", JSON, "JSON of another form",
         as_json([task(0, annotations=[[1]])])),
    Case("choices that are a number", JSON, "JSON of another form",
         answered({"type": "choices", "value": {"choices": 7}})),
    Case("answer without a value", JSON, "JSON of another form",
         answered({"type": "choices", "value": None})),
    Case("class beyond the classes", JSON, "00: found class 3",
         as_json({"classes": ["a"], "labels": {"00": 3}})),
    Case("class below the first", JSON, "00: found class -1",
         as_json({"classes": ["a"], "labels": {"00": -1}})),
    Case("classes that are no list", JSON, "JSON of another form",
         as_json({"classes": {"a": 1}, "labels": {"00": 0}})),
    Case("number of classes for their names", JSON, "JSON of another form",
         as_json({"classes": 3, "labels": {"00": 0}})),
    Case("folder of labels without classes", PREDICT, "found no picture in a sub-folder",
         class_folder(".")),
    Case("folder of unlabelled pictures", PREDICT, "found no label", class_folder("_unlabeled")),
    Case("folder of other pictures", PREDICT, "of images not in", class_folder("a", picture=png())),
    Case("one picture in two classes", PREDICT, "another label of the same content is kept",
         class_folder("a", "b"), WARNED),
    # predictions and reports
    Case("confidence above one", f"{PREDICT} --min-confidence 2", "found '2'", labels),
    Case("confidence in per cent", f"{PREDICT} --min-confidence 80%", "found '80%'", labels),
    Case("unknown decoder", f"{PREDICT} --decoder knn", "invalid choice: 'knn'", labels),
    Case("nothing to predict from", "predict {own} -o {f}/out", "--labels"),
    Case("new folder without pictures", f"{PREDICT} {{f}}/x", "x: holds no picture", new()),
    Case("new pictures that are not there", f"{PREDICT} {{f}}/x", "x: no such file", labels),
    Case("new pictures, one damaged", f"{PREDICT} {{f}}/x", "b.png: not readable",
         new(a_png=png(), b_png=b"x")),
    Case("new pictures, the damaged left out", f"{PREDICT} {{f}}/x --skip-damaged",
         "1 damaged picture was left out: b.png", new(a_png=png(noise=True), b_png=b"x"), WARNED),
    Case("two new folders", f"{PREDICT} {{f}}/x {{f}}/y", "unrecognized arguments", new()),
    Case("arrays of another size", f"{POSTERIOR} {{f}}/x.npy", "found images of shape (20, 28)",
         stored(grey[:, :20])),
    Case("NaN in the second of two arrays", f"{POSTERIOR} {{f}}/x", "x: found NaN",
         together(stored(grey / 255, "x/a.npy"), stored(grey * np.nan, "x/b.npy"))),
    Case("report on other pictures", f"{REPORT} --images {{good}}", "of images not in", labels),
    Case("report on labels that are a page", REPORT, "line 1: found '<html>'", labelled("<html>")),
    # outputs
    Case("over a file of the run", to("{own}/config.json"), "a file of a run", labels),
    Case("over a file of the run, in other letters", to("{own}/CONFIG.json --force"),
         "a file of a run", labels),
    Case("over a picture of the run", to("{pics}/00.png --force"), "among the images", labels),
    Case("among the pictures of the run", to("{pics}/zz.png"), "among the images", labels),
    Case("suggestions over a picture of the run", to("{pics}/05.png --force", SUGGEST),
         "among the images"),
    Case("over a picture elsewhere", f"{PREDICT} --force", "out, which holds a picture",
         together(labels, raw("out", png()))),
    Case("over a link to a picture", f"{PREDICT} --force", "which holds a picture",
         together(labels, of_picture)),
    Case("over the labels", to("{f}/labels.csv --force"), "an input", labels),
    Case("over a link to the labels", f"{PREDICT} --force", "an input",
         together(labels, linked("out", "labels.csv"))),
    Case("over the labels by another name", f"{PREDICT} --force", "an input",
         together(labels, hard_link)),
    Case("over labels of somebody", f"{PREDICT} --force", "which holds labels",
         together(labels, raw("out", b"Filename;Species\na.png;cat\n"))),
    Case("over labels in UTF-16", f"{PREDICT} --force", "which holds labels",
         together(labels, raw("out", "Datei\tLABEL\n".encode("utf-16")))),
    Case("over a workbook", f"{PREDICT} --force", "which holds labels",
         together(labels, workbook("out", a=[1]))),
    Case("over tasks of Label Studio", f"{PREDICT} --force", "which holds labels",
         together(labels, raw("out", b'[{"data": {"image": "a"}, "annotations": []}]'))),
    Case("over images with labels", to("{good} --force", f"{POSTERIOR} {{bare}}"),
         "which holds labels"),
    Case("over notes", PREDICT, "not written by predict", together(labels, raw("out", b"hello"))),
    Case("over notes, asked to", f"{POSTERIOR} {{bare}} --force", "", raw("out", b"hello"), RIGHT),
    Case("over another program's NPZ", to("{f}/x.npz", f"{POSTERIOR} {{bare}}"),
         "not written by posterior", npz(q=np.zeros(3), more=1)),
    Case("into a device", to("/dev/null"), "/dev/null, which is no file", labels),
    Case("where nothing can be written", to("/proc/o.csv"), "/proc/o.csv", labels),
    Case("output without a name", to("''"), "--out: found an empty path", labels),
    Case("output over a dangling link", PREDICT, "which is no file",
         together(labels, linked("out", "gone"))),
    Case("report among the pictures", to("{pics}/r.png", REPORT), "among the images", labels),
    # the estimator
    Case("fit: no such folder", call=lambda folder, _: GMVAEClassifier().fit(folder / "none"),
         named="none: no such file"),
    Case("fit: variable that is not set", call=lambda *_: GMVAEClassifier().fit(""), named="X: "),
    Case("fit: images all alike", named="images: found 9 times the same",
         call=lambda *_: GMVAEClassifier(2, epochs=1).fit(grey[:1].repeat(9, axis=0))),
    Case("fit: images of two channels", named="image_shape: found (8, 8, 2)",
         call=lambda *_: GMVAEClassifier(2, epochs=1).fit(np.ones((9, 8, 8, 2)))),
    *(
        Case(f"fit: {name} {value!r}", named=f"{name}: found {value!r}",
             call=lambda _, model, given={name: value}: model.set_params(**given).fit(grey))
        for name, value in (
            ("n_components", 0), ("n_components", "10"), ("n_components", True), ("epochs", 1.5),
            ("preset", "great"), ("decoder", "knn"), ("likelihood", "poisson"),
            ("device", "abacus"), ("device", 99), ("random_state", -1), ("random_state", 2**70),
        )
    ),
    *(
        Case(f"fit: labels {what}", named="y: ",
             call=lambda _, model, y=y: model.fit(rendered_letters(20).images, y))
        for what, y in {
            "-1 as a text": ["-1", "a"] * 10, "nan as a text": ["nan", "a"] * 10,
            "texts and numbers": ["a", 1] * 10, "lists": [["a"], ["b", "c"]] * 10,
            "dictionaries": [{"a": 1}] * 20, "of two columns": np.zeros((20, 2)),
            "nothing but NaN": np.full(20, np.nan), "fractions": np.arange(20) / 7,
        }.items()
    ),
    *(
        Case(f"fit_labels: {what}", named=named,
             call=lambda _, model, given=given: model.fit_labels(*given))
        for what, named, given in (
            ("row beyond the last", "rows 0 to 60", ([0, 60], ["a", "b"])),
            ("row before the first", "rows -1 to 0", ([0, -1], ["a", "b"])),
            ("row twice", "found a row twice", ([0, 0], ["a", "b"])),
            ("rows that are fractions", "rows float64 [2]", ([0.0, 1.0], ["a", "b"])),
            ("rows for too few labels", "rows int64 [3]", ([0, 1, 2], ["a", "b"])),
            ("row without a label", "found a row without a label", ([0, 1], ["a", None])),
            ("nothing", "labels: found NoneType", (None,)),
            ("dictionary", "labels: found dict", ({0: "a"},)),
            ("table without labels", "found 'path'", (pd.DataFrame({"path": ["00.png"]}),)),
            ("table of other pictures", "of images not in",
             (pd.DataFrame({"path": ["q.png"], "label": ["a"]}),)),
        )
    ),
    Case("suggest: none", call=lambda _, model: model.suggest(0), named="budget: found 0"),
    Case("suggest: too many", call=lambda _, model: model.suggest(999), named="budget: found 999"),
    Case("suggest: text", call=lambda _, model: model.suggest("x"), named="budget: found 'x'"),
    Case("suggest: fewer random ones than none", named="random: found -1",
         call=lambda _, model: model.suggest(5, random=-1)),
    Case("predict: picture of another size", named="X: found shape",
         call=lambda _, model: model.fit_labels([0, 1], ["a", "b"]).predict(grey[0])),
    Case("report: no folder", named="path: found", call=lambda folder, model: model.fit_labels(
        [0, 1], ["a", "b"]).report(folder / "no" / "r.html")),
    Case("report: over labels", named="which holds labels", make=labels,
         call=lambda folder, model: model.fit_labels([0, 1], ["a", "b"]).report(
             folder / "labels.csv", force=True)),
    Case("report: of fewer images", named="found 0 of the 60 images",
         call=lambda folder, model: model.fit_labels([0, 1], ["a", "b"]).report(
             folder / "r.html", images=grey)),
    Case("save: over another run", named="found another run",
         call=lambda folder, model: model.save(folder.parent / "run")),
    Case("save: into somebody's folder", named="out: found history.csv of no run",
         make=others("history.csv"), call=lambda folder, model: model.save(folder / "out")),
    Case("load: folder of pictures", named="no provenance.json",
         call=lambda folder, _: GMVAEClassifier.load(folder.parent / "pictures")),
    Case("load: run that keeps no images", named="does not keep its images",
         call=lambda folder, _: GMVAEClassifier.load(folder.parent / "run")),
    Case("load_images: unknown colours", named="inverted: 'maybe'",
         call=lambda folder, _: load_images(folder.parent / "pictures", inverted="maybe")),
]  # fmt: skip
