"""The commands on a folder of pictures: labels that follow their picture, and nothing destroyed."""

import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gmvae_lib import GMVAEClassifier, load_run, rendered_letters
from gmvae_lib.__main__ import main
from gmvae_lib.vae import embedding

N = 60
ROOT = Path(__file__).parents[1]
QUICK = "--preset quick --k 6 --epochs 1"
pytestmark = pytest.mark.usefixtures("one_thread")


def draw(folder, n=N, seed=1, name="img_{:04d}.png"):
    folder.mkdir(parents=True)
    for i, picture in enumerate(rendered_letters(n, seed=seed).images):
        Image.fromarray(picture).save(folder / name.format(i))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder that holds pictures/, run/, trained on them, and labels.csv, of twenty of them."""
    folder = tmp_path_factory.mktemp("trained")
    draw(folder / "pictures")
    assert main(f"train {folder}/pictures -o {folder}/run {QUICK}".split()) == 0
    assert main(f"suggest {folder}/run --budget 20 -o {folder}/to_label.csv".split()) == 0
    table = pd.read_csv(folder / "to_label.csv")
    letters = rendered_letters(N, seed=1)
    truth = [letters.class_names[letters.labels[i]] for i in table["index"]]
    table.assign(label=truth).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.fixture
def work(trained, tmp_path):
    """A copy of that folder which a test may change; the run remembers the first one's pictures."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def predictions(path) -> dict:
    table = pd.read_csv(path, keep_default_na=False)
    return dict(
        zip(table["digest"], zip(table["label"], table["confidence"], strict=True), strict=True)
    )


# ---- the short forms ----


def test_the_short_forms(gmvae, work, monkeypatch):
    monkeypatch.chdir(work)
    code, out, err = gmvae("suggest run --labels labels.csv --page label.html --random 5")
    assert code == 0 and "label.html: open it in a browser" in out, err
    assert not (work / "to_label_next.csv").exists()
    assert gmvae("suggest run --labels labels.csv --budget 5")[0] == 0  # over its own to_label.csv
    again = pd.read_csv("to_label.csv")
    assert len(again) == 5 and not again["path"].isin(pd.read_csv("labels.csv")["path"]).any()
    code, out, _ = gmvae("report run labels.csv")
    assert code == 0 and out.startswith("report.html: expected accuracy")
    assert gmvae("predict run labels.csv")[0] == 0
    table = pd.read_csv("predictions.csv")
    assert table["path"].tolist() == sorted(os.listdir("pictures"))
    columns = ["index", "path", "digest", "label", "confidence", "unlike"]
    assert list(table.columns) == columns and (table["unlike"] == 0).mean() > 0.9
    # an option may stand before what is given by its place
    assert gmvae("predict run labels.csv -o p.csv pictures --decoder soft")[0] == 0
    assert gmvae("posterior run pictures -o q.npz")[0] == 0
    assert gmvae("posterior run pictures -o q.npz")[0] == 0


def test_the_default_budget_fits_a_small_set(gmvae, work):
    code, out, _ = gmvae("suggest --run {work}/run --images {work}/pictures --out {work}/all.csv")
    assert code == 0 and f"{N} images to label" in out


def test_epochs_are_counted_as_they_were_asked_for(gmvae):
    code, out, _ = gmvae(f"train {{work}}/pictures -o {{work}}/other {QUICK}")
    assert code == 0 and "trained for 1 epochs and 1 of the decoder on 60 images" in out


def test_the_command_line_and_the_estimator_train_the_same_model(work):
    model = GMVAEClassifier(n_components=6, preset="quick", epochs=1).fit(work / "pictures")
    run = load_run(work / "run")
    assert model.run_.model_config == run.model_config
    assert all(np.array_equal(run.state[name], value) for name, value in model.run_.state.items())
    # and what one has trained the other can load
    loaded = GMVAEClassifier.load(work / "run").fit_labels(work / "labels.csv")
    assert main(f"predict {work}/run {work}/labels.csv -o {work}/p.csv".split()) == 0
    assert loaded.predictions()["label"].tolist() == pd.read_csv(work / "p.csv")["label"].tolist()
    assert loaded.get_params()["n_components"] == 6
    model.fit_labels(work / "labels.csv").save(work / "saved")
    assert main(f"predict {work}/saved {work}/labels.csv -o {work}/p2.csv".split()) == 0
    assert predictions(work / "p.csv") == predictions(work / "p2.csv")


