"""Pairs of sources: which there are, what a training without one may see, and what is reported of it."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from detector.training.audit import leave_out
from detector.training.audit.leave_out import SourcePair, Trainings, measure_left_out, protocol, summary
from detector.training.data.manifest import Example
from detector.training.fit.classifier import FitConfig


def examples_of(source, label, count, split="train"):
    return [
        Example(f"{source}/{label}/{split}/{i}.png", label, source, split, f"{source}{label}{split}{i}")
        for i in range(count)
    ]


COHORT = [
    *examples_of("a", "covid19", 12),
    *examples_of("b", "covid19", 10),
    *examples_of("b", "normal", 10),
    *examples_of("c", "bacterial_pneumonia", 30),
]


@pytest.fixture
def scored(monkeypatch):
    """Scores of made-up pictures in place of a network's: their number in their group, as log-odds."""

    def scores(_network, examples):
        logits = np.array([float(e.image.split("/")[-1][:-4]) for e in examples])
        return 1 / (1 + np.exp(-logits))

    monkeypatch.setattr(leave_out, "_scores", scores)


def numbered(label, numbers):
    return [Example(f"s/{n}.png", label, "s", "val", f"{label}{n}") for n in numbers]


class TestMeasure:
    @pytest.mark.usefixtures("scored")
    def test_thresholds_come_from_validation_and_figures_from_what_was_left_out(self):
        validation = numbered("normal", [-3, -2]) + numbered("covid19", [2, 3])
        left_out = numbered("normal", [-1, 1, -4, -5]) + numbered("covid19", [4, -6])
        found = measure_left_out(None, validation, left_out, list)
        # 4 stands above all four, -6 above none.
        assert found["auroc"]["value"] == pytest.approx(0.5)
        balanced = found["operating_points"]["balanced"]
        assert balanced["threshold"] == pytest.approx(0.5, abs=0.01)
        counts = [balanced[k] for k in ("true_positives", "false_negatives", "false_positives", "true_negatives")]
        assert counts == [1, 1, 1, 3]
        assert (balanced["sensitivity"], balanced["specificity"]) == (0.5, 0.75)
        assert (found["positives"], found["negatives"]) == (2, 4)


class TestRun:
    def run(self, tmp_path, monkeypatch, examples):
        seen = {}

        def fit(train, validation, _images, out, config, **_):
            seen.update(train=train, validation=validation, out=out, config=config)
            out.mkdir(parents=True)
            return "network"

        def measure(_network, _validation, left_out, _read):
            seen.update(left_out=left_out)
            return {"auroc": {"value": 0.75}}

        monkeypatch.setattr(leave_out, "fit", fit)

        def measure_own(_network, own, _read):
            seen.update(own=own)

        monkeypatch.setattr(leave_out, "measure_left_out", measure)
        monkeypatch.setattr(leave_out, "measure_own", measure_own)
        trainings = Trainings(tmp_path, tmp_path / "runs", FitConfig(), lungs=None)
        return trainings.run_pair(SourcePair("a", "c"), examples), seen

    def test_nothing_of_either_source_is_trained_or_validated_on(self, tmp_path, monkeypatch):
        cohort = [*COHORT, *examples_of("a", "normal", 3, "val"), *examples_of("b", "covid19", 3, "val")]
        result, seen = self.run(tmp_path, monkeypatch, cohort)
        assert {e.source for e in seen["train"] + seen["validation"]} == {"b"}
        assert {e.split for e in seen["validation"]} == {"val"}
        assert [e.label for e in seen["left_out"]].count("covid19") == 12
        assert len(seen["left_out"]) == 12 + 30
        assert {e.source for e in seen["own"]} == {"a"}
        assert json.loads((tmp_path / "runs/a-c/result.json").read_text()) == result

    def test_a_result_that_is_there_is_read_and_not_made_again(self, tmp_path, monkeypatch):
        first, _ = self.run(tmp_path, monkeypatch, COHORT)
        monkeypatch.setattr(leave_out, "fit", None)
        again = Trainings(tmp_path, tmp_path / "runs", FitConfig(), lungs=None)
        assert again.run_pair(SourcePair("a", "c"), COHORT) == first

    def test_at_most_so_many_of_a_side_are_measured(self, tmp_path, monkeypatch):
        monkeypatch.setattr(leave_out, "_MOST", 5)
        _, seen = self.run(tmp_path, monkeypatch, COHORT)
        assert [e.label for e in seen["left_out"]] == ["covid19"] * 5 + ["bacterial_pneumonia"] * 5


