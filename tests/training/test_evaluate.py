"""Evaluation: what counts, what does not, and what a cohort can't tell."""

import csv
import json
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from detector.errors import EmptyFileError, ManifestError, OutputError
from detector.model.calibration import Calibration
from detector.schema import THREE_CLASS, ModelInfo, OperatingPoint
from detector.statistics import bootstrap as resampling
from detector.training.data.manifest import Example
from detector.training.measure.cohort import Answers, truth_index
from detector.training.measure.evaluate import (
    answer_all,
    evaluate,
    likelihood_ratios,
    measure,
    summarise,
    worst_source,
)
from tests.conftest import COMPOSITES

PER_TASK = ("roc", "precision_recall", "reliability", "confusion")
POINT = OperatingPoint("balanced", 0.5, 1.0, 1.0, "made up")
CALIBRATION = Calibration({"binary": 1.0, "three_class": 1.0}, {"balanced": POINT}, {"binary": 1.5, "three_class": 1.5})


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(resampling, "RESAMPLES", 20)


def answers_of(*rows, rejected=()):
    """Answers from (label, source, binary logit, three-class logits) a row."""
    labels, sources, binary, three = zip(*rows, strict=True) if rows else ((), (), (), ())
    examples = [
        Example(f"{i}.png", *pair, patient_group=str(i)) for i, pair in enumerate(zip(labels, sources, strict=True))
    ]
    return Answers(
        tuple(examples),
        {"binary": np.array(binary, float).reshape(-1, 1), "three_class": np.array(three, float).reshape(-1, 3)},
        {"binary": np.ones(len(rows)), "three_class": np.ones(len(rows))},
        tuple(rejected),
    )


#: Three right and one wrong in either task; the viral row is of no class of the three.
FOUR = (
    ("covid19", "a", 2.0, (0, 0, 2)),
    ("covid19", "a", -1.0, (0, 1, 0)),
    ("normal", "a", -2.0, (2, 0, 0)),
    ("bacterial_pneumonia", "b", -3.0, (0, 3, 0)),
    ("viral_pneumonia", "b", -2.0, (0, 0, 9)),
)


