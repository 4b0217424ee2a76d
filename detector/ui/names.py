"""Names of files as text that can do no harm."""

from __future__ import annotations

import re

_LONGEST_NAME = 60  # characters of a file's name where space is short
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$:@&])")


def literal(text: str) -> str:
    """Make text harmless: no markup, no control or direction marks, and of a bounded length.

    For widgets that read Markdown; a table or a chart takes `shown_name`.
    """
    return escaped(shown_name(text))


def escaped(text: str) -> str:
    """Take the meaning from Markdown's marks."""
    return _MARKDOWN.sub(r"\\\1", text)


def visible(text: str) -> str:
    """A file's name without what can't be seen, in full."""
    return "".join(character if character.isprintable() else "�" for character in text)


def shown_name(text: str) -> str:
    """A file's name without what can't be seen, shortened in the middle."""
    name = visible(text)
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2
    return f"{name[:half]}…{name[-half:]}"
