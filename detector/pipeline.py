"""The one place that composes the steps: bytes in, everything known about the image out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from detector.gate import check_image
from detector.gradcam import class_evidence, closed_form_cam
from detector.preprocess import preprocess
from detector.sandbox import read_radiograph
from detector.schema import TASKS, Analysis

if TYPE_CHECKING:
    from detector.classifier import Classifier


def analyse(data: bytes, classifier: Classifier) -> Analysis:
    """Analyse one chest X-ray.

    Args:
        data: the bytes of a PNG, JPEG or DICOM file.
        classifier: a loaded network; it runs once.

    Returns:
        Logits and maps of both tasks for every class, with where they lie in the image.

    Raises:
        RejectedError: one of its children if the file is not one sound frontal radiograph.
        NonFiniteError: if the network gives no number.
    """
    radiograph = read_radiograph(data)
    warnings = check_image(radiograph)
    network_input = preprocess(radiograph)
    output = classifier(network_input)
    return Analysis(
        radiograph=radiograph,
        geometry=network_input.geometry,
        logits=output.logits,
        cams={
            task.name: class_evidence(task, closed_form_cam(output.features, classifier.kernels[task.name]))
            for task in TASKS
        },
        model=classifier.card.info,
        lung_field=classifier.lung_fields(network_input) if classifier.lung_fields else None,
        analysed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        warnings=radiograph.warnings + warnings,
    )
