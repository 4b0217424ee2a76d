"""A card is believed only where it could be true; whatever else it holds, nothing is answered by it."""

import json
import math
import shutil

import pytest

from detector.cli.main import main
from detector.errors import ModelError
from detector.model import card as card_module
from detector.model.calibration import BALANCED, SENSITIVE, SPECIFIC
from detector.model.card import DEFAULT_MODEL, GATE, MODELS, load_card, model_names, pin_cards, read_card
from detector.model.lungs import LungFields
from detector.model.preprocess import LUNG_PREPROCESSING_ID
from detector.schema import TASKS
from tests.conftest import COMPOSITES

SHIPPED = MODELS / f"{DEFAULT_MODEL}.json"
REMOVED = object()


@pytest.fixture
def folder(tmp_path):
    """A folder with the shipped card and gate, to be damaged."""
    for name in (SHIPPED.name, GATE):
        shutil.copy(MODELS / name, tmp_path)
    return tmp_path


def edit(path, *places, value):
    """Set one value of a JSON file, or remove it."""
    card = json.loads(path.read_text())
    inner = card
    for place in places[:-1]:
        inner = inner[place]
    if value is REMOVED:
        del inner[places[-1]]
    else:
        inner[places[-1]] = value
    path.write_text(json.dumps(card))


NO_NUMBERS = (math.nan, math.inf, -math.inf, None, "1", True, [1])
POINT = ("calibration", "operating_points", BALANCED)
WRONG = [
    *((("calibration", "temperatures", "binary"), value) for value in (*NO_NUMBERS, 0, -1)),
    *((("calibration", "temperatures", "three_class"), value) for value in (0, -1, REMOVED)),
    *(((*POINT, "threshold"), value) for value in (*NO_NUMBERS, 0, 1, 2, -0.1, REMOVED)),
    *(((*POINT, "sensitivity"), value) for value in (*NO_NUMBERS, -0.1, 1.1)),
    *((("calibration", "operating_points", name), REMOVED) for name in (BALANCED, SENSITIVE, SPECIFIC)),
    ((*POINT, "name"), SENSITIVE),
    ((*POINT, "cohort"), ""),
    *((("calibration", "bands", "binary"), value) for value in (*NO_NUMBERS, -1, REMOVED)),
    *((("saliency_scale", "binary"), value) for value in (math.nan, 0, -1, REMOVED)),
    *((("calibration", name), value) for name in ("temperatures", "bands", "operating_points") for value in ({}, [])),
    *((("gate",), value) for value in ({}, None, [], REMOVED)),
    *((("gate", "refuse_below"), value) for value in (math.nan, -math.inf, "0", REMOVED)),
    (("gate", "warn_below"), -100),
    (("gate", "sha256"), "none"),
    *((("sha256",), value) for value in ("", "0" * 63, None)),
    *((("tflite",), value) for value in ({}, None, REMOVED)),
    (("tflite", "sha256"), "g" * 64),
    (("classes", "three_class"), ["covid19", "normal", "bacterial_pneumonia"]),
    (("classes",), REMOVED),
    *((("input_size",), value) for value in (0, "160")),
    *((("limits",), value) for value in ("none", [1])),
    (("performance",), 1),
]


@pytest.mark.parametrize(("places", "value"), WRONG, ids=lambda part: "removed" if part is REMOVED else None)
def test_a_card_that_cannot_be_true_is_refused(folder, places, value):
    edit(folder / SHIPPED.name, *places, value=value)
    with pytest.raises(ModelError):
        read_card(folder / SHIPPED.name)


def test_values_at_the_end_of_their_range_are_believed(folder):
    edit(folder / SHIPPED.name, "calibration", "bands", "binary", value=0)
    edit(folder / SHIPPED.name, *POINT, "sensitivity", value=1)
    edit(folder / SHIPPED.name, *POINT, "specificity", value=0)
    card = read_card(folder / SHIPPED.name)
    assert card.calibration.bands["binary"] == 0
    assert card.calibration.operating_points[BALANCED].sensitivity == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"calibration": {}}', "\xff", "[" * 100_000])
