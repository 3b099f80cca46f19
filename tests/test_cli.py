"""The command line, from images to predictions, and what it does with bad input."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gmvae_lib import cli, load_run, rendered_letters
from gmvae_lib.__main__ import main
from gmvae_lib.data.labels import AT_RANDOM, read_labels

COMMANDS = ("train", "posterior", "suggest", "predict", "report", "sweep")
N = 600


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with letters.npz (labelled), unlabelled.npz, and run, trained on them by main."""
    folder = tmp_path_factory.mktemp("cli")
    letters = rendered_letters(n=N, seed=0)
    np.savez(folder / "letters.npz", images=letters.images, labels=letters.labels)
    np.savez(folder / "unlabelled.npz", images=letters.images)
    np.savez(folder / "small.npz", images=letters.images[:, :20, :20])
    code = main(
        f"train --data {folder}/letters.npz --preset quick --out {folder}/run "
        "--epochs 2 --k 12 --seed 3".split()
    )
    assert code == 0
    return folder


def refused(result):
    """The one line on stderr of a call that must have ended with exit code 2."""
    code, out, err = result
    assert code == 2 and out == ""
    # a progress bar may stand before the message, which is the last line
    *bars, last = err.strip().splitlines()
    assert all("%|" in bar or not bar.strip() for bar in bars), err
    assert last.startswith("gmvae: error: ")
    return last


def test_the_whole_loop(gmvae, work, tmp_path):
    run, images = "--run {work}/run", "--images {work}/unlabelled.npz"
    assert load_run(work / "run").model_config.K == 12
    assert load_run(work / "run").train_config.seed == 3

    assert gmvae(f"posterior {run} {images} --out {tmp_path}/q.npz")[0] == 0
    with np.load(tmp_path / "q.npz") as stored:
        q = stored["q"]
    assert q.shape == (N, 12) and q.dtype == np.float32
    np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)

    code, out, _ = gmvae(f"suggest {run} {images} --budget 60 --out {tmp_path}/to_label.csv")
    assert code == 0 and out.startswith(f"{tmp_path}/to_label.csv: 60 images to label")
    table = pd.read_csv(tmp_path / "to_label.csv")
    assert list(table.columns) == ["index", "digest", "set", "cluster", "reason"]
    assert len(table) == 60

    letters = rendered_letters(n=N, seed=0)
    truth = [letters.class_names[letters.labels[i]] for i in table["index"]]
    table.assign(label=truth).to_csv(tmp_path / "labels.csv", index=False)
    for decoder in ("soft", "hard", "bayes", "neighbours"):
        assert (
            gmvae(
                f"predict {run} {images} --labels {tmp_path}/labels.csv --decoder {decoder} "
                f"--out {tmp_path}/{decoder}.csv"
            )[0]
            == 0
        )
        predictions = pd.read_csv(tmp_path / f"{decoder}.csv", keep_default_na=False)
        columns = ["index", "digest", "set", "label", "confidence", "unlike"]
        assert list(predictions.columns) == columns
        assert predictions["index"].tolist() == list(range(N))
        assert set(predictions["label"]) <= set(truth)
        assert predictions["confidence"].between(0, 1).all()

    left = {path.name for path in tmp_path.iterdir()}
    predictions = {"soft.csv", "hard.csv", "bayes.csv", "neighbours.csv"}
    assert left == {"q.npz", "to_label.csv", "labels.csv"} | predictions


def test_suggest_page_random_and_report(gmvae, tmp_path):
    made = gmvae(
        f"suggest {ON_RUN} --budget 40 --random 60 --out {tmp_path}/to_label.csv "
        f"--page {tmp_path}/label.html"
    )
    assert made[0] == 0
    table = pd.read_csv(tmp_path / "to_label.csv")
    at_random = table["reason"].str.contains(AT_RANDOM)
    assert at_random.sum() == 60 and table["index"].is_unique and 60 < len(table) <= 100
    assert (tmp_path / "label.html").read_text().startswith("<!doctype html>")

    letters = rendered_letters(n=N, seed=0)
    truth = [letters.class_names[letters.labels[i]] for i in table["index"]]
    table.assign(label=truth).to_csv(tmp_path / "labels.csv", index=False)
    code, out, err = gmvae(
        f"report {ON_RUN} --labels {tmp_path}/labels.csv --out {tmp_path}/report.html"
    )
    assert code == 0 and "measured on 60 labelled images drawn at random" in out
    assert "gmvae: warning: Labels given once only" in err
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img ") > 30 and "http" not in page

    again = gmvae(
        f"suggest {ON_RUN} --labels {tmp_path}/labels.csv --budget 20 --random 10 "
        f"--out {tmp_path}/next.csv --page {tmp_path}/next.html"
    )
    more = pd.read_csv(tmp_path / "next.csv")
    assert again[0] == 0 and 20 <= len(more) <= 30
    assert not more["index"].isin(table["index"]).any()

    line = f"predict {ON_RUN} --labels {tmp_path}/labels.csv --out {tmp_path}/sure.csv"
    assert gmvae(line)[0] == 0
    every = pd.read_csv(tmp_path / "sure.csv", keep_default_na=False)
    limit = every["confidence"].median()
    code, out, _ = gmvae(f"{line} --min-confidence {limit}")
    sure = pd.read_csv(tmp_path / "sure.csv", keep_default_na=False)
    left = (sure["label"] == "").sum()
    assert f"{left} of {N} left without a label" in out and 0 < left < N
    assert (sure["confidence"] == every["confidence"]).all() and (every["label"] != "").all()
    assert ((sure["confidence"] < limit) == (sure["label"] == "")).all()


