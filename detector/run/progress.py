"""How far a long run is, on standard error, where results never go: files done, their rate and the time left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from typing import TextIO

_REDRAWN_EVERY, _LINE_EVERY = 0.1, 10.0  # seconds, on a terminal and into a file


class _Lines:
    """A stream that writes each redrawn line as a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write what can be seen of a redrawn line."""
        if text.strip():
            self._stream.write(text.strip() + "\n")

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def progress_bar(total: int | None, stream: TextIO | None = None) -> tqdm:
    """One redrawn line on a terminal, which goes at the end; a line now and then elsewhere.

    The total is None where nobody has counted the files; without a stream, progress goes to standard error.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    every = _REDRAWN_EVERY if terminal else _LINE_EVERY
    return tqdm(
        total=total, file=stream if terminal else _Lines(stream), unit="file", leave=False, dynamic_ncols=terminal,
        ascii=None if terminal else True, mininterval=every, miniters=1, delay=every, position=0,
    )  # fmt: skip