def test_a_run_on_features_says_by_which_preset_it_was_trained(gmvae, work):
    paths = sorted(os.listdir(work / "pictures"))
    rows = np.random.default_rng(0).normal(size=(len(paths), 5)).astype(np.float32)
    np.savez(work / "f.npz", features=rows, paths=np.array(paths))
    line = "train {work}/pictures -o {work}/on --features {work}/f.npz --epochs 1 --k 3"
    code, _, err = gmvae(line)
    assert code == 0, err
    assert GMVAEClassifier.load(work / "on").get_params()["preset"] == "features"


# ---- labels belong to pictures ----


def test_labels_follow_their_picture(gmvae, work):
    """Add, delete, rename, move, re-sort: answers stay with the pictures."""
    assert gmvae("predict {work}/run {work}/labels.csv -o {work}/before.csv")[0] == 0
    before = predictions(work / "before.csv")
    pictures = work / "pictures"
    names = sorted(os.listdir(pictures))
    edits = {
        "added": lambda: draw(work / "new", 5, seed=9) and [
            shutil.copy(new, pictures / f"aaa_{new.name}") for new in (work / "new").iterdir()
        ],
        "deleted": lambda: (pictures / names[0]).unlink(),
        "renamed": lambda: [
            (pictures / name).rename(pictures / name.replace("_00", "_")) for name in names[5:30]
        ],
        "moved": lambda: [
            (work / "moved" / "a").mkdir(parents=True),
            *((pictures / name).rename(work / "moved" / "a" / name)
              for name in sorted(os.listdir(pictures))),
            (work / "moved").rename(pictures / "sorted"),
        ],
    }  # fmt: skip
    for what, edit in edits.items():
        edit()
        line = "predict --run {work}/run --images {work}/pictures --labels {work}/labels.csv"
        code, _, err = gmvae(f"{line} --out {{work}}/after.csv")
        assert code == 0, (what, err)
        after = predictions(work / "after.csv")
        assert all(answer == before[key] for key, answer in after.items() if key in before), what
        assert len(set(after) & set(before)) == N - (what != "added")
        code, out, err = gmvae(line.replace("predict", "report") + " --out {work}/report.html")
        assert code == 0, err
        gone = [name for name in ("img_0000.png",) if what != "added" and name in err]
        assert ("1 label left out" in err) == bool(gone)


def test_marks_count_in_the_accuracy_and_labels_that_are_overruled_are_said(gmvae, work):
    table = pd.read_csv(work / "labels.csv").assign(reason="drawn at random")
    table.loc[:1, ["label", "reason"]] = ["", "unsure; drawn at random"]
    table.loc[2, ["label", "reason"]] = ["", "none of these; drawn at random"]
    table.to_csv(work / "labels.csv", index=False)
    for more in ("", " --labels-at-random"):
        code, out, _ = gmvae("report {work}/run {work}/labels.csv -o {work}/r.html" + more)
        assert code == 0 and "measured on 17 labelled images drawn at random" in out
        assert (
            "1 marked as none of these, taken as wrong" in out and "2 more, marked as unsure" in out
        )
    model = GMVAEClassifier.load(work / "run").fit_labels(work / "labels.csv")
    again = GMVAEClassifier.load(model.save(work / "named"))
    assert again.collection_.marked_ == model.collection_.marked_
    assert len(again.collection_.marked_) == 3
    assert again.collection_.findings().accuracy == model.collection_.findings().accuracy
    wrong = table.assign(label=["a", "b"] * 10)  # what no model would say
    wrong.to_csv(work / "labels.csv", index=False)
    code, _, err = gmvae("predict {work}/run {work}/labels.csv -o {work}/p.csv")
    said = np.array([predictions(work / "p.csv")[digest][0] for digest in wrong["digest"]])
    assert (said == wrong["label"].to_numpy()).all()  # a label given by hand stands
    n = len(model.fit_labels(work / "labels.csv").collection_.overruled_)
    assert code == 0 and (f"warning: {n} of 20 labelled images look like something" in err) == (
        n > 0
    )