class TestMeasure:
    def value(self, answers, name):
        return measure(answers, CALIBRATION)[name]["value"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("binary_auroc", 1.0),  # logits 2 and -1 stand above -2, -3 and -2
            ("binary_balanced_sensitivity", 1 / 2),
            ("binary_balanced_specificity", 1.0),
            ("binary_accuracy", 4 / 5),
            ("binary_coverage", 4 / 5),  # the logit -1 lies within 1.5 of the threshold's 0
            ("binary_error_when_answered", 0.0),
            ("three_class_recall_covid19", 1 / 2),
            ("three_class_recall_normal", 1.0),
            ("three_class_accuracy", 3 / 4),
            ("three_class_coverage", 3 / 4),
            ("three_class_error_when_answered", 0.0),
            ("binary_balanced_pneumonia_called_covid19", 0.0),
            ("binary_sensitivity_at_specificity_0.90", 1.0),  # every positive stands above every negative
            ("binary_error_at_coverage_0.80", 0.0),  # the wrong one is the least sure
            ("three_class_lowest_recall", 1 / 2),
            ("three_class_auroc_pneumonia_against_normal", 1.0),
        ],
    )
    def test_five_images_by_hand(self, name, value):
        assert self.value(answers_of(*FOUR), name) == pytest.approx(value)

    def test_brier_score_by_hand(self):
        probabilities = [1 / (1 + math.exp(-logit)) for _, _, logit, _ in FOUR]
        expected = np.mean([(p - truth) ** 2 for p, truth in zip(probabilities, (1, 1, 0, 0, 0), strict=True)])
        assert self.value(answers_of(*FOUR), "binary_brier_score") == pytest.approx(expected)

    def test_slope_before_the_temperature_is_that_of_the_bare_logits(self):
        rows = (*FOUR, ("normal", "a", 1.0, (0, 0, 1)))  # one more error: without it the classes are separated
        hot = Calibration({"binary": 2.0, "three_class": 4.0}, {"balanced": POINT}, {"binary": 0, "three_class": 0})
        bare, heated = (measure(answers_of(*rows), c) for c in (CALIBRATION, hot))
        for task, temperature in hot.temperatures.items():
            slope = heated[f"{task}_calibration_slope"]["value"]
            assert slope == pytest.approx(temperature * bare[f"{task}_calibration_slope"]["value"])
            before = heated[f"{task}_calibration_slope_before_temperature"]["value"]
            assert before == pytest.approx(bare[f"{task}_calibration_slope"]["value"])

    def test_a_label_of_none_of_the_three_counts_in_the_binary_figures_only(self):
        figures = measure(answers_of(*FOUR), CALIBRATION)
        assert {figures[f"binary_{name}"]["n"] for name in ("auroc", "accuracy", "ece", "coverage")} == {5}
        assert {figures[f"three_class_{name}"]["n"] for name in ("macro_auroc", "accuracy", "ece")} == {4}

    @pytest.mark.parametrize(
        ("name", "n"),
        [
            ("binary_balanced_sensitivity", 2),
            ("binary_balanced_specificity", 3),
            ("binary_balanced_pneumonia_called_covid19", 2),  # the bacterial and the viral one
            ("binary_auroc_covid19_against_other_pneumonias", 4),
            ("binary_error_when_answered", 4),
            ("binary_error_at_coverage_0.80", 4),
            ("three_class_recall_normal", 1),
            ("three_class_lowest_recall", 2),  # that of COVID-19
            ("three_class_auroc_pneumonia_against_normal", 3),  # the viral one too, though it is of no class
        ],
    )
    def test_n_is_the_number_of_images_that_a_figure_rests_on(self, name, n):
        assert measure(answers_of(*FOUR), CALIBRATION)[name]["n"] == n

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("binary_auroc", "one class"),
            ("binary_auprc", "no images with COVID-19"),
            ("binary_balanced_sensitivity", "no images with COVID-19"),
            ("binary_calibration_slope", "one class"),
            ("three_class_macro_auroc", "classes is absent"),
            ("three_class_lowest_recall", "classes is absent"),
        ],
    )
    def test_what_one_class_cannot_have_is_null_with_a_reason(self, name, reason):
        figure = measure(answers_of(FOUR[2]), CALIBRATION)[name]
        assert (figure["value"], figure["ci_low"], figure["ci_high"]) == (None, None, None)
        assert reason in figure["reason"]

    def test_no_image_of_the_three_classes_leaves_the_binary_figures(self):
        figures = measure(answers_of(FOUR[4]), CALIBRATION)
        assert figures["binary_accuracy"]["value"] == 1
        assert figures["three_class_accuracy"] == {
            "value": None, "ci_low": None, "ci_high": None, "n": 0, "reason": "no images of these labels",
        }  # fmt: skip

    def test_no_image_at_all_gives_reasons_for_every_figure(self):
        figures = measure(answers_of(), CALIBRATION)
        assert "binary_auroc" in figures
        assert all(f["value"] is None and f["reason"] for f in figures.values())

    def test_nothing_answered_has_no_error(self):
        figures = measure(answers_of(FOUR[1]), CALIBRATION)
        assert figures["binary_coverage"]["value"] == 0
        assert figures["binary_error_when_answered"]["value"] is None
        assert figures["binary_error_when_answered"]["n"] == 0
        assert "nothing was answered" in figures["binary_error_when_answered"]["reason"]


