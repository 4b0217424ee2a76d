"""Garbage collection without a walk through TensorFlow.

To import TensorFlow and load a network makes a million objects, nearly all for good. Collections on the way there take
a fifth of the time and find nothing; collections afterwards look at all of them again. So none is made until the
network is loaded, and what exists then is frozen. Streamlit would collect after every run of the page, and once more
wherever Keras has been imported (it clears Keras's session).
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def paused() -> Iterator[None]:
    """Import and load without collections, and leave what exists at the end out of all later ones."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def collect() -> None:
    """Collect all garbage, also what was in use when it was frozen and is garbage since: a session, by now ended."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
