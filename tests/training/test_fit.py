"""Fitting: targets and weights by hand, and a run that is stopped and resumed ends like one that is not."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from detector.errors import ManifestError, ModelError
from detector.model.network import LITE0_STAGES, build_network
from detector.model.preprocess import frame_picture, lung_crop
from detector.training.data.manifest import LABELS, Example, read_manifest
from detector.training.data.views import LungMasks, plain_view, read_working
from detector.training.fit import classifier as fit_module
from detector.training.fit.ahead import made_ahead
from detector.training.fit.classifier import (
    ALLOWED_CLASSES,
    FitConfig,
    allowed_class_loss,
    architectures,
    fit,
    freeze,
    initialise,
    load_inputs,
    predict_logits,
    sampling_weights,
    targets_for,
    validate,
)
from detector.training.fit.imagenet import load_imagenet_weights
from tests.conftest import ROOT, encode

CONFIG = FitConfig(
    batches=4, batch_size=2, warmup_batches=1, frozen_units=1, validate_every=2, hospital_offset=0.1, seed=7
)
KINDS = ("weight", "average", "best")  # of weights in a checkpoint
# Three units that ImageNet weights fit, on a grid that is as coarse as the whole network's.
SMALL_STAGES = (LITE0_STAGES[0], replace(LITE0_STAGES[1], stride=8))


class KilledError(Exception):
    """The machine went down."""


@pytest.fixture(scope="module", autouse=True)
def _small_network():
    """Fit three units and a narrow head instead of the whole network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(architectures, "build", lambda _, *, input_size: small_network(input_size))
        yield


def small_network(input_size):
    return build_network(input_size=input_size, stages=SMALL_STAGES, feature_channels=16)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of six made-up pictures, two a class, and their manifest."""
    folder = tmp_path_factory.mktemp("images")
    rows = ["image,label,source"]
    for number, label in enumerate(["normal", "bacterial_pneumonia", "covid19"] * 2):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 72), np.uint8)
        (folder / f"{number}.png").write_bytes(encode(pixels))
        rows.append(f"{number}.png,{label},made-up")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def examples(images):
    return read_manifest(images / "manifest.csv")


@pytest.fixture(scope="module")
def lungs(examples):
    """One lung, a third of each picture, off its middle."""
    mask = np.zeros((224, 224), bool)
    mask[40:180, 20:140] = True
    return LungMasks({example.image: np.packbits(mask) for example in examples})


@pytest.fixture(scope="module")
def whole(images, examples, lungs, tmp_path_factory):
    """A run of four batches that nothing stopped, in a folder with another run's log."""
    out = tmp_path_factory.mktemp("whole")
    (out / "training_log.jsonl").write_text('{"step": 1}\n{"step": 900}\n')
    return fit(examples, examples, images, out, CONFIG, lungs=lungs), out


@pytest.fixture(scope="module")
def resumed(images, examples, lungs, tmp_path_factory):
    """The same run, killed one batch after its checkpoint, and resumed."""
    out = tmp_path_factory.mktemp("resumed")
    batches = fit_module._batches

    def until_the_kill(*args, **kwargs):
        for step, batch in enumerate(batches(*args, **kwargs)):
            if step == 3:
                raise KilledError
            yield batch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "_batches", until_the_kill)
        with pytest.raises(KilledError):
            fit(examples, examples, images, out, CONFIG, lungs=lungs)
    return fit(examples, examples, images, out, CONFIG, lungs=lungs, resume=True), out


def read_log(out):
    return [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]


def assert_same_weights(one, other):
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