def test_labels_like_formulas_go_through_a_csv_and_back(gmvae, tmp_path):
    labels = tmp_path / "labels.csv"
    signs = ('"\'=1+1"', "-", "+4.5", "@x")
    rows = "".join(f"{i},{signs[i % 4]}\n" for i in range(80))
    labels.write_text(f"index,label\n{rows}")
    found = [entry.label for entry in read_labels(labels).entries[:4]]
    assert found == ["=1+1", "-", "+4.5", "@x"]
    line = f"predict {ON_RUN} --decoder neighbours --labels {labels} --out {tmp_path}/out.csv"
    assert gmvae(line)[0] == 0
    said = set(pd.read_csv(tmp_path / "out.csv", dtype=str)["label"])
    assert said <= {"'=1+1", "-", "+4.5", "'@x"} and len(said) > 1


def test_images_of_another_size_are_fitted_and_it_is_said(gmvae, tmp_path):
    line = f"posterior --run {{work}}/run --images {{work}}/small.npz --out {tmp_path}/q.npz"
    code, _, err = gmvae(line)
    assert code == 0 and "small.npz: images of 20x20, fitted into 28x28" in err
    with np.load(tmp_path / "q.npz") as stored:
        assert stored["q"].shape == (N, 12)


def test_images_the_wrong_way_round_are_noticed(gmvae, work, tmp_path):
    letters = np.load(work / "unlabelled.npz")["images"]
    np.savez(tmp_path / "white.npz", images=255 - letters)
    line = f"posterior --run {{work}}/run --images {tmp_path}/white.npz --out {tmp_path}/q.npz"
    code, _, err = gmvae(line)
    assert code == 0 and "wrong way round" in err
    (tmp_path / "labels.csv").write_text("index,label\n0,a\n1,b\n2,c\n")
    code, _, err = gmvae(
        f"report --run {{work}}/run --images {tmp_path}/white.npz --labels {tmp_path}/labels.csv "
        f"--out {tmp_path}/report.html"
    )
    assert code == 0 and "unlike those that the run learned from" in err


def test_train_reads_pictures_of_the_size_asked_for(gmvae, tmp_path):
    from PIL import Image

    for i, image in enumerate(rendered_letters(n=30, seed=1).images):
        Image.fromarray(255 - image).save(tmp_path / f"{i:02d}.png")
    made = gmvae(
        f"train --data {tmp_path} --size 20 --preset quick --epochs 1 --k 3 --out {tmp_path}/run"
    )
    assert made[0] == 0
    run = load_run(tmp_path / "run")
    assert run.model_config.image_shape == (20, 20)
    assert run.provenance["data"]["reading"]["shape"] == [20, 20]
    assert run.provenance["data"]["reading"]["inverted"] is True
    # one picture alone would not be turned round: its border is dark
    (tmp_path / "one").mkdir()
    Image.fromarray(rendered_letters(n=1, seed=2).images[0]).save(tmp_path / "one" / "a.png")
    code, _, err = gmvae(
        f"posterior --run {tmp_path}/run --images {tmp_path}/one --out {tmp_path}/q.npz"
    )
    assert code == 0 and "wrong way round" in err


