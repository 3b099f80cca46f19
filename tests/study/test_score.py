"""The benchmark of few labels: its draws, and the command that scores predictions."""

import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.data.storage import file_digest
from gmvae_lib.errors import InputError
from gmvae_lib.study import label_draws, score
from gmvae_lib.study.entries import enter
from gmvae_lib.study.experiments import draw_labelled
from gmvae_lib.study.score import add_rows, main, read_predictions
from gmvae_lib.vae.runs import load_run

ROOT = Path(__file__).parents[2]
N = 100_000
ONES = np.ones((3, N), np.uint8)
LETTERS = np.array(list(string.ascii_lowercase))


@pytest.fixture(scope="module")
def draws():
    return label_draws.read_draws(ROOT / label_draws.FILE)


@pytest.fixture(scope="module")
def truth():
    return score.true_letters("letters-100k", ROOT / score.RUN)


@pytest.fixture
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def written(path, **arrays):
    arrays = {name.replace("_", "-"): array for name, array in arrays.items()}
    np.savez_compressed(path, **{"draws": np.array(label_draws.SHA256)} | arrays)
    return str(path)


# ---- the draws ----------------------------------------------------------------------------------


def test_the_file_is_the_published_one():
    assert file_digest(ROOT / label_draws.FILE) == label_draws.SHA256


@pytest.mark.parametrize("name", label_draws.SETS)
def test_draws_are_rows_without_repetition(name, draws):
    random = draws[f"{name}.random"]
    assert random.shape == (label_draws.DRAWS, max(label_draws.N_LABELS))
    assert random.min() >= 0 and random.max() < label_draws.SETS[name]
    assert all(len(set(row)) == len(row) for row in random.tolist())
    assert len({tuple(row[:26]) for row in random.tolist()}) == len(random)


def test_this_numpy_makes_the_random_draws_again(draws):
    for name in label_draws.SETS:
        assert np.array_equal(label_draws.random_draws(name), draws[f"{name}.random"])


def test_the_draws_are_those_of_the_other_tables(draws):
    for n, seed in ((73, 0), (291, 19)):
        labelled = label_draws.labelled_rows(draws, "letters-100k", "random", n, seed)
        assert np.array_equal(labelled, draw_labelled(N, n, seed))


@pytest.mark.slow
def test_suggest_chooses_the_same_images_again(draws):
    chosen = label_draws.chosen_images(load_run(ROOT / score.RUN))
    stored = draws["letters-100k.chosen"]
    assert len(set(stored.tolist())) == len(stored)
    # rounding on another processor may exchange images that cover equally much
    assert len(set(chosen[:100]) & set(stored[:100])) >= 95


def test_another_file_of_draws_is_refused(tmp_path):
    np.savez(tmp_path / "draws.npz", **{"letters-100k.random": np.zeros((100, 728), np.int32)})
    with pytest.raises(InputError, match="expected 5b3091e0a755, the published draws"):
        label_draws.read_draws(tmp_path / "draws.npz")
    with pytest.raises(InputError, match="no such file"):
        label_draws.read_draws(tmp_path / "none.npz")


# ---- scores -------------------------------------------------------------------------------------


def test_scores_count_unlabelled_images_alone(draws, truth):
    answers = np.stack([truth] * 3).astype(np.uint8)
    wrong = [0, 500, 2000]  # images without a label that draw d gets wrong
    for draw, (answer, n_wrong) in enumerate(zip(answers, wrong, strict=True)):
        labelled = label_draws.labelled_rows(draws, "letters-100k", "random", 73, draw)
        answer[labelled] = (answer[labelled] + 1) % 26  # must not matter
        others = np.setdiff1d(np.arange(N), labelled)[:n_wrong]
        answer[others] = (answer[others] + 1) % 26
    found = score.score({("random", 73): answers}, draws, "letters-100k", truth).iloc[0]
    expected = 1 - np.array(wrong) / (N - 73)
    assert found["accuracy"] == pytest.approx(expected.mean(), abs=1e-12)
    assert found["sd"] == pytest.approx(expected.std(ddof=1), abs=1e-12)
    half = 4.302653 * expected.std(ddof=1) / np.sqrt(3)  # Student's t, 2 degrees of freedom
    assert found["high"] - found["accuracy"] == pytest.approx(half, rel=1e-6)
    assert (found["worst"], found["worst_draw"]) == (pytest.approx(expected[2]), 2)


