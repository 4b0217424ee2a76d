"""The audit on made-up images and a tiny network, by values computed by hand, and once as a whole on the composites."""

import csv
import json
from functools import partial

import numpy as np
import plotly.graph_objects as go
import pytest

from detector.cli.main import main
from detector.errors import ManifestError, OutputError, UnsupportedFormatError
from detector.report.map_audit import map_audit_sentences
from detector.schema import BINARY, THREE_CLASS
from detector.statistics import bootstrap, merit
from detector.training.audit import saliency as module
from detector.training.audit.randomise import TOP
from detector.training.audit.saliency import (
    ANSWERS,
    FILLS,
    PICTURE_MAPS,
    audit_saliency,
    curve_figures,
    curves,
    donors,
    evenly,
    explain_all,
    headline,
    in_lung,
    mean_of,
    picture_curves,
    randomisation,
    spread,
)
from detector.training.data.manifest import Example
from detector.training.report.saliency_plots import saliency_plots
from tests.conftest import COMPOSITES
from tests.training.stand_ins import OneChannel, made_up


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 20)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(0, []), (1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, list(range(10))), (99, list(range(10)))],
)
def test_items_are_taken_at_equal_distances(limit, expected):
    assert evenly(range(10), limit) == expected


def test_images_of_the_three_classes_are_taken_alike():
    labels = ["covid19"] * 5 + ["viral_pneumonia"] * 5 + ["normal"] * 3
    examples = [Example(f"{i}.png", label) for i, label in enumerate(labels)]
    assert [e.image for e in spread(examples, 3)] == ["10.png", "11.png", "12.png", "0.png", "2.png", "4.png"]


def test_image_without_a_figure_is_left_out_of_it():
    found = mean_of(np.array([1.0, np.nan, 3.0]), ["p", "q", "r"])
    assert (found["value"], found["n"]) == (2, 2)


def test_share_of_all_has_the_exact_interval():
    measure = module._statistic(np.full(10, 1.0), merit.share, share=True)
    found = bootstrap.Resampling([str(i) for i in range(10)]).estimate(measure)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.6915, 1), abs=1e-4)  # 0.025 ** (1 / 10)


def test_figure_of_no_image_is_null_with_a_reason():
    found = mean_of(np.array([np.nan]), ["p"])
    assert found["value"] is None
    assert found["reason"]


IN, OUT, BOTH = [[1, 0], [1, 0]], [[0, 1], [0, 1]], [[1, 1], [1, 1]]


def test_lung_shares_by_hand_for_all_and_by_source():
    # On 2 x 2 cells over 32 pixels, a column of ones keeps 1 - (sum of the ramp beyond the middle) of itself: the
    # bilinear ramp is 15.5/16, …, 0.5/16 over 16 pixels, of which the 8 beyond the middle hold 2 of 16.
    group = [made_up(IN, patient="1"), made_up(BOTH, source="b", patient="2"), made_up(OUT, source="b", patient="3")]
    rights = {key: [] for key in ANSWERS} | {(BINARY, "covid19"): group}
    rows = [row for row in in_lung(rights, OneChannel()) if row["task"] == "binary"]
    assert [(row["source"], row["n"]) for row in rows] == [("all", 3), ("a", 1), ("b", 2)]
    assert [row["in_lung_fraction"]["value"] for row in rows] == pytest.approx([1 / 2, 7 / 8, (1 / 2 + 1 / 8) / 2])
    assert [row["peak_in_lung"]["value"] for row in rows] == pytest.approx([2 / 3, 1, 1 / 2])
    assert [row["mostly_outside"]["value"] for row in rows] == pytest.approx([1 / 3, 0, 1 / 2])
    assert [row["ratio"]["value"] for row in rows] == pytest.approx([1, 7 / 4, 5 / 8])
    assert [row["grid_ceiling"]["value"] for row in rows] == pytest.approx([7 / 8] * 3)


def test_answer_without_a_right_decision_has_a_row_of_nulls():
    rows = in_lung({key: [] for key in ANSWERS}, OneChannel())
    assert [row["n"] for row in rows] == [0] * 4
    assert rows[0]["in_lung_fraction"]["value"] is None


def test_only_a_decided_truth_is_right():
    explained = made_up(IN, label="covid19")
    assert explained.is_right(BINARY, "covid19")
    assert not explained.is_right(THREE_CLASS, "normal")
    explained.decisions["binary"] = "indeterminate"
    assert not explained.is_right(BINARY, "covid19")


