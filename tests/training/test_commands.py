"""The training commands: calibration by hand, and which split each step is allowed to see."""

import hashlib
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from detector.errors import ManifestError, ModelError
from detector.model.calibration import margins
from detector.model.card import MODELS, read_card
from detector.model.engine import Engine
from detector.model.gate import VIEWS, load_gate
from detector.model.lungs import LungFields
from detector.model.network import LITE0_STAGES, build_lung_network, build_network
from detector.model.preprocess import LUNG_PREPROCESSING_ID
from detector.schema import THREE_CLASS
from detector.statistics import bootstrap as resampling
from detector.training.data.manifest import Example
from detector.training.fit import architectures, commands, convert
from detector.training.fit import gate as fit_gate
from detector.training.fit.commands import calibrate, train_classifier, train_gate, train_lungs
from detector.training.measure.cohort import Answers
from tests.conftest import encode

CLASSES = THREE_CLASS.classes


def answers_of(labels, binary, three):
    examples = tuple(Example(f"{i}.png", label, patient_group=str(i)) for i, label in enumerate(labels))
    logits = {"binary": np.array(binary, float).reshape(-1, 1), "three_class": np.array(three, float).reshape(-1, 3)}
    return Answers(examples, logits, {name: np.ones(len(labels)) for name in logits}, ())


@pytest.fixture
def overconfident():
    """Certain at logits of 2 and 3, right in three of four; and eight viral images that only the binary task counts."""
    labels = [name for name in CLASSES for _ in range(8)]
    truths = np.repeat([0, 1, 2], 8)
    chosen = truths.copy()
    chosen[[6, 14, 22]] = (truths[[6, 14, 22]] + 1) % 3  # a quarter of each class goes wrong, to both others alike
    chosen[[7, 15, 23]] = (truths[[7, 15, 23]] + 2) % 3
    called = np.where(truths == 2, 2.0, -2.0)
    called[[6, 7, 14, 15, 22, 23]] *= -1
    viral = [-2.0, -2, -2, -2, -2, -2, 2, 2]
    return answers_of(
        [*labels, *["viral_pneumonia"] * 8], [*called, *viral], [*(3 * np.eye(3)[chosen]), *[[0, 0, 90]] * 8]
    )


class TestCalibrate:
    def test_temperatures_turn_certainty_into_the_share_that_is_right(self, overconfident):
        temperatures = calibrate(overconfident).temperatures
        assert temperatures["binary"] == pytest.approx(2 / math.log(3), rel=0.01)  # sigmoid(log 3) = 3/4
        assert temperatures["three_class"] == pytest.approx(3 / math.log(6), rel=0.01)  # 6 / (6 + 1 + 1) = 3/4

    def test_there_are_three_operating_points_with_the_cohort_that_they_come_from(self, overconfident):
        points = calibrate(overconfident).operating_points
        assert set(points) == {"balanced", "sensitive", "specific"}
        assert {point.cohort for point in points.values()} == {"validation, n = 32"}
        assert (points["balanced"].sensitivity, points["balanced"].specificity) == (0.75, 0.75)
        assert points["sensitive"].sensitivity >= 0.98
        assert points["specific"].specificity >= 0.98

    def test_answers_that_are_all_right_need_no_band(self):
        three = 4 * np.eye(3)[[0, 1, 2]]
        bands = calibrate(answers_of(CLASSES, [-4, -4, 4], three)).bands
        assert bands == {"binary": 0.0, "three_class": 0.0}

    def test_a_band_leaves_out_the_wrong_answers_nearest_to_the_threshold(self):
        # Of 25 normal and 25 COVID-19 images one each, 4 %, lies on the wrong side, half a logit from the middle.
        labels = ["normal"] * 25 + ["covid19"] * 25
        binary = [-4.0] * 24 + [0.5] + [4.0] * 24 + [-0.5]
        three = [(4, 0, 0)] * 24 + [(0, 0, 0.5)] + [(0, 0, 4)] * 24 + [(0, 0.5, 0)]
        answers = answers_of(labels, binary, three)
        calibration = calibrate(answers)
        probabilities = calibration.probabilities(THREE_CLASS, answers.logits["three_class"])
        answered = margins(THREE_CLASS, probabilities, None) >= calibration.bands["three_class"]
        assert np.flatnonzero(~answered).tolist() in ([24], [49], [24, 49])  # one of both is enough: 2 % are left
        assert calibration.bands["binary"] == 0  # a threshold beside the middle leaves one error in fifty


