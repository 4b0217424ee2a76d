"""Measures the page without a browser: server time of each interaction, and how two hundred files come in.

python -m scripts.measure_page [--files 200] [--out out/page.json]

Ratios and medians of one run on one machine; the script runs as it does for a reader, the sending to a browser and
the drawing there are not in the figures. A click runs the whole page here, of which a browser asks a part.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.testing.v1 import AppTest

from detector.ui import resources

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 10
_RUNS: list[tuple[float, float]] = []  # milliseconds of each run of the script: on the clock, and of a processor
_PAUSE = 0.5  # seconds between two clicks of a reader in a hurry
_PAIRS = 5  # of one file and many, each of them a new session


@dataclass(frozen=True)
class Times:
    """Of one upload: seconds to the last answer, milliseconds of each click before."""

    last: float
    meanwhile: list[float]


def variations(count: int) -> list[bytes]:
    """So many different pictures of composites: cut and brightened a little, no two alike."""
    found = []
    paths = sorted((ROOT / "assets" / "composites").glob("*.png"))
    for number in range(count):
        image = cv2.imread(str(paths[number % len(paths)]), cv2.IMREAD_GRAYSCALE)
        cut = number // len(paths) % 40
        bright = np.clip(image[cut:, cut:] * (1 - number / (4 * count)), 0, 255).astype(np.uint8)
        found.append(cv2.imencode(".png", bright)[1].tobytes())
    return found


def opened() -> AppTest:
    """The page after its examples."""
    app = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=600).run()
    _wait(app)
    return app


def first_answer(files: list[bytes]) -> float:
    """Upload all at once; seconds to the first answer on the page. The others are cancelled."""
    app = opened()
    began = _uploaded(app, files)
    seconds = time.perf_counter() - began
    app.session_state["session"].analyst.cancel()
    _wait(app)
    return seconds


def upload(app: AppTest, files: list[bytes]) -> Times:
    """Upload all at once, and go on clicking until the last has its answer."""
    began = _uploaded(app, files)
    meanwhile = [_timed(app, lambda: None)]
    while _at_work(app):
        point = ["sensitive", "balanced"][len(meanwhile) % 2]
        meanwhile.append(_timed(app, partial(app.segmented_control(key="operating_point").set_value, point)))
        time.sleep(_PAUSE)
    app.run()
    return Times(time.perf_counter() - began, meanwhile)


def _uploaded(app: AppTest, files: list[bytes]) -> float:
    """Upload all at once and wait for the first answer; when the upload had ended, in seconds of the clock."""
    for number, data in enumerate(files):
        app.get("file_uploader")[0].upload(f"{number:03d}.png", data, "image/png")
    began = time.perf_counter()
    app.run()
    while not any("told-other" in element.proto.body for element in app.get("html")):
        app.run()
    return began


def interactions(app: AppTest) -> dict[str, dict[str, float]]:
    """Median milliseconds of the script for each interaction: on the clock, and of a processor."""
    modes, points = ["three-class", "binary"], ["sensitive", "balanced"]
    now = app.session_state["session"]
    changes: dict[str, Callable[[int], object]] = {
        "question": lambda n: app.segmented_control(key="question").set_value(modes[n % 2]),
        "operating point": lambda n: app.segmented_control(key="operating_point").set_value(points[n % 2]),
        "class": lambda n: now.explained.update({_viewer(app)["subject"]: (["not_covid19", "covid19"][n % 2], None)}),
        "map": lambda n: setattr(now, "look", replace(now.look, opacity=20 + 5 * (n % 2))),
        "next image": lambda n: setattr(now, "opened", now.uploaded[n].identifier),
    }
    return {name: _medians(app, change) for name, change in changes.items()}


def _medians(app: AppTest, change: Callable[[int], object]) -> dict[str, float]:
    """Of the script alone: what an AppTest does before and after it, no server does."""
    _RUNS.clear()
    for one in _each(change):
        _timed(app, one)
    clock, processor = zip(*_RUNS, strict=True)
    return {"clock": statistics.median(clock), "processor": statistics.median(processor)}


def _each(change: Callable[[int], object]) -> list[Callable[[], object]]:
    return [lambda n=n: change(n) for n in range(REPEATS)]


def _timed(app: AppTest, change: Callable[[], object]) -> float:
    change()
    began = time.perf_counter()
    app.run()
    return 1000 * (time.perf_counter() - began)


def _viewer(app: AppTest) -> dict[str, Any]:
    """What the viewer was given last."""
    return _data(app, "viewer")


def _data(app: AppTest, component: str) -> dict[str, Any]:
    found = [element.proto for element in app.get("bidi_component") if element.proto.json]
    return json.loads(next(proto.json for proto in found if proto.component_name.endswith(component)))


def _at_work(app: AppTest) -> bool:
    return app.session_state["session"].analyst.progress() is not None


def _wait(app: AppTest) -> None:
    while _at_work(app):
        time.sleep(0.02)
    app.run()


def _as_a_server() -> None:
    """Leave out what an AppTest does at each run and a server once, and note how long each run of the script takes."""
    manifest_scanner.scan_component_manifests = list
    script_cache, read = ScriptCache(), ScriptCache.get_bytecode
    ScriptCache.get_bytecode = lambda _own, path: read(script_cache, path)
    run = ScriptRunner._run_script  # noqa: SLF001 - see above

    def timed(*arguments: object) -> None:
        began, worked = time.perf_counter(), time.thread_time()
        run(*arguments)
        _RUNS.append((1000 * (time.perf_counter() - began), 1000 * (time.thread_time() - worked)))

    ScriptRunner._run_script = timed  # noqa: SLF001


def measured(count: int) -> dict[str, Any]:
    """Everything, in one run; one file and many take turns, so that a busy machine slows both."""
    _as_a_server()
    engine = resources.load_engine()
    many, before = variations(count), os.getloadavg()[0]
    pairs = [(first_answer(many[:1]), first_answer(many)) for _ in range(_PAIRS)]
    app, passes = opened(), engine.forward_passes
    times = upload(app, many)
    passes_of_many = engine.forward_passes - passes
    passes = engine.forward_passes
    clicks = interactions(app)
    passes_of_clicks = engine.forward_passes - passes
    return {
        "cores": os.cpu_count(),
        "load_average": {"before": before, "after": os.getloadavg()[0]},
        "first_answer": {
            "seconds_of_one_file": [one for one, _ in pairs],
            "seconds_of_many_files": [first for _, first in pairs],
            "median_ratio_of_the_pairs": statistics.median(first / one for one, first in pairs),
        },
        "many_files": {
            "files": count,
            "last_answer_seconds": times.last,
            "answers_on_the_page": sum(
                row["covid19"] is not None for row in json.loads(_data(app, "worklist")["rows"])
            ),
            "forward_passes": passes_of_many,
            "interaction_meanwhile_milliseconds": {
                "median": statistics.median(times.meanwhile),
                "longest": max(times.meanwhile),
            },
        },
        "interactions": {"milliseconds": clicks, "forward_passes": passes_of_clicks},
    }


def main() -> None:
    """Write the figures as JSON, and show them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "page.json")
    options = parser.parse_args()
    written = json.dumps(measured(options.files), indent=2) + "\n"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(written, encoding="utf-8")
    print(written, end="")


if __name__ == "__main__":
    main()
