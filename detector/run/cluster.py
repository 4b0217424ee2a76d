"""Many files over a cluster: Ray starts the workers, places them, restarts them and tries again.

A worker is a Ray actor with one loaded network, one for each core of a node. It reads a file where it lies, so a file's
bytes never pass through the driver; rows come back, and the driver writes them in the order of the files, as a run on
one computer does. What is under way is bounded, so that the driver's memory does not grow with the number of files.

Nothing is reported to anybody, and without an address everything listens on loopback alone.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from detector import __version__
from detector.errors import ClusterError, DetectorError, ModelError, WorkerLostError
from detector.model.engine import Engine
from detector.read import sandbox
from detector.run.inputs import is_address
from detector.run.pool import never
from detector.run.predict import Done, Task, answer_file, failed, written

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from detector.model.card import ModelCard
    from detector.report.rows import Row
    from detector.run.results import Request, Results

_LOG = logging.getLogger(__name__)

_CORES = 0.5  # of a worker, as Ray counts: the other half of its core is for the process that decodes
_AT_ONCE = 2  # calls that a worker answers side by side: while one waits for its decoder, the other's network runs
_CALLS = 3  # that a worker has, so that the next one lies there before one is answered
_FILES = 4  # a call: it costs a millisecond, and a file a hundred
_AHEAD = 4  # times the calls under way that may be answered and wait for their turn
_TRIES = 3  # of a file that a worker died of: twice it may have been another one's fault
_POLL = 0.1  # seconds between looks at whether to stop
_LOOK_EVERY = 2.0  # seconds between looks at the cluster's nodes
_KNOCK = 10.0  # seconds that a cluster has to take a connection
_PATIENCE = 60.0  # seconds without any worker, after which the run ends
_FINISH = 5.0  # seconds that calls under way have after a stop
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # without it, a warning about accelerators that nobody uses
}
_LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # its name for: on this computer, everything listens on loopback


@dataclass(frozen=True)
class Network:
    """What the workers load.

    Attributes:
        folder: of the networks, which every node has.
        card: of the network, which must be the same on every node.
    """

    folder: Path
    card: ModelCard


@dataclass(frozen=True)
class _File:
    """One file of a call: the name in its row, where it is read, and the contents that need no row any more."""

    name: str
    place: str
    held: tuple[str | None, ...]


class _Worker:
    """An actor: the network, loaded once, and the decoder's processes. It works for its own version of the program."""

    def __init__(self, network: Network, task: Task, version: str) -> None:
        self._task = task
        self._failure: DetectorError | None = None
        sandbox.warm_up()
        try:
            if version != __version__:
                raise ClusterError(f"A worker has version {__version__}. The driver's is {version}.")
            self._engine = Engine.load(network.card.name, network.folder)
            if self._engine.card != network.card:
                raise ModelError(f"A worker's card of {network.card.name} is another one than the driver's.")
        except DetectorError as error:
            self._failure = error

    def answer(self, files: list[_File]) -> list[Done]:
        """Answer a few files.

        Raises:
            DetectorError: if the worker has no network, or another one.
        """
        if self._failure is not None:
            raise self._failure
        return [answer_file(f.name, f.place, self._engine, self._task, held=f.held.__contains__) for f in files]


