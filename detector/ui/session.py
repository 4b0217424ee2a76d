"""What the page remembers between reruns of one browser session."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Hashable

    from detector.schema import Stability
    from detector.ui.analyst import Analyst
    from detector.ui.sources import Source


@dataclass
class Session:
    """One browser session.

    Attributes:
        kept: files that were uploaded before the reader went to another page, where the upload forgets them.
        uploaded: files that are in the upload now.
        upload_round: changes with "clear the list", which gives a new and empty upload.
        samples: fetched sample X-rays, name and bytes.
        sample_notes: why some samples could not be fetched.
        targets: case and task to the class that the reader wants explained.
        opened: identifier of the file on the screen.
        stability: what the stability checks have measured, see `Case.stability_key`.
        accepted: whether the reader has read what this is not.
    """

    kept: list[Source] = field(default_factory=list)
    uploaded: list[Source] = field(default_factory=list)
    upload_round: int = 0
    samples: list[tuple[str, bytes]] = field(default_factory=list)
    sample_notes: tuple[str, ...] = ()
    targets: dict[tuple[str, str], str] = field(default_factory=dict)
    opened: str | None = None
    stability: dict[Hashable, Stability] = field(default_factory=dict)
    accepted: bool = False

    @cached_property
    def analyst(self) -> Analyst:
        """Works through the files and keeps their results; made when it is first asked for, see `detector.ui.room`."""
        from detector.ui.analyst import Analyst  # noqa: PLC0415

        return Analyst()

    def forget(self) -> None:
        """Let go of every picture and name: the session has ended."""
        self.analyst.forget()
        self.kept, self.uploaded, self.samples, self.sample_notes, self.opened = [], [], [], (), None
        self.targets.clear()
        self.stability.clear()


def session() -> Session:
    """The session of the browser that is being answered."""
    return st.session_state.setdefault("session", Session())
