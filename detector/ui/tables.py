"""Tables as HTML. Streamlit's own bring Arrow and pandas, 140 MB, and draw cells that a screen reader can't read."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from detector.paths import ASSETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STYLE = ASSETS / "table.css"  # of all tables; a page draws it once


def render_table(columns: Mapping[str, Sequence[object]], *, title: str) -> None:
    """Draw a table whose first column names the rows; one that is wider than the window scrolls, by keyboard too.

    Args:
        columns: heading to cells, all of one length.
        title: what the table is of, for those who can't see it.
    """
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in columns)
    rows = "".join(f"<tr>{_cells(row)}</tr>" for row in zip(*columns.values(), strict=True))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    st.html(f'<div class="told-table" role="region" tabindex="0" aria-label="{escape(title)}">{table}</div>')


def _cells(row: Sequence[object]) -> str:
    name, *values = (escape(str(cell)) for cell in row)
    return f'<th scope="row">{name}</th>' + "".join(f"<td>{value}</td>" for value in values)
