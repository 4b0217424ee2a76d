"""Evaluation: what counts, what does not, and what a cohort can't tell."""

import csv
import json
import math
import shutil
from functools import partial

import numpy as np
import pytest

from detector.calibration import Calibration
from detector.errors import EmptyFileError, ManifestError, OutputError
from detector.schema import OperatingPoint
from detector.training import evaluate as module
from detector.training.evaluate import (
    Answers,
    answer_all,
    evaluate,
    labelled_folder,
    labelled_manifest,
    measure,
    truth_index,
)
from detector.training.manifest import Example
from detector.training.metrics import bootstrap
from tests.conftest import COMPOSITES

POINT = OperatingPoint("balanced", 0.5, 1.0, 1.0, "made up")
CALIBRATION = Calibration({"binary": 1.0, "three_class": 1.0}, {"balanced": POINT}, {"binary": 1.5, "three_class": 1.5})


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(module, "bootstrap", partial(bootstrap, samples=20))


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


class TestLabelledFolder:
    def test_subfolders_are_labels_and_other_folders_are_left(self, tmp_path):
        for name in ("covid19/a.png", "covid19/ward/b", "normal/c.dcm", "unsorted/d.png", "e.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        found = {(e.image, e.label, e.patient_group) for e in labelled_folder(tmp_path)}
        expected = {("covid19/a.png", "covid19"), ("covid19/ward/b", "covid19"), ("normal/c.dcm", "normal")}
        assert found == {(image, label, image) for image, label in expected}

    @pytest.mark.parametrize("name", ["", "none", "COVID/a.png"], ids=["empty", "missing", "misnamed"])
    def test_a_folder_without_a_label_is_refused_with_the_names_that_would_do(self, tmp_path, name):
        if name.endswith(".png"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
        with pytest.raises(ManifestError, match="sub-folder named as a label: normal, "):
            labelled_folder(tmp_path / "none" if name == "none" else tmp_path)


class TestLabelledManifest:
    def names(self, folder, text, split):
        (folder / "m.csv").write_text(text)
        return [e.image for e in labelled_manifest(folder / "m.csv", split)]

    @pytest.mark.parametrize(("split", "names"), [(None, ["b"]), ("test", ["b"]), ("val", ["a"])])
    def test_the_test_split_unless_another_is_named(self, tmp_path, split, names):
        assert self.names(tmp_path, "image,label,split\na,normal,val\nb,normal,test\n", split) == names

    def test_all_rows_of_a_manifest_without_splits(self, tmp_path):
        assert self.names(tmp_path, "image,label\na,normal\nb,normal\n", None) == ["a", "b"]

    def test_a_manifest_with_splits_but_no_test_rows_is_refused(self, tmp_path):
        with pytest.raises(ManifestError, match="no rows of split 'test'"):
            self.names(tmp_path, "image,label,split\na,normal,train\n", None)


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
        ],
    )
    def test_five_images_by_hand(self, name, value):
        assert self.value(answers_of(*FOUR), name) == pytest.approx(value)

    def test_brier_score_by_hand(self):
        probabilities = [1 / (1 + math.exp(-logit)) for _, _, logit, _ in FOUR]
        expected = np.mean([(p - truth) ** 2 for p, truth in zip(probabilities, (1, 1, 0, 0, 0), strict=True)])
        assert self.value(answers_of(*FOUR), "binary_brier_score") == pytest.approx(expected)

    def test_a_label_of_none_of_the_three_counts_in_the_binary_figures_only(self):
        figures = measure(answers_of(*FOUR), CALIBRATION)
        assert {f["n"] for name, f in figures.items() if name.startswith("binary_")} == {5}
        assert {f["n"] for name, f in figures.items() if name.startswith("three_class_")} == {4}

    @pytest.mark.parametrize(
        "name", ["binary_auroc", "binary_auprc", "binary_balanced_sensitivity", "three_class_macro_auroc"]
    )
    def test_what_one_class_cannot_have_is_null_with_a_reason(self, name):
        figure = measure(answers_of(FOUR[2]), CALIBRATION)[name]
        assert (figure["value"], figure["ci_low"], figure["ci_high"]) == (None, None, None)
        assert "one class" in figure["reason"]

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


