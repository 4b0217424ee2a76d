"""What the page is asked to analyse: a file that can be read when its turn comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Source:
    """A file to analyse: an identifier of the upload, its name, and how to get its bytes.

    The bytes are asked for when the file's turn comes: a rerun of the page must not copy two hundred uploads.
    """

    identifier: str
    name: str
    read: Callable[[], bytes]
