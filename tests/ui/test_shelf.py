"""Display copies: the newest are held, the others made again, and none outlives its file."""

import numpy as np
import pytest

from detector.ui.analyst import Analyst
from detector.ui.cases import Case
from detector.ui.shelf import Picture, Shelf
from detector.ui.sources import Source
from tests.conftest import encode


def image(value):
    return np.full((200, 100), value, np.uint8)


def test_newest_copies_are_held_and_the_longest_unseen_goes():
    shelf = Shelf(held=2)
    shelf.put("a", image(1))
    shelf.put("b", image(2))
    shelf.get("a", pytest.fail)
    shelf.put("c", image(3))
    assert len(shelf) == 2
    shelf.get("a", pytest.fail)
    made = []
    assert shelf.get("b", lambda: made.append("b") or image(2))[0, 0] == 2
    assert made == ["b"]


def test_what_is_not_listed_is_let_go():
    shelf = Shelf()
    for key in "abc":
        shelf.put(key, image(0))
    shelf.keep(lambda key: key == "b")
    assert len(shelf) == 1
    shelf.get("b", pytest.fail)


def test_picture_keeps_a_small_copy_and_its_key():
    shelf = Shelf(held=1)
    picture = Picture.put(shelf, "a", image(7), lambda: image(8))
    assert picture.small.shape == (96, 48)
    assert picture.pixels[0, 0] == 7
    shelf.put("b", image(9))
    assert picture.pixels[0, 0] == 8
    assert picture.thumbnail.startswith("data:image/jpeg;base64,")


def test_session_of_many_files_holds_few_copies_and_a_forgotten_one_none(composite_pixels, engine):
    analyst = Analyst()
    files = [encode(np.roll(composite_pixels, shift, axis=1)) for shift in range(20)]
    sources = [Source(str(i), f"{i}.png", lambda data=data: data) for i, data in enumerate(files)]
    analyst.ask(sources, engine)
    assert isinstance(analyst.wait_for("19", 120), Case)
    assert len(analyst._shelf) == 8
    assert analyst.result("0").picture.pixels.shape == (512, 512)
    analyst.ask(sources[:1], engine)
    assert len(analyst._shelf) == 1
    analyst.forget()
    assert len(analyst._shelf) == 0
