"""Rows of a report that ask about a part of the cohort: what one hospital, or one mix of collections, has to say.

A figure over all images is mostly told by where they come from. These are not: adults with an opacity that is not
COVID-19, the sensitivity in each collection, one hospital and one view at a time.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.answers.answer import decide_all
from detector.schema import BACTERIAL_PNEUMONIA, BINARY, COVID19, INDETERMINATE, NORMAL, THREE_CLASS
from detector.statistics import merit
from detector.statistics.bootstrap import Resampling, Statistic
from detector.training.data.manifest import SEVERAL, is_adult_opacity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.model.calibration import Calibration
    from detector.training.measure.cohort import Answers

FIRST_COLLECTIONS = ("raddb", "kaggle", "nih", "ieee8023")  # of the splits before rsna, covidqu and cxnet came
MIX = "ieee8023 COVID-19 against kaggle normal and bacterial pneumonia"

_NEGATIVE = "CXR negative"  # in a finding: COVID-19 by a test, nothing to be seen
_ALL = "all"
_NO_COVID, _NO_OTHER = "no images with COVID-19", "no images without COVID-19"
_NO_FALSE_POSITIVE = "not finite: no image without COVID-19 was called COVID-19"


def adult_opacities(answers: Answers, calibration: Calibration) -> dict[str, dict[str, Any]]:
    """How adults with an opacity that is not COVID-19 are answered, forced, over all and by source.

    Returns:
        Source to shares: ``called_covid19`` (binary, balanced), ``three_class_called_<class>``, and
        ``<task>_indeterminate``.
    """
    decided = decide_all(answers.logits, calibration)
    binary, three = decided[BINARY.name], decided[THREE_CLASS.name]
    of = {"called_covid19": binary.forced == COVID19}
    of |= {f"three_class_called_{name}": three.forced == name for name in (COVID19, NORMAL, BACTERIAL_PNEUMONIA)}
    of |= {f"{task}_indeterminate": found.decision == INDETERMINATE for task, found in decided.items()}
    return _shares(answers, of, np.array([is_adult_opacity(e) for e in answers.examples], bool))


def sensitivities(answers: Answers, calibration: Calibration) -> dict[str, dict[str, Any]]:
    """Share of COVID-19 called so at the balanced point, by source; pictures that show nothing of it are left out."""
    called = decide_all(answers.logits, calibration)[BINARY.name].forced == COVID19
    seen = np.array([e.label == COVID19 and _NEGATIVE not in e.finding for e in answers.examples], bool)
    return _shares(answers, {"sensitivity": called}, seen)


def of_the_first_collections(answers: Answers) -> Answers:
    """The images of the collections that the earlier splits had."""
    return answers.only(np.array([e.source in FIRST_COLLECTIONS for e in answers.examples], bool))


def of_the_originals_mix(answers: Answers) -> Answers:
    """The images of the mix that the earlier project was trained and tested on: `MIX`."""
    mix = {("ieee8023", COVID19), ("kaggle", NORMAL), ("kaggle", BACTERIAL_PNEUMONIA)}
    return answers.only(np.array([(e.source, e.label) in mix for e in answers.examples], bool))


def within_one_hospital(answers: Answers, calibration: Calibration) -> dict[str, Any]:
    """COVID-19 against others where both were taken in one hospital and one view.

    Returns:
        ``strata``: ``"hospital, view"`` to ``covid19`` and ``others`` (images), ``auroc`` and, by operating point,
        sensitivity, specificity and both likelihood ratios; ``pooled``: the same over all strata of a hospital, its
        likelihood ratios those of Mantel and Haenszel (1959), which compare within a view only. Strata with one class
        are left out.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, example in enumerate(answers.examples):
        if example.hospital not in {"", SEVERAL} and example.view:
            members[example.hospital][example.view].append(number)
    strata, pooled = {}, {}
    for hospital, views in sorted(members.items()):
        both = {view: index for view, index in views.items() if len(set(answers.labels[index] == COVID19)) == 2}
        for view, index in sorted(both.items()):
            strata[f"{hospital}, {view}"] = _compared(answers, calibration, [index])
        if both:
            pooled[hospital] = {"views": sorted(both), **_compared(answers, calibration, list(both.values()))}
    return {"strata": strata, "pooled": pooled}


def _compared(answers: Answers, calibration: Calibration, strata: Sequence[Sequence[int]]) -> dict[str, Any]:
    stratum = np.full(len(answers.examples), -1)
    for number, members in enumerate(strata):
        stratum[members] = number
    kept, view = answers.only(stratum >= 0), stratum[stratum >= 0]
    covid = kept.labels == COVID19
    score = calibration.probabilities(BINARY, kept.logits[BINARY.name])[:, 0]
    resampling = Resampling(kept.groups)
    found: dict[str, Any] = {"covid19": int(covid.sum()), "others": int((~covid).sum())}
    found |= resampling.records({"auroc": Statistic(partial(merit.auroc, covid, score))})
    found["operating_points"] = {}
    for name, point in calibration.operating_points.items():
        called = score >= point.threshold
        ratio = partial(_pooled_ratio, covid=covid, view=view)
        measures = {
            "sensitivity": Statistic.on(covid, merit.share, called, empty=_NO_COVID, share=True),
            "specificity": Statistic.on(~covid, merit.share, ~called, empty=_NO_OTHER, share=True),
            "likelihood_ratio_positive": Statistic(partial(ratio, called=called), undefined=_NO_FALSE_POSITIVE),
            "likelihood_ratio_negative": Statistic(partial(ratio, called=~called)),
        }
        found["operating_points"][name] = resampling.records(measures)
    return found


def _pooled_ratio(weights: np.ndarray, *, called: np.ndarray, covid: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Ratio (S,) of how often COVID-19 and how often the others got an answer, compared within each view."""
    above, below = np.zeros(len(weights)), np.zeros(len(weights))
    for stratum in np.unique(view):
        here = view == stratum
        sick, others = (weights[:, here & kept].sum(axis=1) for kept in (covid, ~covid))
        total = np.maximum(sick + others, 1)
        above += weights[:, here & covid & called].sum(axis=1) * others / total
        below += weights[:, here & ~covid & called].sum(axis=1) * sick / total
    return above / below


def _shares(answers: Answers, of: Mapping[str, np.ndarray], keep: np.ndarray) -> dict[str, dict[str, Any]]:
    """Shares of the kept images, over all and by source, with intervals."""
    sources = np.array([e.source for e in answers.examples])
    parts = {_ALL: keep} | {str(source): keep & (sources == source) for source in np.unique(sources[keep])}
    resampling, found = Resampling(answers.groups), {}
    for part, kept in parts.items():
        if kept.any():
            measures = {name: Statistic.on(kept, merit.share, hits, share=True) for name, hits in of.items()}
            found[part] = resampling.records(measures)
    return found
