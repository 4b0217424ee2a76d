"""The table of candidates: who is trained how, on what it is measured, and what is kept between runs."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from detector.model.network import FEATURE_LAYER, POOLING_LAYER
from detector.schema import TASKS
from detector.statistics import bootstrap as resampling
from detector.training.audit import candidates, leave_out
from detector.training.audit.candidates import CANDIDATES, compare_candidates, comparison_figures
from detector.training.audit.leave_out import SourcePair, Trainings
from detector.training.data.manifest import Example
from detector.training.fit.classifier import FitConfig

SIZE = 32
FIGURES = {
    "binary_auroc",
    "auroc_covid19_against_other_pneumonias",
    "auroc_covid19_against_adult_opacities",
    "auroc_opacity_against_normal_nih",
    "auroc_covid19_against_other_pneumonias_ieee8023",
    "three_class_macro_auroc",
    "three_class_accuracy",
    "binary_auroc_in_misleading_surroundings",
    "evidence_in_lungs",
}


LABELS = {"a": ("covid19",), "b": ("covid19", "normal", "bacterial_pneumonia"), "c": ("normal",)}


def examples(labels=LABELS):
    return [
        Example(f"{source}{label}{split}{i}", label, source, split, f"{source}{label}{split}{i}")
        for source, kinds in labels.items()
        for label in kinds
        for split in ("train", "val")
        for i in range(3)
    ]


@pytest.fixture
def network():
    """Its evidence lies where the picture is bright."""
    x = image = keras.Input((SIZE, SIZE, 1), name="image")
    x = layers.AveragePooling2D(8, name=FEATURE_LAYER)(x)
    x = layers.GlobalAveragePooling2D(name=POOLING_LAYER)(x)
    return keras.Model(image, {t.name: layers.Dense(t.logits, name=t.name)(x) for t in TASKS})


@pytest.fixture
def runs(monkeypatch, network):
    """Stands in for trainings and pictures; records each training's folder, settings and examples."""
    made = []

    def fit(train, validation, _images, out, config, **_):
        out.mkdir(parents=True, exist_ok=True)
        made.append((out.name, config, [*train, *validation]))
        return network

    def load_inputs(some, *_, transform=None, cut):
        del cut
        if transform is None or transform(type("View", (), {"pixels": 1, "lung_field": 0})):
            return np.random.default_rng(0).random((len(some), SIZE, SIZE, 1), np.float32)
        return np.ones((len(some), SIZE, SIZE), bool)

    for module in (candidates, leave_out):
        monkeypatch.setattr(module, "fit", fit)
        monkeypatch.setattr(module, "load_inputs", load_inputs)
    monkeypatch.setattr(resampling, "RESAMPLES", 20)
    return made


@pytest.fixture
def trainings(tmp_path):
    return Trainings(tmp_path, tmp_path, FitConfig(batches=7), lungs=None)


PAIR = SourcePair("a", "c")


def test_each_candidate_is_trained_by_the_protocol_with_its_own_changes(runs, trainings):
    compare_candidates(examples(), trainings, names=["original", "detector"], pairs=[])
    assert [name for name, _, _ in runs] == ["original-7", "detector-7"]
    original, shipped = (config for _, config, _ in runs)
    assert shipped == trainings.config
    assert (original.architecture, original.initial, original.lung_crop) == ("original", "random", False)
    assert (original.batches, original.seed) == (7, shipped.seed)


def test_table_has_every_figure_with_an_interval(runs, trainings):
    del runs
    table = compare_candidates(examples(), trainings, names=["detector"], pairs=[PAIR])
    entry = table["candidates"]["detector"]
    assert entry["validation"].keys() == FIGURES
    assert entry["validation"]["binary_auroc"]["n"] == 15
    assert entry["validation"]["evidence_in_lungs"]["value"] == pytest.approx(1, abs=1e-4)
    assert entry["left_out"][PAIR.name].keys() >= {"value", "ci_low", "ci_high", "positives", "negatives"}
    assert entry["own_source"] == {}  # a has COVID-19 alone
    assert json.loads((trainings.out / "candidates.json").read_text()) == json.loads(json.dumps(table))


def test_sick_and_others_of_one_left_out_source_have_a_figure_of_their_own(runs, trainings):
    del runs
    some, pair = examples({**LABELS, "d": ("covid19", "normal")}), SourcePair("b", "c")
    table = compare_candidates(some, trainings, names=["detector"], pairs=[pair])
    own = table["candidates"]["detector"]["own_source"][pair.name]
    assert own.keys() >= {"value", "ci_low", "ci_high"}
    assert (own["n"], own["positives"], own["negatives"]) == (18, 6, 12)


