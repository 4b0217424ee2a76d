"""Cases of the page without a network."""

import numpy as np
import pytest

from detector.answers.pipeline import Analysis
from detector.model.card import DEFAULT_MODEL, MODELS, read_card
from detector.schema import Geometry, Radiograph
from detector.ui.cases import Case
from detector.ui.shelf import Picture, Shelf


@pytest.fixture
def make_case():
    """A case whose evidence for COVID-19 is given on a 2 x 2 grid, with lungs in the left half of the picture."""

    def make(cam=((4, 0), (4, 0)), *, lungs=True, logit=0.0, three=(0.0, 0.0, 0.0), warnings=(), key="ab" * 32):
        cam = np.asarray(cam, np.float32)
        geometry = Geometry(rows=8, columns=8, top=0, left=0, height=8, width=8, size=4)
        field = np.zeros((4, 4), bool)
        field[:, :2] = True
        analysis = Analysis(
            radiograph=Radiograph(np.zeros((8, 8), np.float32), "PNG", key, "cd" * 32),
            geometry=geometry,
            logits={"binary": np.array([logit]), "three_class": np.array(three)},
            cams={"binary": np.stack([cam, -cam]), "three_class": np.stack([cam, 2 * cam, -3 * cam])},
            lung_field=field if lungs else None,
            warnings=warnings,
            card=read_card(MODELS / f"{DEFAULT_MODEL}.json"),
            analysed_at="2026-01-01T00:00:00.000+00:00",
        )
        picture = Picture.put(Shelf(), key, np.full((8, 8), 30000, np.uint16), decode=None)
        return Case(key, picture, analysis)

    return make
