"""Where the evidence lies: shares by hand, lungs that touch or are missing, words for each case."""

from dataclasses import replace

import numpy as np
import pytest

from detector import words
from detector.answers.evidence import (
    describe,
    peak_in_lung,
    sentence,
    split_lungs,
    summarise,
    thirds,
    warning,
)
from detector.schema import ZONES, EvidenceSummary, Geometry

WHOLE = Geometry(rows=40, columns=40, top=0, left=0, height=40, width=40, size=4)
LEFT = np.array([[True, True, False, False]] * 4)
CHEST = Geometry(rows=400, columns=400, top=0, left=0, height=400, width=400, size=40)


def chest(*lungs, size=40):
    """A field of rectangles, each (top, bottom, left, right)."""
    field = np.zeros((size, size), bool)
    for top, bottom, left, right in lungs:
        field[top:bottom, left:right] = True
    return field


RIGHT_LUNG, LEFT_LUNG = (4, 34, 4, 16), (7, 31, 24, 36)  # the patient's; 30 and 24 rows high
BOTH = chest(RIGHT_LUNG, LEFT_LUNG)


@pytest.mark.parametrize(
    ("cam", "expected"),
    [
        pytest.param([[1, 1, 0, 0]] * 4, 1.0, id="all-in-the-lung"),
        pytest.param([[0, 0, 1, 1]] * 4, 0.0, id="none-in-the-lung"),
        pytest.param([[2, 1, 1, 0]] * 4, 0.75, id="three-quarters"),
        pytest.param([[1, -9, 1, -9]] * 4, 0.5, id="evidence-against-does-not-count"),
        pytest.param([[-1, -1, -1, -1]] * 4, None, id="only-evidence-against"),
        pytest.param([[0, 0, 0, 0]] * 4, None, id="no-evidence"),
    ],
)
def test_share_of_the_positive_evidence(cam, expected):
    share = summarise(np.array(cam, np.float32), LEFT, WHOLE)
    assert share.in_lung_fraction == (None if expected is None else pytest.approx(expected))


def test_constant_cam_on_a_coarser_grid_gives_the_lungs_share():
    share = summarise(np.ones((2, 2), np.float32), LEFT, WHOLE)
    assert share.in_lung_fraction == pytest.approx(share.lung_area_fraction)
    assert share.ratio == pytest.approx(1)


def test_lung_area_is_of_the_image_and_not_of_the_box():
    half_box = Geometry(rows=40, columns=40, top=10, left=0, height=20, width=40, size=4)
    share = summarise(np.ones((4, 4), np.float32), LEFT, half_box)
    assert share.lung_area_fraction == pytest.approx(0.25)
    assert share.lung_box_fraction == pytest.approx(0.5)
    assert share.ratio == pytest.approx(2)  # of a map without preference: the box alone halves the picture


def test_where_no_lung_was_found_nothing_is_measured():
    share = summarise(np.ones((4, 4), np.float32), np.zeros((4, 4), bool), WHOLE)
    assert (share.in_lung_fraction, share.ratio, share.peak_in_lung) == (None, None, None)
    assert share.lung_area_fraction == 0
    assert set(share.zones.values()) == {0}
    assert sentence(share, "covid19") == words.NOT_MEASURED
    assert warning(share) is None


@pytest.mark.parametrize(
    ("field", "cam", "message"),
    [
        (np.zeros((5, 4), bool), np.ones((4, 4)), r"must be \(4, 4\)\. Received \(5, 4\)"),
        (LEFT, np.ones((2, 4, 4)), r"must be \(h, w\)\. Received shape \(2, 4, 4\)"),
    ],
    ids=["field on another grid", "maps of two classes"],
)
def test_what_does_not_fit_is_named(field, cam, message):
    with pytest.raises(ValueError, match=message):
        summarise(cam, field, WHOLE)


def test_inputs_are_left_as_they_were():
    cam, field = np.array([[-1, 1]], np.float32), LEFT.copy()
    summarise(cam, field, WHOLE)
    np.testing.assert_array_equal(cam, [[-1, 1]])
    np.testing.assert_array_equal(field, LEFT)


