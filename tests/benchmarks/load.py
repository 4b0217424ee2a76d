"""The page under load: what it answers wrongly, how long a bystander waits, and what memory it keeps."""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks import pictures
from tests.benchmarks.measure import resident
from tests.benchmarks.server import served_page
from tests.conftest import ROOT
from tests.visitor import form, visiting

_RELEASED_SECONDS = 120
_SETTLED_MEGABYTES = 50
_QUIET_SECONDS = 15  # without a message: the example is analysed and drawn
_BYTES = 3_000_000


def uploads_at_once(repeats):
    """300 uploads of 3 MB at one moment, in ten sessions."""
    count, sessions = (300, 10) if repeats > 1 else (6, 2)
    data = bytes(_BYTES)

    def burden(visitors):
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda number: visitors[number % sessions].upload(data), range(count)))

    return _under(burden, sessions)


def slow_uploads(repeats):
    """200 uploads of 3 MB, each of which sends a little a second, in ten sessions."""
    count, sessions, seconds = (200, 10, 20) if repeats > 1 else (4, 2, 2)
    body = form(bytes(_BYTES))

    def burden(visitors):
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda number: _slowly(visitors[number % sessions], body, seconds), range(count)))

    return _under(burden, sessions)


def dropped_sessions(repeats):
    """40 sessions, each of which uploads 3 MB and leaves."""
    sessions = 40 if repeats > 1 else 2
    return _under(lambda visitors: [visitor.upload(bytes(_BYTES)) for visitor in visitors], sessions)


def many_files(repeats):
    """20,000 files on one command line: rows that are missing or failed, and images a second."""
    count = 20_000 if repeats > 1 else 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [path.name for path in sorted(pictures.numbered(folder, count).iterdir())]
        began = time.perf_counter()
        command = [sys.executable, "-m", "detector", "predict", "--format", "jsonl", *paths]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - began
    status = Counter(json.loads(line)["status"] for line in done.stdout.splitlines())
    failed = count - status["ok"] - status["rejected"]
    return {"failed": float(failed), "exit_status": done.returncode, "images_a_second": count / seconds}


def _slowly(visitor, body, seconds):
    """The status of an upload that takes so many seconds."""
    connection = http.client.HTTPConnection(visitor.host, timeout=seconds + 120)
    connection.putrequest("PUT", visitor.place())
    for name, value in visitor.headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    step = -(-len(body) // seconds)
    for start in range(0, len(body), step):
        connection.send(body[start : start + step])
        time.sleep(1)
    status = connection.getresponse().status
    connection.close()
    return status


def _under(burden, sessions):
    """What a burden costs: wrong answers, the wait of a bystander, and memory that is kept two minutes later.

    The server has analysed its example before it is measured: what it loads once is no burden's.
    """
    with served_page() as (address, pid):
        with visiting(address) as first:
            first.upload(bytes(_BYTES))
            for _ in first.messages(seconds=_QUIET_SECONDS):
                pass
        before = resident(pid)
        with _bystander(address) as waits, ExitStack() as open_sessions:
            visitors = [open_sessions.enter_context(visiting(address)) for _ in range(sessions)]
            answers = burden(visitors)
        left = _left(pid, before)
    waits.sort()
    errors = sum(answer != 204 for answer in answers)
    p95 = waits[int(0.95 * (len(waits) - 1))]
    return {"errors": errors, "answers": Counter(map(str, answers)), "bystander": p95, "longest": waits[-1],
            "left": left}  # fmt: skip


@contextmanager
def _bystander(address):
    """Seconds that somebody waits who asks for the page twice a second meanwhile."""
    waits, ended = [], threading.Event()

    def ask():
        while True:
            began = time.perf_counter()
            with urllib.request.urlopen(address, timeout=120) as answer:  # noqa: S310 - our own address
                answer.read()
            waits.append(time.perf_counter() - began)
            if ended.wait(0.5):
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits
    finally:
        ended.set()
        thread.join()


def _left(pid, before):
    """Megabytes above `before` when they are few enough, or two minutes after everybody has left."""
    deadline = time.monotonic() + _RELEASED_SECONDS
    while True:
        left = (resident(pid) - before) / 1e6
        if left <= _SETTLED_MEGABYTES or time.monotonic() > deadline:
            return left
        time.sleep(1)
