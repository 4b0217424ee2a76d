"""Memory that the C library keeps after it was freed: pictures of sessions that are over, and room for more of them."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache

_M_ARENA_MAX = -8  # of glibc's mallopt
_ARENAS = 2  # glibc's default is eight a core, each of which keeps what its threads have freed


@cache
def share_arenas() -> None:
    """Have the server's threads, a few for each session, allocate from two arenas instead of one for each."""
    with suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library without a name
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return freed memory to the system, where the C library can: it would keep the pages, pictures and all."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
