"""Copies are found whatever was done to them, strangers are not, and no pair is missed."""

import cv2
import numpy as np
import pytest

from detector.training.data.duplicates import SAME_PATIENT, SAME_PICTURE, alike, fingerprints_of, joined, similar_pairs
from tests.conftest import COMPOSITES


def made_up(seed, side=224):
    """A picture with structure at all scales, as a radiograph has; no patient's."""
    rng = np.random.default_rng(seed)
    picture = sum(
        cv2.resize(rng.normal(0, 1, (n, n)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC) / (n**0.5)
        for n in (4, 8, 16, 32)
    )
    return np.clip(128 + 60 * picture, 0, 255).astype(np.uint8)


def composite():
    return cv2.imread(str(COMPOSITES / "covid19.png"), cv2.IMREAD_GRAYSCALE)


def correlation(one, other):
    pairs = alike(np.stack([fingerprints_of(one), fingerprints_of(other)]), 0.01)
    return pairs[0].correlation if pairs else 0.0


EDITS = {
    "the same": lambda image: image,
    "compressed": lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 0),
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda image: (255 * (image / 255) ** 0.6).astype(np.uint8),
    "darker": lambda image: (255 * (image / 255) ** 1.6).astype(np.uint8),
    "less contrast": lambda image: (60 + image / 2).astype(np.uint8),
    "black borders": lambda image: cv2.copyMakeBorder(image, 9, 9, 20, 5, cv2.BORDER_CONSTANT),
}


class TestFingerprints:
    @pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
    @pytest.mark.parametrize("original", [made_up(1), composite()], ids=["made up", "composite"])
    def test_a_copy_is_recognised(self, original, edit):
        assert correlation(original, edit(original)) >= SAME_PICTURE

    def test_strangers_and_mirror_images_are_not(self):
        original = made_up(1)
        assert correlation(original, made_up(2)) < SAME_PATIENT
        assert correlation(original, original[:, ::-1].copy()) < SAME_PATIENT

    def test_they_have_mean_zero_and_length_one(self):
        prints = fingerprints_of(made_up(3))
        assert prints.shape == (2, 1024)
        np.testing.assert_allclose(prints.mean(axis=1), 0, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(prints, axis=1), 1, atol=1e-5)

    def test_flat_pictures_are_like_nothing_not_even_each_other(self):
        flat = np.full((80, 80), 9, np.uint8)
        assert not fingerprints_of(flat).any()
        assert correlation(flat, flat) == 0


class TestPairs:
    def test_none_is_missed_and_none_made_up(self, monkeypatch):
        monkeypatch.setattr("detector.training.data.duplicates._BLOCK", 7)  # several blocks, the last one shorter
        rng = np.random.default_rng(0)
        prints = rng.normal(size=(5, 1024)).astype(np.float32)[rng.integers(0, 5, 30)]
        prints += rng.normal(0, 0.3, prints.shape).astype(np.float32)
        prints -= prints.mean(axis=1, keepdims=True)
        prints /= np.linalg.norm(prints, axis=1, keepdims=True)
        every = prints @ prints.T
        for limit in (0.5, 0.9, 0.915):
            expected = {(i, j) for i in range(30) for j in range(i + 1, 30) if every[i, j] >= limit}
            assert set(similar_pairs(prints, limit)) == expected
        assert expected  # the last limit still had something to find

    def test_the_most_alike_come_first(self):
        original = made_up(4)
        prints = np.stack([fingerprints_of(EDITS[k](original)) for k in ("the same", "compressed", "black borders")])
        values = [pair.correlation for pair in alike(prints, 0.5)]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)

    def test_nothing_has_no_pairs(self):
        assert alike(np.zeros((0, 2, 1024), np.float32), 0.9) == []


class TestJoined:
    def test_links_chain_and_the_smallest_names_the_group(self):
        np.testing.assert_array_equal(joined(6, [(4, 2), (2, 1), (5, 5)]), [0, 1, 1, 3, 1, 5])

    def test_no_links_leave_everyone_alone(self):
        np.testing.assert_array_equal(joined(3, []), [0, 1, 2])
