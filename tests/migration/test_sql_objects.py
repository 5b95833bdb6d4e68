"""From one version to the next: what changed is applied, what is gone goes, what users built stays."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ehrdb.database import Database
from ehrdb.errors import DatabaseError, SchemaBusy, SchemaNewer
from ehrdb.schema import project_path, require_current, upgrade
from tests.migration.test_upgrade import definitions


class NextVersion:
    """A copy of sql/ that a test changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        (found,) = self.folder.rglob(name)
        return found

    def change(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text(encoding="utf-8")
        assert old in text
        self.path(name).write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NextVersion:
    folder = Path(shutil.copytree(project_path("sql"), tmp_path / "sql"))
    monkeypatch.setattr("ehrdb.schema.project_path", lambda name: folder if name == "sql" else project_path(name))
    return NextVersion(folder)


def add_an_argument_to_similarity(version: NextVersion) -> None:
    version.change(
        "similarity.sql", "weights jsonb default null\n", "weights jsonb default null, digits integer default 4\n"
    )
    version.change("similarity.sql", "(bigint, bigint, text, jsonb) is", "(bigint, bigint, text, jsonb, integer) is")


def execute(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def signatures(database: Database, name: str) -> list[str]:
    rows = execute(database, f"select oid::regprocedure::text from pg_proc where proname = '{name}' order by 1")  # noqa: S608
    return [row[0] for row in rows]


def definition_places(database: Database) -> dict[str, str]:
    """Where the definitions of views and internal functions lie: nobody has written them anew if that stays."""
    places = execute(
        database,
        "select oid::regprocedure::text, ctid::text from pg_proc where pronamespace = 'ehrdb'::regnamespace"
        " union all select ev_class::regclass::text, r.ctid::text from pg_rewrite r join pg_class c on c.oid = ev_class"
        "  where c.relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)",
    )
    return dict(places)


def test_an_added_argument_leaves_no_second_signature(database: Database, next_version: NextVersion) -> None:
    add_an_argument_to_similarity(next_version)
    assert upgrade(database) is True
    assert signatures(database, "similarity") == ["ehr.similarity(bigint,bigint,text,jsonb,integer)"]


def test_what_a_user_built_on_a_retired_signature_stops_the_upgrade_and_is_named(
    database: Database, next_version: NextVersion
) -> None:
    execute(database, "create view public.mine as select ehr.similarity(1, 2)")
    execute(database, "create view public.yours as select * from public.mine")
    before = definitions(database)
    add_an_argument_to_similarity(next_version)
    with pytest.raises(DatabaseError, match=r"ehr\.similarity.* needed by view public\.mine, view public\.yours"):
        upgrade(database)
    assert definitions(database) == before


def test_a_users_view_on_a_column_that_a_function_renames_is_named_with_the_sql_that_puts_it_aside(
    database: Database, next_version: NextVersion
) -> None:
    execute(database, "create view public.mine as select patient_id, known_until from ehr.search_patients('pain')")
    execute(database, "create view public.yours as select * from public.mine")
    next_version.change("search_patients.sql", "known_until timestamp,", "known_to timestamp,")
    with pytest.raises(
        DatabaseError, match=r"search_patients.* needed by view public\.mine, view public\.yours"
    ) as error:
        upgrade(database)
    hint = str(error.value.hint)
    assert "known_until" in execute(database, hint[hint.index("select") : hint.index(";")])[0][0]
    execute(database, hint[hint.index("drop") : hint.index(" Run `")])
    assert upgrade(database) is True


def test_an_object_whose_file_is_gone_goes(database: Database, next_version: NextVersion) -> None:
    next_version.path("outlying_patients.sql").unlink()
    upgrade(database)
    assert signatures(database, "outlying_patients") == []


def test_objects_whose_files_are_gone_may_need_each_other(database: Database, next_version: NextVersion) -> None:
    first = next_version.path("outlying_patients.sql").with_name("a_first.sql")
    first.write_text("create or replace view ehr.a_first as select 1 as one;", encoding="utf-8")
    first.with_name("a_second.sql").write_text("create or replace view ehr.a_second as select * from ehr.a_first;")
    upgrade(database)
    for name in ("a_first.sql", "a_second.sql"):
        next_version.path(name).unlink()
    upgrade(database)
    found = execute(database, "select to_regclass('ehr.a_first'), to_regclass('ehr.a_second')")
    assert found == [(None, None)]


def test_an_object_whose_file_is_gone_stays_while_a_user_needs_it(
    database: Database, next_version: NextVersion
) -> None:
    execute(database, "create materialized view public.kept as select * from ehr.load_report with no data")
    next_version.path("load_report.sql").unlink()
    with pytest.raises(DatabaseError, match=r"needed by materialized view public\.kept"):
        upgrade(database)
    assert execute(database, "select count(*) from ehr.load_report") == [(0,)]


def test_a_file_in_another_folder_is_the_same_file(database: Database, next_version: NextVersion) -> None:
    execute(database, "create view public.mine as select ehr.similarity(1, 2)")
    shutil.move(next_version.path("similarity.sql"), next_version.folder / "50_prediction" / "similarity.sql")
    upgrade(database)
    assert signatures(database, "similarity") == ["ehr.similarity(bigint,bigint,text,jsonb)"]


def test_only_what_changed_and_what_needs_it_is_applied(database: Database, next_version: NextVersion) -> None:
    before = definition_places(database)
    next_version.change("_centroid.sql", "Mean direction", "The mean direction")
    next_version.change("event.sql", "One row per recorded event", "One row for each recorded event")
    assert upgrade(database) is True
    after = definition_places(database)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"ehrdb.centroid(integer,bigint[])", "ehr.event"}


def test_force_applies_everything(database: Database) -> None:
    before = definition_places(database)
    assert upgrade(database) is False
    assert upgrade(database, force=True) is True
    after = definition_places(database)
    assert all(after[name] != before[name] for name in before)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("_exact_search_bound.sql", "returns integer", "returns bigint"),
        ("_served_embedding.sql", "s.content_sha256, s.embedding", "s.embedding"),
        ("patient.sql", "p.split, p.source", "p.split, p.source::varchar as source"),
        ("_moments.sql", "patient_ids", "ids"),
    ],
)
def test_what_cannot_be_replaced_is_made_anew_with_what_needs_it(
    database: Database, empty_database: Database, next_version: NextVersion, file: str, old: str, new: str
) -> None:
    next_version.change(file, old, new)
    upgrade(database)
    upgrade(empty_database)
    assert definitions(database) == definitions(empty_database)


