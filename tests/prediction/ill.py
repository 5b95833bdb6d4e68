"""A task to learn: is a patient ill, as every second one is?"""

from __future__ import annotations

from ehrdb.database import Database
from tests.records import Record, day, write


def ask_who_is_ill(database: Database, codes: dict[int, str]) -> None:
    """The task 'ill' of patients 1 to n, each with one code: 40 % to train on, 30 to choose, 30 to test."""
    with database.transaction() as connection:
        write(connection, [Record(patient, day(1), code) for patient, code in codes.items()])
        connection.execute(
            "update ehrdb.patient set split = case when patient_id <= %(n)s * .4 then 'train'"
            " when patient_id <= %(n)s * .7 then 'val' else 'test' end",
            {"n": len(codes)},
        )
        connection.execute(
            "insert into ehrdb.task (task, task_group, kind, description, declaration)"
            " values ('ill', 'site', 'binary', 'Ill?', '{\"shape\": \"imported\", \"question\": \"is it\"}')"
        )
        connection.execute(
            "insert into ehrdb.label (task, patient_id, prediction_time, value)"
            " select 'ill', patient_id, '2020-01-02', patient_id % 2 from ehrdb.patient"
        )
