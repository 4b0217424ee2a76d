"""The child process of `detector.read.sandbox`: takes files from standard input and answers with pixels.

Each message is preceded by its length. Standard error is read for what decoders report only there, such as a JPEG that
was cut off. Nothing else is imported until the process has left the network, which needs a process of one thread.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import logging
import os
import select
import signal
import struct
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from detector.errors import DecodingLimitError, RejectedError, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    _Answering = Callable[[bytes, IO[bytes], IO[bytes]], dict[str, Any]]

LENGTH = struct.Struct("<Q")  # before each message
SOURCE = 2**63  # added to a length: asks for the source header instead of the pixels, see `detector.read.source`
PIPE = 2**20  # bytes in a pipe, the most that Linux allows; the two processes take turns whenever it is full
MEMORY = 1280 * 2**20  # bytes beyond those of the idle child; a colour JPEG of 50 megapixels needs 910 MB
_LONGEST_SECONDS = 60.0  # more than the parent gives any file
_COMPLAINTS = 2**20  # bytes that decoders may write to standard error, and the largest file that the child may write
_CUT_OFF = b"premature end"  # libjpeg's warning for a JPEG whose pixels stop before its end marker
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000  # of unshare(2)


def serve(idle_seconds: float) -> None:
    """Answer until standard input ends, or nothing has come for `idle_seconds` after a file: the child's whole life."""
    leave_network()
    from detector.read import dicom, image_io  # noqa: F401, PLC0415 - now, before the limits apply

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    complaints = _redirect_output()
    memory = _MemoryErrors()
    logging.getLogger().addHandler(memory)  # the only one: pydicom's log quotes values from the file
    _limit()
    _send(replies, {"ready": True})
    while length := requests.read(LENGTH.size):
        (asked,) = LENGTH.unpack(length)
        data = requests.read(asked & ~SOURCE)
        # If the parent is gone, nothing else ends a decoder that hangs.
        faulthandler.dump_traceback_later(_LONGEST_SECONDS, exit=True, file=complaints)
        _answer(data, replies, complaints, memory, answer=_tell_source if asked & SOURCE else _tell_pixels)
        faulthandler.cancel_dump_traceback_later()
        del data
        if os.name == "posix" and not select.select([requests], [], [], idle_seconds)[0]:
            return


def leave_network() -> bool:
    """Move this process to an empty network of its own; returns whether the system allows it without privileges."""
    try:
        return bool(ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK) == 0)
    except (OSError, AttributeError, TypeError):  # not Linux
        return False


class _MemoryErrors(logging.Handler):
    """Notes that memory ran out in a pydicom plugin, where pydicom logs the exception and raises another one."""

    seen = False

    def emit(self, record: logging.LogRecord) -> None:
        """Look at the record, and write nothing."""
        self.seen = self.seen or bool(record.exc_info and isinstance(record.exc_info[1], MemoryError))


def _redirect_output() -> IO[bytes]:
    """Redirect what decoders write to standard output and error to a file in memory; returns it."""
    if hasattr(os, "memfd_create"):
        complaints: IO[bytes] = os.fdopen(os.memfd_create("complaints"), "w+b", buffering=0)
    else:
        complaints = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the process lives
    for descriptor in (1, 2):
        os.dup2(complaints.fileno(), descriptor)
    return complaints


def _limit() -> None:
    try:
        import resource  # noqa: PLC0415
    except ImportError:  # Windows: the time limit remains
        return
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: _COMPLAINTS}  # a core file would hold a patient's pixels
    statm = Path("/proc/self/statm")
    if statm.exists():
        limits[resource.RLIMIT_AS] = int(statm.read_text("ascii").split()[0]) * resource.getpagesize() + MEMORY
    else:
        limits[resource.RLIMIT_DATA] = MEMORY
    for kind, limit in limits.items():
        with suppress(ValueError, OSError):  # a system without this limit, or with a lower one
            resource.setrlimit(kind, (limit, limit))


def _answer(
    data: bytes, replies: IO[bytes], complaints: IO[bytes], memory: _MemoryErrors, *, answer: _Answering
) -> None:
    """Send what was asked for, or why it is refused."""
    complaints.seek(0)
    complaints.truncate()
    memory.seen = False
    try:
        reply = answer(data, replies, complaints)
    except (RejectedError, MemoryError) as error:
        refusal: RejectedError = DecodingLimitError("Decoding ran out of memory.")
        if isinstance(error, RejectedError) and not memory.seen:
            refusal = error
        reply = {"refused": refusal.code, "message": str(refusal)[:1000]}
    except Exception as error:  # noqa: BLE001 - the parent is told, without anything the file says of its patient
        frames = "".join(traceback.format_tb(error.__traceback__))
        reply = {"failed": f"{frames}{type(error).__name__}"[-4000:]}
    _send(replies, reply)


def _tell_pixels(data: bytes, replies: IO[bytes], complaints: IO[bytes]) -> dict[str, Any]:
    """Send the pixels as soon as they are decoded; the rest of the radiograph follows."""
    from detector.read import image_io  # noqa: PLC0415

    def send(grey: NDArray[Any]) -> None:
        complaints.seek(0)
        if _CUT_OFF in complaints.read():
            raise UnreadableError("The JPEG's pixels end before its end marker.")
        rows, columns = grey.shape
        _send(replies, {"rows": rows, "columns": columns, "kind": grey.dtype.name})
        replies.write(grey.data.cast("B"))

    radiograph = image_io.read_radiograph(data, on_size=lambda pixels: _send(replies, {"size": pixels}), on_grey=send)
    return {name: value for name, value in vars(radiograph).items() if name != "grey"}


def _tell_source(data: bytes, _replies: IO[bytes], _complaints: IO[bytes]) -> dict[str, Any]:
    """Send whose image it is and how it is shown."""
    from detector.read.source import read_source  # noqa: PLC0415

    source = read_source(data)
    return {"source": source.to_json(), "notes": source.notes}


def _send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    encoded = json.dumps(message).encode()
    pipe.write(LENGTH.pack(len(encoded)) + encoded)
    pipe.flush()
