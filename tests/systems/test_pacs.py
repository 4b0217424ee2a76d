"""Results, client and node against a real Orthanc, DCMTK and dicom3tools."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, generate_uid
from streamlit.testing.v1 import AppTest

from detector import words
from detector.answers.answer import Question, answer
from detector.answers.pipeline import analyse
from detector.read.source import read_source
from detector.report.dicom import write_results
from detector.ui import resources
from tests.conftest import ROOT, make_dicom
from tests.report.test_dicom_results import PATIENT
from tests.systems.orthanc import Orthanc, free_port, missing

MARK = "CANARY"
USER, PASSWORD = "reader", "not-a-secret"  # of a server that lives as long as a test
SECONDS = 120.0
IMAGES, SENDERS = int(os.environ.get("CXR_PACS_IMAGES", "12")), 4


@pytest.fixture(scope="session", autouse=True)
def installed_systems():
    """Orthanc, DCMTK and dicom3tools; where one lacks, these tests are left out, and fail where it must be there."""
    absent = missing()
    if absent and os.environ.get("REQUIRE_SYSTEM_PACKAGES"):
        pytest.fail(f"not installed: {', '.join(absent)}")
    if absent:
        pytest.skip(f"not installed: {', '.join(absent)}; DICOM results, client and node stay unchecked against them")


@pytest.fixture
def orthanc(tmp_path):
    """A server of the test's own, with a user."""
    server = Orthanc(tmp_path / "orthanc", user=USER, password=PASSWORD).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def xrays(composite_pixels, tmp_path_factory):
    """Makes DICOM X-rays of the COVID-19 composite, each a patient and a study of its own; returns their folder."""

    def make(count, **elements):
        folder = tmp_path_factory.mktemp("xrays")
        for number in range(count):
            own = {"PatientName": f"{MARK}^{number}", "PatientID": f"{MARK}-{number}",
                   "StudyInstanceUID": generate_uid(),
                   "SeriesInstanceUID": generate_uid(), "StudyDate": "20260131", "BodyPartExamined": "CHEST",
                   "ViewPosition": "PA", "StationName": "ROOM 1"}  # fmt: skip
            pixels = np.roll(composite_pixels, number % 5, axis=1)
            (folder / f"{number:04}.dcm").write_bytes(make_dicom(pixels, **(own | elements)))
        return folder

    return make


def command(*arguments, check=True, **environment):
    """Run the program; returns what it did."""
    done = subprocess.run(
        [sys.executable, "-m", "detector", *map(str, arguments)],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=SECONDS * 2,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stderr
    return done


def access(user=USER, password=PASSWORD):
    return {"CXR_PACS_USER": user, "CXR_PACS_PASSWORD": password}


def storescu(port, *paths, title="MODALITY", called="ARCHIVE", status=0):
    """Send files the way a modality would."""
    done = subprocess.run(
        ["storescu", "-R", "-aet", title, "-aec", called, "+sd", "127.0.0.1", str(port), *map(str, paths)],
        capture_output=True, text=True, check=False, timeout=SECONDS * 4,
    )  # fmt: skip
    assert (done.returncode == 0) == (status == 0), done.stdout + done.stderr
    return done


def until(condition, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def draw_tab():
    from detector.ui import from_pacs

    from_pacs.render()


def test_the_page_s_tab_sends_results_into_the_study(orthanc, xrays, engine, monkeypatch):
    storescu(orthanc.dicom, *xrays(1).iterdir())
    monkeypatch.setattr(resources, "load_engine", lambda: engine)
    for name, value in {words.PACS_VARIABLE: orthanc.url, **access()}.items():
        monkeypatch.setenv(name, value)
    app = AppTest.from_function(draw_tab, default_timeout=SECONDS).run()
    app.date_input(key="pacs_day").set_value(date(2026, 1, 31))
    for label in (words.PACS_FIND, words.PACS_ANALYSE, words.PACS_SEND):
        next(button for button in app.button if button.label == label).click().run()
        assert not app.exception, app.exception
        app.checkbox[0].check().run()
    assert MARK in app.checkbox[0].label
    assert orthanc.kinds() == {"CR": 1, "SR": 1, "OT": 1, "PR": 1}
    assert len({tags["StudyInstanceUID"] for tags in map(orthanc.tags, (i["ID"] for i in orthanc.instances()))}) == 1


class NodeProcess:
    """``python -m detector node`` in a process of its own."""

    def __init__(self, folder, store_to, *options):
        self.folder, self.port = folder, free_port()
        self._arguments = ["--aet", "DETECTOR", "--port", self.port, "--store-to", store_to,
                           "--spool", folder / "spool", *options]  # fmt: skip
        self._process = None

    def start(self):
        self._log = (self.folder / "node.log").open("a")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "detector", "--verbose", "node", *map(str, self._arguments)],
            cwd=ROOT, stderr=self._log,
        )  # fmt: skip
        begun = self.log().count("listens on")
        until(lambda: self.log().count("listens on") > begun or self._process.poll() is not None)
        assert self._process.poll() is None, self.log()
        return self

    def log(self):
        return (self.folder / "node.log").read_text()

    def events(self):
        lines = (self.folder / "spool" / "audit.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def count(self, event):
        return sum(e["event"] == event for e in self.events())

    def memory(self):
        """Resident bytes of the process."""
        fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self):
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            assert self._process.wait(SECONDS) == 128 + signal.SIGTERM