def test_the_command_prints_and_adds_rows_once(tmp_path, truth, at_root, capsys):
    path = written(tmp_path / "all.npz", random_26=LETTERS[np.stack([truth] * 3)], chosen_73=truth)
    board = str(tmp_path / "board.csv")
    about = ["--leaderboard", board, "--method", "knows all", "--by", "a test"]
    assert main([path]) == 0
    assert not Path(board).exists()
    assert main([path, *about]) == 0
    table = pd.read_csv(board)
    assert list(table.columns) == score.COLUMNS
    assert table[["labels", "n_labels", "draws", "accuracy"]].values.tolist() == [
        ["random", 26, 3, 1.0],
        ["chosen", 73, 1, 1.0],
    ]
    assert set(table["sha256"]) == {file_digest(path)}
    before = Path(board).read_bytes()
    capsys.readouterr()
    assert main([path, *about]) == 2
    assert "found 'knows all' with 26 random labels already" in capsys.readouterr().err
    assert Path(board).read_bytes() == before


def test_a_csv_scores_as_the_same_npz(tmp_path, truth, at_root, capsys):
    answers = np.stack([(truth + np.arange(N) % k // (k - 1)) % 26 for k in (3, 4, 5)])
    table = pd.DataFrame({f"random-73-{d}": LETTERS[answer] for d, answer in enumerate(answers)})
    path = tmp_path / "some.csv"
    path.write_text(f"# draws: {label_draws.SHA256}\n{table.to_csv(index=False)}")
    assert main([str(path)]) == 0
    from_csv = capsys.readouterr().out
    assert main([written(tmp_path / "some.npz", random_73=answers)]) == 0
    assert capsys.readouterr().out == from_csv
    assert "0.7389" in from_csv  # the mean of 2/3, 3/4 and 4/5


def test_the_draws_may_be_stated_as_bytes(tmp_path):
    path = written(tmp_path / "a.npz", random_73=ONES, draws=np.array(b"abc"))
    assert read_predictions(path, "abc")["random", 73].shape == (3, N)


def test_the_leaderboard_keeps_the_best_first(tmp_path):
    def row(method, accuracy, n=73):
        values = [
            "letters-100k",
            "random",
            n,
            method,
            "me",
            3,
            accuracy,
            0.1,
            0.9,
            0.1,
            0.1,
            0,
            "a",
        ]
        return pd.DataFrame([values], columns=score.COLUMNS)

    for method, accuracy, n in (("a", 0.5, 73), ("b", 0.7, 73), ("c", 0.6, 73), ("d", 0.9, 26)):
        board = add_rows(tmp_path / "board.csv", row(method, accuracy, n))
    assert list(board["method"]) == ["d", "b", "c", "a"]
    assert list(pd.read_csv(tmp_path / "board.csv")["method"]) == ["d", "b", "c", "a"]


# ---- bad input ----------------------------------------------------------------------------------

BAD = {
    "too few images": ({"random_73": ONES[:, :99]}, r"shape \[3, 99\], expected \[draws, N\]"),
    "one dimension": ({"random_73": ONES[0]}, r"shape \[100000\]"),
    "too few draws": ({"random_73": ONES[:2]}, "has 2 draws, expected 3 to 100"),
    "another number": ({"random_74": ONES}, "found an array 'random-74', expected random-N"),
    "a zero before": ({"random_073": ONES}, "found an array 'random-073', expected random-N"),
    "another name": ({"answers": ONES}, "found an array 'answers'"),
    "a 27th letter": ({"random_73": ONES * 26}, "says '26' of image 0 in draw 0"),
    "a negative": ({"random_73": ONES.astype(int) * -1}, "says '-1'"),
    "capitals": ({"random_73": np.full((3, N), "A")}, "says 'A' of image 0 in draw 0"),
    "probabilities": ({"random_73": ONES / 2}, "holds float64, expected letters"),
    "nothing": ({}, "found no predictions"),
    "other draws": ({"draws": np.array("abc"), "random_73": ONES}, "found draws 'abc', expected"),
    "empty draws": ({"draws": np.array([], "U1"), "random_73": ONES}, "found draws '', expected"),
    "two sets": ({"random_73": ONES, "random_26": np.ones((3, 145_600), np.uint8)}, "two sets"),
}


@pytest.mark.parametrize("arrays, message", BAD.values(), ids=BAD)
def test_predictions_that_do_not_fit_are_refused(arrays, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        read_predictions(written(tmp_path / "bad.npz", **arrays), label_draws.SHA256)
    assert "\n" not in str(error.value) and "bad.npz" in str(error.value)


HEAD = f"# draws: {label_draws.SHA256}\n"
BAD_TABLES = {
    "no first line": ("random-73-0\na\n", "in line 1, expected '# draws: SHA256'"),
    "a gap": (HEAD + "random-73-0,random-73-2\na,a\n", r"for draws \[0, 2\], expected 0 to 1"),
    "a column twice": (HEAD + "random-73-0,random-73-0\na,a\n", "found a column 'random-73-0.1'"),
    "an index": (HEAD + "index,random-73-0\n0,a\n", "found a column 'index'"),
    "mixed": (HEAD + "chosen-73\na\n3\n", "says 'a' of image 0"),
    "a long number": (HEAD + "chosen-73\n3\n999999999999999999999999\n", "of image 1 in draw 0"),
    "few rows": (HEAD + "chosen-73\na\n\n", r"shape \[1, 2\]"),
    "uneven": (HEAD + 'chosen-73\n"a\n', "not a table|shape"),
    "bytes": (b"\xff\xfe\x00", "not a table|line 1"),
}


@pytest.mark.parametrize("text, message", BAD_TABLES.values(), ids=BAD_TABLES)
def test_tables_that_do_not_fit_are_refused(text, message, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message) as error:
        read_predictions(path, label_draws.SHA256)
    assert "\n" not in str(error.value) and "bad.csv" in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["none.npz"],
        ["{here}/test_score.py"],
        ["{good}", "--leaderboard", "board.csv"],
        ["{good}", "--draws", "{good}"],
        ["{good}", "--leaderboard", "{here}/test_score.py", "--method", "a", "--by", "b"],
        # imports torchvision
        pytest.param(["{chosen}", "--data-dir", "{here}"], marks=pytest.mark.slow),
    ],
)
def test_bad_arguments_end_in_one_line_and_2(arguments, tmp_path, at_root, capsys):
    good = written(tmp_path / "good.npz", chosen_26=ONES[0])
    chosen = written(tmp_path / "chosen.npz", chosen_26=np.ones(145_600, np.uint8))
    here = Path(__file__).parent
    before = Path(__file__).read_bytes()
    assert main([a.format(good=good, chosen=chosen, here=here) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("score: error: ") and captured.err.count("\n") == 1
    assert Path(__file__).read_bytes() == before and not Path("board.csv").exists()


def test_chosen_labels_exist_for_the_book_s_letters_only(draws):
    with pytest.raises(InputError, match="chosen labels for letters-official, which has none"):
        score.score({("chosen", 26): ONES[:1]}, draws, "letters-official", ONES[0])


# ---- entries ------------------------------------------------------------------------------------


def test_an_entry_resumes_and_is_scored(tmp_path, draws, truth, at_root, capsys):
    from sklearn.dummy import DummyClassifier

    X, fits = np.zeros((N, 1), np.float32), []

    def method(n_labels, seed, n_threads):
        fits.append((n_labels, seed))
        return DummyClassifier(strategy="most_frequent")

    path = enter("the commonest", method, X, truth, draws, tmp_path, 3, n_labels=(26,))
    assert fits == [(26, 0), (26, 0), (26, 1), (26, 2)]  # the chosen ones first
    enter("the commonest", method, X, truth, draws, tmp_path, 3, n_labels=(26, 73))
    assert [n for n, _ in fits[4:]] == [73] * 4
    enter("the commonest", method, X, truth, draws, tmp_path, 5, n_labels=(26,))
    assert fits[8:] == [(26, 3), (26, 4)]
    assert main([str(path)]) == 0
    labelled = label_draws.labelled_rows(draws, "letters-100k", "chosen", 26)
    commonest = np.bincount(truth[labelled]).argmax()
    expected = np.delete(truth == commonest, labelled).mean()
    assert f"{expected:.4f}" in capsys.readouterr().out


# ---- the file's own command ---------------------------------------------------------------------


def test_the_draws_are_compared_and_never_overwritten(
    tmp_path, at_root, capsys, draws, monkeypatch
):
    chosen = draws["letters-100k.chosen"].copy()
    chosen[:91] = -1  # an eighth of them
    monkeypatch.setattr(label_draws, "chosen_images", lambda run: chosen)
    assert label_draws.main([]) == 0
    said = capsys.readouterr().out
    assert said.count("100.00%") == 2 and "letters-100k.chosen [728]: 87.50%" in said
    kept = tmp_path / "draws.npz"
    kept.write_bytes(b"mine")
    assert label_draws.main(["--write", "--file", str(kept)]) == 2
    assert "found a file, expected a new name" in capsys.readouterr().err
    assert kept.read_bytes() == b"mine"
    assert label_draws.main(["--run", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--draws", "none.npz"], ["--run", "none"], ["--data", "none.idx"]]
)
def test_entries_end_in_one_line_and_2(arguments, tmp_path, at_root, capsys):
    from gmvae_lib.study import entries

    assert entries.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()
