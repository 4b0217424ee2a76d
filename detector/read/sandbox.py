"""Decodes files in child processes with limits on memory and time, so that a hostile file costs its own answer only.

No header bounds what a compressed file costs: a scan of a progressive JPEG, a run of RLE or a nest of DICOM sequences
asks for time and memory that nothing announces, and the decoders are C libraries. So all decoding happens in a child,
kept warm, that is ended when it takes too long and replaced at once. It limits the cost of a file; it is no jail.

The child is ``python -m detector.read.sandbox``. Files and pixels pass through its standard input and output, each
message preceded by its length; nothing that it says is executed or unpickled. Its standard error is read for what the
decoders themselves only mutter: a JPEG that was cut off is one.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import json
import logging
import math
import os
import queue
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from detector.errors import (
    DecoderCrashError,
    DecoderUnavailableError,
    DecodingLimitError,
    RejectedError,
    UnreadableError,
    refusals,
)
from detector.read import image_io
from detector.schema import Radiograph

try:
    import fcntl
    import resource
except ImportError:  # Windows: the time limit remains
    fcntl = resource = None


_LOG = logging.getLogger(__name__)

SECONDS = 1.5  # for a header and a small picture; they take a hundredth of it
SECONDS_A_MEGAPIXEL = 0.5  # JPEG 2000, the slowest, takes 0.16 on a small server
MEMORY = 1280 * 2**20  # bytes beyond those of the idle child; a colour JPEG of 50 megapixels needs 910 MB
_STARVED = 0.25  # of the time: a child that had less of the processor waited for it
START_SECONDS = 60.0  # a laptop that is loading TensorFlow at the same time
_LONGEST_SECONDS = SECONDS + SECONDS_A_MEGAPIXEL * image_io.MAX_PIXELS / 1e6
_LONGEST_MESSAGE = 2**16  # bytes of JSON
_PIPE = 2**20  # bytes on their way, the most that Linux gives anyone; at each full pipe two processes take turns
_COMPLAINTS = 2**20  # bytes that decoders may write to standard error, and the largest file that the child may write
_CUT_OFF = b"premature end"  # libjpeg's words for a JPEG whose pixels stop before its end marker
_LENGTH = struct.Struct("<Q")
_KINDS = {"uint8": np.uint8, "float32": np.float32}  # of pixels
_ROOT = Path(__file__).resolve().parents[2]


def read_radiograph(data: bytes) -> Radiograph:
    """Decode one file in a child process; the same pixels as `image_io.read_radiograph`. Thread-safe.

    Raises:
        RejectedError: one of its children for every input that is not one sound radiograph, or whose decoding exceeds
            the limits.
        DecoderUnavailableError: if no child can be started.
    """
    image_io.check_bytes(data)
    workers = _workers()
    worker = workers.get()
    try:
        return worker.read(data)
    finally:
        workers.put(worker)


def warm_up() -> None:
    """Start the first child, so that the first file needn't wait for it. Returns at once."""
    workers = _workers()
    with contextlib.suppress(queue.Empty, DecoderUnavailableError):
        worker = workers.get_nowait()
        try:
            worker.start()
        finally:
            workers.put(worker)


@cache
def _workers() -> queue.LifoQueue[_Worker]:
    """The children, the warmest on top. Two at least: a file that hangs must not hold up another session."""
    workers: queue.LifoQueue[_Worker] = queue.LifoQueue()
    for _ in range(max(2, min(4, os.cpu_count() or 1))):
        worker = _Worker()
        atexit.register(worker.discard)
        workers.put(worker)
    return workers


class _Worker:
    """One child process, started when it is first needed and again after its death. Used by one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False

    def start(self) -> None:
        """Start the child, if it does not run, without waiting until it is ready.

        Raises:
            DecoderUnavailableError: if it can't be started.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.discard()
        try:
            self._process = _start_child()
        except OSError as error:
            raise DecoderUnavailableError(f"The decoder cannot be started: {error}.") from error

    def read(self, data: bytes) -> Radiograph:
        """Decode one file; a child that dies or takes too long is replaced."""
        process = self._get_ready()
        deadline = _Deadline(process, SECONDS)
        try:
            _send(process.stdin, data)
            reply = _receive_reply(process.stdout)
            if "size" in reply:  # the header is sound, and how long its pixels may take is known
                deadline.extend(SECONDS_A_MEGAPIXEL * min(int(reply["size"]), image_io.MAX_PIXELS) / 1e6)
                reply = _receive_reply(process.stdout)
            grey = _grey(reply, process.stdout)
            radiograph = _radiograph(grey, _receive_reply(process.stdout))
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            self._replace()
            if deadline.passed:
                raise DecodingLimitError(f"Decoding took more than {deadline.seconds:.1f} s.") from error
            raise DecoderCrashError(f"The decoder ended ({type(error).__name__}).") from error
        finally:
            deadline.cancel()
        if deadline.passed:  # in the last moment: the answer is whole, the child is not
            self._replace()
        return radiograph

    def _get_ready(self) -> subprocess.Popen[bytes]:
        self.start()
        process = self._process
        if not self._ready:
            deadline = _Deadline(process, START_SECONDS)
            try:
                self._ready = _receive_json(process.stdout)["ready"]
            except (OSError, EOFError, ValueError, KeyError) as error:
                self.discard()
                raise DecoderUnavailableError("The decoder ended before it was ready.") from error
            finally:
                deadline.cancel()
        return process

    def _replace(self) -> None:
        with contextlib.suppress(DecoderUnavailableError):  # then the next file says so
            self.discard()
            self.start()

    def discard(self) -> None:
        """End the child."""
        process, self._process, self._ready = self._process, None, False
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # bytes that the dead child will never take
                pipe.close()
        process.wait()


