"""A hospital's own calibration on the page: dropped among the X-rays, or the one that this computer is set to."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.errors import DetectorError, SiteError
from detector.ui.names import escaped, visible
from detector.ui.session import session
from detector.ui.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from detector.answers.site import Site
    from detector.model.card import ModelCard

SETTING = "CXR_SITE"  # environment, or the page's secrets: path of the site file that every session begins with
_ENDING = ".json"  # what no X-ray is called; by content a site file would be an unknown format among others


def without_sites(sources: Iterable[Source]) -> list[Source]:
    """The X-rays of what was dropped; site files are kept for `chosen`, the last one that came."""
    now, rest = session(), []
    for source in sources:
        if not source.name.lower().endswith(_ENDING):
            rest.append(source)
        elif source.identifier not in now.sites_taken:
            now.sites_taken.add(source.identifier)
            now.site_waiting = source
    return rest


def chosen(card: ModelCard) -> Site | None:
    """The calibration that this session's answers go by: what was dropped last, or else what the computer is set to.

    A file that is rejected changes nothing but `Session.site_note`.
    """
    now = session()
    if not now.site_set:
        now.site_set = True
        setting = _setting()
        if setting:
            now.site_waiting = now.site_waiting or Source("setting", words.SITE_SETTING, partial(_read, Path(setting)))
    waiting, now.site_waiting = now.site_waiting, None
    if waiting is not None:
        from detector.answers.site import read_site  # noqa: PLC0415 - with what handles arrays

        try:
            now.site, now.site_note = read_site(waiting.read(), card), ""
        except DetectorError as error:
            now.site_note = words.SITE_REJECTED.format(name=waiting.name, reason=error.user_message)
    return now.site


def render_note() -> None:
    """Why a site file was not taken, where one was not."""
    if session().site_note:
        st.error(escaped(visible(session().site_note)), icon=":material/domain_disabled:")


def render_removal() -> None:
    """The button that goes back to the network's own calibration."""
    site = session().site
    if site is not None:
        label = words.SITE_REMOVE.format(name=escaped(visible(site.name)))
        st.button(label, help=words.SITE_REMOVE_HELP, icon=":material/domain_disabled:", key="no_site", on_click=_leave)


def _leave() -> None:
    session().site = None


def _setting() -> str | None:
    """The setting's value; Streamlit complains of secrets that nobody has."""
    if SETTING in os.environ or not any(Path(path).exists() for path in st.get_option("secrets.files")):
        return os.environ.get(SETTING)
    found = st.secrets.get(SETTING)
    return str(found) if found else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SiteError(f"{path} cannot be read: {error}.") from error
