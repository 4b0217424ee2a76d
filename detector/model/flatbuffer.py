"""A network for serving: a LiteRT flatbuffer, which `detector.training.fit.convert` makes from trained weights."""

from __future__ import annotations

import hashlib
import os
import queue
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from detector.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FLATBUFFER = ".tflite"
WEIGHTS = ".keras"

PASSES_AT_ONCE = os.cpu_count() or 1


class Flatbuffer:
    """A network that runs on one image at a time. Thread-safe.

    A pass runs on one thread, so that an image gives the same bits whatever else is being analysed. Concurrent calls
    run in parallel, on as many interpreters as there are cores; each is made when first needed, and kept.

    Args:
        data: a flatbuffer with one signature, from one image (1, …) float32 to named outputs.

    Raises:
        ModelError: if LiteRT can't run it.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._idle: queue.LifoQueue[_Pass | None] = queue.LifoQueue()
        for _ in range(PASSES_AT_ONCE - 1):
            self._idle.put(None)
        try:
            with _silence():
                first = _Pass(data)
            first(np.zeros(first.shape, np.float32))  # the first pass is slow: no image should wait for it
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT cannot run the network: {error}.") from error
        self._idle.put(first)

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            image: float32, of the shape that the network takes, without its leading 1.

        Returns:
            Every output of the flatbuffer by name, each with its leading 1.

        Raises:
            ValueError: if the image has another shape.
        """
        one = self._idle.get()
        try:
            one = one or _Pass(self._data)
            return one(image[np.newaxis])
        finally:
            self._idle.put(one)


class _Pass:
    """One interpreter, for one thread at a time; LiteRT's own signature runner would resize the network."""

    def __init__(self, data: bytes) -> None:
        self._interpreter = Interpreter(model_content=data, num_threads=1)
        self._interpreter.allocate_tensors()
        signature = self._interpreter.get_signature_runner()
        (image,) = signature.get_input_details().values()
        self.shape, self._image = tuple(image["shape"]), image["index"]
        self._outputs = {name: details["index"] for name, details in signature.get_output_details().items()}

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        self._interpreter.set_tensor(self._image, image)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}


@contextmanager
def _silence() -> Iterator[None]:
    """Silence standard error: LiteRT prints a greeting there, once per process, and has no option against it."""
    if sys.stderr is None:  # a program without one; descriptor 2 may be another file by now
        yield
        return
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - only its descriptor is needed
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def load_flatbuffer(path: Path, entry: Mapping[str, str], *, weights: str) -> Flatbuffer:
    """Load a network after checking it against its card.

    Args:
        path: of the ``.tflite`` file.
        entry: of the card: ``sha256`` of the file, and ``weights``, that of the ``.keras`` file that it was made from.
        weights: SHA-256 of the network's weights, which lie beside it.

    Raises:
        ModelError: if either file is missing or not the card's, the flatbuffer was made from other weights, or LiteRT
            can't run it.
    """
    checked_bytes(path.with_suffix(WEIGHTS), weights)
    if entry.get("weights") != weights:
        raise ModelError(f"{path} was made from the weights {entry.get('weights')}. The card's are {weights}.")
    return Flatbuffer(checked_bytes(path, entry.get("sha256")))


def checked_bytes(path: Path, sha256: str | None) -> bytes:
    """Read a file and check its SHA-256.

    Raises:
        ModelError: if the file is missing or has another SHA-256.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(f"The bytes of {path} are not those of the card: SHA-256 {found}, expected {sha256}.")
    return data
