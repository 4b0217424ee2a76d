"""What ``python -m detector audit-saliency`` does: measure how far the maps can be trusted, on unmasked pictures.

Four questions, each with an interval over patients: does the evidence lie in the lungs, and how much of it could on so
coarse a grid? Does a map vanish with the weights that made it? Does the answer hang on what the map shows, more than on
a map that knows nothing, or lungs alone? Measured on decisions that are right: a wrong one has no right place to look.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from detector.answers.answer import verdicts_of
from detector.answers.evidence import rank_correlation, summarise, warning
from detector.answers.pipeline import analyse
from detector.errors import ManifestError, ModelError, OutputError, RejectedError
from detector.model.gradcam import closed_form_cam, evidence_maps
from detector.model.network import FEATURE_LAYER
from detector.schema import BINARY, COVID19, NOT_COVID19, TASKS, THREE_CLASS
from detector.statistics.metrics import bootstrap
from detector.training.audit.randomise import randomise, stages_from_the_top, weights_restored
from detector.training.measure.evaluate import make_folder
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
from detector.training.report.saliency_plots import saliency_plots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from detector.model.engine import Engine
    from detector.schema import Geometry, NetworkInput, NetworkOutput, Task
    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

RESULTS = "saliency.json"
LIMIT = 400  # images a label; with it the audit takes minutes on two slow cores
SEEDS = 10
_CURVE_IMAGES = 40  # of each answer: a curve costs some twenty passes a map
_RANDOMISED_IMAGES = 24  # each is seen again by every step of every seed
_AT_ONCE = 8  # images a pass of the randomised network
_SEED = 20261123

#: What is explained: a decision that is right, by the map of the class that was decided.
ANSWERS = ((BINARY, COVID19), *((THREE_CLASS, name) for name in THREE_CLASS.classes))
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
        output: of the network.
        decisions: task name to decision, "indeterminate" among them.
    """

    example: Example
    pixels: np.ndarray
    geometry: Geometry
    lung_field: np.ndarray
    output: NetworkOutput
    decisions: dict[str, str]

    def is_right(self, task: Task, name: str) -> bool:
        """Whether this class is the truth and was decided."""
        return self.decisions[task.name] == name == self.example.label


class _Listening:
    """A classifier that keeps what passes through it: `analyse` is the one way to what the network is given."""

    def __init__(self, engine: Engine) -> None:
        self._classifier = engine
        self.given: NetworkInput | None = None
        self.output: NetworkOutput | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def __call__(self, network_input: NetworkInput) -> NetworkOutput:
        self.given, self.output = network_input, self._classifier(network_input)
        return self.output


def audit_saliency(
    examples: Sequence[Example], images: Path, engine: Engine, out: Path, *, limit: int = LIMIT
) -> dict[str, Any]:
    """Measure the maps and write ``saliency.json`` and a Plotly figure for each measure to ``plots/``.

    Args:
        examples: labelled images; those of the three classes are used.
        images: folder that their paths are relative to.
        engine: the network, with lung fields.
        out: folder to write to.
        limit: images a label, spread over the manifest.

    Returns:
        What ``saliency.json`` holds.

    Raises:
        ModelError: if no lung model is there.
        ManifestError: if an image does not exist, or no decision is right.
        OutputError: if the folder can't be written.
    """
    if engine.lung_fields is None:
        raise ModelError("An audit of the maps needs the lung model beside the classifier.")
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
    _write(found, out)
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
    return (
        [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)] if count > 1 else [*items[:count]]
    )


def explain_all(
    examples: Iterable[Example], images: Path, engine: Engine
) -> tuple[list[Explained], list[tuple[str, str]]]:
    """Analyse every image as the app does; path and code of the refused ones beside them.

    Raises:
        ManifestError: if an image does not exist.
    """
    explained, rejected = [], []
    listening = _Listening(engine)
    for number, example in enumerate(examples, start=1):
        try:
            analysis = analyse((images / example.image).read_bytes(), listening)
        except OSError as error:
            raise ManifestError(f"{images / example.image} cannot be read: {error}.") from error
        except RejectedError as error:
            rejected.append((example.image, error.code))
            continue
        decisions = {name: verdict.decision for name, verdict in verdicts_of(analysis).items()}
        given, output = listening.given, listening.output
        explained.append(Explained(example, given.pixels, given.geometry, analysis.lung_field, output, decisions))
        if number % 200 == 0:
            _LOG.info("analysed %d images", number)
    return explained, rejected


