"""Stand-ins that several tests share."""

from dataclasses import replace

import numpy as np
import pytest

from detector.model.network import Stage, build_network
from detector.schema import TASKS


@pytest.fixture(scope="session")
def tiny():
    """A network of two units with random weights."""
    from tests.training.stand_ins import Tiny

    return Tiny()


@pytest.fixture
def seen(tiny):
    """Four images as the tiny network sees them."""
    from tests.training.stand_ins import SIZE

    pixels = np.random.default_rng(1).normal(size=(4, SIZE, SIZE, 1)).astype(np.float32)
    return [tiny.explained(p, str(i)) for i, p in enumerate(pixels)]


@pytest.fixture
def decided(engine, monkeypatch):
    """The shipped network without its indeterminate band: it recognises the composites, see the pipeline's tests."""
    calibration = replace(engine.card.calibration, bands={t.name: 0.0 for t in TASKS})
    monkeypatch.setattr(engine, "card", replace(engine.card, calibration=calibration))
    return engine


@pytest.fixture
def one_unit():
    """A network of one unit and random weights, whose logits all differ, and three inputs for it."""
    stages = (Stage(kernel=3, stride=8, expansion=1, channels=8, repeats=1),)
    network = build_network(input_size=32, stages=stages, stem_channels=8, feature_channels=8)
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(0, 0.3, w.shape).astype(np.float32) ** 2 for w in network.get_weights()])
    return network, rng.normal(size=(3, 32, 32, 1)).astype(np.float32)
