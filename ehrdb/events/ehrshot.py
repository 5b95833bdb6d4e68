"""EHRSHOT CSV folders: events and vocabulary as the benchmark ships them, values as FEMR 0.0.20 reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from psycopg import DataError

from ehrdb.database import Connection, Database
from ehrdb.errors import InputError
from ehrdb.events.files import copy_file, digest_files, find_file
from ehrdb.events.merge import LoadResult, TableReport, check_problems, load
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "ehrshot.sql")
EVENT_COLUMNS = ("patient_id", "start", "end", "code", "value", "unit", "visit_id", "omop_table")
_ROWS_PER_FILE = 1 << 40


def load_ehrshot(
    database: Database, directory: Path, *, source: str = "ehrshot", keep_missing: bool = False
) -> LoadResult:
    """Load `ehrshot.csv` (or `data/*.csv`) with the vocabulary, custom texts, splits and reports beside it.

    Events keep their row order within a second; times are then cut to whole minutes, and numbers rounded to
    float32, as in FEMR. Raises InputError naming file, row and column; nothing is written then.
    """
    return load(
        database,
        source,
        lambda connection: _stage(connection, directory),
        digest=digest_files(directory, keep_missing),
        keep_missing=keep_missing,
    )


def _stage(connection: Connection, directory: Path) -> Iterator[TableReport]:
    rows = _number_events(connection, _event_files(directory))
    _stage_vocabulary(connection, directory)
    _stage_splits(connection, directory)
    connection.execute(_queries.stage_patients)
    yield TableReport("ehrshot", rows_read=rows, rows_loaded=rows)
    yield from _stage_reports(connection, directory)


def _number_events(connection: Connection, files: list[Path]) -> int:
    """Files straight into numbered events; the text of 40 million rows is not staged in between. Returns the rows."""
    rows = sum(
        copy_file(connection, path, "raw_event", required=EVENT_COLUMNS, first_row=number * _ROWS_PER_FILE + 2)
        for number, path in enumerate(files)
    )
    connection.execute(_queries.number_events, {"plain_times": _are_plain(connection)})
    row = connection.execute(_queries.any_broken).fetchone()
    if row and row[0]:
        names = [str(path) for path in files]
        connection.execute(_queries.find_broken, {"files": names, "rows_per_file": _ROWS_PER_FILE})
        check_problems(connection)
    return rows


def _are_plain(connection: Connection) -> bool:
    """Whether a mere cast reads every time, in a fifth of what a look at each takes."""
    try:
        with connection.transaction():
            row = connection.execute(_queries.are_plain).fetchone()
    except DataError:
        return False
    return bool(row and row[0])


def _event_files(directory: Path) -> list[Path]:
    single = find_file(directory, "ehrshot")
    files = [single] if single else sorted((directory / "data").glob("*.csv"))
    if not files:
        raise InputError("has neither ehrshot.csv nor data/*.csv", file=directory)
    return files


def _stage_vocabulary(connection: Connection, directory: Path) -> None:
    full, plain = find_file(directory, "concept_full"), find_file(directory, "concept")
    if full:
        copy_file(connection, full, "raw_concept_full", required=("code", "description"))
        connection.execute(_queries.stage_full_concepts)
    if plain:
        copy_file(connection, plain, "raw_concept", required=("code", "description"))
        connection.execute(_queries.stage_concepts)
    if not (full or plain):
        raise InputError("has no concept.csv", file=directory, hint="It gives each code's description.")
    if parents := find_file(directory, "concept_parent"):
        copy_file(connection, parents, "raw_parent", required=("child_code", "parent_code"))
        connection.execute(_queries.stage_parents)
    if custom := find_file(directory, "custom_codes"):
        copy_file(connection, custom, "raw_custom", required=("vocabulary", "code", "description"))
        connection.execute(_queries.stage_custom_texts)


def _stage_splits(connection: Connection, directory: Path) -> None:
    connection.execute(_queries.split_table)
    candidates = (directory / "splits", directory)
    found = [find_file(folder, "person_id_map") for folder in candidates if folder.is_dir()]
    for path in filter(None, found[:1]):
        copy_file(connection, path, "raw_split", required=("split", "omop_person_id"))
        connection.execute(_queries.stage_splits)


def _stage_reports(connection: Connection, directory: Path) -> Iterator[TableReport]:
    if path := find_file(directory, "chexpert"):
        rows = copy_file(connection, path, "raw_report", required=("patient_id", "start", "no finding"))
        connection.execute(_queries.check_reports, {"file": str(path)})
        check_problems(connection)
        connection.execute(_queries.stage_reports)
        yield TableReport("chexpert", rows_read=rows, rows_loaded=rows)
