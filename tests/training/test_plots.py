"""Plots: every one has a title, axis titles and its number of images; nothing that isn't a number is drawn."""

import json

import numpy as np
import pytest

from detector.model.calibration import Calibration
from detector.schema import BINARY, THREE_CLASS, OperatingPoint
from detector.statistics import bootstrap as resampling
from detector.training.data.manifest import Example
from detector.training.measure.cohort import Answers
from detector.training.report.plots import confusion_plot, evaluation_plots, training_plot, write_plots

POINT = OperatingPoint("balanced", 0.5, 1.0, 1.0, "made up")
CALIBRATION = Calibration({"binary": 1.0, "three_class": 1.0}, {"balanced": POINT}, {"binary": 0.0, "three_class": 0.0})


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(resampling, "RESAMPLES", 20)


def answers_of(labels):
    rng = np.random.default_rng(0)
    binary = np.array([3.0 * (label == "covid19") for label in labels]) + rng.normal(-1, 1, len(labels))
    three = rng.normal(0, 1, (len(labels), 3))
    return Answers(
        tuple(Example(f"{i}", label, patient_group=f"{i}") for i, label in enumerate(labels)),
        {"binary": binary[:, None], "three_class": three},
        {name: np.ones(len(labels)) for name in ("binary", "three_class")},
        (),
    )


MIXED = ["covid19", "normal", "bacterial_pneumonia", "viral_pneumonia"] * 10


class TestEvaluationPlots:
    def test_each_has_titles_and_says_how_many_images_it_rests_on(self, tmp_path):
        log = tmp_path / "log.jsonl"
        log.write_text('{"step": 1, "train_loss": 1.0, "binary_auroc": null, "balanced_log_loss": 2.0}\n\n')
        figures = evaluation_plots(answers_of(MIXED), CALIBRATION, training_log=log)
        assert len(figures) == 11
        for name, figure in figures.items():
            assert figure.layout.title.text, name
            assert figure.layout.xaxis.title.text, name
            assert figure.layout.yaxis.title.text, name
            legend = " ".join(str(trace.name) for trace in figure.data)
            assert name == "training" or "n = " in figure.layout.title.text + legend, name

    def test_bands_enclose_their_line(self):
        figure = evaluation_plots(answers_of(MIXED), CALIBRATION)["roc_binary"]
        band, line = figure.data[0], figure.data[1]
        half = len(band.x) // 2
        high, low = np.array(band.y[:half], float), np.array(band.y[half:][::-1], float)
        assert (low <= np.array(line.y, float) + 1e-9).all()
        assert (np.array(line.y, float) <= high + 1e-9).all()

    def test_one_class_alone_draws_no_curve_and_says_so(self):
        figures = evaluation_plots(answers_of(["normal"] * 4), CALIBRATION)
        assert [trace.name for trace in figures["roc_binary"].data] == ["chance"]
        assert "one class only" in figures["roc_binary"].layout.title.text

    def test_no_image_of_the_three_classes_leaves_the_binary_plots(self):
        figures = evaluation_plots(answers_of(["viral_pneumonia"] * 4), CALIBRATION)
        assert "roc_binary" in figures
        assert "roc_three_class" not in figures

    def test_no_images_no_plots(self, tmp_path):
        assert evaluation_plots(answers_of([]), CALIBRATION, training_log=tmp_path / "none") == {}

    def test_files_are_strict_json(self, tmp_path):
        write_plots(evaluation_plots(answers_of(MIXED), CALIBRATION), tmp_path / "plots")
        for path in (tmp_path / "plots").iterdir():
            json.loads(path.read_text(), parse_constant=pytest.fail)


class TestConfusionPlot:
    def test_colour_is_the_share_of_the_row_and_text_the_count(self):
        figure = confusion_plot(BINARY, {"covid19": [3, 1], "normal": [0, 5]})
        np.testing.assert_allclose(np.array(figure.data[0].z, float), [[0.75, 0.25], [0, 1]])
        assert figure.data[0].text[0][0].startswith("3<br>")
        assert "n = 4" in figure.data[0].y[0]

    def test_an_empty_one_has_no_division_by_zero(self):
        figure = confusion_plot(THREE_CLASS, {})
        assert "n = 0" in figure.layout.title.text


class TestTrainingPlot:
    def test_undefined_checkpoints_are_left_out(self):
        rows = [
            {"step": 1, "binary_auroc": None, "train_loss": 1.0},
            {"step": 2, "binary_auroc": 0.9, "train_loss": 0.5},
        ]
        traces = {trace.name: trace for trace in training_plot(rows).data}
        assert list(traces["AUROC, COVID-19 or not"].x) == [2]
        assert list(traces["training loss"].y) == [1.0, 0.5]
