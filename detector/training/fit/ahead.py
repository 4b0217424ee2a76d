"""Makes batches a few ahead of the training, in threads."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_THREADS = 2
_BATCHES = 6

T = TypeVar("T")


def made_ahead(make: Callable[[int], T], steps: range) -> Iterator[T]:
    """Yield ``make(step)`` for each step in order, computed up to six steps before it is asked for."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting = deque(pool.submit(make, step) for step in steps[:_BATCHES])
        for step in range(steps.start + _BATCHES, steps.stop + _BATCHES):
            if not waiting:
                return
            made = waiting.popleft().result()
            if step < steps.stop:
                waiting.append(pool.submit(make, step))
            yield made