@pytest.fixture
def manifest(tmp_path):
    """Nine made-up pictures, one a class and split; the first one and those of the test split have lung masks."""
    rows = ["image,label,source,split,lung_mask_whole"]
    for number, (split, label) in enumerate((s, c) for s in ("train", "val", "test") for c in CLASSES):
        pixels = np.random.default_rng(number).integers(0, 256, (80, 80), np.uint8)
        (tmp_path / f"{number}.png").write_bytes(encode(pixels))
        mask = "mask.png" if split == "test" or number == 0 else ""
        rows.append(f"{number}.png,{label},made-up,{split},{mask}")
    (tmp_path / "mask.png").write_bytes(encode(np.full((80, 80), 255, np.uint8)))
    path = tmp_path / "manifest.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def without_test(manifest):
    """The same manifest without its test split."""
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line for line in lines if ",test," not in line) + "\n")
    return manifest


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    stages = (replace(LITE0_STAGES[0], stride=8),)  # one unit, on a grid as coarse as the whole network's
    monkeypatch.setattr(
        architectures,
        "build",
        lambda _, *, input_size: build_network(input_size=input_size, stages=stages, feature_channels=8),
    )
    monkeypatch.setattr(convert, "TEXTURE_LAYERS", ("unit00_project_bn",))
    monkeypatch.setattr(resampling, "RESAMPLES", 5)


# The first batch of a warm-up has a learning rate of zero, so two are the fewest that move a weight.
SETTINGS = {"batches": 2, "batch_size": 2, "warmup_batches": 1, "frozen_units": 1, "validate_every": 2}


class TestTrainClassifier:
    @pytest.fixture
    def seen(self, monkeypatch):
        """Records which images calibration was given."""
        images = []

        def spy(answers):
            images.extend(example.image for example in answers.examples)
            return calibrate(answers)

        monkeypatch.setattr(commands, "calibrate", spy)
        return images

    def test_the_card_describes_a_network_that_can_be_loaded(self, manifest, tmp_path, seen):
        out = tmp_path / "out"
        card = train_classifier(manifest, tmp_path, out, SETTINGS, resume=False)
        assert card == read_card(out / "detector.json")
        assert card.sha256 == hashlib.sha256((out / "detector.keras").read_bytes()).hexdigest()
        loaded = Engine.load(folder=out)  # with the lung fields that it was trained behind
        assert loaded.card.info == card.info
        assert loaded.gate is None
        assert (out / "lung_masks.npz").exists()
        assert card.training["images"] == {f"made-up/{name}": 1 for name in CLASSES}
        assert card.training["config"]["batches"] == 2
        assert set(card.performance) == {"val", "test"}
        assert {figures["binary_accuracy"]["n"] for figures in card.performance.values()} == {3}
        assert all(scale > 0 for scale in card.saliency_scale.values())
        assert seen == ["3.png", "4.png", "5.png"]  # the validation split alone

    def test_the_card_says_what_a_run_went_on_from_and_describes_each_network_once(self, without_test, tmp_path):
        def trained(name, initial=(), **more):
            settings = SETTINGS | more | ({"initial": [*map(str, initial)]} if initial else {})  # as the command has it
            card = train_classifier(without_test, tmp_path, tmp_path / name, settings, resume=False)
            return card, tmp_path / name / "detector.keras"

        first, path = trained("first")
        second, other = trained("second", [path], seed=9)
        bare = tmp_path / "bare.keras"
        bare.write_bytes(path.read_bytes())
        third, _ = trained("third", [bare, other, path], seed=10)
        assert first.training["initial_weights"] == "EfficientNet-Lite0, ImageNet"
        assert second.training["initial_weights"] == [{"sha256": first.sha256, "training": first.training}]
        without_a_card, described, named = third.training["initial_weights"]
        assert without_a_card == {"sha256": first.sha256}
        assert described == {"sha256": second.sha256, "training": second.training}
        assert named == {"sha256": first.sha256}
        assert str(tmp_path) not in third.to_json()

    def test_a_network_that_is_missing_is_refused_before_the_training(self, manifest, tmp_path, seen):
        settings = SETTINGS | {"initial": [str(tmp_path / "none.keras")]}
        with pytest.raises(ModelError, match=r"none\.keras cannot be read"):
            train_classifier(manifest, tmp_path, tmp_path / "out", settings, resume=False)
        assert seen == []
        assert not (tmp_path / "out" / "lung_masks.npz").exists()

    def test_a_manifest_without_a_validation_split_is_refused_before_anything_is_written(self, manifest, tmp_path):
        manifest.write_text(manifest.read_text().replace(",val,", ",train,"))
        with pytest.raises(ManifestError, match="no rows of split 'val'"):
            train_classifier(manifest, tmp_path, tmp_path / "out", SETTINGS, resume=False)
        assert not (tmp_path / "out").exists()

    def test_a_validation_split_without_a_class_is_refused_before_the_training(self, manifest, tmp_path):
        lines = manifest.read_text().splitlines(keepends=True)
        manifest.write_text("".join(line for line in lines if "bacterial_pneumonia" not in line or ",val," not in line))
        with pytest.raises(ManifestError, match="bacterial_pneumonia"):
            train_classifier(manifest, tmp_path, tmp_path / "out", SETTINGS, resume=False)
        assert not (tmp_path / "out").exists()