class TestRun:
    def test_a_stopped_and_resumed_run_ends_at_the_same_weights_bit_for_bit(self, whole, resumed):
        assert_same_weights(whole[0].get_weights(), resumed[0].get_weights())

    def test_both_runs_end_with_the_same_checkpoint(self, whole, resumed):
        with np.load(whole[1] / "checkpoint.npz") as one, np.load(resumed[1] / "checkpoint.npz") as other:
            assert one.files == other.files
            step, best_step, waited = one["progress"].tolist()
            assert step == 4
            assert best_step in {2, 4}
            assert waited == (4 - best_step) / 2
            for name in one.files:
                np.testing.assert_array_equal(one[name], other[name], err_msg=name)

    def test_both_logs_hold_each_checkpoint_once_with_the_same_figures(self, whole, resumed):
        one, other = ([{**row, "train_loss": None} for row in read_log(out)] for _, out in (whole, resumed))
        assert [row["step"] for row in one] == [2, 4]  # and nothing of the run that was there before
        assert one == other

    def test_the_best_of_the_averaged_weights_are_what_is_returned(self, whole):
        network, out = whole
        losses = {row["step"]: row["balanced_log_loss"] for row in read_log(out)}
        with np.load(out / "checkpoint.npz") as saved:
            numbered = {
                kind: [saved[n] for n in sorted(saved.files) if re.fullmatch(rf"{kind}\d+", n)] for kind in KINDS
            }
            best_step = int(saved["progress"][1])
            assert float(saved["best_loss"]) == losses[best_step] == min(losses.values())
        assert_same_weights(network.get_weights(), numbered["best"])
        assert any(not np.array_equal(a, w) for a, w in zip(numbered["best"], numbered["weight"], strict=True))
        if best_step == 4:
            assert_same_weights(numbered["best"], numbered["average"])

    def test_frozen_layers_keep_imagenet_and_all_others_change(self, whole):
        keras.utils.set_random_seed(CONFIG.seed)
        start = build_network(input_size=160, stages=SMALL_STAGES, feature_channels=16)
        load_imagenet_weights(start)
        with_weights = [layer for layer in start.layers if layer.weights]
        frozen = {layer.name for layer in with_weights if layer.name.startswith(("stem", "unit00"))}
        assert {"stem", "stem_bn", "unit00_depthwise", "unit00_project_bn"} <= frozen
        for layer in with_weights:
            ended = whole[0].get_layer(layer.name).get_weights()
            kept = [np.array_equal(old, new) for old, new in zip(layer.get_weights(), ended, strict=True)]
            assert all(kept) if layer.name in frozen else not all(kept), layer.name

    def test_a_finished_run_is_resumed_to_its_own_end(self, whole, images, examples, lungs):
        network, out = whole
        again = fit(examples, examples, images, out, CONFIG, lungs=lungs, resume=True)
        assert_same_weights(network.get_weights(), again.get_weights())

    @pytest.mark.parametrize("change", [{"seed": 8}, {"batches": 8}], ids=["seed", "length"])
    def test_a_checkpoint_of_another_configuration_is_refused(self, whole, images, examples, lungs, change):
        with pytest.raises(ModelError, match=r"checkpoint\.npz belongs to another run"):
            fit(examples, examples, images, whole[1], replace(CONFIG, **change), lungs=lungs, resume=True)

    def test_no_half_written_file_is_left(self, whole):
        assert {path.name for path in whole[1].iterdir()} == {"checkpoint.npz", "training_log.jsonl"}


class TestCheckpointAndLog:
    @pytest.fixture
    def run(self, tmp_path):
        network = build_network(input_size=16, stages=(), feature_channels=2)
        return fit_module._Run(network, CONFIG, tmp_path / "new" / "folder")

    def log(self, run, step, *, three_class=0.5):
        figures = {"binary_auroc": 0.5, "three_class_auroc": three_class, "balanced_log_loss": 0.7}
        run.log({"step": step, **figures})

    def test_lines_of_the_same_and_of_later_steps_give_way(self, run):
        for step in (2, 4, 6, 4):
            self.log(run, step)
        assert [row["step"] for row in read_log(run.out)] == [2, 4]

    def test_a_figure_that_is_not_defined_can_be_logged(self, run, caplog):
        with caplog.at_level("INFO", logger="detector.training.fit.classifier"):
            self.log(run, 2, three_class=None)
        assert "three-class AUROC undefined" in caplog.text

    def test_without_a_checkpoint_a_resumed_run_starts_at_the_beginning(self, run):
        run.restore()
        assert run.step == 0

    def test_averaged_weights_give_way_to_the_networks_own_after_an_exception(self, run):
        own = run.network.get_weights()
        run.average = [np.full_like(w, 3) for w in own]

        def measure():
            with run.averaged() as network:
                assert all((w == 3).all() for w in network.get_weights())
                raise KilledError

        with pytest.raises(KilledError):
            measure()
        assert_same_weights(own, run.network.get_weights())


