"""Work on many items side by side, handed out in their order; the page and the command line use it.

The threads are daemons of our own: those of an executor hold up the end of the program for as long as one of them
waits for a disk that does not answer.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Todo = queue.SimpleQueue[tuple[Future[_Result], _Item] | None]

# Two more than the cores, of which six count at most: while one waits for its decoder, others run. The largest images
# take half a gigabyte each.
WORKERS = min(os.cpu_count() or 1, 6) + 2
AHEAD = 2  # items a worker that may wait, begun or finished, for their turn
_POLL = 0.1  # seconds between looks at whether to stop
_FINISH = 1.0  # seconds that items under way have after a stop: an image takes a tenth, but the disk may be busy
_LEAVE = 0.5  # seconds that the threads then have to come to an end


def never() -> bool:
    """Don't stop."""
    return False


def in_order(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    workers: int = WORKERS,
    stop: Callable[[], bool] = never,
) -> Generator[_Result]:
    """Map items in threads, a few ahead of the reader, and yield in their order.

    Args:
        work: what to do; its error is raised where its result would be yielded.
        items: taken as there is room for them.
        workers: number of threads.
        stop: once true, what is under way is finished, if it is within seconds, and the rest is left.
    """
    todo: _Todo[_Result, _Item] = queue.SimpleQueue()
    threads = [threading.Thread(target=_serve, args=(work, todo), daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    waiting: deque[Future[_Result]] = deque()
    remaining = iter(items)
    try:
        while not stop():
            for item in itertools.islice(remaining, workers * AHEAD - len(waiting)):
                waiting.append(Future())
                todo.put((waiting[-1], item))
            if not waiting:
                return
            if _is_finished(waiting[0], _POLL):
                yield waiting.popleft().result()
        yield from _begun(waiting, time.monotonic() + _FINISH)
    finally:
        _dismiss(threads, waiting, todo)


def _serve(work: Callable[[_Item], _Result], todo: _Todo[_Result, _Item]) -> None:
    while (job := todo.get()) is not None:
        future, item = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            result = work(item)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)
        del future, item, job  # a result must not live on in a thread that waits for the next


def _is_finished(future: Future[_Result], seconds: float) -> bool:
    return bool(wait([future], max(0, seconds)).done)


def _begun(waiting: Iterable[Future[_Result]], deadline: float) -> Iterator[_Result]:
    """Results of what had been begun when the stop came, in order, as far as they come, and are taken, in time."""
    under_way = [future for future in waiting if not future.cancel()]
    for future in under_way:
        left = deadline - time.monotonic()
        if left <= 0 or not _is_finished(future, left):
            return
        yield future.result()


def _dismiss(
    threads: Sequence[threading.Thread], waiting: Iterable[Future[_Result]], todo: _Todo[_Result, _Item]
) -> None:
    for future in waiting:
        future.cancel()
    for _ in threads:
        todo.put(None)
    deadline = time.monotonic() + _LEAVE
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
