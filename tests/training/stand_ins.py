"""Made-up images and tiny networks for the tests of the maps' audit."""

from types import SimpleNamespace

import keras
import numpy as np

from detector.model.calibration import Calibration
from detector.model.network import FEATURE_LAYER, Stage, build_network
from detector.schema import TASKS, Geometry, NetworkOutput, OperatingPoint
from detector.training.audit.saliency import Explained
from detector.training.data.manifest import Example

SIZE = 32
POINT = OperatingPoint("balanced", 0.5, 1.0, 1.0, "made up")
CALIBRATION = Calibration({t.name: 1.0 for t in TASKS}, {"balanced": POINT}, {t.name: 0.0 for t in TASKS})
CARD = SimpleNamespace(calibration=CALIBRATION, saliency_scale={t.name: 1.0 for t in TASKS})
WHOLE = Geometry(rows=64, columns=64, top=0, left=0, height=64, width=64, size=SIZE)
LEFT_HALF = np.arange(SIZE) < SIZE // 2


def output_of(logits, features):
    """A network's answer; what the audit does not read is empty."""
    empty = {name: np.zeros(0) for name in NetworkOutput.__dataclass_fields__}
    return NetworkOutput(**empty | {"logits": logits, "features": np.asarray(features, np.float32)})


class Tiny:
    """A stand-in of two units with random weights, on a grid of 8 x 8 cells, without lung fields."""

    card, lung_fields = CARD, None

    def __init__(self):
        stages = (Stage(3, 1, 1, 8, 1), Stage(3, 2, 4, 8, 1))
        self.network = build_network(input_size=SIZE, stages=stages, stem_channels=8, feature_channels=12)
        rng = np.random.default_rng(0)
        for task in TASKS:
            layer = self.network.get_layer(task.name)
            layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
        self.kernels = {t.name: self.network.get_layer(t.name).get_weights()[0] for t in TASKS}
        features = self.network.get_layer(FEATURE_LAYER).output
        self._view = keras.Model(self.network.input, {"features": features, **self.network.output})

    def run(self, pixels):
        found = {name: np.asarray(values)[0] for name, values in self._view(pixels[None], training=False).items()}
        features = found.pop("features")
        return output_of(found, features)


def made_up(cam, *, label="covid19", source="a", patient="1", field=LEFT_HALF):
    """An image whose map for COVID-19 is given, in either task, with lungs in the left half."""
    output = output_of({t.name: np.zeros(t.logits) for t in TASKS}, np.asarray(cam)[..., np.newaxis])
    return Explained(
        example=Example(f"{patient}.png", label, source, patient_group=patient),
        pixels=np.zeros((SIZE, SIZE, 1), np.float32),
        geometry=WHOLE,
        lung_field=np.tile(field, (SIZE, 1)),
        output=output,
        decisions={t.name: label for t in TASKS},
    )


class OneChannel:
    """A stand-in whose one channel is the binary map, and whose log-odds are given by a function of the picture."""

    card = CARD

    def __init__(self, log_odds=None):
        self.kernels = {"binary": np.ones((1, 1)), "three_class": np.array([[0.0, 0.0, 1.0]])}
        self.lung_fields = object()
        self._log_odds = log_odds

    def run(self, pixels):
        value = self._log_odds(pixels)
        return output_of({"binary": np.array([value]), "three_class": np.array([0.0, 0.0, value])}, np.zeros((2, 2, 1)))
