"""Made-up images and tiny networks for the tests of the maps' audit."""

from types import SimpleNamespace

import numpy as np

from detector.model.calibration import Calibration
from detector.model.network import Stage, build_network
from detector.schema import TASKS, Geometry, OperatingPoint
from detector.training.audit.saliency import Explained
from detector.training.data.manifest import Example

SIZE = 32
POINT = OperatingPoint("balanced", 0.5, 1.0, 1.0, "made up")
CALIBRATION = Calibration({t.name: 1.0 for t in TASKS}, {"balanced": POINT}, {t.name: 0.0 for t in TASKS})
CARD = SimpleNamespace(calibration=CALIBRATION, saliency_scale={t.name: 1.0 for t in TASKS})
WHOLE = Geometry(rows=64, columns=64, top=0, left=0, height=64, width=64, size=SIZE)
LEFT_HALF = np.arange(SIZE) < SIZE // 2


class Tiny:
    """A stand-in of two units with random weights, on a grid of 8 x 8 cells."""

    card = CARD

    def __init__(self):
        stages = (Stage(3, 1, 1, 8, 1), Stage(3, 2, 4, 8, 1))
        self.network = build_network(input_size=SIZE, stages=stages, stem_channels=8, feature_channels=12)
        rng = np.random.default_rng(0)
        for task in TASKS:
            layer = self.network.get_layer(task.name)
            layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])

    def explained(self, pixels, patient):
        """An image that this network has seen; what the randomisation does not read is empty."""
        found = {name: np.asarray(values)[0] for name, values in self.network(pixels[None], training=False).items()}
        field = np.ones((SIZE, SIZE), bool)
        return Explained(
            Example(f"{patient}.png", "normal", patient_group=patient), pixels, WHOLE, field, found, {}, {}
        )


def made_up(cam, *, label="covid19", source="a", patient="1", field=LEFT_HALF):
    """An image whose map for COVID-19 is given, in either task, with lungs in the left half."""
    shown = np.asarray(cam, np.float32)
    return Explained(
        example=Example(f"{patient}.png", label, source, patient_group=patient),
        pixels=np.zeros((SIZE, SIZE, 1), np.float32),
        geometry=WHOLE,
        lung_field=np.tile(field, (SIZE, 1)),
        logits={t.name: np.zeros(t.logits) for t in TASKS},
        cams={t.name: np.stack([shown] * len(t.classes)) for t in TASKS},
        decisions={t.name: label for t in TASKS},
    )


class OneChannel:
    """A stand-in whose log-odds are given by a function of the picture."""

    card = CARD

    def __init__(self, log_odds=None):
        self._log_odds = log_odds

    def run(self, pixels):
        value = self._log_odds(pixels)
        return SimpleNamespace(logits={"binary": np.array([value]), "three_class": np.array([0.0, 0.0, value])})
