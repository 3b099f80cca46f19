"""The preset "auto": what it chooses, why, and that a training that resumes keeps the choice."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from gmvae_lib.collection import Collection
from gmvae_lib.data.features import FeatureSet
from gmvae_lib.data.image_set import ImageSet
from gmvae_lib.errors import InputError
from gmvae_lib.vae import automatic
from gmvae_lib.vae.automatic import Choice, choose, choose_views
from gmvae_lib.vae.config import VIEWS_OF


@pytest.fixture
def images():
    return ImageSet(np.random.default_rng(0).integers(0, 256, (60, 12, 12), dtype=np.uint8))


def agreeing(monkeypatch, **agreement):
    monkeypatch.setattr(automatic, "agreement_by_kind", lambda *args: agreement)


@pytest.mark.parametrize(
    "agreement, kind",
    [
        ({"pen": 2.0, "photograph": 1.0, "texture": 0.5}, "pen"),
        ({"pen": 2.0, "photograph": 1.85, "texture": 0.5}, "photograph"),
        ({"pen": 1.0, "photograph": 0.5, "texture": 1.2}, "texture"),
        ({"pen": 0.0, "photograph": 0.0, "texture": 0.0}, "texture"),
    ],
)
def test_the_strongest_views_that_still_agree_are_chosen(agreement, kind):
    assert choose_views(agreement) == kind


def test_the_choice_is_said_in_one_line(images, monkeypatch):
    agreeing(monkeypatch, pen=0.2, photograph=1.1, texture=0.3)
    choice = choose(images)
    assert choice.preset == "quick" and choice.K == 12
    assert choice.views == VIEWS_OF["photograph"]
    assert "views for a photograph" in choice.sentence and "pen 0.20" in choice.sentence
    rows = FeatureSet(images, np.ones((60, 4)), {"name": "test"})
    assert choose(rows).preset == "features"


def test_a_training_that_resumes_keeps_the_choice(images, tmp_path, monkeypatch):
    agreeing(monkeypatch, pen=1.0, photograph=0.1, texture=0.1)
    first = choose(images, out=tmp_path / "run")
    monkeypatch.setattr(automatic, "agreement_by_kind", None)  # not asked again
    assert choose(images, out=tmp_path / "run", resume=True) == first
    (tmp_path / "run" / automatic.FILE).write_text("{}")
    with pytest.raises(InputError, match="auto.json: found no choice"):
        choose(images, out=tmp_path / "run", resume=True)
    stored = json.dumps(asdict(Choice("enormous", 9, (), "")))
    (tmp_path / "run" / automatic.FILE).write_text(stored)
    with pytest.raises(InputError, match="found no choice"):
        choose(images, out=tmp_path / "run", resume=True)


def test_a_folder_in_use_is_refused_before_the_trials(images, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "provenance.json").write_text("{}")
    monkeypatch.setattr(automatic, "agreement_by_kind", None)
    with pytest.raises(InputError, match="found a finished run, expected a new folder"):
        choose(images, out=tmp_path / "run")


def test_a_run_is_trained_as_was_chosen(images, monkeypatch, tmp_path):
    agreeing(monkeypatch, pen=0.1, photograph=0.2, texture=1.0)
    made = Collection.train(images, "auto", None, 1, out=tmp_path / "run")
    assert made.run.train_config.views == VIEWS_OF["texture"] and made.run.config.K == 12
    assert made.chosen.startswith("views for a texture")
    assert 0 <= made.embedding.about["agreement"] <= 1
    again = Collection.train(images, "auto", 5, 1, out=tmp_path / "other")
    assert again.run.config.K == 5  # what the caller asks for


def test_trials_of_all_kinds_give_their_agreement(images, monkeypatch):
    monkeypatch.setattr(automatic, "STEPS", 2)
    found = automatic.agreement_by_kind(images.images)
    assert list(found) == list(VIEWS_OF) and all(-1e-3 < v <= np.log(12) for v in found.values())
