"""The audit: how near do baselines that see no lung come to the network, on every split?

Where one comes within 0.05 of the network's area under the ROC curve, the split proves nothing, whatever the score.
Any contender can be added as a fit (see `detector.training.audit.baselines`). Networks are trained for it where
`detector.training.audit.leave_out.Trainings` are handed over.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from detector.errors import ManifestError
from detector.model.calibration import BALANCED
from detector.run.files import make_folder, write_json
from detector.schema import BINARY, COVID19, TASKS, THREE_CLASS
from detector.statistics import merit
from detector.statistics.bootstrap import Resampling, Statistic
from detector.training.audit.baselines import Scores, standard_baselines
from detector.training.audit.leave_out import has_both, parted, source_pairs
from detector.training.data.manifest import is_adult_opacity, read_image, read_manifest
from detector.training.fit.lung_focus import misleading_surroundings
from detector.training.measure.cohort import truth_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from detector.model.calibration import Calibration
    from detector.model.engine import Engine
    from detector.schema import NetworkInput
    from detector.training.audit.baselines import Fit, Predictor
    from detector.training.audit.leave_out import Trainings
    from detector.training.data.manifest import Example

_LOG = logging.getLogger(__name__)

#: Names of contenders that need a network; the first is trained, the others are the shipped one on what it never saw.
LUNGS_BLACKED_OUT = "lungs_blacked_out"
SHIPPED_ON_BLACKED_OUT = "shipped_network_on_blacked_out_lungs"
SHIPPED_IN_MISLEADING_SURROUNDINGS = "shipped_network_in_misleading_surroundings"
SHIPPED = "shipped_network"

_WORDS = {
    "source_and_age": "Source and age alone, without a picture",
    "spectrum": "The finest frequencies of the file alone",
    "border": "A border of 10 pixels of the file alone",
    "spectrum_of_the_input": "The finest frequencies of what the network is given",
    "border_of_the_input": "A border of 10 pixels of what the network is given",
    LUNGS_BLACKED_OUT: "A network trained on pictures whose lungs are blacked out, by a small protocol",
    SHIPPED_ON_BLACKED_OUT: "The shipped network where the lungs are blacked out",
}
_ABSENT_CLASS = "not defined: a class is absent"
_WITHOUT_TRAINING = {LUNGS_BLACKED_OUT: "needs a network's training: ask for it with --batches"}
NEAR = 0.05  # of the network's area under the curve: what VALIDITY calls too near
_THE_NETWORK_AT_WORK = {SHIPPED, SHIPPED_IN_MISLEADING_SURROUNDINGS}  # it sees lungs, so that coming near is no fault
MARGIN = 0.05  # of the picture's width, blacked out round the lungs

_SPLITS = ("val", "test")
_SEED = 20261123  # of which picture lends its surroundings to which


def audit(
    manifest: Path,
    images: Path,
    engine: Engine,
    out: Path,
    *,
    fits: Mapping[str, Fit] | None = None,
    trainings: Trainings | None = None,
    without_pairs: bool = False,
) -> dict[str, Any]:
    """Measure every contender on every split and write ``audit.json``.

    Args:
        manifest: with the splits ``train``, ``val`` and ``test``.
        images: folder that its paths are relative to.
        engine: the shipped network.
        out: folder to write to.
        fits: contenders to train, by name; `standard_baselines` where None.
        trainings: how to train networks: one on blacked-out lungs, and one for each pair of sources left out.
        without_pairs: train none for the pairs, which take most of the time.

    Returns:
        What ``audit.json`` holds: ``splits`` (overall and by source: each contender's areas, and which ones come near
        the network), ``leave_one_source_pair_out``, ``not_run`` with the reason.

    Raises:
        ManifestError: if the manifest can't be used or lacks a split.
        OutputError: if the folder can't be written.
    """
    examples = read_manifest(manifest)
    parts = {split: [e for e in examples if e.split == split] for split in ("train", *_SPLITS)}
    if missing := [split for split, part in parts.items() if not part]:
        raise ManifestError(f"An audit needs the splits train, val and test. {manifest} lacks {missing}.")
    make_folder(out)
    fits = standard_baselines(images, engine.prepare) if fits is None else fits
    contenders = shipped_contenders(engine, images)
    for name, fit in fits.items():
        _LOG.info("fitting %s", name)
        contenders[name] = fit(parts["train"])
    if trainings:
        contenders[LUNGS_BLACKED_OUT] = trainings.without_lungs(examples, blacked_out)
    left_out = leave_one_source_pair_out(examples, fits)
    if trainings and not without_pairs:
        left_out["network"] = trainings.left_out(source_pairs(examples), examples)
        write_json(out / "likelihood_ratios.json", {"binary": left_out["network"]["likelihood_ratios"]})
    found: dict[str, Any] = {
        "model": asdict(engine.card.info),
        "near": NEAR,
        "splits": {split: compare(parts[split], contenders, engine.card.calibration) for split in _SPLITS},
        "leave_one_source_pair_out": left_out,
        "not_run": {name: reason for name, reason in _WITHOUT_TRAINING.items() if name not in contenders},
    }
    found["sentences"] = sentences(found)
    write_json(out / "audit.json", found)
    return found


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The audit in plain words, for the page and the card."""
    overall = found["splits"]["test"]["overall"]
    areas, near = _areas(overall), _near(overall)
    lines = [f"On the test split, binary, the network's AUROC is {areas[SHIPPED]:.3f}."]
    lines += [f"{words}: {areas[name]:.3f}." for name, words in _WORDS.items() if areas.get(name) is not None]
    if near:
        lines.append(f"Within {NEAR} of the network, so that the test split proves nothing about the disease: {near}.")
    else:
        lines.append(f"None of these comes within {NEAR} of the network.")
    if areas.get(SHIPPED_IN_MISLEADING_SURROUNDINGS) is not None:
        lines.append(
            "Where what lies around the lungs comes from a picture with the other answer, so that whoever goes by it "
            f"is wrong, the network keeps {areas[SHIPPED_IN_MISLEADING_SURROUNDINGS]:.3f}."
        )
    lines += _opacity_sentences(found["splits"]["test"])
    left_out = found["leave_one_source_pair_out"].get("network")
    if left_out:
        lines.append(
            f"Networks trained by a small protocol without a pair of sources reach {left_out['mean_auroc']:.3f} on it, "
            f"{left_out['lowest_auroc']:.3f} to {left_out['highest_auroc']:.3f} over {len(left_out['pairs'])} pairs."
        )
        lines += [
            f"Asked about {source}'s own pictures, sick and others of one collection that they never saw, they reach "
            f"{np.mean(areas):.3f}."
            for source, areas in _own_sources(left_out["pairs"]).items()
        ]
    return lines