class _Deadline:
    """Ends a process when its time is up.

    A child that has had little of the processor in that time waited for a busy machine, and gets as much again, twice.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.seconds, self.passed, self._process = seconds, False, process
        self._used, self._extensions = _processor_seconds(process.pid), 2
        self.due = time.monotonic() + seconds
        self._keeper = _timekeeper()  # its own to the end: threads that begin at once may each have made one
        self._keeper.watch(self)

    def extend(self, seconds: float) -> None:
        """Start again, with more time."""
        with self._keeper.change:
            self.seconds += seconds
            self.due = time.monotonic() + self.seconds

    def cancel(self) -> None:
        """Let the process live."""
        self._keeper.release(self)

    def is_final(self) -> bool:
        """End the process, unless it has more time coming to it."""
        used = _processor_seconds(self._process.pid) - self._used
        if self._extensions and used < _STARVED * self.seconds:
            self._extensions -= 1
            self.due = time.monotonic() + self.seconds
            return False
        self.passed = True
        self._process.kill()
        return True


class _Timekeeper:
    """Watches all deadlines on one thread: to start one for each file takes as long as to decode a small file.

    Attributes:
        change: held while deadlines are read or changed.
    """

    def __init__(self) -> None:
        self.change = threading.Condition()
        self._watched: set[_Deadline] = set()
        self._wakes_at = math.inf
        threading.Thread(target=self._run, daemon=True, name="timekeeper").start()

    def watch(self, deadline: _Deadline) -> None:
        """End the deadline's process once it is due."""
        with self.change:
            self._watched.add(deadline)
            if deadline.due < self._wakes_at:  # else the thread will look in time
                self.change.notify()

    def release(self, deadline: _Deadline) -> None:
        """Watch a deadline no longer."""
        with self.change:
            self._watched.discard(deadline)

    def _run(self) -> None:
        with self.change:
            while True:
                now = time.monotonic()
                self._watched -= {d for d in self._watched if d.due <= now and d.is_final()}
                self._wakes_at = min((d.due for d in self._watched), default=math.inf)
                left = self._wakes_at - time.monotonic()
                self.change.wait(None if math.isinf(left) else max(0, left))


@cache
def _timekeeper() -> _Timekeeper:
    return _Timekeeper()


if hasattr(os, "register_at_fork"):  # two processes must not share one child's pipes, and a thread is not forked
    os.register_at_fork(after_in_child=_workers.cache_clear)
    os.register_at_fork(after_in_child=_timekeeper.cache_clear)


def _processor_seconds(pid: int) -> float:
    """Processor time that a process has had; infinite where the system doesn't tell, so that no more is given."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return math.inf
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _start_child() -> subprocess.Popen[bytes]:
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # One thread decodes; more would each take a share of the memory limit.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "detector.read.sandbox"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the parent, which lets the file at work be finished
    )
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(AttributeError, OSError):  # a system without it, or without room: it stays as it is
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    return process


def _send(pipe: IO[bytes], message: bytes | memoryview) -> None:
    pipe.write(_LENGTH.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def _receive(pipe: IO[bytes], limit: int) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    if length > limit:
        raise ValueError(f"A message has {length} bytes; the limit is {limit}.")
    return _exactly(pipe, length)


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _receive_json(pipe: IO[bytes]) -> dict[str, Any]:
    return dict(json.loads(_receive(pipe, _LONGEST_MESSAGE)))


def _receive_reply(pipe: IO[bytes]) -> dict[str, Any]:
    """Receive one reply of a child, or raise the refusal that it is."""
    reply = _receive_json(pipe)
    if "refused" in reply:
        raise refusals().get(reply["refused"], UnreadableError)(str(reply["message"]))
    if "failed" in reply:
        _LOG.error("decoding failed unexpectedly\n%s", reply["failed"])
        raise DecoderCrashError("Decoding failed unexpectedly.")
    return reply


def _grey(reply: dict[str, Any], pipe: IO[bytes]) -> np.ndarray:
    """Receive the pixels that a reply announces, (rows, columns)."""
    rows, columns = int(reply["rows"]), int(reply["columns"])
    if min(rows, columns) < 1 or rows * columns > image_io.MAX_PIXELS:
        raise ValueError(f"The decoder sent {rows} x {columns} pixels.")
    grey = np.empty((rows, columns), _KINDS[reply["kind"]])
    if pipe.readinto(grey.data.cast("B")) < grey.nbytes:
        raise EOFError
    return grey


def _radiograph(grey: np.ndarray, reply: dict[str, Any]) -> Radiograph:
    """Build the answer from what a child has sent."""
    view = reply["view_position"]
    return Radiograph(
        grey=grey,
        file_format=str(reply["file_format"]),
        sha256=str(reply["sha256"]),
        pixel_sha256=str(reply["pixel_sha256"]),
        view_position=None if view is None else str(view),
        warnings=tuple(map(str, reply["warnings"])),
    )


def serve() -> None:
    """Answer until standard input ends: the child's whole life."""
    from detector.read import dicom  # noqa: F401, PLC0415 - here and now, before the limits count

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    complaints = _redirect_output()
    memory = _MemoryErrors()
    logging.getLogger().addHandler(memory)  # the only one: what pydicom logs quotes values of the file
    _limit()
    _send_json(replies, {"ready": True})
    while True:
        try:
            data = _receive(requests, image_io.MAX_DICOM_BYTES)
        except EOFError:
            return
        # Should the parent be gone, nobody else would end a decoder that hangs.
        faulthandler.dump_traceback_later(2 * _LONGEST_SECONDS, exit=True, file=complaints)
        _answer(data, replies, complaints, memory)
        faulthandler.cancel_dump_traceback_later()
        del data


