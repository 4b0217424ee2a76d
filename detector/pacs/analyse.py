"""From an archive and back: find, fetch, analyse, store; images that already have results are skipped."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from pydicom import dcmread

from detector.answers.answer import NoAnswer, answer
from detector.answers.pipeline import analyse
from detector.pacs.selection import check_source
from detector.read.sandbox import read_source
from detector.report.dicom import write_results
from detector.report.dicom_common import identity
from detector.run.pool import in_order, never
from detector.schema import Correction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from detector.answers.answer import Answer, Question
    from detector.model.engine import Engine
    from detector.pacs.web import Archive, Found


@dataclass(frozen=True)
class Outcome:
    """What came of one image.

    Attributes:
        found: which one.
        status: ``"stored"``, ``"already there"``, ``"rejected"`` for a stated reason, or ``"error"``.
        decision: of the answer; None without one.
        code: of the reason; None with an answer.
        reason: in words; None with an answer.
    """

    found: Found
    status: Literal["stored", "already there", "rejected", "error"]
    decision: str | None = None
    code: str | None = None
    reason: str | None = None


def analyse_archive(
    archive: Archive,
    found: Iterable[Found],
    engine: Engine,
    question: Question,
    *,
    excluded: Collection[str] = (),
    stop: Callable[[], bool] = never,
) -> Iterator[Outcome]:
    """Analyse images of an archive, several side by side, and store their results there.

    A run that was ended can be begun again: identifiers follow from image, weights and question, so the archive knows
    what it holds.

    Args:
        archive: to fetch from and to store to.
        found: images of it.
        engine: the network.
        question: what is asked of each.
        excluded: patient IDs that are left out.
        stop: asked again and again; once it says so, no further image is begun.

    Yields:
        One outcome an image, in the order of the images.

    Raises:
        ArchiveError: if the archive can't be reached, or lets nobody in.
    """

    def work(item: Found) -> Outcome:
        uids = identity(item.instance, engine.card.sha256, question, Correction())
        if all(archive.holds(item.study, uids.instance_uid(kind)) for kind in ("sr", "sc", "pr")):
            return Outcome(item, "already there")
        data = archive.fetch(item)
        try:
            told, results = answer_dicom(data, engine, question, excluded)
        except Exception as error:  # noqa: BLE001 - one image must not end the run
            why = NoAnswer.of(error, name=item.instance)
            return Outcome(item, why.status, code=why.code, reason=why.reason)
        store_missing(archive, item.study, results)
        return Outcome(item, "stored", decision=told.decision)

    yield from in_order(work, found, stop=stop)


def answer_dicom(
    data: bytes, engine: Engine, question: Question, excluded: Collection[str] = ()
) -> tuple[Answer, dict[str, bytes]]:
    """Answer for a DICOM image, and the answer as DICOM.

    Raises:
        RejectedError: one of its children where there is no answer for a stated reason.
    """
    source = read_source(data)
    check_source(source, excluded)
    told = answer(analyse(data, engine), question)
    return told, write_results(told, source)


def store_missing(archive: Archive, study: str, results: Mapping[str, bytes]) -> int:
    """Store those of an image's results that its study does not hold; returns how many.

    Raises:
        ArchiveError: if the archive can't be reached, or does not take them.
    """
    missing = {
        kind: data
        for kind, data in results.items()
        if not archive.holds(study, str(dcmread(BytesIO(data), specific_tags=["SOPInstanceUID"]).SOPInstanceUID))
    }
    if missing:
        archive.store(missing)
    return len(missing)
