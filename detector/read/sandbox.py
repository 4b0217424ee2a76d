"""Decodes files in child processes with limits on memory and time, so that a hostile file costs only its own answer.

No header bounds what a compressed file costs: a scan of a progressive JPEG, a run of RLE or nested DICOM sequences
may need time and memory that nothing announces, and the decoders are C libraries. So all decoding happens in a child
process, `detector.read.decoder`. It is kept warm, ended when it takes too long and replaced at once. Files and pixels
pass through its standard input and output; nothing that it sends is executed or unpickled.

The child gets no environment, none of the user's folders and, where Linux allows it without privileges, no network. It
may still read what the user may read: the limits are on what a file costs. docs/SECURITY.md says what is not covered.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import math
import os
import queue
import select
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from detector.errors import (
    DecoderCrashError,
    DecoderUnavailableError,
    DecodingLimitError,
    UnreadableError,
    refusals,
)
from detector.read import image_io
from detector.read.decoder import LENGTH, PIPE, SOURCE
from detector.schema import Radiograph

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

    from numpy.typing import NDArray

    from detector.read.source import SourceHeader

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOG = logging.getLogger(__name__)
_Told = TypeVar("_Told")

SECONDS = 1.5  # for a header and a small picture; they take a hundredth of it
SECONDS_A_MEGAPIXEL = 0.5  # JPEG 2000, the slowest, takes 0.16 on a small server
START_SECONDS = 60.0  # a laptop that is loading TensorFlow at the same time
IDLE_SECONDS = 45.0  # after its last file a child ends, and with it what its memory still holds of the file's header
_PARTING_SECONDS = 5.0  # before that end, during which it is no longer used
_STARVED = 0.25  # of the time: a child that had less of the processor was waiting for it
_LONGEST_MESSAGE = 2**20  # bytes of JSON; a header with two full look-up tables takes a third of it
_KINDS: dict[str, type[np.generic]] = {"uint8": np.uint8, "float32": np.float32}  # of pixels
_NEEDED = ("SYSTEMROOT", "LD_LIBRARY_PATH")  # of the environment: Windows starts nothing without the first
#: With -P nothing is imported from the user's working folder. Only the program is imported from its own folder.
_START = """
import sys
home, libraries, idle_seconds = sys.argv[1:]
sys.path.insert(0, home)
import detector
sys.path.remove(home)
sys.path.append(libraries)
from detector.read import decoder
decoder.serve(float(idle_seconds))
"""


def read_radiograph(data: bytes) -> Radiograph:
    """Decode one file in a child process, to the same pixels as `image_io.read_radiograph`. Thread-safe.

    Raises:
        RejectedError: a subclass of it for every input that is not one sound radiograph, or whose decoding exceeds
            the limits.
        DecoderUnavailableError: if no child can be started.
    """
    return _asked(data, _Child.read)


def read_source(data: bytes) -> SourceHeader:
    """Read a DICOM file's source header in a child process; see `detector.read.source`. Thread-safe.

    Raises:
        RejectedError: the same subclass of it that `read_radiograph` raises for the file's header.
        DecoderUnavailableError: if no child can be started.
    """
    return _asked(data, _Child.read_source)


def _asked(data: bytes, ask: Callable[[_Child, bytes], _Told]) -> _Told:
    """Have a child handle one file."""
    image_io.check_bytes(data)
    children = _children()
    child = children.get()
    try:
        return ask(child, data)
    finally:
        children.put(child)


def warm_up() -> None:
    """Start the first child, so that the first file doesn't wait for it. Returns at once."""
    children = _children()
    with contextlib.suppress(queue.Empty, DecoderUnavailableError):
        child = children.get_nowait()
        try:
            child.start()
        finally:
            children.put(child)


@cache
def _children() -> queue.LifoQueue[_Child]:
    """The children, the most recently used on top. At least two: a file that hangs must not hold up another session."""
    children: queue.LifoQueue[_Child] = queue.LifoQueue()
    for _ in range(max(2, min(4, os.cpu_count() or 1))):
        child = _Child()
        atexit.register(child.discard)
        children.put(child)
    return children


if hasattr(os, "register_at_fork"):  # two processes must not share one child's pipes
    os.register_at_fork(after_in_child=_children.cache_clear)


class _Child:
    """One child process, started when first needed and restarted after it ends. Used by one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_ready = False
        self._last_asked = math.inf

    def start(self) -> subprocess.Popen[bytes]:
        """Start the child if it isn't running, without waiting until it is ready.

        Raises:
            DecoderUnavailableError: if it can't be started.
        """
        is_parting = time.monotonic() - self._last_asked > IDLE_SECONDS - _PARTING_SECONDS
        if self._process is None or self._process.poll() is not None or is_parting:
            self.discard()
            try:
                self._process = _started()
            except OSError as error:
                raise DecoderUnavailableError(f"The decoder cannot be started: {error}.") from error
        return self._process

    def read(self, data: bytes) -> Radiograph:
        """Decode one file."""
        return self._ask(data, _Talk.read)

    def read_source(self, data: bytes) -> SourceHeader:
        """Read one file's header."""
        return self._ask(data, _Talk.read_source)

    def _ask(self, data: bytes, ask: Callable[[_Talk, bytes], _Told]) -> _Told:
        """Process one file; a child that dies or takes too long is replaced."""
        self._await_ready()
        talk, self._last_asked = _Talk(self.start(), SECONDS), time.monotonic()
        try:
            return ask(talk, data)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            self.discard()
            with contextlib.suppress(DecoderUnavailableError):  # the next file will report it
                self.start()
            if isinstance(error, TimeoutError):
                raise DecodingLimitError(f"Decoding took more than {talk.seconds:.1f} s.") from error
            raise DecoderCrashError(f"The decoder ended ({type(error).__name__}).") from error

    def _await_ready(self) -> None:
        process = self.start()
        if self._is_ready:
            return
        try:
            self._is_ready = bool(_Talk(process, START_SECONDS).receive()["ready"])
        except (OSError, EOFError, ValueError, KeyError) as error:
            self.discard()
            raise DecoderUnavailableError("The decoder ended before it was ready.") from error

    def discard(self) -> None:
        """End the child."""
        process, self._process, self._is_ready, self._last_asked = self._process, None, False, math.inf
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()