class TestWorstSource:
    @staticmethod
    def figures(**values):
        return {name: {"value": value, "ci_low": None, "ci_high": None, "n": 9} for name, value in values.items()}

    def test_is_the_lowest_area_the_highest_error_and_passes_over_what_is_not_defined(self):
        by_source = {
            "a": self.figures(binary_auroc=0.9, binary_ece=0.1, binary_calibration_slope=1.0),
            "b": self.figures(binary_auroc=0.8, binary_ece=0.3, binary_calibration_slope=0.1),
            "c": self.figures(binary_auroc=None, binary_ece=0.2, binary_calibration_slope=None),
        }
        worst = worst_source(by_source)
        assert {name: figure["source"] for name, figure in worst.items()} == {"binary_auroc": "b", "binary_ece": "b"}
        assert worst["binary_auroc"]["value"] == 0.8

    def test_error_at_coverage_has_a_direction_and_coverage_has_none(self):
        by_source = {
            "a": self.figures(binary_coverage=0.1, **{"binary_error_at_coverage_0.80": 0.2}),
            "b": self.figures(binary_coverage=0.9, **{"binary_error_at_coverage_0.80": 0.1}),
        }
        assert {k: v["source"] for k, v in worst_source(by_source).items()} == {"binary_error_at_coverage_0.80": "a"}

    def test_no_source_has_no_worst(self):
        assert worst_source({}) == {}


