"""What the page holds of the hospital's archive: what was found, what came of it; patients' names are never printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from detector.pacs.web import Found


@dataclass(frozen=True)
class Listed:
    """One X-ray of the list.

    Attributes:
        found: its identifiers.
        patient: the patient's name, for this page alone.
    """

    found: Found
    patient: str = field(repr=False)


@dataclass
class Answered:
    """What came of one X-ray.

    Attributes:
        said: the answer, or why there is none, in one sentence.
        results: kind to bytes of its DICOM objects, until they are sent; empty without an answer.
        sent: what was sent back and when, in one sentence.
    """

    said: str
    results: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    sent: str = ""


@dataclass
class Desk:
    """What the page holds for one session.

    Attributes:
        listed: what the last search found.
        are_more: whether it found more than is listed.
        answered: by SOP Instance UID.
    """

    listed: list[Listed] = field(default_factory=list)
    are_more: bool = False
    answered: dict[str, Answered] = field(default_factory=dict)
