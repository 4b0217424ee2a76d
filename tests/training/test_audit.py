"""The audit: who comes near, which pairs can be left out, and that any fit can take part."""

import json

import numpy as np
import pytest

from detector.errors import ManifestError, OutputError
from detector.statistics import bootstrap as resampling
from detector.training.audit import contenders as module
from detector.training.audit.baselines import Scores
from detector.training.audit.contenders import (
    LUNGS_BLACKED_OUT,
    SHIPPED,
    SHIPPED_IN_MISLEADING_SURROUNDINGS,
    SHIPPED_ON_BLACKED_OUT,
    audit,
    black_out,
    compare,
    leave_one_source_pair_out,
    shipped_contenders,
)
from detector.training.audit.leave_out import SourcePair, parted, source_pairs
from detector.training.data.manifest import Example
from tests.conftest import COMPOSITES, encode
from tests.training.test_duplicates import made_up


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(resampling, "RESAMPLES", 20)


def cohort(*counts):
    """Examples from (source, label, split, number) a row."""
    return [
        Example(f"{source}-{label}-{i}", label, source, split, patient_group=f"{source}-{label}-{i}")
        for source, label, split, number in counts
        for i in range(number)
    ]


def oracle(share):
    """A predictor that is right on that share of the images and knows nothing of the rest."""

    def predict(examples):
        rng = np.random.default_rng(0)
        known = rng.random(len(examples)) < share
        covid = np.where(known, [e.label == "covid19" for e in examples], 0.5)
        return Scores(covid.astype(float), np.stack([1 - covid, 1 - covid, covid], axis=1))

    return predict


THREE_SOURCES = (
    ("a", "covid19", "train", 12),
    ("a", "normal", "train", 12),
    ("b", "covid19", "test", 12),
    ("b", "normal", "test", 3),
    ("c", "normal", "test", 15),
)


class TestSourcePairs:
    def test_both_classes_must_be_left_to_train_and_to_test_on(self):
        # c alone, and b alone with its three normals, can't be trained on; c has no COVID-19 to test on
        assert source_pairs(cohort(*THREE_SOURCES)) == [SourcePair("b", "c")]

    def test_a_pair_takes_both_sources_wholly_out_of_training(self):
        train, test = parted(cohort(*THREE_SOURCES), SourcePair("b", "c"))
        assert {e.source for e in train} == {"a"}
        assert {(e.source, e.label) for e in test} == {("b", "covid19"), ("c", "normal")}

    def test_a_source_has_no_pair_with_itself(self):
        assert source_pairs(cohort(("a", "covid19", "", 20), ("a", "normal", "", 20))) == []


class TestLeaveOneSourcePairOut:
    def test_each_fit_sees_the_other_sources_alone(self):
        seen = []

        def fit(train):
            seen.append({e.source for e in train})
            return oracle(1.0)

        found = leave_one_source_pair_out(cohort(*THREE_SOURCES), {"oracle": fit})
        assert seen == [{"a"}]
        pair = found["pairs"]["b against c"]
        assert (pair["train"], pair["positives"], pair["negatives"]) == (24, 12, 15)
        assert pair["binary_auroc"]["oracle"]["value"] == 1
        assert found["mean"] == {"oracle": 1.0}

    def test_no_pair_has_no_mean(self):
        found = leave_one_source_pair_out(cohort(("a", "normal", "", 3)), {"oracle": lambda _: oracle(1)})
        assert found == {"pairs": {}, "mean": {}}


