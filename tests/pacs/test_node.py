"""The node over the loopback interface, with a stand-in for the network: what it takes, keeps, sends and refuses."""

import hashlib
import json
import re
import ssl
import subprocess
import threading
import time
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from detector.answers.answer import Question
from detector.errors import SliceError
from detector.pacs import node as node_module
from detector.pacs.node import Allowed, Node, Peer, Settings, is_loopback, tls_contexts
from detector.pacs.spool import ANALYSED, FAILED, PASSED_OVER, RECEIVED, SENT, NoRoomError, Spool
from tests.conftest import make_dicom, program

SECONDS = 60.0
PIXELS = np.tile(np.arange(64, dtype=np.uint8), (64, 1))


def image(**elements):
    """A small computed radiograph with identifiers of its own, as a data set."""
    own = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "PatientName": "Secret^Name",
           "PatientID": "ID-4711"}  # fmt: skip
    return pydicom.dcmread(BytesIO(make_dicom(PIXELS, **(own | elements))))


class Archive:
    """Takes results, as many as it is told to refuse first; over TLS where it is given a context."""

    def __init__(self, tls=None):
        self.received, self.refuse = [], 0
        entity = AE("ARCHIVE")
        for uid in node_module._RESULT_CLASSES:
            entity.add_supported_context(uid)
        self.server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._on_store)], ssl_context=tls
        )
        self.peer = Peer("ARCHIVE", "127.0.0.1", self.server.server_address[1])

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            self.server = None

    def _on_store(self, event):
        if self.refuse:
            self.refuse -= 1
            return 0xA700
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000


@pytest.fixture
def archive():
    archive = Archive()
    yield archive
    archive.stop()


def small_results(_answer, source):
    """Three results without content, whose identifiers follow from the image's."""
    found = {}
    for kind, uid in zip(("sr", "sc", "pr"), node_module._RESULT_CLASSES, strict=True):
        result = pydicom.Dataset()
        result.file_meta = pydicom.dataset.FileMetaDataset()
        result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        result.SOPClassUID = uid
        digest = hashlib.sha256((source.sop_instance_uid + kind).encode()).hexdigest()
        result.SOPInstanceUID = f"2.25.{int(digest[:30], 16)}"
        file = BytesIO()
        result.save_as(file, enforce_file_format=True)
        found[kind] = file.getvalue()
    return found


@pytest.fixture
def answers(monkeypatch):
    """A stand-in for the network."""
    stand_in = SimpleNamespace(analyse=lambda _data, _engine: None, release=threading.Event())
    stand_in.release.set()

    def analyse(data, engine):
        stand_in.release.wait(SECONDS)
        return stand_in.analyse(data, engine)

    monkeypatch.setattr(node_module, "write_results", small_results)
    monkeypatch.setattr(node_module, "analyse", analyse)
    monkeypatch.setattr(node_module, "answer", lambda *_: None)
    monkeypatch.setattr(node_module, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(node_module, "_IDLE", 0.02)
    return stand_in


@pytest.fixture
def start(tmp_path, archive, answers):
    """Starts nodes on one spool; all are stopped at the end."""
    running = []

    def start(**settings):
        spool = Spool(tmp_path / "spool", least_free=0)
        chosen = {"title": "DETECTOR", "host": "127.0.0.1", "port": 0, "store_to": archive.peer, "question": Question()}
        node = Node(Settings(**(chosen | settings)), None, spool)
        node.start()
        running.append(node)
        return node, spool

    yield start
    answers.release.set()
    for node in running:
        node.stop()


def send(node, *data_sets, title="MODALITY", tls=None):
    """C-ECHO and C-STOREs over one association: the statuses, or None where the association is refused."""
    entity = AE(title)
    for uid in {str(d.SOPClassUID) for d in data_sets} | {str(Verification)}:
        entity.add_requested_context(uid, ExplicitVRLittleEndian)
    tls_args = (tls, "127.0.0.1") if tls else None
    association = entity.associate("127.0.0.1", node.port, ae_title="DETECTOR", tls_args=tls_args)
    if not association.is_established:
        return None
    statuses = [association.send_c_echo().Status, *(association.send_c_store(d).Status for d in data_sets)]
    association.release()
    return statuses


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def events(spool):
    return [json.loads(line) for line in (spool.folder / "audit.jsonl").read_text().splitlines()]


def test_an_image_is_taken_analysed_and_its_results_arrive(start, archive):
    node, spool = start()
    assert send(node, image()) == [0, 0]
    until(lambda: spool.counts() == {SENT: 1})
    assert len(set(archive.received)) == 3
    until(lambda: [event["event"] for event in events(spool)] == ["received", "analysed", "sent"])
    assert not list(spool.folder.glob("*.dcm")), "nothing of the patient stays"


def test_an_image_is_on_the_disk_before_it_is_answered(start, answers):
    answers.release.clear()
    node, spool = start()
    data_set = image()
    send(node, data_set)
    (path,) = spool.folder.glob("*.dcm")
    assert pydicom.dcmread(path).SOPInstanceUID == data_set.SOPInstanceUID


def test_a_second_copy_is_answered_and_not_analysed_again(start, archive):
    node, spool = start()
    data_set = image()
    assert send(node, data_set, data_set) == [0, 0, 0]
    until(lambda: spool.counts() == {SENT: 1})
    send(node, data_set)
    assert len(archive.received) == 3


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"ViewPosition": "LL"}, "view_position"),
        ({"BodyPartExamined": "HAND"}, "body_part"),
        ({"Modality": "CT", "SOPClassUID": CTImageStorage}, "unsupported_dicom"),
        ({"PatientID": "ID-13"}, "excluded"),
    ],
    ids=["lateral", "hand", "ct", "excluded"],
)
def test_everything_else_is_passed_over_with_a_reason(start, archive, tmp_path, elements, reason):
    (tmp_path / "excluded.txt").write_text("ID-13\n")
    node, spool = start(excluded=tmp_path / "excluded.txt")
    assert send(node, image(**elements)) == [0, 0]
    until(lambda: spool.counts() == {PASSED_OVER: 1})
    until(lambda: events(spool)[-1].get("reason") == reason)
    assert not archive.received


