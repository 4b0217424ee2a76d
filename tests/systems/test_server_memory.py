"""What a closed page leaves in memory: a patient is searched for in every process of the server."""

import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.reader import Reader
from tests.browser.conftest import started
from tests.conftest import make_dicom

pytestmark = pytest.mark.systems

_NAMES = (b"Zebrafinch", b"Quillonby")  # as no text of ours has them
_BIRTH_DATE = "18470823"
_PROMISED_SECONDS = 120  # detector/words.py, RELEASED
_BLOCK = 16_000_000


def family(pid):
    """A process and all that descend from it."""
    found = [pid]
    for member in found:
        with suppress(OSError):  # it has just ended
            for task in Path(f"/proc/{member}/task").iterdir():
                found += map(int, (task / "children").read_text("ascii").split())
    return found


def holders(pid, words):
    """Those of the family whose memory holds one of the words, and which."""
    found = {}
    for member in family(pid):
        for block in _written(member):
            found.setdefault(member, set()).update(word for word in words if word in block)
    return {member: held for member, held in found.items() if held}


def _written(pid):
    """All memory that a process has written to, in blocks that overlap by the length of a name."""
    with suppress(OSError), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text("utf-8").splitlines():
            span, rights = line.split()[:2]
            start, end = (int(edge, 16) for edge in span.split("-"))
            for place in range(start, end, _BLOCK) if "w" in rights else ():
                with suppress(OSError):  # unmapped meanwhile
                    memory.seek(place)
                    yield memory.read(min(_BLOCK + 64, end - place))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system does not show a process's memory")
def test_no_name_of_a_patient_is_left_two_minutes_after_the_page_is_closed(composite_pixels, tmp_path):
    name = b"^".join(_NAMES).decode()
    stored = composite_pixels.astype(np.uint16) * 16
    data = make_dicom(stored, bits_stored=12, PatientName=name, PatientBirthDate=_BIRTH_DATE, ViewPosition="PA")
    words = (*_NAMES, _BIRTH_DATE.encode())
    with started(tmp_path / "log", DETECTOR_CACHE=str(tmp_path / "cache")) as (address, pid):
        reader = Reader(address)
        _, answer = reader.upload("a.dcm", data)
        assert answer.is_of("a.dcm")
        assert pid in holders(pid, words)  # the search finds what is there
        reader.close()
        deadline = time.monotonic() + _PROMISED_SECONDS
        while (left := holders(pid, words)) and time.monotonic() < deadline:
            time.sleep(2)
    assert left == {}, f"the server is {pid}"
