"""Parquet files as CSV for COPY."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ehrdb.errors import InputError
from ehrdb.events.times import zone_error

_BATCH = 200_000
_NOT_IN_CSV = (pl.Binary, pl.Duration)


def open_parquet(path: Path, time_zone: str | None) -> tuple[list[str], Iterator[bytes]]:
    """Names of the columns, and the rows as CSV in batches.

    Times with a zone become local times of `time_zone`, lists and structures JSON; bytes are text.
    """
    try:
        frame = pl.scan_parquet(path, hive_partitioning=False, glob=False)
        schema = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"is not readable parquet ({type(error).__name__})", file=path) from None
    local = [_local(path, name, time_zone) for name, kind in schema.items() if _has_zone(kind)]
    plain = [_as_text(name, kind) for name, kind in schema.items() if kind.is_nested() or kind in _NOT_IN_CSV]
    return schema.names(), _batches(path, frame.with_columns(*local, *plain))


def _batches(path: Path, frame: pl.LazyFrame) -> Iterator[bytes]:
    try:
        for batch in frame.collect_batches(chunk_size=_BATCH, maintain_order=True):
            buffer = io.BytesIO()
            batch.write_csv(buffer, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S%.f")
            yield buffer.getvalue()
    except pl.exceptions.PolarsError as error:
        raise InputError(f"cannot be read to its end ({type(error).__name__})", file=path) from None


def _has_zone(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Datetime) and kind.time_zone is not None


def _local(path: Path, column: str, time_zone: str | None) -> pl.Expr:
    if time_zone is None:
        raise zone_error(path, column)
    return pl.col(column).dt.convert_time_zone(time_zone).dt.replace_time_zone(None)


def _as_text(column: str, kind: pl.DataType) -> pl.Expr:
    if kind == pl.Binary:
        return pl.col(column).cast(pl.String)
    if kind == pl.Duration:
        return pl.col(column).dt.to_string("iso")
    encoded = pl.struct(pl.col(column).alias("value")).struct.json_encode()
    bare = encoded.str.strip_prefix('{"value":').str.strip_suffix("}")
    return pl.when(pl.col(column).is_not_null()).then(bare).alias(column)
