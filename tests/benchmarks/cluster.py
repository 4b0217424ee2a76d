"""``predict --engine ray`` beside the local engine: its rate, what an actor takes, and what grows with the images."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks import pictures
from tests.benchmarks.measure import proportional, resident
from tests.conftest import ROOT

_WARM = 0.1  # of the images, after which a run is steady
_SAMPLED_EVERY = 500  # images
_GROWTH = (1_000, 10_000, 50_000)
_MEGABYTE = 1e6


def rate(repeats):
    """Images a second of Ray with two workers over the local engine's, over 10,000 images, each in a fresh process."""
    count = 10_000 if repeats > 1 else 40
    with tempfile.TemporaryDirectory() as folder:
        images = pictures.numbered(Path(folder, "images"), count)
        local, one, two = (_run(images, workers) for workers in (0, 1, 2))
    return {"ratio": two["rate"] / local["rate"], "local": local, "one_worker": one, "two_workers": two}


def actor(repeats):
    """Megabytes of an actor that has answered, its decoder too, over those of one that does nothing."""
    count = 200 if repeats > 1 else 8
    with tempfile.TemporaryDirectory() as folder:
        run = _run(pictures.numbered(Path(folder, "images"), count), 2)
    actors = [actor - run["empty_actor"] for actor in run["actors"]]
    return {"beyond": max(actors), "actors": run["actors"], "empty_actor": run["empty_actor"]}


def growth(repeats):
    """Megabytes that the driver grows by over 50,000 images, once it is steady; beside it time and output by number."""
    counts = _GROWTH if repeats > 1 else (20, 40)
    runs = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            runs[count] = _run(pictures.numbered(Path(folder, "images"), count), 2)
    return {"growth": runs[counts[-1]]["growth"], "by_images": runs}


def _run(images, workers):
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "tests.benchmarks.cluster", str(images), out, str(workers)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        figures = json.loads(done.stdout)
        figures["bytes"] = sum(path.stat().st_size for path in Path(out).iterdir())
    return figures


def main(images, out, workers):
    """Answer a folder as the command does, by the local engine where there are no workers; print the figures."""
    from detector.answers.answer import Question
    from detector.model.card import read_card
    from detector.paths import MODELS
    from detector.run.inputs import find_inputs
    from detector.run.results import TABLE, Request, Results
    from detector.run.table import write_table

    request, card = Request(Question("binary"), explain=False), read_card(MODELS / "detector.json")
    began = time.perf_counter()
    if workers:
        from detector.run import cluster

        _as_on(workers)
        with cluster.cluster(), Results(Path(out), request, card.sha256, resume=False) as results:
            rows = cluster.predict_on_cluster(
                find_inputs([images]), cluster.Network(MODELS, card), request, results=results
            )
            figures = _timed(rows, began, images)
            figures["empty_actor"] = _empty_actor()
            write_table(results.folder / TABLE, results.asked())
    else:
        from detector.model.engine import Engine
        from detector.run.predict import predict_files

        with Results(Path(out), request, card.sha256, resume=False) as results:
            figures = _timed(
                predict_files(find_inputs([images]), Engine.load(), request, results=results), began, images
            )
    sys.stdout.write(json.dumps(figures))


def _timed(rows, began, images):
    count = sum(1 for _ in images.iterdir())
    at, memory, actors = [], [], []
    for number, row in enumerate(rows, start=1):
        if row["status"] != "ok":
            raise RuntimeError(row["reason"])
        at.append(time.perf_counter() - began)
        if number % min(_SAMPLED_EVERY, max(count // 10, 1)) == 0:
            memory.append(proportional("self") / _MEGABYTE)  # Ray's own processes are its children
            actors = [resident(pid) / _MEGABYTE for pid in ray_workers()] or actors  # they end with the last row
    if len(at) != count:
        raise RuntimeError(f"{count - len(at)} of {count} rows are missing")
    warm = int(_WARM * count)
    return {
        "rate": (count - warm) / (at[-1] - at[warm - 1]),
        "first_row": at[0],
        "seconds": at[-1],
        "driver": memory,
        "growth": memory[-1] - memory[len(memory) // 10],
        "actors": actors,
    }


def _as_on(cores):
    """Have Ray find so many cores."""
    import os

    os.environ["RAY_OVERRIDE_RESOURCES"] = json.dumps({"CPU": cores})


def ray_workers():
    """Process identifiers of every worker on this computer; Ray names them after their class."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_Worker"):
                found.append(int(path.parent.name))
        except OSError:
            pass  # it ended while we looked
    return found


def _empty_actor():
    """Megabytes of an actor that does nothing."""
    import os

    import ray

    class Empty:
        def pid(self):
            return os.getpid()

    empty = ray.remote(num_cpus=0)(Empty).remote()
    return resident(ray.get(empty.pid.remote())) / _MEGABYTE


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
