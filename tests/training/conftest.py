"""Stand-ins that several tests of the maps share."""

from dataclasses import replace

import numpy as np
import pytest

from detector.schema import TASKS


@pytest.fixture(scope="session")
def tiny():
    """A network of two units with random weights."""
    from tests.training.stand_ins import Tiny

    return Tiny()


@pytest.fixture
def seen(tiny):
    """Four images as the tiny network sees them."""
    from detector.training.audit_saliency import Explained
    from detector.training.manifest import Example
    from tests.training.stand_ins import SIZE, WHOLE

    pixels = np.random.default_rng(1).normal(size=(4, SIZE, SIZE, 1)).astype(np.float32)
    return [
        Explained(
            Example(f"{i}.png", "normal", patient_group=str(i)), p, WHOLE, np.ones((SIZE, SIZE), bool), output, {}
        )
        for i, (p, output) in enumerate(zip(pixels, tiny.run_batch(pixels), strict=True))
    ]


@pytest.fixture
def decided(classifier, monkeypatch):
    """The shipped network without its indeterminate band: it recognises the composites, see the pipeline's tests."""
    calibration = replace(classifier.card.calibration, bands={t.name: 0.0 for t in TASKS})
    monkeypatch.setattr(classifier, "card", replace(classifier.card, calibration=calibration))
    return classifier
