"""What units measure, by UCUM: so that values in different units are compared, or kept apart."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ehrdb.database import Connection
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "units.sql")
_ANNOTATION = re.compile(r"\{[^}]*\}|\[[a-zA-Z]*'?(?:iU|IU|U)\]")
UNKNOWN = ""
"""Dimension of a unit that UCUM does not know: it equals itself alone."""


def describe_units(connection: Connection) -> None:
    """Say of units that are new what they measure, and how they are converted."""
    rows = connection.execute(_queries.undescribed).fetchall()
    if rows:
        described = [(unit_id, *describe(ucum)) for unit_id, ucum in rows]
        ids, dimensions, factors, shifts = (list(column) for column in zip(*described, strict=True))
        values = {"unit_ids": ids, "dimensions": dimensions, "factors": factors, "shifts": shifts}
        connection.execute(_queries.describe, values)


@cache
def describe(ucum: str) -> tuple[str, float | None, float | None]:
    """Dimension, factor and shift of a unit: value * factor + shift is in the dimension's base units.

    Arbitrary units ([iU]) and annotations ({FEU}) are part of the dimension: what differs in them is not converted.
    """
    registry = _registry()
    try:
        unit = registry.from_ucum(ucum)
        zero, one = (registry.Quantity(number, unit.units).to_base_units() for number in (0.0, 1.0))
    except Exception:  # the parser's and the registry's errors are of many kinds, and all mean the same
        return UNKNOWN, None, None
    marks = "".join(sorted(_ANNOTATION.findall(ucum)))
    shift, factor = float(zero.magnitude), float(one.magnitude - zero.magnitude) * float(unit.magnitude)
    return f"{one.units}{marks}", factor, shift


@cache
def _registry() -> Any:
    from ucumvert import PintUcumRegistry  # takes a second: only where there are units to look up

    return PintUcumRegistry()
