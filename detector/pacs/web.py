"""An archive's DICOMweb: find X-rays, fetch them, store results; nothing that is there already is stored again.

Names and passwords come from the environment, or from the page's secrets: a command line is seen by everyone on the
computer. What goes wrong is said without an address's query or an attribute's value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from requests.auth import AuthBase, HTTPBasicAuth

from detector.errors import DetectorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from requests import PreparedRequest

USER, PASSWORD, TOKEN = "CXR_PACS_USER", "CXR_PACS_PASSWORD", "CXR_PACS_TOKEN"
_SECONDS = (5.0, 60.0)  # to connect, and between two pieces of an answer
_ATTEMPTS = 4
_PAGE = 100  # instances a query
_FIELDS = ("SeriesDate", "BodyPartExamined", "ViewPosition", "StationName", "StudyDate", "Modality", "NumberOfFrames")


class ArchiveError(DetectorError):
    """The archive does not answer, or answers with an error."""

    code = "archive"
    user_message = "The archive does not answer. Check its address, and that it is running."


class ArchiveRefusedError(ArchiveError):
    """The archive refused the credentials."""

    code = "archive_refused"
    user_message = (
        "The archive refuses access. Check CXR_PACS_USER and CXR_PACS_PASSWORD, or CXR_PACS_TOKEN, in the environment."
    )


@dataclass(frozen=True)
class Credentials:
    """Credentials; empty for archives that ask for none."""

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Credentials:
        """A token goes before a user's password."""
        return cls(*(environment.get(name, "") for name in (USER, PASSWORD, TOKEN)))


@dataclass(frozen=True)
class Wanted:
    """What to look for; empty fields match everything.

    Attributes:
        date: of the study, ``20260131`` or ``20260101-20260131``.
        modality: ``"CR"``, ``"DX"`` or both where empty.
        body_part: (0018,0015).
        view: (0018,5101).
        station: (0008,1010).
    """

    date: str = ""
    modality: str = ""
    body_part: str = ""
    view: str = ""
    station: str = ""


@dataclass(frozen=True)
class Found:
    """One image of the archive, by its identifiers.

    Attributes:
        study: Study Instance UID.
        series: Series Instance UID.
        instance: SOP Instance UID.
        date: of the study.
        modality: (0008,0060).
        body_part: (0018,0015).
        view: (0018,5101).
        station: (0008,1010).
    """

    study: str
    series: str
    instance: str
    date: str = ""
    modality: str = ""
    body_part: str = ""
    view: str = ""
    station: str = ""


