"""Measures the page without a browser: server time of each interaction, and how two hundred files come in.

python -m scripts.measure_page [--files 200]

Ratios and medians of one run on one machine; the script runs as it does for a reader, the sending to a browser and
the drawing there are not in the figures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from streamlit.testing.v1 import AppTest

from detector.ui import resources, texts

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 9


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


def upload(app: AppTest, files: list[bytes]) -> tuple[float, float]:
    """Upload all at once; seconds to the first answer on the page, and to the last."""
    for number, data in enumerate(files):
        app.get("file_uploader")[0].upload(f"{number:03d}.png", data, "image/png")
    began = time.perf_counter()
    app.run()
    while not app.header:
        app.run()
    first = time.perf_counter() - began
    _wait(app)
    return first, time.perf_counter() - began


def interactions(app: AppTest) -> dict[str, float]:
    """Median milliseconds of the script for each interaction."""
    modes, points = ["three-class", "binary"], ["sensitive", "balanced"]
    changes: dict[str, Callable[[int], object]] = {
        "question": lambda n: app.segmented_control(key="mode").set_value(modes[n % 2]),
        "operating point": lambda n: app.segmented_control(key="operating_point").set_value(points[n % 2]),
        "class": lambda n: _explain(app).set_value(["not_covid19", "covid19"][n % 2]),
        "opacity": lambda n: app.slider(key="opacity").set_value(20 + 5 * (n % 2)),
        "colour or lines": lambda n: app.segmented_control(key="style").set_value(["lines", "colour"][n % 2]),
        "window": lambda n: _labelled(app.slider, texts.WINDOW).set_value(50 + n % 2),
        "pre-test probability": lambda n: app.slider(key="pre_test").set_value(20 + n % 2),
        "next image": lambda _: app.button(key="next").click(),
        "order": lambda n: app.segmented_control(key="order").set_value(["urgency", "arrival"][n % 2]),
    }
    return {
        name: statistics.median(_timed(app, change) for change in _each(change)) for name, change in changes.items()
    }


def _each(change: Callable[[int], object]) -> list[Callable[[], object]]:
    return [lambda n=n: change(n) for n in range(REPEATS + REPEATS % 2)]


def _timed(app: AppTest, change: Callable[[], object]) -> float:
    change()
    began = time.perf_counter()
    app.run()
    return 1000 * (time.perf_counter() - began)


def _explain(app: AppTest) -> object:
    return _labelled(app.segmented_control, texts.EXPLAIN)


def _labelled(controls: list, label: str) -> object:
    return next(control for control in controls if control.label == label)


def _wait(app: AppTest) -> None:
    analyst = app.session_state["session"].analyst
    while analyst.progress() is not None:
        time.sleep(0.02)
    app.run()


def main() -> None:
    """Print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200)
    options = parser.parse_args()
    classifier = resources.load_classifier()
    files = variations(options.files + 3)
    ones = [upload(opened(), [data])[0] for data in files[options.files :]]
    app, before = opened(), classifier.forward_passes
    first, last = upload(app, files[: options.files])
    one = statistics.median(ones)
    print(f"one file: {one:.2f} s to its answer (median of {len(ones)})")
    print(
        f"{options.files} files: first answer after {first:.2f} s, {first / one:.2f} times as long; last {last:.1f} s"
    )
    rows = app.dataframe[0].value
    answered = int(rows[texts.COLUMN_PROBABILITY].notna().sum())
    print(f"answers on the page: {answered} of {options.files}, {classifier.forward_passes - before} forward passes")
    passes = classifier.forward_passes
    for name, milliseconds in interactions(app).items():
        print(f"{name}: {milliseconds:.0f} ms")
    print(f"forward passes meanwhile: {classifier.forward_passes - passes}")


if __name__ == "__main__":
    main()
