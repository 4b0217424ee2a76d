"""Where pictures come from: the upload, the published samples, the examples."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, cast

import streamlit as st

from detector import words
from detector.errors import SampleDownloadError, SampleNetworkError
from detector.paths import ASSETS
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, NORMAL
from detector.ui import guard, samples, site_view, streamlit_private
from detector.ui.names import escaped
from detector.ui.session import Session, session
from detector.ui.sources import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamlit.typing import UploadedFile

_COMPOSITES = ASSETS / "composites"
_EXAMPLE_ORDER = (COVID19, BACTERIAL_PNEUMONIA, NORMAL)
_LIMIT = 64  # MB a file, as the configuration has it; a DICOM radiograph has 30
_COMPACT = ASSETS / "upload_compact.css"


def render_upload() -> list[Source]:
    """The uploads and what can be done with the list; returns what to analyse, in order of arrival, or the examples."""
    streamlit_private.keep_upload_addresses()
    streamlit_private.copy_no_upload()
    now = session()
    limit = guard.SESSION_BYTES // 2**30
    explanation = words.UPLOAD_HELP.format(gigabytes=limit)
    uploads = _uploader(words.UPLOAD, explanation, f"uploads_{now.upload_round}", several=True)
    uploads += _uploader(words.UPLOAD_FOLDER, explanation, f"folder_{now.upload_round}", several="directory")
    listed = [source for source in _sources(uploads) if source.identifier not in now.removed]
    now.uploaded = site_view.without_sites(listed)
    fetched = [Source(f"sample:{name}", name, partial(bytes, data)) for name, data in now.samples]
    found = [*now.kept, *now.uploaded, *fetched]
    _render_more(now, found)
    st.html(_style(compact=bool(found)))
    if guard.BUDGET.has_refused(streamlit_private.session_id()):
        st.error(words.UPLOADS_FULL.format(gigabytes=limit), icon=":material/memory:")
    for sentence in now.sample_notes:
        st.error(sentence, icon=":material/cloud_off:")
    return found or examples()


def enter(page: str) -> None:
    """Remember the uploads of the page that the reader comes from; to be called by every page that has an upload."""
    now = session()
    if now.page not in {"", page}:
        keep_uploads()
    now.page = page


def keep_uploads() -> None:
    """Remember the uploads while another page is shown: the upload itself forgets them."""
    now = session()
    now.kept += now.uploaded
    now.uploaded = []


def examples() -> list[Source]:
    """The composites that the page opens with."""
    return [
        Source(f"example:{label}", words.EXAMPLE_NAMES[label], (_COMPOSITES / f"{label}.png").read_bytes)
        for label in _EXAMPLE_ORDER
    ]


def _uploader(label: str, explanation: str, key: str, *, several: Literal[True, "directory"]) -> list[UploadedFile]:
    found = st.file_uploader(label, accept_multiple_files=several, help=explanation, key=key, max_upload_size=_LIMIT)
    return list(cast("Sequence[UploadedFile]", found))


def _style(*, compact: bool) -> str:
    """Words for the buttons, which can't be given any; once files are there the upload is a button itself."""
    more = _COMPACT.read_text(encoding="utf-8") if compact else ""
    folder = words.FOLDER if compact else words.UPLOAD_FOLDER
    return f'<style>:root {{ --word-add: "{words.ADD}"; --word-folder: "{folder}"; }} {more}</style>'


def _sources(uploads: Sequence[UploadedFile]) -> list[Source]:
    """What was uploaded, by the bytes that the server holds: what the upload itself gives has none."""
    held = streamlit_private.uploads([upload.file_id for upload in uploads])
    return [
        Source(upload.file_id, upload.name, partial(getattr, held[upload.file_id], "data"))
        for upload in uploads
        if upload.file_id in held
    ]


def _render_more(now: Session, found: Sequence[Source]) -> None:
    """What else can be done with the list."""
    with st.popover(words.MORE, icon=":material/more_horiz:", key="more"):
        if now.opened in {source.identifier for source in found}:
            st.button(
                words.REMOVE, help=words.REMOVE_HELP, icon=":material/delete:", key="remove", on_click=_remove_opened
            )
        if found:
            st.button(words.CLEAR, icon=":material/delete_sweep:", key="clear", on_click=_clear)
        if now.samples:
            st.button(words.SAMPLES_REMOVE, icon=":material/close:", key="remove_samples", on_click=_remove_samples)
            names = {name for name, _ in now.samples}
            credited = [
                escaped(f"{sample.file} ({words.CLASSES[sample.label]}, {sample.licence})")
                for sample in samples.listed_samples()
                if sample.file in names
            ]
            st.caption(f"{words.SAMPLES_SHOWN}: {'; '.join(credited)}")
        elif st.button(words.SAMPLES, help=words.SAMPLES_HELP, icon=":material/download:", key="samples"):
            _fetch_samples(now)
            st.rerun()
        site_view.render_removal()
        if not found:
            st.caption(words.EXAMPLES)


def _remove_samples() -> None:
    now = session()
    now.samples, now.sample_notes = [], ()


def _remove_opened() -> None:
    """Take the open file off the list and out of memory."""
    now = session()
    opened, now.opened = now.opened, None
    if opened is None:
        return
    now.kept = [source for source in now.kept if source.identifier != opened]
    now.samples = [(name, data) for name, data in now.samples if f"sample:{name}" != opened]
    now.removed.add(opened)
    streamlit_private.forget_upload(opened)


def _clear() -> None:
    """Empty the list; a new round gives new uploads, because an upload cannot be emptied from here."""
    now = session()
    now.kept, now.uploaded, now.opened = [], [], None
    now.removed.clear()
    now.upload_round += 1
    _remove_samples()


def _fetch_samples(now: Session) -> None:
    """Fetch what can be fetched, and note what can't."""
    fetched: list[tuple[str, bytes]] = []
    notes: dict[str, None] = {}
    with st.spinner(words.SAMPLES_FETCHING):
        for sample in samples.listed_samples():
            try:
                fetched.append((sample.file, samples.fetch(sample)))
            except SampleNetworkError as error:  # the other addresses would keep the reader waiting as long
                notes[error.user_message] = None
                break
            except SampleDownloadError as error:
                notes[error.user_message] = None
    now.samples, now.sample_notes = fetched, tuple(notes)
