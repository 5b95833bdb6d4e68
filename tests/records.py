"""Small made-up records for tests: patients and events straight into the tables."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from ehrdb.database import Connection
from ehrdb.embedding import registry
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.testing import FakeEncoder


class Record(NamedTuple):
    """One event of a patient."""

    patient_id: int
    time: datetime
    code: str
    value: float | None = None
    text: str | None = None
    unit: str | None = None


def day(number: int, hour: int = 8) -> datetime:
    """That day of January 2020."""
    return datetime(2020, 1, number, hour)


def write(connection: Connection, records: Iterable[Record]) -> None:
    """Append events to patients' records, with descriptions like their codes; patients are made on the way.

    One statement for each table: those on events set off triggers, of which each costs more than a thousand rows.
    """
    records = list(records)
    connection.execute(
        "insert into ehrdb.patient (patient_id, source, fingerprint) select patient_id, 'test', ''"
        "  from unnest(%s::bigint[]) with ordinality n (patient_id, place) order by place on conflict do nothing",
        [list(dict.fromkeys(record.patient_id for record in records))],
    )
    connection.execute(
        "insert into ehrdb.concept (code, vocabulary, description)"
        " select code, split_part(code, '/', 1), 'text of ' || code"
        "   from unnest(%s::text[]) with ordinality n (code, place) order by place on conflict do nothing",
        [list(dict.fromkeys(record.code for record in records))],
    )
    connection.execute(
        "insert into ehrdb.unit (unit) select unnest(%s::text[]) on conflict do nothing",
        [list(dict.fromkeys(record.unit for record in records if record.unit))],
    )
    connection.execute(
        "insert into ehrdb.event (patient_id, ordinal, time, code_id, numeric_value, text_value, unit_id)"
        " select n.patient_id, (select count(*) from ehrdb.event e where e.patient_id = n.patient_id)"
        "        + row_number() over (partition by n.patient_id order by n.place) - 1,"
        "        n.time, c.code_id, n.value, n.text, u.unit_id"
        "   from unnest(%s::bigint[], %s::timestamp[], %s::text[], %s::float8[], %s::text[], %s::text[])"
        "        with ordinality n (patient_id, time, code, value, text, unit, place)"
        "   join ehrdb.concept c using (code) left join ehrdb.unit u using (unit) order by n.place",
        [
            [record.patient_id for record in records],
            [record.time for record in records],
            [record.code for record in records],
            [None if record.value is None else float(record.value) for record in records],
            [record.text for record in records],
            [record.unit for record in records],
        ],
    )


def write_patients(connection: Connection, count: int) -> None:
    """Patients 1 to `count`, each with a record of its own."""
    write(
        connection,
        [Record(p, day(1 + p % 20, p % 24), f"SNOMED/{p * 10 + n}") for p in range(1, count + 1) for n in range(3)],
    )


def add_head(connection: Connection, task: str, encoder: RegisteredEncoder) -> None:
    """A head of a task that is there, with made-up weights, on a fake encoder's vectors."""
    connection.execute(
        "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance, base_rate,"
        "                        bounds_at, bounds_lower, bounds_upper)"
        " values (%s, %s, %s, %s, '[1,-1,2,-2,1,-1,2,-2]', 0.5, '{}', 0.5, '{-1,1}', '{0.1,0.6}', '{0.4,0.9}')",
        [task, task, encoder.encoder_id, encoder.prompt_id],
    )


def add_encoder(connection: Connection, name: str = "fake") -> RegisteredEncoder:
    """A registered fake encoder of 8 dimensions; another name is another encoder."""
    return registry.register(connection, FakeEncoder(name=name).manifest)
