"""Files that a stop, a kill or a full disk leaves whole.

A file that is replaced is written under another name first; a log of JSON lines is only ever added to, line by line.
No link is followed: what is written stays in the folder that was named.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from io import FileIO
from typing import IO, TYPE_CHECKING

import numpy as np

from detector.errors import FolderInUseError, NotOurFileError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks; two runs into one folder are then the user's to avoid
    fcntl = None  # type: ignore[assignment]

_BLOCK = 2**16  # bytes that are read at once in search of a line's end; a row has some two thousand

PARTIAL = ".partial"  # what a name ends in until its file is whole
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def write_whole(path: Path, content: bytes | np.ndarray) -> None:
    """Write a file under another name and give it its own when it is whole.

    Args:
        path: of the file; one that is there is replaced, a link in its place too.
        content: bytes, or an array, which is written as ``.npy``.

    Raises:
        OutputError: if it can't be written; nothing of it stays.
    """
    with whole_file(path) as file:
        if isinstance(content, np.ndarray):
            np.save(file, content)
        else:
            file.write(content)


def write_json(path: Path, values: object) -> None:
    """Write a file of JSON, indented; see `write_whole`."""
    write_whole(path, f"{json.dumps(values, indent=2, allow_nan=False)}\n".encode())


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there, before the work that fills it.

    Raises:
        OutputError: if it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error}.") from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that gets its name at the end of the block, and is removed where the block fails.

    Raises:
        OutputError: if it can't be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        partial.unlink(missing_ok=True)  # of a killed run, or a link that waits for us
        with open(partial, "xb") as file:  # noqa: PTH123 - "x" follows no link
            yield file
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


class LineLog:
    """A file of lines that is added to, by one writer at a time.

    Args:
        path: of the file; made if it is not there.

    Raises:
        FolderInUseError: if another process writes to it.
        NotOurFileError: if its name is a link's, or that of no regular file.
        OutputError: if it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_LINK, 0o666)
        except OSError as error:
            raise (NotOurFileError if path.is_symlink() else OutputError)(f"{path}: {error}.") from error
        self._file = FileIO(descriptor, "ab+")  # a buffer would write again what did not fit
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode) or path.is_symlink():
                raise NotOurFileError(f"{path} is no regular file.")
            _lock(descriptor, path)
        except OutputError:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the file, and of its lock."""
        self._file.close()

    def lines(self) -> Iterator[bytes]:
        """All lines without their ends, one by one; a log of millions is never in memory as a whole.

        Raises:
            OutputError: if they can't be read.
        """
        try:
            with os.fdopen(os.dup(self._file.fileno()), "rb") as file:  # buffered, at the same place as ours
                file.seek(0)
                for line in file:
                    yield line.removesuffix(b"\n")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read: {error}.") from error

    def unfinished(self) -> bytes:
        """What stands after the last line's end: nothing, unless a write was interrupted.

        Raises:
            OutputError: if it can't be read.
        """
        try:
            last, start = b"", self._file.seek(0, os.SEEK_END)
            while start and b"\n" not in last:
                end, start = start, max(0, start - _BLOCK)
                self._file.seek(start)
                last = self._file.read(end - start) + last
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read: {error}.") from error
        return last.rpartition(b"\n")[2]

    def cut(self, line: bytes) -> None:
        """Remove an unfinished last line.

        Raises:
            OutputError: if it can't be removed.
        """
        try:
            self._file.truncate(self._file.seek(0, os.SEEK_END) - len(line))
        except OSError as error:
            raise OutputError(f"{self.path} cannot be repaired: {error}.") from error

    def add(self, line: bytes) -> None:
        """Write one line to the disk, on a line of its own, whatever precedes it.

        Raises:
            OutputError: if it can't be written; no part of it stays.
        """
        end = self._file.seek(0, os.SEEK_END)
        left = (b"\n" if self._ends_within_a_line(end) else b"") + line + b"\n"
        try:
            while left:  # a nearly full disk takes a part first and refuses the rest
                left = left[self._file.write(left) or 0 :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise OutputError(f"{self.path} cannot be written: {error}.") from error

    def _ends_within_a_line(self, end: int) -> bool:
        if not end:
            return False
        self._file.seek(end - 1)
        return self._file.read(1) != b"\n"


def _lock(descriptor: int, path: Path) -> None:
    """Keep a second run from repairing a line that this one is writing."""
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderInUseError(f"{path} is being written to by another run.") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be locked: {error}.") from error