def test_one_image_has_no_neighbours(gmvae, work, tmp_path):
    letters = np.load(work / "unlabelled.npz")["images"]
    np.savez(tmp_path / "one.npz", images=letters[:1])
    on = f"--run {{work}}/run --images {tmp_path}/one.npz"
    assert gmvae(f"suggest {on} --budget 1 --out {tmp_path}/to_label.csv")[0] == 0
    assert pd.read_csv(tmp_path / "to_label.csv")["index"].tolist() == [0]
    (tmp_path / "labels.csv").write_text("index,label\n0,a\n")
    line = f"predict {on} --labels {tmp_path}/labels.csv --out {tmp_path}/out.csv"
    for decoder in ("neighbours", "pooled"):
        assert "images: found one, expected" in refused(gmvae(f"{line} --decoder {decoder}"))
    code, out, _ = gmvae(line)
    assert code == 0 and "decoder soft: there is no other image to ask" in out


def test_sweep_prints_the_summary_and_goes_on(gmvae, tmp_path):
    line = f"sweep --run {{work}}/run --data {{work}}/letters.npz --seeds 2 --out {tmp_path}/s.csv"
    assert gmvae(f"{line} --n-labels 100")[0] == 0
    code, out, _ = gmvae(f"{line} --n-labels 100,200")
    assert code == 0 and "soft" in out and "200" in out
    table = pd.read_csv(tmp_path / "s.csv")
    assert len(table) == 5 * 2 * 2 and set(table["n_labels"]) == {100, 200}


def test_train_resumes_a_finished_run_and_refuses_to_write_over_it(gmvae):
    line = "train --data {work}/letters.npz --preset quick --out {work}/run --epochs 2 --k 12"
    assert gmvae(f"{line} --seed 3 --resume")[0] == 0
    assert "a finished run" in refused(gmvae(f"{line} --seed 3"))
    assert "training.seed = 3, expected 4" in refused(gmvae(f"{line} --seed 4 --resume"))


