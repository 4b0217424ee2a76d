"""The DICOMweb client against a small service of our own: what it asks, what it sends, what it says when it fails."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from detector.answers.answer import Question
from detector.cli.main import main
from detector.errors import SliceError
from detector.pacs import analyse as analyse_module
from detector.pacs import web
from detector.pacs.analyse import analyse_archive
from detector.pacs.web import Archive, ArchiveError, ArchiveRefusedError, Credentials, Found, Wanted
from tests.conftest import make_dicom
from tests.pacs.test_node import small_results

PIXELS = np.tile(np.arange(64, dtype=np.uint8), (64, 1))


class Handler(BaseHTTPRequestHandler):
    """Answers for the service that its server belongs to."""

    def do_GET(self):
        service = self.server.service
        service.asked.append(self.path)
        if service.allowed is not None and self.headers.get("Authorization", "") != service.allowed:
            self.reply(401)
        elif service.status != 200:
            self.reply(service.status)
        else:
            path, _, query = self.path.partition("?")
            service.answer(self, path.strip("/").split("/")[1:], parse_qs(query))

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = b"--" + self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        for part in body.split(boundary)[1:-1]:
            stored = pydicom.dcmread(BytesIO(part.partition(b"\r\n\r\n")[2]))
            self.server.service.stored[str(stored.SOPInstanceUID)] = stored
        self.reply(200, b"{}", "application/dicom+json")

    def reply(self, status, body=b"", kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64


class Service:
    """As much of DICOMweb as the client uses, on a free port; images by SOP Instance UID."""

    def __init__(self, allowed=None):
        self.images, self.stored, self.asked = {}, {}, []
        self.allowed, self.status = allowed, 200
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.service = self
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/dicom-web"

    def answer(self, handler, path, query):
        first = query.get("offset", ["0"]) == ["0"]
        if path[-1] == "studies":
            asked = [d for d in self.images.values() if [d.StudyInstanceUID] == query["StudyInstanceUID"]]
            values = [only(d, "StudyInstanceUID", "PatientName") for d in asked]
        elif path[-1] == "series":
            asked = [d for d in self.images.values() if [d.Modality] == query["Modality"] and first]
            values = [only(d, "StudyInstanceUID", "SeriesInstanceUID", "StationName", "StudyDate") for d in asked]
        elif path[-1] == "instances":
            everything = {**self.images, **self.stored}.values()
            wanted = query.get("SOPInstanceUID", [""])[0]
            asked = [d for d in everything if wanted in {"", d.SOPInstanceUID} and first]
            asked = [d for d in asked if "series" not in path or d.get("SeriesInstanceUID") == path[3]]
            values = [only(d, "SOPInstanceUID", "ViewPosition") for d in asked]
        else:
            file = BytesIO()
            self.images[path[-1]].save_as(file, enforce_file_format=True)
            body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file.getvalue() + b"\r\n--x--"
            return handler.reply(200, body, 'multipart/related; type="application/dicom"; boundary=x')
        return handler.reply(200, json.dumps(values).encode(), "application/dicom+json")

    def add(self, **elements):
        own = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid(), "PatientID": "CANARY"}
        image = pydicom.dcmread(BytesIO(make_dicom(PIXELS, **(own | elements))))
        self.images[str(image.SOPInstanceUID)] = image
        return image

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def only(dataset, *keywords):
    return {k: v for k, v in dataset.to_json_dict().items() if pydicom.datadict.keyword_for_tag(k) in keywords}


@pytest.fixture
def service():
    service = Service()
    yield service
    service.stop()


@pytest.fixture
def network(monkeypatch):
    """A stand-in for the network."""

    class Card:
        sha256 = "0" * 64

    class Engine:
        card = Card

    class Told:
        decision = "normal"

    monkeypatch.setattr(analyse_module, "analyse", lambda *_: None)
    monkeypatch.setattr(analyse_module, "answer", lambda *_: Told)
    monkeypatch.setattr(analyse_module, "write_results", small_results)
    return Engine


def outcomes(service, network, **options):
    archive = Archive(service.url, Credentials())
    return list(analyse_archive(archive, archive.find(Wanted()), network, Question(), **options))


def test_images_are_found_by_modality_and_date(service):
    service.add()
    service.add(Modality="DX")
    service.add(Modality="CT")
    found = list(Archive(service.url, Credentials()).find(Wanted(date="20260101-20260131")))
    assert {f.modality for f in found} == {"CR", "DX"}
    assert all(
        "StudyDate=20260101-20260131" in path for path in service.asked if path.partition("?")[0].endswith("/series")
    )


def test_results_are_stored_in_the_archive(service, network):
    service.add()
    (outcome,) = outcomes(service, network)
    assert (outcome.status, outcome.decision) == ("stored", "normal")
    assert len(service.stored) == 3


def test_what_the_archive_holds_is_not_stored_again(service, network):
    service.add()
    outcomes(service, network)
    before = dict(service.stored)
    service.stored.popitem()
    stored = []
    archive = Archive(service.url, Credentials())
    archive.store = stored.extend
    list(analyse_archive(archive, archive.find(Wanted()), network, Question()))
    assert len(stored) == 1, "only the one that is missing"
    assert len(before) == 3


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"ViewPosition": "LL"}, "view_position"),
        ({"BodyPartExamined": "HAND"}, "body_part"),
        ({"PatientID": "ID-13"}, "excluded"),
    ],
)  # fmt: skip
def test_what_is_not_for_the_network_has_a_reason(service, network, elements, code):
    service.add(**elements)
    (outcome,) = outcomes(service, network, excluded={"ID-13"})
    assert (outcome.status, outcome.code) == ("rejected", code)
    assert not service.stored


def test_a_refusal_of_the_gate_and_a_failure_do_not_end_the_run(service, network, monkeypatch):
    service.add()
    service.add()
    errors = iter([SliceError(), RuntimeError("CANARY")])

    def analyse(*_):
        raise next(errors)

    monkeypatch.setattr(analyse_module, "analyse", analyse)
    assert sorted(o.status for o in outcomes(service, network)) == ["error", "rejected"]


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        (Credentials("ann", "secret"), "Basic " + base64.b64encode(b"ann:secret").decode()),
        (Credentials(token="token"), "Bearer token"),  # noqa: S106
    ],
    ids=["basic", "bearer"],
)
def test_credentials_are_sent_and_never_shown(credentials, header):
    service = Service(allowed=header)
    try:
        assert list(Archive(service.url, credentials).find(Wanted())) == []
        with pytest.raises(ArchiveRefusedError) as refused:
            list(Archive(service.url, Credentials("ann", "wrong")).find(Wanted()))
        assert "wrong" not in f"{refused.value} {credentials}"
    finally:
        service.stop()
    assert "secret" not in repr(credentials)


def test_credentials_come_from_the_environment():
    given = {"CXR_PACS_USER": "ann", "CXR_PACS_PASSWORD": "secret"}
    assert Credentials.from_environment(given) == Credentials("ann", "secret")
    assert Credentials.from_environment({}) == Credentials()


def test_an_archive_that_is_away_is_said_without_its_address(service, monkeypatch):
    monkeypatch.setattr(web, "_ATTEMPTS", 1)  # the pauses between them are the library's
    service.stop()
    with pytest.raises(ArchiveError) as error:
        list(Archive(service.url, Credentials()).find(Wanted()))
    assert "127.0.0.1" not in str(error.value)


def test_an_error_of_the_archive_is_said(service):
    service.status = 500
    with pytest.raises(ArchiveError, match="500"):
        Archive(service.url, Credentials()).holds("1.2", "1.3")


@pytest.mark.parametrize(
    "url", ["archive", "ftp://archive/x", "http://ann:secret@archive/x", "http://archive/?token=secret"]
)
def test_an_address_that_can_be_none_or_holds_a_password_is_refused(url, caplog):
    assert main(["pacs", "query", "--url", url]) == 2
    assert "--url" in caplog.text
    assert "secret" not in caplog.text


def test_the_command_lists_what_it_finds(service, capfd):
    service.add(ViewPosition="PA")
    service.add(ViewPosition="LL")
    assert main(["pacs", "query", "--url", service.url, "--view", "PA"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {row["view"] for row in rows} == {"PA"}
    assert "CANARY" not in json.dumps(rows)


def test_files_of_predict_are_stored_once(service, tmp_path, capfd):
    image = service.add()
    for kind, data in small_results(None, type("S", (), {"sop_instance_uid": str(image.SOPInstanceUID)})).items():
        result = pydicom.dcmread(BytesIO(data))
        result.StudyInstanceUID = image.StudyInstanceUID
        result.save_as(tmp_path / f"x.{kind}.dcm", enforce_file_format=True)
    for _ in range(2):
        assert main(["pacs", "store", "--url", service.url, str(tmp_path)]) == 0
    statuses = [json.loads(line)["status"] for line in capfd.readouterr().out.splitlines()]
    assert statuses == ["stored"] * 3 + ["already there"] * 3


def test_an_image_is_named_by_its_identifiers_alone():
    assert set(Found.__dataclass_fields__) == {
        "study", "series", "instance", "date", "modality", "body_part", "view", "station",
    }  # fmt: skip


def test_a_patient_s_name_is_told_for_a_screen(service):
    archive = Archive(service.url, Credentials())
    assert archive.patient_name(service.add(PatientName="Doe^Jane=Second").StudyInstanceUID) == "Doe Jane"
    assert archive.patient_name(service.add(PatientName="").StudyInstanceUID) == ""
    assert archive.patient_name("1.2.3") == ""
