"""The answer as a DICOM structured report: TID 1500 in a Comprehensive 3D SR, as IHE's AI Results profile asks.

Every class of the question is a measurement group of its own with its coded finding, probability and verdict; where
the evidence lies belongs to the class that the map explains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes

from detector import words
from detector.answers.evidence import main_zones
from detector.read.source import derived_uid
from detector.report.dicom_common import MANUFACTURER, answer_lines, provenance_line, remarks
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, INDETERMINATE, NORMAL, NOT_COVID19, NOTICE, ZONES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from detector.report.dicom_common import Subject
    from detector.schema import EvidenceSummary

_OWN = "99CXRDETECTOR"  # PS3.16 section 8: designators of one's own begin with 99

# SNOMED CT where DICOM's own tables lack a concept. Each was looked up: COVID-19 in the value set of diseases of the
# EU's digital COVID certificate, bacterial pneumonia in SNOMED's guide, the procedure in FHIR examples of imaging
# orders, both likelihoods in HL7's mapping of certainties (C-CDA on FHIR).
_FINDINGS = {
    COVID19: CodedConcept("840539006", "SCT", "COVID-19"),
    NOT_COVID19: CodedConcept("not-covid-19", _OWN, "Not COVID-19"),
    NORMAL: CodedConcept.from_code(codes.SCT.Normal),
    BACTERIAL_PNEUMONIA: CodedConcept("53084003", "SCT", "Bacterial pneumonia"),
}
_CHEST_XRAY = CodedConcept("399208008", "SCT", "Plain chest X-ray")
_LIKELIHOOD = CodedConcept("likelihood", _OWN, "Likelihood according to the algorithm")
_LIKELY = CodedConcept("2931005", "SCT", "Probable diagnosis")
_UNLIKELY = CodedConcept("385434005", "SCT", "Improbable diagnosis")
_UNDECIDED = CodedConcept.from_code(codes.SCT.Indeterminate)
_PROBABILITY = codes.DCM.CertaintyOfFinding  # "0 equals no certainty and 100 equals certainty" (PS3.16 Annex D)
_THRESHOLD = codes.DCM.ThresholdValue
_PERCENT = codes.UCUM.Percent
_IN_LUNGS = CodedConcept("in-lungs", _OWN, "Share of the evidence in the lungs")
_MAIN_ZONE = CodedConcept("main-zone", _OWN, "Zone with most of the evidence")
_ZONES = {zone: CodedConcept(zone.replace(" ", "-"), _OWN, zone.capitalize()) for zone in ZONES}
_ZONE_SHARES = {
    zone: CodedConcept(f"share-{zone.replace(' ', '-')}", _OWN, f"Share of the evidence in the {zone}")
    for zone in ZONES
}


def structured_report(subject: Subject) -> Comprehensive3DSR:
    """Write an answer as a structured report, partial, preliminary and unverified, in a series of its own."""
    answer = subject.answer
    texts = [NOTICE, *answer_lines(answer), *remarks(answer), *subject.source.notes, provenance_line(answer)]
    report = MeasurementReport(
        observation_context=_observer(subject),
        procedure_reported=_CHEST_XRAY,
        imaging_measurements=[_group(subject, name) for name in answer.task.classes],
        title=codes.DCM.ImagingMeasurementReport,
    )
    report[0].ContentSequence.extend(
        TextContentItem(codes.DCM.Comment, text, RelationshipTypeValues.CONTAINS) for text in texts
    )
    return Comprehensive3DSR(
        evidence=[subject.image],
        content=report,
        is_complete=False,
        is_final=False,
        is_verified=False,
        coding_schemes=[CodingSchemeIdentificationItem(_OWN, name=MANUFACTURER)],
        **subject.common("sr"),
    )


def _observer(subject: Subject) -> ObservationContext:
    model = subject.answer.analysis.model
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid(model.sha256, "device"),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=model.name,
        serial_number=model.sha256,
    )
    return ObservationContext(ObserverContext(codes.DCM.Device, device))


def _algorithm(subject: Subject) -> AlgorithmIdentification:
    """TID 4019: the weights are named by their hash, with what turned a probability into a decision."""
    answer, model = subject.answer, subject.answer.analysis.model
    parameters = [f"weights SHA-256 {model.sha256}", f"mode {answer.task.mode}"]
    if (point := answer.operating_point) is not None:
        parameters.append(f"operating point {point.name}, threshold {point.threshold}")
    return AlgorithmIdentification(
        name=model.name, version=model.version, parameters=parameters, manufacturer=MANUFACTURER
    )


def _group(subject: Subject, name: str) -> MeasurementsAndQualitativeEvaluations:
    """What is told of one class."""
    answer, source = subject.answer, subject.source.dataset
    shares, zones = _located(answer.evidence) if name == answer.target_class else ([], [])
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            subject.identity.instance_uid(f"finding {name}"), f"{words.CLASSES[name]}, {answer.task.mode}"
        ),
        finding_type=_FINDINGS[name],
        algorithm_id=_algorithm(subject),
        measurements=[*_probability(subject, name), *shares],
        qualitative_evaluations=[QualitativeEvaluation(_LIKELIHOOD, _likelihood(subject, name)), *zones],
        source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
    )


def _probability(subject: Subject, name: str) -> Iterator[Measurement]:
    answer = subject.answer
    yield Measurement(_PROBABILITY, 100 * answer.probabilities[name], _PERCENT)
    if (point := answer.operating_point) is not None and name == COVID19:
        yield Measurement(_THRESHOLD, 100 * point.threshold, _PERCENT)


def _likelihood(subject: Subject, name: str) -> CodedConcept:
    decision = subject.answer.decision
    if decision == INDETERMINATE:
        return _UNDECIDED
    return _LIKELY if name == decision else _UNLIKELY


def _located(summary: EvidenceSummary) -> tuple[list[Measurement], list[QualitativeEvaluation]]:
    """Where the evidence lies: its shares and its main zones; nothing where it is faint, or none lies in the lungs."""
    if summary.in_lung_fraction is None or summary.faint:
        return [], []
    shares = [(_IN_LUNGS, summary.in_lung_fraction), *((_ZONE_SHARES[zone], n) for zone, n in summary.zones.items())]
    return (
        [Measurement(name, 100 * share, _PERCENT) for name, share in shares],
        [QualitativeEvaluation(_MAIN_ZONE, _ZONES[zone]) for zone in main_zones(summary)],
    )
