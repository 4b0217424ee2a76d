"""Grey levels: what is counted is what sorting all pixels would give."""

import numpy as np
import pytest

from detector.model.levels import counts_of, levels_of, quantiles, share_below

SHARES = (0, 0.02, 0.05, 0.5, 0.95, 0.98, 1)


@pytest.fixture(params=["8 bits", "floating point", "two pixels", "one level"])
def grey(request):
    rng = np.random.default_rng(3)
    return {
        "8 bits": rng.integers(0, 256, (37, 41), np.uint8),
        "floating point": (rng.integers(0, 65536, (37, 41)) / np.float32(65535)).astype(np.float32),
        "two pixels": np.array([[3, 250]], np.uint8),
        "one level": np.full((5, 5), 255, np.uint8),
    }[request.param]


def in_unit_range(grey):
    return grey / 255 if grey.dtype == np.uint8 else grey.astype(float)


def test_every_pixel_is_counted_at_its_level(grey):
    counts = counts_of(grey)
    assert counts.sum() == grey.size
    assert counts[levels_of(grey)].min() >= 1
    assert len(counts) == (256 if grey.dtype == np.uint8 else 65536)


def test_quantiles_are_those_of_the_sorted_pixels(grey):
    expected = np.quantile(in_unit_range(grey), SHARES)
    assert quantiles(counts_of(grey), SHARES) == pytest.approx(expected, abs=2e-5)


def test_share_below_is_that_of_the_pixels(grey):
    values = np.array([0, 0.3, 1 / 3, 0.5, 0.99, 1])
    expected = [(in_unit_range(grey) < value).mean() for value in values]
    assert share_below(counts_of(grey), values) == pytest.approx(expected, abs=1e-3)
