"""Would a finer map be a better one? The closed form's grid is coarse; this compares what could refine it.

Measured on right decisions for COVID-19 and bacterial pneumonia. A candidate is better if none of its four paired
differences from the closed form (evidence in the lungs, peak in a lung, deletion, insertion) has an interval below zero
and at least one has it above, in both classes. Choose by the validation split; the test split is for reporting.
"""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import cv2
import keras
import numpy as np

from detector.errors import ManifestError, ModelError, OutputError
from detector.model.gradcam import evidence_maps, grad_cam, grad_cam_plus_plus, hires_cam
from detector.model.network import FEATURE_LAYER
from detector.schema import BACTERIAL_PNEUMONIA, BINARY, COVID19, THREE_CLASS, NetworkInput
from detector.training.audit.saliency import (
    LIMIT,
    Explained,
    donors,
    estimate,
    evenly,
    explain_all,
    lung_measures,
    map_of,
    margins_of,
    picture_curves,
    spread,
)
from detector.training.measure.evaluate import make_folder
from detector.training.measure.saliency import area_under

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from detector.model.engine import Engine
    from detector.schema import Task
    from detector.training.data.manifest import Example

    MapMaker = Callable[[Explained, Engine, Task, str], np.ndarray]

_LOG = logging.getLogger(__name__)

RESULTS, TABLE = "finer_maps.json", "finer_maps.md"
CLOSED_FORM = "closed form"
ANSWERS = ((BINARY, COVID19), (THREE_CLASS, BACTERIAL_PNEUMONIA))
_CURVE_IMAGES = 40  # of each answer
_TIMED = 10  # calls of each candidate, in turns with the bare pass
_GUIDE_SMOOTHNESS = 0.04  # variance of the input, whose range is 2, below which the guide counts as flat
_MEASURES = ("in_lung_fraction", "peak_in_lung", "deletion", "insertion")


def compare_finer_maps(
    examples: Sequence[Example], images: Path, engine: Engine, out: Path, *, limit: int = LIMIT
) -> dict[str, Any]:
    """Measure every candidate and write ``finer_maps.json`` and a table, ``finer_maps.md``.

    Args:
        examples: labelled images; COVID-19 and bacterial pneumonia are explained, the normal ones lend parts.
        images: folder that their paths are relative to.
        engine: the network, with lung fields.
        out: folder to write to.
        limit: images a label, spread over the manifest.

    Returns:
        What ``finer_maps.json`` holds; ``headline`` says of each candidate whether it is better.

    Raises:
        ModelError: if no lung model is there.
        ManifestError: if an image does not exist, or no decision is right.
        OutputError: if the folder can't be written.
    """
    if engine.lung_fields is None:
        raise ModelError("A comparison of the maps needs the lung model beside the classifier.")
    make_folder(out)
    explained, _ = explain_all(spread(examples, limit), images, engine)
    candidates = candidate_maps(engine.network)
    groups = {(t, name): [e for e in explained if e.is_right(t, name)] for t, name in ANSWERS}
    rows = [
        _compared(group, lenders, answer, candidates, engine)
        for answer, group in groups.items()
        if group and (lenders := donors(explained, answer))
    ]
    if not rows:
        raise ManifestError("No decision for COVID-19 or bacterial pneumonia is right, so no maps can be compared.")
    found = {
        "headline": {name: _is_better(rows, name) for name in candidates if name != CLOSED_FORM},
        "model": asdict(engine.card.info),
        "answers": rows,
        "cost_in_passes": _costs(explained[0], candidates, engine),
    }
    try:
        (out / RESULTS).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (out / TABLE).write_text(table(found), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}.") from error
    return found


def candidate_maps(network: keras.Model) -> dict[str, MapMaker]:
    """The closed form first, then what might refine it; by name."""
    candidates: dict[str, MapMaker] = {
        CLOSED_FORM: map_of,
        "closed form, four shifts": four_shifts,
        "closed form, guided by the picture": guided,
    }
    layer = finer_layer(network)
    if layer is not None:
        for name, method in (("Grad-CAM", grad_cam), ("HiResCAM", hires_cam), ("Grad-CAM++", grad_cam_plus_plus)):
            candidates[f"{name} at {layer}"] = _by_gradient(method, layer)
    return candidates