def test_a_new_folder_alone(gmvae, work):
    draw(work / "new", 8, seed=7)
    code, _, err = gmvae("predict {work}/run {work}/labels.csv {work}/new -o {work}/p.csv")
    assert code == 0 and "left out" not in err
    table = pd.read_csv(work / "p.csv")
    assert table["path"].tolist() == sorted(os.listdir(work / "new"))
    # what is said of a picture does not depend on those that are asked for with it
    (work / "one").mkdir()
    for name in table["path"][:3]:
        shutil.copy(work / "new" / name, work / "one" / name)
    shutil.copy(work / "pictures" / "img_0000.png", work / "one" / "a.png")
    assert gmvae("predict {work}/run {work}/labels.csv {work}/one -o {work}/p1.csv")[0] == 0
    both, one = predictions(work / "p.csv"), predictions(work / "p1.csv")
    assert sum(both[key][0] == one[key][0] for key in one if key in both) == 3


def test_labels_of_new_pictures_and_of_old_ones(gmvae, work):
    draw(work / "new", 40, seed=7)
    assert gmvae("suggest {work}/run --images {work}/new --budget 10 -o {work}/next.csv")[0] == 0
    table = pd.read_csv(work / "next.csv").assign(label="another")
    both = pd.concat([pd.read_csv(work / "labels.csv"), table])
    both.to_csv(work / "both.csv", index=False)
    code, out, err = gmvae("predict {work}/run {work}/both.csv {work}/new -o {work}/p.csv")
    assert (
        code == 0 and "40 images predicted from 30 labelled ones" in out and "left out" not in err
    )
    said = pd.read_csv(work / "p.csv", keep_default_na=False).set_index("path")["label"]
    assert (said[table["path"]] == "another").mean() > 0.5


def test_rows_alone_are_those_of_one_set_only(gmvae, work):
    (work / "rows.csv").write_text("index,label\n0,cat\n1,dog\n2,cow\n")
    line = "predict --run {work}/run --images {work}/pictures --labels {work}/rows.csv"
    assert gmvae(f"{line} --out {{work}}/p.csv")[0] == 0
    shutil.copy(work / "pictures" / "img_0007.png", work / "pictures" / "aaa.png")
    code, _, err = gmvae(f"{line} --out {{work}}/p.csv")
    assert code == 2 and "found an index alone, which shifts" in err


# ---- what the run keeps ----


@pytest.fixture
def embedded(monkeypatch):
    """How many images were embedded, a number for each time."""
    counts, original = [], embedding.embed_and_judge

    def counting(model, pictures, *args, **kwargs):
        counts.append(len(pictures))
        return original(model, pictures, *args, **kwargs)

    monkeypatch.setattr("gmvae_lib.collection.embed_and_judge", counting)
    return counts


def test_only_new_pictures_are_embedded(gmvae, work, embedded):
    on = "{work}/run {work}/labels.csv --images {work}/pictures"
    for line in ("suggest {work}/run -o {work}/t.csv", f"predict {on} -o {{work}}/p.csv",
                 f"report {on} -o {{work}}/r.html"):  # fmt: skip
        assert gmvae(line)[0] == 0
    assert embedded == []
    draw(work / "new", 3, seed=5)
    for new in (work / "new").iterdir():
        shutil.copy(new, work / "pictures" / f"new_{new.name}")
    assert gmvae(f"predict {on} -o {{work}}/p.csv")[0] == 0
    assert gmvae(f"report {on} -o {{work}}/r.html")[0] == 0
    assert set(embedded) == {3}


def test_a_run_without_an_embedding_embeds_all(gmvae, work, embedded):
    (work / "run" / embedding.FILE).unlink()
    on = "--images {work}/pictures --labels {work}/labels.csv"
    assert gmvae(f"predict {{work}}/run {on} -o {{work}}/p.csv")[0] == 0
    assert embedded == [N]
    assert (pd.read_csv(work / "p.csv")["unlike"].isna()).all()
    code, _, err = gmvae("suggest {work}/run")
    assert code == 2 and "a run that does not keep its images, expected" in err
    assert gmvae(f"train {{work}}/pictures -o {{work}}/run {QUICK} --resume")[0] == 0
    assert gmvae("suggest {work}/run -o {work}/t.csv")[0] == 0