@pytest.fixture
def one_spot():
    """A picture of ones and a donor of zeros, of 20 x 20 pixels, and a network that sees one corner, a hundredth."""
    pixels = np.ones((20, 20, 1), np.float32)
    return pixels, 0 * pixels, OneChannel(lambda picture: picture[:2, :2].mean())


def test_map_of_the_spot_that_counts_takes_the_answer_away_at_once(one_spot):
    pixels, donor, engine = one_spot
    spot = np.zeros((10, 10))
    spot[0, 0] = 1
    found = picture_curves(pixels, donor, {"spot": spot, "rest": -spot}, engine, (BINARY, "covid19"))
    gone = [1] + [0] * 10
    np.testing.assert_allclose(found["spot", False][1], gone)
    np.testing.assert_allclose(found["spot", True][1], [0] + [1] * 10)
    np.testing.assert_allclose(found["rest", True][1], gone[::-1])
    np.testing.assert_allclose(found["spot", False][0], 1 / (1 + np.exp(-np.array(gone, float))))


def test_margin_is_positive_where_the_map_is_better(one_spot):
    pixels, donor, engine = one_spot
    spot = np.zeros((10, 10))
    spot[0, 0] = 1
    found = picture_curves(pixels, donor, {"saliency": spot, "other": -spot}, engine, (BINARY, "covid19"))
    figures = curve_figures({key: [values] for key, values in found.items()}, ["p"], ("saliency", "other"))
    assert figures["maps"]["saliency"]["deletion"]["auc_log_odds"]["value"] == pytest.approx(0.05)
    assert figures["maps"]["other"]["deletion"]["auc_log_odds"]["value"] == pytest.approx(0.95)
    assert figures["margins"]["other"]["deletion_log_odds"]["value"] == pytest.approx(0.9)
    assert figures["margins"]["other"]["insertion_log_odds"]["value"] == pytest.approx(0.9)
    assert set(figures["margins"]) == {"other"}


def cohort_of_three():
    """Three COVID-19 images that were decided rightly and a normal one that lends its parts."""
    group = [made_up(IN, patient=str(i)) for i in range(3)]
    lender = made_up(OUT, label="normal", patient="lender")
    lender.decisions["binary"] = "not_covid19"
    return {key: [] for key in ANSWERS} | {(BINARY, "covid19"): group}, [*group, lender]


def test_curves_compare_the_four_maps():
    rights, cohort = cohort_of_three()
    found, by_blurring = curves(rights, cohort, OneChannel(lambda p: p.mean()))
    assert (found["filled_with"], by_blurring["filled_with"]) == FILLS
    assert tuple(found["maps"]) == PICTURE_MAPS
    assert set(found["margins"]) == {"random", "lung_prior", "own_lungs"}
    assert found["n"] == 3
    assert len(found["maps"]["saliency"]["insertion"]["probability"]["value"]) == len(found["fractions"]) == 11


def test_without_another_class_parts_are_blurred_alone():
    rights, cohort = cohort_of_three()
    assert [row["filled_with"] for row in curves(rights, cohort[:3], OneChannel(lambda p: p.mean()))] == ["blurred"]


def test_donors_are_of_another_class_and_were_decided_rightly():
    _, cohort = cohort_of_three()
    wrong = made_up(OUT, label="normal")  # the binary task has no such decision
    pneumonia = made_up(OUT, label="bacterial_pneumonia")
    assert donors([*cohort, wrong], (BINARY, "covid19")) == cohort[3:]
    assert donors([*cohort, pneumonia], (THREE_CLASS, "normal")) != []
    assert all(e.example.label != "normal" for e in donors([*cohort, pneumonia], (THREE_CLASS, "normal")))


def test_weights_that_stay_keep_the_map(tiny, seen, monkeypatch):
    monkeypatch.setattr(module, "randomise", lambda *_: None)
    found = randomisation(seen, tiny, seeds=2)
    assert set(found["maps"]) == {"binary", "three_class", "three_class_with_mean"}
    for steps in found["maps"].values():
        assert [s["randomised_down_to"] for s in steps] == [TOP, "head", "unit01", "unit00", "stem"]
        assert all(s[kind]["value"] == pytest.approx(1, abs=1e-3) for s in steps for kind in ("signed", "absolute"))