class TestInitialise:
    def network(self, channels=4):
        return build_network(input_size=16, stages=SMALL_STAGES, feature_channels=channels)

    def test_an_earlier_run_gives_all_of_its_weights(self, tmp_path):
        earlier, network = self.network(), self.network()
        earlier.save(tmp_path / "earlier.keras")
        initialise(network, str(tmp_path / "earlier.keras"))
        assert_same_weights(earlier.get_weights(), network.get_weights())

    def test_several_earlier_runs_give_the_mean_of_their_weights(self, tmp_path):
        runs, network = [self.network(), self.network()], self.network()
        for number, run in enumerate(runs):
            run.save(tmp_path / f"{number}.keras")
        initialise(network, [str(tmp_path / "0.keras"), str(tmp_path / "1.keras")])
        assert_same_weights([(a + b) / 2 for a, b in zip(*(r.get_weights() for r in runs), strict=True)],
                            network.get_weights())  # fmt: skip

    def test_imagenet_is_what_a_run_begins_with(self):
        network, expected = self.network(), self.network()
        initialise(network, FitConfig().initial)
        load_imagenet_weights(expected)
        assert_same_weights(*(n.get_layer("unit02_depthwise").get_weights() for n in (network, expected)))

    def test_random_weights_are_left_as_they_are(self):
        network = self.network()
        before = network.get_weights()
        initialise(network, "random")
        assert_same_weights(before, network.get_weights())

    def test_a_network_of_another_structure_is_refused(self, tmp_path):
        self.network(channels=5).save(tmp_path / "wider.keras")
        with pytest.raises(ModelError, match=r"wider\.keras cannot be gone on from"):
            initialise(self.network(), str(tmp_path / "wider.keras"))

    def test_a_missing_file_is_refused(self, tmp_path):
        with pytest.raises(ModelError, match=r"none\.keras cannot be gone on from"):
            initialise(self.network(), str(tmp_path / "none.keras"))


def raise_after_the_first(log):
    """A log that ends the first run at its first line, and writes those of the next."""
    lines = []

    def written(run, row):
        lines.append(row)
        log(run, row)
        if len(lines) == 1:
            raise KilledError

    return written


