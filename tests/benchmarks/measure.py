"""How we measure: pairs taken in turn in one run, so that whatever else the machine does meets both alike."""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from detector.report.rows import versions
from tests.conftest import ROOT


@dataclass(frozen=True)
class Ratio:
    """Ours over a baseline, pair by pair.

    Attributes:
        median: of the pairs' ratios.
        low: their first quartile.
        high: their third quartile.
        ours: median of our figure.
        baseline: median of the baseline's figure.
        pairs: how many.
    """

    median: float
    low: float
    high: float
    ours: float
    baseline: float
    pairs: int


def ratio(ours, baseline, *, repeats):
    """Call both in turn, once unmeasured, then so often; each returns its figure."""
    ours(), baseline()
    pairs = [(ours(), baseline()) for _ in range(repeats)]
    ratios = [mine / other for mine, other in pairs]
    low, _, high = statistics.quantiles(ratios, n=4) if repeats > 1 else (ratios[0],) * 3
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Ratio(statistics.median(ratios), low, high, mine, other, repeats)


class Peer:
    """Work in a process of its own, which builds once and then does one unit whenever it is asked.

    TensorFlow's threads are set for a whole process, so ours and the baselines can't share one.

    Args:
        name: in `tests.benchmarks.peer`.
        threads: of TensorFlow within an operation; 0 is its default, all cores.

    Attributes:
        processor_seconds: of every unit so far, all threads together: hardly moved by what else the machine does.
    """

    def __init__(self, name, *, threads=0):
        command = [sys.executable, "-m", "tests.benchmarks.peer", name, str(threads)]
        self.processor_seconds = []
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(timeout=600)
        self._process.stdout.close()
        self._process.stderr.close()

    def __call__(self):
        """Seconds that one unit took, measured there; those of all its threads together are kept aside."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(self._process.stderr.read()[-2000:])
        seconds, processor_seconds = map(float, line.split())
        self.processor_seconds.append(processor_seconds)
        return seconds


def resident(pid="self"):
    """Bytes of memory that a process and its children hold, shared pages counted once (Linux)."""
    total = proportional(pid)
    children = Path(f"/proc/{pid}/task")
    for task in children.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            total += sum(resident(child) for child in (task / "children").read_text().split())
    return total


def proportional(pid):
    """Bytes of memory that a process holds, its share of what it shares with others; its children left out."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def machine():
    """What the figures were taken on; no name, no address."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": round(os.getloadavg()[0], 2),
        "versions": dict(versions()),
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def as_json(value):
    """JSON of records and numbers, to six digits."""
    return json.dumps(value, indent=2, default=lambda record: record.__dict__) + "\n"