def test_pair_that_was_measured_without_its_own_source_is_measured_again(runs, trainings):
    compare_candidates(examples(), trainings, names=["detector"], pairs=[PAIR])
    path = trainings.out / "detector-7" / "a-c" / "result.json"
    result = json.loads(path.read_text())
    del result["own_source"]
    path.write_text(json.dumps(result))
    compare_candidates(examples(), trainings, names=["detector"], pairs=[PAIR])
    assert [name for name, _, _ in runs] == ["detector-7", "a-c", "a-c"]


def test_test_split_and_left_out_sources_are_not_trained_on(runs, trainings):
    compare_candidates(examples(), trainings, names=["detector"], pairs=[PAIR])
    (_, _, everything), (_, _, without) = runs
    assert {e.split for e in everything} == {"train", "val"}
    assert {e.source for e in without} == {"b"}


def test_what_is_finished_is_not_trained_again(runs, trainings):
    first = compare_candidates(examples(), trainings, names=["detector"], pairs=[PAIR])
    count = len(runs)
    second = compare_candidates(examples(), trainings, names=["lite0", "detector"], pairs=[PAIR])
    assert len(runs) == count + 2
    assert list(second["candidates"]) == ["lite0", "detector"]  # in the order of the candidates, not of their runs
    assert second["candidates"]["detector"] == json.loads(json.dumps(first["candidates"]["detector"]))


def test_another_protocol_starts_anew(runs, trainings, tmp_path):
    compare_candidates(examples(), trainings, names=["detector", "lite0"], pairs=[PAIR])
    count = len(runs)
    longer = Trainings(tmp_path, tmp_path, FitConfig(batches=9), lungs=None)
    table = compare_candidates(examples(), longer, names=["lite0"], pairs=[PAIR])
    assert table["candidates"].keys() == {"lite0"}
    assert len(runs) == count + 2


def test_further_seeds_have_figures_and_folders_of_their_own(runs, trainings):
    table = compare_candidates(examples(), trainings, names=["detector"], pairs=[], seeds=[1, 2])
    assert [(name, config.seed) for name, config, _ in runs] == [
        ("detector-7", trainings.config.seed), ("detector-7-seed1", 1), ("detector-7-seed2", 2),
    ]  # fmt: skip
    others = table["candidates"]["detector"]["other_seeds"]
    assert others.keys() == {"1", "2"}
    assert all(figures.keys() == FIGURES for figures in others.values())


def values_of(some, binary, three, misled, outside):
    logits = {"binary": np.array(binary, float).reshape(-1, 1), "three_class": np.array(three, float)}
    found = comparison_figures(some, logits, np.array(misled, float), np.array(outside))
    return {
        name: measure.of(np.ones((1, len(some) if measure.keep is None else measure.keep.sum())))[0]
        for name, measure in found.items()
    }


def test_measures_by_hand():
    labels = ["covid19", "covid19", "normal", "bacterial_pneumonia", "viral_pneumonia"]
    values = values_of(
        [Example(str(i), label) for i, label in enumerate(labels)],
        [2, -1, -2, 1, -3],
        [[0, 0, 3], [0, 2, 0], [3, 0, 0], [0, 3, 0], [9, 0, 0]],
        [2, 1, 3, 0, 0],
        [0.2, 0.4, 1, 1, 1],
    )
    assert values["binary_auroc"] == pytest.approx(5 / 6)  # -1 below 1
    assert values["auroc_covid19_against_other_pneumonias"] == pytest.approx(3 / 4)
    assert values["binary_auroc_in_misleading_surroundings"] == pytest.approx(4 / 6)  # 3 above both
    assert values["three_class_accuracy"] == pytest.approx(3 / 4)  # the viral one is none of the three
    assert values["evidence_in_lungs"] == pytest.approx(0.7)


def test_measures_of_the_adults_by_hand():
    rows = [
        ("covid19", "ieee8023", 1), ("covid19", "raddb", -1), ("other_pneumonia", "ieee8023", 2),
        ("pneumonia_unspecified", "nih", 0), ("pneumonia_unspecified", "rsna", -2), ("normal", "nih", -3),
    ]  # fmt: skip
    three = [[0, 0, 3], [0, 0, 3], [0, 3, 0], [1, 0, 0], [9, 0, 0], [3, 0, 0]]
    some = [Example(str(i), label, source, age_group="adult") for i, (label, source, _) in enumerate(rows)]
    values = values_of(some, [score for *_, score in rows], three, [0] * 6, [0.5] * 6)
    assert values["auroc_covid19_against_adult_opacities"] == pytest.approx(3 / 4)  # -1 below 0
    assert values["auroc_opacity_against_normal_nih"] == 1  # rsna's, which the network calls normal, is not counted
    assert values["auroc_covid19_against_other_pneumonias_ieee8023"] == 0  # raddb's is not counted


def test_changes_name_fields_of_the_settings():
    for candidate in CANDIDATES.values():
        FitConfig(**candidate.changes)
        assert candidate.words