def test_what_the_gate_refuses_is_passed_over(start, answers, archive):
    def analyse(_data, _engine):
        raise SliceError

    answers.analyse = analyse
    node, spool = start()
    send(node, image())
    until(lambda: spool.counts() == {PASSED_OVER: 1})
    until(lambda: events(spool)[-1].get("reason") == "not_a_chest_xray")
    assert not archive.received


def test_a_damaged_object_is_passed_over_and_the_next_is_analysed(start, archive):
    damaged = image(SamplesPerPixel=3)
    node, spool = start()
    assert send(node, damaged, image()) == [0, 0, 0]
    until(lambda: spool.counts() == {SENT: 1, PASSED_OVER: 1})
    assert len(set(archive.received)) == 3


def test_an_unexpected_failure_is_tried_again_and_then_kept(start, answers):
    def analyse(_data, _engine):
        msg = "Secret^Name"
        raise RuntimeError(msg)

    answers.analyse = analyse
    node, spool = start()
    send(node, image())
    until(lambda: spool.counts() == {FAILED: 1})
    assert len(list(spool.folder.glob("*.dcm"))) == 1


def test_results_wait_for_an_archive_that_refuses(start, archive):
    archive.refuse = 4
    node, spool = start()
    send(node, image())
    until(lambda: spool.counts() == {SENT: 1})
    assert len(set(archive.received)) == 3
    assert "not taken" in {event["event"] for event in events(spool)}


def test_results_wait_for_an_archive_that_is_away_over_a_restart(start, archive):
    archive.stop()
    node, spool = start()
    send(node, image(), image())
    until(lambda: spool.counts() == {ANALYSED: 2})
    node.stop()
    back = Archive()
    try:
        _, spool = start(store_to=back.peer)
        until(lambda: spool.counts() == {SENT: 2})
        assert len(set(back.received)) == len(back.received) == 6
    finally:
        back.stop()


def test_titles_that_are_not_allowed_are_refused(start):
    node, spool = start(allowed=(Allowed("MODALITY"), Allowed("ELSEWHERE", "192.0.2.1")))
    assert send(node, title="MODALITY") == [0]
    assert send(node, title="STRANGER") is None
    assert send(node, title="ELSEWHERE") is None, "its address is another"
    refused = [event for event in events(spool) if event["event"] == "refused"]
    assert {event["calling"] for event in refused} == {"STRANGER", "ELSEWHERE"}


def test_a_full_disk_is_said_as_out_of_resources(start, monkeypatch):
    node, spool = start()

    def add(*_args, **_about):
        raise NoRoomError("No space left on device")

    monkeypatch.setattr(spool, "add", add)
    assert send(node, image()) == [0, 0xA700]


def test_less_room_than_results_need_counts_as_full(tmp_path):
    spool = Spool(tmp_path, least_free=2**62)
    with pytest.raises(NoRoomError):
        spool.add("1.2", "0" * 64, b"data")
    assert spool.counts() == {}