def _opacity_sentences(split: Mapping[str, Any]) -> list[str]:
    """Whether the rows of adults with an opacity prove anything, and how they are called in misleading surroundings."""
    rows = split.get("adult_opacities")
    if rows is None:
        return []
    line = (
        "COVID-19 against adults with an opacity that is not COVID-19, nearly all of one hospital: the network's "
        f"AUROC is {_areas(rows)[SHIPPED]:.3f}. "
    )
    if near := _near(rows):
        lines = [f"{line}Within {NEAR} of it, so that these rows prove nothing about the disease: {near}."]
    else:
        lines = [f"{line}Nothing that sees no lung comes within {NEAR} of it."]
    if called := split.get("adult_opacities_called_covid19"):
        plain, misled = (called[name] for name in (SHIPPED, SHIPPED_IN_MISLEADING_SURROUNDINGS))
        lines.append(
            f"At the balanced point it calls {plain['value']:.2f} of them COVID-19, and {misled['value']:.2f} "
            f"({misled['ci_low']:.2f} to {misled['ci_high']:.2f}, n = {misled['n']}) in surroundings taken from a "
            "COVID-19 picture."
        )
    return lines


def _areas(rows: Mapping[str, Any]) -> dict[str, float | None]:
    """Contender to its binary AUROC on some rows."""
    return {name: figure["binary_auroc"]["value"] for name, figure in rows["figures"].items()}


