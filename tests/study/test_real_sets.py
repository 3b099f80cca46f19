"""The protocol for real sets: what was fixed beforehand stays as it is."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.data.storage import array_digest
from gmvae_lib.errors import InputError
from gmvae_lib.study import real_ceilings, real_rivals, real_sets, real_tables

ROOT = Path(__file__).resolve().parents[2]
STORED = json.loads((ROOT / real_sets.DRAWS_FILE).read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(15):
            (tmp_path / "pets" / name / f"{i}.png").touch()
    return tmp_path / "pets"


@pytest.mark.parametrize("name", real_sets.SETS)
def test_the_published_draws_are_made_again(name):
    fixed = STORED[name]
    draws = real_sets.labelled_rows(fixed["used"], fixed["classes"])
    assert array_digest(draws) == fixed["draws"]
    assert len(real_sets.rows_used(fixed["pictures"])) == fixed["used"] <= real_sets.MOST


def test_the_published_table_holds_all_cells_of_its_sets():
    table = pd.read_csv(ROOT / real_sets.OUT)
    quick = table[~table["method"].isin(real_rivals.SLOW)]
    assert not table.duplicated(real_sets._CELL).any()
    names = {real_sets.OURS, *real_rivals.QUICK}
    for (name, _), part in quick.groupby(["set", "input"]):
        assert set(part["method"]) == names and len(part) == 6 * 4 * 21
        expected = STORED[name]["classes"] * part["per_class"]
        assert (part["n_labels"] == expected).all()
    features = table[table["input"] == "features"]
    assert set(features["set"]) == set(real_sets.SETS)


def test_draws_of_one_row_hold_each_picture_once():
    draws = real_sets.labelled_rows(300, 4)
    assert draws.shape == (20, 40) and 0 <= draws.min() and draws.max() < 300
    assert all(len(np.unique(row)) == 40 for row in draws)


def test_another_list_of_pictures_is_noticed(folder, tmp_path, capsys):
    out = tmp_path / "draws.json"
    arguments = ["--draws", str(folder), "--draws-file", str(out)]
    assert real_sets.main(arguments) == 0 and "added to" in capsys.readouterr().out
    assert real_sets.main(arguments) == 0 and "pets: as in" in capsys.readouterr().out
    (folder / "cat" / "0.png").rename(folder / "cat" / "z.png")
    assert real_sets.main(arguments) == 1 and "NOT as in" in capsys.readouterr().out


def test_bad_folders_end_in_one_line(folder, tmp_path, capsys):
    out = ["--draws-file", str(tmp_path / "draws.json")]
    for bad, said in ((folder / "cat", "found 0 class folders"), (tmp_path / "no", "no such")):
        assert real_sets.main(["--draws", str(bad), *out]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "draws.json").exists()
    for path in list(folder.glob("*/1*.png")):
        path.unlink()
    assert real_sets.main(["--draws", str(folder), *out]) == 2
    assert "expected more than 20" in capsys.readouterr().err


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder of sixty small pictures of two kinds, and a study that is soon done."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, colour in (("blue", (40, 60, 220)), ("red", (220, 60, 40))):
        (tmp_path / "two" / name).mkdir(parents=True)
        for i in range(30):
            noise = rng.integers(-30, 30, (40, 40, 3))
            picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "two" / name / f"{i:02}.png")
    monkeypatch.setenv("GMVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gmvae_lib.vae.automatic.STEPS", 2)
    monkeypatch.setattr("gmvae_lib.study.networks.STEPS", 2)
    for name, value in (("PER_CLASS", (2, 4)), ("SLOW_PER_CLASS", (4,)), ("DRAWS", 3)):
        monkeypatch.setattr(real_sets, name, value)
    return tmp_path / "two"


def run_study(folder, **options):
    places = {name: folder.parent / name for name in ("work", "draws", "out.csv")}
    return real_sets.study(
        [folder], places["out.csv"], places["work"], places["draws"], epochs=3, **options
    )


@pytest.mark.slow
def test_the_study_measures_a_folder_never_seen_and_resumes(small, monkeypatch):
    table = run_study(small)
    runs = (small.parent / "out_runs.csv").read_text()
    assert "two,pixels,60,12" in runs and "two,features,60,12" in runs
    # two inputs, six methods, two budgets, three draws and one suggestion
    assert len(table) == 2 * 6 * 2 * 4 and not table.duplicated(real_sets._CELL).any()
    assert table["n_labels"].isin([4, 8]).all() and table["accuracy"].between(0, 1).all()
    features = table[(table["input"] == "features") & (table["per_class"] == 4)]
    assert (features.groupby("method")["accuracy"].mean() > 0.9).all()  # blue is not red
    monkeypatch.setattr(real_sets.GMVAEClassifier, "fit", None)  # nothing is trained again
    pd.testing.assert_frame_equal(run_study(small), table)


@pytest.mark.slow
def test_measures_that_explain(small, monkeypatch):
    """Blue and red are told apart by any measure; runs that are not there are left out."""
    run_study(small, inputs=("features",))
    out = small.parent / "ceilings.csv"
    arguments = [str(small), "--out", str(out), "--work", str(small.parent / "work")]
    assert real_ceilings.main(arguments) == 0
    table = pd.read_csv(out)
    assert table["input"].tolist() == ["features"]
    assert (table[["near_input", "near_encoder", "purity", "all_labels"]] > 0.9).all(axis=None)
    monkeypatch.setattr(real_ceilings, "read_set", None)  # what is there is not measured again
    assert real_ceilings.main(arguments) == 0


@pytest.mark.slow
def test_slow_rivals_join_the_table(small):
    run_study(small)
    table = run_study(small, slow=True)
    slow = table[table["method"].isin(["XGBoost", "convolutional net"])]
    assert len(slow) == 2 * 3 and (slow["input"] == "pixels").all()


def test_pictures_that_changed_are_refused(small):
    real_sets.check_draws([small], small.parent / "draws")
    (small / "red" / "00.png").unlink()
    with pytest.raises(InputError, match="other pictures"):
        run_study(small)
    (small / "x.png").write_bytes((small / "red" / "01.png").read_bytes())
    with pytest.raises(InputError, match="outside class folders"):
        real_sets.read_set(small, "pixels")


def accuracy_rows(method, values, kind="features", name="trash", per_class=4):
    return [
        {"set": name, "input": kind, "method": method, "labels": "random", "per_class": per_class,
         "n_labels": 24, "draw": draw, "accuracy": value, "seconds": 0.0}
        for draw, value in enumerate(values)
    ]  # fmt: skip


def test_duels_are_paired_over_the_draws():
    ours = np.linspace(0.5, 0.9, 20)
    table = pd.DataFrame(
        accuracy_rows("GMVAE", ours)
        + accuracy_rows("logistic regression", ours - 0.09)
        + accuracy_rows("k-NN", ours + 0.01)
        + accuracy_rows("Poisson learning", ours[::-1])
    )
    found = real_tables.duels(table).set_index("method")
    assert found["outcome"].to_dict() == {
        "logistic regression": "win", "k-NN": "loss", "Poisson learning": "tie"
    }  # fmt: skip
    assert found.loc["logistic regression", "gain"] == pytest.approx(9)
    assert real_tables.aim(found.reset_index())["reached"].tolist() == ["yes"]
    assert real_tables.wins_and_losses(found.reset_index()).loc[("features", "k-NN"), "loss"] == 1


def test_mean_ranks_are_over_sets_and_both_inputs():
    rows = []
    for name, lead in (("a", 0.1), ("b", -0.1), ("c", 0.1)):
        rows += accuracy_rows("GMVAE", [0.5 + lead] * 20, name=name)
        rows += accuracy_rows("k-NN", [0.5] * 20, "pixels", name)
        rows += accuracy_rows("XGBoost", [0.9] * 3, "pixels", name)  # too few draws to be ranked
    ranks = real_tables.mean_ranks(pd.DataFrame(rows)).set_index("method")
    assert set(ranks.index) == {"GMVAE", "k-NN"}
    assert ranks["rank"].to_dict() == pytest.approx({"GMVAE": 4 / 3, "k-NN": 5 / 3})
    assert ranks.loc["GMVAE", "low"] >= 1 and ranks.loc["GMVAE", "high"] <= 2