class TestCompare:
    EXAMPLES = cohort(("a", "covid19", "", 40), ("a", "normal", "", 40), ("b", "normal", "", 40))

    def test_who_comes_near_is_named_by_split_and_by_source(self):
        found = compare(self.EXAMPLES, {SHIPPED: oracle(1.0), "near": oracle(0.95), "far": oracle(0.3)})
        assert found["overall"]["too_near"]["binary_auroc"] == ["near"]
        assert set(found["by_source"]) == {"a"}  # b has one class
        assert found["by_source"]["a"]["too_near"]["binary_auroc"] == ["near"]
        assert found["overall"]["figures"]["far"]["binary_auroc"]["n"] == 120

    def test_a_better_baseline_is_near_too(self):
        found = compare(self.EXAMPLES, {SHIPPED: oracle(0.5), "better": oracle(1.0)})
        assert found["overall"]["too_near"]["binary_auroc"] == ["better"]

    def test_the_network_in_misleading_surroundings_is_no_baseline(self):
        found = compare(self.EXAMPLES, {SHIPPED: oracle(1.0), SHIPPED_IN_MISLEADING_SURROUNDINGS: oracle(1.0)})
        assert found["overall"]["too_near"]["binary_auroc"] == []
        assert found["overall"]["figures"][SHIPPED_IN_MISLEADING_SURROUNDINGS]["binary_auroc"]["value"] == 1

    def test_where_the_network_has_no_figure_nobody_is_near(self):
        found = compare(self.EXAMPLES, {SHIPPED: oracle(1.0), "near": oracle(1.0)})
        assert found["overall"]["too_near"]["three_class_macro_auroc"] is None  # no bacterial pneumonia
        assert "absent" in found["overall"]["figures"]["near"]["three_class_macro_auroc"]["reason"]


class TestBlackOut:
    def test_lungs_and_a_margin_become_the_mean_and_nothing_else_changes(self):
        pixels = np.random.default_rng(0).random((160, 160, 1)).astype(np.float32)
        before = pixels.copy()
        field = np.zeros((160, 160), bool)
        field[60:100, 40:70] = True
        dark = black_out(pixels, field)
        np.testing.assert_array_equal(pixels, before)
        assert (dark[60:100, 40:70] == pixels.mean()).all()
        assert (dark[80, 32:78] == pixels.mean()).all()  # 5 % of 160 pixels are 8
        assert dark[80, 31] == pixels[80, 31]
        assert dark[80, 78] == pixels[80, 78]
        np.testing.assert_array_equal(dark[:52], pixels[:52])

    def test_no_lung_leaves_the_picture(self):
        pixels = np.ones((160, 160, 1), np.float32)
        np.testing.assert_array_equal(black_out(pixels, np.zeros((160, 160), bool)), pixels)


class TestShippedContenders:
    def test_blacked_out_lungs_change_the_answer_and_only_there(self, engine):
        contenders = shipped_contenders(engine, COMPOSITES)
        examples = [Example(f"{name}.png", name) for name in ("covid19", "normal")]
        plain, dark = contenders[SHIPPED](examples), contenders[SHIPPED_ON_BLACKED_OUT](examples)
        assert plain.three_class.shape == dark.three_class.shape == (2, 3)
        np.testing.assert_allclose(dark.three_class.sum(axis=1), 1)
        assert (plain.covid19 != dark.covid19).all()

    def test_plain_scores_are_the_logits_of_the_program(self, engine, composite_pixels):
        scores = shipped_contenders(engine, COMPOSITES)[SHIPPED]([Example("covid19.png", "covid19")])
        network_input = engine.prepare(composite_pixels.astype(np.float32) / 255)
        assert scores.covid19[0] == engine(network_input).logits["binary"][0]

    def test_misleading_surroundings_change_the_answer_wherever_another_answer_lends_them(self, engine):
        contenders = shipped_contenders(engine, COMPOSITES)
        examples = [Example(f"{name}.png", name) for name in ("covid19", "normal")]
        plain, moved = (contenders[name](examples) for name in (SHIPPED, SHIPPED_IN_MISLEADING_SURROUNDINGS))
        assert (plain.covid19 != moved.covid19).all()
        alone = [contenders[name](examples[:1]) for name in (SHIPPED, SHIPPED_IN_MISLEADING_SURROUNDINGS)]
        np.testing.assert_array_equal(*(scores.covid19 for scores in alone))


