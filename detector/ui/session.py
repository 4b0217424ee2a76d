"""What the page remembers between reruns of one browser session."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, cast

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Hashable

    from detector.answers.site import Site
    from detector.run.blind import BlindRead
    from detector.schema import Stability
    from detector.ui.analyst import Analyst
    from detector.ui.greyscale import Greyscale
    from detector.ui.pacs_desk import Desk
    from detector.ui.screen import Look
    from detector.ui.sources import Source


@dataclass
class Session:
    """One browser session.

    Attributes:
        kept: files that were uploaded before the reader went to another page, where the upload forgets them.
        uploaded: files that are in the upload now.
        removed: identifiers of uploads that the reader has taken off the list; the upload itself still names them.
        upload_round: changes with "clear the list", which gives a new and empty upload.
        samples: fetched sample X-rays, name and bytes.
        sample_notes: why some samples could not be fetched.
        explained: image (`Case.screen_key`) and task to the class that the reader wants explained, and the one that it
            is contrasted with.
        greyscales: image to the window and level that the reader has set.
        opened: identifier of the file on the screen.
        turn: how often the reader has opened another file; the list in the browser counts as well, and is not taken
            back to what the server knew a moment before.
        stability: what the stability checks have measured, see `Case.stability_key`.
        accepted: whether the reader has read what this is not.
        site: the hospital's own calibration that answers go by; None for the network's.
        site_note: why a site file was not taken.
        site_waiting: a site file that has not been looked at.
        sites_taken: identifiers of the site files that have been dropped.
        site_set: whether the computer's setting has been looked at.
        pacs: what was found in the archive, patients' names included; None before anybody looked.
        page: the page that the uploads are on.
        blind: the blind read that is under way.
        blind_note: why its answers could not be written.
    """

    kept: list[Source] = field(default_factory=list)
    uploaded: list[Source] = field(default_factory=list)
    removed: set[str] = field(default_factory=set)
    upload_round: int = 0
    samples: list[tuple[str, bytes]] = field(default_factory=list)
    sample_notes: tuple[str, ...] = ()
    explained: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    greyscales: dict[str, Greyscale] = field(default_factory=dict)
    opened: str | None = None
    turn: int = 0
    stability: dict[Hashable, Stability] = field(default_factory=dict)
    accepted: bool = False
    site: Site | None = None
    site_note: str = ""
    site_waiting: Source | None = None
    sites_taken: set[str] = field(default_factory=set)
    site_set: bool = False
    pacs: Desk | None = None
    page: str = ""
    blind: BlindRead | None = None
    blind_note: str = ""

    @cached_property
    def look(self) -> Look:
        """How the map is drawn."""
        from detector.ui.screen import Look  # noqa: PLC0415 - with what handles arrays, see `detector.ui.room`

        return Look()

    @cached_property
    def analyst(self) -> Analyst:
        """Works through the files and keeps their results; made when it is first asked for, see `detector.ui.room`."""
        from detector.ui.analyst import Analyst  # noqa: PLC0415

        return Analyst()

    def take_over(self, other: Session) -> None:
        """Go on with a blind read of the same browser, whose page was loaded anew."""
        self.kept, self.blind, self.analyst = [*other.kept, *other.uploaded], other.blind, other.analyst
        self.site, self.site_set = other.site, other.site_set
        del other.analyst  # it is let go of with its session, and makes itself a new one
        other.kept, other.uploaded, other.blind = [], [], None

    def forget(self) -> None:
        """Let go of every picture and name: the session has ended."""
        self.analyst.forget()
        self.kept, self.uploaded, self.samples, self.sample_notes, self.opened = [], [], [], (), None
        self.site, self.site_note, self.site_waiting, self.blind = None, "", None, None
        self.pacs = None
        for remembered in (self.removed, self.explained, self.greyscales, self.stability):
            remembered.clear()


def session() -> Session:
    """The session of the browser that is being answered."""
    return cast("Session", st.session_state.setdefault("session", Session()))
