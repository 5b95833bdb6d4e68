"""What units measure, by UCUM: so that values in different units are compared, or kept apart."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from ehrdb.database import Connection
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "units.sql")
_ANNOTATION = re.compile(r"\{[^}]*\}|\[[a-zA-Z]*'?(?:iU|IU|U)\]")
_ANNOTATION_ALONE = re.compile(r"\{[^{}]*\}")
_MICRO = str.maketrans("µμ", "uu")
_POWER = re.compile(r"^x? ?10[eE^](\d+)")
_PLAIN = {
    "kg",
    "mg",
    "g",
    "ug",
    "ng",
    "pg",
    "ml",
    "l",
    "dl",
    "ul",
    "cm",
    "mmol",
    "umol",
    "nmol",
    "pmol",
    "meq",
    "min",
    "h",
}
"""Units that may be written in any letter case: where it matters to UCUM, the capital means nothing (KG)."""
_UNIT_LIKE = re.compile(r"[^\W\d].*[^\W\d]|[%/]")
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


def known_units(connection: Connection) -> Callable[[str], bool]:
    """Whether a text is a unit: one that UCUM or the table of synonyms knows, and no letter or number alone."""
    synonyms: dict[str, str] = dict(connection.execute(_queries.synonyms).fetchall())

    @cache
    def is_unit(text: str) -> bool:
        unit = text.strip()
        if not _UNIT_LIKE.search(unit):
            return False
        return describe(synonyms.get(unit.lower(), unit))[0] != UNKNOWN

    return is_unit


@cache
def describe(ucum: str) -> tuple[str, float | None, float | None]:
    """Dimension, factor and shift of a unit: value * factor + shift is in the dimension's base units.

    Arbitrary units ([iU]) and annotations ({FEU}) are part of the dimension: what differs in them is not converted.
    """
    registry = _registry()
    try:
        # An annotation alone ({score}) is the unit 1; the parser does not know that.
        plain = "1" if _ANNOTATION_ALONE.fullmatch(ucum) else _POWER.sub(r"10*\1", ucum.translate(_MICRO))
        unit = registry.from_ucum(plain)
        zero, one = (registry.Quantity(number, unit.units).to_base_units() for number in (0.0, 1.0))
    except Exception:  # the parser's and the registry's errors are of many kinds, and all mean the same
        small = ucum.lower()
        is_plain = small != ucum and _PLAIN.issuperset(small.split("/"))
        return describe(small) if is_plain else (UNKNOWN, None, None)
    marks = "".join(sorted(_ANNOTATION.findall(ucum)))
    shift, factor = float(zero.magnitude), float(one.magnitude - zero.magnitude) * float(unit.magnitude)
    return f"{one.units}{marks}", factor, shift


@cache
def _registry() -> Any:
    from ucumvert import PintUcumRegistry  # takes a second: only where there are units to look up

    return PintUcumRegistry()