class TestBatches:
    CONFIG = replace(CONFIG, batches=9)

    @pytest.fixture
    def batches(self, examples, images, lungs):
        def batches(config=self.CONFIG, start=0, **kwargs):
            return list(fit_module._batches(examples, images, config, lungs=lungs, start=start, **kwargs))

        return batches

    def test_a_batch_is_a_function_of_seed_and_step_alone(self, batches):
        every, later = (batches(start=start) for start in (0, 5))
        assert len(every) == 9
        for (inputs, targets, *_), (same_inputs, same_targets, *_) in zip(every[5:], later, strict=True):
            np.testing.assert_array_equal(inputs, same_inputs)
            for name in ("binary", "three_class", "evidence"):
                np.testing.assert_array_equal(targets[name], same_targets[name])

    def test_batches_of_two_steps_and_of_two_seeds_differ(self, batches):
        (first, *_), (second, *_) = batches()[:2]
        (other, *_), *_ = batches(replace(self.CONFIG, seed=8, batches=1))
        assert not np.array_equal(first, second)
        assert not np.array_equal(first, other)

    def test_inputs_and_targets_have_the_networks_form(self, batches):
        (inputs, targets, *_), *_ = batches(start=8)
        assert inputs.shape == (2, 160, 160, 1)
        assert inputs.dtype == np.float32
        shapes = {"binary": (2, 1), "three_class": (2, 3), "evidence": (2, 10, 10, 1), "pairs": (2, 3)}
        assert {name: value.shape for name, value in targets.items()} == shapes
        assert 0 < targets["evidence"].mean() < 1

    def test_without_their_weight_nothing_is_asked_of_the_lungs(self, batches):
        (_, targets, *_), *_ = batches(replace(self.CONFIG, lung_weight=0.0), start=8)
        assert set(targets) == {"binary", "three_class", "pairs"}

    @pytest.mark.parametrize("cut", [True, False], ids=["cut", "whole"])
    def test_pictures_are_cut_to_their_lungs_unless_the_run_says_otherwise(self, batches, cut):
        boxes = []
        batches(replace(self.CONFIG, lung_crop=cut), transform=lambda view: boxes.append(view.geometry) or view.pixels)
        smaller = [box.height * box.width < 0.7 * 224 * 224 for box in boxes]
        assert len(boxes) == 18
        assert any(smaller) == cut

    def test_the_network_is_shown_what_the_transform_makes_of_a_view(self, batches):
        plain = replace(self.CONFIG, swap_probability=0.0, style=0.0, batches=3)
        for inputs, *_ in batches(plain, transform=lambda view: np.full_like(view.pixels, 2)):
            values, counts = np.unique(inputs, return_counts=True)
            assert values[counts.argmax()] == 2  # all but the boxes that are hidden
            assert np.abs(values[values != 2]).max(initial=0) <= 1

    @pytest.mark.parametrize("style", [0.0, 1.0])
    def test_style_is_the_chance_of_a_mixed_spectrum(self, batches, style, monkeypatch):
        chances = []
        monkeypatch.setattr(fit_module, "mix_amplitudes", lambda x, _, *, probability: chances.append(probability) or x)
        batches(replace(self.CONFIG, style=style, batches=2))
        assert chances == [style, style]

    @pytest.mark.parametrize("steps", [range(0), range(2, 5), range(6), range(20)], ids=len)
    def test_order_is_kept_for_runs_shorter_and_longer_than_the_queue(self, steps):
        assert list(made_ahead(lambda step: (step,), steps)) == [(step,) for step in steps]

    def test_a_missing_picture_ends_the_run_with_its_name(self, images, lungs):
        with pytest.raises(ManifestError, match=r"none\.png"):
            list(fit_module._batches([Example("none.png", "normal")], images, self.CONFIG, lungs=lungs, start=0))


