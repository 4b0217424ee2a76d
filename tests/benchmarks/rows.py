"""The rows of the table: what is measured, against what, and how far it should reach.

Each function takes ``repeats`` (pairs, or 1 for a trial run on small numbers) and gives figures by name.
"""

import gc
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import cluster, load, pictures
from tests.benchmarks.measure import Peer, ratio, resident
from tests.conftest import ROOT

_MEGABYTE = 1e6
_EMPTY_APP = "import streamlit as st\nst.file_uploader('Empty')\n"
_SESSIONS = 10


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: is measured, over what.
        measure: the function.
        reach: what it has to reach.
        then: what it should reach next.
        unit: of both.
        at_least: whether more is better.
        figure: key of the measured figure that counts.
    """

    what: str
    measure: object = field(repr=False)
    reach: float
    then: float
    unit: str = "×"
    at_least: bool = False
    figure: str = "ratio"

    def reached(self, value):
        """Whether a value of the figure is good enough."""
        return value >= self.reach if self.at_least else value <= self.reach


def _against(ours, baseline, repeats, *, inverse=False, threads=0):
    """Ours over a baseline, each in a process of its own; `inverse` is the baseline over ours.

    Beside it the same ratio in seconds of processor, which other programs hardly move.
    """
    with Peer(ours) as mine, Peer(baseline, threads=threads) as other:
        pair = (other, mine) if inverse else (mine, other)
        found = ratio(*pair, repeats=repeats)
        spent = [statistics.median(one.processor_seconds[-repeats:]) for one in pair]
    return {"ratio": found.median, "pairs": found, "of_processor_time": spent[0] / spent[1]}


def _against_tensorflow(ours, baseline, repeats):
    """How many times faster we are than a baseline on TensorFlow's own threads, as whoever runs it has it.

    Beside it the same on one thread: batches gain from threads and single images lose. ``strictest`` is the figure
    against the better of both.
    """
    found = _against(ours, baseline, repeats, inverse=True)
    if repeats == 1:
        return found
    alone = _against(ours, baseline, repeats, inverse=True, threads=1)
    return found | {"strictest": min(found["ratio"], alone["ratio"]), "one_thread": alone}


def analysis_over_bare_forward(repeats):
    """Everything about a 2,000 x 2,000 JPEG, its decoding too, over one bare pass of EfficientNet-Lite0."""
    return _against("ours", "bare_forward", repeats)


def decoding_over_bare_forward(repeats):
    """The decoding of the same JPEG, in its sandbox, over the same bare pass: what of the row before is no network."""
    return _against("decoding", "bare_forward", repeats)


def maps_over_logits(repeats):
    """One pass and the maps of every class of both tasks, over a network that gives logits alone."""
    return _against("maps", "logits_alone", repeats)


def usual_way_over_analysis(repeats):
    """The usual way's time over ours."""
    return _against_tensorflow("ours", "usual_way", repeats)


def original_way_over_analysis(repeats):
    """The original's time over ours; beside it that of a lighter network, as its text can be read as well."""
    found = _against_tensorflow("ours", "original_way", repeats)
    return found | {"with_pooling": _against_tensorflow("ours", "original_way_pooled", repeats)}


def folder_throughput(repeats):
    """Images a second over a folder, over those of the two networks alone on all cores."""
    return _against("folder", "networks_on_all_cores", repeats, inverse=True)  # times are the inverse of rates