class _MemoryErrors(logging.Handler):
    """Notes that memory ran out in a plugin of pydicom's, which logs the exception and raises another in its place."""

    seen = False

    def emit(self, record: logging.LogRecord) -> None:
        """Look at the record, and write nothing."""
        if record.exc_info and isinstance(record.exc_info[1], MemoryError):
            self.seen = True


def _redirect_output() -> IO[bytes]:
    """Give decoders that write to standard output or error a file in memory; returns it."""
    if hasattr(os, "memfd_create"):
        complaints = os.fdopen(os.memfd_create("complaints"), "w+b", buffering=0)
    else:
        complaints = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the process lives
    for descriptor in (1, 2):
        os.dup2(complaints.fileno(), descriptor)
    return complaints


def _limit() -> None:
    if resource is None:
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: _COMPLAINTS}  # a core file would hold a patient's pixels
    statm = Path("/proc/self/statm")
    if statm.exists():
        limits[resource.RLIMIT_AS] = int(statm.read_text("ascii").split()[0]) * resource.getpagesize() + MEMORY
    else:
        limits[resource.RLIMIT_DATA] = MEMORY
    for kind, limit in limits.items():
        with contextlib.suppress(ValueError, OSError):  # a system that does not know this limit, or has a lower one
            resource.setrlimit(kind, (limit, limit))


def _answer(data: bytes, replies: IO[bytes], complaints: IO[bytes], memory: _MemoryErrors) -> None:
    """Send the pixels while they are hashed, and what else is known of them afterwards."""
    _empty(complaints)
    memory.seen = False
    sending: list[threading.Thread] = []

    def send(grey: np.ndarray) -> None:
        complaints.seek(0)
        if _CUT_OFF in complaints.read():
            raise UnreadableError("The JPEG's pixels end before its end marker.")
        if grey.nbytes < _PIPE // 2:  # the pipe takes it at once: a thread would cost more than it saves
            _send_grey(replies, grey)
            return
        thread = threading.Thread(target=_send_grey, args=(replies, grey))
        try:
            thread.start()
        except RuntimeError as error:  # its stack did not fit
            raise MemoryError from error
        sending.append(thread)

    try:
        radiograph = image_io.read_radiograph(
            data, on_size=lambda pixels: _send_json(replies, {"size": pixels}), on_grey=send
        )
        reply = _description(radiograph)
    except (RejectedError, MemoryError) as error:
        if memory.seen or isinstance(error, MemoryError):
            error = DecodingLimitError("Decoding ran out of memory.")
        reply = {"refused": error.code, "message": str(error)[:1000]}
    except Exception as error:  # noqa: BLE001 - the parent is told, without what the file says of its patient
        frames = "".join(traceback.format_tb(error.__traceback__))
        reply = {"failed": f"{frames}{type(error).__name__}"[-4000:]}
    for thread in sending:
        thread.join()
    _send_json(replies, reply)


def _send_grey(pipe: IO[bytes], grey: np.ndarray) -> None:
    rows, columns = grey.shape
    _send_json(pipe, {"rows": rows, "columns": columns, "kind": grey.dtype.name})
    pipe.write(grey.data.cast("B"))
    pipe.flush()


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _send_json(pipe: IO[bytes], message: dict[str, Any]) -> None:
    _send(pipe, json.dumps(message).encode())


def _description(radiograph: Radiograph) -> dict[str, Any]:
    return {
        "file_format": radiograph.file_format,
        "sha256": radiograph.sha256,
        "pixel_sha256": radiograph.pixel_sha256,
        "view_position": radiograph.view_position,
        "warnings": radiograph.warnings,
    }


if __name__ == "__main__":
    serve()
