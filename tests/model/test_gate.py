"""The gate: thresholds, what each refusal says and suggests, and what is checked before its file is believed."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest

from detector.errors import (
    InvertedError,
    ModelError,
    NoContrastError,
    NotAChestXrayError,
    SideViewError,
    SliceError,
    TurnedError,
)
from detector.model.gate import (
    CORRECTIONS,
    VIEWS,
    Gate,
    GateFinding,
    check_features,
    check_image,
    check_lungs,
    correct,
    gate_features,
    load_gate,
)
from detector.read.image_io import read_radiograph
from detector.schema import Correction, Geometry, NetworkInput, NetworkOutput, Radiograph
from tests.conftest import make_dicom


def radiograph(pixels):
    return Radiograph(np.asarray(pixels, np.float32), "PNG", "", "")


def ramp(rows=300, columns=300):
    return np.tile(np.linspace(0.1, 0.9, columns), (rows, 1))


def halves(contrast):
    pixels = np.full((300, 300), 0.4)
    pixels[:150] += contrast
    return pixels


def test_usual_picture_needs_no_warning():
    assert check_image(radiograph(ramp())) == ()


@pytest.mark.parametrize("contrast", [0.0, 0.019], ids=["none", "just-under"])
def test_least_contrast_is_refused_below(contrast):
    with pytest.raises(NoContrastError):
        check_image(radiograph(halves(contrast)))


@pytest.mark.parametrize(
    ("contrast", "warns"), [(0.021, True), (0.119, True), (0.121, False)], ids=["least", "just-under", "just-over"]
)
def test_low_contrast_is_said(contrast, warns):
    assert check_image(radiograph(halves(contrast))) == (("The picture has very little contrast.",) if warns else ())


def test_a_few_bright_pixels_are_no_contrast():
    pixels = np.full((300, 300), 0.4)
    pixels[:17, :100] = 1  # 1.9 % of the picture
    with pytest.raises(NoContrastError):
        check_image(radiograph(pixels))


@pytest.mark.parametrize(("level", "word"), [(0.0, "black"), (1.0, "white")], ids=["black", "white"])
@pytest.mark.parametrize(("rows", "warns"), [(150, False), (151, True)], ids=["exactly-half", "one-row-more"])
def test_more_than_half_at_one_end_is_said(level, word, rows, warns):
    pixels = ramp()
    pixels[:rows] = level
    warnings = check_image(radiograph(pixels))
    assert len(warnings) == int(warns)
    assert all(word in warning for warning in warnings)


@pytest.mark.parametrize("level", [0.0039, 0.9961], ids=["one-step-above-black", "one-step-below-white"])
def test_one_grey_level_from_the_end_counts_as_the_end(level):
    pixels = ramp()
    pixels[:200] = level
    assert len(check_image(radiograph(pixels))) == 1


@pytest.mark.parametrize(
    ("shape", "warns"),
    [((240, 384), False), ((240, 385), True), ((384, 240), False), ((385, 240), True)],
    ids=["wide-1.6", "wider", "tall-1.6", "taller"],
)
def test_long_picture_is_said(shape, warns):
    warnings = check_image(radiograph(ramp(*shape)))
    assert len(warnings) == int(warns)
    assert all("unusually long" in warning for warning in warnings)


@pytest.mark.parametrize(("side", "warns"), [(224, False), (223, True)], ids=["training-size", "one-less"])
def test_small_picture_is_said(side, warns):
    warnings = check_image(radiograph(ramp(side, 260)))
    assert len(warnings) == int(warns)
    assert all("smaller" in warning for warning in warnings)


def test_large_picture_is_sampled_to_the_same_answer():
    assert check_image(radiograph(ramp(1100, 1300))) == ()


def test_several_findings_are_all_said():
    pixels = np.zeros((100, 200))
    pixels[:, :20] = 0.1
    assert len(check_image(radiograph(pixels))) == 4  # contrast, black, long, small


def test_input_is_left_as_it_was():
    image = radiograph(ramp())
    before = image.pixels.copy()
    check_image(image)
    np.testing.assert_array_equal(image.pixels, before)


@pytest.mark.parametrize("view", ["LL", "RL", "LATERAL"])
def test_side_view_by_its_own_header_is_refused(composite_pixels, view):
    radiograph = read_radiograph(make_dicom(composite_pixels, ViewPosition=view))
    with pytest.raises(SideViewError, match=view):
        check_image(radiograph)


# After the network: what it saw.

# Three features; the logit of each view is one of them, or their sum, or nothing.
KERNEL = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0]], float)


def gate(**changes):
    """Judges three features without moving or scaling them: refuses below log-odds of -1, warns below 1."""
    plain = Gate(
        mean=np.zeros(3), scale=np.ones(3), kernel=KERNEL, bias=np.zeros(8), child_kernel=np.zeros(3), child_bias=-1.0,
        refuse_below=-1.0, warn_below=1.0,
    )  # fmt: skip
    return replace(plain, **changes)


def seeing(view, log_odds):
    """A gate whose answer is one view at the given log-odds of a frontal one: all others weigh nothing beside it."""
    bias = np.full(8, -50.0)
    bias[0], bias[VIEWS.index(view)] = log_odds, 0
    return gate(kernel=np.zeros((3, 8)), bias=bias)


NOTHING = np.zeros(3, np.float32)


class TestGateByHand:
    def test_log_odds_of_a_frontal_view(self):
        # Logits 2 against 1, 1, 0.5 and four of 0: 2 - log(2 e + sqrt(e) + 4).
        log_odds = gate().frontal_log_odds(np.array([2, 1, 0.5]))
        assert log_odds == pytest.approx(2 - math.log(2 * math.e + math.sqrt(math.e) + 4))

    def test_it_is_the_logit_of_the_softmax(self):
        logits = gate().logits(np.array([2, 1, 0.5]))
        share = np.exp(logits)[0] / np.exp(logits).sum()
        assert gate().frontal_log_odds(np.array([2, 1, 0.5])) == pytest.approx(math.log(share / (1 - share)))

    def test_features_are_moved_and_scaled(self):
        moved = gate(mean=np.array([1.0, 2, 3]), scale=np.array([2.0, 4, 8]))
        np.testing.assert_allclose(moved.logits(np.array([5, 6, 11])), gate().logits(np.array([2, 1, 1])))

    def test_one_feature_shouts_no_louder_than_eight_deviations(self):
        np.testing.assert_array_equal(gate().logits(np.array([1e6, -1e6, 0])), gate().logits(np.array([8, -8, 0])))

    def test_a_child_is_told_by_a_kernel_of_its_own(self):
        child = gate(child_kernel=np.array([0.5, 0, -1]), child_bias=0.25)
        assert child.child_log_odds(np.array([2, 9, 1])) == pytest.approx(0.25)

    def test_many_pictures_are_judged_like_each_by_itself(self):
        rows = np.random.default_rng(0).normal(size=(5, 3))
        one_by_one = [gate().frontal_log_odds(row) for row in rows]
        np.testing.assert_allclose(gate().frontal_log_odds(rows), one_by_one)
        assert gate().child_log_odds(rows).shape == (5,)
        assert gate().logits(rows).shape == (5, 8)


class TestCheckFeatures:
    def test_a_frontal_view_passes_without_a_word(self):
        assert check_features(NOTHING, seeing("other", 5.0)) == GateFinding()

    @pytest.mark.parametrize(
        ("view", "error", "correction"),
        [
            ("upside_down", TurnedError, Correction(quarter_turns=2)),
            ("turned_left", TurnedError, Correction(quarter_turns=3)),
            ("turned_right", TurnedError, Correction(quarter_turns=1)),
            ("inverted", InvertedError, Correction(inverted=True)),
            ("side_view", SideViewError, None),
            ("slice", SliceError, None),
            ("other", NotAChestXrayError, None),
        ],
    )
    def test_each_view_is_refused_by_its_own_error_and_correction(self, view, error, correction):
        with pytest.raises(NotAChestXrayError, match=f"-3.00; {view}") as caught:
            check_features(NOTHING, seeing(view, -3.0))
        assert type(caught.value) is error
        assert caught.value.suggested_correction == correction
        assert caught.value.code == "not_a_chest_xray"
        assert caught.value.can_force

    @pytest.mark.parametrize("view", [view for view in VIEWS if view != "frontal"])
    def test_each_view_is_warned_of_in_between(self, view):
        finding = check_features(NOTHING, seeing(view, 0.0))
        assert len(finding.warnings) == 1
        assert finding.warnings[0].endswith(".")
        assert finding.suggested_correction == CORRECTIONS.get(view)

    @pytest.mark.parametrize("view", CORRECTIONS)
    @pytest.mark.parametrize(("log_odds", "named"), [(2.1, True), (2.3, False)])
    def test_rotation_is_not_named_where_nine_in_ten_such_pictures_are_upright(self, view, log_odds, named):
        finding = check_features(NOTHING, replace(seeing(view, log_odds), warn_below=5.0))
        assert (finding.suggested_correction is not None) == named
        assert len(finding.warnings) == 1
        assert ("differs from" not in finding.warnings[0]) == named

    @pytest.mark.parametrize(
        ("log_odds", "outcome"),
        [(-1.001, "refused"), (-1.0, "warned"), (0.999, "warned"), (1.0, "passed"), (1.001, "passed")],
        ids=["under", "at the lower", "between", "at the upper", "over"],
    )
    def test_a_threshold_belongs_to_the_kinder_side(self, log_odds, outcome):
        exact = seeing("other", log_odds)
        if outcome == "refused":
            with pytest.raises(NotAChestXrayError):
                check_features(NOTHING, exact)
        else:
            assert bool(check_features(NOTHING, exact).warnings) == (outcome == "warned")

    @pytest.mark.parametrize("index", range(3))
    def test_features_that_are_no_number_are_refused(self, index):
        features = np.array([9.0, 0, 0])  # frontal beyond doubt, but for one
        assert check_features(features, gate()) == GateFinding()
        features[index] = np.nan
        with pytest.raises(NotAChestXrayError, match="nan"):
            check_features(features, gate())

    def test_one_threshold_for_both_leaves_no_band(self):
        same = replace(seeing("other", -0.5), refuse_below=0.0, warn_below=0.0)
        with pytest.raises(NotAChestXrayError):
            check_features(NOTHING, same)

    @pytest.mark.parametrize(("log_odds", "warnings"), [(5.0, 1), (0.0, 2)], ids=["frontal", "doubtful"])
    def test_a_child_is_said_whatever_else_is(self, log_odds, warnings):
        found = check_features(NOTHING, replace(seeing("other", log_odds), child_bias=0.1)).warnings
        assert len(found) == warnings
        assert "child" in found[-1]

    def test_even_odds_of_a_child_are_none(self):
        assert not check_features(NOTHING, replace(seeing("other", 5.0), child_bias=0.0)).warnings

    def test_input_is_left_as_it_was(self):
        features = np.array([-9.0, 20, -20])
        with pytest.raises(NotAChestXrayError):
            check_features(features, gate())
        np.testing.assert_array_equal(features, [-9, 20, -20])


class TestGateFeatures:
    GEOMETRY = Geometry(rows=400, columns=200, top=100, left=20, height=200, width=150, size=16)

    def features(self, field):
        network_input = NetworkInput(np.zeros((16, 16, 1), np.float32), self.GEOMETRY, field)
        output = NetworkOutput({}, np.zeros((1, 1, 2)), np.array([1.5, 2.5], np.float32), np.array([7.0], np.float32))
        return gate_features(network_input, output)

    def test_they_are_averages_texture_cells_and_place_in_that_order(self):
        field = np.zeros((16, 16), bool)
        field[:2, :2] = True  # the first cell
        field[15, 14] = True  # a quarter of the last one
        features = self.features(field)
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features[:3], [1.5, 2.5, 7])
        np.testing.assert_array_equal(features[3:67], [1, *[0] * 62, 0.25])
        np.testing.assert_allclose(features[67:], [0.25, 0.1, 0.5, 0.75])

    def test_cells_run_along_the_rows(self):
        field = np.zeros((16, 16), bool)
        field[:2] = True
        np.testing.assert_array_equal(self.features(field)[3:67], [1] * 8 + [0] * 56)

    def test_the_place_is_one_for_pictures_of_every_size(self):
        field = np.zeros((16, 16), bool)
        network_input = NetworkInput(
            np.zeros((16, 16, 1), np.float32), Geometry(800, 400, 200, 40, 400, 300, 16), field
        )
        output = NetworkOutput({}, np.zeros((1, 1, 2)), np.array([1.5, 2.5], np.float32), np.array([7.0], np.float32))
        np.testing.assert_array_equal(gate_features(network_input, output), self.features(field))


class TestCheckLungs:
    def said(self, field, *, top=0.0, left=0.0, bottom=0.0, right=0.0, scale=1):
        """Warnings for a field on a box that leaves so many pixels of a picture of 224 x 224, times the scale."""
        rows = columns = 224 * scale
        geometry = Geometry(rows, columns, top, left, rows - top - bottom, columns - left - right, 100)
        return check_lungs(field, geometry)

    def test_lungs_inside_the_picture_need_no_warning(self):
        field = np.zeros((100, 100), bool)
        field[1:99, 1:99] = True
        assert self.said(field) == ()

    def test_no_lungs_at_all_are_said(self):
        assert self.said(np.zeros((100, 100), bool)) == ("No lungs were found in the picture.",)

    @pytest.mark.parametrize(("pixels", "warns"), [(25, False), (26, True)], ids=["a-quarter", "more"])
    @pytest.mark.parametrize("edge", ["top", "left", "bottom", "right"])
    def test_more_than_a_quarter_of_an_edge(self, edge, pixels, warns):
        assert self.said(along(edge, pixels)) == ((f"The {edge} edge of the picture seems to cut off a lung.",) * warns)

    @pytest.mark.parametrize(("distance", "warns"), [(2, True), (2.1, False)], ids=["two-pixels", "more"])
    @pytest.mark.parametrize("edge", ["top", "left", "bottom", "right"])
    def test_the_boxs_edge_must_be_the_pictures(self, edge, distance, warns):
        assert bool(self.said(along(edge, 100), **{edge: distance})) == warns

    def test_two_pixels_are_of_the_working_grid(self):
        assert self.said(along("top", 100), top=8, scale=4)
        assert not self.said(along("top", 100), top=8.1, scale=4)

    def test_several_edges_are_each_said(self):
        assert len(self.said(np.ones((100, 100), bool))) == 4

    def test_the_long_side_of_the_box_decides_nothing(self):
        geometry = Geometry(rows=300, columns=100, top=150, left=0, height=150, width=100, size=100)
        assert check_lungs(along("top", 100), geometry) == ()


def along(edge, pixels):
    """(100, 100) bool, lung in so many pixels of one edge, away from the corners where there is room."""
    field = np.zeros((100, 100), bool)
    line = {"top": field[0], "left": field[:, 0], "bottom": field[-1], "right": field[:, -1]}[edge]
    line[(100 - pixels) // 2 :][:pixels] = True
    return field


class TestCorrect:
    def test_nothing_to_do_returns_the_picture_itself(self):
        image = radiograph(ramp())
        assert correct(image, Correction()) is image

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_turns_are_anticlockwise(self, turns):
        image = radiograph([[1, 2], [3, 4]])
        expected = {1: [[2, 4], [1, 3]], 2: [[4, 3], [2, 1]], 3: [[3, 1], [4, 2]]}[turns]
        np.testing.assert_array_equal(correct(image, Correction(turns)).pixels, expected)

    def test_inversion_exchanges_black_and_white_and_twice_is_none(self):
        image = radiograph([[0, 0.25], [0.5, 1]])
        once = correct(image, Correction(inverted=True))
        np.testing.assert_array_equal(once.pixels, [[1, 0.75], [0.5, 0]])
        np.testing.assert_array_equal(correct(once, Correction(inverted=True)).pixels, image.pixels)

    def test_pixels_are_contiguous_float32_and_the_given_ones_are_left(self):
        image = radiograph(ramp(240, 300))
        before = image.pixels.copy()
        pixels = correct(image, Correction(1, inverted=True)).pixels
        assert pixels.flags.c_contiguous
        assert pixels.dtype == np.float32
        np.testing.assert_array_equal(image.pixels, before)

    def test_what_is_known_of_the_file_stays(self):
        image = Radiograph(np.eye(2, dtype=np.float32), "DICOM", "file", "pixels", "PA", ("Said before.",))
        changed = correct(image, Correction(2))
        assert replace(changed, grey=image.grey, warnings=()).__dict__ == replace(image, warnings=()).__dict__
        assert changed.warnings == ("Said before.", "The picture was rotated on request.")

    @pytest.mark.parametrize("view", CORRECTIONS)
    def test_corrections_are_of_a_picture_that_is_turned_or_inverted(self, view):
        assert CORRECTIONS[view]
        assert view in VIEWS


class TestLoadGate:
    @pytest.fixture
    def saved(self, tmp_path):
        """A folder with ``gate.npz``, the card's entry for it, and the gate."""
        rng = np.random.default_rng(0)
        made = gate(
            mean=rng.normal(size=3).astype(np.float32), scale=rng.uniform(1, 2, 3).astype(np.float32),
            kernel=rng.normal(size=(3, 8)).astype(np.float32), bias=rng.normal(size=8).astype(np.float32),
            child_kernel=rng.normal(size=3).astype(np.float32), child_bias=0.5,
        )  # fmt: skip
        arrays = {
            name: getattr(made, name) for name in ("mean", "scale", "kernel", "bias", "child_kernel", "child_bias")
        }
        np.savez(tmp_path / "gate.npz", **arrays)
        sha256 = hashlib.sha256((tmp_path / "gate.npz").read_bytes()).hexdigest()
        return tmp_path, {"sha256": sha256, "refuse_below": -2.5, "warn_below": 0.75}, made

    def test_it_comes_back_to_the_bit(self, saved):
        folder, entry, made = saved
        loaded = load_gate(folder, entry)
        for name in ("mean", "scale", "kernel", "bias", "child_kernel"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(made, name))
        assert (loaded.child_bias, loaded.refuse_below, loaded.warn_below) == (0.5, -2.5, 0.75)

    def test_a_card_that_knows_no_gate_gives_none_whatever_lies_there(self, saved):
        assert load_gate(saved[0], {}) is None

    def test_a_missing_file_is_refused(self, saved):
        folder, entry, _ = saved
        (folder / "gate.npz").unlink()
        with pytest.raises(ModelError, match=r"gate\.npz cannot be read"):
            load_gate(folder, entry)

    @pytest.mark.parametrize("position", [0, 0.5, 1], ids=["first", "middle", "last"])
    def test_one_flipped_bit_is_refused(self, saved, position):
        folder, entry, _ = saved
        data = bytearray((folder / "gate.npz").read_bytes())
        data[round(position * (len(data) - 1))] ^= 1
        (folder / "gate.npz").write_bytes(data)
        with pytest.raises(ModelError, match="SHA-256"):
            load_gate(folder, entry)

    @pytest.mark.parametrize(
        "content", [b"", b"version https://git-lfs.github.com/spec/v1\n"], ids=["empty", "pointer"]
    )
    def test_what_is_no_gate_is_refused(self, saved, content):
        folder, entry, _ = saved
        (folder / "gate.npz").write_bytes(content)
        with pytest.raises(ModelError, match="not the gate of the card"):
            load_gate(folder, entry)

    def test_an_entry_without_a_hash_is_refused(self, saved):
        folder, entry, _ = saved
        with pytest.raises(ModelError, match="expected None"):
            load_gate(folder, {name: value for name, value in entry.items() if name != "sha256"})