def finer_layer(network: keras.Model) -> str | None:
    """The last layer whose grid is twice as fine as the features'; None where there is none."""
    rows = network.get_layer(FEATURE_LAYER).output.shape[1]
    finer = [x.name for x in network.layers if len(x.output.shape) == 4 and x.output.shape[1] == 2 * rows]
    return finer[-1] if finer else None


def four_shifts(explained: Explained, engine: Engine, task: Task, name: str) -> np.ndarray:
    """The closed form seen from four places, a quarter of a cell off each way: a grid twice as fine, (2 h, 2 w)."""
    rows, columns = explained.output.features.shape[:2]
    step = len(explained.pixels) // (4 * rows)
    shifts = [(down, right) for down in (-step, step) for right in (-step, step)]
    outputs = engine.run_batch(np.stack([_shifted(explained.pixels, *shift) for shift in shifts]))
    fine = np.empty((2 * rows, 2 * columns), np.float32)
    for output, (down, right) in zip(outputs, shifts, strict=True):
        cams = evidence_maps(output.features, engine.kernels)[task.name]
        fine[int(down > 0) :: 2, int(right > 0) :: 2] = cams[task.classes.index(name)]
    return fine


def _shifted(pixels: np.ndarray, down: int, right: int) -> np.ndarray:
    """What the network sees if it looks further down and right; edges repeat."""
    reach = max(abs(down), abs(right))
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    size = len(pixels)
    return padded[reach + down : reach + down + size, reach + right : reach + right + size]


