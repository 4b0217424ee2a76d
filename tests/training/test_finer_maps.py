"""Candidates for a finer map: where their cells lie, what they explain, when one is better."""

import json
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest

from detector.errors import ManifestError, ModelError
from detector.model.network import FEATURE_LAYER
from detector.schema import BINARY, TASKS, THREE_CLASS
from detector.statistics.metrics import bootstrap
from detector.training.audit import finer_maps as module
from detector.training.audit import saliency as audit_module
from detector.training.audit.finer_maps import (
    candidate_maps,
    compare_finer_maps,
    finer_layer,
    four_shifts,
    guided,
    table,
)
from detector.training.data.manifest import Example
from tests.conftest import COMPOSITES
from tests.training.stand_ins import made_up, output_of


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(audit_module, "bootstrap", partial(bootstrap, samples=20))
    monkeypatch.setattr(module, "_TIMED", 1)


class Averaging:
    """A stand-in whose map is the mean grey of each of 4 x 4 cells."""

    kernels = {"binary": np.ones((1, 1)), "three_class": np.ones((1, 3))}  # noqa: RUF012

    @staticmethod
    def run_batch(batch):
        grids = [cv2.resize(pixels[..., 0], (4, 4), interpolation=cv2.INTER_AREA)[..., None] for pixels in batch]
        return [output_of({t.name: np.zeros(t.logits) for t in TASKS}, g) for g in grids]


@pytest.mark.parametrize("axis", [0, 1], ids=["down", "right"])
def test_cells_of_four_shifts_lie_where_a_finer_grid_has_them(axis):
    ramp = np.arange(32, dtype=np.float32)  # a cell of 4 pixels has its centre at 1.5, 5.5, 9.5 …
    pixels = np.broadcast_to(np.expand_dims(ramp, 1 - axis), (32, 32))[..., np.newaxis]
    explained = replace(made_up(np.zeros((4, 4))), pixels=np.ascontiguousarray(pixels))
    fine = four_shifts(explained, Averaging(), BINARY, "covid19")
    assert fine.shape == (8, 8)
    profile = fine.mean(axis=1 - axis)
    np.testing.assert_allclose(profile[1:-1], 1.5 + 4 * np.arange(1, 7))  # beyond the edge the ramp goes on flat
    np.testing.assert_array_equal(fine, np.broadcast_to(np.expand_dims(profile, 1 - axis), (8, 8)))


def test_guided_map_follows_an_edge_of_the_picture():
    cam = np.repeat([[0.0, 0.0, 1.0, 1.0]], 4, axis=0)
    pixels = np.full((32, 32, 1), -1, np.float32)
    pixels[:, 16:] = 1
    edge = replace(made_up(cam), pixels=pixels)
    flat = replace(made_up(cam), pixels=0 * pixels)
    steps = [np.diff(guided(e, Averaging(), BINARY, "covid19")[16])[15] for e in (edge, flat)]
    assert steps[0] > 3 * steps[1] > 0


def test_layer_of_twice_the_grid_is_found(tiny):
    assert tiny.network.get_layer(finer_layer(tiny.network)).output.shape[1] == 16
    assert tiny.network.get_layer(FEATURE_LAYER).output.shape[1] == 8


@pytest.mark.parametrize(
    ("task", "name"), [(BINARY, "covid19"), (BINARY, "not_covid19"), *((THREE_CLASS, n) for n in THREE_CLASS.classes)]
)
@pytest.mark.parametrize("method", [module.grad_cam, module.hires_cam])
def test_gradient_explains_what_the_closed_form_explains(tiny, seen, task, name, method):
    closed = module.map_of(seen[0], tiny, task, name)
    by_gradient = module._by_gradient(method, FEATURE_LAYER)(seen[0], tiny, task, name)
    np.testing.assert_allclose(by_gradient * closed.size, closed, rtol=1e-3, atol=1e-3 * np.abs(closed).max())


def test_every_candidate_gives_a_map(tiny, seen):
    candidates = candidate_maps(tiny.network)
    assert len(candidates) == 6
    for make in candidates.values():
        cam = make(seen[0], tiny, THREE_CLASS, "covid19")
        assert cam.ndim == 2
        assert np.isfinite(cam).all()


def gain(low, high):
    return {"ci_low": low, "ci_high": high}


def row(**gains):
    same = {f"{m}_gain": gain(-1, 1) for m in module._MEASURES}
    return {"candidates": {"x": same | {f"{m}_gain": g for m, g in gains.items()}}}


@pytest.mark.parametrize(
    ("rows", "better"),
    [
        pytest.param([row()], False, id="no difference"),
        pytest.param([row(deletion=gain(0.1, 0.2))], True, id="one gain"),
        pytest.param([row(deletion=gain(0.1, 0.2), insertion=gain(-0.2, -0.1))], False, id="a gain and a loss"),
        pytest.param([row(deletion=gain(0.1, 0.2)), row()], False, id="a gain in one class alone"),
        pytest.param([row(deletion=gain(0.1, 0.2)), row(peak_in_lung=gain(0.1, 0.2))], True, id="a gain in each"),
        pytest.param([row(deletion=gain(None, None))], False, id="no interval"),
    ],
)
def test_better_is_no_loss_and_a_gain_in_each_class(rows, better):
    assert module._is_better(rows, "x") is better


def test_comparison_is_written_with_its_table(decided, tmp_path):
    examples = [Example(f"{name}.png", name) for name in ("covid19", "bacterial_pneumonia", "normal")]
    found = compare_finer_maps(examples, COMPOSITES, decided, tmp_path)
    assert json.loads((tmp_path / "finer_maps.json").read_text()) == found
    assert set(found["headline"]) == set(found["cost_in_passes"]) - {module.CLOSED_FORM}
    lines = (tmp_path / "finer_maps.md").read_text().splitlines()
    assert lines == table(found).splitlines()
    assert len(lines) == 2 + len(found["answers"]) * len(found["cost_in_passes"])
    assert len({line.count("|") for line in lines}) == 1


def test_without_lungs_or_right_decisions_nothing_is_compared(tiny, engine, tmp_path):
    with pytest.raises(ModelError):
        compare_finer_maps([], tmp_path, tiny, tmp_path)
    with pytest.raises(ManifestError):
        compare_finer_maps([], tmp_path, engine, tmp_path)
