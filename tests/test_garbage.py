"""Garbage collection: off while a network is loaded, on afterwards, whatever happens; an ended session is found."""

import gc
import weakref

import pytest

from detector import garbage


class Loop:
    """Holds itself, so that only a collection ends it."""

    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_while_loading_and_everything_afterwards():
    with garbage.paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_failure_while_loading_turns_it_on_again():
    with pytest.raises(OSError, match="no model"), garbage.paused():
        raise OSError("no model")
    assert gc.isenabled()


def test_what_was_in_use_when_it_was_frozen_is_collected_too():
    loop = Loop()
    gone = weakref.ref(loop)
    gc.freeze()
    del loop
    gc.collect()
    assert gone() is not None  # frozen
    garbage.collect()
    assert gone() is None
