"""The table of the held-out protocol."""

import numpy as np
import pandas as pd
import pytest

from gmvae_lib.errors import InputError
from gmvae_lib.study import held_out, mnist_few_labels

STUDIES = pd.DataFrame(
    [
        {"study": "held-out", "variant": "full recipe"}
        | {f"held-out {name} {n}": n / 1000 for name in held_out.METHODS for n in held_out.LABELS}
    ]
)


def measured():
    """Cells whose accuracy tells model and draw: 0.01 a model, 0.0001 a draw."""
    return pd.DataFrame(
        [
            {"model": m, "method": "soft", "n_labels": 73, "seed": d}
            | {"accuracy": 0.5 + 0.01 * m + 0.0001 * d}
            for m in range(10)
            for d in range(8)
        ]
    )


def test_new_models_meet_new_draws_and_seen_ones_stand_apart():
    table = held_out.assemble(measured(), STUDIES).set_index("where")
    new, seen = table.loc["new models and draws"], table.loc["models and draws in view"]
    half = table.loc["models in view, new draws"]
    assert (half["models"], half["draws"]) == (2, 3)
    assert half["accuracy"] == pytest.approx(0.5 + 0.01 * 4.5 + 0.0001 * 6)
    assert (new["models"], new["draws"]) == (8, 3) and (seen["models"], seen["draws"]) == (2, 5)
    models = [0, 2, 3, 4, 5, 6, 7, 9]
    assert new["accuracy"] == pytest.approx(0.5 + 0.01 * np.mean(models) + 0.0001 * 6)
    assert seen["accuracy"] == pytest.approx(0.5 + 0.01 * 4.5 + 0.0001 * 2)
    assert new["low"] < new["accuracy"] < new["high"]
    kept = table.loc["letters kept out"]
    assert len(kept) == 12 and kept["low"].isna().all()
    assert set(kept["accuracy"]) == {0.073, 0.1, 0.291, 0.728}


def test_a_model_whose_measurement_has_not_ended_is_left_out():
    cells = measured()
    cells = cells[~((cells["model"] == 9) & (cells["seed"] == 7))]
    table = held_out.assemble(cells, STUDIES)
    assert table.loc[table["where"] == "new models and draws", "models"].item() == 7


def test_digits_join_where_they_were_measured():
    rows = [
        (m, 10, d, name, 0.9 + 0.01 * m)
        for m in range(3)
        for d in range(4)
        for name in ("soft", mnist_few_labels.OURS, mnist_few_labels.POISSON)
    ]
    digits = pd.DataFrame(rows, columns=mnist_few_labels.COLUMNS)
    table = held_out.assemble(measured(), STUDIES, digits)
    found = table[table["where"] == "MNIST"]
    assert found["method"].tolist() == ["soft", "graph and neighbours"]
    assert found["accuracy"].tolist() == pytest.approx([0.91, 0.91])


def test_the_cells_come_from_the_files_of_two_way(tmp_path):
    cells = measured()
    for m, group in cells.groupby("model"):
        group.drop(columns="model").to_csv(tmp_path / f"model{m}-q.csv", index=False)
    (tmp_path / "model0-q.csv.provenance.json").write_text("{}")
    assert len(held_out.cells(tmp_path)) == len(cells)
    with pytest.raises(InputError, match="found no model0-q.csv"):
        held_out.cells(tmp_path / "none")
    with pytest.raises(InputError, match="found 2 rows of held-out"):
        held_out.kept_out(pd.concat([STUDIES, STUDIES]))


def test_the_command_writes_the_table(tmp_path, capsys):
    for m, group in measured().groupby("model"):
        group.drop(columns="model").to_csv(tmp_path / f"model{m}-q.csv", index=False)
    STUDIES.to_csv(tmp_path / "studies.csv", index=False)
    arguments = ["--two-way", str(tmp_path), "--results", str(tmp_path)]
    assert held_out.main(arguments) == 0
    assert len(pd.read_csv(tmp_path / "held_out.csv")) == 15
    (tmp_path / "studies.csv").unlink()
    capsys.readouterr()
    assert held_out.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
