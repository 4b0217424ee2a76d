"""From the network's answer to a judgement: what it means for a patient with this pre-test probability."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.schema import BINARY, COVID19, INDETERMINATE, THREE_CLASS
from detector.ui.bars import indeterminate_band
from detector.ui.pretest import post_test, read_ratios

if TYPE_CHECKING:
    from detector.model.card import ModelCard
    from detector.schema import Prediction
    from detector.ui.cases import Case

_FIRST = 10  # percent


def render_judgement(prediction: Prediction) -> None:
    """The pre-test slider and what the answer makes of it. Only the binary question has likelihood ratios."""
    pre_test = st.slider(
        words.PRE_TEST, 1, 99, _FIRST, format="%d %%", help=words.PRE_TEST_HELP, key="pre_test",
        persist_state="session", disabled=prediction.task is not BINARY,
    )  # fmt: skip
    headline, explanation = judgement(prediction, pre_test / 100)
    st.markdown(headline)
    st.caption(explanation)


def judgement(prediction: Prediction, pre_test: float) -> tuple[str, str]:
    """Post-test probability in words, and how it was reached."""
    if prediction.task is not BINARY or prediction.operating_point is None:
        return words.POST_TEST_BINARY_ONLY, words.POST_TEST_BINARY_HINT
    if prediction.decision == INDETERMINATE:
        return words.POST_TEST_UNCHANGED.format(value=pre_test), words.POST_TEST_INDETERMINATE_WHY
    ratios = read_ratios(prediction.operating_point.name)
    if ratios is None:
        return words.POST_TEST_UNKNOWN, words.POST_TEST_UNKNOWN_WHY
    ratio = ratios.positive if prediction.decision == COVID19 else ratios.negative
    kind = words.LR_POSITIVE if prediction.decision == COVID19 else words.LR_NEGATIVE
    why = words.POST_TEST_WHY.format(
        kind=kind, value=ratio.value, low=ratio.ci_low, high=ratio.ci_high, cohort=ratios.cohort
    )
    said = [why, words.LR_FLATTERS if ratios.flatters else words.LR_MEASURED]
    after = asdict(post_test(pre_test, ratio))
    if ratio.ci_low <= 1 <= ratio.ci_high:
        said.append(words.LR_MAY_SAY_NOTHING.format(**after))
        return words.POST_TEST_UNCHANGED.format(value=pre_test), " ".join(said)
    return words.POST_TEST.format(**after), " ".join(said)


def indeterminacy(prediction: Prediction, card: ModelCard) -> str | None:
    """Why an answer is none, in its own numbers; None where it is one."""
    if prediction.decision != INDETERMINATE:
        return None
    half_width = card.calibration.bands[prediction.task.name]
    if prediction.operating_point is not None:
        low, high = indeterminate_band(prediction, half_width) or (0.0, 1.0)
        return words.INDETERMINATE_NEAR.format(
            value=prediction.probabilities[COVID19], low=low, high=high, threshold=prediction.operating_point.threshold
        )
    first, second = sorted(prediction.probabilities, key=prediction.probabilities.get, reverse=True)[:2]
    return words.INDETERMINATE_TWO.format(
        first=words.CLASSES[first], second=words.CLASSES[second], value=prediction.probabilities[first],
        other=prediction.probabilities[second], times=math.exp(half_width),
    )  # fmt: skip


def disagreement(case: Case, prediction: Prediction, card: ModelCard) -> str | None:
    """A sentence where binary and three-class give answers that can't both be right; None where they agree."""
    other = THREE_CLASS if prediction.task is BINARY else BINARY
    second = card.calibration.predict(other, case.analysis.logits[other.name])
    if INDETERMINATE in {prediction.decision, second.decision}:
        return None
    if (prediction.decision == COVID19) == (second.decision == COVID19):
        return None
    return words.DISAGREEMENT.format(mode=words.MODES[other.mode], decision=words.DECISIONS[second.decision])
