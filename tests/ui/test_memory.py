"""What is asked of the C library, and that a system without it is served as well."""

import ctypes

import pytest

from detector.ui import memory


@pytest.fixture(autouse=True)
def _asked_anew():
    memory.keep_little.cache_clear()
    yield
    memory.keep_little.cache_clear()


class Library:
    def __init__(self):
        self.asked = []

    def mallopt(self, *arguments):
        self.asked.append(("mallopt", *arguments))

    def malloc_trim(self, *arguments):
        self.asked.append(("malloc_trim", *arguments))


def test_little_is_kept_and_that_is_asked_for_once(monkeypatch):
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    memory.keep_little()
    memory.keep_little()
    memory.give_back()
    assert library.asked == [("mallopt", -8, 2), ("mallopt", -3, 32_768), ("mallopt", -6, 255), ("malloc_trim", 0)]


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_system_without_that_library_is_left_alone(monkeypatch, error):
    def missing(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    memory.keep_little()
    memory.give_back()
