"""What the maps cost: every class of both tasks against the bare forward pass, in turns within one run.

Run with ``python -m tests.benchmarks.saliency_overhead``. Prints times and their ratios: of each way the fastest tenth
of its turns, since whatever else the machine does can only add to them.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import tensorflow as tf

from detector.answers.evidence import summarise
from detector.answers.pipeline import analyse
from detector.answers.stability import measure_stability
from detector.model.engine import BATCH, Engine
from detector.model.gradcam import evidence_maps
from detector.read.image_io import read_radiograph
from detector.schema import TASKS

ROUNDS = 100
_COMPOSITE = Path(__file__).resolve().parents[2] / "assets" / "composites" / "covid19.png"
_REACH = 1.15  # times the bare pass, for one image, both tasks, all maps


def main() -> None:
    """Time each way in turns and write the table to standard output."""
    engine = Engine.load()
    data = _COMPOSITE.read_bytes()
    ways = _ways(engine, data)
    seconds = defaultdict(list)
    for turn in range(ROUNDS + 1):
        for name, run in ways.items():
            if turn % 10 and name in _SLOW:
                continue
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    fast = {name: float(np.quantile(values[1:], 0.1)) for name, values in seconds.items()}  # the first turn compiles
    bare = fast["bare pass"]
    for name, time_taken in fast.items():
        sys.stdout.write(f"{name:<40} {1000 * time_taken:8.2f} ms  {time_taken / bare:6.3f} x\n")
    overhead = fast[_MAPS] / bare
    sys.stdout.write(f"maps within {_REACH} of the bare pass: {'yes' if overhead <= _REACH else 'no'}\n")


_MAPS = "pass with all maps of both tasks"
_STABILITY = "stability of one image"
_SLOW = (_STABILITY, f"batch of {BATCH}")


def _ways(engine: Engine, data: bytes) -> dict:
    """Name to what is timed. The bare pass gives logits alone, as a network without maps would."""
    listening = _Listening(engine)
    analysis = analyse(data, listening)
    given, radiograph = listening.given, read_radiograph(data)
    network, shape = engine.network, (1, *given.pixels.shape)
    bare = tf.function(lambda x: network(x, training=False)).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    cam, field = analysis.cams[TASKS[0].name][0], analysis.lung_field
    eight = np.repeat(given.pixels[np.newaxis], BATCH, axis=0)
    return {
        "bare pass": lambda: [v.numpy() for v in bare(tf.convert_to_tensor(given.pixels[np.newaxis])).values()],
        _MAPS: lambda: evidence_maps(engine(given).features, engine.kernels),
        "maps alone": lambda: evidence_maps(listening.output.features, engine.kernels),
        "evidence in zones, one class": lambda: summarise(cam, field, analysis.geometry),
        f"batch of {BATCH}": lambda: engine.run_batch(eight),
        _STABILITY: lambda: measure_stability(radiograph, engine),
    }


class _Listening:
    """Keeps what the pipeline hands to the network."""

    def __init__(self, engine: Engine) -> None:
        self._classifier = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._classifier, name)

    def __call__(self, network_input: object) -> object:
        self.given, self.output = network_input, self._classifier(network_input)
        return self.output


if __name__ == "__main__":
    main()
