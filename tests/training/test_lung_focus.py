"""Teaching the network to look at the lungs: shares by hand, surroundings that change and lungs that don't."""

import keras
import numpy as np
import pytest

from detector.training.fit.lung_focus import (
    lung_cells,
    misleading_surroundings,
    outside_share,
    segmenter,
    swap_surroundings,
    with_evidence,
)


@pytest.fixture
def fields():
    """Two pictures of 160 x 160: lungs in the left half; no lungs."""
    fields = np.zeros((2, 160, 160), bool)
    fields[0, :, :80] = True
    return fields


def test_share_outside_by_hand():
    lungs = np.array([[[[1.0], [0.5]], [[0.0], [0.0]]]], np.float32)
    evidence = np.array([[[[3.0], [2.0]], [[-1.0], [0.0]]]], np.float32)
    # squares 9, 4, 1, 0; outside 0, half of 4, all of 1: 3 of 14
    share = keras.ops.convert_to_numpy(outside_share(lungs, evidence))
    assert share == pytest.approx([3 / 14], rel=1e-5)


def test_no_evidence_is_nothing_outside():
    zeros = np.zeros((1, 2, 2, 1), np.float32)
    assert keras.ops.convert_to_numpy(outside_share(zeros, zeros)) == pytest.approx([0])


def test_cells_hold_the_share_of_lung_and_ask_nothing_where_there_is_none(fields):
    cells = lung_cells(fields, 10)
    assert cells.shape == (2, 10, 10, 1)
    assert (cells[0, :, :5] == 1).all()
    assert (cells[0, :, 5:] == 0).all()
    assert (cells[1] == 1).all()


def test_lungs_stay_and_surroundings_come_from_another_picture(fields):
    inputs = np.stack([np.full((160, 160, 1), value, np.float32) for value in (-1.0, 1.0)])
    before = inputs.copy()
    seed = next(s for s in range(20) if list(np.random.default_rng(s).permutation(np.arange(2))) == [1, 0])
    changed = swap_surroundings(inputs, fields, np.random.default_rng(seed), probability=1.0)
    np.testing.assert_array_equal(inputs, before)
    np.testing.assert_array_equal(changed[0, 20:140, :78], before[0, 20:140, :78])
    np.testing.assert_array_equal(changed[0, :, 120:], before[1, :, 120:])
    np.testing.assert_array_equal(changed[1], before[1])  # no lungs: left alone


def test_probability_of_zero_changes_nothing(fields):
    inputs = np.random.default_rng(0).normal(size=(2, 160, 160, 1)).astype(np.float32)
    np.testing.assert_array_equal(swap_surroundings(inputs, fields, np.random.default_rng(0), probability=0.0), inputs)


def test_surroundings_mislead_and_both_pictures_lungs_stay():
    positive = np.array([True, False, True, False, True])
    inputs = np.where(positive, 1, -1).reshape(5, 1, 1, 1) * np.ones((5, 160, 160, 1), np.float32)
    fields = np.zeros((5, 160, 160), bool)
    fields[[0, 2], :60] = True
    fields[[1, 3], :60, :80] = True
    fields[1:4:2, 120:, :80] = True  # a lender's lung where the others have none
    before = inputs.copy()
    changed = misleading_surroundings(inputs, fields, positive, np.random.default_rng(0))
    np.testing.assert_array_equal(inputs, before)
    np.testing.assert_array_equal(changed[:4, :58], before[:4, :58])  # one's own lungs, and the lender's
    np.testing.assert_array_equal(changed[:4, 122:, :78], before[:4, 122:, :78])
    np.testing.assert_array_equal(changed[:4, 80:100], -before[:4, 80:100])
    np.testing.assert_array_equal(changed[:4, 140:, 120:], -before[:4, 140:, 120:])
    np.testing.assert_array_equal(changed[4], before[4])  # no lungs: left alone


def test_a_picture_without_lungs_lends_nothing(fields):
    inputs = np.random.default_rng(0).normal(size=(2, 160, 160, 1)).astype(np.float32)
    changed = misleading_surroundings(inputs, fields, np.array([True, False]), np.random.default_rng(0))
    np.testing.assert_array_equal(changed, inputs)


def test_where_all_answers_are_alike_nobody_lends_surroundings(fields):
    inputs = np.random.default_rng(0).normal(size=(2, 160, 160, 1)).astype(np.float32)
    for answer in (True, False):
        changed = misleading_surroundings(inputs, fields, np.full(2, answer), np.random.default_rng(0))
        np.testing.assert_array_equal(changed, inputs)


def test_evidence_is_the_network_s_own_map_and_shares_its_weights(one_unit):
    network, inputs = one_unit
    watched = with_evidence(network)
    outputs = watched.predict_on_batch(inputs)
    assert outputs["evidence"].shape == (3, 2, 2, 4)
    np.testing.assert_allclose(outputs["evidence"][..., :1].mean(axis=(1, 2)), outputs["binary"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs["evidence"][..., 1:].sum(axis=-1), 0, atol=1e-4)
    assert {id(w) for w in watched.weights} == {id(w) for w in network.weights}


def test_segmenter_cuts_logits_at_zero():
    image = keras.Input((4, 4, 1))
    negated = keras.Model(image, keras.layers.Rescaling(-1.0)(image))
    inputs = np.array([1.0, -1.0], np.float32).repeat(8).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(segmenter(negated)(inputs)[0], inputs[0, ..., 0] < 0)
