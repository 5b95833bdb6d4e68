"""A query's rows as the table that the user's library has: polars, pandas, or plain rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

from ehrdb.database import Connection
from ehrdb.errors import ConfigError

Library = Literal["polars", "pandas", "rows"]
Frame = Any
"""A polars.DataFrame or a pandas.DataFrame (or, for programs, a list of dict): as `ehrdb.connect(frames=...)` says."""

# PostgreSQL's types by OID (pg_type): polars' and pandas' names. What is not here is left to the library.
_INTEGER, _FLOAT, _TEXT = ("Int64", "Int64"), ("Float64", "Float64"), ("String", "string")
KINDS: dict[int, tuple[str, str]] = {
    **dict.fromkeys((20, 21, 23, 26), _INTEGER),
    **dict.fromkeys((700, 701, 1700), _FLOAT),
    **dict.fromkeys((18, 19, 25, 1042, 1043, 114, 3802, 2950), _TEXT),
    16: ("Boolean", "boolean"),
    1114: ("Datetime", "datetime64[us]"),
    1184: ("Datetime(time_zone='UTC')", "datetime64[us, UTC]"),
    1082: ("Date", "object"),
    1186: ("Duration", "timedelta64[us]"),
}
_JSON, _UUID = (114, 3802), 2950


def choose_library(wanted: Library | None) -> Library:
    """The one wanted, else polars, else pandas, whichever is installed. Raises ConfigError where it is not."""
    for name in [wanted] if wanted else ("polars", "pandas"):
        if name == "rows" or (name in ("polars", "pandas") and find_spec(name)):
            return name
    if wanted not in (None, "polars", "pandas"):
        raise ConfigError(f"there are no frames called {wanted}", hint='Use "polars", "pandas" or "rows".')
    raise ConfigError(
        f"tables need {wanted or 'polars or pandas'}",
        hint="Install it: pip install 'ehrdb[files]' (polars) or pip install pandas; or connect(frames=\"rows\").",
    )


def fetch(connection: Connection, library: Library, statement: Any, values: Any = None) -> Frame:
    """What a statement gives, as one table; None for a statement without rows."""
    cursor = connection.execute(statement, values)
    if cursor.description is None:
        return None
    names = [column.name for column in cursor.description]
    kinds = [column.type_code for column in cursor.description]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"two columns are called {twice}", hint="Name them apart: select a.x as x_of_a, ...")
    rows = cursor.fetchall()
    if library == "rows":
        return [dict(zip(names, row, strict=True)) for row in rows]
    columns = [[_plain(row[place], kind) for row in rows] for place, kind in enumerate(kinds)]
    return (_polars if library == "polars" else _pandas)(names, kinds, columns)


def column(frame: Frame, name: str) -> list[Any]:
    """One column of such a table."""
    return [row[name] for row in frame] if isinstance(frame, list) else frame[name].to_list()


def _plain(value: Any, kind: int) -> Any:
    if value is None:
        return None
    if kind in _JSON:
        return json.dumps(value, ensure_ascii=False)
    if kind == _UUID:
        return str(value)
    return float(value) if KINDS.get(kind) == _FLOAT else value


def _polars(names: Sequence[str], kinds: Sequence[int], columns: Sequence[list[Any]]) -> Frame:
    import polars as pl

    types: dict[str, Any] = {
        "Int64": pl.Int64,
        "Float64": pl.Float64,
        "String": pl.String,
        "Boolean": pl.Boolean,
        "Datetime": pl.Datetime("us"),
        "Datetime(time_zone='UTC')": pl.Datetime("us", "UTC"),
        "Date": pl.Date,
        "Duration": pl.Duration("us"),
    }
    return pl.DataFrame(
        [
            pl.Series(name, values, dtype=types[KINDS[kind][0]] if kind in KINDS else None)
            for name, kind, values in zip(names, kinds, columns, strict=True)
        ]
    )


def _pandas(names: Sequence[str], kinds: Sequence[int], columns: Sequence[list[Any]]) -> Frame:
    import pandas as pd

    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=KINDS[kind][1] if kind in KINDS else "object")
            for name, kind, values in zip(names, kinds, columns, strict=True)
        }
    )