def guided(explained: Explained, engine: Engine, task: Task, name: str) -> np.ndarray:
    """The closed form along the picture's edges, (size, size): a guided filter (He, Sun and Tang 2013, TPAMI 35)."""
    cam = map_of(explained, engine, task, name)
    guide = explained.pixels[..., 0]
    side = 2 * (len(guide) // len(cam)) + 1  # a cell each way
    fine = cv2.resize(cam, guide.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def mean(values: np.ndarray) -> np.ndarray:
        return cv2.blur(values, (side, side))

    variance = mean(guide**2) - mean(guide) ** 2
    slope = (mean(guide * fine) - mean(guide) * mean(fine)) / (variance + _GUIDE_SMOOTHNESS)
    return mean(slope) * guide + mean(mean(fine) - slope * mean(guide))


def _by_gradient(method: Callable[..., np.ndarray], layer: str) -> MapMaker:
    """A map of the score that the closed form explains: the log-odds, or the class less the classes' mean."""

    def make(explained: Explained, engine: Engine, task: Task, name: str) -> np.ndarray:
        index = task.classes.index(name)

        def score(outputs: Mapping[str, Any]) -> Any:
            logits = outputs[task.name]
            if task is BINARY:
                return logits[:, 0] * (1 if index == 0 else -1)
            return logits[:, index] - keras.ops.mean(logits, axis=1)

        pixels = explained.pixels[np.newaxis]
        return method(engine.network, pixels, target_layer=layer, target=score, relu=False)[0]

    return make


def _compared(
    group: Sequence[Explained],
    lenders: Sequence[Explained],
    answer: tuple[Task, str],
    candidates: Mapping[str, MapMaker],
    engine: Engine,
) -> dict[str, Any]:
    """Every candidate's measures on one answer's images, and its paired differences from the closed form."""
    task, name = answer
    full_scale = engine.card.saliency_scale[task.name]
    lungs, areas = defaultdict(list), defaultdict(list)
    curved = {id(e) for e in evenly(group, _CURVE_IMAGES)}
    for number, explained in enumerate(group):
        maps = {key: make(explained, engine, task, name) for key, make in candidates.items()}
        for key, cam in maps.items():
            lungs[key].append(lung_measures(explained, cam, full_scale))
        if id(explained) in curved:
            donor = lenders[number % len(lenders)].pixels
            for key, values in picture_curves(explained.pixels, donor, maps, engine, answer).items():
                areas[key].append(area_under(values))
    _LOG.info("compared maps for %s, %s: %d images", task.name, name, len(group))
    patients = [e.example.patient_group for e in group]
    curve_patients = [e.example.patient_group for e in group if id(e) in curved]
    stacked = {key: np.stack(values) for key, values in areas.items()}
    return {
        "task": task.name,
        "class": name,
        "n": len(group),
        "n_curves": len(curved),
        "candidates": {
            key: {
                **_lung_figures(lungs[key], lungs[CLOSED_FORM], patients),
                **_curve_figures(stacked, key, curve_patients),
            }
            for key in candidates
        },
    }


def _lung_figures(
    measured: Sequence[Mapping[str, float]], reference: Sequence[Mapping[str, float]], patients: Sequence[str]
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for key, of in (("in_lung_fraction", np.median), ("peak_in_lung", np.mean), ("grid_ceiling", np.median)):
        values, others = (np.array([m[key] for m in part], float) for part in (measured, reference))
        figures[key] = estimate(values, patients, of=of, share=key == "peak_in_lung")
        figures[f"{key}_gain"] = estimate(values - others, patients, of=np.mean)
    return figures


def _curve_figures(areas: Mapping[tuple[str, bool], np.ndarray], name: str, patients: Sequence[str]) -> dict[str, Any]:
    gains = margins_of(areas, name, CLOSED_FORM, patients)
    figures: dict[str, Any] = {}
    for way, insert in (("deletion", False), ("insertion", True)):
        figures[way] = estimate(areas[name, insert][:, 0], patients, of=np.mean)
        figures[f"{way}_gain"] = gains[way]
    return figures


def _is_better(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    gains = [[row["candidates"][name][f"{measure}_gain"] for measure in _MEASURES] for row in rows]
    worse = any(gain["ci_high"] is not None and gain["ci_high"] < 0 for part in gains for gain in part)
    better = all(any(gain["ci_low"] is not None and gain["ci_low"] > 0 for gain in part) for part in gains)
    return better and not worse


def _costs(explained: Explained, candidates: Mapping[str, MapMaker], engine: Engine) -> dict[str, float]:
    """Time of each map, beyond the pass that there is anyhow, in bare forward passes; medians of turns."""
    seconds = defaultdict(list)
    for _ in range(_TIMED + 1):  # the first turn compiles
        began = time.perf_counter()
        engine(NetworkInput(explained.pixels, explained.geometry))
        seconds["pass"].append(time.perf_counter() - began)
        for name, make in candidates.items():
            began = time.perf_counter()
            make(explained, engine, *ANSWERS[0])
            seconds[name].append(time.perf_counter() - began)
    medians = {name: float(np.median(values[1:])) for name, values in seconds.items()}
    return {name: medians[name] / medians["pass"] for name in candidates}


def table(found: Mapping[str, Any]) -> str:
    """The comparison as Markdown: a row a candidate and answer, differences from the closed form in brackets."""
    heads = ("map", "class", "in the lungs", "peak in a lung", "grid's ceiling", "deletion ↓", "insertion ↑", "passes")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, cost in found["cost_in_passes"].items():
        for row in found["answers"]:
            one = row["candidates"][name]
            cells = [_cell(one, m) for m in ("in_lung_fraction", "peak_in_lung", "grid_ceiling", *_MEASURES[2:])]
            lines.append("| " + " | ".join([name, f"{row['class']} (n = {row['n']})", *cells, f"{cost:.2f}"]) + " |")
    return "\n".join(lines) + "\n"


def _cell(figures: Mapping[str, Any], measure: str) -> str:
    value, gain = figures[measure]["value"], figures[f"{measure}_gain"]
    if value is None:
        return "–"
    if gain["ci_low"] is None or measure == "grid_ceiling":
        return f"{value:.3f}"
    return f"{value:.3f} ({gain['value']:+.3f}; {gain['ci_low']:+.3f} to {gain['ci_high']:+.3f})"