def test_text_that_is_no_card_is_refused(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError):
        read_card(path)


def test_a_missing_card_is_refused(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        read_card(tmp_path / "card.json")


def test_no_gate_is_well_where_there_is_none(folder):
    (folder / GATE).unlink()
    edit(folder / SHIPPED.name, "gate", value={})
    assert read_card(folder / SHIPPED.name).gate == {}


def test_a_card_survives_its_own_text(tmp_path):
    card = read_card(SHIPPED)
    path = tmp_path / "card.json"
    path.write_text(card.to_json())
    assert read_card(path) == card


@pytest.mark.parametrize(
    ("places", "value"),
    [(("calibration", "temperatures", "binary"), math.nan), ((*POINT, "threshold"), 2), (("gate",), {})],
    ids=["temperature", "threshold", "gate"],
)
def test_predict_gives_no_answer_by_a_damaged_card(tmp_path, places, value, capsys):
    models = shutil.copytree(MODELS, tmp_path / "models", ignore=shutil.ignore_patterns("evaluation"))
    edit(models / SHIPPED.name, *places, value=value)
    arguments = ["predict", str(COMPOSITES / "normal.png"), "--models", str(models), "--format", "jsonl"]
    assert main(arguments) == 3
    assert capsys.readouterr().out == ""


class TestPins:
    """What was shipped is recognised by hashes that stand in the package, not beside it."""

    @pytest.fixture
    def shipped(self, tmp_path, monkeypatch):
        """A models' folder that passes for the shipped one, with pins of its own."""
        models = tmp_path / "models"
        models.mkdir()
        for name in (SHIPPED.name, "lungs.json", GATE):
            shutil.copy(MODELS / name, models)
        monkeypatch.setattr(card_module, "MODELS", models)
        monkeypatch.setattr(card_module, "PINS", tmp_path / "pins.json")
        pin_cards(models, tmp_path / "pins.json")
        return models

    def test_the_shipped_cards_are_pinned_as_they_are(self, tmp_path):
        pin_cards(MODELS, tmp_path / "pins.json")
        assert json.loads((tmp_path / "pins.json").read_text()) == json.loads(card_module.PINS.read_text())

    def test_pinned_cards_are_read(self, shipped):
        assert read_card(shipped / SHIPPED.name).name == DEFAULT_MODEL
        assert load_card(shipped / "lungs.json")["preprocessing"] == LUNG_PREPROCESSING_ID

    def test_an_edit_within_all_ranges_is_refused(self, shipped):
        edit(shipped / SHIPPED.name, *POINT, "threshold", value=0.3)
        with pytest.raises(ModelError, match="not the one that was shipped"):
            read_card(shipped / SHIPPED.name)

    def test_an_edit_of_the_lung_fields_card_is_refused(self, shipped):
        edit(shipped / "lungs.json", "version", value="3")
        with pytest.raises(ModelError, match="not the one that was shipped"):
            LungFields.load(shipped, LUNG_PREPROCESSING_ID)

    def test_a_card_of_another_folder_is_its_owner_s(self, shipped, folder):
        del shipped
        edit(folder / SHIPPED.name, *POINT, "threshold", value=0.3)
        assert read_card(folder / SHIPPED.name).calibration.operating_points[BALANCED].threshold == 0.3


def test_shipped_models_have_cards():
    assert DEFAULT_MODEL in model_names()


def test_shipped_network_is_as_useful_as_it_must_be():
    validation = read_card(SHIPPED).performance["val"]
    assert validation["binary_auroc"]["value"] >= 0.93
    assert validation["three_class_macro_auroc"]["value"] >= 0.93


def test_shipped_card_says_how_each_operating_point_did():
    for point in read_card(SHIPPED).calibration.operating_points.values():
        assert point.sensitivity + point.specificity > 1
    assert read_card(SHIPPED).saliency_scale.keys() == {task.name for task in TASKS}
