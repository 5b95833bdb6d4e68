"""EHRSHOT CSV folders: events and vocabulary as the benchmark ships them, values as FEMR 0.0.20 reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg import DataError

from ehrdb.database import Connection, Database
from ehrdb.errors import InputError
from ehrdb.events.files import FileRules, copy_table, name_files
from ehrdb.events.folder import Part, SourceFolder, digest_files
from ehrdb.events.merge import (
    LoadOptions,
    LoadResult,
    Run,
    TableReport,
    check_problems,
    found_table,
    load,
    report_unread,
)
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "ehrshot.sql")
EVENT_COLUMNS = ("patient_id", "start", "end", "code", "value", "unit", "visit_id", "omop_table")


@dataclass(frozen=True)
class EhrshotOptions(LoadOptions):
    """How EHRSHOT's files are read.

    Attributes:
        quoted, unquoted: tables whose text files quote, or do not; of others it is found out.
    """

    quoted: tuple[str, ...] = ()
    unquoted: tuple[str, ...] = ()


def load_ehrshot(
    database: Database,
    directory: Path,
    options: EhrshotOptions | None = None,
    *,
    source: str = "ehrshot",
    run: Run = load,
) -> LoadResult:
    """Load `ehrshot.csv` (or `data/*.csv`) with the vocabulary, custom texts, splits and reports beside it.

    Events keep their row order within a second; times are then cut to whole minutes, and numbers rounded to
    float32, as in FEMR. Raises InputError naming file, row and column; nothing is written then.
    """
    chosen = options or EhrshotOptions()
    return run(
        database,
        source,
        lambda connection: _stage(connection, directory, chosen),
        chosen,
        digest=lambda: digest_files(directory, chosen),
    )


@dataclass(frozen=True)
class _Tables:
    """The folder's tables on their way into the database."""

    connection: Connection
    folder: SourceFolder
    rules: FileRules

    def copy(self, name: str, required: tuple[str, ...], parts: list[Part] | None = None) -> int | None:
        """Rows of a table's files; None where it has none."""
        parts = self.folder.take(name) if parts is None else parts
        if not parts:
            return None
        rows = copy_table(self.connection, parts, name, required=required, rules=self.rules)
        found_table(self.connection, name, required)
        return rows


def _stage(connection: Connection, directory: Path, options: EhrshotOptions) -> Iterator[TableReport]:
    folder = SourceFolder(directory)
    tables = _Tables(connection, folder, FileRules(options.quoted, options.unquoted))
    rows = _number_events(tables)
    _stage_vocabulary(tables)
    _stage_splits(tables)
    connection.execute(_queries.stage_patients)
    yield TableReport("ehrshot", rows_read=rows, rows_loaded=rows)
    yield from _stage_reports(tables)
    yield from report_unread(folder.unread)


def _number_events(tables: _Tables) -> int:
    """Files straight into numbered events; the text of 40 million rows is not staged in between. Returns the rows."""
    parts = tables.folder.take("ehrshot") or tables.folder.take("data")
    rows = tables.copy("ehrshot", EVENT_COLUMNS, parts)
    if rows is None:
        raise InputError("has neither ehrshot.csv nor data/*.csv", file=tables.folder.directory)
    connection = tables.connection
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


def _stage_vocabulary(tables: _Tables) -> None:
    described = ("code", "description")
    connection = tables.connection
    full = tables.copy("concept_full", described)
    if full is not None:
        connection.execute(_queries.stage_full_concepts)
    plain = tables.copy("concept", described)
    if plain is not None:
        connection.execute(_queries.stage_concepts)
    if full is None and plain is None:
        raise InputError("has no concept.csv", file=tables.folder.directory, hint="It gives each code's description.")
    if tables.copy("concept_parent", ("child_code", "parent_code")) is not None:
        connection.execute(_queries.stage_parents)
    if tables.copy("custom_codes", ("vocabulary", "code", "description")) is not None:
        connection.execute(_queries.stage_custom_texts)


def _stage_splits(tables: _Tables) -> None:
    tables.connection.execute(_queries.split_table)
    below = tables.folder.directory / "splits"
    parts = SourceFolder(below).take("person_id_map") if below.is_dir() else []
    if parts:
        tables.folder.ignore("splits")
    if tables.copy("person_id_map", ("split", "omop_person_id"), parts or None) is not None:
        tables.connection.execute(_queries.stage_splits)


def _stage_reports(tables: _Tables) -> Iterator[TableReport]:
    parts = tables.folder.take("chexpert")
    rows = tables.copy("chexpert", ("patient_id", "start", "no finding"), parts)
    if rows is not None:
        connection = tables.connection
        connection.execute(_queries.check_reports)
        name_files(connection, "chexpert", [str(part.path) for part in parts])
        check_problems(connection)
        connection.execute(_queries.stage_reports)
        yield TableReport("chexpert", rows_read=rows, rows_loaded=rows)
