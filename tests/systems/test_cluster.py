"""The work over a cluster of two nodes on this computer: the same rows, whatever is killed on the way."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from detector.answers.answer import Question
from detector.model.card import read_card
from detector.paths import MODELS
from detector.run import cluster as cluster_module
from detector.run.cluster import Network, cluster, predict_on_cluster
from detector.run.inputs import find_inputs
from detector.run.predict import predict_files
from detector.run.results import Request
from tests.benchmarks.cluster import ray_workers
from tests.conftest import ROOT, encode, make_dicom
from tests.hostile import make

os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}  # before Ray is imported
from ray.cluster_utils import Cluster

SECONDS = 120.0
REQUEST = Request(Question("binary"), explain=False)
PICTURES = 60


@pytest.fixture(scope="module")
def nodes():
    """A cluster of a node without cores, where drivers connect, and two of one core each, at other addresses."""
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for number in (2, 3):
        found.add_node(num_cpus=1, node_ip_address=f"127.0.0.{number}")
    found.wait_for_nodes()
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, composite_pixels):
    """Pictures that differ, and among them what is none: empty, torn, a text, and one that the decoder is ended for."""
    folder = tmp_path_factory.mktemp("xrays")
    for number in range(PICTURES):
        (folder / f"{number:03}.png").write_bytes(encode(np.roll(composite_pixels, number, axis=1)))
    (folder / "010.dcm").write_bytes(make_dicom(composite_pixels))
    (folder / "020_empty.png").write_bytes(b"")
    (folder / "021_torn.png").write_bytes(encode(composite_pixels)[:2000])
    (folder / "022_text.png").write_text("not an image")
    (folder / "023_poison.dcm").write_bytes(make.rle_bomb())
    return folder


@pytest.fixture(scope="module")
def local(folder, engine):
    """The local engine's rows."""
    return list(map(told, predict_files(find_inputs([folder]), engine, REQUEST)))


def told(row):
    """A row as it must not differ: bytes, without time and versions."""
    return json.dumps({key: value for key, value in row.items() if key not in {"analysed_at", "versions"}})


#: The command, connected through the node without cores: of several on one computer Ray takes any, even one that ended;
#: and a node that ends takes the drivers with it that are connected through it.
_AT_THE_HEAD = """
import functools, sys
import ray
ray.init = functools.partial(ray.init, _node_ip_address="127.0.0.1")
from detector.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def command(nodes, folder, *options):
    program, address = ["-m", "detector"], []
    if nodes is not None:
        program, address = ["-c", _AT_THE_HEAD], ["--ray-address", nodes.address]
    asked = ["predict", folder, "--format", "jsonl", "--engine", "ray"]
    return list(map(str, [sys.executable, *program, *asked, *address, *options]))


class Run:
    """The command at work; what it says goes to files, since a full pipe would hold it up."""

    def __init__(self, nodes, folder, *options):
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - see finish
        self._process = subprocess.Popen(
            command(nodes, folder, *options), cwd=ROOT, stdout=self._out, stderr=self._err, env=os.environ
        )
        self.poll, self.kill = self._process.poll, self._process.kill

    def finish(self):
        """Exit status, standard output and standard error."""
        try:
            status = self._process.wait(timeout=SECONDS)
        finally:
            self.kill()
            told = []
            for file in (self._out, self._err):
                file.seek(0)
                told.append(file.read().decode())
                file.close()
        return status, *told


def rows_of(out):
    path = out / "results.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_ours(pid):
    """Whether a process descends from the tests' own."""
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = parent(pid)
    return False


def workers():
    """Processes of the workers that the tests' nodes have."""
    found = []
    for pid in ray_workers():
        with contextlib.suppress(OSError, ValueError):  # it ended while we looked
            found += [pid] if is_ours(pid) else []
    return found


def test_rows_are_those_of_the_local_engine_as_lines_and_as_a_table(nodes, folder, local, tmp_path):
    status, out, err = Run(nodes, folder, "--out", tmp_path).finish()
    assert status == 0, err
    assert [told(json.loads(line)) for line in out.splitlines()] == local
    assert list(map(told, rows_of(tmp_path))) == local
    table = parquet.read_table(tmp_path / "results.parquet").to_pylist()
    rows = [json.loads(line) for line in local]
    assert [(row["path"], row["decision"]) for row in table] == [(row["path"], row["decision"]) for row in rows]
    codes = {Path(row["path"]).name: row["code"] for row in rows if row["status"] != "ok"}
    assert codes["023_poison.dcm"] == "decoding_limit"
    assert len(codes) == 4


