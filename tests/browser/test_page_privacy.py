"""A whole session watched from both sides: who is spoken to, what is written, what stays, and where a name turns up."""

import json
import re
import time
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from playwright.sync_api import expect

from detector import words
from tests.benchmarks.reader import Reader
from tests.browser.conftest import served, settle
from tests.conftest import encode, make_dicom

MARK = "CANARY"
STABLE = words.STABLE.partition("}")[2].partition("{")[0].strip()  # the words between its two numbers
UPLOAD_NAME = f"{MARK}NAME"

#: Imported by the server's interpreter before anything else: it writes down what the process does.
WATCHER = """
import json, os, sys, threading, time, weakref

KINDS = (
    ("detector.ui.cases", "Case"), ("detector.ui.sources", "Source"), ("detector.ui.worklist", "Entry"),
    ("detector.ui.cases", "Failure"), ("detector.ui.shelf", "Picture"),
    ("detector.schema", "Stability"), ("streamlit.runtime.uploaded_file_manager", "UploadedFile"),
)
alive = {}  # name of a class to those of its objects that something still holds, by their address
log = open(os.environ["WATCH_LOG"], "a", buffering=1)

def hook(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.getaddrinfo"}:
        what = arguments[0 if event == "socket.getaddrinfo" else -1]
        log.write(json.dumps({"event": event, "what": repr(what)}) + "\\n")
    elif event in {"tempfile.mkstemp", "tempfile.mkdtemp"}:
        log.write(json.dumps({"event": event, "what": repr(arguments[0])}) + "\\n")
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        log.write(json.dumps({"event": "write", "what": repr(arguments[0])}) + "\\n")

def watch(kind):
    made, held = kind.__new__, alive.setdefault(kind.__name__, {})
    def new(cls, *arguments, **options):  # and not __init__, which copies go without
        self = made(cls) if made is object.__new__ else made(cls, *arguments, **options)
        address = id(self)
        held[address] = weakref.ref(self, lambda _: held.pop(address))
        return self
    kind.__new__ = new

def count():
    while not hasattr(sys.modules.get("detector.ui.exports"), "list_pages"):  # the last of the module: it is complete
        time.sleep(0.1)
    for name, kind in KINDS:
        watch(getattr(sys.modules[name], kind))
    runtime = sys.modules["streamlit.runtime"]
    while True:
        time.sleep(0.5)
        server = runtime.get_instance()
        uploads = list(server.uploaded_file_mgr.file_storage.values())
        held = {kind: len(objects) for kind, objects in alive.items()}
        held["uploads"] = sum(map(len, uploads))
        held["downloads"] = len(server.media_file_mgr._storage._files_by_id)
        log.write(json.dumps({"event": "held", "what": held}) + "\\n")

if "streamlit" in sys.orig_argv:
    sys.addaudithook(hook)
    threading.Thread(target=count, daemon=True).start()
"""
OWN_FILES = re.compile(r"/dev/null|__pycache__|\.pyc|WATCH|watch\.jsonl|\.streamlit/machine_id|memfd|^\d+$")


@pytest.fixture
def canary(composite_pixels):
    """A DICOM file of more than a megabyte, every identifier of which is marked."""
    large = cv2.resize(composite_pixels, (1200, 1200)).astype(np.uint16) * 16
    dataset = pydicom.dcmread(BytesIO(make_dicom(large, bits_stored=12)))
    marked = {
        "PatientName": "Name", "PatientID": "Identifier", "OtherPatientNames": "Other", "PatientAddress": "Address",
        "AccessionNumber": "Accession", "InstitutionName": "Institution", "ReferringPhysicianName": "Physician",
        "OperatorsName": "Operator", "StudyDescription": "Study", "PatientComments": "Comments", "StudyID": "StudyId",
        "RequestingPhysician": "Requesting", "PatientBirthName": "Birth", "StationName": "Station",
    }  # fmt: skip
    for keyword, value in marked.items():
        setattr(dataset, keyword, f"{MARK}{value}"[:16])
    dataset.add_new(0x00090010, "LO", f"{MARK}Private")
    dataset.PatientBirthDate, dataset.StudyDate = "19330717", "20190613"
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture
def watched(tmp_path):
    """The page in a server that writes down what it does; yields its address and how to read the two logs."""
    (tmp_path / "sitecustomize.py").write_text(WATCHER)
    watch, log = tmp_path / "watch.jsonl", tmp_path / "log"
    environment = {"PYTHONPATH": str(tmp_path), "WATCH_LOG": str(watch), "DETECTOR_CACHE": str(tmp_path / "cache")}
    environment["STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL"] = "3"
    with served(log, **environment) as address:
        yield address, lambda: list(map(json.loads, watch.read_text().splitlines())), log.read_text


