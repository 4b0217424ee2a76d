"""Garbage collection without a walk through TensorFlow.

Streamlit collects after every run of the page, and once more wherever Keras has been imported (it clears Keras's
session). TensorFlow brings most of the objects that such a collection looks at, and they stay for ever: frozen, they
are not looked at.
"""

from __future__ import annotations

import gc


def freeze() -> None:
    """Leave what exists now out of future collections: to be called once TensorFlow is there."""
    gc.collect()
    gc.freeze()


def collect() -> None:
    """Collect all garbage, also what was frozen while it was in use, as the session that was open then."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
