"""What all sessions share: the network, loaded once, and its card."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import streamlit as st

from detector.model.card import DEFAULT_MODEL, ModelCard, read_card
from detector.paths import MODELS
from detector.read import sandbox

if TYPE_CHECKING:
    from detector.model.engine import Engine

_LOADED = threading.Event()


@st.cache_resource(show_spinner=False)
def load_engine() -> Engine:
    """The network, loaded once for all sessions; LiteRT is imported here and not before.

    Raises:
        ModelError: if it is missing or damaged.
    """
    from detector.model.engine import Engine  # noqa: PLC0415

    sandbox.warm_up()
    engine = Engine.load()
    _LOADED.set()
    return engine


def is_loaded() -> bool:
    """Whether `load_engine` will answer at once."""
    return _LOADED.is_set()


@st.cache_resource(show_spinner=False)
def load_card() -> ModelCard:
    """The network's card, which needs no network.

    Raises:
        ModelError: if it is missing or damaged.
    """
    return read_card(MODELS / f"{DEFAULT_MODEL}.json")
