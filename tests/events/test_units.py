"""What units measure: values are converted where UCUM says that they can be, and kept apart where they cannot."""

from __future__ import annotations

import pytest

from ehrdb.database import Connection
from ehrdb.events.units import UNKNOWN, describe


@pytest.mark.parametrize(
    ("unit", "other", "value", "converted"),
    [("g/L", "mg/dL", 1.0, 100.0), ("Cel", "[degF]", 37.0, 98.6), ("[lb_av]", "kg", 1.0, 0.45359237)],
)
def test_units_of_one_dimension_convert(unit: str, other: str, value: float, converted: float) -> None:
    assert describe(unit)[0] == describe(other)[0] != UNKNOWN
    assert in_base_units(unit, value) == pytest.approx(in_base_units(other, converted))


def in_base_units(unit: str, value: float) -> float:
    _, factor, shift = describe(unit)
    assert factor is not None
    assert shift is not None
    return value * factor + shift


@pytest.mark.parametrize(("unit", "other"), [("[IU]/mL", "/mL"), ("ug/mL{FEU}", "ug/mL{DDU}")])
def test_what_is_counted_is_part_of_what_a_unit_measures(unit: str, other: str) -> None:
    assert describe(unit)[0] != describe(other)[0]


@pytest.mark.parametrize(
    ("unit", "ucum"), [("KG", "kg"), ("Kg", "kg"), ("µg/mL", "ug/mL"), ("μg/mL", "ug/mL"), ("x10e3/uL", "10*3/uL")]
)
def test_other_spellings_are_the_same_unit(unit: str, ucum: str) -> None:
    assert describe(unit) == describe(ucum)
    assert describe(unit)[0] != UNKNOWN


def test_an_annotation_alone_is_a_unit_of_its_own() -> None:
    assert describe("{score}") == ("dimensionless{score}", 1.0, 0.0)
    assert describe("{score}")[0] != describe("{ratio}")[0]


def test_what_ucum_does_not_know_measures_nothing_known() -> None:
    assert describe("a handful") == (UNKNOWN, None, None)


@pytest.mark.parametrize("unit", ["k/ul", "10^9/l", "cells/nl"])
def test_a_blood_count_is_one_however_it_is_written(connection: Connection, unit: str) -> None:
    row = connection.execute("select ucum from ehrdb.unit_synonym where unit = %s", [unit]).fetchone()
    assert row is not None
    assert in_base_units(row[0], 7.0) == pytest.approx(in_base_units("10*9/L", 7.0))
