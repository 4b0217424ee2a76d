"""What ``python -m detector audit-saliency`` does: measure how far the maps can be trusted, on unmasked pictures.

Four questions, each with an interval over patients: does the evidence lie in the lungs, and how much of it could on so
coarse a grid? Does a map vanish with the weights that made it? Does the answer hang on what the map shows, more than on
a map that knows nothing, or lungs alone? Measured on decisions that are right: a wrong one has no right place to look.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from detector.answers.answer import verdicts_of
from detector.answers.evidence import rank_correlation, summarise, warning
from detector.errors import ManifestError, RejectedError
from detector.model.gradcam import closed_form_cam, evidence_maps
from detector.model.network import FEATURE_LAYER
from detector.run.files import make_folder, write_json
from detector.schema import BINARY, COVID19, NOT_COVID19, TASKS, THREE_CLASS
from detector.statistics import merit
from detector.statistics.bootstrap import Resampling, Statistic
from detector.training.audit.randomise import randomise, stages_from_the_top, weights_restored
from detector.training.measure.cohort import UNKNOWN
from detector.training.measure.evaluate import each_analysed
from detector.training.measure.saliency import (
    FRACTIONS,
    area_under,
    blurred,
    class_scores,
    exchanged,
    grid_ceiling,
    lung_prior,
    own_lungs,
)
from detector.training.report.plots import write_plots
from detector.training.report.saliency_plots import saliency_plots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from detector.model.engine import Engine
    from detector.schema import Geometry, Task
    from detector.training.data.manifest import Example

    Answer = tuple[Task, str]
    Curves = dict[tuple[str, bool], np.ndarray]  # by a map's name and whether parts are inserted

_LOG = logging.getLogger(__name__)

RESULTS = "saliency.json"
LIMIT = 400  # images a label; with it the audit takes minutes on two slow cores
SEEDS = 10
_CURVE_IMAGES = 40  # of each answer: a curve costs some twenty passes a map
_RANDOMISED_IMAGES = 24  # each is seen again by every step of every seed
_AT_ONCE = 8  # images a pass of the randomised network
_SEED = 20261123

#: What is explained: a decision that is right, by the map of the class that was decided.
ANSWERS: tuple[Answer, ...] = ((BINARY, COVID19), *((THREE_CLASS, name) for name in THREE_CLASS.classes))
FILLS = ("another_class", "blurred")  # what a picture's parts are exchanged for; the first one counts
PICTURE_MAPS = ("saliency", "random", "lung_prior", "own_lungs")


@dataclass(frozen=True, eq=False)
class Explained:
    """One analysed image with what the audit needs of it.

    Attributes:
        example: its row of the manifest.
        pixels: (size, size, 1) float32, what the network was given.
        geometry: of the image.
        lung_field: (size, size) bool.
        logits: task name to (logits,).
        cams: task name to (classes, h, w), as they are shown.
        decisions: task name to decision, "indeterminate" among them.
    """

    example: Example
    pixels: np.ndarray
    geometry: Geometry
    lung_field: np.ndarray
    logits: Mapping[str, np.ndarray]
    cams: Mapping[str, np.ndarray]
    decisions: dict[str, str]

    def is_right(self, task: Task, name: str) -> bool:
        """Whether this class is the truth and was decided."""
        return self.decisions[task.name] == name == self.example.label

    def cam(self, task: Task, name: str) -> np.ndarray:
        """The map of one class, (h, w)."""
        return np.asarray(self.cams[task.name][task.classes.index(name)])


def audit_saliency(
    examples: Sequence[Example], images: Path, engine: Engine, out: Path, *, limit: int = LIMIT
) -> dict[str, Any]:
    """Measure the maps and write ``saliency.json`` and a Plotly figure for each measure to ``plots/``.

    Args:
        examples: labelled images; those of the three classes are used.
        images: folder that their paths are relative to.
        engine: the network.
        out: folder to write to.
        limit: images a label, spread over the manifest.

    Returns:
        What ``saliency.json`` holds.

    Raises:
        ManifestError: if an image does not exist, or no decision is right.
        OutputError: if the folder can't be written.
    """
    make_folder(out / "plots")  # before the minutes that the measurements take
    explained, rejected = explain_all(spread(examples, limit), images, engine)
    rights = {answer: [e for e in explained if e.is_right(*answer)] for answer in ANSWERS}
    if not any(rights.values()):
        raise ManifestError("No decision of the three classes is right, so no map can be audited.")
    found = {
        "model": asdict(engine.card.info),
        "images": len(explained),
        "limit": limit,
        "rejected": [{"image": image, "code": code} for image, code in rejected],
        "in_lung": in_lung(rights, engine),
        "randomisation": randomisation(_taken(rights, _RANDOMISED_IMAGES), engine),
        "curves": curves(rights, explained, engine),
    }
    found = {"headline": headline(found), **found}
    write_json(out / RESULTS, found)
    write_plots(saliency_plots(found), out / "plots")
    return found


def spread(examples: Sequence[Example], limit: int) -> list[Example]:
    """At most `limit` examples of each of the three classes, evenly over the manifest and so over its sources."""
    taken: list[Example] = []
    for name in THREE_CLASS.classes:
        taken += evenly([e for e in examples if e.label == name], limit)
    return taken


def evenly(items: Sequence[Any], limit: int) -> list[Any]:
    """At most `limit` items, from the first to the last at equal distances."""
    count = min(limit, len(items))
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def explain_all(
    examples: Sequence[Example], images: Path, engine: Engine
) -> tuple[list[Explained], list[tuple[str, str]]]:
    """Analyse every image as the app does; path and code of the refused ones beside them.

    Raises:
        ManifestError: if an image does not exist.
    """
    explained, rejected = [], []
    for example, analysis in each_analysed(examples, images, engine):
        if isinstance(analysis, RejectedError):
            rejected.append((example.image, analysis.code))
            continue
        decisions = {name: verdict.decision for name, verdict in verdicts_of(analysis).items()}
        given = engine.prepare(analysis.radiograph.grey)
        field = np.asarray(given.lung_field)
        explained.append(
            Explained(example, given.pixels, given.geometry, field, analysis.logits, analysis.cams, decisions)
        )
    return explained, rejected


#: What is measured of each image, and how a group is summed up.
_STATISTICS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "in_lung_fraction": merit.median,
    "lung_area_fraction": merit.median,
    "lung_box_fraction": merit.median,
    "ratio": merit.median,
    "ratio_to_box": merit.median,
    "grid_ceiling": merit.median,
    "peak_in_lung": merit.share,
    "mostly_outside": merit.share,
    "faint": merit.share,
}


def in_lung(rights: Mapping[Answer, Sequence[Explained]], engine: Engine) -> list[dict[str, Any]]:
    """How the maps lie on the lungs, for each answer over all sources and for each source: medians and shares."""
    rows = []
    for (task, name), group in rights.items():
        full_scale = engine.card.saliency_scale[task.name]
        measured = [_lung_figures(e, e.cam(task, name), full_scale) for e in group]
        for source in ("all", *sorted({e.example.source or UNKNOWN for e in group})):
            index = [i for i, e in enumerate(group) if source in {"all", e.example.source or UNKNOWN}]
            measures = {
                key: _statistic(np.array([measured[i][key] for i in index], float), of, share=of is merit.share)
                for key, of in _STATISTICS.items()
            }
            figures = Resampling([group[i].example.patient_group for i in index]).records(measures)
            rows.append({"task": task.name, "class": name, "source": source, "n": len(index), **figures})
    return rows


def _lung_figures(explained: Explained, cam: np.ndarray, full_scale: float) -> dict[str, float]:
    """One image's figures, NaN where they are not defined."""
    field = explained.lung_field
    summary = summarise(cam, field, explained.geometry, full_scale=full_scale)
    inside, box = summary.in_lung_fraction, summary.lung_box_fraction
    figures = {
        "in_lung_fraction": inside,
        "lung_area_fraction": summary.lung_area_fraction,
        "lung_box_fraction": box,
        "ratio": summary.ratio,
        "ratio_to_box": inside / box if inside is not None and box else None,
        "grid_ceiling": grid_ceiling(field, cam.shape),
        "peak_in_lung": summary.peak_in_lung,
        "mostly_outside": warning(summary) is not None,
        "faint": summary.faint,
    }
    return {name: np.nan if value is None else float(value) for name, value in figures.items()}


