"""Numbers print as C prints them, whatever the bits."""

from __future__ import annotations

import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Connection

bits = st.integers(0, 2**32 - 1)
same_connection = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
TIES = [0.125, -0.125, 0.375, 2.675, 0.615, 98.6, 1.005, 16777217.0, 16777215.0, 9.3e18, 1e31, 3.4028235e38, 1e-45]


@same_connection
@given(st.lists(bits, min_size=1, max_size=300))
def test_any_float32_prints_as_printf_does(connection: Connection, patterns: list[int]) -> None:
    # A loaded value is never -0: loading turns it into 0.
    numbers = [float32(pattern) or 0.0 for pattern in patterns] + TIES
    assert printed(connection, numbers) == [printf(number) for number in numbers]


@same_connection
@given(st.lists(st.integers(-(10**7), 10**7), min_size=1, max_size=300))
def test_any_two_decimals_print_as_printf_does(connection: Connection, hundredths: list[int]) -> None:
    numbers = [struct.unpack("f", struct.pack("f", n / 200))[0] for n in hundredths]
    assert printed(connection, numbers) == [printf(number) for number in numbers]


@same_connection
@given(st.lists(st.floats(0.125, 10_000, width=32), min_size=1, max_size=100))
def test_aggregated_values_keep_their_decimals(connection: Connection, numbers: list[float]) -> None:
    rows = connection.execute(
        "select ehrdb.aggregate_text(x::real, 0, null, null), ehrdb.aggregate_text(x::real, 1, null, null),"
        "       ehrdb.aggregate_text(x::real, 2, null, null)"
        "  from unnest(%s::float8[]) with ordinality as n (x, i) order by i",
        [numbers],
    ).fetchall()
    assert rows == [(str(int(x)), f"{x:.1f}", f"{x:.2f}") for x in numbers]


def printed(connection: Connection, numbers: list[float]) -> list[str]:
    rows = connection.execute(
        "select ehrdb.number_text(x::real) from unnest(%s::float8[]) with ordinality as n (x, i) order by i",
        [[as_float32(number) for number in numbers]],
    )
    return [text for (text,) in rows]


def printf(number: float) -> str:
    text = f"{as_float32(number):.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def float32(pattern: int) -> float:
    (number,) = struct.unpack("f", struct.pack("I", pattern))
    return float(number)


def as_float32(number: float) -> float:
    return float(struct.unpack("f", struct.pack("f", number))[0])
