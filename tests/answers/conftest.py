"""Analyses without a network."""

from dataclasses import replace

import numpy as np
import pytest

from detector.answers.pipeline import Analysis
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.schema import Geometry, Radiograph


@pytest.fixture
def make_analysis():
    """Logits of both tasks, and evidence for COVID-19 on a 2 x 2 grid, with lungs in the left half of the picture."""
    card = read_card(MODELS / f"{DEFAULT_MODEL}.json")

    def make(*, binary=0.0, three=(0.0, 0.0, 0.0), cam=((4, 0), (4, 0)), lungs=True, calibration=None, **attributes):
        cam = np.asarray(cam, np.float32)
        field = np.zeros((4, 4), bool)
        field[:, :2] = lungs
        return Analysis(
            radiograph=Radiograph(np.zeros((8, 8), np.float32), "PNG", "ab" * 32, "cd" * 32),
            geometry=Geometry(rows=8, columns=8, top=0, left=0, height=8, width=8, size=4),
            logits={"binary": np.array([binary], float), "three_class": np.array(three, float)},
            cams={"binary": np.stack([cam, -cam]), "three_class": np.stack([cam, 2 * cam, -3 * cam])},
            lung_field=field,
            card=replace(card, calibration=calibration or card.calibration),
            analysed_at="2026-01-01T00:00:00.000+00:00",
            **attributes,
        )

    return make
