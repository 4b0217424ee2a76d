"""``python -m tests.benchmarks.peer NAME THREADS``: one unit of work a line of input, its seconds a line of output."""

import sys
import time


def ours():
    """Everything about a 2,000 x 2,000 JPEG: decode, gate, lung fields, network, all maps."""
    from detector.answers.pipeline import analyse
    from detector.model.engine import Engine
    from tests.benchmarks.pictures import jpeg

    engine, data = Engine.load(), jpeg(0, 2000)
    return lambda: analyse(data, engine)


def decoding():
    """The decoding of the same JPEG, in its sandbox."""
    from detector.read.sandbox import read_radiograph
    from tests.benchmarks.pictures import jpeg

    data = jpeg(0, 2000)
    return lambda: read_radiograph(data)


def maps():
    """A pass and the maps of every class of both tasks."""
    import numpy as np

    from detector.model.engine import Engine
    from detector.model.gradcam import evidence_maps

    engine = Engine.load()
    side = engine.card.input_size
    pixels = np.random.default_rng(0).uniform(-1, 1, (side, side, 1)).astype(np.float32)
    return lambda: evidence_maps(engine.run(pixels).features, engine.kernels)


def folder():
    """A folder of files at 224 pixels without maps, rows on the disk."""
    import itertools
    import tempfile
    from pathlib import Path

    from detector.answers.answer import Question
    from detector.model.engine import Engine
    from detector.run.inputs import find_files
    from detector.run.predict import predict_files
    from detector.run.results import Request, Results
    from tests.benchmarks.networks import FOLDER
    from tests.benchmarks.pictures import write_folder

    engine, request = Engine.load(), Request(Question("binary", "balanced"), explain=False)
    place = tempfile.TemporaryDirectory()
    write_folder(Path(place.name, "images"), FOLDER, 224)
    runs = itertools.count()

    def work(_keep=place):
        out = Path(place.name, f"out{next(runs)}")
        files = list(find_files([Path(place.name, "images")]))
        with Results(out, request, engine.card.sha256, resume=False) as results:
            rows = list(predict_files(files, engine, request, results=results))
        if [row["status"] for row in rows] != ["ok"] * FOLDER:
            raise RuntimeError([row["reason"] for row in rows if row["status"] != "ok"])

    return work


def build(name):
    """The work of that name."""
    if name in {"ours", "decoding", "maps", "folder"}:
        return globals()[name]()
    from tests.benchmarks import networks

    return getattr(networks, name)()


def main(name, threads):
    """Build, then answer until the input ends."""
    if threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
    work = build(name)
    for _ in sys.stdin:
        began, processor_began = time.perf_counter(), time.process_time()
        work()
        sys.stdout.write(f"{time.perf_counter() - began} {time.process_time() - processor_began}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
