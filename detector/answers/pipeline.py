"""The one place that composes the steps: bytes in, everything known about the image out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from detector.errors import NotAChestXrayError
from detector.model.gate import GateFinding, check_features, check_image, check_lungs, correct, gate_features
from detector.model.gradcam import evidence_maps
from detector.read.sandbox import read_radiograph
from detector.schema import Analysis, Correction

if TYPE_CHECKING:
    from collections.abc import Callable

    from detector.model.engine import Engine
    from detector.schema import NetworkInput, NetworkOutput, Radiograph

_AS_IT_IS = Correction()
_FORCED = "Analysed against the app's refusal: {reason}"


def analyse(data: bytes, engine: Engine, *, correction: Correction = _AS_IT_IS, force: bool = False) -> Analysis:
    """Analyse one chest X-ray.

    Args:
        data: the bytes of a PNG, JPEG or DICOM file.
        engine: a loaded network; it runs once.
        correction: how to turn or invert the picture first.
        force: analyse what the gate takes for no frontal chest X-ray all the same; the result says so.

    Returns:
        Logits and maps of both tasks for every class, with where they lie in the image.

    Raises:
        RejectedError: one of its children if the file is not one sound frontal radiograph.
        NonFiniteError: if the network gives no number.
    """
    return analyse_radiograph(read_radiograph(data), engine, correction=correction, force=force)


def analyse_radiograph(
    radiograph: Radiograph, engine: Engine, *, correction: Correction = _AS_IT_IS, force: bool = False
) -> Analysis:
    """`analyse` for an image that is decoded already."""
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
        model=engine.card.info,
        lung_field=network_input.lung_field,
        lung_area_fraction=_lung_area(network_input),
        analysed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        warnings=radiograph.warnings + before.warnings + after.warnings,
        correction=correction,
        suggested_correction=after.suggested_correction,
        forced=forced or forced_after,
    )


def _judged(network_input: NetworkInput, output: NetworkOutput, engine: Engine) -> GateFinding:
    if engine.gate is None:
        return GateFinding(check_lungs(network_input.lung_field, network_input.geometry))
    finding = check_features(gate_features(network_input, output), engine.gate)
    cut_off = check_lungs(network_input.lung_field, network_input.geometry)
    return replace(finding, warnings=finding.warnings + cut_off)


def _passed(check: Callable[[], GateFinding], *, force: bool) -> tuple[GateFinding, str | None]:
    """Run a check; where its refusal is overridden, the finding warns of it and its code stands beside."""
    try:
        return check(), None
    except NotAChestXrayError as error:
        if not force:
            raise
        return GateFinding((_FORCED.format(reason=error.user_message),), error.suggested_correction), error.code


def _lung_area(network_input: NetworkInput) -> float:
    g = network_input.geometry
    return float(network_input.lung_field.mean()) * g.height * g.width / (g.rows * g.columns)
