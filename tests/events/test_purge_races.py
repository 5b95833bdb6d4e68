"""A purge beside whoever writes about patients what they have read before: nothing of them is left behind."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from ehrdb.database import Connection, Database
from ehrdb.embedding import refresh, registry, vectors
from ehrdb.errors import DatabaseError
from ehrdb.events import merge
from ehrdb.events.meds import load_meds
from ehrdb.events.purge import purge
from ehrdb.prediction import label_files
from ehrdb.testing import FakeEncoder
from tests.events.test_load_meds import write as write_events
from tests.events.test_purge import rows_of
from tests.records import Record, add_encoder, add_head, day, write

# What writes rows of patients from what it read of them, in one transaction.
WRITERS = {
    "predictions": "select ehrdb.store_predictions(null, null)",
    "labels": "select ehrdb.label_task('death')",
    "reasons": "select ehrdb.keep_reasons(head_id, 1, ''::bytea, '2020-01-01', 1, '{}') from ehrdb.head",
}


@pytest.fixture
def impatient(database: Database) -> Database:
    """Three embedded patients, a rule and a head; purges wait no time, and nobody waits long for a row."""
    with database.transaction() as connection:
        name = connection.info.dbname
        connection.execute(SQL("alter database {} set lock_timeout = '10s'").format(Identifier(name)))
        write(connection, [Record(p, day(1), f"SNOMED/{p}") for p in (1, 2, 3)])
        write(connection, [Record(p, day(3), "SNOMED/late") for p in (1, 2, 3)])
        encoder = add_encoder(connection)
        connection.execute(
            "create function ehrdb.labels_mine(rule jsonb, out patient_id bigint, out prediction_time timestamp,"
            " out value integer) returns setof record language sql"
            " as $$ select patient_id, timestamp '2020-01-02', 1 from ehrdb.patient $$"
        )
        connection.execute(
            "insert into ehrdb.task values ('death', 'own', 'binary', 'a task', '{\"shape\": \"mine\"}')"
        )
        definition = connection.execute("select pg_get_functiondef('ehrdb.wait_to_purge()'::regprocedure)").fetchone()
        assert definition is not None
        connection.execute(definition[0].replace("10 seconds", "0 seconds").encode())
    refresh(database, encoder, FakeEncoder)
    with database.transaction() as connection:
        add_head(connection, "death", encoder)
    return database


@pytest.mark.parametrize("writer", WRITERS)
def test_a_purge_does_not_begin_while_somebody_writes_about_patients(impatient: Database, writer: str) -> None:
    with impatient.transaction() as writing:
        writing.execute(WRITERS[writer].encode())
        with pytest.raises(psycopg.Error, match="would outlive the purge") as caught:
            purge(impatient, [1])
        assert f"process {writing.info.backend_pid} of " in str(caught.value.diag.message_hint)
    purge(impatient, [1])
    assert leftovers(impatient) == {}


def test_nor_while_vectors_are_imported_or_put_together(
    impatient: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "vectors.parquet"
    rows = {"patient_id": [1, 2], "prediction_time": [day(3)] * 2, "embedding": [[1.0, 0.0], [0.0, 1.0]]}
    pl.DataFrame(rows).write_parquet(file)
    copy = vectors.copy_vectors

    def interrupted(*arguments: object) -> None:
        with pytest.raises(psycopg.Error, match="would outlive the purge"):
            purge(impatient, [1])
        copy(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(vectors, "copy_vectors", interrupted)
    vectors.import_vectors(impatient, file, "imported")
    with impatient.transaction() as connection:
        encoder = registry.concatenate(connection, "both", "fake", "imported")
    with impatient.transaction() as joining:
        joining.execute("select ehrdb.concatenate(%s)", [encoder.encoder_id])
        with pytest.raises(psycopg.Error, match="would outlive the purge"):
            purge(impatient, [1])
    purge(impatient, [1])
    assert leftovers(impatient) == {}


def test_a_purge_that_leaves_something_is_none(impatient: Database) -> None:
    with impatient.transaction() as connection:
        connection.execute("create table ehrdb.kept as select patient_id from ehrdb.patient")
    with pytest.raises(DatabaseError, match="written meanwhile") as caught:
        purge(impatient, [1])
    assert "(kept)" in str(caught.value)
    assert leftovers(impatient)["patient"] == 1


def test_a_vacuum_is_no_writer(impatient: Database) -> None:
    with impatient.transaction() as vacuuming, impatient.transaction() as purging:
        vacuuming.execute("lock table ehrdb.patient in share update exclusive mode")  # as vacuum and analyze do
        purging.execute("select ehrdb.wait_to_purge()")


def test_nor_while_labels_are_imported(impatient: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported.csv").write_text("patient_id,prediction_time,value\n1,2020-01-02,1\n")
    load_files = label_files._load_files

    def interrupted(*arguments: object) -> None:
        with pytest.raises(psycopg.Error, match="would outlive the purge"):
            purge(impatient, [1])
        load_files(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(label_files, "_load_files", interrupted)
    label_files.load_labels(impatient, tmp_path / "imported.csv", "imported")
    with impatient.transaction() as connection:
        assert rows_of(connection, [1])["label"] == 1


def test_nor_while_a_load_has_made_up_its_mind_who_comes(
    impatient: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    one: dict[str, list[object]] = {"subject_id": [7], "time": [datetime(2020, 1, 2)], "code": ["A//1"]}
    write_events(tmp_path, "0", one)
    load_meds(impatient, tmp_path)
    change = merge._change_concepts

    def interrupted(connection: Connection) -> tuple[int, int]:
        with pytest.raises(psycopg.Error, match="would outlive the purge"):
            purge(impatient, [7])
        return change(connection)

    monkeypatch.setattr(merge, "_change_concepts", interrupted)
    write_events(tmp_path, "1", one | {"time": [datetime(2020, 1, 20)]})
    load_meds(impatient, tmp_path)
    purge(impatient, [7])
    assert leftovers(impatient, 7) == {}


def test_what_was_found_of_somebody_who_was_purged_since_is_not_kept(impatient: Database) -> None:
    purge(impatient, [1])
    with impatient.transaction() as connection:
        assert connection.execute(WRITERS["reasons"].encode()).fetchone() == (False,)
    assert leftovers(impatient) == {}


def test_a_writer_waits_for_a_purge_and_writes_nothing_of_who_is_gone(impatient: Database) -> None:
    with impatient.transaction() as purging:
        purging.execute("select ehrdb.wait_to_purge()")
        for writer in WRITERS.values():
            with psycopg.connect(impatient.url) as writing:
                writing.execute("set lock_timeout = '50ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    writing.execute(writer.encode())


def leftovers(database: Database, patient: int = 1) -> dict[str, int]:
    with database.transaction() as connection:
        return {table: rows for table, rows in rows_of(connection, [patient]).items() if rows}