def _seconds_of(*command):
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def first_answer_over_import(repeats):
    """The command on one file: import, load, warm up, answer; over importing TensorFlow and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        (path,) = pictures.write_folder(Path(folder), 1, 512)
        found = ratio(
            lambda: _seconds_of(sys.executable, "-m", "detector", "predict", str(path)),
            lambda: _seconds_of(sys.executable, "-c", "import tensorflow"),
            repeats=repeats,
        )
    return {"ratio": found.median, "pairs": found}


def page_usable_over_empty_app(repeats):
    """From ``streamlit run`` until there is an upload to drop files on, over an app that has only that."""
    from tests.benchmarks.server import browser, usable_after

    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        empty = Path(folder, "empty.py")
        empty.write_text(_EMPTY_APP)
        found = ratio(
            lambda: usable_after(ROOT / "streamlit_app.py", chromium),
            lambda: usable_after(empty, chromium),
            repeats=repeats,
        )
    return {"ratio": found.median, "pairs": found}


def container_start_over_program(repeats):
    """From the container's command until its page is usable, over the same outside. By the Dockerfile's steps."""
    from tests.benchmarks.server import browser, serving, usable
    from tests.systems.test_container import Image

    with tempfile.TemporaryDirectory() as folder, browser() as chromium:
        Path(folder).chmod(0o755)
        image = Image(Path(folder))
        inside = [str(image.folder / "bin" / "cxr-detector"), "app", "--no-browser"]
        outside = [sys.executable, "-m", "detector", "app", "--no-browser"]
        found = ratio(
            lambda: usable(serving(inside, **image.options), chromium),
            lambda: usable(serving(outside), chromium),
            repeats=repeats,
        )
    return {"ratio": found.median, "pairs": found}


def growth_over_a_folder(repeats):
    """Memory that 2,000 images leave behind, after 200 to warm up."""
    from detector.answers.answer import Question
    from detector.model.engine import Engine
    from detector.run.predict import predict_files
    from detector.run.results import Request, Results

    count, warm = (2000, 200) if repeats > 1 else (20, 10)
    engine, request = Engine.load(), Request(Question("binary"), explain=False)
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures.write_folder(Path(folder, "images"), warm + count, 224)
        samples = []
        with Results(Path(folder, "out"), request, engine.card.sha256, resume=False) as results:
            for done, _ in enumerate(predict_files(paths, engine, request, results=results), start=1):
                if done % (warm // 2) == 0:
                    gc.collect()
                    samples.append(resident() / _MEGABYTE)
    return {"growth": samples[-1] - samples[1], "samples": samples}


def growth_over_uploads(repeats):
    """Memory that 500 uploads leave behind, in sessions of 25 that end, after four sessions to warm up (AppTest).

    The median after the last four sessions less that after the four of the warm-up, 500 uploads earlier: how much of
    what was freed is still held when one session ends differs by tens of megabytes, either way.
    """
    from streamlit.testing.v1 import AppTest

    sessions, warm, uploads = (20, 4, 25) if repeats > 1 else (1, 1, 2)
    samples = []
    for session in range(warm + sessions):
        app = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=300).run()
        for number in range(uploads):
            data = pictures.jpeg(session * uploads + number, 512)
            app.get("file_uploader")[0].upload(f"{number}.jpg", data, "image/jpeg")
        app.run()
        while app.session_state["session"].analyst.progress() is not None:
            time.sleep(0.05)
        if app.exception:
            raise RuntimeError(app.exception[0].message)
        del app
        gc.collect()
        samples.append(resident() / _MEGABYTE)
    first, last = samples[:warm], samples[-warm:]
    return {"growth": statistics.median(last) - statistics.median(first), "samples": samples}


def memory_of_the_page(repeats):
    """Largest memory of the server while ten browser sessions upload 500 files of 500 KB between them."""
    from tests.benchmarks.server import browser, served_page, upload_all

    each = 50 if repeats > 1 else 1
    files = [(f"{number:03d}.jpg", pictures.jpeg_of_bytes(number, 500_000)) for number in range(min(each, 10))]
    with served_page() as (address, pid), browser() as chromium:
        peak = upload_all(chromium, address, pid, sessions=_SESSIONS if repeats > 1 else 1, files=files, each=each)
    return {"peak": peak / 1e9}


def sessions_at_once(repeats):
    """Ten sessions, each drops its own image at one moment: readers with computers of their own, who only listen.

    Beside it the same with ten browser pages on the server's cores, which take most of the time to draw.
    """
    from tests.benchmarks import reader
    from tests.benchmarks.server import browser, drop_together, probabilities_of, served_page

    rounds, sessions = (5, _SESSIONS) if repeats > 1 else (1, 2)
    turns = [
        {f"{turn}-{number}.jpg": pictures.jpeg(turn * sessions + number, 512) for number in range(sessions)}
        for turn in range(rounds)
    ]
    with served_page() as (address, _):
        heard = [reader.drop_together(address, dropped, probabilities_of(dropped)) for dropped in turns]
        with browser() as chromium:
            drawn = drop_together(chromium, address, turns)
    return _summed(heard) | {"with_browsers": _summed(drawn)}


def _summed(turns):
    seconds = sorted(s for turn in turns for s in turn["seconds"])
    p95 = statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
    counts = {kind: sum(turn[kind] for turn in turns) for kind in ("errors", "mixed_up")}
    return {"p95": p95, **counts, "seconds": seconds}


ROWS = {
    "analysis": Row("analyse() of a 2,000 × 2,000 JPEG / bare LiteRT pass", analysis_over_bare_forward, 3.5, 2.5),
    "decoding": Row("its decoding alone / bare LiteRT pass", decoding_over_bare_forward, 2.0, 1.5),
    "maps": Row("pass with all maps / pass with logits alone", maps_over_logits, 1.15, 1.05),
    "usual_way": Row("usual way / analyse()", usual_way_over_analysis, 25.0, 35.0, at_least=True),
    "original_way": Row("original's way / analyse()", original_way_over_analysis, 4.0, 6.0, at_least=True),
    "folder": Row("folder without maps / networks on all cores", folder_throughput, 0.80, 0.90, at_least=True),
    "page_start": Row("page usable / empty Streamlit app", page_usable_over_empty_app, 1.3, 1.1),
    "container_start": Row("page usable in the container / outside", container_start_over_program, 1.3, 1.1),
    "first_answer": Row("first answer / import tensorflow", first_answer_over_import, 0.40, 0.25),
    "page_memory": Row("peak memory, 10 sessions, 500 uploads", memory_of_the_page, 0.60, 0.40, "GB", figure="peak"),
    "folder_growth": Row("growth over 2,000 images", growth_over_a_folder, 10, 2, "MB", figure="growth"),
    "page_growth": Row("growth over 500 uploads", growth_over_uploads, 10, 2, "MB", figure="growth"),
    "load_at_once": Row(
        "300 uploads of 3 MB at once: a bystander, p95", load.uploads_at_once, 2.0, 0.5, "s", figure="bystander"
    ),
    "load_slow": Row("200 slow uploads: a bystander, p95", load.slow_uploads, 1.0, 0.3, "s", figure="bystander"),
    "load_dropped": Row(
        "40 sessions of 3 MB: memory kept two minutes later", load.dropped_sessions, 50, 20, "MB", figure="left"
    ),
    "load_files": Row("20,000 files on the command line: rows missing", load.many_files, 0, 0, "", figure="failed"),
    "cluster_rate": Row("Ray, two workers / local engine, 10,000 images", cluster.rate, 0.85, 0.95, at_least=True),
    "cluster_actor": Row("a Ray actor's memory beyond an empty one's", cluster.actor, 200, 120, "MB", figure="beyond"),
    "cluster_growth": Row("Ray's driver, growth over 50,000 images", cluster.growth, 50, 10, "MB", figure="growth"),
    "sessions": Row("ten sessions at once, p95", sessions_at_once, 3.0, 1.0, "s", figure="p95"),
}
