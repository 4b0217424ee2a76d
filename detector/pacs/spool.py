"""What a node has received and not yet answered: on the disk before the sender is told, removed when done.

An image is a row of an SQLite database and a file beside it. It is *received*, then *analysed* (its results lie in
files) or *passed over* for a reason, then *sent*. Each step is on the disk before the next begins, so that a node that
is killed at any moment loses nothing; and what it then does twice it does with the same identifiers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from detector.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

RECEIVED, ANALYSED, SENT, PASSED_OVER, FAILED = "received", "analysed", "sent", "passed over", "failed"

#: Free bytes below which nothing more is taken in: room for the results of what is there already.
LEAST_FREE = 512 * 2**20

_SHA256_LENGTH = 64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY,
    instance TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    received TEXT NOT NULL,
    UNIQUE (instance, sha256)
);
CREATE INDEX IF NOT EXISTS by_state ON images (state, due);
"""


class NoRoomError(OutputError):
    """The disk is full, or nearly."""


@dataclass(frozen=True)
class Item:
    """One image of the spool.

    Attributes:
        number: its row.
        instance: SOP Instance UID.
        attempts: how often its present step has failed.
    """

    number: int
    instance: str
    attempts: int


class Spool:
    """A folder that one node owns. Thread-safe.

    Args:
        folder: made if it does not exist.
        least_free: free bytes of the disk below which nothing is taken in.

    Raises:
        OutputError: if it can't be written.
    """

    def __init__(self, folder: Path, *, least_free: int = LEAST_FREE) -> None:
        self.folder, self._least_free = folder, least_free
        self.change = threading.Condition()
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)  # patients' images
            self._database = sqlite3.connect(folder / "spool.sqlite", check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            self._audit = (folder / "audit.jsonl").open("a", encoding="utf-8")
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"The spool {folder} cannot be written: {error}.") from error
        for partial in folder.glob("*.partial"):
            partial.unlink()
        kept = {sha256 for (sha256,) in self._database.execute("SELECT sha256 FROM images WHERE state IN (?, ?)",
                                                               (RECEIVED, FAILED))}  # fmt: skip
        for path in folder.glob("*.dcm"):  # taken in, or done with, at the moment of a crash; neither was promised
            if len(path.stem) == _SHA256_LENGTH and path.stem not in kept:
                path.unlink()

    def close(self) -> None:
        """Close the files; everything is on the disk already."""
        with self._lock:
            self._database.close()
            self._audit.close()

    def add(self, instance: str, sha256: str, data: bytes, **about: str) -> bool:
        """Take in an image; when this returns, it is on the disk.

        Args:
            instance: SOP Instance UID.
            sha256: of its data set.
            data: the whole file.
            about: for the audit log; nothing that names a patient.

        Returns:
            False where the same image is or was there already.

        Raises:
            NoRoomError: if the disk is full.
            OutputError: if it can't be written.
        """
        with self._lock:
            same = self._database.execute("SELECT 1 FROM images WHERE instance = ? AND sha256 = ?", (instance, sha256))
            if same.fetchone() is not None:
                return False
        try:
            if shutil.disk_usage(self.folder).free < self._least_free + len(data):
                raise NoRoomError(f"Less than {self._least_free} bytes would be left in {self.folder}.")
            self._write({f"{sha256}.dcm": data})
            with self._lock, contextlib.suppress(sqlite3.IntegrityError):  # the same from two senders at once
                self._database.execute(
                    "INSERT INTO images (instance, sha256, state, received) VALUES (?, ?, ?, ?)",
                    (instance, sha256, RECEIVED, _now()),
                )
        except (OSError, sqlite3.Error) as error:
            raise NoRoomError(f"The spool cannot be written: {error}.") from error
        self.audit("received", instance, **about)
        self._notify()
        return True

    def claim(self, state: str) -> Item | None:
        """The next image in a state whose time has come and that nobody works on; `done` or `retry` gives it back."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, instance, attempts FROM images WHERE state = ? AND due <= ? ORDER BY id",
                (state, time.time()),
            )
            for row in rows:
                if row[0] not in self._busy:
                    self._busy.add(row[0])
                    return Item(*row)
        return None

    def data(self, item: Item) -> bytes:
        """The image's file."""
        return self._file(item).read_bytes()

    def analysed(self, item: Item, results: Mapping[str, bytes]) -> None:
        """Keep an image's results and let go of the image."""
        self._write({f"{item.number}.{kind}.dcm": result for kind, result in results.items()})
        self._enter(item, ANALYSED, [self._file(item)])

    def results(self, item: Item, kinds: Collection[str]) -> dict[str, bytes]:
        """The results of an image that is analysed."""
        return {kind: (self.folder / f"{item.number}.{kind}.dcm").read_bytes() for kind in kinds}

    def sent(self, item: Item, **about: str) -> None:
        """Note that the results have arrived, and let go of them."""
        self._enter(item, SENT, self.folder.glob(f"{item.number}.*.dcm"), **about)

    def passed_over(self, item: Item, reason: str) -> None:
        """Note why an image has no answer, and let go of it."""
        self._enter(item, PASSED_OVER, [self._file(item)], reason=reason)

    def failed(self, item: Item, reason: str) -> None:
        """Note that an image failed; its file stays for whoever looks into it."""
        self._enter(item, FAILED, reason=reason)

    def retry(self, item: Item, pause: float) -> None:
        """Leave an image in its state for some seconds."""
        with self._lock:
            self._database.execute(
                "UPDATE images SET attempts = attempts + 1, due = ? WHERE id = ?", (time.time() + pause, item.number)
            )
        self.release(item)

    def release(self, item: Item) -> None:
        """Give an image back, in the state that it has by now."""
        with self._lock:
            self._busy.discard(item.number)
        self._notify()

    def counts(self) -> dict[str, int]:
        """How many images are in each state."""
        with self._lock:
            return dict(self._database.execute("SELECT state, COUNT(*) FROM images GROUP BY state").fetchall())

    def wait(self, seconds: float) -> None:
        """Wait until something has changed, or for so long."""
        with self.change:
            self.change.wait(seconds)

    def audit(self, event: str, instance: str, **about: str) -> None:
        """Append a line to ``audit.jsonl``: when, what, which instance. Never who the patient is."""
        line = json.dumps({"at": _now(), "event": event, "instance": instance, **about})
        with self._lock, contextlib.suppress(OSError):  # a full disk must not stop what makes room
            self._audit.write(line + "\n")
            self._audit.flush()

    def _file(self, item: Item) -> Path:
        with self._lock:
            (sha256,) = self._database.execute("SELECT sha256 FROM images WHERE id = ?", (item.number,)).fetchone()
        return self.folder / f"{sha256}.dcm"

    def _enter(self, item: Item, state: str, done_with: Iterable[Path] = (), **about: str) -> None:
        """Bring an image to a state on the disk, then let go of files, write the audit log and give the image back."""
        with self._lock:
            self._database.execute(
                "UPDATE images SET state = ?, reason = ?, attempts = 0, due = 0 WHERE id = ?",
                (state, about.get("reason"), item.number),
            )
        for path in done_with:
            path.unlink(missing_ok=True)
        self.audit(state, item.instance, **about)
        self.release(item)

    def _notify(self) -> None:
        with self.change:
            self.change.notify_all()

    def _write(self, files: Mapping[str, bytes]) -> None:
        """Write files so that a crash leaves all of each or none."""
        for name, data in files.items():
            partial = self.folder / f"{name}.{threading.get_ident()}.partial"
            try:
                with partial.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(self.folder / name)
            except OSError:
                with contextlib.suppress(OSError):
                    partial.unlink(missing_ok=True)
                raise
        _sync_folder(self.folder)


def _sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