@pytest.mark.parametrize(
    ("peak", "expected"),
    [
        pytest.param((0, 0), True, id="centre in the lung"),
        pytest.param((0, 1), False, id="centre outside, although the cell touches the lung"),
        pytest.param((1, 0), False, id="centre below the lung"),
    ],
)
def test_peak_is_the_centre_of_its_cell(peak, expected):
    field = chest((0, 10, 0, 22))  # cells of 20 pixels: centres at 10 and 30
    field[10, 10] = True
    cam = np.zeros((2, 2))
    cam[peak] = 1
    assert peak_in_lung(cam, field) is expected


def test_each_zone_takes_a_third_of_its_own_lung():
    cam = np.zeros((40, 40), np.float32)
    cam[13, 5], cam[14, 5] = 1, 2  # rows 4 to 13 are the right upper zone, 14 to 23 the middle one
    cam[14, 25], cam[15, 25] = 4, 8  # rows 7 to 14 and 15 to 22 of the left lung, which is shorter
    cam[0, 0] = 17  # outside
    zones = summarise(cam, BOTH, CHEST).zones
    assert list(zones) == list(ZONES)
    np.testing.assert_allclose(list(zones.values()), np.array([1, 2, 0, 4, 8, 0]) / 32, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_zones_sum_to_the_share_in_the_lungs(seed):
    cam = np.random.default_rng(seed).normal(size=(5, 5)).astype(np.float32)
    share = summarise(cam, BOTH, CHEST)
    assert sum(share.zones.values()) == pytest.approx(share.in_lung_fraction)


@pytest.mark.parametrize(
    ("field", "right"),
    [
        pytest.param(BOTH, chest(RIGHT_LUNG), id="apart"),
        pytest.param(chest(RIGHT_LUNG, LEFT_LUNG, (10, 14, 16, 24)), None, id="joined by a bridge"),
        pytest.param(chest((4, 10, 4, 16), (14, 34, 4, 16), LEFT_LUNG), chest((4, 10, 4, 16), (14, 34, 4, 16)),
                     id="one lung in two pieces"),
        pytest.param(chest(RIGHT_LUNG), chest(RIGHT_LUNG), id="left lung missing"),
        pytest.param(chest(LEFT_LUNG), chest(), id="right lung missing"),
        pytest.param(chest((4, 16, 24, 36), (20, 34, 24, 36)), chest(), id="right missing, left in two pieces"),
        pytest.param(chest(RIGHT_LUNG, LEFT_LUNG, (36, 38, 17, 19)), chest(RIGHT_LUNG, (36, 38, 17, 19)), id="a crumb"),
        pytest.param(chest(), chest(), id="none"),
    ],
)  # fmt: skip
def test_lungs_are_told_apart(field, right):
    found, other = split_lungs(field, 20)
    np.testing.assert_array_equal(found | other, field)
    assert not (found & other).any()
    if right is None:  # somewhere on the bridge
        right = field & (np.arange(40) < 20)
        right[10:14] = found[10:14]
        assert found[10:14, 4:16].all()
        assert other[10:14, 24:36].all()
    np.testing.assert_array_equal(found, right)


def test_side_of_a_lone_lung_is_that_of_the_picture_also_where_the_box_holds_it_alone():
    box = Geometry(rows=400, columns=400, top=0, left=240, height=400, width=160, size=40)
    share = summarise(np.ones((4, 4), np.float32), chest((4, 34, 4, 36)), box)
    assert sum(share.zones[f"left {height} zone"] for height in ("upper", "middle", "lower")) == pytest.approx(
        share.in_lung_fraction
    )


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_thirds_are_the_lung_whatever_its_height(rows):
    lung = chest((5, 5 + rows, 3, 9))
    parts = thirds(lung)
    np.testing.assert_array_equal(np.any(parts, axis=0), lung)
    assert sum(part.sum() for part in parts) == lung.sum()


def summary(inside, *, faint=False, **zones):
    named = {name.replace("_", " ") + " zone": share for name, share in zones.items()}
    ratio = None if inside is None else inside / 0.3
    return EvidenceSummary(inside, 0.3, 0.4, ratio, inside is not None, dict.fromkeys(ZONES, 0.0) | named, faint)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            summary(0.72, right_lower=0.5, left_lower=0.22),
            "Mostly for COVID-19: right lower zone. 72 % of that evidence lies in the lungs (30 % of the picture).",
            id="one zone",
        ),
        pytest.param(
            summary(0.8, right_lower=0.3, left_lower=0.3, left_upper=0.2),
            "Mostly for COVID-19: both lower zones. 80 % of that evidence lies in the lungs (30 % of the picture).",
            id="two zones",
        ),
        pytest.param(
            summary(0.6, right_upper=0.12, right_middle=0.12, right_lower=0.12, left_upper=0.12, left_middle=0.12),
            "Mostly for COVID-19: right upper zone, right middle zone and right lower zone. "
            "60 % of that evidence lies in the lungs (30 % of the picture).",
            id="three of five equal zones",
        ),
        pytest.param(
            replace(summary(0.6), zones=dict.fromkeys(ZONES, 0.1) | {"left lower zone": 0.099}),
            "Mostly for COVID-19: right upper zone, right middle zone and right lower zone. "
            "60 % of that evidence lies in the lungs (30 % of the picture).",
            id="three that just hold half",
        ),
        pytest.param(summary(0.0),
            "Mostly for COVID-19. 0 % of that evidence lies in the lungs (30 % of the picture).", id="none inside"),
        pytest.param(summary(0.9, faint=True, right_lower=0.9), words.FAINT.format(name="COVID-19"), id="faint"),
        pytest.param(summary(None), words.NOT_MEASURED, id="not measured"),
    ],
)  # fmt: skip
def test_sentence_names_the_fewest_zones_that_hold_half(given, expected):
    assert sentence(given, "covid19") == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (summary(0.49, right_lower=0.49), words.OUTSIDE_WARNING),
        (summary(0.5, right_lower=0.5), None),
        (summary(0.1, faint=True), None),
        (summary(None), None),
    ],
    ids=["mostly outside", "half", "faint", "not measured"],
)
def test_evidence_mostly_outside_the_lungs_is_a_warning(given, expected):
    assert warning(given) == expected


