"""What a hospital's own calibration is worth on labelled X-rays other than those that it was made of."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.answers.answer import decide_all
from detector.schema import BINARY, COVID19, TASKS
from detector.statistics import merit
from detector.statistics.bootstrap import Resampling, Statistic
from detector.training.measure.cohort import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.answers.answer import Decisions
    from detector.answers.site import Site, SiteTask
    from detector.model.calibration import Calibration
    from detector.schema import Task
    from detector.training.measure.cohort import Answers

_ABSENT = "no images of this class"
_NONE_ANSWERED = "no image has a single answer"


def by_site(answers: Answers, calibration: Calibration, site: Site) -> dict[str, Any]:
    """The figures of a site's answers, as ``metrics.json`` holds them beside the network's own.

    Returns:
        ``name``, ``sha256``, ``created`` and the promised ``coverage``; ``tasks``: by task name the reason why it was
        not set, or ``overall``, ``by_source`` and ``by_hospital``, each name of a figure to the figure.
    """
    found: dict[str, Any] = {}
    decided = decide_all(answers.logits, calibration, site=site)
    for task in TASKS:
        here = site.tasks[task.name]
        if here is None:
            found[task.name] = {"reason": site.reasons[task.name]}
            continue
        shares = _shares(task, here, answers.labels, decided[task.name])
        found[task.name] = {"overall": _estimated(answers, shares, np.ones(len(answers.labels), bool))}
        for part in ("source", "hospital"):
            values = np.array([getattr(example, part) or UNKNOWN for example in answers.examples], str)
            found[task.name][f"by_{part}"] = {
                str(value): _estimated(answers, shares, values == value) for value in np.unique(values)
            }
    return {
        "name": site.name,
        "sha256": site.sha256,
        "created": site.created.isoformat(),
        "coverage": site.coverage,
        "tasks": found,
    }


def _shares(
    task: Task, here: SiteTask, labels: np.ndarray, decided: Decisions
) -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    """Name of a share to its hits (N,), the images that it is a share of (N,), and why there is none."""
    truth = np.where(labels == COVID19, 0, 1) if task is BINARY else _index(labels, task.classes)
    asked = truth >= 0
    sets = decided.sets if decided.sets is not None else np.zeros((len(labels), len(task.classes)), bool)
    single = sets.sum(axis=1) == 1
    holds = sets[np.arange(len(labels)), truth] & asked
    found = {
        "coverage": (holds, asked, _ABSENT),
        "answered": (single, asked, _ABSENT),
        "wrong_of_answered": (~holds, asked & single, _NONE_ANSWERED),
    }
    for k, name in enumerate(task.classes):
        found[f"coverage_{name}"] = (holds, truth == k, _ABSENT)
        found[f"recall_{name}"] = (holds & single, truth == k, _ABSENT)
    for name, point in here.operating_points.items():
        called = decided.probabilities[:, 0] >= point.threshold
        found[f"{name}_sensitivity"] = (called, truth == 0, _ABSENT)
        found[f"{name}_specificity"] = (~called, truth == 1, _ABSENT)
    return found


def _estimated(
    answers: Answers, shares: Mapping[str, tuple[np.ndarray, np.ndarray, str]], part: np.ndarray
) -> dict[str, Any]:
    groups = [group for group, kept in zip(answers.groups, part, strict=True) if kept]
    of_part = {
        name: Statistic(partial(merit.share, hits[part & keep]), keep[part], empty=why, undefined=why, share=True)
        for name, (hits, keep, why) in shares.items()
    }
    return {name: asdict(figure) for name, figure in Resampling(groups).estimates(of_part).items()}


def _index(labels: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Index of each label's class, -1 for a label of none."""
    return np.array([classes.index(label) if label in classes else -1 for label in labels], int)
