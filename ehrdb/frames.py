"""Query results as data frames: COPY out, one read."""

from __future__ import annotations

import io
from collections.abc import Mapping

import polars as pl

from ehrdb.database import Connection

Kinds = dict[str, pl.DataType | type[pl.DataType]]


def copy_frame(connection: Connection, statement: bytes, values: Mapping[str, object], kinds: Kinds) -> pl.DataFrame:
    """What a `copy (...) to stdout (format csv)` gives, its columns named and typed by `kinds`."""
    buffer = io.BytesIO()
    with connection.cursor().copy(statement, values) as copy:
        for data in copy:
            buffer.write(data)
    if not buffer.tell():
        return pl.DataFrame(schema=kinds)
    return pl.read_csv(buffer.getvalue(), has_header=False, new_columns=list(kinds), schema_overrides=kinds)