class Pretence:
    """A run without a network's cost: its weights are the number of the batch, its losses are given."""

    CONFIG = replace(
        CONFIG, batches=20, validate_every=2, initial="random", patience=2, lung_weight=0.0, hospital_offset=None
    )

    def __init__(self, monkeypatch, out):
        self.out, self.losses, self.killed_at = out, {}, None
        tiny = build_network(input_size=16, stages=(), stem_channels=2, feature_channels=2)
        monkeypatch.setattr(architectures, "build", lambda *_, **__: keras.models.clone_model(tiny))
        monkeypatch.setattr(fit_module, "load_inputs", lambda *_, **__: None)
        monkeypatch.setattr(fit_module, "_batches", lambda _, __, c, start, **___: [(None,) * 3] * (c.batches - start))
        monkeypatch.setattr(fit_module, "validate", self.validate)
        monkeypatch.setattr(fit_module._Run, "train", lambda run, *_: self.train(run))

    def train(self, run):
        if not run.trainer.optimizer.built:
            run.trainer.optimizer.build(run.trainer.trainable_variables)
        run.step += 1
        self.step = run.step
        if run.step == self.killed_at:
            raise KilledError
        run.average = [np.full_like(w, run.step) for w in run.average]
        return 0.0

    def validate(self, network, *_):
        assert all((w == self.step).all() for w in network.get_weights())  # of the averaged weights
        return {"binary_auroc": None, "three_class_auroc": None, "balanced_log_loss": self.losses[self.step // 2]}

    def fit(self, losses, **kwargs):
        """Fit with these losses after batches 2, 4, 6 …; returns the batch whose weights are kept."""
        self.losses = dict(enumerate(losses, start=1))
        network = fit([], [], None, self.out, self.CONFIG, lungs=None, **kwargs)
        (best,) = {float(w.flat[0]) for w in network.get_weights()}
        return best

    def steps(self):
        return [row["step"] for row in read_log(self.out)]


class TestBestAndPatience:
    @pytest.fixture
    def run(self, monkeypatch, tmp_path):
        return Pretence(monkeypatch, tmp_path)

    @pytest.mark.parametrize(
        ("losses", "best", "last"),
        [
            pytest.param([3, 1, 2, 2], 4, 8, id="two-that-are-worse"),
            pytest.param([1, 1, 1], 2, 6, id="as-good-is-no-better"),
            pytest.param([3, 4, 2, 4, 4], 6, 10, id="a-better-one-counts-anew"),
            pytest.param([1, 2, 3], 2, 6, id="the-first-was-best"),
            pytest.param(range(10, 0, -1), 20, 20, id="always-better"),
            pytest.param([9, 8, 7, 6, 5, 4, 3, 2, 1, 5], 18, 20, id="the-last-but-one"),
            pytest.param([math.nan, 2, math.nan, math.nan], 4, 8, id="no-number-is-no-better"),
        ],
    )
    def test_the_run_ends_after_two_validations_in_vain_and_returns_the_best(self, run, losses, best, last):
        assert run.fit(losses) == best
        assert run.steps() == list(range(2, last + 1, 2))

    @pytest.mark.parametrize("killed_at", [5, 7, 8], ids=["after-the-best", "after-a-worse-one", "before-the-last"])
    def test_a_resumed_run_keeps_the_best_and_goes_on_waiting(self, run, killed_at):
        losses = [3, 1, 2, 2]
        run.killed_at = killed_at
        with pytest.raises(KilledError):
            run.fit(losses)
        run.killed_at = None
        assert run.fit(losses, resume=True) == 4
        assert run.steps() == [2, 4, 6, 8]

    def test_the_best_survives_in_the_checkpoint(self, run):
        run.fit([3, 1, 2, 2])
        with np.load(run.out / "checkpoint.npz") as saved:
            assert saved["progress"].tolist() == [8, 4, 2]
            assert float(saved["best_loss"]) == 1
            assert (saved["best0000"] == 4).all()
            assert (saved["average0000"] == 8).all()

    def test_without_a_better_one_ever_the_first_weights_are_kept(self, run):
        (run.out / "none").mkdir()
        network = build_network(input_size=16, stages=(), stem_channels=2, feature_channels=2)
        kept = fit_module._Run(network, CONFIG, run.out / "none")
        before = network.get_weights()
        kept.average = [w + 1 for w in before]
        kept.keep_best(math.inf)
        kept.finish()
        assert_same_weights(before, network.get_weights())


class TestAllowedClassLoss:
    LOGITS = np.log([[1.0, 2.0, 5.0]]).astype(np.float32)  # probabilities 1/8, 2/8 and 5/8

    @pytest.mark.parametrize(
        ("allowed", "share"),
        [((1, 0, 0), 1 / 8), ((0, 1, 1), 7 / 8), ((1, 1, 1), 1.0)],
        ids=["one: cross-entropy", "two: of their sum", "all: zero"],
    )
    def test_it_is_the_negative_log_of_the_allowed_share(self, allowed, share):
        loss = np.asarray(allowed_class_loss(np.array([allowed], np.float32), self.LOGITS))
        assert loss.shape == (1,)
        assert loss[0] == pytest.approx(-math.log(share), abs=1e-6)

    def test_large_logits_overflow_nothing(self):
        loss = allowed_class_loss(np.array([[1, 0, 0]], np.float32), np.array([[-500, 500, 0]], np.float32))
        assert float(loss[0]) == pytest.approx(1000)


class TestTargets:
    @pytest.mark.parametrize(
        ("label", "covid", "allowed"),
        [
            ("normal", 0, (1, 0, 0)),
            ("bacterial_pneumonia", 0, (0, 1, 0)),
            ("pneumonia_unspecified", 0, (0, 1, 0)),
            ("viral_pneumonia", 0, (0, 1, 0)),
            ("other_pneumonia", 0, (0, 1, 0)),
            ("covid19", 1, (0, 0, 1)),
        ],
    )
    def test_each_label(self, label, covid, allowed):
        targets = targets_for([Example("a.png", label)])
        np.testing.assert_array_equal(targets["binary"], [[covid]])
        np.testing.assert_array_equal(targets["three_class"], [allowed])
        assert {value.dtype for value in targets.values()} == {np.dtype(np.float32)}

    def test_every_label_of_a_manifest_has_targets(self):
        assert set(ALLOWED_CLASSES) == set(LABELS)


class TestSamplingWeights:
    # Groups of 4, of 1 and, of the same label from another place, of 4.
    EXAMPLES = (
        *[Example("n", "normal", "a")] * 4,
        Example("c", "covid19", "a"),
        *[Example("m", "covid19", "b")] * 4,
    )

    @pytest.mark.parametrize(
        ("balance", "groups"),
        [(0, (1 / 3, 1 / 3, 1 / 3)), (0.5, (2 / 5, 1 / 5, 2 / 5)), (1, (4 / 9, 1 / 9, 4 / 9))],
        ids=["all groups alike", "square root of the size", "as it comes"],
    )
    def test_groups_weigh_their_size_to_the_balance(self, balance, groups):
        weights = sampling_weights(self.EXAMPLES, balance)
        assert weights.sum() == pytest.approx(1)
        np.testing.assert_allclose([weights[:4].sum(), weights[4], weights[5:].sum()], groups)
        np.testing.assert_allclose(weights[:4], weights[0])

    def test_pneumonias_of_a_source_are_one_group(self):
        labels = ("viral_pneumonia", "bacterial_pneumonia", "bacterial_pneumonia", "normal")
        weights = sampling_weights([Example(label, label, "a") for label in labels], 0)
        np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])

    def test_collections_of_one_hospital_are_one_group(self):
        examples = [Example("n", "normal", source, hospital="nih") for source in ("raddb", "raddb", "nih")]
        weights = sampling_weights([*examples, Example("c", "covid19", "raddb", hospital="several")], 0)
        np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2])

    def test_collections_of_several_hospitals_are_not(self):
        examples = [Example("c", "covid19", source, hospital="several") for source in ("a", "a", "b")]
        np.testing.assert_allclose(sampling_weights(examples, 0), [1 / 4, 1 / 4, 1 / 2])

    def test_one_group_is_uniform_whatever_the_balance(self):
        np.testing.assert_allclose(sampling_weights([Example("n", "normal")] * 4, 0.3), 0.25)


