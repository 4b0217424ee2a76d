"""No name leaves: a DICOM file full of marked identifiers through the command line, and the page's own housekeeping."""

import logging
import tomllib
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path

import pydicom
import pytest

from detector.cli.main import main
from detector.errors import DetectorError
from detector.read import dicom
from detector.ui.privacy import Sweeper
from tests.conftest import ROOT
from tests.hostile import make

MARK = "CANARY"
CONFIG = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))
CODES = ("Modality", "PhotometricInterpretation", "ViewPosition", "BurnedInAnnotation", "PresentationIntentType",
         "PresentationLUTShape", "VOILUTFunction")  # fmt: skip


def marked(data=None, **elements):
    """A DICOM file every free text of which is marked, and a private element beside it."""

    def change(dataset):
        for element in ("PatientName", "PatientID", "OtherPatientNames", "AccessionNumber", "InstitutionName",
                        "ReferringPhysicianName", "OperatorsName", "StudyDescription", "PatientComments", "StudyID",
                        "StationName", "PatientAddress", "PatientMotherBirthName"):  # fmt: skip
            setattr(dataset, element, f"{MARK}{element}"[:16])
        dataset.add_new(0x00090010, "LO", f"{MARK} PRIVATE")
        dataset.PatientBirthDate = "19330717"
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)

    return make.changed(data or make.dicom(), change)


def damaged():
    """Files whose errors could quote what is in them: words where numbers belong, halves, other types."""
    whole = marked()
    yield from (whole[: int(len(whole) * share)] for share in (0.001, 0.0015, 0.002, 0.5))
    for keyword in CODES:
        yield marked(**{keyword: MARK})
    for keyword in ("WindowCenter", "RescaleSlope", "RescaleIntercept", "NumberOfFrames"):
        numbers = {"WindowCenter": "1234567", "WindowWidth": "100", "RescaleSlope": "1", "RescaleIntercept": "0"}
        placed = marked(**(numbers | {keyword: "1234567"}))
        yield placed.replace(b"1234567 ", f"{MARK}  ".encode()).replace(b"1234567", f"{MARK} ".encode())
    for representation in (b"DS", b"US", b"SQ", b"UN", b"ZZ", b"FD", b"AT"):
        yield whole.replace(b"\x10\x00\x10\x00PN", b"\x10\x00\x10\x00" + representation)
    yield whole.replace(b"\x02\x00\x10\x00UI\x14\x00", b"\x02\x00\x10\x00UI\xff\x02")  # up to behind the names
    yield whole.replace(b"1.2.840.10008.1.2.1\0", MARK.encode().ljust(20, b"\0"))


def error_of(data):
    try:
        dicom.decode(dicom.read_header(data))
    except DetectorError as error:
        return f"{error} {error.user_message}"
    return ""


@pytest.mark.parametrize("number", range(24))
def test_no_error_quotes_the_file(number, caplog):
    data = list(damaged())[number]
    with caplog.at_level(logging.DEBUG):
        said = error_of(data)
    assert MARK not in said
    assert MARK not in "".join(record.getMessage() for record in caplog.records if record.name.startswith("detector"))


def test_every_damage_is_tried():
    assert len(list(damaged())) == 24


@pytest.mark.parametrize("form", ["jsonl", "csv", "table"])
def test_command_line_gives_no_identifier(engine, tmp_path, monkeypatch, capfdbinary, caplog, form):
    monkeypatch.setattr("detector.model.engine.Engine.load", lambda *_: engine)
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number, data in enumerate([marked(), marked(BurnedInAnnotation="YES"), *damaged()]):
        (images / f"{number}.dcm").write_bytes(data)
    status = main(["--verbose", "predict", str(images), "--explain", "--out", str(out), "--format", form])
    assert status == 0
    printed = capfdbinary.readouterr()
    written = b"".join(path.read_bytes() + path.name.encode() for path in out.iterdir())
    for place in (printed.out, printed.err, written, caplog.text.encode()):
        assert MARK.encode() not in place
        assert b"19330717" not in place
    assert len(list(out.glob("*.overlay.png"))) >= 2


def test_page_is_private_as_it_ships():
    assert CONFIG["server"]["address"] == CONFIG["browser"]["serverAddress"] == "127.0.0.1"
    assert set(CONFIG["server"]["allowedHosts"]) == {"127.0.0.1", "localhost"}
    assert CONFIG["browser"]["gatherUsageStats"] is False
    assert CONFIG["client"]["showErrorDetails"] == CONFIG["server"]["fileWatcherType"] == "none"
    assert CONFIG["client"]["disableDataExport"] is True
    assert CONFIG["server"]["enableXsrfProtection"] is True
    assert CONFIG["server"]["maxUploadSize"] == 64
    assert CONFIG["server"]["disconnectedSessionTTL"] <= 120 - 2 * 10  # two looks of the sweeper


@dataclass
class Server:
    """Sessions with a browser, and those that were closed."""

    active: set = field(default_factory=set)
    closed: list = field(default_factory=list)


@pytest.fixture
def server():
    return Server({"one", "two"})


@pytest.fixture
def sweeper(server, monkeypatch):
    monkeypatch.setattr("detector.ui.privacy.time.monotonic", lambda: 0.0)
    sweeper = Sweeper(server.active.__contains__, seconds=60)
    for session in ("one", "two"):
        sweeper.watch(session, partial(server.closed.append, session))
    return sweeper


def test_session_with_a_browser_is_kept(server, sweeper):
    for now in (30, 100, 10_000):
        sweeper.sweep(now)
    assert server.closed == []


def test_session_without_a_browser_is_closed_once_after_its_time(server, sweeper):
    sweeper.sweep(100)
    server.active.remove("two")
    sweeper.sweep(160)
    assert server.closed == []
    sweeper.sweep(160.1)
    sweeper.sweep(1000)
    assert server.closed == ["two"]


def test_session_that_comes_back_in_time_starts_again(server, sweeper):
    server.active.remove("two")
    sweeper.sweep(50)
    server.active.add("two")
    sweeper.sweep(55)
    server.active.remove("two")
    sweeper.sweep(110)
    assert server.closed == []


def test_decoder_leaves_no_core_and_no_file():
    """The limits are set in the child: see detector.read.decoder."""
    from detector.read import sandbox

    sandbox.read_radiograph(make.png())
    child = sandbox._children().get()
    try:
        limits = Path(f"/proc/{child._process.pid}/limits")
        if not limits.exists():
            pytest.skip("only Linux lists the limits of a process")
        rows = {line[:26].strip(): line[26:].split() for line in limits.read_text().splitlines()}
    finally:
        sandbox._children().put(child)
    assert rows["Max core file size"][0] == "0"
    assert int(rows["Max file size"][0]) == 2**20
    assert int(rows["Max address space"][0]) < 4 * 2**30
    assert pydicom.dcmread(BytesIO(marked())).PatientName == f"{MARK}PatientName"[:16]