LABELS = "index,label\n0,a\n1,b\n"
ON_RUN = "--run {work}/run --images {work}/unlabelled.npz"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("fly", "invalid choice: 'fly'"),
        ("train --data {work}/letters.npz", "required: --out"),
        ("train --data {work}/letters.npz --out {work}/x --preset great", "choose from"),
        ("train --data {work}/letters.npz --out {work}/x --epochs 0", "--epochs: found '0'"),
        ("train --data {work}/letters.npz --out {work}/x --k many", "--k: found 'many'"),
        ("train --data {work}/letters.npz --out {work}/x --seed -1", "--seed: found '-1'"),
        ("train --data {work}/missing.npz --out {work}/x", "missing.npz: no such file"),
        ("train --data {work}/letters.npz --out {work}/letters.npz", "expected a folder"),
        ("train --data {work}/letters.npz --out {work}/x --device abacus", "--device: found"),
        (f"posterior {ON_RUN} --out {{work}}/none/q.npz", "--out: found"),
        (f"posterior {ON_RUN} --out {{work}}", "--out: found"),
        (f"posterior {ON_RUN} --out {{work}}/unlabelled.npz", "an input"),
        (f"posterior {ON_RUN} --out {{work}}/out --device abacus", "--device: found 'abacus'"),
        (
            "posterior --run {work} --images {work}/letters.npz --out {work}/out",
            "no provenance.json",
        ),
        ("train --data {work}/letters.npz --out {work}/x --size 4", "--size: found '4'"),
        (f"suggest {ON_RUN} --random 601 --out {{work}}/out", "random: found 601, expected 1 to"),
        (f"suggest {ON_RUN} --out {{work}}/out --page {{work}}/none/p.html", "--page: found"),
        (f"suggest {ON_RUN} --out {{work}}/out --page {{work}}/Out", "which --out is"),
        ("predict {work}/run a.csv b c", "unrecognized arguments: c"),
        ("suggest {work}/run --run {work}/run", "--run: found"),
        ("suggest --page p.html", "required: --run"),
        ("posterior {work}/run", "required: --images, --out"),
        ("train --data= -o x", "--data: found an empty path"),
        ("train --data ~nobody-here/x -o x", "--data: found ~nobody-here/x"),
        (f"posterior {ON_RUN} --out {{work}}/out --device meta", "--device: found 'meta'"),
        (f"posterior {ON_RUN} --out {{work}}/run/posterior.npz", "a file of a run"),
        (
            f"predict {ON_RUN} --labels {{work}}/l.csv --min-confidence 2 --out {{work}}/out",
            "--min-confidence: found '2', expected a number from 0 to 1",
        ),
        (f"report {ON_RUN} --labels {{work}}/none.csv --out {{work}}/out", "No such file"),
        (f"suggest {ON_RUN} --budget 601 --out {{work}}/out", "budget: found 601, expected 1 to"),
        (f"suggest {ON_RUN} --budget ten --out {{work}}/out", "--budget: found 'ten'"),
        (f"predict {ON_RUN} --labels {{work}}/none.csv --out {{work}}/out", "No such file"),
        (f"predict {ON_RUN} --labels {{work}} --out {{work}}/out", "found no picture in"),
        (
            f"predict {ON_RUN} --labels {{work}}/none.csv --decoder magic --out {{work}}/out",
            "--decoder: invalid choice",
        ),
        (
            "sweep --run {work}/run --data {work}/unlabelled.npz --n-labels 9 --out {work}/out",
            "no labels",
        ),
        (
            "sweep --run {work}/run --data {work}/letters.npz --n-labels 9,x --out {work}/out",
            "--n-labels: found 'x'",
        ),
        (
            "sweep --run {work}/run --data {work}/letters.npz --n-labels 600 --out {work}/out",
            "n_labels: found 600",
        ),
        (
            "sweep --run {work}/run --data {work}/letters.npz --seeds 0 --n-labels 9 --out x",
            "--seeds: found '0'",
        ),
    ],
)
def test_bad_arguments_end_in_one_line_and_no_output(gmvae, work, line, message):
    before = sorted(work.rglob("*"))
    assert message in refused(gmvae(line))
    assert sorted(work.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: found nothing, expected the columns index,label"),
        (b"index,label\n", "found no label"),
        (b"index,label\n3,\n", "found no label"),
        (b"index,name\n1,a\n", "line 1: found 'index', 'name', expected the columns"),
        (b"1,a\n2,b\n", "line 1: found '1', 'a', expected the columns"),
        (b"index,label\n0,a\n600,b\n", "line 3: found index 600, expected 0 to 599"),
        (b"index,label\n-1,a\n", "line 2: found index '-1', expected a whole number"),
        (b"index,label\n1.5,a\n", "line 2: found index '1.5'"),
        (b"index,label\n,a\n", "line 2: found the label 'a' of no image"),
        (b"index,label\n1e3,a\n", "line 2: found index '1e3'"),
        ("index,label\n\u0663,a\n".encode(), "line 2: found index"),
        (b"index,label\n" + b"9" * 5000 + b",a\n", "line 2: found index '999"),
        (b"index,label\n0,a\n1,b\n0,c\n", "line 4: found label 'c' for image 0, expected 'a'"),
        (b"index,label\n0,a,b\n", "line 2: found 3 fields, expected 2"),
        (b'index,label\n0,"a\n', "no CSV"),
        (b'index,label\n0,"a"b\n', "line 2: no CSV"),
    ],
)
def test_bad_labels_name_the_file_and_the_line(gmvae, tmp_path, content, message):
    labels, out = tmp_path / "labels.csv", tmp_path / "predictions.csv"
    labels.write_bytes(content)
    last = refused(gmvae(f"predict {ON_RUN} --labels {labels} --out {out}"))
    assert str(labels) in last and message in last
    assert not out.exists()


def test_labels_csv_as_people_write_it(tmp_path):
    path = tmp_path / "labels.csv"
    text = 'cluster,label,index\r\n7, e ,3\r\n7,"a, b",1\r\n\r\n9,,2\r\n7,e,3\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = [(entry.line, entry.index, entry.label) for entry in read_labels(path).entries]
    assert found == [(2, 3, "e"), (3, 1, "a, b"), (6, 3, "e")]


def test_interrupt_exits_with_130_and_one_line(gmvae, monkeypatch, tmp_path):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("gmvae_lib.vae.training.fit", interrupt)
    code, out, err = gmvae(f"train --data {{work}}/letters.npz --out {tmp_path}/run")
    assert (code, out) == (130, "") and len(err.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"example:\n  gmvae {command} " in capsys.readouterr().out


@pytest.mark.parametrize("page", ["README.md", "book/howto.md"])
def test_commands_on_the_pages_are_understood(page):
    text = (Path(__file__).parents[1] / page).read_text(encoding="utf-8")
    lines = re.findall(r"^gmvae (.*?)(?:\s+#.*)?$", text, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        args = cli._placed(*cli._parser().parse_known_args(line.split()))
        assert args.command.__name__ == line.split()[0]


def test_help_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from gmvae_lib.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("usage: gmvae") and shown.stdout.endswith("\n[]\n")


def test_as_a_module_it_passes_the_exit_code_on():
    command = [sys.executable, "-m", "gmvae_lib", "predict"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith("gmvae: error: ") and ended.stderr.count("\n") == 1