class TestAudit:
    @pytest.fixture
    def manifest(self, tmp_path):
        rows = ["image,label,source,split,age_group"]
        for number in range(12):
            split = ("train", "val", "test")[number // 4]
            label = ("covid19", "normal", "bacterial_pneumonia", "viral_pneumonia")[number % 4]
            (tmp_path / f"{number}.png").write_bytes(encode(made_up(number, 96)))
            rows.append(f"{number}.png,{label},{'ab'[number % 2]},{split},adult")
        (tmp_path / "m.csv").write_text("\n".join(rows) + "\n")
        return tmp_path / "m.csv"

    def test_it_writes_what_it_returns_and_says_what_it_did_not_run(self, manifest, engine, tmp_path):
        out = tmp_path / "out"
        found = audit(manifest, tmp_path, engine, out)
        assert json.loads((out / "audit.json").read_text()) == found
        assert set(found["splits"]) == {"val", "test"}
        figures = found["splits"]["test"]["overall"]["figures"]
        assert set(figures) == {
            SHIPPED, SHIPPED_ON_BLACKED_OUT, SHIPPED_IN_MISLEADING_SURROUNDINGS, "source_and_age", "spectrum", "border",
            "spectrum_of_the_input", "border_of_the_input",
        }  # fmt: skip
        assert figures["source_and_age"]["binary_auroc"]["n"] == 4
        assert set(found["not_run"]) == {LUNGS_BLACKED_OUT}

    def test_a_trained_contender_fills_its_slot(self, manifest, engine, tmp_path):
        seen = []

        def fit(train):
            seen.append({e.split for e in train})
            return oracle(1.0)

        found = audit(manifest, tmp_path, engine, tmp_path / "out", fits={LUNGS_BLACKED_OUT: fit})
        assert seen == [{"train"}]
        assert found["not_run"] == {}
        assert found["splits"]["val"]["overall"]["figures"][LUNGS_BLACKED_OUT]["binary_auroc"]["value"] == 1

    @pytest.mark.parametrize("without_pairs", [False, True])
    def test_networks_of_the_pairs_are_trained_unless_they_are_not_asked_for(
        self, manifest, engine, tmp_path, without_pairs
    ):
        class OracleTrainings:
            def without_lungs(self, *_):
                return oracle(1.0)

            def left_out(self, pairs, _):
                return {
                    "pairs": [{"pair": {"positive": p.positive}, "own_source": None} for p in pairs],
                    "mean_auroc": 0.7, "lowest_auroc": 0.5, "highest_auroc": 0.9, "likelihood_ratios": {"balanced": 3},
                }  # fmt: skip

        out = tmp_path / "out"
        found = audit(
            manifest, tmp_path, engine, out, fits={}, trainings=OracleTrainings(), without_pairs=without_pairs
        )
        assert found["not_run"] == {}
        assert ("network" in found["leave_one_source_pair_out"]) is not without_pairs
        assert (out / "likelihood_ratios.json").exists() is not without_pairs

    def test_a_source_left_out_of_several_pairs_is_told_of_once(self, manifest, engine, tmp_path):
        found = audit(manifest, tmp_path, engine, tmp_path / "out")
        pairs = [("a", "c", 0.6), ("a", "d", 0.8), ("b", "c", None)]
        found["leave_one_source_pair_out"]["network"] = {
            "mean_auroc": 0.7, "lowest_auroc": 0.5, "highest_auroc": 0.9,
            "pairs": [
                {"pair": {"positive": positive, "negative": negative},
                 "own_source": None if area is None else {"auroc": {"value": area}}}
                for positive, negative, area in pairs
            ],
        }  # fmt: skip
        told = " ".join(module.sentences(found))
        assert "reach 0.700 on it, 0.500 to 0.900 over 3 pairs" in told
        assert "about a's own pictures" in told
        assert told.count("they reach 0.700") == 1
        assert "about b's" not in told
        kept = found["splits"]["test"]["overall"]["figures"][SHIPPED_IN_MISLEADING_SURROUNDINGS]["binary_auroc"][
            "value"
        ]
        assert f"the network keeps {kept:.3f}" in told

    def test_a_manifest_without_a_split_is_refused_before_any_work(self, manifest, engine, tmp_path, monkeypatch):
        lines = manifest.read_text().splitlines()
        manifest.write_text("\n".join(line for line in lines if ",val," not in line) + "\n")
        monkeypatch.setattr(module, "shipped_contenders", lambda *_: pytest.fail("worked"))
        with pytest.raises(ManifestError, match="lacks \\['val'\\]"):
            audit(manifest, tmp_path, engine, tmp_path / "out")

    def test_an_output_that_is_a_file_is_refused(self, manifest, engine, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(OutputError):
            audit(manifest, tmp_path, engine, tmp_path / "out")
