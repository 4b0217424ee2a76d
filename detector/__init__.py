"""Chest X-ray detector: COVID-19 or not, or normal, bacterial pneumonia, COVID-19, with saliency maps.

Research demonstration. Not for diagnosis.
"""

from __future__ import annotations

import os as _os
from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.answers.answer import Answer, Question, answer
    from detector.answers.pipeline import Analysis, analyse
    from detector.answers.stability import measure_stability
    from detector.model.engine import Engine
    from detector.schema import Correction

__version__ = "0.1.0"
__all__ = ["Analysis", "Answer", "Correction", "Engine", "Question", "analyse", "answer", "measure_stability"]

# OpenCV reads its own limit once, when it is imported, and every module here is imported after this line:
# 50 megapixels, see detector.read.image_io. The header checks there come first; this is the second lock.
_os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(50_000_000))
# TensorFlow's notes about missing GPUs are of no use to a clinician.
_os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_HOMES = {
    "Analysis": "answers.pipeline",
    "Answer": "answers.answer",
    "Correction": "schema",
    "Engine": "model.engine",
    "Question": "answers.answer",
    "analyse": "answers.pipeline",
    "answer": "answers.answer",
    "measure_stability": "answers.stability",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: to import the package costs nothing."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    found = getattr(_import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
