"""Which images of an archive are for this network: frontal chest X-rays, as far as a header tells.

What a header leaves open the gate decides by the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector.errors import ExcludedError, NotFrontalError, OtherBodyPartError

if TYPE_CHECKING:
    from collections.abc import Collection

    from detector.read.source import SourceHeader

_CHEST = ("CHEST", "THORAX", "LUNG")  # PS3.16 annex L, and the words that devices put around them
_FRONTAL = ("PA", "AP")  # PS3.3 C.8.11.5.1.1; also "AP SUPINE" and the like


def check_source(source: SourceHeader, excluded: Collection[str] = ()) -> None:
    """Reject an image that its header says is not for this network, or is of an excluded patient ID.

    Raises:
        RejectedError: one of its children that are imported here.
    """
    if source.patient_id and source.patient_id in excluded:
        raise ExcludedError("The patient is on the exclusion list.")
    view, part = (str(source.dataset.get(keyword, "")) for keyword in ("ViewPosition", "BodyPartExamined"))
    if view and not view.startswith(_FRONTAL):
        raise NotFrontalError("(0018,5101) View Position names another view.")
    if part and not any(word in part for word in _CHEST):
        raise OtherBodyPartError("(0018,0015) Body Part Examined names another part.")
