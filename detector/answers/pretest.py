"""From a pre-test to a post-test probability by likelihood ratios: post-test odds = pre-test odds × LR.

The ratios are read from what the evaluation has written; where it has written none they follow from the sensitivity
and the specificity of the test split, and the page says that these flatter.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from detector import words
from detector.paths import MODELS
from detector.schema import BINARY, COVID19, INDETERMINATE, NOT_COVID19

if TYPE_CHECKING:
    from pathlib import Path

    from detector.answers.answer import Verdict

EVALUATION = MODELS / "evaluation"
_LEFT_OUT = "leave"  # a cohort of sources that the network has not seen is named so: leave-one-source-pair-out
_LEAST_OF_A_CLASS = 30  # images: a ratio of fewer says what chance says
_LARGEST_RATIO = 1e6  # a specificity of 1 on a finite cohort: more than any cohort can show


@dataclass(frozen=True)
class LikelihoodRatio:
    """How much an answer multiplies the odds, with its 95 % interval."""

    value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Ratios:
    """Likelihood ratios of one operating point.

    Attributes:
        positive: of an answer above the operating point, sensitivity / (1 - specificity).
        negative: of an answer below it, (1 - sensitivity) / specificity.
        cohort: what they were measured on.
        flatters: whether the cohort comes from the collections that the network learnt from.
    """

    positive: LikelihoodRatio
    negative: LikelihoodRatio
    cohort: str
    flatters: bool


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


def judge(verdict: Verdict, pre_test: float, folder: Path = EVALUATION) -> Judgement | None:
    """Say what an answer makes of a pre-test probability of COVID-19.

    Returns:
        None where the answer changes nothing: another task than the binary one, "can't tell", no likelihood ratio, or
        one whose interval holds 1.

    Raises:
        ValueError: if the pre-test probability is not between 0 and 1, both excluded.
    """
    if verdict.task is not BINARY or verdict.operating_point is None:
        return None
    ratios = None if verdict.decision == INDETERMINATE else read_ratios(verdict.operating_point.name, folder)
    if ratios is None:
        return None
    ratio = ratios.positive if verdict.decision == COVID19 else ratios.negative
    if ratio.ci_low <= 1 <= ratio.ci_high:
        return None
    kind = words.LR_POSITIVE if verdict.decision == COVID19 else words.LR_NEGATIVE
    why = words.POST_TEST_WHY.format(
        kind=kind, value=ratio.value, low=ratio.ci_low, high=ratio.ci_high, cohort=ratios.cohort
    )
    said = [why, words.LR_FLATTERS if ratios.flatters else words.LR_MEASURED]
    after = post_test(pre_test, ratio)
    value, low, high = map(words.percent, (after.value, after.ci_low, after.ci_high))
    return Judgement(words.POST_TEST.format(value=value, low=low, high=high), " ".join(said))


def worth(verdict: Verdict, folder: Path = EVALUATION) -> str:
    """What an answer is worth in a hospital that the network has not seen, in one sentence.

    Within one hospital and one view alone: positives of one hospital against negatives of another tell how the
    hospitals differ.
    """
    measured = read_json(folder / "external_worth.json") or {}
    point = verdict.operating_point
    side = {COVID19: "positive", NOT_COVID19: "negative"}.get(verdict.decision)
    found = (measured.get(verdict.task.name) or {}).get(point.name if point else "")
    if found is None or side is None:
        return words.WORTH_NOT_MEASURED
    compared = {
        "covid19": found["covid19"],
        "others": found["others"],
        "others_are": words.COMPARED_WITH.get(found["others_are"], words.COMPARED_WITH["others"]),
    }
    if min(found["covid19"], found["others"]) < _LEAST_OF_A_CLASS:
        return words.WORTH_UNKNOWN.format(**compared)
    ratio = _ratio(found[side])
    proven = not ratio.ci_low <= 1 <= ratio.ci_high
    said = {"positive": words.WORTH_POSITIVE, "negative": words.WORTH_NEGATIVE}[side] if proven else words.WORTH_NONE
    value, low, high = (f"{number:.2g}" for number in (ratio.value, ratio.ci_low, ratio.ci_high))
    return words.WORTH_COMPARED.format(said=said.format(value=value, low=low, high=high), **compared)


def post_test(pre_test: float, ratio: LikelihoodRatio) -> PostTest:
    """Update a pre-test probability.

    Raises:
        ValueError: if the pre-test probability is not between 0 and 1, both excluded.
    """
    if not 0 < pre_test < 1:
        msg = f"pre_test must lie between 0 and 1. Received {pre_test}."
        raise ValueError(msg)
    return PostTest(*(_updated(pre_test, value) for value in (ratio.value, ratio.ci_low, ratio.ci_high)))


def read_ratios(operating_point: str, folder: Path = EVALUATION) -> Ratios | None:
    """Likelihood ratios of an operating point; None where nothing has been measured."""
    measured = read_json(folder / "likelihood_ratios.json")
    if measured is not None:
        try:
            point = measured["binary"][operating_point]
            positive, negative = (_ratio(point[side]) for side in ("positive", "negative"))
            cohort = str(point["cohort"])
            return Ratios(positive, negative, cohort, flatters=_LEFT_OUT not in cohort.lower())
        except (KeyError, TypeError, ValueError):
            return None
    metrics = read_metrics("test", folder)
    return None if metrics is None else _from_metrics(metrics, operating_point)


def read_metrics(split: str, folder: Path = EVALUATION) -> dict[str, Any] | None:
    """What the evaluation wrote about a split; None where it is not there."""
    found = read_json(folder / split / "metrics.json")
    return found if found is not None else read_json(folder / f"{split}.json")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _from_metrics(metrics: dict[str, Any], operating_point: str) -> Ratios | None:
    """Ratios of sensitivity and specificity; their interval takes both at their ends, so it is on the wide side."""
    try:
        overall = metrics["overall"]
        sensitivity = overall[f"binary_{operating_point}_sensitivity"]
        specificity = overall[f"binary_{operating_point}_specificity"]
        positive = LikelihoodRatio(
            *(
                _quotient(sensitivity[a], 1 - specificity[b])
                for a, b in (("value", "value"), ("ci_low", "ci_low"), ("ci_high", "ci_high"))
            )
        )
        negative = LikelihoodRatio(
            *(
                _quotient(1 - sensitivity[a], specificity[b])
                for a, b in (("value", "value"), ("ci_high", "ci_high"), ("ci_low", "ci_low"))
            )
        )
    except (KeyError, TypeError):
        return None
    return Ratios(positive, negative, f"test split, n = {sensitivity['n']}", flatters=True)


def _ratio(entry: dict[str, Any]) -> LikelihoodRatio:
    values = [float(entry[name]) for name in ("value", "ci_low", "ci_high")]
    if not all(math.isfinite(value) and value >= 0 for value in values):
        msg = f"A likelihood ratio must be finite and not negative. Received {values}."
        raise ValueError(msg)
    return LikelihoodRatio(*values)


def _quotient(above: float, below: float) -> float:
    return above / below if below * _LARGEST_RATIO > above else _LARGEST_RATIO


def _updated(pre_test: float, ratio: float) -> float:
    odds = pre_test / (1 - pre_test) * ratio
    return odds / (1 + odds)