def _statistic(
    values: np.ndarray, of: Callable[[np.ndarray, np.ndarray], np.ndarray], *, share: bool = False
) -> Statistic:
    """A figure of a group of images (N,); those that don't define it, whose value is NaN, are left out."""
    return Statistic.on(np.isfinite(values), of, values, share=share)


def mean_of(values: np.ndarray, patients: Sequence[str]) -> dict[str, Any]:
    """Mean of a group of images (N,) with its 95 % interval over patients."""
    return asdict(Resampling(patients).estimate(_statistic(values, merit.share)))


def randomisation(chosen: Sequence[Explained], engine: Engine, *, seeds: int = SEEDS) -> dict[str, Any]:
    """Rank correlation of each map with itself while the network loses its weights, step by step from the top.

    Three maps: the binary one, the decided class's of the three (less the classes' mean, as it is shown), and the same
    before the mean is subtracted. Their absolute values too: a map whose sign has turned is another map, but the eye
    sees the same spots. A map that has become constant correlates with nothing, which counts as 0.

    Args:
        chosen: images.
        engine: the network; it has its weights again afterwards.
        seeds: of the random weights.

    Returns:
        Map's name to its steps, each with ``signed`` and ``absolute`` correlation (mean over seeds, interval over
        patients) and ``by_seed``, the signed mean over images of each seed.
    """
    stages = stages_from_the_top(engine.network)
    view = keras.Model(engine.network.input, engine.network.get_layer(FEATURE_LAYER).output)  # weights of the time
    pixels = np.stack([e.pixels for e in chosen])
    features = view.predict(pixels, batch_size=_AT_ONCE, verbose=0)
    decided = [int(np.argmax(e.logits[THREE_CLASS.name])) for e in chosen]
    before = _maps_of_all(features, engine.network, decided)
    found = np.zeros((len(before), 2, len(stages), seeds, len(chosen)))
    with weights_restored(engine.network):
        weights = engine.network.get_weights()
        for seed in range(seeds):
            engine.network.set_weights(weights)
            rng = np.random.default_rng((_SEED, seed))
            for step, (_, layers) in enumerate(stages):
                for layer in layers:
                    randomise(layer, rng)
                seen = features if step == 0 else view.predict(pixels, batch_size=_AT_ONCE, verbose=0)
                after = _maps_of_all(seen, engine.network, decided)
                for k, name in enumerate(before):
                    found[k, :, step, seed] = _correlations(before[name], after[name])
            _LOG.info("randomised with seed %d of %d", seed + 1, seeds)
    patients, names = [e.example.patient_group for e in chosen], [name for name, _ in stages]
    return {
        "images": len(chosen),
        "seeds": seeds,
        "maps": {name: _steps(found[k], names, patients) for k, name in enumerate(before)},
    }


