"""The second page's tables: read from files, with a dash where nothing was measured."""

import json

import plotly.graph_objects as go
import pytest

from detector import words
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.ui import measured
from detector.ui.forest import Line, forest_alt, forest_chart
from detector.ui.palette import DARK


def estimate(value, n=50, reason=None):
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return {"value": value, "ci_low": low, "ci_high": high, "n": n, "reason": reason}


@pytest.fixture
def folder(tmp_path):
    original = {task: dict.fromkeys(("accuracy", "precision", "recall", "f1", "auc"), 0.5) for task in words.TASKS}
    (tmp_path / "original.json").write_text(json.dumps(original))
    metrics = {
        "overall": {"binary_accuracy": estimate(0.8), "binary_auroc": estimate(0.9)},
        "by_source": {"nih": {"binary_auroc": estimate(None, reason="one class"), "binary_ece": estimate(0.1, n=7)}},
    }
    (tmp_path / "test.json").write_text(json.dumps(metrics))
    return tmp_path


def test_original_stands_beside_ours(folder):
    table = measured.original_table(folder)
    ours = dict(zip(table[words.COLUMN_FIGURE], table[words.COLUMN_OURS], strict=True))
    assert ours["Binary: accuracy"] == "0.800 (0.700 to 0.900)"
    assert ours["Binary: F1"] == words.NOT_DEFINED
    assert set(table[words.COLUMN_ORIGINAL]) == {"0.500"}


def test_figures_on_the_original_s_mix_and_on_all_are_in_its_own_form(folder):
    metrics = json.loads((folder / "test.json").read_text())
    metrics["original"] = {"binary": {"COVID-19 alone": {"f1": estimate(0.7)}}}
    metrics["original_mix"] = {"binary": {"COVID-19 alone": {"f1": estimate(0.9)}}}
    (folder / "test").mkdir()
    (folder / "test" / "metrics.json").write_text(json.dumps(metrics))
    table = measured.original_table(folder)
    assert table[words.COLUMN_OURS][3] == "0.700 (0.600 to 0.800)"
    assert table[words.COLUMN_OURS_ON_ITS_MIX][3] == "0.900 (0.800 to 1.000)"
    assert table[words.COLUMN_OURS_ON_ITS_MIX][0] == words.NOT_DEFINED


def test_original_s_binary_figures_fit_one_class_alone():
    original = json.loads((measured.EVALUATION / "original.json").read_text())["binary"]
    precision, recall = original["precision"], original["recall"]
    assert original["f1"] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-4)
    assert recall != pytest.approx(original["accuracy"], abs=1e-3)  # as it were if weighted by class size


def test_sources_have_a_line_each_and_undefined_figures_a_dash_with_its_reason(folder):
    table = measured.source_table(folder)
    assert table[words.COLUMN_SOURCE] == [words.ALL_SOURCES, "nih"]
    assert table[words.COLUMN_IMAGES] == ["50", "50"]
    assert table[words.MEASURES["binary_auroc"]] == ["0.900 (0.800 to 1.000)", words.NOT_DEFINED]
    assert measured.reasons(folder) == ["nih: one class"]


def test_plots_are_read_with_their_titles_and_broken_ones_left_out(folder):
    (folder / "plots").mkdir()
    figure = go.Figure(layout={"title": "<b>ROC</b><br>note"})
    (folder / "plots" / "roc.json").write_text(figure.to_json())
    (folder / "plots" / "torn.json").write_text("{")
    (plot,) = measured.plots(folder)
    assert (plot.name, plot.title) == ("roc", "ROC")


def test_audit_has_a_line_for_each_network_and_the_near_ones_are_red(folder):
    figures = {"shipped_network": 0.97, "border": 0.95, "source_and_age": 0.8}
    part = {
        "figures": {name: {"binary_auroc": estimate(value)} for name, value in figures.items()},
        "too_near": {"binary_auroc": ["border"]},
    }
    pair = {"pair": {"positive": "a", "negative": "b"}, "auroc": estimate(0.55)}
    network = {"mean_auroc": 0.6, "lowest_auroc": 0.5, "highest_auroc": 0.7, "pairs": [pair]}
    audit = {"splits": {"test": {"overall": part}}, "leave_one_source_pair_out": {"network": network}}
    (folder / "audit.json").write_text(json.dumps(audit))
    lines = {line.label: line for line in measured.audit_lines(folder)}
    assert lines[words.AUDIT_NETWORKS["border"]].tone == "bad"
    assert lines[words.AUDIT_NETWORKS["source_and_age"]].tone == "quiet"
    assert lines["Left out: a against b"].tone == "bad"
    headline = measured.headline_lines(folder)
    assert [line.value for line in headline] == [0.9, 0.6, 0.5]
    assert (headline[1].low, headline[1].high) == (0.5, 0.7)


