"""Lines 15 and 15a: what only the gate can tell from a frontal chest X-ray."""

import pytest

from detector.answers.pipeline import analyse
from detector.errors import NotAChestXrayError, RejectedError
from tests.hostile.catalogue import GOOD, NO_FRONTAL_CHEST, TURNED_OR_INVERTED

#: The gate that looks at pixels marks its refusals as ones that the reader may overrule; the one before it did not.
LOOKS_AT_PIXELS = hasattr(NotAChestXrayError, "can_force")
needs_pixels = pytest.mark.skipif(not LOOKS_AT_PIXELS, reason="this version's gate reads headers, not pixels")


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, id=line.id, marks=() if line.name.endswith(".dcm") else needs_pixels)
        for line in NO_FRONTAL_CHEST
    ],
)
def test_what_is_no_frontal_chest_x_ray_is_refused(engine, line):
    with pytest.raises(RejectedError) as caught:
        analyse(line.make(), engine)
    assert caught.value.code == line.outcome


@needs_pixels
@pytest.mark.parametrize("line", TURNED_OR_INVERTED, ids=lambda line: line.id)
def test_turned_and_inverted_pictures_are_refused_or_warned_of(engine, line):
    try:
        warnings = analyse(line.make(), engine).warnings
    except NotAChestXrayError:
        return
    assert warnings


@pytest.mark.parametrize("line", GOOD, ids=lambda line: line.name)
def test_good_pictures_are_analysed(engine, line):
    assert analyse(line.make(), engine).logits