def test_a_worker_that_is_killed_costs_no_row(nodes, folder, local, tmp_path):
    run = Run(nodes, folder, "--out", tmp_path)
    until(lambda: len(rows_of(tmp_path)) > 4)
    for pid in workers()[:1]:
        os.kill(pid, signal.SIGKILL)
        break
    else:
        pytest.fail("no worker was there to be killed")
    status, out, err = run.finish()
    assert status == 0, err
    assert [told(json.loads(line)) for line in out.splitlines()] == local


def test_a_driver_that_is_killed_goes_on_where_it_was(nodes, folder, local, tmp_path):
    run = Run(nodes, folder, "--out", tmp_path)
    until(lambda: len(rows_of(tmp_path)) > 8)
    run.kill()
    run.finish()
    before = rows_of(tmp_path)
    assert len(before) < len(local)
    status, out, err = Run(nodes, folder, "--out", tmp_path, "--resume").finish()
    assert status == 0, err
    assert list(map(told, rows_of(tmp_path))) == local
    assert len(out.splitlines()) == len(local) - len(before)
    assert f"{len(before)} more have their row" in err


class Deadly(cluster_module._Worker):
    """A worker that one file ends."""

    def answer(self, files):
        if any("deadly" in file.name for file in files):
            os._exit(1)
        return super().answer(files)


def test_a_file_that_ends_its_worker_costs_its_own_row(nodes, folder, local, monkeypatch):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(cluster_module, "_Worker", Deadly)
    names = list(find_inputs([folder]))
    names[5:5] = ["deadly.png"]
    network = Network(MODELS, read_card(MODELS / "detector.json"))
    with cluster(nodes.address):
        rows = list(predict_on_cluster(names, network, REQUEST))
    (lost,) = [row for row in rows if row["path"] == "deadly.png"]
    assert (lost["status"], lost["code"]) == ("error", "worker_lost")
    assert [told(row) for row in rows if row is not lost] == local


class Store(ThreadingHTTPServer):
    """A folder by HTTP; it goes away once it has given so many files, where that is said."""

    def __init__(self, folder, *, port=0, files=None):
        super().__init__(("127.0.0.1", port), partial(Files, directory=folder))
        self.address = f"http://127.0.0.1:{self.server_address[1]}/"
        self._left, self._count = files, threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def gives(self):
        """Whether it gives one more file."""
        with self._count:
            if self._left is None:
                return True
            self._left -= 1
            if self._left == 0:
                threading.Thread(target=self.end).start()
            return self._left >= 0

    def end(self):
        self.shutdown()
        self.server_close()


class Files(SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path.endswith("/") or self.server.gives():
            super().do_GET()
        else:
            self.close_connection = True

    def log_message(self, *_):
        pass


def test_a_store_that_goes_away_loses_nothing_and_gives_nothing_twice(nodes, folder, local, tmp_path):
    store = Store(folder, files=45)
    status, _, err = Run(nodes, store.address, "--out", tmp_path).finish()
    assert status == 1, err
    lost = [row for row in rows_of(tmp_path) if row["status"] == "error"]
    assert {row["code"] for row in lost} == {"store"}
    assert len(lost) == len(local) - 45
    back = Store(folder, port=store.server_address[1])
    status, _, err = Run(nodes, store.address, "--out", tmp_path, "--resume").finish()
    back.end()
    assert status == 0, err
    answered = [row for row in rows_of(tmp_path) if row["status"] != "error"]
    expected = [json.loads(line) for line in local]
    assert sorted(Path(row["path"]).name for row in answered) == [Path(row["path"]).name for row in expected]
    probabilities = {Path(row["path"]).name: row["probabilities"] for row in answered}
    assert probabilities == {Path(row["path"]).name: row["probabilities"] for row in expected}


def test_a_cluster_that_is_not_there_is_said(folder):
    program = command(None, folder, "--ray-address", "127.0.0.1:9")
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "cluster does not answer" in done.stderr


def test_a_node_that_is_added_works_and_one_that_is_lost_is_not_missed(nodes, folder, local, tmp_path):
    """The last test: it changes the nodes."""
    first, second = sorted(nodes.worker_nodes, key=lambda node: node.node_id)
    nodes.remove_node(first, allow_graceful=False)
    run = Run(nodes, folder, "--out", tmp_path)
    until(lambda: len(workers()) == 1 or run.poll() is not None)
    assert run.poll() is None, run.finish()
    nodes.add_node(num_cpus=1, node_ip_address="127.0.0.4")
    until(lambda: len(workers()) == 2 or run.poll() is not None)
    assert run.poll() is None, "the added node came too late to work"
    nodes.remove_node(second, allow_graceful=False)
    status, out, err = run.finish()
    assert status == 0, err
    assert [told(json.loads(line)) for line in out.splitlines()] == local
