"""What a hospital's own calibration is worth on labelled X-rays other than those that it was made of."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.answers.answer import decide_all
from detector.schema import TASKS
from detector.statistics import merit
from detector.statistics.bootstrap import Resampling, Statistic
from detector.training.measure.cohort import truth_index

if TYPE_CHECKING:
    from detector.answers.site import Site
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
    for task in TASKS:
        if site.tasks[task.name] is None:
            found[task.name] = {"reason": site.reasons[task.name]}
            continue
        measured = partial(_figures, task, calibration=calibration, site=site)
        found[task.name] = {"overall": measured(answers)} | {
            f"by_{part}": {name: measured(kept) for name, kept in answers.parts(part).items()}
            for part in ("source", "hospital")
        }
    return {
        "name": site.name,
        "sha256": site.sha256,
        "created": site.created.isoformat(),
        "coverage": site.coverage,
        "tasks": found,
    }


def _figures(task: Task, answers: Answers, *, calibration: Calibration, site: Site) -> dict[str, dict[str, Any]]:
    """Shares of a task that the site has set, with their intervals."""
    decided, here = decide_all(answers.logits, calibration, site=site)[task.name], site.tasks[task.name]
    if decided.sets is None or here is None:
        raise ValueError(f"the site has not set {task.name}")
    truth = truth_index(task, answers.labels)
    asked, single = truth >= 0, decided.sets.sum(axis=1) == 1
    holds = decided.sets[np.arange(len(truth)), truth]

    def share(hits: np.ndarray, keep: np.ndarray, why: str = _ABSENT) -> Statistic:
        return Statistic.on(keep, merit.share, hits, empty=why, undefined=why, share=True)

    found = {
        "coverage": share(holds, asked),
        "answered": share(single, asked),
        "wrong_of_answered": share(~holds, asked & single, _NONE_ANSWERED),
    }
    for k, name in enumerate(task.classes):
        found[f"coverage_{name}"] = share(holds, truth == k)
        found[f"recall_{name}"] = share(holds & single, truth == k)
    for name, point in here.operating_points.items():
        called = decided.probabilities[:, 0] >= point.threshold
        found[f"{name}_sensitivity"] = share(called, truth == 0)
        found[f"{name}_specificity"] = share(~called, truth == 1)
    return Resampling(answers.groups).records(found)
