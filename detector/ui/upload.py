"""Where pictures come from: the upload, the published samples, the examples."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from detector import words
from detector.errors import SampleDownloadError, SampleNetworkError
from detector.paths import ASSETS
from detector.schema import BACTERIAL_PNEUMONIA, COVID19, NORMAL
from detector.ui import guard, samples, streamlit_private
from detector.ui.names import escaped
from detector.ui.session import Session, session
from detector.ui.sources import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamlit.typing import UploadedFile

_COMPOSITES = ASSETS / "composites"
_EXAMPLE_ORDER = (COVID19, BACTERIAL_PNEUMONIA, NORMAL)
_LIMIT = 64  # MB a file, as the configuration has it; a DICOM radiograph has 30


def render_upload() -> list[Source]:
    """The uploads and the samples button; returns what to analyse, in order of arrival, or the examples."""
    streamlit_private.keep_upload_addresses()
    now = session()
    files, folder = st.tabs([words.TAB_FILES, words.TAB_FOLDER])
    limit = guard.SESSION_BYTES // 2**30
    explanation = words.UPLOAD_HELP.format(gigabytes=limit)
    with files:
        uploads = _uploader(words.UPLOAD, explanation, f"uploads_{now.upload_round}", several=True)
    with folder:
        uploads += _uploader(words.UPLOAD_FOLDER, explanation, f"folder_{now.upload_round}", several="directory")
    if guard.BUDGET.has_refused(streamlit_private.session_id()):
        st.error(words.UPLOADS_FULL.format(gigabytes=limit), icon=":material/memory:")
    now.uploaded = _sources(uploads)
    found = [*now.kept, *now.uploaded, *_fetched(now)]
    _render_below(now, found)
    return found or examples()


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


def _uploader(label: str, explanation: str, key: str, *, several: bool | str) -> list:
    return list(
        st.file_uploader(label, accept_multiple_files=several, help=explanation, key=key, max_upload_size=_LIMIT)
    )


def _sources(uploads: Sequence[UploadedFile]) -> list[Source]:
    """What was uploaded, by the bytes that the server holds.

    Streamlit gives every run of the page a copy of every upload of its own; to hold on to that would double them.
    """
    held = streamlit_private.uploads([upload.file_id for upload in uploads])
    return [
        Source(upload.file_id, upload.name, partial(getattr, held[upload.file_id], "data"))
        for upload in uploads
        if upload.file_id in held
    ]


def _fetched(now: Session) -> list[Source]:
    return [Source(f"sample:{name}", name, lambda data=data: data) for name, data in now.samples]


def _render_below(now: Session, found: Sequence[Source]) -> None:
    """The buttons below the upload, and whose pictures are shown."""
    with st.container(horizontal=True, gap="small"):
        if now.samples:
            st.button(words.SAMPLES_REMOVE, icon=":material/close:", key="remove_samples", on_click=_remove_samples)
        else:
            wanted = st.button(words.SAMPLES, help=words.SAMPLES_HELP, icon=":material/download:", key="samples")
            if wanted:
                _fetch_samples(now)
                st.rerun()
        if now.opened in {source.identifier for source in now.kept}:  # the upload shows it no more, and can't remove it
            st.button(words.REMOVE, icon=":material/delete:", key="remove", on_click=_remove_opened)
        if found:
            st.button(words.CLEAR, icon=":material/delete_sweep:", key="clear", on_click=_clear)
    for sentence in now.sample_notes:
        st.error(sentence, icon=":material/cloud_off:")
    if now.samples:
        names = {name for name, _ in now.samples}
        credited = [escaped(_credit(s)) for s in samples.listed_samples() if s.file in names]
        st.caption(f"{words.SAMPLES_SHOWN}: {'; '.join(credited)}")
    if not found:
        st.caption(words.EXAMPLES)


def _remove_samples() -> None:
    now = session()
    now.samples, now.sample_notes = [], ()


def _remove_opened() -> None:
    now = session()
    now.kept, now.opened = [source for source in now.kept if source.identifier != now.opened], None


def _clear() -> None:
    """Empty the list; a new round gives new uploads, because an upload cannot be emptied from here."""
    now = session()
    now.kept, now.uploaded, now.opened = [], [], None
    now.upload_round += 1
    _remove_samples()


def _fetch_samples(now: Session) -> None:
    """Fetch what can be fetched, and note what can't."""
    fetched, notes = [], {}
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


def _credit(sample: samples.Sample) -> str:
    return f"{sample.file} ({words.CLASSES[sample.label]}, {sample.licence})"
