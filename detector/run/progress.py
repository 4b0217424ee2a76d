"""How far a long run is, on standard error, where results never go."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_REDRAWN_EVERY, _LINE_EVERY = 0.1, 10.0  # seconds, on a terminal and into a file
_WINDOW = 20.0  # seconds over which the rate is taken: what a resumed run passes over soon stops counting
_BAR_WIDTH = 24  # cells
_CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Files done, their rate and the time left: one redrawn line on a terminal, a line now and then elsewhere.

    Not `tqdm` (MPL-2.0, where our other parts are Apache, BSD or MIT) nor `rich`, whose bar can't share a terminal with
    rows that another stream writes there.

    Args:
        total: number of files.
        stream: where to; standard error where None.
        clock: seconds, rising.
    """

    def __init__(
        self, total: int, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total, self.done = total, 0
        self._stream, self._clock = stream or sys.stderr, clock
        self._terminal = self._stream.isatty()
        self._shown = clock()
        self._times = deque([(clock(), 0)])
        self._drawn = False

    def step(self) -> None:
        """Count one file and draw if it is time."""
        self.done += 1
        now = self._clock()
        self._times.append((now, self.done))
        while len(self._times) > 2 and now - self._times[0][0] > _WINDOW:
            self._times.popleft()
        if now - self._shown >= (_REDRAWN_EVERY if self._terminal else _LINE_EVERY):
            self._shown = now
            self._draw()

    def clear(self) -> None:
        """Take the line away, before something else is written to the terminal."""
        if self._drawn:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()
            self._drawn = False

    def text(self) -> str:
        """``120/2000  24.1 a second  1:18 left``."""
        rate = self._rate()
        left = f"{_duration((self.total - self.done) / rate)} left" if rate else ""
        return f"{self.done}/{self.total}  {rate:.1f} a second  {left}".rstrip()

    def _rate(self) -> float:
        (began, before), (now, done) = self._times[0], self._times[-1]
        return (done - before) / (now - began) if now > began else 0.0

    def _draw(self) -> None:
        if not self._terminal:
            self._stream.write(self.text() + "\n")
        else:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(_CLEAR_LINE + f"{self._bar()}  {self.text()}"[:width])
            self._drawn = True
        self._stream.flush()

    def _bar(self) -> str:
        filled = round(_BAR_WIDTH * self.done / max(1, self.total))
        full, empty = "━─" if (self._stream.encoding or "").lower().startswith("utf") else "#-"
        return full * filled + empty * (_BAR_WIDTH - filled)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