def test_a_training_without_lungs_is_shown_and_asked_changed_inputs_alone(tmp_path, monkeypatch):
    seen = {}
    view = SimpleNamespace(pixels=np.ones((4, 4, 1)))

    def fit(train, validation, _images, _out, config, *, transform, **_):
        seen.update(train=train, validation=validation, weight=config.lung_weight, shown=transform(view))
        return "network"

    def predict(network, inputs):
        assert network == "network"
        return {"binary": inputs[:, 0, 0], "three_class": np.zeros((len(inputs), 3))}

    monkeypatch.setattr(leave_out, "fit", fit)
    monkeypatch.setattr(leave_out, "load_inputs", lambda asked, *_, transform: np.stack([transform(view)] * len(asked)))
    monkeypatch.setattr(leave_out, "predict_logits", predict)
    trainings = Trainings(tmp_path, tmp_path / "runs", FitConfig(), lungs=None)
    cohort = (
        examples_of("a", "covid19", 3) + examples_of("a", "normal", 2, "val") + examples_of("a", "normal", 1, "test")
    )
    predictor = trainings.without_lungs(cohort, lambda given: SimpleNamespace(pixels=7 * given.pixels))
    assert ([e.split for e in seen["train"]], len(seen["validation"])) == (["train"] * 3, 2)
    assert (seen["weight"], seen["shown"].max()) == (0, 7)
    np.testing.assert_array_equal(predictor(cohort[:2]).covid19, [7, 7])
    np.testing.assert_allclose(predictor(cohort[:2]).three_class, 1 / 3)


class TestOwnSource:
    def test_its_own_sick_and_others_are_told_apart(self, monkeypatch):
        own = [*examples_of("a", "covid19", 3), *examples_of("a", "normal", 4)]
        monkeypatch.setattr(leave_out, "_scores", lambda _network, _inputs: np.array([9, 8, 2, 1, 3, 1, 1]))
        found = leave_out.measure_own(None, own, lambda _: None)
        assert (found["positives"], found["negatives"]) == (3, 4)
        assert found["auroc"]["value"] == pytest.approx(11 / 12)

    def test_a_source_of_one_class_has_none(self):
        assert leave_out.measure_own(None, examples_of("a", "covid19", 3), None) is None


def counted(tp, fn, fp, tn):
    names = ("true_positives", "false_negatives", "false_positives", "true_negatives")
    return dict(zip(names, (tp, fn, fp, tn), strict=True))


class TestSummary:
    RESULTS = (
        {"auroc": {"value": 0.9}, "operating_points": {"balanced": counted(79, 20, 19, 80)}},
        {"auroc": {"value": 0.7}, "operating_points": {"balanced": counted(39, 60, 19, 80)}},
    )

    def test_mean_and_range_of_the_pairs(self):
        found = summary(self.RESULTS)
        assert found["mean_auroc"] == pytest.approx(0.8)
        assert (found["lowest_auroc"], found["highest_auroc"]) == (0.7, 0.9)

    def test_likelihood_ratios_are_geometric_means_by_hand(self):
        ratios = summary(self.RESULTS)["likelihood_ratios"]["balanced"]
        # With half a picture more in each cell: sensitivities 0.795 and 0.395, false alarms 0.195.
        assert ratios["positive"]["value"] == pytest.approx(math.sqrt(0.795 * 0.395) / 0.195)
        assert ratios["negative"]["value"] == pytest.approx(math.sqrt(0.205 * 0.605) / 0.805)
        assert ratios["positive"]["ci_low"] < ratios["positive"]["value"] < ratios["positive"]["ci_high"]

    def test_one_pair_has_no_interval(self):
        ratios = summary(self.RESULTS[:1])["likelihood_ratios"]["balanced"]
        assert ratios["positive"]["ci_low"] is None

    def test_a_pair_without_an_error_has_a_finite_ratio(self):
        perfect = [{"auroc": {"value": 1.0}, "operating_points": {"balanced": counted(50, 0, 0, 50)}}]
        assert math.isfinite(summary(perfect)["likelihood_ratios"]["balanced"]["positive"]["value"])


def test_small_protocol_validates_once_at_its_end():
    config = protocol(FitConfig(), batches=300)
    assert (config.batches, config.validate_every) == (300, 300)
