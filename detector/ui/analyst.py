"""Works through the list of files beside the page, which stays usable while results come one by one."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from detector.answers.answer import NoAnswer
from detector.run.pool import in_order
from detector.schema import Correction
from detector.ui import memory
from detector.ui.cases import Case, Failure, analysed
from detector.ui.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detector.model.engine import Engine
    from detector.ui.sources import Source

WORKERS = min(os.cpu_count() or 1, 4)  # as many as the decoder's children: more would only hold pictures
_PLACES = threading.BoundedSemaphore(WORKERS)  # of all sessions together: a large picture takes half a gigabyte
_CORRECTIONS = 3  # rotated, inverted, and once more where the first was only nearly right
_PATIENCE = 300  # seconds without a look at the page after which it is taken for closed; hidden tabs look once a minute


@dataclass(frozen=True)
class Progress:
    """How far the present run is.

    Attributes:
        done: files of this run that have a result.
        total: files of this run.
        seconds_left: at the speed so far; None before the first result.
    """

    done: int
    total: int
    seconds_left: float | None


class Analyst:
    """Analyses what the page lists, in order of arrival, a few side by side; each content once, whatever it is called.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._results: dict[str, Case | Failure] = {}
        self._shelf = Shelf()
        self._keys: dict[str, str] = {}  # upload's identifier -> SHA-256, so that bytes are hashed once
        self._listed: set[str] = set()
        self._left_out: set[str] = set()
        self._waiting: deque[Source] = deque()
        self._taken: set[str] = set()  # by the pool, of which have begun:
        self._begun: set[str] = set()
        self._pending: set[str] = set()  # contents that are being analysed
        self._at_work = False
        self._done, self._started, self._looked_at = 0, 0.0, 0.0

    def ask(self, sources: Sequence[Source], engine: Engine) -> None:
        """Take the page's list: what is new is queued, what has left the page is forgotten."""
        with self._change:
            self._listed = {source.identifier for source in sources}
            self._left_out &= self._listed
            self._keys = {identifier: key for identifier, key in self._keys.items() if identifier in self._listed}
            kept = set(self._keys.values())
            self._results = {key: result for key, result in self._results.items() if key in kept}
            self._shelf.keep(lambda shelved: shelved[0] in kept)
            done = self._keys.keys() | self._left_out | self._taken
            self._waiting = deque(source for source in sources if source.identifier not in done)
            self._looked_at = time.monotonic()
            if self._waiting and not self._at_work:
                self._at_work, self._done, self._started = True, 0, time.monotonic()
                threading.Thread(target=self._work, args=(engine,), daemon=True, name="analyst").start()

    def cancel(self) -> None:
        """Leave out what has not begun; what is done stays."""
        with self._change:
            self._left_out |= {source.identifier for source in self._waiting} | (self._taken - self._begun)
            self._waiting.clear()
            self._change.notify_all()

    def forget(self) -> None:
        """Let go of every file and result; what is under way ends unseen."""
        with self._change:
            self._listed, self._keys, self._results = set(), {}, {}
            self._shelf.keep(lambda _: False)
            self._waiting.clear()
            self._change.notify_all()

    def resume(self) -> None:
        """Take back a cancellation; the next `ask` queues what was left out."""
        with self._change:
            self._left_out.clear()

    def force(self, source: Source, engine: Engine) -> None:
        """Analyse one file although it was rejected."""
        self._replace(source, self._anew(source, engine, {"force": True}))

    def correct(self, source: Source, engine: Engine, correction: Correction) -> None:
        """Analyse one file rotated or inverted, on top of its present corrections.

        A picture that is both is told as one of the two first: as long as the corrected one is to be corrected in its
        turn, that is done as well. An answer that the file has is not given up for a rejection.
        """
        known = self._results.get(self._keys[source.identifier])
        before = known.analysis.correction if isinstance(known, Case) else Correction()
        whole, result = before, known
        for _ in range(_CORRECTIONS):
            whole = whole.then(correction)
            result = self._anew(source, engine, {"correction": whole})
            suggested = suggestion(result)
            if suggested is None or whole.then(suggested) == before:
                break
            correction = suggested
        if isinstance(result, Failure) and isinstance(known, Case):
            result = known.left_as_it_came()
        if result is not None:
            self._replace(source, result.without_suggestion())

    def _anew(self, source: Source, engine: Engine, options: Mapping[str, Any]) -> Case | Failure:
        key = self._keys[source.identifier]
        return analysed(key, source.read(), engine, options, shelf=self._shelf, read=source.read)

    def _replace(self, source: Source, result: Case | Failure) -> None:
        with self._change:
            self._results[self._keys[source.identifier]] = result

    def key(self, identifier: str) -> str | None:
        """SHA-256 of a file that has had its turn."""
        return self._keys.get(identifier)

    def result(self, identifier: str) -> Case | Failure | None:
        """What is known about a file; None before its turn."""
        return self._results.get(self._keys.get(identifier, ""))

    def is_left_out(self, identifier: str) -> bool:
        """Whether the reader has cancelled the run before this file's turn."""
        return identifier in self._left_out

    @property
    def has_left_out(self) -> bool:
        """Whether a cancelled run could go on."""
        return bool(self._left_out)

    def progress(self) -> Progress | None:
        """How far the run is; None while nothing is being analysed."""
        with self._change:
            self._looked_at = time.monotonic()
            if not self._at_work:
                return None
            undone = len(self._waiting) + len(self._taken)
            left = (time.monotonic() - self._started) / self._done * undone if self._done else None
            return Progress(self._done, self._done + undone, left)

    def wait_for(self, identifier: str, seconds: float) -> Case | Failure | None:
        """Wait until a file has its result, but not for longer than so many seconds."""
        with self._change:
            self._change.wait_for(lambda: self.result(identifier) is not None or not self._at_work, timeout=seconds)
            return self.result(identifier)

    def _work(self, engine: Engine) -> None:
        while self._goes_on():
            for _ in in_order(partial(self._take_up, engine), iter(self._next, None), workers=WORKERS):
                pass
        memory.give_back()  # what decoding took for a moment would be kept for the next time, by every session

    def _goes_on(self) -> bool:
        with self._change:
            self._at_work = self._wants_more()
            self._change.notify_all()
            return self._at_work

    def _wants_more(self) -> bool:
        return bool(self._waiting) and time.monotonic() - self._looked_at < _PATIENCE

    def _next(self) -> Source | None:
        with self._change:
            if not self._wants_more():
                return None
            source = self._waiting.popleft()
            self._taken.add(source.identifier)
            return source

    def _take_up(self, engine: Engine, source: Source) -> None:
        """Analyse one file, unless it was left out or has left the page while it waited."""
        identifier = source.identifier
        with self._change:
            wanted = identifier in self._listed and identifier not in self._left_out
            if wanted:
                self._begun.add(identifier)
        key, result = self._analyse(source, engine) if wanted else ("", None)
        with self._change:
            if result is not None and identifier in self._listed:
                self._keys[identifier] = key
                self._results.setdefault(key, result)
            else:  # it has left the page meanwhile
                self._shelf.keep(lambda shelved: shelved[0] in self._results)
            self._done += wanted
            for names, name in ((self._taken, identifier), (self._begun, identifier), (self._pending, key)):
                names.discard(name)
            self._change.notify_all()

    def _analyse(self, source: Source, engine: Engine) -> tuple[str, Case | Failure]:
        try:
            data = source.read()
        except Exception as error:  # noqa: BLE001 - whatever keeps an upload from being read, the others go on
            return source.identifier, Failure(source.identifier, NoAnswer.of(error, name="an upload"))
        key = hashlib.sha256(data).hexdigest()
        with self._change:
            self._change.wait_for(lambda: key not in self._pending)
            known = self._results.get(key)
            if known is not None:
                return key, known
            self._pending.add(key)
        with _PLACES:
            return key, analysed(key, data, engine, shelf=self._shelf, read=source.read)


def suggestion(result: Case | Failure) -> Correction | None:
    """What would make a picture upright and bone white, where it seems not to be."""
    return result.analysis.suggested_correction if isinstance(result, Case) else result.told.suggested_correction