class TestAnswers:
    def test_a_selection_keeps_order_and_the_refused(self):
        answers = answers_of(*FOUR, rejected=[("x.png", "unreadable")])
        kept = answers.only(answers.labels == "covid19")
        assert [e.image for e in kept.examples] == ["0.png", "1.png"]
        np.testing.assert_array_equal(kept.logits["binary"], [[2], [-1]])
        assert kept.peaks["binary"].shape == (2,)
        assert kept.rejected == answers.rejected

    def test_truth_is_an_index_in_the_order_of_the_three_classes(self):
        np.testing.assert_array_equal(truth_index(answers_of(*FOUR[:4])), [2, 2, 0, 1])


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
    def test_refused_images_are_counted_apart_and_stand_in_no_figure(self, cohort, classifier, tmp_path):
        folder, examples = cohort
        metrics = evaluate(examples, folder, classifier, tmp_path / "out")
        assert metrics["images"] == 5
        assert metrics["rejected"] == [
            {"image": "empty.png", "code": EmptyFileError.code},
            {"image": "text.png", "code": "unsupported_format"},
        ]
        assert {figure["n"] for figure in metrics["overall"].values()} == {3}
        assert {s: figures["binary_accuracy"]["n"] for s, figures in metrics["by_source"].items()} == {"a": 2, "b": 1}

    def test_metrics_json_is_what_is_returned_and_has_null_where_a_source_has_one_class(
        self, cohort, classifier, tmp_path
    ):
        folder, examples = cohort
        metrics = evaluate(examples, folder, classifier, tmp_path / "new" / "out")
        written = json.loads((tmp_path / "new" / "out" / "metrics.json").read_text())
        assert written == metrics
        assert written["model"]["sha256"] == classifier.card.sha256
        assert written["by_source"]["a"]["binary_auroc"]["value"] is not None
        assert written["by_source"]["b"]["binary_auroc"]["value"] is None
        assert "one class" in written["by_source"]["b"]["binary_auroc"]["reason"]

    def test_predictions_csv_has_every_logit_and_probability_of_the_analysed_images(self, cohort, classifier, tmp_path):
        folder, examples = cohort
        evaluate(examples, folder, classifier, tmp_path)
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
        temperature = classifier.card.calibration.temperatures["binary"]
        for row in rows:
            covid = 1 / (1 + math.exp(-float(row["binary_logit0"]) / temperature))
            assert float(row["binary_probability_covid19"]) == pytest.approx(covid, rel=1e-12)
            three = [float(value) for name, value in row.items() if name.startswith("three_class_probability")]
            assert sum(three) == pytest.approx(1, abs=1e-12)

    def test_a_source_without_a_name_is_unknown(self, cohort, classifier, tmp_path):
        folder, examples = cohort
        nameless = [Example(e.image, e.label) for e in examples]
        assert set(evaluate(nameless, folder, classifier, tmp_path)["by_source"]) == {"unknown"}

    def test_nothing_but_refused_images_still_gives_a_report(self, cohort, classifier, tmp_path):
        folder, examples = cohort
        metrics = evaluate([examples[0]], folder, classifier, tmp_path)
        assert metrics["by_source"] == {}
        assert len(metrics["rejected"]) == 1
        assert (tmp_path / "predictions.csv").read_text().startswith("image,label,source,")

    def test_an_output_that_is_a_file_is_refused_before_any_image_is_analysed(self, cohort, classifier, tmp_path):
        folder, examples = cohort
        (tmp_path / "out").touch()
        passes = classifier.forward_passes
        with pytest.raises(OutputError, match="cannot be"):
            evaluate(examples, folder, classifier, tmp_path / "out")
        assert classifier.forward_passes == passes

    def test_a_table_that_cannot_be_written_is_an_error_of_the_output(self, cohort, classifier, tmp_path):
        folder, examples = cohort
        (tmp_path / "predictions.csv").mkdir()
        with pytest.raises(OutputError, match="cannot be written"):
            evaluate(examples[:1], folder, classifier, tmp_path)

    def test_a_missing_image_is_an_error_of_the_manifest(self, classifier, tmp_path):
        with pytest.raises(ManifestError, match=r"none\.png"):
            answer_all([Example("none.png", "normal")], tmp_path, classifier)

    def test_logits_and_peaks_are_kept_one_row_an_image(self, cohort, classifier):
        folder, examples = cohort
        answers = answer_all(examples, folder, classifier)
        assert answers.logits["binary"].shape == (3, 1)
        assert answers.logits["three_class"].shape == (3, 3)
        assert {task: peaks.shape for task, peaks in answers.peaks.items()} == {"binary": (3,), "three_class": (3,)}
        assert all((peaks > 0).all() for peaks in answers.peaks.values())
