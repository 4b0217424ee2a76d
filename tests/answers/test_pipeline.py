"""`analyse`, the library's one call: what goes in, what comes out, what is refused."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from detector import words
from detector.answers.answer import Question, answer
from detector.answers.evidence import summarise
from detector.answers.pipeline import analyse, analyse_radiograph
from detector.errors import (
    InvertedError,
    NoContrastError,
    NotAChestXrayError,
    RejectedError,
    SideViewError,
    SliceError,
    TurnedError,
    UnsupportedFormatError,
)
from detector.model.gate import CORRECTIONS, FRONTAL, VIEWS, Gate
from detector.read.image_io import read_radiograph
from detector.schema import TASKS, Correction, Geometry, ModelInfo, NetworkInput, NetworkOutput, Radiograph
from tests.conftest import COMPOSITES, encode, make_dicom

STRANGE = [view for view in VIEWS if view != FRONTAL]
FEATURES = 2 + 3 + 64 + 4  # of the double: pooled, texture, cells of the lung field, place in the picture
SENTENCE = words.FORCED_WARNING.partition("{")[0]


def gate_that_sees(view, *, refuse_below=0.0, warn_below=0.0):
    """A gate that takes every picture for one view: its log-odds are 7.05 if that is frontal, and -9.00 if not."""
    bias = np.where(np.array(VIEWS) == view, 9.0, 0.0)
    nothing = np.zeros(FEATURES)
    return Gate(nothing, nothing + 1, np.zeros((FEATURES, 8)), bias, nothing, -1.0, refuse_below, warn_below)


class Double:
    """Stands in for the classifier: keeps the pixels that it was given, and answers the same to all of them."""

    card = SimpleNamespace(info=ModelInfo("double", "0", "1"))

    def __init__(self, gate=None, lung_field=None):
        self.kernels = {task.name: np.ones((2, task.logits), np.float32) for task in TASKS}
        self.gate, self.pictures, self.passes = gate, [], 0
        self.lung_field = np.tile([False, True, False, False], (4, 1)) if lung_field is None else lung_field

    def prepare(self, pixels):
        self.pictures.append(pixels)
        rows, columns = pixels.shape
        geometry = Geometry(rows, columns, rows / 4, columns / 8, rows / 2, columns / 2, 4)
        return NetworkInput(np.zeros((4, 4, 1), np.float32), geometry, self.lung_field)

    def __call__(self, _):
        self.passes += 1
        logits = {task.name: np.zeros(task.logits, np.float32) for task in TASKS}
        return NetworkOutput(logits, np.ones((2, 2, 2), np.float32), np.ones(2, np.float32), np.ones(3, np.float32))


@pytest.fixture
def radiograph():
    """A ramp of 240 x 300 that no check minds."""
    pixels = np.add.outer(np.linspace(0.1, 0.4, 240), np.linspace(0, 0.5, 300)).astype(np.float32)
    return Radiograph(pixels, "PNG", "file", "pixels", warnings=("Of the file.",))


def test_analysis_holds_every_class_of_both_tasks(engine, composite):
    analysis = analyse(composite, engine)
    for task in TASKS:
        assert analysis.cams[task.name].shape == (len(task.classes), 10, 10)
        assert analysis.logits[task.name].shape == (task.logits,)
    assert analysis.model == engine.card.info
    assert analysis.analysed_at.endswith("+00:00")


def test_lung_field_of_a_composite_is_two_lungs_and_no_border(engine, composite):
    analysis = analyse(composite, engine)
    field = analysis.lung_field
    assert 0.15 < answer(analysis, Question()).evidence.lung_area_fraction < field.mean() < 0.6  # the heart counts
    assert not field[0].any()
    assert not field[:, 0].any()
    assert field[:, :80].any()
    assert field[:, 80:].any()


def test_a_composite_is_cut_to_its_lungs(engine, composite):
    geometry = analyse(composite, engine).geometry
    assert (geometry.rows, geometry.columns) == (512, 512)
    assert geometry.height < 480
    assert geometry.width < 480


@pytest.mark.parametrize("label", ["normal", "bacterial_pneumonia", "covid19"])
def test_shipped_network_recognises_the_composites(engine, label):
    analysis = analyse((COMPOSITES / f"{label}.png").read_bytes(), engine)
    probabilities = engine.card.calibration.probabilities(TASKS[1], analysis.logits["three_class"])
    assert TASKS[1].classes[int(probabilities.argmax())] == label


def test_same_picture_in_three_formats_answers_alike(engine, composite, composite_pixels):
    from_png = analyse(composite, engine).logits
    from_dicom = analyse(make_dicom(composite_pixels, WindowCenter=128, WindowWidth=256), engine).logits
    from_jpeg = analyse(encode(composite_pixels, ".jpg", parameters=(1, 100)), engine).logits
    for task in TASKS:
        np.testing.assert_allclose(from_dicom[task.name], from_png[task.name], atol=1e-3)
        np.testing.assert_allclose(from_jpeg[task.name], from_png[task.name], atol=0.1)


def test_picture_stored_inverted_as_monochrome1_answers_alike(engine, composite_pixels):
    twin = make_dicom(255 - composite_pixels, PhotometricInterpretation="MONOCHROME1")
    logits = [analyse(data, engine).logits for data in (make_dicom(composite_pixels), twin)]
    for task in TASKS:
        np.testing.assert_allclose(logits[0][task.name], logits[1][task.name], atol=1e-3)


def test_exposure_does_not_change_the_answer_much(engine, composite_pixels):
    darker = (255 * (composite_pixels / 255.0) ** 1.6).round().astype(np.uint16) * 256
    logits = [analyse(encode(pixels), engine).logits["binary"] for pixels in (composite_pixels, darker)]
    assert abs(logits[0] - logits[1]) < 0.3


@pytest.mark.parametrize(
    "correction",
    [Correction(1), Correction(2), Correction(3), Correction(inverted=True), Correction(1, inverted=True)],
    ids=["quarter", "half", "three quarters", "inverted", "both"],
)
def test_a_picture_that_is_put_right_answers_as_if_it_had_come_so(engine, composite, composite_pixels, correction):
    wrong = np.ascontiguousarray(np.rot90(composite_pixels, -correction.quarter_turns))
    wrong = 255 - wrong if correction.inverted else wrong
    expected, found = analyse(composite, engine), analyse(encode(wrong), engine, correction=correction)
    assert found.geometry == expected.geometry
    for task in TASKS:
        np.testing.assert_allclose(found.logits[task.name], expected.logits[task.name], atol=1e-3)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", RejectedError),
        (b"not an image", UnsupportedFormatError),
        (encode(np.zeros((300, 300), np.uint8)), NoContrastError),
    ],
    ids=["empty", "text", "blank"],
)
@pytest.mark.parametrize("force", [False, True], ids=["as usual", "forced"])
def test_refusals_name_what_to_do_and_never_reach_the_network(data, error, force):
    double = Double(gate_that_sees(FRONTAL))
    with pytest.raises(error) as caught:
        analyse(data, double, force=force)
    assert caught.value.user_message.endswith(".")
    assert not caught.value.can_force
    assert not double.pictures
    assert double.passes == 0


class TestGate:
    def test_a_frontal_view_is_answered_without_a_word(self, radiograph):
        analysis = analyse_radiograph(radiograph, Double(gate_that_sees(FRONTAL)))
        assert analysis.warnings == ("Of the file.",)
        assert (analysis.forced, analysis.suggested_correction) == (None, None)

    @pytest.mark.parametrize("view", STRANGE)
    def test_what_is_none_is_refused_with_what_would_put_it_right(self, radiograph, view):
        with pytest.raises(NotAChestXrayError) as caught:
            analyse_radiograph(radiograph, Double(gate_that_sees(view)))
        assert caught.value.code == "not_a_chest_xray"
        assert caught.value.can_force
        assert caught.value.suggested_correction == CORRECTIONS.get(view)

    @pytest.mark.parametrize("view", STRANGE)
    def test_a_doubtful_one_is_answered_with_a_warning(self, radiograph, view):
        double = Double(gate_that_sees(view, refuse_below=-20))
        analysis = analyse_radiograph(radiograph, double)
        assert len(analysis.warnings) == 2
        assert (analysis.forced, analysis.suggested_correction) == (None, CORRECTIONS.get(view))

    def test_what_the_gate_and_the_lungs_say_stands_behind_what_the_file_says(self, radiograph):
        double = Double(gate_that_sees(VIEWS[-1], refuse_below=-20), np.zeros((4, 4), bool))
        dull = replace(radiograph, grey=0.1 * radiograph.pixels)
        said = [warning.split()[0:2] for warning in analyse_radiograph(dull, double).warnings]
        assert said == [["Of", "the"], ["The", "picture"], ["The", "picture"], ["No", "lungs"]]

    def test_without_a_gate_the_lungs_are_still_looked_at(self, radiograph):
        analysis = analyse_radiograph(radiograph, Double(lung_field=np.zeros((4, 4), bool)))
        assert analysis.warnings == ("Of the file.", "No lungs were found in the picture.")


class TestForce:
    @pytest.mark.parametrize(
        ("view", "error"),
        [
            ("upside_down", TurnedError),
            ("turned_left", TurnedError),
            ("turned_right", TurnedError),
            ("inverted", InvertedError),
            ("side_view", SideViewError),
            ("slice", SliceError),
            ("other", NotAChestXrayError),
        ],
    )
    def test_a_refusal_becomes_a_warning_and_its_code_is_kept(self, radiograph, view, error):
        analysis = analyse_radiograph(radiograph, Double(gate_that_sees(view)), force=True)
        assert analysis.forced == "not_a_chest_xray"
        assert analysis.warnings == ("Of the file.", SENTENCE + error.user_message)
        assert analysis.suggested_correction == CORRECTIONS.get(view)

    def test_where_nothing_was_refused_nothing_was_forced(self, radiograph):
        analysis = analyse_radiograph(radiograph, Double(gate_that_sees(FRONTAL)), force=True)
        assert analysis.forced is None
        assert analysis.warnings == ("Of the file.",)

    def test_a_warning_is_no_refusal(self, radiograph):
        double = Double(gate_that_sees("side_view", refuse_below=-20))
        assert analyse_radiograph(radiograph, double, force=True).forced is None

    def test_a_side_view_by_its_own_header_is_refused_before_the_network_unless_forced(self, radiograph):
        double, lateral = Double(gate_that_sees(FRONTAL)), replace(radiograph, view_position="LL")
        with pytest.raises(SideViewError):
            analyse_radiograph(lateral, double)
        assert double.passes == 0
        analysis = analyse_radiograph(lateral, double, force=True)
        assert analysis.forced == "not_a_chest_xray"
        assert analysis.warnings == ("Of the file.", SENTENCE + SideViewError.user_message)
        assert double.passes == 1

    def test_two_refusals_are_both_said(self, radiograph):
        lateral = replace(radiograph, view_position="LL")
        analysis = analyse_radiograph(lateral, Double(gate_that_sees("slice")), force=True)
        assert [w.startswith(SENTENCE) for w in analysis.warnings] == [False, True, True]

    def test_one_forced_analysis_forces_no_other(self, radiograph):
        double = Double(gate_that_sees("other"))
        analyse_radiograph(radiograph, double, force=True)
        with pytest.raises(NotAChestXrayError):
            analyse_radiograph(radiograph, double)


class TestCorrection:
    @pytest.mark.parametrize(
        ("correction", "change", "said"),
        [
            (Correction(), lambda p: p, []),
            (Correction(1), lambda p: np.rot90(p, 1), ["rotated"]),
            (Correction(2), lambda p: p[::-1, ::-1], ["rotated"]),
            (Correction(3), lambda p: np.rot90(p, 3), ["rotated"]),
            (Correction(inverted=True), lambda p: 1 - p, ["exchanged"]),
            (Correction(1, inverted=True), lambda p: 1 - np.rot90(p, 1), ["rotated", "exchanged"]),
        ],
        ids=["nothing", "quarter", "half", "three quarters", "inverted", "both"],
    )
    def test_the_network_is_shown_the_changed_picture_and_the_reader_is_told(
        self, radiograph, correction, change, said
    ):
        double, before = Double(), radiograph.pixels.copy()
        analysis = analyse_radiograph(radiograph, double, correction=correction)
        np.testing.assert_array_equal(double.pictures[0], change(before))
        np.testing.assert_array_equal(analysis.radiograph.pixels, change(before))
        np.testing.assert_array_equal(radiograph.pixels, before)
        first, *rest = analysis.warnings
        assert first == "Of the file."
        assert [word in warning for word, warning in zip(said, rest, strict=True)] == [True] * len(said)
        assert analysis.correction == correction

    def test_a_quarter_turn_exchanges_rows_and_columns(self, radiograph):
        analysis = analyse_radiograph(radiograph, Double(), correction=Correction(1))
        assert (analysis.radiograph.rows, analysis.radiograph.columns) == (300, 240)
        assert (analysis.geometry.rows, analysis.geometry.columns) == (300, 240)

    def test_the_file_keeps_its_name_in_hashes(self, radiograph):
        changed = analyse_radiograph(radiograph, Double(), correction=Correction(1, inverted=True)).radiograph
        assert (changed.sha256, changed.pixel_sha256) == (radiograph.sha256, radiograph.pixel_sha256)

    def test_the_picture_is_checked_as_it_is_after_the_change(self, radiograph):
        pixels = radiograph.pixels.copy()
        pixels[:140] = 0
        analysis = analyse_radiograph(replace(radiograph, grey=pixels), Double(), correction=Correction(inverted=True))
        assert analysis.warnings[-1] == "More than half of the picture is white."

    def test_one_that_did_not_help_is_still_refused(self, radiograph):
        with pytest.raises(TurnedError):
            analyse_radiograph(radiograph, Double(gate_that_sees("turned_left")), correction=Correction(3))


class TestAnalysis:
    def test_bytes_and_the_decoded_picture_give_the_same(self, composite):
        doubles = Double(), Double()
        analyse(composite, doubles[0])
        analyse_radiograph(read_radiograph(composite), doubles[1])
        np.testing.assert_array_equal(doubles[0].pictures[0], doubles[1].pictures[0])

    def test_the_network_runs_once(self, radiograph):
        double = Double(gate_that_sees(FRONTAL))
        analyse_radiograph(radiograph, double)
        assert (len(double.pictures), double.passes) == (1, 1)

    def test_the_lungs_share_is_of_the_whole_picture(self, radiograph):
        # A quarter of the box is lung, and the box is half as high and half as wide as the picture.
        analysis = analyse_radiograph(radiograph, Double())
        found = summarise(analysis.cams["binary"][0], analysis.lung_field, analysis.geometry)
        assert found.lung_area_fraction == pytest.approx(1 / 16)

    def test_geometry_and_field_are_those_of_the_classifiers_input(self, radiograph):
        analysis = analyse_radiograph(radiograph, Double())
        assert analysis.geometry == Geometry(240, 300, 60, 37.5, 120, 150, 4)
        np.testing.assert_array_equal(analysis.lung_field, np.tile([False, True, False, False], (4, 1)))


def test_real_dicom_and_its_inverted_twin_answer_alike(engine, samples):
    names = ("rsna_adult.dcm", "rsna_adult_monochrome1.dcm")
    logits = [analyse((samples / name).read_bytes(), engine).logits for name in names]
    for task in TASKS:
        np.testing.assert_allclose(logits[0][task.name], logits[1][task.name], atol=1e-3)


def test_every_real_sample_picture_is_read(samples):
    pictures = [path for path in sorted(samples.iterdir()) if path.suffix != ".csv"]
    assert pictures
    for path in pictures:
        pixels = read_radiograph(path.read_bytes()).pixels
        assert pixels.dtype == np.float32
        assert pixels.min() >= 0
        assert pixels.max() <= 1
