"""What commands wrote becomes what is shipped: each file in its place, and measures of other weights nowhere."""

import json

import pytest

from detector import words
from detector.errors import ModelError
from detector.model.card import MODELS
from scripts.ship_results import ship


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def of(sha256, **more):
    return {"model": {"sha256": sha256}, **more}


def card_of(models):
    return json.loads((models / "detector.json").read_text())


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path):
    """The folder of a training, with its gate and evaluations."""
    folder = tmp_path / "run"
    write(folder / "detector.json", {"sha256": "new", "performance": {"val": {}, "test": {}}})
    names = ("detector.keras", "detector.tflite", "gate.npz", "training_log.jsonl")
    for name in (*names, "evaluation_val/plots/only_for_val.json"):
        write(folder / name, name)
    for split in ("val", "test"):
        write(folder / f"evaluation_{split}" / "metrics.json", of("new", split=split))
    write(folder / "evaluation_test" / "plots" / "roc.json", {"split": "test"})
    return folder


@pytest.fixture
def maps(tmp_path):
    """What was measured of the maps of the earlier weights."""
    write(tmp_path / "maps" / "saliency.json", of("old", headline={"peak": 0.5}))
    write(tmp_path / "maps" / "plots" / "saliency_peak.json", {"new": True})
    return tmp_path / "maps"


@pytest.fixture
def models(tmp_path):
    """Earlier weights, as they are shipped, and what was measured of them."""
    folder = tmp_path / "models"
    write(folder / "detector.json", {"sha256": "old", "performance": {"saliency": {"peak": 1}}})
    write(folder / "detector.keras", "old weights")
    for name in ("audit.json", "saliency.json", "plots/saliency_peak.json"):
        write(folder / "evaluation" / name, of("old"))
    write(folder / "evaluation" / "candidates.json", {})
    return folder


def test_a_run_is_taken_to_the_places_where_the_page_looks(run, models):
    ship({"run": run}, models)
    assert (models / "detector.keras").read_text() == "detector.keras"
    assert (models / "evaluation" / "training_log.jsonl").read_text() == "training_log.jsonl"
    for split in ("val", "test"):
        assert json.loads((models / "evaluation" / f"{split}.json").read_text()) == of("new", split=split)
    assert (models / "detector.tflite").read_text() == "detector.tflite"


def test_with_other_weights_goes_what_was_measured_of_the_old_ones(run, models):
    ship({"run": run}, models)
    assert "saliency" not in card_of(models)["performance"]
    left = {path.name for path in (models / "evaluation").rglob("*.json")}
    assert left == {"candidates.json", "roc.json", "val.json", "test.json"}


def test_the_same_weights_keep_what_was_measured_of_them(run, models):
    write(models / "detector.json", {"sha256": "new", "performance": {"saliency": {"peak": 1}}})
    ship({"run": run}, models)
    assert card_of(models)["performance"] == {"val": {}, "test": {}, "saliency": {"peak": 1}}
    assert (models / "evaluation" / "plots" / "saliency_peak.json").exists()


def test_what_was_found_of_the_maps_stands_in_the_card_too(maps, models):
    ship({"saliency": maps}, models)
    assert card_of(models)["performance"]["saliency"] == {"peak": 0.5}
    assert json.loads((models / "evaluation" / "plots" / "saliency_peak.json").read_text()) == {"new": True}


def test_a_run_and_its_measures_are_taken_together(run, maps, models):
    write(maps / "saliency.json", of("new", headline={"peak": 0.5}))
    ship({"run": run, "saliency": maps}, models)
    performance = {"val": {}, "test": {}, "saliency": {"peak": 0.5}}
    assert card_of(models) == {"sha256": "new", "performance": performance, "limits": list(words.LIMITS)}


def test_shipped_limits_are_those_of_the_words_and_name_no_key():
    assert card_of(MODELS)["limits"] == list(words.LIMITS)
    assert not [limit for limit in words.LIMITS if "`" in limit or "_" in limit]


@pytest.mark.parametrize("spoil", ["other weights", "no weights", "a metric of other weights", "missing", "no run"])
def test_what_does_not_belong_together_is_refused_and_nothing_is_written(run, maps, models, spoil):
    write(maps / "saliency.json", of("new", headline={"peak": 0.5}))
    if spoil == "other weights":
        write(maps / "saliency.json", of("others", headline={}))
    elif spoil == "no weights":
        write(maps / "saliency.json", {"headline": {}})
    elif spoil == "a metric of other weights":
        write(run / "evaluation_test" / "metrics.json", of("others"))
    elif spoil == "missing":
        (maps / "saliency.json").unlink()
    else:
        run = run / "nowhere"
    before = everything(models)
    with pytest.raises(ModelError, match=r"measured of the weights|is missing|cannot be read"):
        ship({"run": run, "saliency": maps}, models)
    assert everything(models) == before


def test_a_table_of_candidates_belongs_to_no_weights(tmp_path, models):
    write(tmp_path / "found" / "candidates.json", {"candidates": {}})
    ship({"candidates": tmp_path / "found"}, models)
    assert json.loads((models / "evaluation" / "candidates.json").read_text()) == {"candidates": {}}
    ship({"longer": tmp_path / "found"}, models)
    assert json.loads((models / "evaluation" / "longer_candidates.json").read_text()) == {"candidates": {}}


def test_what_a_new_hospital_can_expect_stands_in_the_card_and_the_summary_beside_it(tmp_path, run, models):
    folder = tmp_path / "hospitals"
    write(folder / "sites.json", of("old", cohorts={"raddb": {"own": True}}))
    write(folder / "compare.json", of("old", false_alarms={"50": {}}, left_out={}, level=0.05))
    write(folder / "collections.npz", "numbers")
    ship({"hospitals": folder}, models)
    assert (models / "collections.npz").read_text() == "numbers"
    found = card_of(models)["performance"]
    assert found["sites"] == {"raddb": {"own": True}}
    assert found["compare"] == {"false_alarms": {"50": {}}, "left_out": {}}
    ship({"run": run}, models)
    assert not (models / "collections.npz").exists()
    assert "sites" not in card_of(models)["performance"]


def test_everything_that_is_shipped_was_measured_of_the_shipped_weights():
    measured = {path.stem: json.loads(path.read_text()) for path in (MODELS / "evaluation").glob("*.json")}
    of = {name: found["model"]["sha256"] for name, found in measured.items() if "model" in found}
    assert set(of) >= {"test", "val"}
    assert set(of.values()) == {card_of(MODELS)["sha256"]}


def test_shipped_card_has_what_the_shipped_files_say():
    performance = card_of(MODELS)["performance"]
    for split in ("val", "test"):
        assert performance[split] == json.loads((MODELS / "evaluation" / f"{split}.json").read_text())["overall"]
    maps = MODELS / "evaluation" / "saliency.json"
    assert performance.get("saliency") == (json.loads(maps.read_text())["headline"] if maps.exists() else None)
