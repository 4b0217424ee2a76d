"""Ranges under mild perturbations: the picture itself is in them, maps come back to one frame, nothing is random."""

import cv2
import numpy as np
import pytest

from detector.answers.answer import verdicts_of
from detector.answers.pipeline import Analysis, analyse, analyse_radiograph
from detector.answers.stability import PERTURBATIONS, Perturbation, measure_stability
from detector.model.gradcam import evidence_maps
from detector.model.preprocess import crop, frame_picture
from detector.schema import BINARY, TASKS, Correction, NetworkOutput, Radiograph
from tests.conftest import encode


@pytest.fixture(scope="module")
def analysis(composite, engine):
    return analyse(composite, engine)


@pytest.fixture(scope="module")
def stability(engine, analysis):
    return measure_stability(analysis, engine)


def test_one_batch_holds_the_perturbations():
    assert len(PERTURBATIONS) == 8
    assert len({p.words for p in PERTURBATIONS}) == 8


def test_every_class_of_every_task_is_measured(stability):
    assert {name: tuple(classes) for name, classes in stability.classes.items()} == {t.name: t.classes for t in TASKS}
    for classes in stability.classes.values():
        for measured in classes.values():
            assert 0 <= measured.low <= measured.high <= 1
            assert 0.5 < measured.map_agreement <= 1


def lies_within(analysis, stability):
    verdicts = verdicts_of(analysis)
    return all(
        measured.low <= verdicts[task.name].probabilities[name] <= measured.high
        for task in TASKS
        for name, measured in stability.classes[task.name].items()
    )


def test_answer_of_the_picture_itself_is_in_the_range(analysis, stability):
    assert lies_within(analysis, stability)


def test_picture_is_measured_as_it_was_analysed(engine, composite_pixels, stability):
    inverted = analyse(encode(255 - composite_pixels), engine, correction=Correction(inverted=True))
    measured = measure_stability(inverted, engine)
    assert lies_within(inverted, measured)
    for name, ends in stability.classes["binary"].items():  # the same picture, once it is inverted back
        assert measured.classes["binary"][name].low == pytest.approx(ends.low, abs=1e-4)
        assert measured.classes["binary"][name].high == pytest.approx(ends.high, abs=1e-4)


def test_two_classes_of_the_binary_task_mirror_each_other(stability):
    covid, other = (stability.classes["binary"][name] for name in BINARY.classes)
    assert covid.low == pytest.approx(1 - other.high)
    assert covid.map_agreement == pytest.approx(other.map_agreement)


def test_same_picture_gives_the_same_result_in_eight_passes(engine, analysis, stability):
    before = engine.forward_passes
    assert measure_stability(analysis, engine) == stability
    assert engine.forward_passes == before + 8


def test_no_change_gives_no_range(engine, composite_pixels):
    small = cv2.resize(composite_pixels, (448, 448), interpolation=cv2.INTER_AREA)  # no working copy is made of it
    still = measure_stability(analyse(encode(small), engine), engine, perturbations=[Perturbation("unchanged")] * 8)
    for classes in still.classes.values():
        for measured in classes.values():
            assert measured.high - measured.low < 1e-4
            assert measured.map_agreement == pytest.approx(1, abs=1e-4)


def test_picture_is_left_as_it_was(engine, analysis):
    before = analysis.radiograph.pixels.copy()
    measure_stability(analysis, engine)
    np.testing.assert_array_equal(analysis.radiograph.pixels, before)


@pytest.mark.parametrize("shape", [(64, 64), (2000, 300), (300, 1500)], ids=["tiny", "narrow", "flat"])
def test_pictures_of_any_shape_are_measured(engine, composite_pixels, shape):
    radiograph = Radiograph(cv2.resize(composite_pixels, shape[::-1]), "PNG", "", "")
    picture = analyse_radiograph(radiograph, engine, force=True)
    assert measure_stability(picture, engine).classes["binary"]["covid19"].map_agreement > 0


class Mirror:
    """A stand-in whose map is the picture that it is given: where the picture goes, its map goes."""

    def __init__(self, card, *, weight=1.0):
        self.card = card
        self.kernels = {t.name: weight * np.arange(1.0, t.logits + 1)[np.newaxis] for t in TASKS}

    def prepare(self, pixels):
        frame = frame_picture(pixels)
        return crop(frame, np.zeros(frame.working.shape, bool), frame.content)

    def analysed(self, grey):
        prepared = self.prepare(grey)
        output = self(prepared)
        cams = evidence_maps(output.features, self.kernels)
        radiograph = Radiograph(grey=grey, file_format="PNG", sha256="", pixel_sha256="")
        return Analysis(radiograph, prepared.geometry, output.logits, cams, self.card, prepared.lung_field, "")

    def __call__(self, network_input):
        grid = cv2.resize(network_input.pixels[..., 0], (40, 40), interpolation=cv2.INTER_AREA)[..., np.newaxis]
        return NetworkOutput({t.name: np.zeros(t.logits) for t in TASKS}, grid, grid.mean(axis=(0, 1)), grid[0, 0])


MOVES = [
    pytest.param(Perturbation("m", right=0.2), id="right"),
    pytest.param(Perturbation("m", down=-0.2), id="up"),
    pytest.param(Perturbation("m", degrees=20), id="turned"),
    pytest.param(Perturbation("m", right=-0.1, down=0.1, degrees=-15), id="all"),
]


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("shape", [(300, 300), (300, 420)], ids=["square", "broad"])
def test_maps_are_compared_in_one_frame(engine, move, shape):
    noise = np.random.default_rng(1).random(shape).astype(np.float32)
    blobs = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 15), None, 0, 1, cv2.NORM_MINMAX)
    mirror = Mirror(engine.card)
    measured = measure_stability(mirror.analysed(blobs), mirror, perturbations=[move]).classes
    assert measured["binary"]["covid19"].map_agreement > 0.95
    moved = move(blobs, np.random.default_rng(0))
    unaligned = np.corrcoef(moved.ravel(), blobs.ravel())[0, 1]
    assert unaligned < 0.6  # the test could not fail if a blob were larger than the move


def test_constant_map_agrees_with_nothing(engine):
    mirror = Mirror(engine.card, weight=0.0)
    noise = np.random.default_rng(0).random((64, 64), np.float32)
    measured = measure_stability(mirror.analysed(noise), mirror).classes
    assert measured["binary"]["covid19"].map_agreement is None


@pytest.mark.parametrize(
    ("perturbation", "expected"),
    [
        pytest.param(Perturbation("p", right=0.25), [0.0, 0.0, 0.1, 0.2], id="what comes in repeats the edge"),
        pytest.param(Perturbation("p", gain=4, offset=-0.5), [0.0, 0.0, 0.3, 0.7], id="dark values are lost"),
        pytest.param(Perturbation("p", gain=5), [0.0, 0.5, 1.0, 1.0], id="bright values are lost"),
        pytest.param(Perturbation("p", gamma=2), [0.0, 0.01, 0.04, 0.09], id="gamma"),
    ],
)
def test_perturbation_by_hand(perturbation, expected):
    pixels = np.tile(np.array([0, 0.1, 0.2, 0.3], np.float32), (4, 1))
    found = perturbation(pixels, np.random.default_rng(0))
    np.testing.assert_allclose(found, [expected] * 4, atol=1e-6)
    assert found.dtype == np.float32


def test_turn_is_counter_clockwise():
    pixels = np.zeros((5, 5), np.float32)
    pixels[2, 4] = 1  # at three o'clock
    assert Perturbation("p", degrees=90)(pixels, np.random.default_rng(0))[0, 2] == pytest.approx(1)
