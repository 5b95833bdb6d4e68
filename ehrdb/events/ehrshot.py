"""EHRSHOT CSV folders: events and vocabulary as the benchmark ships them, values as FEMR 0.0.20 reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from psycopg import DataError

from ehrdb.database import Connection, Database
from ehrdb.errors import InputError
from ehrdb.events.files import copy_table, name_files
from ehrdb.events.folder import Part, SourceFolder, digest_files
from ehrdb.events.merge import LoadResult, TableReport, check_problems, load, report_unread
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "ehrshot.sql")
EVENT_COLUMNS = ("patient_id", "start", "end", "code", "value", "unit", "visit_id", "omop_table")


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
    folder = SourceFolder(directory)
    rows = _number_events(connection, _event_files(folder))
    _stage_vocabulary(connection, folder)
    _stage_splits(connection, folder)
    connection.execute(_queries.stage_patients)
    yield TableReport("ehrshot", rows_read=rows, rows_loaded=rows)
    yield from _stage_reports(connection, folder)
    yield from report_unread(folder)


def _number_events(connection: Connection, parts: list[Part]) -> int:
    """Files straight into numbered events; the text of 40 million rows is not staged in between. Returns the rows."""
    rows = copy_table(connection, parts, "ehrshot", required=EVENT_COLUMNS)
    connection.execute(_queries.number_events, {"plain_times": _are_plain(connection)})
    row = connection.execute(_queries.any_broken).fetchone()
    if row and row[0]:
        connection.execute(_queries.find_broken)
        name_files(connection, "ehrshot", [str(part.path) for part in parts])
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


def _event_files(folder: SourceFolder) -> list[Part]:
    parts = folder.take("ehrshot") or folder.take("data")
    if not parts:
        raise InputError("has neither ehrshot.csv nor data/*.csv", file=folder.directory)
    return parts


def _stage_vocabulary(connection: Connection, folder: SourceFolder) -> None:
    described = ("code", "description")
    full = _copy(connection, folder, "concept_full", described)
    if full is not None:
        connection.execute(_queries.stage_full_concepts)
    plain = _copy(connection, folder, "concept", described)
    if plain is not None:
        connection.execute(_queries.stage_concepts)
    if full is None and plain is None:
        raise InputError("has no concept.csv", file=folder.directory, hint="It gives each code's description.")
    if _copy(connection, folder, "concept_parent", ("child_code", "parent_code")) is not None:
        connection.execute(_queries.stage_parents)
    if _copy(connection, folder, "custom_codes", ("vocabulary", "code", "description")) is not None:
        connection.execute(_queries.stage_custom_texts)


def _copy(connection: Connection, folder: SourceFolder, name: str, required: tuple[str, ...]) -> int | None:
    """Rows of a table's files; None where it has none."""
    parts = folder.take(name)
    return copy_table(connection, parts, name, required=required) if parts else None


def _stage_splits(connection: Connection, folder: SourceFolder) -> None:
    connection.execute(_queries.split_table)
    below = folder.directory / "splits"
    if below.is_dir():
        folder.ignore("splits")
    found = [SourceFolder(below)] if below.is_dir() else []
    required = ("split", "omop_person_id")
    if any(_copy(connection, place, "person_id_map", required) is not None for place in (*found, folder)):
        connection.execute(_queries.stage_splits)


def _stage_reports(connection: Connection, folder: SourceFolder) -> Iterator[TableReport]:
    parts = folder.take("chexpert")
    if parts:
        rows = copy_table(connection, parts, "chexpert", required=("patient_id", "start", "no finding"))
        connection.execute(_queries.check_reports)
        name_files(connection, "chexpert", [str(part.path) for part in parts])
        check_problems(connection)
        connection.execute(_queries.stage_reports)
        yield TableReport("chexpert", rows_read=rows, rows_loaded=rows)
