"""A DICOM node: takes images by C-STORE, analyses those that are frontal chest X-rays, sends the results back.

This is how systems in a hospital are connected: the modality or the archive routes images here, and nobody clicks. An
image is on the disk before its C-STORE is answered; see `detector.pacs.spool`. The network runs in this process, what
comes over the wire is decoded in others (`detector.read.sandbox`).
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import ssl
import threading
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when it is imported
    Comprehensive3DSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
    Verification,
)

from detector.answers.answer import answer
from detector.answers.pipeline import analyse
from detector.errors import RejectedError
from detector.pacs.selection import check_source
from detector.pacs.spool import ANALYSED, RECEIVED, NoRoomError
from detector.read.dicom import DECODED_SYNTAXES
from detector.read.image_io import MAX_DICOM_BYTES
from detector.read.sandbox import read_source
from detector.report.dicom import ENDINGS, write_results

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pynetdicom.association import Association
    from pynetdicom.events import Event

    from detector.answers.answer import Question
    from detector.model.engine import Engine
    from detector.pacs.spool import Item, Spool

_LOG = logging.getLogger(__name__)

_SUCCESS, _OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000  # PS3.4 table B.2-1
_ASSOCIATIONS = 16  # at once, each with one image in memory
_SLACK = 2**20  # bytes of protocol around an image
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 900.0  # seconds between attempts to send
_NETWORK_SECONDS = 30.0
_SENDERS = 2  # associations at once: one waits for the archive more than it sends
_ATTEMPTS = 3  # to analyse an image over which something fails unexpectedly
_RESULT_CLASSES = (
    Comprehensive3DSRStorage, SecondaryCaptureImageStorage, GrayscaleSoftcopyPresentationStateStorage,
)  # fmt: skip
_IDLE = 1.0  # seconds between looks for work whose time has come


@dataclass(frozen=True)
class Peer:
    """An application entity on the network, ``AET@host:port``."""

    title: str
    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether it is on this computer."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a name or address is this computer's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Allowed:
    """Who may send: an AE title, from one address or from any."""

    title: str
    address: str | None = None


@dataclass(frozen=True)
class Settings:
    """How a node is run.

    Attributes:
        title: its own AE title.
        host: address that it listens on.
        port: of it; 0 for any that is free.
        store_to: where results go.
        question: what is asked of every image.
        allowed: who may send; empty for everyone who reaches the port.
        excluded: file of patient IDs, one a line, that are left out; read anew for each image.
        workers: images that are analysed at once.
        server_tls: for those who send to it; None for none.
        client_tls: for where results go; None for none.
    """

    title: str
    host: str
    port: int
    store_to: Peer
    question: Question
    allowed: tuple[Allowed, ...] = ()
    excluded: Path | None = None
    workers: int = 3
    server_tls: ssl.SSLContext | None = field(default=None, repr=False)
    client_tls: ssl.SSLContext | None = field(default=None, repr=False)


def tls_contexts(certificate: Path, key: Path, authority: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts for serving and for sending; both sides show a certificate of the authority (PS3.15 B.9).

    Raises:
        OSError: if a file can't be read, or is no certificate or key.
    """
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    for context in (server, client):
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_REQUIRED
    return server, client