@contextlib.contextmanager
def cluster(address: str | None = None) -> Iterator[None]:
    """Ray, started on this computer and ended again, or a cluster that is there.

    Args:
        address: ``host:port`` of a cluster; None for one of this computer's own.

    Raises:
        ClusterError: if it can't be started or reached.
    """
    os.environ |= _ENVIRONMENT | (_LOCAL if address is None else {})
    import ray  # noqa: PLC0415 - the environment is read when it is imported

    options: dict[str, Any] = {"namespace": "cxr-detector", "log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options["include_dashboard"] = False
    with contextlib.redirect_stdout(sys.stderr):  # where Ray says what it has to say; the other is for results
        try:
            _knock(address)
            ray.init(address=address or "local", **options)
        except Exception as error:  # Ray raises it as such where a part of it does not start
            raise ClusterError(f"Ray {address or 'on this computer'}: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _knock(address: str | None) -> None:
    """See whether anybody is there: Ray would try for minutes.

    Raises:
        OSError: if nobody is.
        ValueError: if it is no address of a cluster.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), _KNOCK).close()


def predict_on_cluster(
    files: Iterable[Path | str],
    network: Network,
    request: Request,
    *,
    results: Results | None = None,
    stop: Callable[[], bool] = never,
    on_finished: Callable[[], object] = lambda: None,
) -> Generator[Row]:
    """Analyse files on the connected cluster, where every worker must find them under the same names.

    Arguments and rows are those of `detector.run.predict.predict_files`, with a network to load in place of the engine.

    Raises:
        ClusterError: if no worker is left.
        ModelError: if a node's network is missing, or another one.
        OutputError: if a result can't be written.
    """
    crew = _Crew(network, Task.of(request, results))
    asked = (_file(str(file), results) for file in files)
    with contextlib.closing(crew.answers(asked, stop)) as done:
        yield from written(done, results, on_finished)


def _file(name: str, results: Results | None) -> _File:
    place = name if is_address(name) else os.path.abspath(name)  # noqa: PTH100 - a worker stands elsewhere
    return _File(name, place, results.hashes(name) if results is not None else ())


@dataclass(eq=False)
class _Call:
    """A few files that a worker was asked about; `done` is None until it has answered, or was lost."""

    files: list[_File]
    worker: Any
    done: list[Done] | None = None
    is_over: bool = False


class _Crew:
    """The workers of all nodes, and the calls that are under way."""

    def __init__(self, network: Network, task: Task) -> None:
        import ray  # noqa: PLC0415 - see cluster()

        self._ray, self._network, self._task = ray, network, task
        self._kind = ray.remote(num_cpus=_CORES, max_concurrency=_AT_ONCE)(_Worker)  # one that dies gets a successor
        self._nodes: dict[Any, str] = {}  # each living worker's
        self._free: deque[Any] = deque()  # each worker as often as it can still be called
        self._calls: dict[Any, _Call] = {}  # under way, by Ray's reference
        self._looked = self._seen = time.monotonic() - _LOOK_EVERY

    def answers(self, files: Iterable[_File], stop: Callable[[], bool]) -> Generator[Done]:
        """What becomes of each file, in order."""
        remaining, begun, deadline = _few(files), deque[_Call](), math.inf
        while time.monotonic() < deadline:
            if stop():
                deadline = min(deadline, time.monotonic() + _FINISH)
            elif self._look_around():
                self._call(remaining, begun)
            if not begun and (self._nodes or stop()):
                return
            self._wait()
            while begun and begun[0].is_over:
                yield from self._result(begun.popleft())

    def _look_around(self) -> bool:
        """Take on a worker for every core that has none, now and then; returns whether there is any.

        Raises:
            ClusterError: if there has been none for too long.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            have = Counter(self._nodes.values())
            for node in self._ray.nodes():
                if node["Alive"]:
                    for _ in range(int(node["Resources"].get("CPU", 0)) - have[node["NodeID"]]):
                        self._take_on(node["NodeID"])
        if self._nodes:
            self._seen = now
        elif now - self._seen > _PATIENCE:
            raise ClusterError(f"No node has had a core to work on for {_PATIENCE:.0f} s.")
        return bool(self._nodes)

    def _take_on(self, node: str) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - see cluster()

        place = NodeAffinitySchedulingStrategy(node, soft=False)  # it ends with its node; others do its work
        worker = self._kind.options(scheduling_strategy=place).remote(self._network, self._task, __version__)
        self._nodes[worker] = node
        self._free.extend([worker] * _CALLS)

    def _call(self, remaining: Iterator[list[_File]], begun: deque[_Call]) -> None:
        """Give every worker what it has room for, unless too much waits for its turn."""
        most = _AHEAD * _CALLS * len(self._nodes)
        while self._free and len(begun) < most and (few := next(remaining, None)) is not None:
            call = _Call(few, self._free.popleft())
            self._calls[call.worker.answer.remote(few)] = call
            begun.append(call)

    def _wait(self) -> None:
        """Wait a moment for calls to be over, and see to all that are."""
        if not self._calls:
            time.sleep(_POLL)
            return
        self._ray.wait(list(self._calls), timeout=_POLL)
        ready, _ = self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        for reference in ready:
            call = self._calls.pop(reference)
            call.done = self._got(reference, call.worker)
            call.is_over = True
            if call.worker in self._nodes:
                self._free.append(call.worker)

    def _got(self, reference: Any, worker: Any) -> list[Done] | None:
        """What a worker answers; None where it, or its answer, was lost.

        Raises:
            DetectorError: if it has no network, or another one.
        """
        errors = self._ray.exceptions
        try:
            return cast("list[Done]", self._ray.get(reference))
        except errors.RayTaskError:
            raise
        except errors.RayError as error:
            _LOG.warning("a worker was lost (%s); its files are tried again", type(error).__name__)
            self._nodes.pop(worker, None)
            self._free = deque(other for other in self._free if other is not worker)
            self._ray.kill(worker)  # it may be only its connection that was lost
            return None

    def _result(self, call: _Call) -> Iterator[Done]:
        """What a call gave; where it was lost, its files one by one, so that one that ends a worker is known."""
        if call.done is not None:
            yield from call.done
            return
        for file in call.files:
            yield self._alone(file)

    def _alone(self, file: _File) -> Done:
        tries = 0
        while tries < _TRIES:
            while not self._look_around():
                time.sleep(_POLL)
            worker = next(iter(self._nodes))
            if self._got(worker.answer.remote([]), worker) is None:
                continue  # it never began, or its node is gone: the file is not to blame
            if (done := self._got(worker.answer.remote([file]), worker)) is not None:
                return done[0]
            tries += 1
        lost = WorkerLostError(f"{_TRIES} workers died of {file.name}.")
        return failed(file.name, lost, self._network.card, self._task)


def _few(files: Iterable[_File]) -> Iterator[list[_File]]:
    remaining = iter(files)
    while few := list(itertools.islice(remaining, _FILES)):
        yield few