def map_of(explained: Explained, engine: Engine, task: Task, name: str) -> np.ndarray:
    """The closed form's map of one class, (h, w)."""
    return evidence_maps(explained.output.features, engine.kernels)[task.name][task.classes.index(name)]


def in_lung(rights: dict[tuple[Task, str], list[Explained]], engine: Engine) -> list[dict[str, Any]]:
    """How the maps lie on the lungs, for each answer over all sources and for each source: medians and shares."""
    rows = []
    for (task, name), group in rights.items():
        full_scale = engine.card.saliency_scale[task.name]
        measured = [lung_measures(e, map_of(e, engine, task, name), full_scale) for e in group]
        sources = np.array([e.example.source or "unknown" for e in group])
        for source in ("all", *sorted(set(sources))):
            index = np.flatnonzero((sources == source) | (source == "all"))
            patients = [group[i].example.patient_group for i in index]
            part = {key: np.array([measured[i][key] for i in index], float) for key in _STATISTICS}
            figures = {
                key: estimate(part[key], patients, of=of, share=key in _SHARES) for key, of in _STATISTICS.items()
            }
            rows.append({"task": task.name, "class": name, "source": source, "n": len(index), **figures})
    return rows


#: What is measured of each image, and how a group is summed up.
_STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "in_lung_fraction": np.median,
    "lung_area_fraction": np.median,
    "lung_box_fraction": np.median,
    "ratio": np.median,
    "ratio_to_box": np.median,
    "grid_ceiling": np.median,
    "peak_in_lung": np.mean,
    "mostly_outside": np.mean,
    "faint": np.mean,
}
_SHARES = {"peak_in_lung", "mostly_outside", "faint"}  # of images


def lung_measures(explained: Explained, cam: np.ndarray, full_scale: float) -> dict[str, float]:
    """One image's figures, NaN where they are not defined."""
    field = explained.lung_field
    summary = summarise(cam, field, explained.geometry, full_scale=full_scale)
    inside = np.nan if summary.in_lung_fraction is None else summary.in_lung_fraction
    ceiling = grid_ceiling(field, cam.shape)
    return {
        "in_lung_fraction": inside,
        "lung_area_fraction": summary.lung_area_fraction,
        "lung_box_fraction": summary.lung_box_fraction,
        "ratio": np.nan if summary.ratio is None else summary.ratio,
        "ratio_to_box": inside / summary.lung_box_fraction if summary.lung_box_fraction else np.nan,
        "grid_ceiling": np.nan if ceiling is None else ceiling,
        "peak_in_lung": np.nan if summary.peak_in_lung is None else float(summary.peak_in_lung),
        "mostly_outside": float(warning(summary) is not None),
        "faint": float(summary.faint),
    }


def estimate(
    values: np.ndarray, patients: Sequence[str], *, of: Callable[[np.ndarray], float], share: bool = False
) -> dict[str, Any]:
    """A figure of a group of images with its 95 % interval over patients; images that don't define it are left out."""
    defined = np.flatnonzero(np.isfinite(values))
    kept = values[defined]
    return asdict(bootstrap(lambda i: float(of(kept[i])), [patients[i] for i in defined], share=share))


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
    stages, view = stages_from_the_top(engine.network), _features_of(engine.network)
    pixels = np.stack([e.pixels for e in chosen])
    features = np.stack([e.output.features for e in chosen])
    decided = [int(np.argmax(e.output.logits[THREE_CLASS.name])) for e in chosen]
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


def _features_of(network: keras.Model) -> keras.Model:
    """The network up to the features that maps are made of, with the weights that it has at the time."""
    return keras.Model(network.input, network.get_layer(FEATURE_LAYER).output)


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
            "signed": estimate(found[0, step].mean(axis=0), patients, of=np.mean),
            "absolute": estimate(found[1, step].mean(axis=0), patients, of=np.mean),
            "by_seed": found[0, step].mean(axis=1).tolist(),
        }
        for step, name in enumerate(names)
    ]


