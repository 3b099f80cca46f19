"""The constants that the held-out protocol froze."""

import json
from pathlib import Path

import pytest

from gmvae_lib.study import frozen

ROOT = Path(__file__).parents[2]


def test_the_code_has_the_frozen_constants():
    # a change here ends the protocol: what held_out.csv reports was measured with other constants
    stored = json.loads((ROOT / frozen.OUT).read_text())
    assert frozen.changes(stored, frozen.constants()) == []


def test_every_field_of_the_recipe_is_listed_or_without_use():
    from dataclasses import fields

    from gmvae_lib.vae.config import GMVAEConfig, TrainConfig

    names = {f.name for part in (GMVAEConfig, TrainConfig) for f in fields(part)}
    listed = {row["name"] for row in frozen.constants() if row["part"] == "recipe"}
    assert names - listed == {"encoder_hidden", "last_activation", "residual", "seed"}
    assert {name for names in frozen.OTHER_FIELDS.values() for name in names} <= listed


def test_changed_constants_are_reported_and_the_file_is_kept(tmp_path, capsys):
    out = tmp_path / "frozen.json"
    assert frozen.main(["--out", str(out)]) == 0
    rows = json.loads(out.read_text())
    rows[0]["value"], changed = 99, rows.pop()
    text = json.dumps(rows)
    out.write_text(text)
    capsys.readouterr()
    assert frozen.main(["--out", str(out)]) == 1
    said = capsys.readouterr().out
    assert "recipe, K: 99 in the file, 100 in the code" in said
    assert f"{changed['part']}, {changed['name']}: nothing in the file" in said
    assert out.read_text() == text


@pytest.mark.parametrize("text", ["", "{}x", "[1]", "[{}]"])
def test_other_files_are_refused(text, tmp_path, capsys):
    out = tmp_path / "frozen.json"
    out.write_text(text)
    assert frozen.main(["--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