@pytest.mark.parametrize("kind", ["of another model", "cut short", "altered"])
def test_an_embedding_that_is_not_this_run_s_is_refused(gmvae, work, kind):
    path = work / "run" / embedding.FILE
    if kind == "of another model":
        line = f"train {{work}}/pictures -o {{work}}/other {QUICK} --seed 5"
        assert gmvae(line)[0] == 0
        shutil.copy(work / "other" / embedding.FILE, path)
    elif kind == "cut short":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    code, _, err = gmvae("suggest {work}/run -o {work}/t.csv")
    assert code == 2 and embedding.FILE in err and len(err.splitlines()) == 1
    assert not (work / "t.csv").exists()


def test_pictures_that_are_gone_are_asked_for(gmvae, work, monkeypatch):
    monkeypatch.chdir(work)
    run = load_run("run")
    gone = Path(run.provenance["data"]["source"])
    assert gone.is_absolute()
    gone.rename(gone.with_name("elsewhere"))
    try:
        code, _, err = gmvae("report run labels.csv")
        assert code == 2 and "expected their place as --images" in err
        assert gmvae("report run labels.csv --images pictures")[0] == 0
        assert gmvae("predict run labels.csv")[0] == 0  # which needs none
    finally:
        gone.with_name("elsewhere").rename(gone)


def test_pictures_unlike_those_of_the_training(gmvae, work):
    (work / "strange").mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        noise = rng.integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(noise).save(work / "strange" / f"{i}.png")
    for line in (
        "posterior {work}/run {work}/strange -o {work}/q.npz",
        "suggest {work}/run --images {work}/strange -o {work}/t.csv",
        "predict {work}/run {work}/labels.csv {work}/strange -o {work}/p.csv",
    ):
        code, _, err = gmvae(line)
        assert code == 0 and "unlike those that the run learned from" in err, line
    assert (pd.read_csv(work / "p.csv")["unlike"] == 1).all()
    assert (pd.read_csv(work / "p.csv")["unlike"] == 1).all()


# ---- nothing is destroyed ----


@pytest.mark.parametrize("command", ["suggest", "page", "predict", "report", "posterior"])
@pytest.mark.parametrize(
    "content",
    ["index,label\n3,cat\n", "index,cluster,reason,Label\n3,0,x,cat\n", "file;CLASS\na;cat\n"],
)
def test_no_command_writes_over_labels(gmvae, work, command, content):
    hand = work / "hand.csv"
    for encoding in ("utf-8", "utf-16"):
        hand.write_text(content, encoding=encoding)
        before = hand.read_bytes()
        line = {
            "suggest": "suggest {work}/run -o {work}/hand.csv",
            "page": "suggest {work}/run --page {work}/hand.csv",
            "predict": "predict {work}/run {work}/labels.csv -o {work}/hand.csv",
            "report": "report {work}/run {work}/labels.csv -o {work}/hand.csv",
            "posterior": "posterior {work}/run {work}/pictures -o {work}/hand.csv",
        }[command]
        for force in ("", " --force"):
            code, out, err = gmvae(line + force)
            assert (code, out) == (2, "") and "which holds labels" in err
            assert hand.read_bytes() == before


def test_inputs_runs_and_pictures_are_never_overwritten(gmvae, work):
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    line = "predict --run {work}/run --images {work}/pictures --labels {work}/labels.csv --force"
    for out in ("labels.csv", "run/history.csv", "run/config.json", "run/embedding.safetensors",
                "pictures/img_0003.png", "pictures/new.png"):  # fmt: skip
        code, _, err = gmvae(f"{line} --out {{work}}/{out}")
        assert code == 2 and "--out: found" in err, out
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_a_corrected_table_of_predictions_is_kept(gmvae, work):
    line = "predict {work}/run {work}/labels.csv -o {work}/p.csv"
    assert gmvae(line)[0] == 0 and gmvae(line)[0] == 0
    table = pd.read_csv(work / "p.csv")
    table.loc[3, "label"] = "corrected"
    table.to_csv(work / "p.csv", index=False)
    code, _, err = gmvae(line)
    assert code == 2 and "edited since predict wrote it" in err
    assert gmvae(f"{line} --force")[0] == 0