def test_sign_that_turns_is_another_map_with_the_same_spots(tiny, seen, monkeypatch):
    monkeypatch.setattr(module, "randomise", lambda layer, _: layer.set_weights([-w for w in layer.get_weights()]))
    monkeypatch.setattr(module, "stages_from_the_top", lambda network: [(TOP, [network.get_layer("binary")])])
    (step,) = randomisation(seen, tiny, seeds=1)["maps"]["binary"]
    assert (step["signed"]["value"], step["absolute"]["value"]) == (pytest.approx(-1), pytest.approx(1))
    assert step["by_seed"] == pytest.approx([-1])


def test_map_that_died_correlates_with_nothing(tiny, seen, monkeypatch):
    monkeypatch.setattr(module, "randomise", lambda layer, _: layer.set_weights([0 * w for w in layer.get_weights()]))
    steps = randomisation(seen, tiny, seeds=1)["maps"]["three_class"]
    assert steps[0]["signed"]["value"] == 0


def test_network_has_its_weights_again_and_seeds_decide(tiny, seen):
    before = [w.copy() for w in tiny.network.get_weights()]
    first, second = (randomisation(seen, tiny, seeds=2) for _ in range(2))
    for one, other in zip(before, tiny.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first == second
    by_seed = first["maps"]["binary"][0]["by_seed"]
    assert by_seed[0] != by_seed[1]
    assert all(abs(value) < 1 for value in by_seed)


def test_network_has_its_weights_again_after_an_exception(tiny, seen, monkeypatch):
    before = [w.copy() for w in tiny.network.get_weights()]
    monkeypatch.setattr(module, "_correlations", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        randomisation(seen, tiny, seeds=1)
    for one, other in zip(before, tiny.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def composites(tmp_path):
    """A manifest of the three composites and a picture that is refused."""
    (tmp_path / "blank.png").write_bytes(b"no picture")
    rows = [(COMPOSITES / f"{label}.png", label) for label in THREE_CLASS.classes] + [("blank.png", "covid19")]
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *rows])
    return tmp_path / "manifest.csv"


@pytest.fixture
def examples():
    return [Example(f"{label}.png", label, "made up", patient_group=label) for label in THREE_CLASS.classes]


def test_audit_writes_figures_and_plots(decided, examples, tmp_path, monkeypatch):
    engine = decided
    monkeypatch.setattr(module, "randomisation", partial(randomisation, seeds=1))
    found = audit_saliency(examples, COMPOSITES, engine, tmp_path / "out")
    text = (tmp_path / "out" / "saliency.json").read_text()
    assert json.loads(text) == found
    assert "NaN" not in text
    assert found["images"] == 3
    assert found["model"]["sha256"] == engine.card.sha256
    assert {row["class"] for row in found["curves"]} <= set(THREE_CLASS.classes)
    names = {path.name for path in (tmp_path / "out" / "plots").iterdir()}
    by_map = {f"{way}{end}" for way in ("deletion", "insertion") for end in ("", "_blurred")}
    assert names == {f"saliency_{name}.json" for name in {"in_lung", "peak", "randomisation"} | by_map}
    for path in (tmp_path / "out" / "plots").iterdir():
        figure = go.Figure(json.loads(path.read_text()))
        assert figure.layout.title.text
        assert figure.data


def test_what_is_explained_is_what_the_app_shows(engine, examples):
    from detector.answers.pipeline import analyse

    (explained,), rejected = explain_all(examples[:1], COMPOSITES, engine)
    analysis = analyse((COMPOSITES / examples[0].image).read_bytes(), engine)
    np.testing.assert_array_equal(explained.cam(THREE_CLASS, "normal"), analysis.cams["three_class"][0])
    np.testing.assert_array_equal(explained.logits["binary"], analysis.logits["binary"])
    np.testing.assert_array_equal(explained.lung_field, analysis.lung_field)
    assert rejected == []


def test_refused_image_is_named(engine, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    explained, rejected = explain_all([Example("a.png", "normal")], tmp_path, engine)
    assert explained == []
    assert rejected == [("a.png", UnsupportedFormatError.code)]


def test_missing_image_is_the_manifests_fault(engine, tmp_path):
    with pytest.raises(ManifestError, match=r"gone\.png"):
        explain_all([Example("gone.png", "normal")], tmp_path, engine)


def test_without_a_right_decision_nothing_is_audited(engine, tmp_path):
    with pytest.raises(ManifestError, match="right"):
        audit_saliency([Example("a.png", "viral_pneumonia")], tmp_path, engine, tmp_path / "out")


def test_folder_that_cannot_be_made_is_said_before_the_work(engine, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        audit_saliency([Example("gone.png", "normal")], tmp_path, engine, tmp_path / "file")


def figure(value, low=None, high=None):
    return {"value": value, "ci_low": low, "ci_high": high, "n": 50, "reason": None}


MEASURED = {
    "covid19_in_lung_fraction": figure(0.75, 0.7, 0.8),
    "covid19_ratio": figure(2.5, 2.2, 2.8),
    "covid19_grid_ceiling": figure(0.87),
    "covid19_lung_box_fraction": figure(0.35),
    "covid19_peak_in_lung": figure(0.9, 0.8, 0.95),
    "deletion_margin_over_lung_prior": figure(0.1, 0.05, 0.15),
    "deletion_margin_over_random": figure(-0.1, -0.15, -0.05),
    "insertion_margin_over_lung_prior": figure(0.01, -0.05, 0.15),
    "insertion_margin_over_random": figure(0.2, 0.1, 0.3),
    "top_layer_signed_correlation_binary": figure(0.05),
    "top_layer_absolute_correlation_binary": figure(0.4),
    "all_layers_absolute_correlation_binary": figure(0.1),
}


def test_report_says_what_was_measured_for_better_or_worse():
    lines = map_audit_sentences({"headline": MEASURED})
    assert lines[0].startswith(
        "Of 50 COVID-19 decisions that are right, the median share of the evidence in the lungs is "
        "75 % (95 % interval 70 % to 80 %), 2.5 times the lungs' share of the picture."
    )
    assert "87 %" in lines[0]
    assert "35 %" in lines[0]
    assert lines[1] == "The strongest evidence lies in a lung in 90 % (95 % interval 80 % to 95 %) of them."
    assert "more than in the order of a map of the lungs' middle (area +0.100" in lines[2]
    assert "less than in a random order (area -0.100" in lines[2]
    assert "not demonstrably more or less than in the order of a map of the lungs' middle" in lines[3]
    assert "0.05 (0.40 if its sign is left out)" in lines[4]


@pytest.mark.parametrize("name", MEASURED)
def test_figure_that_was_not_measured_costs_its_sentence_alone(name):
    assert len(map_audit_sentences({"headline": MEASURED | {name: figure(None)}})) == 4
    assert len(map_audit_sentences({"headline": {k: v for k, v in MEASURED.items() if k != name}})) == 4


def test_headline_is_the_binary_covid19_answer_over_all_sources():
    rights, cohort = cohort_of_three()
    step = {"randomised_down_to": TOP, "signed": figure(0.1), "absolute": figure(0.2), "by_seed": [0.1]}
    found = {
        "in_lung": in_lung(rights, OneChannel()),
        "curves": curves(rights, cohort, OneChannel(lambda p: p.mean())),
        "randomisation": {"images": 3, "seeds": 1, "maps": {"binary": [step, step]}},
    }
    chosen = headline(found)
    assert chosen["covid19_in_lung_fraction"]["value"] == pytest.approx(7 / 8)
    assert set(MEASURED) <= set(chosen)
    assert len(map_audit_sentences({"headline": chosen})) == 5
    assert set(chosen) >= {f"{way}_margin_over_random_blurred" for way in ("deletion", "insertion")}
    assert len(saliency_plots(found)) == 7


def test_command_line_hands_on_what_was_asked(tmp_path, monkeypatch, capsys, composites):
    def audit(examples, images, engine, out, *, limit):
        assert len(examples) == 4
        return {"headline": {"images": str(images), "engine": engine, "out": str(out), "limit": limit}}

    monkeypatch.setattr("detector.training.audit.saliency.audit_saliency", audit)
    monkeypatch.setattr("detector.model.engine.Engine.load", lambda *_: "network")
    arguments = ["audit-saliency", "--manifest", str(composites), "--out", str(tmp_path / "out"), "--limit", "7"]
    assert main(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {
        "images": str(tmp_path),
        "engine": "network",
        "out": str(tmp_path / "out"),
        "limit": 7,
    }
