"""``python -m tests.benchmarks.peer NAME THREADS``: one unit of work a line of input, its seconds a line of output."""

import sys
import time


def ours():
    """Everything about a 2,000 x 2,000 JPEG: decode, gate, lung fields, network, all maps, overlay at 1,024 pixels."""
    from detector.answers import overlay
    from detector.answers.answer import Question, answer
    from detector.answers.pipeline import analyse
    from detector.model.engine import Engine
    from detector.schema import BINARY
    from tests.benchmarks.pictures import jpeg

    engine, data = Engine.load(), jpeg(0, 2000)
    full_scale = engine.card.saliency_scale[BINARY.name]

    def work():
        analysis = analyse(data, engine)
        answer(analysis, Question())
        image = overlay.to_display(analysis.radiograph.grey)
        heatmap = overlay.to_heatmap(analysis.cams[BINARY.name][0], overlay.scaled(analysis.geometry, *image.shape))
        overlay.blend(image, heatmap, full_scale=full_scale, opacity=0.6)

    return work


def folder():
    """A folder of files at 224 pixels without maps, rows on the disk."""
    import itertools
    import tempfile
    from pathlib import Path

    from detector.answers.answer import Question
    from detector.model.engine import Engine
    from detector.run.predict import find_files, predict_files
    from detector.run.results import Request, Results
    from tests.benchmarks.networks import BATCHED_IMAGES
    from tests.benchmarks.pictures import write_folder

    engine, request = Engine.load(), Request(Question("binary"), explain=False)
    place = tempfile.TemporaryDirectory()
    write_folder(Path(place.name, "images"), BATCHED_IMAGES, 224)
    runs = itertools.count()

    def work(_keep=place):
        out = Path(place.name, f"out{next(runs)}")
        files = list(find_files([Path(place.name, "images")]))
        with Results(out, request, engine.card.sha256, resume=False) as results:
            rows = list(predict_files(files, engine, request, results=results))
        if [row["status"] for row in rows] != ["ok"] * BATCHED_IMAGES:
            raise RuntimeError([row["reason"] for row in rows if row["status"] != "ok"])

    return work


def build(name):
    """The work of that name."""
    if name in {"ours", "folder"}:
        return globals()[name]()
    from tests.benchmarks import networks

    if name == "networks_side_by_side":
        return networks.networks_in_batches(threads=2)
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
