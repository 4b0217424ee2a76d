"""Every benchmark runs; what it measures is for a machine at rest and `make bench`."""

import json
import os
import subprocess
import sys

import pytest

from tests.benchmarks.measure import machine, ratio
from tests.benchmarks.rows import ROWS, Row
from tests.browser.conftest import CHROMIUM
from tests.conftest import ROOT

IN_BROWSER = {"page_start", "container_start", "page_memory", "sessions"}


@pytest.mark.skipif(not os.environ.get("RUN_BENCHMARKS"), reason="RUN_BENCHMARKS is not set: ten processes, minutes")
@pytest.mark.parametrize("name", ROWS)
def test_benchmark_runs_once_and_gives_its_figure(name):
    if name in IN_BROWSER and CHROMIUM is None:
        pytest.skip("there is no Chromium")
    command = [sys.executable, "-m", "tests.benchmarks", "--one", name, "--repeats", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout)
    assert isinstance(figures[ROWS[name].figure], float)
    assert not figures.get("errors")
    assert not figures.get("mixed_up")


def test_ratio_is_the_median_of_pairs_taken_in_turn():
    calls = []
    ours, baseline = iter([9.0, 1.0, 2.0, 6.0]), iter([9.0, 1.0, 1.0, 2.0])
    found = ratio(lambda: calls.append("ours") or next(ours), lambda: calls.append("base") or next(baseline), repeats=3)
    assert calls == ["ours", "base"] * 4
    assert found.median == 2.0
    assert (found.ours, found.baseline, found.pairs) == (2.0, 1.0, 3)


def test_row_knows_which_way_is_better():
    assert Row("", None, 4, 3).reached(3.9)
    assert not Row("", None, 4, 3).reached(4.1)
    assert Row("", None, 16, 25, at_least=True).reached(17)
    assert not Row("", None, 16, 25, at_least=True).reached(15)


def test_machine_is_described_without_its_name():
    import platform

    text = json.dumps(machine())
    assert machine()["cores"] >= 1
    assert machine()["memory_gb"] > 0
    assert platform.node() not in text
