"""Below the worklist: from twenty X-rays on a line says whether they are like the collections."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from detector import words
from detector.answers.likeness import SUMMARY
from detector.answers.traits import Traits
from detector.ui import likeness_view
from tests.training.test_collections import observed_of, summary_of

PAGE = """
import streamlit as st
from detector.ui import likeness_view
likeness_view.render_likeness(st.session_state["entries"], st.session_state["card"])
"""
CARD = SimpleNamespace(sha256="0" * 64)


@pytest.fixture
def app(monkeypatch, tmp_path):
    (tmp_path / SUMMARY).write_bytes(summary_of(observed_of(np.random.default_rng(0))).to_bytes())
    monkeypatch.setattr(likeness_view, "MODELS", tmp_path)
    likeness_view._collections.clear()
    app = AppTest.from_string(PAGE, default_timeout=60)
    app.session_state["card"] = CARD
    yield app
    likeness_view._collections.clear()


@pytest.fixture
def entries(make_case):
    """So many answered X-rays whose features lie where the first collection's do, or `away` from there."""

    def make(n, away=0.0):
        features = observed_of(np.random.default_rng(6), n=n).features[:n] + np.float32(away)
        found = []
        for number, one in enumerate(features):
            case = make_case(key=str(number))
            traits = Traits(one, "PA", None, 1000, 0.5, 0.7, 0.3)
            found.append(SimpleNamespace(result=replace(case, analysis=replace(case.analysis, traits=traits))))
        return found

    return make


def run(app, entries):
    app.session_state["entries"] = entries
    app.run()
    assert not app.exception
    return [expander.label for expander in app.expander]


def test_nineteen_say_nothing(app, entries):
    assert run(app, entries(19)) == []


def test_twenty_like_the_collections(app, entries):
    assert run(app, entries(20)) == [words.LIKENESS_SHORT[False]]


def test_twenty_unlike_them_and_again_after_the_list_has_changed(app, entries):
    assert run(app, entries(20, away=4.0)) == [words.LIKENESS_SHORT[True]]
    assert "20 X\\-rays" in app.markdown[0].value
    run(app, entries(25, away=4.0))
    assert "25 X\\-rays" in app.markdown[0].value


def test_summary_of_other_weights_says_nothing(app, entries):
    app.session_state["card"] = SimpleNamespace(sha256="1" * 64)
    assert run(app, entries(20)) == []