def test_whole_session_leaves_nothing_behind_and_speaks_to_nobody(tab, watched, canary, composite_pixels):
    address, events, log = watched
    asked, said = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("websocket", lambda socket: asked.append(socket.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(address)
    tab.get_by_role("heading", name="COVID-19 pattern").wait_for(timeout=300_000)
    settle(tab)
    before = len(events())
    broken = canary[: len(canary) // 2]
    tab.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files([
        {"name": f"{UPLOAD_NAME}.dcm", "mimeType": "application/dicom", "buffer": canary},
        {"name": f"{UPLOAD_NAME}2.dcm", "mimeType": "application/dicom", "buffer": broken},
        {"name": "plain.png", "mimeType": "image/png", "buffer": encode(composite_pixels[4:-4, 4:-4])},
    ])  # fmt: skip
    expect(tab.get_by_role("button", name="rejected 1")).to_be_visible(timeout=200_000)
    settle(tab)
    tab.get_by_role("radiogroup", name=re.compile("Question")).get_by_text("Three-class", exact=True).click()
    settle(tab)
    page = tab.content().replace(UPLOAD_NAME, "")
    assert MARK not in page
    assert "19330717" not in page
    tab.get_by_role("button", name=words.STABILITY).click()
    tab.get_by_text(STABLE).wait_for(timeout=120_000)
    saved = list(downloads(tab))
    assert len(saved) == 7
    for name, content in saved:
        assert MARK.encode() not in content, name
        assert MARK not in name
    tab.wait_for_timeout(1500)  # the server is looked at twice a second
    held = now_held(events())
    assert held["uploads"] == 3
    assert held["downloads"] == 7
    assert min(held.values()) >= 1, held

    tab.goto("about:blank")  # the browser leaves
    assert_nothing_is_held(events, seconds=120)

    seen = events()
    outward = [
        e for e in seen if e["event"].startswith("socket") and not re.search("127.0.0.1|localhost|::1", e["what"])
    ]
    assert not outward
    written = [e["what"] for e in seen[before:] if e["event"] in {"write", "tempfile.mkstemp", "tempfile.mkdtemp"}]
    assert not [name for name in written if not OWN_FILES.search(name.strip("'"))]
    assert not [url for url in asked if not re.match(r"(http|ws)://127\.0\.0\.1:|data:|blob:|about:", url)]
    assert any(url.startswith("ws://127.0.0.1") for url in asked)
    for text in (log(), *said):
        assert MARK not in text
        assert "Traceback" not in text


def test_page_that_is_closed_right_after_its_answer_leaves_nothing_behind(watched, composite_pixels):
    address, events, _ = watched
    for number in range(3):
        reader = Reader(address)
        _, answer = reader.upload(f"{number}.png", encode(composite_pixels[4 + number :]))
        assert answer.is_of(f"{number}.png")
        reader.close()
    assert_nothing_is_held(events, seconds=30)


def assert_nothing_is_held(events, seconds):
    """Wait until the server has let go of everything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(now_held(events()).values()):
        time.sleep(1)
    assert not any(now_held(events()).values()), now_held(events())


def now_held(events):
    """What the server holds: kind to number."""
    return [event["what"] for event in events if event["event"] == "held"][-1]


def downloads(tab):
    """What every download button of the page's two menus gives, as (suggested name, bytes).

    Left out are the DICOM objects, which go back into the patient's study and say on their button that they name them.
    """
    for menu in (words.SAVE_CASE, words.SAVE_LIST):
        tab.get_by_role("button", name=menu).click()
        buttons = tab.get_by_test_id("stDownloadButton").get_by_role("button").filter(visible=True)
        expect(buttons.first).to_be_visible()
        for button in buttons.all():
            if button.inner_text() == words.SAVE_AS["zip"]:
                continue
            with tab.expect_download() as download:
                button.click()
            yield download.value.suggested_filename, Path(download.value.path()).read_bytes()
        tab.keyboard.press("Escape")
        expect(buttons).to_have_count(0)