def test_people_are_counted_by_the_hundred(folder):
    metrics = json.loads((folder / "test.json").read_text())
    metrics["overall"] |= {
        "binary_balanced_sensitivity": estimate(0.934),
        "binary_balanced_specificity": estimate(0.924),
    }
    metrics["worst_source"] = {"binary_auroc": {"source": "nih", **estimate(0.81, n=65)}}
    (folder / "test.json").write_text(json.dumps(metrics))
    assert measured.frequencies(folder) == [
        "Of 100 people with COVID-19: 93 flagged, 7 missed.", "Of 100 people without: 8 falsely flagged.",
    ]  # fmt: skip
    assert measured.worst_group(folder) == "nih: AUROC 0.81 (0.71 to 0.91), 65 images."


def test_hospitals_of_the_external_test_have_lines_of_their_own(folder):
    (folder / "external_test.json").write_text(json.dumps({"by_hospital": {"far": {"binary_auroc": estimate(0.7)}}}))
    assert words.UNSEEN_HOSPITAL.format(name="far") in [line.label for line in measured.headline_lines(folder)]
    assert "far (never seen)" in [line.label for line in measured.source_lines(folder)]


def test_rejections_stand_in_four_rows():
    gate = read_card(MODELS / f"{DEFAULT_MODEL}.json").gate
    table = measured.rejection_table(gate)
    assert len(table[words.REJECTED_WHAT]) == 4
    assert measured.rejection_table({}) is None


def test_forest_draws_each_line_with_its_interval():
    lines = [Line("a", 0.9, 0.8, 0.95, 10, "main"), Line("b", 0.5, 0.5, 0.5)]
    figure = forest_chart(lines, DARK)
    (points,) = figure.data
    assert list(points.x) == [0.9, 0.5]
    assert points.error_x.array[0] == pytest.approx(0.05)
    assert forest_alt(lines) == "a: 0.90 (0.80 to 0.95), n = 10; b: 0.50"


def test_candidates_have_a_row_each_and_every_pair_a_column(folder):
    entries = {
        "a": {
            "words": "One",
            "validation": {"binary_auroc": estimate(0.9)},
            "left_out": {"p against q": estimate(0.6)},
            "own_source": {"p against q": estimate(0.5)},
        },
        "b": {"words": "Two", "validation": {"binary_auroc": estimate(0.8)}, "left_out": {}},
    }
    (folder / "candidates.json").write_text(json.dumps({"protocol": {"batches": 300}, "candidates": entries}))
    table = measured.candidate_table(folder)
    assert table[words.COLUMN_CANDIDATE] == ["One", "Two"]
    assert table[words.CANDIDATE_MEASURES["binary_auroc"]] == ["0.900 (0.800 to 1.000)", "0.800 (0.700 to 0.900)"]
    title = words.CANDIDATE_LEFT_OUT.format(pair="p against q")
    assert table[title] == ["0.600 (0.500 to 0.700)", words.NOT_DEFINED]
    own = words.CANDIDATE_OWN_SOURCE.format(pair="p against q")
    assert table[own] == ["0.500 (0.400 to 0.600)", words.NOT_DEFINED]
    note = measured.candidate_note(folder)
    assert "300 batches" in note
    assert words.CANDIDATES_PAIRS in note
    assert words.CANDIDATES_SEEDS not in note


def test_figures_of_further_seeds_follow_the_first(folder):
    seeds = {"1": {"binary_auroc": estimate(0.8)}}
    entries = {"a": {"words": "One", "validation": {"binary_auroc": estimate(0.9)}, "other_seeds": seeds}}
    (folder / "candidates.json").write_text(json.dumps({"protocol": {"batches": 300}, "candidates": entries}))
    (told,) = measured.candidate_table(folder)[words.CANDIDATE_MEASURES["binary_auroc"]]
    assert told == "0.900 (0.800 to 1.000)\n0.800 (0.700 to 0.900)"
    assert words.CANDIDATES_SEEDS in measured.candidate_note(folder)


def test_empty_folder_has_nothing_to_show(tmp_path):
    assert measured.candidate_table(tmp_path) is None
    assert measured.original_table(tmp_path) is None
    assert measured.source_table(tmp_path) is None
    assert measured.plots(tmp_path) == []
    assert measured.audit_lines(tmp_path) == []
    assert measured.frequencies(tmp_path) == []
    assert measured.worst_group(tmp_path) is None
    assert measured.maps_trusted(tmp_path) is None
    assert measured.new_hospital(tmp_path) == words.WORTH_NOT_MEASURED
    assert [line.label for line in measured.headline_lines(tmp_path)] == [words.CHANCE]
    assert measured.training_rows(tmp_path) == []


def test_shipped_files_fill_both_tables():
    assert measured.original_table() is not None
    assert measured.source_table()[words.COLUMN_SOURCE][0] == words.ALL_SOURCES


def test_a_cohort_without_a_figure_has_no_chart(tmp_path):
    figure = {"value": 0.9, "ci_low": 0.8, "ci_high": 0.95}
    cohorts = {"a": {"50": {"coverage": figure}}, "b": {"50": {}}, "c": {}}
    (tmp_path / "sites.json").write_text(json.dumps({"cohorts": cohorts}))
    assert {name: [line.value for line in lines] for name, lines in measured.calibration_lines(tmp_path).items()} == {
        "a": [0.9]
    }
