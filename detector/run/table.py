"""Rows as a Parquet file, for those who ask questions of millions of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import parquet

from detector.report.rows import flat
from detector.run.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from detector.report.rows import Row

_GROUP = 10_000  # rows that are in memory at once
_NUMBERS = {"threshold", "in_lung_fraction", "lung_area_fraction"}
_TYPES = {"input_rows": pa.int64(), "input_columns": pa.int64(), "peak_in_lung": pa.bool_()}


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write rows of one mode, with the columns that they have as CSV.

    Raises:
        OutputError: if it can't be written; nothing of it stays.
    """
    remaining = map(flat, rows)
    group = list(itertools.islice(remaining, _GROUP))
    if not group:
        return
    schema = pa.schema([(name, _type(name)) for name in group[0]])
    with whole_file(path) as file, parquet.ParquetWriter(file, schema) as writer:
        while group:
            writer.write_table(pa.Table.from_pylist([_encodable(row) for row in group], schema))
            group = list(itertools.islice(remaining, _GROUP))


def _type(column: str) -> pa.DataType:
    is_number = column in _NUMBERS or column.startswith("probability_")
    return pa.float64() if is_number else _TYPES.get(column, pa.string())


def _encodable(row: dict[str, object]) -> dict[str, object]:
    """A file's name may hold bytes that are no text."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }
