"""What an answer is worth in a hospital that the network has not seen, and how it changes a pre-test probability.

Post-test odds = pre-test odds × likelihood ratio. The ratios come from the reader's own hospital if it has measured
them (`detector.answers.site`). Otherwise they come only from the external test, and from within one hospital: positives
of one hospital against negatives of another show how the hospitals differ.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from detector import words
from detector.answers.site import LARGEST_RATIO
from detector.paths import MODELS
from detector.schema import BINARY, COVID19, NORMAL, NOT_COVID19

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from detector.answers.answer import Answer, Verdict
    from detector.answers.site import Site, SiteTask

EVALUATION = MODELS / "evaluation"
EXTERNAL = "external_test"
_LEAST_OF_A_CLASS = 30  # images: with fewer, the ratio is mostly chance
_SENTENCES = {  # whether it is the reader's own hospital: positive, negative, not proven, the whole
    True: (words.SITE_POSITIVE, words.SITE_NEGATIVE, words.SITE_NONE, words.SITE_COMPARED),
    False: (words.WORTH_POSITIVE, words.WORTH_NEGATIVE, words.WORTH_NONE, words.WORTH_COMPARED),
}
_SIDES = {COVID19: "positive", NOT_COVID19: "negative"}


@dataclass(frozen=True)
class LikelihoodRatio:
    """How much an answer multiplies the odds, with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float

    @property
    def is_proven(self) -> bool:
        """Whether the interval excludes 1, at which an answer says nothing."""
        return not self.ci_low <= 1 <= self.ci_high


@dataclass(frozen=True)
class Worth:
    """What one answer was worth in a hospital that the network had not seen, or in the reader's own.

    Attributes:
        hospital: its name.
        ratio: likelihood ratio of the answer; None if it has no finite interval.
        covid19: number of images with COVID-19 that it is based on.
        others: number of images without.
        others_are: what those show, in words.
        own: whether it is the reader's own hospital; a site file always has enough images.
    """

    hospital: str
    ratio: LikelihoodRatio | None
    covid19: int
    others: int
    others_are: str
    own: bool = False

    @property
    def is_known(self) -> bool:
        """Whether it is based on enough images of both classes."""
        return self.ratio is not None and (self.own or min(self.covid19, self.others) >= _LEAST_OF_A_CLASS)


@dataclass(frozen=True)
class PostTest:
    """A post-test probability with its interval."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Judgement:
    """What an answer means for a patient with a pre-test probability, in words."""

    headline: str
    explanation: str


def standing(told: Answer, folder: Path = EVALUATION) -> str:
    """The line below an answer: where it was calibrated, and why it is "can't tell" or what such an answer is worth."""
    site, verdict = told.question.site, told.verdict
    said = told.why_indeterminate or worth(verdict, folder, site=site)
    return f"{site.line(verdict.task)} {said}" if site else said


def judge(
    verdict: Verdict, pre_test: float, folder: Path = EVALUATION, *, site: Site | None = None
) -> Judgement | None:
    """Say how an answer changes a pre-test probability of COVID-19.

    Returns:
        None if the answer changes nothing: a task other than the binary one, "can't tell", or a likelihood ratio that
        is not known or whose interval contains 1.

    Raises:
        ValueError: if the pre-test probability is not between 0 and 1, both excluded.
    """
    found = worth_of(verdict, folder, site=site)
    if found is None or not found.is_known or found.ratio is None or not found.ratio.is_proven:
        return None
    kind = words.LR_POSITIVE if verdict.decision == COVID19 else words.LR_NEGATIVE
    ratio, after = found.ratio, post_test(pre_test, found.ratio)
    value, low, high = map(words.percent, (after.value, after.ci_low, after.ci_high))
    return Judgement(
        words.POST_TEST.format(value=value, low=low, high=high),
        (words.POST_TEST_WHY_HERE if found.own else words.POST_TEST_WHY).format(
            kind=kind,
            value=_times(ratio.value),
            low=_times(ratio.ci_low),
            high=_times(ratio.ci_high),
            hospital=found.hospital,
        ),
    )


def worth(verdict: Verdict, folder: Path = EVALUATION, *, site: Site | None = None) -> str:
    """What an answer is worth in a hospital that the network has not seen, or in the reader's own; one sentence."""
    here = site.tasks[verdict.task.name] if site else None
    if here is not None and verdict.task is not BINARY:
        return _recall(verdict, here)
    found = worth_of(verdict, folder, site=site)
    if found is None:
        return words.WORTH_NOT_MEASURED
    compared = {"covid19": found.covid19, "others": found.others, "others_are": found.others_are}
    if not found.is_known or found.ratio is None:
        return words.WORTH_UNKNOWN.format(**compared)
    positive, negative, none, whole = _SENTENCES[found.own]
    said = none if not found.ratio.is_proven else positive if verdict.decision == COVID19 else negative
    value, low, high = map(_times, (found.ratio.value, found.ratio.ci_low, found.ratio.ci_high))
    return whole.format(said=said.format(value=value, low=low, high=high), **compared)


