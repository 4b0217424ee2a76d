"""What commands wrote becomes what is shipped: each file in its place, and measures of other weights nowhere."""

import json

import pytest

from detector.card import MODELS
from detector.errors import ModelError
from scripts.ship_results import ship_measured, ship_run


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def read_card(models):
    return json.loads((models / "detector.json").read_text())


@pytest.fixture
def run(tmp_path):
    """The folder of a training, with its gate and evaluations."""
    folder = tmp_path / "run"
    write(folder / "detector.json", {"sha256": "new", "performance": {"val": {}, "test": {}}})
    for name in ("detector.keras", "gate.npz", "training_log.jsonl", "evaluation_val/plots/only_for_val.json"):
        write(folder / name, name)
    for split in ("val", "test"):
        write(folder / f"evaluation_{split}" / "metrics.json", {"split": split})
    write(folder / "evaluation_test" / "plots" / "roc.json", {"split": "test"})
    return folder


@pytest.fixture
def models(tmp_path):
    """Earlier weights, as they are shipped, and how their maps were measured."""
    folder = tmp_path / "models"
    write(folder / "detector.json", {"sha256": "old", "performance": {"saliency": {"peak": 1}}})
    write(folder / "detector.keras", "old weights")
    write(folder / "evaluation" / "plots" / "saliency_peak.json", {})
    return folder


def test_a_run_is_taken_to_the_places_where_the_page_looks(run, models):
    ship_run(run, models)
    assert (models / "detector.keras").read_text() == "detector.keras"
    assert (models / "evaluation" / "training_log.jsonl").read_text() == "training_log.jsonl"
    for split in ("val", "test"):
        assert json.loads((models / "evaluation" / f"{split}.json").read_text()) == {"split": split}
    assert {path.name for path in (models / "evaluation" / "plots").iterdir()} == {"roc.json", "saliency_peak.json"}
    assert not (models / "detector.graph.pb").exists()  # the run had none


def test_other_weights_lose_what_was_measured_of_the_old_maps_and_the_same_keep_it(run, models):
    ship_run(run, models)
    assert "saliency" not in read_card(models)["performance"]
    write(models / "detector.json", {"sha256": "new", "performance": {"saliency": {"peak": 1}}})
    ship_run(run, models)
    assert read_card(models)["performance"] == {"val": {}, "test": {}, "saliency": {"peak": 1}}


def test_what_was_found_of_the_maps_stands_in_the_card_too(tmp_path, models):
    write(tmp_path / "found" / "saliency.json", {"model": {"sha256": "old"}, "headline": {"peak": 0.5}})
    write(tmp_path / "found" / "plots" / "saliency_peak.json", {"new": True})
    ship_measured("saliency", tmp_path / "found", models)
    assert read_card(models)["performance"]["saliency"] == {"peak": 0.5}
    assert json.loads((models / "evaluation" / "plots" / "saliency_peak.json").read_text()) == {"new": True}


def test_measures_of_other_weights_are_refused_and_leave_everything(tmp_path, models):
    write(tmp_path / "found" / "saliency.json", {"model": {"sha256": "others"}, "headline": {"peak": 0.5}})
    before = sorted(path.read_bytes() for path in models.rglob("*.*") if path.is_file())
    with pytest.raises(ModelError, match="measured of the weights others; those shipped are old"):
        ship_measured("saliency", tmp_path / "found", models)
    assert before == sorted(path.read_bytes() for path in models.rglob("*.*") if path.is_file())


def test_a_table_of_candidates_belongs_to_no_weights(tmp_path, models):
    write(tmp_path / "found" / "candidates.json", {"candidates": {}})
    ship_measured("candidates", tmp_path / "found", models)
    assert (models / "evaluation" / "candidates.json").exists()


@pytest.mark.parametrize("name", ["audit", "saliency", "finer_maps", "test", "val"])
def test_everything_that_is_shipped_was_measured_of_the_shipped_weights(name):
    measured = json.loads((MODELS / "evaluation" / f"{name}.json").read_text())
    assert measured["model"]["sha256"] == read_card(MODELS)["sha256"]


def test_shipped_card_has_what_the_shipped_files_say():
    performance = read_card(MODELS)["performance"]
    for split in ("val", "test"):
        assert performance[split] == json.loads((MODELS / "evaluation" / f"{split}.json").read_text())["overall"]
    assert performance["saliency"] == json.loads((MODELS / "evaluation" / "saliency.json").read_text())["headline"]