@pytest.fixture
def node(tmp_path, orthanc):
    """A node that stores to the server."""
    running = NodeProcess(tmp_path, f"ARCHIVE@127.0.0.1:{orthanc.dicom}")
    yield running
    running.stop()


def result_files(data, engine, mode, folder):
    told = answer(analyse(data, engine, force=True), Question(mode))
    paths = {}
    for kind, result in write_results(told, read_source(data)).items():
        paths[kind] = folder / f"{kind}.dcm"
        paths[kind].write_bytes(result)
    return paths


def made_up(composite_pixels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the values that are not valid are the point
        stored = composite_pixels.astype(np.uint16) * 16
        return {
            "bare": make_dicom(composite_pixels),
            # Of DCMTK's checker: it takes letters beyond ASCII for an error, whatever the character set.
            "not valid": make_dicom(composite_pixels, **(PATIENT | {"PatientName": "Muller^Anne=Secret^Name"})),
            "twelve bits": make_dicom(stored, bits_stored=12, WindowCenter=2048, WindowWidth=4096),
        }


def validate(paths):
    for path in paths.values():
        said = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False, timeout=SECONDS).stderr
        assert not [line for line in said.splitlines() if line.startswith("Error")], said
    checked = subprocess.run(["dcmpschk", paths["pr"]], capture_output=True, text=True, check=False, timeout=SECONDS)
    said = (checked.stdout + checked.stderr).splitlines()[1:]
    if pydicom.dcmread(paths["pr"]).PatientName:
        assert said == ["W: Test passed."]
    else:  # the standard lets it be empty (PS3.3 C.7.1.1, type 2), and nothing else is wrong
        assert said[:-1] == ["W: patientName absent or empty in presentation state"]


@pytest.mark.parametrize("mode", ["binary", "three-class"])
def test_results_pass_the_validators(composite_pixels, engine, mode, tmp_path):
    for data in made_up(composite_pixels).values():
        validate(result_files(data, engine, mode, tmp_path))


def test_results_of_real_samples_pass_the_validators(samples, engine, tmp_path):
    files = sorted(samples.glob("*.dcm"))
    assert files
    for path in files:
        validate(result_files(path.read_bytes(), engine, "binary", tmp_path))


