"""The pictures of a session: the newest at display size, the others small, to be decoded again when they are opened.

A megabyte a picture is too much for five hundred of them, and an upload stays at hand as long as it is listed.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from detector.answers import overlay
from detector.report.maps import encode_jpeg
from detector.ui.greyscale import Greyscale, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from detector.schema import Correction

    Key = tuple[str, Correction]  # SHA-256 of the file, and what was corrected

SMALL_SIDE = 96  # pixels of the longer side: 11 mm at 220 dots an inch in a printed list
_THUMBNAIL_SIDE, _THUMBNAIL_QUALITY = 64, 92  # of the worklist's thumbnails, as JPEG
_HELD = 8  # display copies of a session: stepping back and forth decodes nothing


class Shelf:
    """Display copies by key, the newest few. Thread-safe."""

    def __init__(self, held: int = _HELD) -> None:
        self._held = held
        self._copies: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._change = threading.Lock()

    def __len__(self) -> int:
        return len(self._copies)

    def put(self, key: Key, image: np.ndarray) -> None:
        """Take an image; the one that was not asked for longest may go."""
        with self._change:
            self._copies[key] = image
            self._copies.move_to_end(key)
            while len(self._copies) > self._held:
                self._copies.popitem(last=False)

    def get(self, key: Key, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The image of that key; `make` makes it where it is gone."""
        with self._change:
            image = self._copies.get(key)
        image = make() if image is None else image
        self.put(key, image)
        return image

    def keep(self, is_listed: Callable[[Key], bool]) -> None:
        """Let go of every image whose key is not listed."""
        with self._change:
            for key in [key for key in self._copies if not is_listed(key)]:
                del self._copies[key]


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture on a shelf.

    Attributes:
        key: of the picture on its shelf.
        small: (H, W) uint8, at most 96 pixels on the longer side.
        shape: rows and columns of the display copy.
    """

    key: Key
    small: np.ndarray
    shape: tuple[int, int]
    _shelf: Shelf
    _decode: Callable[[], np.ndarray]

    @classmethod
    def put(cls, shelf: Shelf, key: Key, image: np.ndarray, decode: Callable[[], np.ndarray]) -> Picture:
        """Put a display copy, as of `greyscale.display_copy`, on a session's shelf; `decode` makes it again."""
        shelf.put(key, image)
        small = overlay.shrink(shown(image, Greyscale()), longer_side=SMALL_SIDE)
        return cls(key, small, (image.shape[0], image.shape[1]), shelf, decode)

    @property
    def pixels(self) -> np.ndarray:
        """The display copy, (H, W) uint8 or uint16.

        Raises:
            DetectorError: if it has to be decoded again and can't be.
        """
        return self._shelf.get(self.key, self._decode)

    @cached_property
    def thumbnail(self) -> str:
        """A small copy as a data address; made once, because every rerun draws the whole worklist."""
        image = overlay.shrink(self.small, longer_side=_THUMBNAIL_SIDE)
        jpeg = encode_jpeg(image, quality=_THUMBNAIL_QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