class TestTrainGate:
    @pytest.fixture
    def seen(self, monkeypatch):
        """Stands in for every look through the network; records which images it was given, and what for."""
        images = {"frontal": [], "turned": []}

        def look(views, sources, kind=None, examples=()):
            images.setdefault(kind, []).append([e.image for e in examples])
            rng = np.random.default_rng(len(views))
            features = np.eye(len(VIEWS))[[VIEWS.index(v) for v in views]] + rng.normal(
                0, 0.1, (len(views), len(VIEWS))
            )
            return fit_gate.Seen(features, np.array(views), np.array(sources), np.arange(len(views)) % 2)

        def frontal(examples, *_, **__):
            return look(["frontal"] * len(examples), [e.label for e in examples], "frontal", examples)

        def turned(examples, *_, **__):
            return look(["inverted"] * len(examples), [e.label for e in examples], "turned", examples)

        monkeypatch.setattr(commands, "frontal_seen", frontal)
        monkeypatch.setattr(commands, "turned_seen", turned)
        others = look(["other"] * 4, [f"photograph_{i}.png" for i in range(4)])
        monkeypatch.setattr(commands, "others_seen", lambda *_, **__: others)
        monkeypatch.setattr(fit_gate, "others_seen", lambda *_, **__: others)
        strange = look(["side_view", "slice"] * 4, [f"{i}.png" for i in range(8)])
        monkeypatch.setattr(commands, "not_frontal_seen", lambda *_, **__: strange)
        monkeypatch.setattr(commands.Engine, "load", lambda **_: None)
        monkeypatch.setattr(commands, "measure_card", lambda card, _m, _i, folder: commands._write_card(card, folder))
        monkeypatch.setattr(fit_gate, "_linear", lambda f, t, *, classes, seed: (  # noqa: ARG005
            np.linalg.lstsq(f, np.eye(classes)[t], rcond=None)[0], np.zeros(classes))
        )  # fmt: skip
        return images

    def test_the_gate_stands_in_the_card_and_comes_from_training_and_validation_alone(self, manifest, tmp_path, seen):
        shutil.copy(MODELS / "detector.json", tmp_path)
        before = read_card(tmp_path / "detector.json")
        train_gate(manifest, tmp_path, tmp_path, not_frontal=tmp_path / "t.csv", others=tmp_path, seed=1)
        card = read_card(tmp_path / "detector.json")
        assert replace(card, gate=before.gate) == before  # nothing else has changed
        assert load_gate(tmp_path, card.gate).refuse_below == card.gate["refuse_below"]
        assert [sorted(images) for images in seen["frontal"]] == [
            ["0.png", "1.png", "2.png"],
            ["3.png", "4.png", "5.png"],
        ]
        assert [sorted(images) for images in seen["turned"]] == [
            ["0.png", "1.png", "2.png"],
            ["3.png", "4.png", "5.png"],
        ]
        assert set(card.gate["measured"]) == {
            "false_refusals",
            "false_refusals_of_a_source_left_out",
            "turned_and_inverted",
            "not_frontal_cross_validated",
            "held_out",
        }
        assert set(card.gate["measured"]["not_frontal_cross_validated"]) == {"side_view", "slice", "photograph"}
        assert {rate["n"] for rate in card.gate["measured"]["false_refusals"].values()} == {1}


class TestTrainLungs:
    @pytest.fixture
    def trained_on(self, monkeypatch):
        """Stands in for the fit: a network as built, and a record of the images that it was given."""
        images = []

        def fit_nothing(examples, *_):
            images.extend(example.image for example in examples)
            return build_lung_network(160)

        monkeypatch.setattr(commands, "fit_lungs", fit_nothing)
        return images

    def train(self, manifest, folder):
        train_lungs(manifest, folder, folder / "out", {"batches": 1, "batch_size": 2}, resume=False)
        return json.loads((folder / "out" / "lungs.json").read_text())

    def test_the_test_split_is_measured_and_not_trained_on(self, manifest, tmp_path, trained_on):
        card = self.train(manifest, tmp_path)
        assert trained_on == [f"{number}.png" for number in range(6)]
        assert card["training"]["images"] == 1  # of the six only the first has a mask
        assert card["dice"]["test"]["all"]["n"] == 3
        assert card["visible_lung_covered"]["value"] is None

    def test_the_card_describes_weights_that_can_be_loaded(self, without_test, tmp_path, trained_on):
        card = self.train(without_test, tmp_path)
        assert trained_on
        assert card["weights"] < 1e6
        assert isinstance(LungFields.load(tmp_path / "out", LUNG_PREPROCESSING_ID), LungFields)
        assert card["dice"]["test"]["all"] == {
            "value": None, "ci_low": None, "ci_high": None, "n": 0, "reason": "no images",
        }  # fmt: skip