def worth_of(verdict: Verdict, folder: Path = EVALUATION, *, site: Site | None = None) -> Worth | None:
    """What an answer was worth in the reader's own hospital, or else in one hospital of the external test.

    That is the one with the most images of its rarer class. None if neither has measured it.
    """
    point, side = verdict.operating_point, _SIDES.get(verdict.decision)
    here = site.tasks[verdict.task.name] if site else None
    if site is not None and here is not None:
        return _worth_here(site, here, side) if verdict.task is BINARY and side else None
    measured = read_metrics(EXTERNAL, folder)
    if verdict.task is not BINARY or point is None or side is None or measured is None:
        return None
    hospitals = measured.get("within_one_hospital", {}).get("pooled", {})
    if not hospitals:
        return None
    name = max(hospitals, key=lambda one: min(hospitals[one]["covid19"], hospitals[one]["others"]))
    found = hospitals[name]
    figures = found["operating_points"].get(point.name, {})
    return Worth(
        hospital=name,
        ratio=_ratio(figures.get(f"likelihood_ratio_{side}")),
        covid19=found["covid19"],
        others=found["others"],
        others_are=_others(measured, name),
    )


def _worth_here(site: Site, here: SiteTask, side: str) -> Worth:
    figure = here.figures[f"likelihood_ratio_{side}"]
    ratio = _ratio({"value": figure.value, "ci_low": figure.ci_low, "ci_high": figure.ci_high})
    covid19, others = (here.counts[name] for name in (COVID19, NOT_COVID19))
    return Worth(site.name, ratio, covid19, others, words.COMPARED_WITH["others"], own=True)


def _recall(verdict: Verdict, here: SiteTask) -> str:
    """How often X-rays of the named class got it as their answer in the reader's own hospital."""
    figure = here.figures.get(f"recall_{verdict.decision}")
    if figure is None or figure.ci_low is None or figure.ci_high is None:
        return words.WORTH_NOT_MEASURED
    value, low, high = map(words.percent, (figure.value, figure.ci_low, figure.ci_high))
    return words.SITE_RECALL.format(n=figure.n, value=value, low=low, high=high)


def _times(number: float) -> str:
    """A likelihood ratio, or an end of one."""
    if number >= LARGEST_RATIO:
        return "∞"
    return f"{number:.0f}" if number >= 100 else f"{number:.2g}"


def post_test(pre_test: float, ratio: LikelihoodRatio) -> PostTest:
    """Update a pre-test probability.

    Raises:
        ValueError: if the pre-test probability is not between 0 and 1, both excluded.
    """
    if not 0 < pre_test < 1:
        msg = f"pre_test must lie between 0 and 1. Received {pre_test}."
        raise ValueError(msg)
    return PostTest(*(_updated(pre_test, value) for value in (ratio.value, ratio.ci_low, ratio.ci_high)))


def read_metrics(split: str, folder: Path = EVALUATION) -> dict[str, Any] | None:
    """The evaluation's figures for a split; None if there are none."""
    found = read_json(folder / split / "metrics.json")
    return found if found is not None else read_json(folder / f"{split}.json")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, which must not be changed; None if there is none."""
    try:
        now = path.stat()
        return _parsed(path, now.st_mtime_ns, now.st_size)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=16)
def _parsed(path: Path, _changed: int, _size: int) -> dict[str, Any] | None:
    """A file that has not changed is parsed once: the page asks for it with every click."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else None


def _ratio(entry: Mapping[str, Any] | None) -> LikelihoodRatio | None:
    """A likelihood ratio with a finite interval; None if it has none."""
    values = [(entry or {}).get(name) for name in ("value", "ci_low", "ci_high")]
    if any(value is None or not math.isfinite(value) or value < 0 for value in values):
        return None
    return LikelihoodRatio(*map(float, values))  # type: ignore[arg-type]


def _others(measured: Mapping[str, Any], hospital: str) -> str:
    """What a hospital's images without COVID-19 show."""
    labels = measured.get("counts", {}).get("by_hospital", {}).get(hospital, {}).get("labels", {})
    return words.COMPARED_WITH[NORMAL if set(labels) - {COVID19} == {NORMAL} else "others"]


def _updated(pre_test: float, ratio: float) -> float:
    odds = pre_test / (1 - pre_test) * ratio
    return odds / (1 + odds)