def test_the_archive_stores_lists_and_shows_the_results(orthanc, xrays, engine, tmp_path):
    (path,) = xrays(1).iterdir()
    files = result_files(path.read_bytes(), engine, "binary", tmp_path)
    storescu(orthanc.dicom, path, *files.values())
    assert orthanc.kinds() == {"CR": 1, "SR": 1, "OT": 1, "PR": 1}
    assert len(orthanc.get("/studies")) == 1, "all in one study"
    (picture,) = (i["ID"] for i in orthanc.instances() if orthanc.tags(i["ID"])["Modality"] == "OT")
    assert orthanc.get(f"/instances/{picture}/preview")[:8] == b"\x89PNG\r\n\x1a\n"


def test_query_analyse_store_and_again(orthanc, xrays):
    storescu(orthanc.dicom, xrays(2))
    rows = command("pacs", "query", "--url", orthanc.url, "--date", "20260101-20260131", **access()).stdout
    assert len(rows.splitlines()) == 2
    assert MARK not in rows
    assert not command("pacs", "query", "--url", orthanc.url, "--date", "20250101", **access()).stdout
    first = command("pacs", "analyse", "--url", orthanc.url, "--body-part", "CHEST", **access())
    assert [json.loads(line)["status"] for line in first.stdout.splitlines()] == ["stored"] * 2
    assert orthanc.kinds() == {"CR": 2, "SR": 2, "OT": 2, "PR": 2}
    again = command("pacs", "analyse", "--url", orthanc.url, **access())
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()] == ["already there"] * 2
    assert MARK not in first.stdout + first.stderr + again.stdout + again.stderr


def test_predict_writes_what_store_brings_to_the_archive(orthanc, xrays, tmp_path):
    folder = xrays(1)
    storescu(orthanc.dicom, folder)
    command("predict", folder, "--dicom", "--out", tmp_path / "out", "--format", "jsonl")
    for expected in ("stored", "already there"):
        rows = command("pacs", "store", "--url", orthanc.url, tmp_path / "out", **access()).stdout.splitlines()
        assert [json.loads(row)["status"] for row in rows] == [expected] * 3
    assert orthanc.kinds() == {"CR": 1, "SR": 1, "OT": 1, "PR": 1}


def test_wrong_credentials_and_an_archive_that_is_away(orthanc):
    refused = command("pacs", "query", "--url", orthanc.url, check=False, **access(password="wrong-word"))  # noqa: S106
    assert refused.returncode == 1
    assert "refuses access" in refused.stderr
    assert "wrong-word" not in refused.stderr
    away = command("pacs", "query", "--url", f"http://127.0.0.1:{free_port()}/dicom-web", check=False, **access())
    assert away.returncode == 1
    assert "does not answer" in away.stderr
    assert "Traceback" not in refused.stderr + away.stderr