def _maps_of_all(features: np.ndarray, network: Any, decided: Sequence[int]) -> dict[str, np.ndarray]:
    """Name to (N, h, w): the binary map, and the decided class's with and without the classes' mean."""
    kernels = {t.name: network.get_layer(t.name).get_weights()[0] for t in TASKS}
    shown = [evidence_maps(one, kernels) for one in features]
    raw = [closed_form_cam(one, kernels[THREE_CLASS.name]) for one in features]
    return {
        "binary": np.stack([maps[BINARY.name][0] for maps in shown]),
        "three_class": np.stack([maps[THREE_CLASS.name][k] for maps, k in zip(shown, decided, strict=True)]),
        "three_class_with_mean": np.stack([maps[k] for maps, k in zip(raw, decided, strict=True)]),
    }


def _correlations(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Signed and absolute rank correlation of (N, h, w) with (N, h, w): (2, N)."""
    pairs = ((before, after), (np.abs(before), np.abs(after)))
    return np.array([[rank_correlation(a, b) or 0.0 for a, b in zip(*pair, strict=True)] for pair in pairs])


def _steps(found: np.ndarray, names: Sequence[str], patients: Sequence[str]) -> list[dict[str, Any]]:
    """Sum up (2, steps, seeds, N)."""
    return [
        {
            "randomised_down_to": name,
            "signed": mean_of(found[0, step].mean(axis=0), patients),
            "absolute": mean_of(found[1, step].mean(axis=0), patients),
            "by_seed": found[0, step].mean(axis=1).tolist(),
        }
        for step, name in enumerate(names)
    ]


def curves(
    rights: Mapping[Answer, Sequence[Explained]], cohort: Sequence[Explained], engine: Engine
) -> list[dict[str, Any]]:
    """Deletion and insertion by the maps, by random ones and by lungs alone, for each answer that has images.

    Args:
        rights: images whose decision is right, by answer.
        cohort: all images: their mean lung field is the prior, and those of another class lend what is put in. Where
            there is none, parts are blurred alone.
        engine: the network.
    """
    found = []
    for answer, group in rights.items():
        chosen, lenders = evenly(group, _CURVE_IMAGES), donors(cohort, answer)
        if not chosen:
            continue
        prior = lung_prior([e.lung_field for e in cohort], chosen[0].cam(*answer).shape)
        fills = FILLS if lenders else FILLS[1:]
        scores: dict[str, dict[tuple[str, bool], list[np.ndarray]]] = {fill: defaultdict(list) for fill in fills}
        for number, explained in enumerate(chosen):
            maps = _picture_maps(explained, answer, prior, np.random.default_rng((_SEED, number)))
            for fill, kept in scores.items():
                donor = blurred(explained.pixels) if fill == "blurred" else lenders[number % len(lenders)].pixels
                for key, values in picture_curves(explained.pixels, donor, maps, engine, answer).items():
                    kept[key].append(values)
        _LOG.info("deleted and inserted for %s, %s: %d images", answer[0].name, answer[1], len(chosen))
        patients = [e.example.patient_group for e in chosen]
        for fill, kept in scores.items():
            names = {"task": answer[0].name, "class": answer[1], "filled_with": fill, "n": len(patients)}
            found.append(names | curve_figures(kept, patients, PICTURE_MAPS))
    return found


def donors(cohort: Sequence[Explained], answer: Answer) -> list[Explained]:
    """Images of another class that were decided rightly, in an order that mixes the classes and is always the same."""
    task, name = answer
    others = [e for e in cohort if e.example.label != name and _is_decided(e, task)]
    return [others[i] for i in np.random.default_rng(_SEED).permutation(len(others))]


def _is_decided(explained: Explained, task: Task) -> bool:
    """Whether the decision is the truth, which for the binary task may be that it is not COVID-19."""
    is_other = task is BINARY and explained.example.label != COVID19
    return explained.decisions[task.name] == (NOT_COVID19 if is_other else explained.example.label)


def _picture_maps(
    explained: Explained, answer: Answer, prior: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    cam = explained.cam(*answer)
    maps = (cam, rng.random(cam.shape), prior, own_lungs(explained.lung_field, cam.shape))
    return dict(zip(PICTURE_MAPS, maps, strict=True))


def picture_curves(
    pixels: np.ndarray, donor: np.ndarray, maps: Mapping[str, np.ndarray], engine: Engine, answer: Answer
) -> Curves:
    """Deletion and insertion of one picture by several maps.

    Returns:
        (map's name, whether parts are inserted) to probability and log-odds of the class along `FRACTIONS`,
        (2, fractions).
    """
    task, name = answer
    keys = [(key, insert) for key in maps for insert in (False, True)]
    between = [exchanged(pixels, donor, maps[key], insert=insert)[1:-1] for key, insert in keys]
    outputs = [engine.run(picture) for picture in (pixels, donor, *np.concatenate(between))]
    logits = np.stack([output.logits[task.name] for output in outputs])
    scores = np.stack(class_scores(task, task.classes.index(name), logits, engine.card.calibration))
    whole, other, rest = scores[:, :1], scores[:, 1:2], scores[:, 2:].reshape(2, len(keys), -1)
    ends = {False: (whole, other), True: (other, whole)}
    return {key: np.concatenate([ends[key[1]][0], rest[:, k], ends[key[1]][1]], axis=1) for k, key in enumerate(keys)}


def curve_figures(
    scores: Mapping[tuple[str, bool], Sequence[np.ndarray]], patients: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """Curves and areas of each map, and by how much the first map beats each other one: positive is better."""
    areas = {key: area_under(np.stack(values)) for key, values in scores.items()}  # (N, 2)
    return {
        "fractions": FRACTIONS.tolist(),
        "maps": {
            name: {
                way: {
                    "probability": _band(np.stack(scores[name, insert])[:, 0], patients),
                    "auc": mean_of(areas[name, insert][:, 0], patients),
                    "auc_log_odds": mean_of(areas[name, insert][:, 1], patients),
                }
                for way, insert in (("deletion", False), ("insertion", True))
            }
            for name in names
        },
        "margins": {name: _margins(areas, names[0], name, patients) for name in names[1:]},
    }


def _margins(areas: Curves, ours: str, other: str, patients: Sequence[str]) -> dict[str, Any]:
    """Paired differences of the areas (N, 2): deletion should be smaller, insertion larger."""
    deletion = areas[other, False] - areas[ours, False]
    insertion = areas[ours, True] - areas[other, True]
    parts = {"deletion": deletion[:, 0], "insertion": insertion[:, 0]}
    parts |= {"deletion_log_odds": deletion[:, 1], "insertion_log_odds": insertion[:, 1]}
    return {key: mean_of(values, patients) for key, values in parts.items()}


def _band(values: np.ndarray, patients: Sequence[str]) -> dict[str, list[float | None]]:
    """Mean curve of (N, fractions) with its interval at each fraction."""
    mean = Statistic(lambda weights: weights @ values / weights.sum(axis=1, keepdims=True))
    curve = Resampling(patients).curve(mean, FRACTIONS)
    return {"value": curve.values.tolist(), "ci_low": curve.ci_low.tolist(), "ci_high": curve.ci_high.tolist()}


def headline(found: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that the card and the page show, by name; a figure that was not measured is left out."""
    chosen: dict[str, Any] = {}
    for row in found["in_lung"]:
        if (row["task"], row["class"], row["source"]) == (BINARY.name, COVID19, "all"):
            chosen |= {f"covid19_{key}": row[key] for key in _STATISTICS}
    for row in found["curves"]:
        if (row["task"], row["class"]) == (BINARY.name, COVID19):
            end = "" if row["filled_with"] == FILLS[0] else f"_{row['filled_with']}"
            for other, margins in row["margins"].items():
                chosen |= {f"{way}_margin_over_{other}{end}": margins[way] for way in ("deletion", "insertion")}
    for name, steps in found["randomisation"]["maps"].items():
        chosen |= {f"top_layer_{kind}_correlation_{name}": steps[0][kind] for kind in ("signed", "absolute")}
        chosen[f"all_layers_absolute_correlation_{name}"] = steps[-1]["absolute"]
    return chosen


def _taken(rights: Mapping[Answer, Sequence[Explained]], limit: int) -> list[Explained]:
    """Images for the randomisation: right three-class decisions, each class as often, or whatever is right."""
    groups = [group for (task, _), group in rights.items() if task is THREE_CLASS and group]
    if not groups:
        return evenly(rights[BINARY, COVID19], limit)
    return [e for group in groups for e in evenly(group, limit // len(groups))]
