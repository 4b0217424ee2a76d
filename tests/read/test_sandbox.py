"""The decoder in a child process: same pixels, and what a hostile file costs."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from detector.errors import (
    DecoderCrashError,
    DecoderUnavailableError,
    DecodingLimitError,
    DetectorError,
    EmptyFileError,
    RejectedError,
    TooLargeError,
    UnreadableError,
)
from detector.read import image_io, sandbox, source
from tests.conftest import ROOT, make_dicom
from tests.hostile import make

HANG = """
import sys, time
from detector.read import decoder, image_io
image_io.read_radiograph = lambda data, on_size, on_grey: {body}
decoder.serve(60)
"""


@pytest.fixture
def worker():
    """A child of its own, ended after the test."""
    worker = sandbox._Child()
    yield worker
    worker.discard()


@pytest.fixture
def stand_in(monkeypatch):
    """Lets children run another body in place of the decoder, as a hostile file would make them."""

    def stand_in(body):
        start = subprocess.Popen

        def popen(_command, **options):
            options["env"]["PYTHONPATH"] = str(ROOT)
            return start([sys.executable, "-c", HANG.format(body=body)], **options)

        monkeypatch.setattr(subprocess, "Popen", popen)

    return stand_in


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(make.png(), id="png"),
        pytest.param(make.jpeg(), id="jpeg"),
        pytest.param(
            make.dicom(WindowCenter="2000", WindowWidth="3000", ViewPosition="PA", PatientAge="045Y"), id="dicom"
        ),
        pytest.param(make.dicom(BurnedInAnnotation="YES", WindowWidth="1"), id="warnings"),
    ],
)
def test_everything_is_as_in_this_process(data):
    here, there = image_io.read_radiograph(data), sandbox.read_radiograph(data)
    np.testing.assert_array_equal(here.grey, there.grey)
    assert here.grey.dtype == there.grey.dtype
    for name in ("file_format", "sha256", "pixel_sha256", "view_position", "warnings", "age"):
        assert getattr(here, name) == getattr(there, name)


@pytest.mark.parametrize("data", [b"text", make.cut(make.png(), 0.5), make.dicom(Modality="CT"), make.flat()])
def test_refusals_are_as_in_this_process(data):
    with pytest.raises(DetectorError) as here:
        image_io.read_radiograph(data)
    with pytest.raises(DetectorError) as there:
        sandbox.read_radiograph(data)
    assert (here.type, str(here.value)) == (there.type, str(there.value))


def test_one_child_reads_file_after_file(worker):
    first = worker.read(make.png())
    process = worker._process
    with pytest.raises(UnreadableError):
        worker.read(make.cut(make.png(), 0.5))
    assert worker.read(make.png()).pixel_sha256 == first.pixel_sha256
    assert worker._process is process


def test_file_that_takes_too_long_costs_its_own_answer(worker, stand_in, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 0.3)
    stand_in("time.sleep(60)")
    with pytest.raises(DecodingLimitError):
        worker.read(make.png())
    monkeypatch.undo()
    worker.discard()  # the replacement was started with the stand-in
    assert worker.read(make.png()).rows == 512


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system doesn't tell a process's time")
def test_child_that_waits_for_a_busy_machine_gets_more_time(worker, monkeypatch):
    worker.read(make.png())
    monkeypatch.setattr(sandbox, "SECONDS", 0.4)
    worker._process.send_signal(signal.SIGSTOP)  # as if others had the processor
    threading.Timer(0.6, worker._process.send_signal, [signal.SIGCONT]).start()
    assert worker.read(make.png()).rows == 512


def test_child_that_answered_in_time_outlives_the_deadline(worker, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 0.5)
    worker.read(make.png())
    time.sleep(0.6)
    assert worker._process.poll() is None


def test_child_ends_some_time_after_its_last_file_and_the_next_file_gets_another(worker, monkeypatch):
    monkeypatch.setattr(sandbox, "IDLE_SECONDS", 0.3)
    monkeypatch.setattr(sandbox, "_PARTING_SECONDS", 0)
    worker.start()
    time.sleep(0.5)
    assert worker._process.poll() is None  # it has read nothing that it could hold
    worker.read(make.png())
    first = worker._process
    first.wait(timeout=5)
    assert worker.read(make.png()).rows == 512
    assert worker._process is not first


def test_child_that_is_about_to_end_is_not_asked(worker, monkeypatch):
    worker.read(make.png())
    first = worker._process
    monkeypatch.setattr(sandbox, "IDLE_SECONDS", sandbox._PARTING_SECONDS)
    assert worker.read(make.png()).rows == 512
    assert first.poll() is not None
    assert worker._process is not first


def test_child_that_stops_in_mid_answer_costs_no_more_than_its_time(worker, stand_in, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 0.3)
    stand_in("(on_grey(__import__('numpy').zeros((64, 64), 'uint8')), time.sleep(60))")
    with pytest.raises(DecodingLimitError):
        worker.read(make.png())


def test_child_that_works_all_the_time_gets_no_more(worker, stand_in, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 0.5)
    monkeypatch.setattr(sandbox, "_STARVED", 0.1)  # this machine may be busy
    stand_in("[None for _ in iter(int, 1)]")
    worker.start()
    worker._await_ready()
    looks, look = [], sandbox._processor_seconds
    monkeypatch.setattr(sandbox, "_processor_seconds", lambda pid: looks.append(pid) or look(pid))
    with pytest.raises(DecodingLimitError, match=r"0\.5 s"):
        worker.read(make.png())
    assert len(looks) == 2  # at its start and at its deadline, which was the only one


def test_time_grows_with_the_size_that_the_header_claims(worker, stand_in, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 0.3)
    monkeypatch.setattr(sandbox, "SECONDS_A_MEGAPIXEL", 0.1)
    stand_in("(on_size(10_000_000), time.sleep(60))")
    began = time.monotonic()
    with pytest.raises(DecodingLimitError, match=r"1\.3 s"):
        worker.read(make.png())
    assert time.monotonic() - began >= 1.3


@pytest.mark.parametrize("size", ["10**15", "-1"])
def test_size_that_a_child_makes_up_buys_no_time_without_end(worker, stand_in, monkeypatch, size):
    monkeypatch.setattr(sandbox, "SECONDS", 0.3)
    monkeypatch.setattr(sandbox, "SECONDS_A_MEGAPIXEL", 0.01)
    stand_in(f"(on_size({size}), time.sleep(60))")
    with pytest.raises((DecodingLimitError, DecoderCrashError)):
        worker.read(make.png())


def test_memory_is_limited(worker, monkeypatch):
    resource = pytest.importorskip("resource")
    del resource
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux enforces the limit")
    monkeypatch.setattr(sandbox, "SECONDS", 60)  # memory must run out before the time does, here too
    with pytest.raises(DecodingLimitError, match="memory"):
        worker.read(make.rle_bomb(megabytes=1500, like=np.zeros((4096, 4096), np.uint16)))
    assert worker.read(make.png()).rows == 512


@pytest.mark.parametrize("body", ["__import__('os').abort()", "__import__('os')._exit(0)"], ids=["abort", "exit"])
def test_death_of_the_child_has_its_own_code(worker, stand_in, body):
    stand_in(body)
    with pytest.raises(DecoderCrashError) as caught:
        worker.read(make.png())
    assert caught.value.code == "decoder_crash"


def test_next_file_after_a_death_is_read_by_another_child(worker):
    worker.read(make.png())
    first = worker._process
    first.send_signal(signal.SIGSTOP)
    killer = threading.Timer(0.2, first.kill)
    killer.start()
    with pytest.raises(DecoderCrashError):
        worker.read(make.png())
    assert worker.read(make.png()).rows == 512
    assert worker._process.pid != first.pid


def test_child_that_died_while_idle_costs_no_file(worker):
    worker.read(make.png())
    worker._process.kill()
    worker._process.wait()
    assert worker.read(make.png()).rows == 512


def test_failure_of_ours_is_told_apart_from_a_death_without_quoting_the_file(worker, stand_in, caplog):
    stand_in("int('DOE^JOHN')")
    with pytest.raises(DecoderCrashError, match="unexpectedly"):
        worker.read(make.png())
    assert "ValueError" in caplog.text
    assert "DOE" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        "__import__('os').write(3, bytes(8)) and time.sleep(9)",
        "print('x' * 10**6) or __import__('os').system('echo y; echo z >&2')",
    ],
    ids=["closed descriptor", "chatter"],
)
def test_what_a_decoder_prints_never_reaches_the_answers(worker, stand_in, body, monkeypatch):
    monkeypatch.setattr(sandbox, "SECONDS", 1)
    stand_in(body)
    with pytest.raises(DetectorError):
        worker.read(make.png())


def test_answer_of_impossible_size_is_not_believed(worker, stand_in):
    stand_in("on_grey(__import__('numpy').broadcast_to(b'0', (10**6, 10**6)))")
    with pytest.raises(DecoderCrashError, match="ValueError"):
        worker.read(make.png())


@pytest.mark.parametrize("dtype", ["object", "float64", "int8"])
def test_pixels_of_another_kind_are_not_believed(worker, stand_in, dtype):
    stand_in(f"on_grey(__import__('numpy').zeros((64, 64), '{dtype}'))")
    with pytest.raises(DecoderCrashError, match="KeyError"):
        worker.read(make.png())


def test_pixels_without_an_end_are_no_answer(worker, stand_in):
    stand_in("(on_grey(__import__('numpy').zeros((64, 64), 'uint8')), int('x'))")
    with pytest.raises(DecoderCrashError, match="unexpectedly"):
        worker.read(make.png())


def test_child_that_never_gets_ready_is_no_fault_of_the_file(worker, monkeypatch):
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _command, **o: start([sys.executable, "-c", "pass"], **o))
    with pytest.raises(DecoderUnavailableError):
        worker.read(make.png())


def test_child_that_cannot_be_started_is_no_fault_of_the_file(worker, monkeypatch):
    def popen(*_args, **_options):
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(DecoderUnavailableError, match="no more processes"):
        worker.read(make.png())


def test_bytes_over_the_limit_never_reach_a_child(monkeypatch):
    monkeypatch.setattr(sandbox, "_children", lambda: pytest.fail("a child was asked"))
    with pytest.raises(TooLargeError):
        sandbox.read_radiograph(make.png().ljust(image_io.MAX_PICTURE_BYTES + 1, b"\0"))
    with pytest.raises(EmptyFileError):
        sandbox.read_radiograph(b"")


def test_many_threads_get_their_own_answers():
    files = [make_dicom(np.roll(make.chest_12_bit(), shift, axis=1)) for shift in range(6)]
    expected = [image_io.read_radiograph(data).pixel_sha256 for data in files]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda data: sandbox.read_radiograph(data).pixel_sha256, files * 8))
    assert found == expected * 8


def test_children_end_with_their_parent():
    code = (
        "from detector.read import sandbox; sandbox.warm_up();"
        "print(sandbox._children().get()._process.pid, flush=True);"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    child = int(done.stdout)
    deadline = time.monotonic() + 10
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = f"/proc/{pid}/stat"
    if os.path.exists(stat):  # noqa: PTH110
        with open(stat, encoding="ascii") as file:  # noqa: PTH123
            return file.read().split()[2] != "Z"
    return True


def test_decoder_imports_neither_tensorflow_nor_streamlit():
    code = (
        "import sys, detector.read.sandbox, detector.read.decoder, detector.read.dicom; "
        "print({'tensorflow', 'keras', 'streamlit', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"


def test_decoding_works_from_any_folder(tmp_path):
    (tmp_path / "image.png").write_bytes(make.png())
    code = "from detector.read.sandbox import read_radiograph as r; print(r(open('image.png', 'rb').read()).rows)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True, env=environment
    )
    assert done.stdout.strip() == "512"


def test_a_header_is_told_by_the_child_as_it_is_read_here():
    data = make.dicom()
    here, there = source.read_source(data), sandbox.read_source(data)
    assert there.dataset == here.dataset
    assert there.notes == here.notes


def test_a_header_that_is_refused_is_refused_by_the_child():
    with pytest.raises(RejectedError):
        sandbox.read_source(make.dicom()[:300])