# ---- paths, names and streams ----


def test_the_home_folder(gmvae, work, monkeypatch):
    monkeypatch.setenv("HOME", str(work))
    monkeypatch.chdir(work)
    assert gmvae(f"train --data=~/pictures --out=~/mine {QUICK}")[0] == 0
    assert gmvae("predict ~/mine ~/labels.csv --out=~/p.csv")[0] == 0
    assert (work / "mine" / "provenance.json").exists() and not (work / "~").exists()
    assert (work / "p.csv").exists()


def test_names_with_blanks_and_names_that_are_no_utf_8(work, capsys):
    odd = work / "my pictures" / os.fsdecode(b"na\xefve")
    odd.mkdir(parents=True)
    for i in range(12):
        shutil.copy(work / "pictures" / f"img_{i:04d}.png", odd / os.fsdecode(b"\xff %d.png" % i))
    images, run = str(work / "my pictures"), str(work / "a run")
    assert main(["train", images, "-o", run, "--preset", "quick", "--epochs", "1", "--k", "2"]) == 0
    out, page = str(work / os.fsdecode(b"\xff.csv")), str(work / "page.html")
    assert main(["suggest", run, "-o", out, "--page", page]) == 0
    table = pd.read_csv(out)
    assert table["path"].str.contains(r"\\xff").all()
    table.assign(label=list("ab" * 6)).to_csv(work / "odd.csv", index=False)
    assert main(["predict", run, str(work / "odd.csv"), "-o", str(work / "p.csv")]) == 0
    assert main(["report", run, str(work / "odd.csv"), "-o", str(work / "r.html")]) == 0
    assert "left out" not in capsys.readouterr().err


def called(line, **options):
    """The command line in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("env", {})
    command = [sys.executable, "-m", "gmvae_lib", *line.split()]
    return subprocess.run(command, env=environment, check=False, timeout=300, **options)


def test_streams_that_cannot_say_it(work):
    """ASCII alone, a pipe that nobody reads, none at all: the output is whole, and code 0."""
    label = "caña"
    (work / "es.csv").write_text(f"path,label\nimg_0000.png,{label}\n", encoding="utf-8")
    line = f"predict {work}/run {work}/es.csv -o {work}/p.csv"
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = called(line, env=ascii_only, capture_output=True)
    assert done.returncode == 0 and b"\\xf1" in done.stderr
    read, write = os.pipe()
    os.close(read)
    for stream in ("stdout", "stderr"):
        done = called(
            line, **{"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, stream: write}
        )
        assert done.returncode == 0 and b"Traceback" not in (done.stderr or b"")
        assert b"BrokenPipe" not in (done.stderr or b"")
    os.close(write)
    closed = ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m gmvae_lib {line} >&- 2>&-"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run(closed, env=environment, check=False).returncode == 0
    assert set(pd.read_csv(work / "p.csv")["label"]) == {label}


def test_without_streams_and_with_those_of_others(work, monkeypatch):
    line = f"predict {work}/run {work}/labels.csv -o {work}/p.csv".split()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(line) == 0 and sys.stdout is None
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(line) == 0 and stream.errors == "strict"


def test_a_log_holds_no_progress_bars(work):
    done = called(f"train {work}/pictures -o {work}/new {QUICK}", capture_output=True, text=True)
    assert done.returncode == 0 and "%|" not in done.stderr and done.stderr.count("\n") <= 2
    assert "trained for" in done.stdout


def test_nothing_that_torch_does_is_needed_for_pictures_known_already(work):
    code = (
        "import sys; from gmvae_lib.__main__ import main\n"
        f"assert main('predict {work}/run {work}/labels.csv -o {work}/p.csv'.split()) == 0\n"
        f"assert main('suggest {work}/run --page {work}/l.html -o {work}/t.csv'.split()) == 0\n"
        f"assert main('report {work}/run {work}/labels.csv -o {work}/r.html'.split()) == 0\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "False", done.stderr