def test_a_users_view_on_a_column_that_goes_stops_the_upgrade_and_is_named(
    database: Database, next_version: NextVersion
) -> None:
    execute(database, "create view public.mine as select patient_id, source from ehr.patient")
    next_version.change("patient.sql", ", p.source", "")
    next_version.change("patient.sql", "comment on column ehr.patient.source is", "-- gone:")
    with pytest.raises(DatabaseError, match=r"view ehr\.patient, which is needed by view public\.mine"):
        upgrade(database)


def test_what_users_keep_in_schema_ehr_is_theirs(database: Database) -> None:
    execute(database, "create view ehr.mine as select patient_id from ehr.patient")
    upgrade(database, force=True)
    assert execute(database, "select count(*) from ehr.mine") == [(0,)]


def test_overloads_can_be_told_apart(database: Database) -> None:
    overloads = execute(
        database,
        "select a.oid::regprocedure::text, b.oid::regprocedure::text"
        "  from pg_proc a join pg_proc b on a.proname = b.proname and a.pronamespace = b.pronamespace and a.oid < b.oid"
        " where a.pronamespace = 'ehr'::regnamespace"
        "   and (a.proargtypes[0] = b.proargtypes[0]"
        "        or (select typcategory from pg_type where oid = a.proargtypes[0])"
        "           = (select typcategory from pg_type where oid = b.proargtypes[0]))",
    )
    assert overloads == []


@pytest.fixture
def reader(database: Database) -> Iterator[psycopg.Connection]:
    """A session in the middle of a long look at a view."""
    with psycopg.connect(database.url) as connection:
        connection.execute("select * from ehr.patient")
        yield connection


def test_an_upgrade_behind_a_long_reader_gives_up_and_names_the_session(
    database: Database, reader: psycopg.Connection
) -> None:
    with pytest.raises(SchemaBusy, match=rf"session {reader.info.backend_pid} of {reader.info.user}, since 20"):
        upgrade(database, force=True, patience=0)


def test_nobody_queues_for_long_behind_a_waiting_upgrade(database: Database, reader: psycopg.Connection) -> None:
    waits = []

    def look() -> None:
        with psycopg.connect(database.url, autocommit=True) as connection:
            for _ in range(20):
                start = time.monotonic()
                connection.execute("select count(*) from ehr.patient")
                waits.append(time.monotonic() - start)
                time.sleep(0.1)

    other = threading.Thread(target=look)
    other.start()
    with pytest.raises(SchemaBusy):
        upgrade(database, force=True, patience=3)
    other.join()
    assert max(waits) < 5


def test_an_upgrade_goes_on_when_the_reader_has_finished(database: Database, reader: psycopg.Connection) -> None:
    timer = threading.Timer(2, reader.rollback)
    timer.start()
    assert upgrade(database, force=True, patience=60) is True
    timer.join()


def test_beside_an_open_write_an_upgrade_that_touches_no_trigger_goes_on(
    database: Database, next_version: NextVersion
) -> None:
    next_version.change("event.sql", "One row per recorded event", "One row for each recorded event")
    with psycopg.connect(database.url) as writer:
        writer.execute("insert into ehrdb.event (patient_id, time, ordinal, code_id) values (1, '2020-01-01', 1, 1)")
        assert upgrade(database, patience=0) is True


@pytest.mark.parametrize(
    "later",
    [
        "update ehrdb.schema_state set version = '99.0.0', sql_sha256 = ''",
        "update ehrdb.migration set version_num = '9999'",
    ],
)
def test_an_older_program_on_a_newer_database_says_so(database: Database, later: str) -> None:
    execute(database, later)
    with pytest.raises(SchemaNewer):
        upgrade(database)
    with database.transaction() as connection, pytest.raises(SchemaNewer) as caught:
        require_current(connection)
    assert "Update this program" in (caught.value.hint or "")