class Node:
    """Receives, analyses and sends until it is stopped.

    Args:
        settings: how it is run.
        engine: the network.
        spool: what it owns on the disk; unfinished work in it is taken up.

    Attributes:
        port: that it listens on, once started.
    """

    def __init__(self, settings: Settings, engine: Engine, spool: Spool) -> None:
        self._settings, self._engine, self._spool = settings, engine, spool
        self._stopping = threading.Event()
        self._taken: dict[Association, int] = {}
        self._threads = [threading.Thread(target=self._analyse_all, daemon=True) for _ in range(settings.workers)]
        self._threads += [threading.Thread(target=self._send_all, daemon=True) for _ in range(_SENDERS)]
        self._server: Any = None
        self.port = settings.port

    def start(self) -> None:
        """Begin to listen, and take up what an earlier run has left.

        Raises:
            OSError: if the address can't be listened on.
        """
        entity = AE(self._settings.title)
        entity.maximum_associations = _ASSOCIATIONS
        entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = _NETWORK_SECONDS
        entity.require_called_aet = True
        entity.require_calling_aet = sorted({sender.title for sender in self._settings.allowed})
        entity.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            if context.abstract_syntax is not None:
                entity.add_supported_context(context.abstract_syntax, sorted(DECODED_SYNTAXES))
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_DATA_RECV, self._on_bytes),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_CONN_CLOSE, self._on_closed),
        ]
        self._server = entity.start_server(
            (self._settings.host, self._settings.port),
            block=False,
            evt_handlers=handlers,
            ssl_context=self._settings.server_tls,
        )
        self.port = self._server.server_address[1]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Accept nothing more and finish what is under way; the rest waits on the disk."""
        self._stopping.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
        with self._spool.change:
            self._spool.change.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_NETWORK_SECONDS)

    def _on_requested(self, event: Event) -> None:
        """Refuse an address that is not the one of its title; unknown titles pynetdicom refuses itself."""
        requestor = event.assoc.requestor
        request = requestor.primitive
        title, address = request.calling_ae_title.strip() if request else "", str(requestor.address)
        known = [sender for sender in self._settings.allowed if sender.title == title]
        if known and not any(sender.address in {None, address} for sender in known):
            self._spool.audit("refused", "", calling=title, address=address)
            event.assoc.acse.send_reject(0x01, 0x01, 0x03)  # permanent, by the user, calling title not recognised
            event.assoc.kill()
        elif self._settings.allowed and not known:
            self._spool.audit("refused", "", calling=title, address=address)

    def _on_bytes(self, event: Event) -> None:
        """End an association whose one image is larger than any: it is held in memory until it is whole."""
        taken = self._taken.get(event.assoc, 0) + len(event.data)
        self._taken[event.assoc] = taken
        if taken > MAX_DICOM_BYTES + _SLACK:
            self._spool.audit("refused", "", reason="too_large")
            event.assoc.abort()

    def _on_closed(self, event: Event) -> None:
        self._taken.pop(event.assoc, None)

    def _on_store(self, event: Event) -> int:
        """Bring an image to the disk, then say so."""
        self._taken[event.assoc] = 0
        requestor = event.assoc.requestor
        instance = str(getattr(event.request, "AffectedSOPInstanceUID", ""))
        try:
            data_set = event.encoded_dataset(include_meta=False)
            data = event.encoded_dataset(include_meta=True)
            about = {"calling": requestor.ae_title.strip(), "address": str(requestor.address)}
            self._spool.add(instance, hashlib.sha256(data_set).hexdigest(), data, **about)
        except NoRoomError as error:
            _LOG.error("An image was refused, there is no room: %s", error)
            return _OUT_OF_RESOURCES
        except Exception as error:  # noqa: BLE001 - whatever a damaged message raises, the next one must be taken
            _LOG.error("An image could not be taken in (%s).", type(error).__name__)
            return _CANNOT_UNDERSTAND
        return _SUCCESS

    def _analyse_all(self) -> None:
        while not self._stopping.is_set():
            item = self._spool.claim(RECEIVED)
            if item is None:
                self._spool.wait(_IDLE)
            else:
                self._analyse(item)

    def _analyse(self, item: Item) -> None:
        try:
            results = self._results(item)
        except RejectedError as error:
            _LOG.warning("%s passed over (%s): %s", item.instance, error.code, error.user_message)
            self._spool.passed_over(item, error.code)
        except Exception as error:  # noqa: BLE001 - one image must not end the node
            # Its message may quote the file, and the file names a patient; what is logged is the kind alone.
            _LOG.error("%s failed: %s", item.instance, type(error).__name__)
            if item.attempts + 1 < _ATTEMPTS:
                self._spool.retry(item, _pause(item.attempts))
            else:
                self._spool.failed(item, type(error).__name__)
        else:
            self._keep(item, results)

    def _keep(self, item: Item, results: dict[str, bytes]) -> None:
        try:
            self._spool.analysed(item, results)
        except OSError as error:
            _LOG.error("%s: the results cannot be written: %s", item.instance, error)
            self._spool.retry(item, _pause(item.attempts))

    def _results(self, item: Item) -> dict[str, bytes]:
        data = self._spool.data(item)
        source = read_source(data)
        check_source(source, self._excluded())
        analysis = analyse(data, self._engine)
        return write_results(answer(analysis, self._settings.question), source)

    def _excluded(self) -> frozenset[str]:
        """Patient IDs of the list as it is now. A list that can't be read stops the analysis: nobody is forgotten."""
        if self._settings.excluded is None:
            return frozenset()
        lines = self._settings.excluded.read_text(encoding="utf-8").splitlines()
        return frozenset(line.strip() for line in lines if line.strip())

    def _send_all(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            item = self._spool.claim(ANALYSED)
            if item is None:
                self._spool.wait(_IDLE)
                continue
            if self._send_from(item):
                failures = 0
                continue
            pause = _pause(failures)
            failures += 1
            _LOG.warning("%s does not take results; next attempt in %.0f s", self._settings.store_to.title, pause)
            self._stopping.wait(pause)

    def _send_from(self, item: Item | None) -> bool:
        """Send results over one association for as long as there are any; returns whether all were taken."""
        peer = self._settings.store_to
        entity = AE(self._settings.title)
        entity.network_timeout = entity.acse_timeout = entity.dimse_timeout = _NETWORK_SECONDS
        contexts = [build_context(uid) for uid in _RESULT_CLASSES]
        tls = (self._settings.client_tls, peer.host) if self._settings.client_tls else None
        association = entity.associate(peer.host, peer.port, contexts, ae_title=peer.title, tls_args=tls)
        if not association.is_established:
            if item is not None:
                self._spool.release(item)
            return False
        try:
            while item is not None:
                if not self._send(association, item):
                    return False
                item = None if self._stopping.is_set() else self._spool.claim(ANALYSED)
        finally:
            association.release()
        return True

    def _send(self, association: Association, item: Item) -> bool:
        """Send the results of one image; any status but success leaves them for later."""
        try:
            for kind, result in self._spool.results(item, ENDINGS).items():
                status = association.send_c_store(dcmread(BytesIO(result))).get("Status", None)
                if status is None or (status != _SUCCESS and status >> 12 != 0xB):  # Bxxx: stored, with a warning
                    self._spool.audit("not taken", item.instance, kind=kind, status=f"{status or 0:04X}")
                    self._spool.retry(item, _pause(item.attempts))
                    return False
        except Exception as error:  # noqa: BLE001 - one image must not end the node
            _LOG.error("%s could not be sent: %s", item.instance, type(error).__name__)
            self._spool.retry(item, _pause(item.attempts))
            return False
        peer = self._settings.store_to
        self._spool.sent(item, to=f"{peer.title}@{peer.host}:{peer.port}")
        return True


def run_until(node: Node, stopped: Callable[[], bool], spool: Spool) -> None:
    """Let a started node work until it is told to stop."""
    while not stopped():
        spool.wait(_IDLE)
    node.stop()


def _pause(attempts: int) -> float:
    return float(min(_FIRST_PAUSE * 2**attempts, _LONGEST_PAUSE))