def _near(rows: Mapping[str, Any]) -> str:
    """Those that see no lung and come near the network on some rows, in words."""
    return "; ".join(_WORDS[name] for name in rows["too_near"]["binary_auroc"] or () if name in _WORDS)


def _own_sources(results: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Positive source to the areas of its own pictures, one of each network that was trained without it."""
    found: dict[str, list[float]] = {}
    for result in results:
        if result.get("own_source"):
            found.setdefault(result["pair"]["positive"], []).append(result["own_source"]["auroc"]["value"])
    return found


def compare(
    examples: Sequence[Example], contenders: Mapping[str, Predictor], calibration: Calibration | None = None
) -> dict[str, Any]:
    """Measure contenders on one split.

    Args:
        examples: of the split.
        contenders: by name.
        calibration: of the shipped network; with it, ``adult_opacities_called_covid19`` has the share of them that it
            calls so at the balanced point, as they are and in misleading surroundings.

    Returns:
        ``overall``, ``adult_opacities`` (COVID-19 against adults with an opacity that is not, where there are any) and
        ``by_source`` (those with both classes): contender to figures, and under ``too_near`` those that
        come within `NEAR` of the shipped network, by figure.
    """
    scores = {name: predict(examples) for name, predict in contenders.items()}
    sources = sorted({e.source for e in examples})
    cohorts = {source: np.array([e.source == source for e in examples]) for source in sources}
    opacities = np.array([is_adult_opacity(e) for e in examples])
    covid = np.array([e.label == COVID19 for e in examples])
    return {
        "overall": _compared(examples, scores, np.ones(len(examples), bool)),
        **({"adult_opacities": _compared(examples, scores, covid | opacities)} if opacities.any() else {}),
        "by_source": {
            source: _compared(examples, scores, keep)
            for source, keep in cohorts.items()
            if has_both([e for e, kept in zip(examples, keep, strict=True) if kept])
        },
        **(_opacities_called(examples, scores, opacities, calibration) if calibration and opacities.any() else {}),
    }


def _opacities_called(
    examples: Sequence[Example], scores: Mapping[str, Scores], opacities: np.ndarray, calibration: Calibration
) -> dict[str, Any]:
    resampling, measures = Resampling([e.patient_group for e in examples]), {}
    for name in sorted(_THE_NETWORK_AT_WORK & scores.keys()):
        probability = calibration.probabilities(BINARY, scores[name].covid19[:, None])[:, 0]
        called = probability >= calibration.operating_points[BALANCED].threshold
        measures[name] = Statistic.on(opacities, merit.share, called, share=True)
    return {"adult_opacities_called_covid19": resampling.records(measures)} if measures else {}


def leave_one_source_pair_out(examples: Sequence[Example], fits: Mapping[str, Fit]) -> dict[str, Any]:
    """Train without two sources, test on the COVID-19 images of one and the others of the other.

    Every image of both sources is left out of training, so all of their images, of whatever split, can be tested on.

    Returns:
        ``pairs``: name to ``train``, ``positives`` and ``negatives`` (numbers of images) and each contender's area;
        ``mean``: contender to its mean area over the pairs.
    """
    pairs: dict[str, dict[str, Any]] = {}
    for pair in source_pairs(examples):
        train, test = parted(examples, pair)
        covid = np.array([e.label == COVID19 for e in test])
        areas = {name: Statistic(partial(merit.auroc, covid, fit(train)(test).covid19)) for name, fit in fits.items()}
        figures = Resampling([e.patient_group for e in test]).records(areas)
        counts = {"train": len(train), "positives": int(covid.sum()), "negatives": int((~covid).sum())}
        pairs[pair.name] = {**counts, "binary_auroc": figures}
    names = list(fits) if pairs else []
    mean = {name: float(np.mean([p["binary_auroc"][name]["value"] for p in pairs.values()])) for name in names}
    return {"pairs": pairs, "mean": mean}


def shipped_contenders(engine: Engine, images: Path) -> dict[str, Predictor]:
    """The shipped network on pictures as they are, blacked-out lungs, and lungs in misleading surroundings."""

    def views(examples: Sequence[Example]) -> Iterator[NetworkInput]:
        return (engine.prepare(read_image(images / example.image)) for example in examples)

    def misled(examples: Sequence[Example]) -> Scores:
        given = list(views(examples))
        changed = misleading_surroundings(
            np.stack([view.pixels for view in given]), np.stack([np.asarray(view.lung_field) for view in given]),
            np.array([example.label == COVID19 for example in examples]), np.random.default_rng(_SEED),
        )  # fmt: skip
        return _scores(engine, (replace(view, pixels=pixels) for view, pixels in zip(given, changed, strict=True)))

    return {
        SHIPPED: lambda examples: _scores(engine, views(examples)),
        SHIPPED_ON_BLACKED_OUT: lambda examples: _scores(engine, map(blacked_out, views(examples))),
        SHIPPED_IN_MISLEADING_SURROUNDINGS: misled,
    }


def blacked_out(network_input: NetworkInput) -> NetworkInput:
    """The same input with `black_out`."""
    return replace(network_input, pixels=black_out(network_input.pixels, np.asarray(network_input.lung_field)))


def black_out(pixels: np.ndarray, lung_field: np.ndarray) -> np.ndarray:
    """Set the lung fields and a margin round them to the picture's mean.

    Args:
        pixels: (size, size, 1) float32.
        lung_field: (size, size) bool.

    Returns:
        A copy, (size, size, 1) float32.
    """
    reach = round(MARGIN * lung_field.shape[1])
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    wide = cv2.dilate(lung_field.astype(np.uint8), disc).astype(bool)
    changed = pixels.copy()
    changed[wide] = pixels.mean()
    return changed


def _scores(engine: Engine, views: Iterable[NetworkInput]) -> Scores:
    logits = [engine(view).logits for view in views]
    return Scores.of_logits({task.name: np.array([one[task.name] for one in logits]) for task in TASKS})


def _compared(examples: Sequence[Example], scores: Mapping[str, Scores], keep: np.ndarray) -> dict[str, Any]:
    kept = [e for e, wanted in zip(examples, keep, strict=True) if wanted]
    labels = np.array([e.label for e in kept])
    truth = truth_index(THREE_CLASS, labels)
    resampling = Resampling([e.patient_group for e in kept])
    figures: dict[str, Any] = {}
    for name, score in scores.items():
        measures = {
            "binary_auroc": Statistic(partial(merit.auroc, labels == COVID19, score.covid19[keep])),
            "three_class_macro_auroc": Statistic.on(
                truth >= 0, merit.macro_auroc, truth, score.three_class[keep], undefined=_ABSENT_CLASS
            ),
        }
        figures[name] = resampling.records(measures)
    keys = ("binary_auroc", "three_class_macro_auroc")
    return {"figures": figures, "too_near": {key: _too_near(figures, key) for key in keys}}


def _too_near(figures: Mapping[str, Any], key: str) -> list[str] | None:
    """Contenders that come within `NEAR` of the shipped network; None where it lacks that figure."""
    ours = figures[SHIPPED][key]["value"] if SHIPPED in figures else None
    if ours is None:
        return None
    rivals = {name: v[key]["value"] for name, v in figures.items() if name not in _THE_NETWORK_AT_WORK}
    return [name for name, value in rivals.items() if value is not None and value >= ours - NEAR]