class Archive:
    """A DICOMweb service. Thread-safe for reading.

    Args:
        url: of the service, without a user's name in it.
        credentials: how to be let in.

    Raises:
        ValueError: if the address is none, or holds a password.
    """

    def __init__(self, url: str, credentials: Credentials) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = "url must be http(s)://HOST[:PORT]/PATH."
            raise ValueError(msg)
        if parts.username or parts.password or parts.query:
            msg = f"url must hold no user and no password: they are read from {USER} and {PASSWORD}, or {TOKEN}."
            raise ValueError(msg)
        self.url = url.rstrip("/")
        session = requests.Session()
        session.trust_env = False  # no proxy and no .netrc: images go to the named address alone
        session.auth = _Access(credentials)
        self._client = DICOMwebClient(self.url, session=session, timeout=_SECONDS)
        self._client.set_http_retry_params(retry=True, max_attempts=_ATTEMPTS)

    def find(self, wanted: Wanted) -> Iterator[Found]:
        """Every image that matches (QIDO-RS, PS3.18 section 10.6), series by series.

        Raises:
            ArchiveError: if the archive does not answer.
        """
        for modality in (wanted.modality,) if wanted.modality else ("CR", "DX"):
            filters = {
                "Modality": modality,
                "StudyDate": wanted.date,
                "BodyPartExamined": wanted.body_part,
                "StationName": wanted.station,
            }
            for series in self._series({name: value for name, value in filters.items() if value}):
                study, uid = _value(series, "0020000D"), _value(series, "0020000E")
                with _Trouble():
                    instances = self._client.search_for_instances(study, uid, fields=_FIELDS, get_remaining=True)
                for instance in instances:
                    found = Found(
                        study,
                        uid,
                        _value(instance, "00080018"),
                        _value(series, "00080020") or _value(instance, "00080020"),
                        modality,
                        *(_value(instance, tag) or _value(series, tag) for tag in ("00180015", "00185101", "00081010")),
                    )
                    if wanted.view in {"", found.view}:
                        yield found

    def holds(self, study: str, instance: str) -> bool:
        """Whether a study has an instance.

        Raises:
            ArchiveError: if the archive does not answer.
        """
        with _Trouble():
            found = self._client.search_for_instances(study, search_filters={"SOPInstanceUID": instance}, limit=1)
        return any(_value(item, "00080018") == instance for item in found)

    def patient_name(self, study: str) -> str:
        """Whose study it is; for a reader's screen, and never for a file or a log.

        Raises:
            ArchiveError: if the archive does not answer.
        """
        with _Trouble():
            found = self._client.search_for_studies(
                search_filters={"StudyInstanceUID": study}, fields=("PatientName",), limit=1
            )
            value = next(iter(found[0].get("00100010", {}).get("Value") or [{}])) if found else {}
            return " ".join(str(value.get("Alphabetic", "")).replace("^", " ").split())

    def fetch(self, found: Found) -> bytes:
        """An image's file (WADO-RS, PS3.18 section 10.4).

        Raises:
            ArchiveError: if the archive does not answer.
        """
        with _Trouble():
            # Any transfer syntax, as the archive holds it: what is not decoded here is refused by name.
            dataset = self._client.retrieve_instance(
                found.study, found.series, found.instance, media_types=(("application/dicom", "*"),)
            )
            file = BytesIO()
            dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()

    def store(self, files: Mapping[str, bytes]) -> None:
        """Store results (STOW-RS, PS3.18 section 10.5).

        Raises:
            ArchiveError: if the archive does not take all of them.
        """
        with _Trouble():
            reply = self._client.store_instances([dcmread(BytesIO(data)) for data in files.values()])
        if len(reply.get("FailedSOPSequence") or []):
            raise ArchiveError("The archive did not take every result.")

    def _series(self, filters: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Series that match, asked for page by page."""
        offset = 0
        while True:
            with _Trouble():
                page = self._client.search_for_series(
                    search_filters=dict(filters), fields=_FIELDS, limit=_PAGE, offset=offset
                )
            yield from page
            if len(page) < _PAGE:
                return
            offset += len(page)


class _Access(AuthBase):
    """Adds the credentials to each request."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        given = self._credentials
        if given.token:
            request.headers["Authorization"] = f"Bearer {given.token}"
        elif given.user:
            HTTPBasicAuth(given.user, given.password)(request)
        return request


class _Trouble:
    """Turns what the client raises into our error; its message may hold an address with a query."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, requests.HTTPError):
            status = error.response.status_code if error.response is not None else 0
            if status in {requests.codes["unauthorized"], requests.codes["forbidden"]}:
                raise ArchiveRefusedError(f"The archive answers with status {status}.") from None
            raise ArchiveError(f"The archive answers with status {status}.") from None
        if isinstance(error, requests.RequestException):
            raise ArchiveError(f"The archive cannot be reached ({type(error).__name__}).") from None
        if isinstance(error, Exception) and not isinstance(error, DetectorError):
            raise ArchiveError(f"The archive's answer cannot be read ({type(error).__name__}).") from None


def _value(item: Mapping[str, Any], tag: str) -> str:
    """The first value of an attribute in DICOM JSON (PS3.18 section F.2)."""
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])