def curves(
    rights: dict[tuple[Task, str], list[Explained]], cohort: Sequence[Explained], engine: Engine
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
        prior = lung_prior([e.lung_field for e in cohort], chosen[0].output.features.shape[:2])
        scores = {fill: defaultdict(list) for fill in (FILLS if lenders else FILLS[1:])}
        for number, explained in enumerate(chosen):
            maps = _picture_maps(explained, engine, answer, prior, np.random.default_rng((_SEED, number)))
            for fill, kept in scores.items():
                donor = blurred(explained.pixels) if fill == "blurred" else lenders[number % len(lenders)].pixels
                for key, values in picture_curves(explained.pixels, donor, maps, engine, answer).items():
                    kept[key].append(values)
        _LOG.info("deleted and inserted for %s, %s: %d images", answer[0].name, answer[1], len(chosen))
        patients = [e.example.patient_group for e in chosen]
        found += [_curve_row(answer, fill, kept, patients) for fill, kept in scores.items()]
    return found


def _curve_row(
    answer: tuple[Task, str], fill: str, scores: dict[tuple[str, bool], list[np.ndarray]], patients: Sequence[str]
) -> dict[str, Any]:
    names = {"task": answer[0].name, "class": answer[1], "filled_with": fill, "n": len(patients)}
    return names | curve_figures(scores, patients, PICTURE_MAPS)


def donors(cohort: Sequence[Explained], answer: tuple[Task, str]) -> list[Explained]:
    """Images of another class that were decided rightly, in an order that mixes the classes and is always the same."""
    task, name = answer
    others = [e for e in cohort if e.example.label != name and _is_decided(e, task)]
    return [others[i] for i in np.random.default_rng(_SEED).permutation(len(others))]


def _is_decided(explained: Explained, task: Task) -> bool:
    """Whether the decision is the truth, which for the binary task may be that it is not COVID-19."""
    truth = explained.example.label
    if task is BINARY and truth != COVID19:
        truth = NOT_COVID19
    return explained.decisions[task.name] == truth


def _picture_maps(
    explained: Explained,
    engine: Engine,
    answer: tuple[Task, str],
    prior: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    cam = map_of(explained, engine, *answer)
    maps = (cam, rng.random(cam.shape), prior, own_lungs(explained.lung_field, cam.shape))
    return dict(zip(PICTURE_MAPS, maps, strict=True))


def picture_curves(
    pixels: np.ndarray,
    donor: np.ndarray,
    maps: Mapping[str, np.ndarray],
    engine: Engine,
    answer: tuple[Task, str],
) -> dict[tuple[str, bool], np.ndarray]:
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
    scores: dict[tuple[str, bool], list[np.ndarray]], patients: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """Curves and areas of each map, and by how much the first map beats each other one: positive is better."""
    areas = {key: area_under(np.stack(values)) for key, values in scores.items()}  # (N, 2)
    return {
        "fractions": FRACTIONS.tolist(),
        "maps": {
            name: {
                way: {
                    "probability": _band(np.stack(scores[name, insert])[:, 0], patients),
                    "auc": estimate(areas[name, insert][:, 0], patients, of=np.mean),
                    "auc_log_odds": estimate(areas[name, insert][:, 1], patients, of=np.mean),
                }
                for way, insert in (("deletion", False), ("insertion", True))
            }
            for name in names
        },
        "margins": {name: margins_of(areas, names[0], name, patients) for name in names[1:]},
    }


def margins_of(
    areas: dict[tuple[str, bool], np.ndarray], ours: str, other: str, patients: Sequence[str]
) -> dict[str, Any]:
    """Paired differences of the areas (N, 2): deletion should be smaller, insertion larger."""
    deletion = areas[other, False] - areas[ours, False]
    insertion = areas[ours, True] - areas[other, True]
    parts = {"deletion": deletion[:, 0], "insertion": insertion[:, 0]}
    parts |= {"deletion_log_odds": deletion[:, 1], "insertion_log_odds": insertion[:, 1]}
    return {key: estimate(values, patients, of=np.mean) for key, values in parts.items()}


def _band(values: np.ndarray, patients: Sequence[str]) -> dict[str, list[float | None]]:
    """Mean curve of (N, fractions) with its interval at each fraction."""
    points = [estimate(column, patients, of=np.mean) for column in values.T]
    return {key: [point[key] for point in points] for key in ("value", "ci_low", "ci_high")}


def headline(found: dict[str, Any]) -> dict[str, Any]:
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


def _taken(rights: dict[tuple[Task, str], list[Explained]], limit: int) -> list[Explained]:
    """Images for the randomisation: right three-class decisions, each class as often, or whatever is right."""
    groups = [group for (task, _), group in rights.items() if task is THREE_CLASS and group]
    if not groups:
        return evenly(rights[BINARY, COVID19], limit)
    return [e for group in groups for e in evenly(group, limit // len(groups))]


def _write(found: dict[str, Any], out: Path) -> None:
    try:
        (out / RESULTS).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        for name, figure in saliency_plots(found).items():
            (out / "plots" / f"{name}.json").write_text(figure.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error}.") from error