AGAINST = np.array([[-9, 0], [-9, 1]], np.float32)  # against the class in the left half, where the lungs are


def test_map_that_is_mostly_against_says_so_and_where():
    said = describe(AGAINST, LEFT, WHOLE, full_scale=10, target="covid19")
    assert said.startswith("Mostly against COVID-19: ")
    assert "zone" in said
    assert describe(-AGAINST, LEFT, WHOLE, full_scale=10, target="covid19").startswith("Mostly for COVID-19: ")
    assert describe(AGAINST, LEFT, WHOLE, full_scale=1000, target="normal") == words.FAINT.format(name="normal")


def test_contrast_has_a_sentence_of_its_own():
    said = describe(AGAINST, LEFT, WHOLE, full_scale=10, target="covid19", against="normal")
    assert said.startswith("For normal rather than COVID-19: ")
    said = describe(-AGAINST, LEFT, WHOLE, full_scale=10, target="covid19", against="normal")
    assert said.startswith("For COVID-19 rather than normal: ")


@pytest.mark.parametrize(("full_scale", "faint"), [(0.0, False), (19.9, False), (20.1, True)])
def test_faint_is_less_than_a_twentieth_of_full_colour(full_scale, faint):
    assert summarise(np.ones((4, 4), np.float32), LEFT, WHOLE, full_scale=full_scale).faint is faint


def test_evidence_against_alone_is_faint_however_strong():
    assert summarise(np.full((4, 4), -50, np.float32), LEFT, WHOLE, full_scale=1).faint


def test_a_summary_is_frozen():
    with pytest.raises(AttributeError):
        summary(0.5).faint = True
    assert replace(summary(0.5), faint=True).faint
