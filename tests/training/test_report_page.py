"""The report: one file, offline, every figure explained, and nothing in it that a file's name put there."""

import re
from types import SimpleNamespace

import pytest

from detector.schema import ModelInfo
from detector.statistics import bootstrap as resampling
from detector.training.measure.evaluate import summarise
from detector.training.measure.figures import all_statistics
from detector.training.report.page import report_page
from detector.training.report.plots import evaluation_plots
from detector.training.report.sentences import EXPLAINED, OPACITIES, PLOT_WORDS, TABLES
from tests.training.test_plots import CALIBRATION, MIXED, answers_of

HOSTILE = "<script>alert(1)</script>&'\""


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(resampling, "RESAMPLES", 20)


CARD = SimpleNamespace(
    calibration=CALIBRATION, info=ModelInfo("n", "0" * 64, "1"), name="n", version="1", sha256="0" * 64
)


def page(answers, **options):
    return report_page(summarise(answers, CARD, **options), CARD, evaluation_plots(answers, CALIBRATION))


def without_scripts(text):
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


class TestReportPage:
    def test_it_needs_no_other_file(self):
        text = page(answers_of(MIXED))
        tags = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", text.replace("\\u003c", ""))
        assert tags == []
        assert text.count("plotly.js v") == 1

    def test_it_says_how_many_images_each_interval_rests_on_and_marks_the_few(self):
        text = without_scripts(page(answers_of(MIXED), name="made up"))
        assert "40 images of 40 patients" in text
        assert "†" in text
        assert "made up" in text

    def test_every_figure_in_its_tables_is_measured_and_explained(self):
        answers = answers_of(MIXED)
        measured = summarise(answers, CARD)["overall"]
        for _, names in TABLES:
            for name in names:
                assert name in measured or re.match(r"binary_(sensitive|specific)_", name), name  # points of the card
        assert set(all_statistics(answers, CALIBRATION)) <= set(EXPLAINED)

    def test_a_small_cohort_is_called_so_and_a_larger_one_is_not(self):
        assert "Fewer than 100 images" in page(answers_of(MIXED))
        assert "Fewer than 100 images" not in page(answers_of(MIXED * 3))

    def test_what_the_images_don_t_say_has_no_table(self):
        assert "By source" not in page(answers_of(MIXED))

    def test_every_plot_has_its_sentence(self):
        for name in evaluation_plots(answers_of(MIXED), CALIBRATION):
            assert any(name.startswith(start) for start in PLOT_WORDS)

    def test_names_are_text_and_never_markup(self):
        answers = answers_of(MIXED)
        examples = tuple(type(e)(e.image, e.label, HOSTILE, patient_group=e.patient_group) for e in answers.examples)
        hostile = type(answers)(examples, answers.logits, answers.peaks, ((HOSTILE, "unreadable"),))
        text = page(hostile, name=HOSTILE, notes=[HOSTILE])
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text

    def test_rejected_images_stand_apart(self):
        answers = answers_of(MIXED)
        refused = type(answers)(answers.examples, answers.logits, answers.peaks, (("a.png", "too_small"),))
        text = without_scripts(page(refused))
        assert "1 as too_small" in text
        assert "a.png" in text
        assert "1 rejected" in text

    def test_nothing_analysed_is_still_a_page(self):
        text = without_scripts(page(answers_of([])))
        assert "0 images of 0 patients" in text
        assert "no images of these labels" in text

    def test_what_one_hospital_says_has_its_tables_where_it_was_measured(self):
        metrics = summarise(answers_of(MIXED), CARD)
        figure = metrics["overall"]["binary_auroc"]
        part = {"covid19": 3, "others": 4, "auroc": figure, "operating_points": {"balanced": {"sensitivity": figure}}}
        metrics |= {
            "adult_opacities": {HOSTILE: dict.fromkeys(OPACITIES, figure)},
            "within_one_hospital": {"strata": {"a, AP": part}, "pooled": {"a": part}},
            "original_mix": metrics["original"],
        }
        text = report_page(metrics, CARD, {})
        for words in (*OPACITIES.values(), "a, AP: 3 and 4", "a, all views: 3 and 4", "on its own mix"):
            assert words in text.replace("&#39;", "'")
        assert HOSTILE not in text
