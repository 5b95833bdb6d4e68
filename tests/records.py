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
    """Append events to patients' records, with descriptions like their codes; patients are made on the way."""
    records = list(records)
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into ehrdb.patient (patient_id, source, fingerprint) values (%s, 'test', '')"
            " on conflict do nothing",
            [[patient_id] for patient_id in dict.fromkeys(record.patient_id for record in records)],
        )
        cursor.executemany(
            "insert into ehrdb.concept (code, vocabulary, description) values (%s, split_part(%s, '/', 1), %s)"
            " on conflict do nothing",
            [[code, code, f"text of {code}"] for code in dict.fromkeys(record.code for record in records)],
        )
        cursor.executemany(
            "insert into ehrdb.unit (unit) values (%s) on conflict do nothing",
            [[unit] for unit in dict.fromkeys(record.unit for record in records) if unit],
        )
        cursor.executemany(
            "insert into ehrdb.event (patient_id, ordinal, time, code_id, numeric_value, text_value, unit_id)"
            " select %s, (select count(*) from ehrdb.event where patient_id = %s), %s, c.code_id, %s, %s,"
            "        (select unit_id from ehrdb.unit where unit = %s)"
            "   from ehrdb.concept c where c.code = %s",
            [[r.patient_id, r.patient_id, r.time, r.value, r.text, r.unit, r.code] for r in records],
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
