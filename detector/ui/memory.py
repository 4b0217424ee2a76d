"""Memory that the C library keeps after it was freed: pictures of sessions that are over, and room for more of them."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache

_M_ARENA_MAX = -8  # of glibc's mallopt
_ARENAS = 2  # glibc's default is eight a core, each of which keeps what its threads have freed
_M_MMAP_THRESHOLD = -3
_MAPPED = 32_768  # bytes from which a block is a mapping of its own; glibc's limit rises to 32 MB
_M_PERTURB = -6
_OVERWRITTEN = 255  # what a freed block of the heap is filled with


@cache
def keep_little() -> None:
    """Have freed memory go back to the system.

    The server's threads, a few for each session, allocate from two arenas instead of one for each. Whatever has the
    size of a file goes as soon as it is freed: in the heap, a file's first bytes, which name the patient, would share
    a page with something that stays. Smaller blocks, in which uploads arrive, are overwritten when they are freed.
    """
    with suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library without a name
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, _ARENAS)
        library.mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        library.mallopt(_M_PERTURB, _OVERWRITTEN)


def give_back() -> None:
    """Return freed memory to the system, where the C library can: it would keep the pages, pictures and all."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