def test_an_archive_killed_in_mid_run_gets_the_rest_afterwards(orthanc, xrays):
    storescu(orthanc.dicom, xrays(4))
    running = subprocess.Popen(
        [sys.executable, "-m", "detector", "pacs", "analyse", "--url", orthanc.url],
        cwd=ROOT, env=os.environ | access(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert json.loads(running.stdout.readline())["status"] == "stored"
    orthanc.stop(kill=True)
    _, said = running.communicate(timeout=SECONDS)
    assert running.returncode in {0, 1}
    assert "Traceback" not in said
    orthanc.start()
    command("pacs", "analyse", "--url", orthanc.url, **access())
    assert orthanc.kinds() == {"CR": 4, "SR": 4, "OT": 4, "PR": 4}


def test_what_a_modality_sends_comes_back_as_results(node, orthanc, xrays):
    node.start()
    lateral, ct = xrays(1, ViewPosition="LL"), xrays(1, Modality="CT", SOPClassUID=CTImageStorage)
    damaged = xrays(1, SamplesPerPixel=3)
    for folder in (xrays(2), lateral, ct, damaged):
        storescu(node.port, folder, called="DETECTOR")
    until(lambda: node.count("sent") == 2 and node.count("passed over") == 3)
    assert orthanc.kinds() == {"SR": 2, "OT": 2, "PR": 2}
    reasons = {e["reason"] for e in node.events() if e["event"] == "passed over"}
    assert reasons == {"view_position", "unsupported_dicom"}
    node.stop()
    assert MARK not in node.log() + json.dumps(node.events())


def test_a_node_killed_between_receipt_and_result_loses_nothing_and_sends_nothing_twice(node, orthanc, xrays):
    node.start()
    storescu(node.port, xrays(6), called="DETECTOR")
    node.kill()
    node.start()
    until(lambda: node.count("sent") >= 6)
    assert orthanc.kinds() == {"SR": 6, "OT": 6, "PR": 6}


def test_an_archive_that_is_down_gets_the_results_when_it_is_back(node, orthanc, xrays):
    orthanc.stop(kill=True)
    node.start()
    storescu(node.port, xrays(2), called="DETECTOR")
    until(lambda: node.count("analysed") == 2)
    until(lambda: "next attempt" in node.log())
    orthanc.start()
    until(lambda: node.count("sent") == 2)
    assert orthanc.kinds() == {"SR": 2, "OT": 2, "PR": 2}


def test_a_title_that_is_not_allowed_is_refused(tmp_path, orthanc, xrays):
    node = NodeProcess(tmp_path, f"ARCHIVE@127.0.0.1:{orthanc.dicom}", "--allow", "MODALITY@127.0.0.1").start()
    try:
        storescu(node.port, xrays(1), called="DETECTOR", title="STRANGER", status=1)
        assert subprocess.run(["echoscu", "-aet", "MODALITY", "-aec", "DETECTOR", "127.0.0.1", str(node.port)],
                              check=False, timeout=SECONDS).returncode == 0  # fmt: skip
    finally:
        node.stop()


def test_results_leave_the_computer_only_when_it_is_confirmed(tmp_path):
    arguments = ("node", "--aet", "DETECTOR", "--port", "0", "--store-to", "ARCHIVE@192.0.2.1:104", "--spool", tmp_path)
    refused = command(*arguments, check=False)
    assert refused.returncode == 2
    assert "--research-only-confirmed" in refused.stderr


def test_many_images_from_four_senders_are_all_answered(node, orthanc, xrays, tmp_path, capsys):
    folders = [xrays(IMAGES // SENDERS) for _ in range(SENDERS)]
    node.start()
    begun = time.monotonic()
    with ThreadPoolExecutor(SENDERS) as senders:
        list(senders.map(lambda folder: storescu(node.port, folder, called="DETECTOR"), folders))
    most = node.memory()
    while node.count("sent") < IMAGES:
        assert time.monotonic() < begun + SECONDS * 20
        most = max(most, node.memory())
        time.sleep(0.2)
    took = time.monotonic() - begun
    kinds = orthanc.kinds()
    node.stop()
    begun = time.monotonic()
    command("predict", *folders, "--dicom", "--out", tmp_path / "out", "--format", "jsonl")
    alone = time.monotonic() - begun
    with capsys.disabled():
        sys.stdout.write(
            f"\n{IMAGES} images by {SENDERS} senders: node {IMAGES / took:.2f}/s, "
            f"predict --dicom {IMAGES / alone:.2f}/s, ratio {alone / took:.2f}; node {most / 2**20:.0f} MB at most\n"
        )
    assert kinds == {"SR": IMAGES, "OT": IMAGES, "PR": IMAGES}
    assert most < 2**30


def test_results_read_back_from_the_archive_are_those_that_were_written(orthanc, xrays, engine, tmp_path):
    (path,) = xrays(1).iterdir()
    files = result_files(path.read_bytes(), engine, "binary", tmp_path)
    storescu(orthanc.dicom, *files.values())
    held = {}
    for instance in orthanc.instances():
        data = pydicom.dcmread(BytesIO(orthanc.file(instance["ID"])))
        held[str(data.SOPInstanceUID)] = data
    for file in files.values():
        written = pydicom.dcmread(file)
        assert held[str(written.SOPInstanceUID)] == written