def test_an_endless_image_ends_its_association(start, monkeypatch):
    monkeypatch.setattr(node_module, "MAX_DICOM_BYTES", 1000)
    monkeypatch.setattr(node_module, "_SLACK", 1000)
    node, spool = start()
    entity = AE("MODALITY")
    large = image()
    entity.add_requested_context(large.SOPClassUID, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.port, ae_title="DETECTOR")
    assert not association.send_c_store(large)
    assert spool.counts() == {}


def test_no_log_names_a_patient(start, answers, caplog):
    def analyse(_data, _engine):
        msg = "Secret^Name ID-4711"
        raise RuntimeError(msg)

    answers.analyse = analyse
    node, spool = start()
    send(node, image(), image(ViewPosition="LATERAL"))
    until(lambda: spool.counts() == {FAILED: 1, PASSED_OVER: 1})
    heard = caplog.text + (spool.folder / "audit.jsonl").read_text()
    assert "passed over" in heard
    assert "Secret" not in heard
    assert not re.search(r"(?<![\d.])4711", heard)  # a random identifier may hold these digits


def test_what_is_claimed_is_not_claimed_twice(tmp_path):
    spool = Spool(tmp_path, least_free=0)
    spool.add("1.2", "0" * 64, b"data")
    item = spool.claim(RECEIVED)
    assert spool.claim(RECEIVED) is None
    spool.retry(item, 0.0)
    assert spool.claim(RECEIVED).attempts == 1


def test_a_crash_between_file_and_row_leaves_nothing_behind(tmp_path):
    Spool(tmp_path, least_free=0).close()
    (tmp_path / f"{'1' * 64}.dcm").write_bytes(b"never promised")
    (tmp_path / "half.dcm.1.partial").write_bytes(b"half")
    Spool(tmp_path, least_free=0)
    assert not list(tmp_path.glob("*.dcm*"))


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("192.0.2.1", False), ("pacs", False)]
)
def test_loopback(host, local):
    assert is_loopback(host) is local


def certified(folder, authority):
    """Files of a new certificate for loopback, its key, and the authority's certificate."""
    openssl = program("openssl", package="openssl")
    new = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]

    def make(name, *options):
        files = folder / f"{name}.pem", folder / f"{name}.key"
        command = [*new, "-subj", f"/CN={name}", *options, "-out", files[0], "-keyout", files[1]]
        subprocess.run(command, check=True, capture_output=True)
        return files

    certificate, key = make(authority)
    own, own_key = make(
        f"{authority}-node", "-CA", certificate, "-CAkey", key, "-addext", "subjectAltName=IP:127.0.0.1"
    )
    return own, own_key, certificate


@pytest.fixture
def tls(tmp_path):
    """Contexts for serving and sending of one authority."""
    return tls_contexts(*certified(tmp_path, "hospital"))


@pytest.fixture
def tls_archive(tls):
    archive = Archive(tls[0])
    yield archive
    archive.stop()


def test_over_tls_images_come_in_and_results_go_out(start, tls, tls_archive):
    node, spool = start(server_tls=tls[0], client_tls=tls[1], store_to=tls_archive.peer)
    assert send(node, image(), tls=tls[1]) == [0, 0]
    until(lambda: spool.counts() == {SENT: 1})
    assert len(set(tls_archive.received)) == 3


def test_over_tls_nobody_sends_without_a_certificate_of_the_authority(start, tls, tmp_path):
    node, spool = start(server_tls=tls[0])
    stranger = ssl.create_default_context(cafile=tmp_path / "hospital.pem")
    stranger.load_cert_chain(*certified(tmp_path, "elsewhere")[:2])
    without = ssl.create_default_context(cafile=tmp_path / "hospital.pem")
    assert [send(node, image(), tls=context) for context in (None, without, stranger)] == [None, None, None]
    assert send(node, tls=tls[1]) == [0], "and who has one is served after that"
    assert spool.counts() == {}


def test_results_are_kept_where_the_archive_is_not_of_the_authority(start, tls, tmp_path, caplog):
    server, _ = tls_contexts(*certified(tmp_path, "elsewhere"))
    archive = Archive(server)
    node, spool = start(client_tls=tls[1], store_to=archive.peer)
    assert send(node, image()) == [0, 0]
    until(lambda: "does not take results" in caplog.text)
    node.stop()
    archive.stop()
    assert spool.counts() == {ANALYSED: 1}
    assert not archive.received