class TestFreeze:
    @pytest.fixture
    def network(self):
        return build_network(input_size=32, stages=SMALL_STAGES, feature_channels=4)

    def frozen(self, network):
        return {layer.name.split("_")[0] for layer in network.layers if not layer.trainable}

    @pytest.mark.parametrize(
        ("units", "names"),
        [(0, set()), (1, {"stem", "unit00"}), (3, {"stem", "unit00", "unit01", "unit02"})],
        ids=["none", "one", "all"],
    )
    def test_the_stem_and_so_many_units(self, network, units, names):
        freeze(network, units=units)
        assert self.frozen(network) == names

    def test_fewer_units_than_before_set_the_others_free(self, network):
        freeze(network, units=3)
        freeze(network, units=1)
        assert self.frozen(network) == {"stem", "unit00"}


class StubNetwork:
    """Answers with the inputs' first pixel, and remembers the shapes that it was given."""

    def __init__(self):
        self.shapes = []

    def predict_on_batch(self, batch):
        self.shapes.append(batch.shape)
        first = batch[:, 0, 0, 0]
        return {"binary": first[:, None], "three_class": first[:, None] * np.array([[0.0, 1.0, 2.0]])}


class TestPredictAndValidate:
    @pytest.mark.parametrize("count", [1, 32, 33])
    def test_a_last_batch_is_padded_to_the_one_shape_and_the_padding_dropped(self, count):
        network = StubNetwork()
        inputs = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)
        logits = predict_logits(network, inputs)
        np.testing.assert_array_equal(logits["binary"][:, 0], np.arange(count))
        assert logits["three_class"].shape == (count, 3)
        assert set(network.shapes) == {(32, 1, 1, 1)}

    def test_figures_of_four_pictures_by_hand(self):
        labels = ("normal", "bacterial_pneumonia", "covid19", "viral_pneumonia")
        examples = [Example(str(i), label, "s") for i, label in enumerate(labels)]
        report = validate(StubNetwork(), examples, np.array([0, 1, 2, 3], np.float32).reshape(-1, 1, 1, 1))
        assert report["binary_auroc"] == pytest.approx(2 / 3)  # the viral one scores above covid19
        assert report["three_class_auroc"] == pytest.approx((1 + 0.5 + 1) / 3)  # bacterial stands in the middle
        binary = [math.log(2), math.log(1 + math.e), math.log(1 + math.exp(-2)), math.log(1 + math.exp(3))]
        right = (0, 1, 2, 1)  # a viral one is asked to be neither normal nor COVID-19
        three = [
            math.log(sum(math.exp(x * k) for k in range(3))) - x * k_right
            for x, k_right in zip(range(4), right, strict=True)
        ]
        cost = np.add(binary, three)
        expected = {"s/normal": cost[0], "s/pneumonia": (cost[1] + cost[3]) / 2, "s/covid19": cost[2]}
        assert report["log_loss"] == pytest.approx(expected)
        assert report["balanced_log_loss"] == pytest.approx(np.mean(list(expected.values())))  # no group has ten

    def test_figures_that_one_class_cannot_have_are_none(self):
        report = validate(StubNetwork(), [Example("a", "viral_pneumonia")], np.zeros((1, 1, 1, 1), np.float32))
        assert report["binary_auroc"] is None
        assert report["three_class_auroc"] is None

    @pytest.mark.parametrize(
        ("sizes", "counted"),
        [((10, 9), ("normal",)), ((10, 30), ("normal", "covid19")), ((9, 9), ("normal", "covid19"))],
        ids=["nine do not count beside ten", "groups count alike", "nine do where there are no others"],
    )
    def test_the_mean_is_over_groups_of_ten_or_more_where_there_are_any(self, sizes, counted):
        normal, covid = sizes
        examples = [Example("n", "normal", "s")] * normal + [Example("c", "covid19", "s")] * covid
        report = validate(StubNetwork(), examples, np.full((len(examples), 1, 1, 1), -1, np.float32))
        losses = [report["log_loss"][f"s/{finding}"] for finding in counted]
        assert report["balanced_log_loss"] == pytest.approx(np.mean(losses))

    def test_inputs_are_the_pictures_as_they_are_cut_to_their_lungs(self, examples, images, lungs):
        one, two = (load_inputs(examples[:2], images, lungs) for _ in range(2))
        assert one.shape == (2, 160, 160, 1)
        np.testing.assert_array_equal(one, two)
        views = [plain_view(read_working(images / e.image), lungs[e.image]) for e in examples[:2]]
        np.testing.assert_array_equal(one, np.stack([view.pixels for view in views]))
        assert all(view.geometry.height < 224 for view in views)

    def test_uncut_inputs_are_the_whole_pictures(self, examples, images, lungs):
        inputs = load_inputs(examples[:1], images, lungs, cut=False)
        whole = frame_picture(read_working(images / examples[0].image))
        nothing = np.zeros((160, 160), bool)
        np.testing.assert_array_equal(inputs[0], lung_crop(whole, nothing).pixels)

    def test_inputs_are_what_the_transform_makes_of_each_view(self, examples, images, lungs):
        inputs = load_inputs(
            examples[:2], images, lungs, transform=lambda view: view.pixels * ~view.lung_field[..., None]
        )
        plain = load_inputs(examples[:2], images, lungs)
        fields = np.stack(
            [plain_view(read_working(images / e.image), lungs[e.image]).lung_field for e in examples[:2]]
        )[..., None]
        assert not inputs[fields].any()
        np.testing.assert_array_equal(inputs[~fields], plain[~fields])


@pytest.mark.parametrize(("before", "threads", "said"), [("", "1", False), ("tf.zeros(1) + 1; ", "0", True)])
def test_a_training_runs_one_operation_at_a_time_and_says_when_it_is_too_late(before, threads, said):
    code = (
        "import logging; logging.basicConfig(format='%(message)s'); import tensorflow as tf; "
        f"from detector.training.fit.classifier import make_repeatable; {before}make_repeatable(); "
        "print(tf.config.threading.get_inter_op_parallelism_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == [threads]
    assert ("can't be repeated" in done.stderr) == said