class _Talk:
    """Messages to and from a child, with a time limit that ends every wait.

    A child that got little processor time was waiting for a busy machine, and gets as much time again, up to twice.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._requests, self._replies = cast("FileIO", process.stdin), cast("FileIO", process.stdout)  # unbuffered
        self._pid = process.pid
        self._used, self._extensions = _processor_seconds(process.pid), 2
        self.seconds, self._due = seconds, time.monotonic() + seconds

    def _extend(self, seconds: float) -> None:
        """Start again, with more time."""
        self.seconds += seconds
        self._due = time.monotonic() + self.seconds

    def read(self, data: bytes) -> Radiograph:
        """Have one file decoded.

        Raises:
            RejectedError: if the child refuses it.
            TimeoutError: if it takes too long.
            OSError, EOFError, ValueError, KeyError, TypeError: if the child dies or sends nonsense.
        """
        self._send(LENGTH.pack(len(data)))
        self._send(data)
        reply = self.receive()
        if "size" in reply:  # the header is sound, so the time that its pixels may take is known
            self._extend(SECONDS_A_MEGAPIXEL * min(int(reply["size"]), image_io.MAX_PIXELS) / 1e6)
            reply = self.receive()
        rows, columns = int(reply["rows"]), int(reply["columns"])
        if min(rows, columns) < 1 or rows * columns > image_io.MAX_PIXELS:
            raise ValueError(f"The decoder sent {rows} x {columns} pixels.")
        grey: NDArray[Any] = np.empty((rows, columns), _KINDS[reply["kind"]])
        self._fill(grey.data.cast("B"))
        reply = self.receive()
        view, age = reply["view_position"], reply["age"]
        return Radiograph(
            grey=grey,
            file_format=str(reply["file_format"]),
            sha256=str(reply["sha256"]),
            pixel_sha256=str(reply["pixel_sha256"]),
            view_position=None if view is None else str(view),
            warnings=tuple(map(str, reply["warnings"])),
            age=None if age is None else float(age),
        )

    def read_source(self, data: bytes) -> SourceHeader:
        """Have one file's source header read; raises as `read` does."""
        from detector.read.source import SourceHeader  # noqa: PLC0415 - pydicom is slow to import, and few runs need it

        self._send(LENGTH.pack(len(data) | SOURCE))
        self._send(data)
        reply = self.receive()
        return SourceHeader.from_json(str(reply["source"]), tuple(map(str, reply["notes"])))

    def receive(self) -> dict[str, Any]:
        """Receive one reply; raises the error if it is a refusal."""
        head = bytearray(LENGTH.size)
        self._fill(memoryview(head))
        (length,) = LENGTH.unpack(head)
        if length > _LONGEST_MESSAGE:
            raise ValueError(f"A message has {length} bytes; the limit is {_LONGEST_MESSAGE}.")
        text = bytearray(length)
        self._fill(memoryview(text))
        reply = dict(json.loads(text))
        if "refused" in reply:
            raise refusals().get(reply["refused"], UnreadableError)(str(reply["message"]))
        if "failed" in reply:
            _LOG.error("decoding failed unexpectedly\n%s", reply["failed"])
            raise DecoderCrashError("Decoding failed unexpectedly.")
        return reply

    def _fill(self, view: memoryview) -> None:
        while view.nbytes:
            self._wait(self._replies, "POLLIN")
            got = self._replies.readinto(view)
            if not got:
                raise EOFError
            view = view[got:]

    def _send(self, message: bytes) -> None:
        view = memoryview(message)
        while view.nbytes:
            self._wait(self._requests, "POLLOUT")
            view = view[self._requests.write(view) :]

    def _wait(self, pipe: FileIO, event: str) -> None:
        """Wait until a pipe is ready. Windows can't: there the child's own timer ends it."""
        if not hasattr(select, "poll"):
            return
        poll = select.poll()
        poll.register(pipe, getattr(select, event))
        while not poll.poll(max(0.0, 1000 * (self._due - time.monotonic()))):
            starved = _processor_seconds(self._pid) - self._used < _STARVED * self.seconds
            if not (self._extensions and starved):
                raise TimeoutError
            self._extensions -= 1
            self._due = time.monotonic() + self.seconds


def _processor_seconds(pid: int) -> float:
    """Processor time that a process has used; infinite where the system doesn't tell, so that no time is added."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return math.inf
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _started() -> subprocess.Popen[bytes]:
    home, libraries = (Path(module).resolve().parents[up] for module, up in ((__file__, 2), (np.__file__, 1)))
    environment = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own words
        [sys.executable, "-P", "-c", _START, str(home), str(libraries), str(IDLE_SECONDS)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=home.anchor,
        env=environment | {"OPENBLAS_NUM_THREADS": "1"},  # more would each take a share of the memory limit
        start_new_session=True,  # Ctrl-C is for the parent, which lets the current file finish
    )
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(AttributeError, OSError):  # without it, or without room, the pipe stays as it is
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)  # type: ignore[arg-type]
    if process.stdin is not None and os.name == "posix":
        os.set_blocking(process.stdin.fileno(), False)
    return process