class TestSummarise:
    CARD = SimpleNamespace(calibration=CALIBRATION, info=ModelInfo("n", "0" * 64, "1"))

    def summary(self, *rows, **options):
        return summarise(answers_of(*rows), self.CARD, **options)

    def test_predictive_values_follow_from_bayes(self):
        # balanced: one of two positives, and with a false alarm among four negatives
        rows = (*FOUR, ("normal", "a", 3.0, (0, 0, 3)))
        point = self.summary(*rows)["operating_points"]["balanced"]
        sensitivity, specificity, share = 1 / 2, 3 / 4, 0.05
        ppv = sensitivity * share / (sensitivity * share + (1 - specificity) * (1 - share))
        npv = specificity * (1 - share) / (specificity * (1 - share) + (1 - sensitivity) * share)
        assert point["ppv_at_prevalence_0.05"]["value"] == pytest.approx(ppv)
        assert point["npv_at_prevalence_0.05"]["value"] == pytest.approx(npv)
        assert point["likelihood_ratio_positive"]["value"] == pytest.approx(2)
        assert point["likelihood_ratio_negative"]["value"] == pytest.approx(2 / 3)
        assert point["chosen_on"]["cohort"] == "made up"

    def test_a_ratio_without_a_false_positive_is_not_finite_and_says_so(self):
        figure = self.summary(*FOUR)["operating_points"]["balanced"]["likelihood_ratio_positive"]
        assert figure["value"] is None
        assert "not finite" in figure["reason"]

    def test_the_page_reads_ratios_with_their_cohort(self):
        ratios = likelihood_ratios(self.summary(*FOUR, name="some folder"))
        assert set(ratios["binary"]) == {"balanced"}
        assert set(ratios["binary"]["balanced"]) == {"positive", "negative", "cohort"}
        assert set(ratios["binary"]["balanced"]["negative"]) == {"value", "ci_low", "ci_high"}
        assert ratios["binary"]["balanced"]["cohort"] == "some folder, n = 5, 2 with COVID-19"

    def test_confusion_by_hand(self):
        found = self.summary(*FOUR)["confusion"]
        assert found["three_class"] == {
            "labels": ["normal", "bacterial_pneumonia", "covid19"],
            "decisions": ["normal", "bacterial_pneumonia", "covid19"],
            "counts": [[1, 0, 0], [0, 1, 0], [0, 1, 1]],
        }
        assert found["binary"]["labels"] == ["normal", "bacterial_pneumonia", "viral_pneumonia", "covid19"]
        assert found["binary"]["counts"] == [[0, 1], [0, 1], [0, 1], [1, 1]]

    def test_original_form_by_hand(self):
        form = self.summary(*FOUR)["original"]["three_class"]
        plain, by_size = form["plain mean of classes"], form["weighted by class size"]
        assert plain["recall"]["value"] == pytest.approx((1 + 1 + 1 / 2) / 3)
        assert by_size["recall"]["value"] == pytest.approx(by_size["accuracy"]["value"])
        assert plain["precision"]["value"] == pytest.approx((1 + 1 / 2 + 1) / 3)
        assert plain["f1"]["value"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
        assert form["original"]["accuracy"] == 0.8564

    def test_treating_everyone_and_no_one_stand_beside_the_network(self):
        found = self.summary(*FOUR)["net_benefit"]
        at = found["threshold"].index(0.2)
        assert found["treat_all"][at] == pytest.approx(2 / 5 - 3 / 5 * 0.25, abs=1e-6)
        assert found["value"][at] == pytest.approx(2 / 5)  # both positives lie above 0.2, no negative does
        assert found["prevalence"] == pytest.approx(2 / 5)

    def test_the_last_coverage_is_the_error_of_all(self):
        found = self.summary(*FOUR)["error_by_coverage"]["binary"]
        assert found["coverage"][-1] == 1
        assert found["value"][-1] == pytest.approx(1 / 5)

    def test_questions_are_asked_within_a_source(self):
        questions = self.summary(*FOUR)["questions"]
        assert questions["covid19_against_other_pneumonias"] == {}  # no source has both
        assert set(questions["pneumonia_called_covid19"]) == {"b"}

    def test_nothing_analysed_is_still_a_summary_in_json(self):
        summary = self.summary()
        assert summary["counts"]["overall"] == {"images": 0, "patients": 0, "labels": {}}
        assert json.dumps(summary, allow_nan=False)


class TestAnswers:
    def test_a_selection_keeps_order_and_the_refused(self):
        answers = answers_of(*FOUR, rejected=[("x.png", "unreadable")])
        kept = answers.only(answers.labels == "covid19")
        assert [e.image for e in kept.examples] == ["0.png", "1.png"]
        np.testing.assert_array_equal(kept.logits["binary"], [[2], [-1]])
        assert kept.peaks["binary"].shape == (2,)
        assert kept.rejected == answers.rejected

    def test_truth_is_an_index_in_the_order_of_the_three_classes(self):
        np.testing.assert_array_equal(truth_index(THREE_CLASS, answers_of(*FOUR[:4]).labels), [2, 2, 0, 1])


@pytest.fixture
def cohort(tmp_path):
    """Composites of three sources, one of one class only, and two files that are no X-ray."""
    folder = tmp_path / "images"
    folder.mkdir()
    rows = [("covid19", "a"), ("normal", "a"), ("bacterial_pneumonia", "b")]
    for label, _ in rows:
        shutil.copy(COMPOSITES / f"{label}.png", folder / f"{label}.png")
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no picture")
    examples = [Example(f"{label}.png", label, source, patient_group=label) for label, source in rows]
    broken = [Example("empty.png", "covid19", "b"), Example("text.png", "normal", "c")]
    return folder, [broken[0], *examples, broken[1]]


class TestEvaluate:
    def test_refused_images_are_counted_apart_and_stand_in_no_figure(self, cohort, engine, tmp_path):
        folder, examples = cohort
        metrics = evaluate(examples, folder, engine, tmp_path / "out")
        assert metrics["images"] == 5
        assert metrics["rejected"] == [
            {"image": "empty.png", "code": EmptyFileError.code},
            {"image": "text.png", "code": "unsupported_format"},
        ]
        assert metrics["overall"]["binary_accuracy"]["n"] == 3
        assert metrics["counts"]["overall"]["images"] == 3
        assert metrics["counts"]["rejected_by_code"] == {EmptyFileError.code: 1, "unsupported_format": 1}
        assert metrics["counts"]["rejected_by_label"] == {"covid19": 1, "normal": 1}
        assert metrics["counts"]["rejected_by_source"] == {"b": 1, "c": 1}
        assert {s: figures["binary_accuracy"]["n"] for s, figures in metrics["by_source"].items()} == {"a": 2, "b": 1}

    def test_metrics_json_is_what_is_returned_and_has_null_where_a_source_has_one_class(self, cohort, engine, tmp_path):
        folder, examples = cohort
        metrics = evaluate(examples, folder, engine, tmp_path / "new" / "out")
        written = json.loads((tmp_path / "new" / "out" / "metrics.json").read_text())
        assert written == metrics
        assert written["model"]["sha256"] == engine.card.sha256
        assert written["by_source"]["a"]["binary_auroc"]["value"] is not None
        assert written["by_source"]["b"]["binary_auroc"]["value"] is None
        assert "one class" in written["by_source"]["b"]["binary_auroc"]["reason"]

    def test_predictions_csv_has_every_logit_and_probability_of_the_analysed_images(self, cohort, engine, tmp_path):
        folder, examples = cohort
        evaluate(examples, folder, engine, tmp_path)
        with (tmp_path / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == [
            "image", "label", "source",
            "binary_logit0", "binary_probability_covid19", "binary_probability_not_covid19",
            "three_class_logit0", "three_class_logit1", "three_class_logit2",
            "three_class_probability_normal", "three_class_probability_bacterial_pneumonia",
            "three_class_probability_covid19",
        ]  # fmt: skip
        assert [row["image"] for row in rows] == ["covid19.png", "normal.png", "bacterial_pneumonia.png"]
        temperature = engine.card.calibration.temperatures["binary"]
        for row in rows:
            covid = 1 / (1 + math.exp(-float(row["binary_logit0"]) / temperature))
            assert float(row["binary_probability_covid19"]) == pytest.approx(covid, rel=1e-12)
            three = [float(value) for name, value in row.items() if name.startswith("three_class_probability")]
            assert sum(three) == pytest.approx(1, abs=1e-12)

    def test_a_source_without_a_name_is_unknown(self, cohort, engine, tmp_path):
        folder, examples = cohort
        nameless = [Example(e.image, e.label) for e in examples]
        assert set(evaluate(nameless, folder, engine, tmp_path)["by_source"]) == {"unknown"}

    def test_nothing_but_refused_images_still_gives_a_report(self, cohort, engine, tmp_path):
        folder, examples = cohort
        metrics = evaluate([examples[0]], folder, engine, tmp_path)
        assert metrics["by_source"] == {}
        assert len(metrics["rejected"]) == 1
        assert (tmp_path / "predictions.csv").read_text().startswith("image,label,source,")
        assert "empty.png" in (tmp_path / "report.html").read_text()

    def test_plots_report_and_ratios_are_written(self, cohort, engine, tmp_path):
        folder, examples = cohort
        log = tmp_path / "log.jsonl"
        log.write_text('{"step": 5, "train_loss": 0.5, "binary_auroc": 0.9}\n')
        evaluate(examples, folder, engine, tmp_path / "out", name="a cohort", notes=["left out"], training_log=log)
        out = tmp_path / "out"
        assert {p.stem for p in (out / "plots").iterdir()} == {
            *(f"{kind}_{task}" for task in ("binary", "three_class") for kind in PER_TASK),
            "coverage", "net_benefit", "training",
        }  # fmt: skip
        assert "a cohort, n = 3" in (out / "likelihood_ratios.json").read_text()
        assert "left out" in (out / "report.html").read_text()

    def test_an_output_that_is_a_file_is_refused_before_any_image_is_analysed(self, cohort, engine, tmp_path):
        folder, examples = cohort
        (tmp_path / "out").touch()
        passes = engine.forward_passes
        with pytest.raises(OutputError, match="cannot be"):
            evaluate(examples, folder, engine, tmp_path / "out")
        assert engine.forward_passes == passes

    def test_a_table_that_cannot_be_written_is_an_error_of_the_output(self, cohort, engine, tmp_path):
        folder, examples = cohort
        (tmp_path / "predictions.csv").mkdir()
        with pytest.raises(OutputError, match="cannot be written"):
            evaluate(examples[:1], folder, engine, tmp_path)

    def test_a_missing_image_is_an_error_of_the_manifest(self, engine, tmp_path):
        with pytest.raises(ManifestError, match=r"none\.png"):
            answer_all([Example("none.png", "normal")], tmp_path, engine)

    def test_logits_and_peaks_are_kept_one_row_an_image(self, cohort, engine):
        folder, examples = cohort
        answers = answer_all(examples, folder, engine)
        assert answers.logits["binary"].shape == (3, 1)
        assert answers.logits["three_class"].shape == (3, 3)
        assert {task: peaks.shape for task, peaks in answers.peaks.items()} == {"binary": (3,), "three_class": (3,)}
        assert all((peaks > 0).all() for peaks in answers.peaks.values())
