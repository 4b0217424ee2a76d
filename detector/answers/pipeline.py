"""The one place that composes the steps, from bytes to everything known about the image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from detector import words
from detector.answers.traits import Traits, traits_of
from detector.errors import NotAChestXrayError
from detector.model.gate import GateFinding, check_features, check_image, check_lungs, correct, gate_features
from detector.model.gradcam import evidence_maps
from detector.read.sandbox import read_radiograph
from detector.schema import Correction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from detector.model.card import ModelCard
    from detector.model.engine import Engine
    from detector.schema import Geometry, ModelInfo, NetworkInput, NetworkOutput, Radiograph

_AS_IT_IS = Correction()


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything known about one image after one forward pass; both tasks, every class.

    Attributes:
        radiograph: the decoded image.
        geometry: where the network's input lies in the image.
        logits: task name to (logits,) float32.
        cams: task name to (classes, h, w) float32 on the network's grid: signed evidence per class in logit units,
            positive values for the class; see `detector.model.gradcam`.
        card: of the network that answered: its calibration, its scale of evidence, its name and hash.
        lung_field: (size, size) bool on the network's input, true in a lung.
        analysed_at: UTC, ISO 8601.
        warnings: from decoding and from the gate, one sentence each.
        correction: what was done to the picture at the reader's request.
        suggested_correction: what would make it upright, with white bone, if it seems not to be.
        forced: code of the gate's rejection that the reader overrode.
        traits: what shows where the picture comes from; see `detector.answers.likeness`.
    """

    radiograph: Radiograph
    geometry: Geometry
    logits: Mapping[str, np.ndarray]
    cams: Mapping[str, np.ndarray]
    card: ModelCard
    lung_field: np.ndarray
    analysed_at: str
    warnings: tuple[str, ...] = ()
    correction: Correction = _AS_IT_IS
    suggested_correction: Correction | None = None
    forced: str | None = None
    traits: Traits | None = None

    @property
    def model(self) -> ModelInfo:
        """Which network answered."""
        return self.card.info


def analyse(data: bytes, engine: Engine, *, correction: Correction = _AS_IT_IS, force: bool = False) -> Analysis:
    """Analyse one chest X-ray.

    Args:
        data: the bytes of a PNG, JPEG or DICOM file.
        engine: a loaded network; it runs once.
        correction: how to rotate or invert the picture first.
        force: analyse the picture even if the gate does not recognise a frontal chest X-ray; the result says so.

    Returns:
        Logits and maps of both tasks for every class, and where the maps lie in the image.

    Raises:
        RejectedError: a subclass of it if the file is not one sound frontal radiograph.
        NonFiniteError: if the network's output is not finite.
    """
    return analyse_radiograph(read_radiograph(data), engine, correction=correction, force=force)


def analyse_radiograph(
    radiograph: Radiograph, engine: Engine, *, correction: Correction = _AS_IT_IS, force: bool = False
) -> Analysis:
    """`analyse` for an image that is already decoded."""
    radiograph = correct(radiograph, correction)
    before, forced = _passed(lambda: GateFinding(check_image(radiograph)), force=force)
    network_input = engine.prepare(radiograph.grey)
    output = engine(network_input)
    after, forced_after = _passed(lambda: _judged(network_input, output, engine), force=force)
    return Analysis(
        radiograph=radiograph,
        geometry=network_input.geometry,
        logits=output.logits,
        cams=evidence_maps(output.features, engine.kernels),
        card=engine.card,
        lung_field=network_input.lung_field,
        analysed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        warnings=radiograph.warnings + before.warnings + after.warnings,
        correction=correction,
        suggested_correction=after.suggested_correction,
        forced=forced or forced_after,
        traits=traits_of(radiograph, output),
    )


def _judged(network_input: NetworkInput, output: NetworkOutput, engine: Engine) -> GateFinding:
    cut_off = check_lungs(network_input.lung_field, network_input.geometry)
    if engine.gate is None:
        return GateFinding(cut_off)
    finding = check_features(gate_features(network_input, output), engine.gate)
    return replace(finding, warnings=finding.warnings + cut_off)


def _passed(check: Callable[[], GateFinding], *, force: bool) -> tuple[GateFinding, str | None]:
    """Run a check; if its rejection is overridden, return it as a warning, with its code."""
    try:
        return check(), None
    except NotAChestXrayError as error:
        if not force:
            raise
        warning = words.FORCED_WARNING.format(reason=error.user_message)
        return GateFinding((warning,), error.suggested_correction), error.code
