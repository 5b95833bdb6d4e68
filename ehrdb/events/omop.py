"""OMOP CDM 5.3-5.5: from a folder of CSV or parquet files, or from a schema of the same database.

Both become temporary relations `raw_<table>` with text columns; one set of SQL statements does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import psycopg
from psycopg import sql

from ehrdb.database import Connection, Database
from ehrdb.errors import ConfigError, InputError
from ehrdb.events.changes import digest_rules, find_changes, someone_to_read
from ehrdb.events.files import Excerpt, FileRules, check_excerpts, columns_of, copy_table, name_files
from ehrdb.events.folder import Part, SourceFolder, digest_files
from ehrdb.events.merge import (
    LoadOptions,
    LoadResult,
    Portion,
    Run,
    TableReport,
    check_problems,
    found_table,
    load,
    number_events,
    report_unread,
)
from ehrdb.events.ragged import RaggedRow
from ehrdb.events.times import zone_error
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "omop.sql")

DatePolicy = Literal["end_of_day", "as_is"]
ConceptField = Literal["standard", "source", "source_value"]


@dataclass(frozen=True)
class OmopOptions(LoadOptions):
    """How OMOP rows become events.

    Attributes:
        concept_order: which code an event takes first; concept 0 counts as missing. An event without any is
            coded `OMOP/<table>:<source value>` and counted as unmapped.
        date_only: what a date without a time (or at midnight) means: `end_of_day` (23:59, as EHRSHOT has it,
            so that nothing of a day is known before it ends) or `as_is` (00:00). Births stay as they are.
        inpatient_concepts: visit concepts that are inpatient stays.
        icu_concepts: visit_detail concepts that are intensive care (besides ehrdb.icu_care_site).
        skip_bad_rows: load the other rows and count the rejected ones, instead of refusing the load.
        quoted, unquoted: tables whose text files quote, or do not; of others it is found out.
        time_zone: the clock that times with a time zone are turned into; None refuses them.
        notes: read table note too: texts as events.
        note_length: characters of a note that are kept, from its beginning.
    """

    concept_order: tuple[ConceptField, ...] = ("standard", "source", "source_value")
    date_only: DatePolicy = "end_of_day"
    inpatient_concepts: tuple[int, ...] = (9201, 262)
    icu_concepts: tuple[int, ...] = (32037, 581379)
    skip_bad_rows: bool = False
    quoted: tuple[str, ...] = ()
    unquoted: tuple[str, ...] = ()
    time_zone: str | None = None
    notes: bool = False
    note_length: int = 10_000

    def __post_init__(self) -> None:
        if not 1 <= self.note_length <= LONGEST_NOTE:
            raise ConfigError(f"--note-length must be 1 to {LONGEST_NOTE}")

    @property
    def clinical_tables(self) -> tuple[ClinicalTable, ...]:
        """Tables of events, in the order that breaks ties between them within one second."""
        return (*CLINICAL_TABLES, NOTE) if self.notes else CLINICAL_TABLES

    @property
    def optional_tables(self) -> tuple[str, ...]:
        """Tables that may be absent."""
        return (*(table.name for table in self.clinical_tables), "death", *VOCABULARY_TABLES)

    @property
    def files(self) -> FileRules:
        """How text files are read."""
        return FileRules(self.quoted, self.unquoted, self.time_zone, self.skip_bad_rows)


# Programs write these words where they have nothing. NA may be a code (sodium), or a name.
NULL_WORDS = ("NULL", "Null", "null", "(null)", "\\N", "<NA>", "NaT", "NaN", "nan", " ")
NULL_WORDS_BUT_OF_CODES = (*NULL_WORDS, "NA", "N/A", "n/a", "None")
CODE_COLUMNS = ("concept_name", "vocabulary_id", "concept_code", "standard_concept", "source_value")
PERSON_FIELDS = (
    "person_id",
    "gender_concept_id",
    "year_of_birth",
    "month_of_birth",
    "day_of_birth",
    "birth_datetime",
    "race_concept_id",
    "ethnicity_concept_id",
)
CONCEPT_FIELDS = ("concept_id", "concept_name", "vocabulary_id", "concept_code", "standard_concept")
NOTE_TEXT = "note_text"
LONGEST_NOTE = 1_000_000
WITH_ZONE = "timestamp with time zone"
WHOLE_NUMBERS = ("smallint", "integer", "bigint")
DEATH_FIELDS = ("person_id", "death_date", "death_datetime")
SOURCE_MAP_FIELDS = (
    "source_code",
    "source_vocabulary_id",
    "source_code_description",
    "target_concept_id",
    "invalid_reason",
)
VALUE_COLUMNS = (
    "value_as_number",
    "operator_concept_id",
    "value_as_concept_id",
    "value_as_string",
    "value_as_datetime",
    "value_source_value",
    "qualifier_concept_id",
    "qualifier_source_value",
    "unit_concept_id",
    "unit_source_value",
    "care_site_id",
)


@dataclass(frozen=True)
class ClinicalTable:
    """Where a CDM table keeps what every event has. `prefix` starts most of its columns."""

    name: str
    prefix: str
    start: str
    end: str | None = None
    key: str = ""
    required: tuple[str, ...] = field(default=())

    @property
    def key_column(self) -> str:
        """The primary key."""
        return self.key or f"{self.name}_id"

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Columns without which the table cannot be read."""
        return (self.key_column, "person_id", f"{self.prefix}_concept_id", f"{self.start}_date")

    @property
    def event_columns(self) -> dict[str, str]:
        """What an event takes from which column."""
        return {
            "key": self.key_column,
            "person_id": "person_id",
            "concept_id": f"{self.prefix}_concept_id",
            "source_concept_id": f"{self.prefix}_source_concept_id",
            "source_value": f"{self.prefix}_source_value",
            "start_date": f"{self.start}_date",
            "start_datetime": f"{self.start}_datetime",
            "end_date": f"{self.end}_date",
            "end_datetime": f"{self.end}_datetime",
            "visit_id": "visit_occurrence_id",
            **{name: name for name in VALUE_COLUMNS},
        }


@dataclass(frozen=True)
class NoteTable(ClinicalTable):
    """Notes: of the class of document, or called by their title, with their text as the value."""

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Columns without which there is no note."""
        return (self.key_column, "person_id", "note_date", NOTE_TEXT)

    @property
    def event_columns(self) -> dict[str, str]:
        """What an event takes from which column."""
        own = {"concept_id": "note_class_concept_id", "source_value": "note_title", "value_as_string": NOTE_TEXT}
        return super().event_columns | own


# In the order that breaks ties between tables within one second.
CLINICAL_TABLES = (
    ClinicalTable("visit_occurrence", "visit", "visit_start", "visit_end"),
    ClinicalTable("visit_detail", "visit_detail", "visit_detail_start", "visit_detail_end"),
    ClinicalTable("condition_occurrence", "condition", "condition_start", "condition_end"),
    ClinicalTable("drug_exposure", "drug", "drug_exposure_start", "drug_exposure_end"),
    ClinicalTable("procedure_occurrence", "procedure", "procedure"),
    ClinicalTable("device_exposure", "device", "device_exposure_start", "device_exposure_end"),
    ClinicalTable("measurement", "measurement", "measurement"),
    ClinicalTable("observation", "observation", "observation"),
)
NOTE = NoteTable("note", "note", "note")
PERSON_COLUMNS = ("person_id", "gender_concept_id", "year_of_birth")
CONCEPT_COLUMNS = ("concept_id", "concept_name", "vocabulary_id", "concept_code")
VOCABULARY_TABLES = ("concept_relationship", "concept_ancestor")


def load_omop(
    database: Database, directory: Path, options: OmopOptions | None = None, *, source: str = "omop", run: Run = load
) -> LoadResult:
    """Load a folder of CDM files: person and concept are required, other tables may be absent.

    Raises InputError naming file, row and column for structural faults (a missing column, a ragged row, an id
    that is no number, an impossible date, a duplicate key, an unknown person), unless bad rows are skipped.
    Nothing is written then.
    """
    chosen = options or OmopOptions()
    tables = FolderTables(directory, chosen)
    return run(
        database,
        source,
        lambda connection: _stage(connection, tables, chosen),
        chosen,
        digest=lambda: digest_files(directory, chosen),
        by_patients=OmopByPatients(tables, chosen),
    )


def load_omop_schema(
    database: Database,
    schema: str,
    vocabulary_schema: str | None = None,
    options: OmopOptions | None = None,
    *,
    source: str = "omop",
    run: Run = load,
) -> LoadResult:
    """Load a live CDM schema of the same database, by set-based SQL that only reads it.

    Raises InputError like load_omop; `file` is then the table's name.
    """
    chosen = options or OmopOptions()
    tables = SchemaTables(schema, vocabulary_schema or schema, chosen)
    by_patients = OmopByPatients(tables, chosen)
    return run(database, source, lambda connection: _stage(connection, tables, chosen), chosen, by_patients=by_patients)


class Tables(Protocol):
    """Where a CDM's tables are, on their way to be temporary relations `raw_<table>`."""

    def find(self, connection: Connection) -> dict[str, list[str]]:
        """What each table that is there is called, part by part."""

    def show(self, connection: Connection, name: str, portion: Portion | None = None) -> None:
        """Make raw_<name> of all rows, or of those of a portion's patients."""

    def show_for_long(self, connection: Connection, name: str) -> None:
        """Make raw_<name> of all rows, until the session ends."""

    def narrow(self, connection: Connection, name: str, portion: Portion | None = None) -> None:
        """Leave of what is shown the patients who are to be read."""

    def hide(self, connection: Connection, names: Iterable[str]) -> None:
        """Remove what would outlive the transaction."""

    def unread(self, connection: Connection) -> Iterator[TableReport]:
        """What stands there and is not read."""

    def check_whole(self) -> None:
        """Raise InputError where the portions that were shown left rows out."""


class FolderTables:
    """A folder of CDM files."""

    def __init__(self, directory: Path, options: OmopOptions) -> None:
        self._directory, self._options = directory, options
        self._parts: dict[str, list[Part]] = {}
        self._unread: list[str] = []
        self._excerpts: list[Excerpt] = []

    def find(self, connection: Connection) -> dict[str, list[str]]:
        """Files by table; person and concept are required."""
        _require_time_zone(connection, self._options.time_zone)
        folder = SourceFolder(self._directory)
        parts = {name: folder.require(name) for name in ("person", "concept")}
        parts |= {name: taken for name in self._options.optional_tables if (taken := folder.take(name))}
        self._parts, self._unread = parts, folder.unread
        return {name: [str(part.path) for part in taken] for name, taken in parts.items()}

    def show(self, connection: Connection, name: str, portion: Portion | None = None) -> None:
        """Copied; of a portion, the server keeps its rows alone."""
        self._copy(connection, name, portion)

    def show_for_long(self, connection: Connection, name: str) -> None:
        """Copied."""
        self._copy(connection, name, is_lasting=True)

    def narrow(self, connection: Connection, name: str, portion: Portion | None = None) -> None:
        """By a view in the place of what was copied."""
        raw, whole = sql.Identifier(f"raw_{name}"), sql.Identifier(f"whole_{name}")
        connection.execute(sql.SQL("alter table {} rename to {}").format(raw, whole))
        connection.execute(
            sql.SQL("create temp view {} as select * from {} where {}").format(raw, whole, _is_read("person_id"))
        )

    def hide(self, connection: Connection, names: Iterable[str]) -> None:
        """Copies go with their transaction."""

    def unread(self, connection: Connection) -> Iterator[TableReport]:
        """Names in the folder."""
        yield from report_unread(self._unread)

    def check_whole(self) -> None:
        """Count the rows of all portions against the files' line ends."""
        check_excerpts(self._excerpts)
        self._excerpts.clear()

    def _copy(
        self, connection: Connection, name: str, portion: Portion | None = None, *, is_lasting: bool = False
    ) -> None:
        excerpt = Excerpt(_is_in(portion, "person_id")) if portion else None
        if excerpt:
            self._excerpts.append(excerpt)
        left_out: list[RaggedRow] = []
        copy_table(
            connection,
            self._parts[name],
            name,
            required=_required(name),
            rules=self._options.files,
            left_out=left_out,
            excerpt=excerpt,
            is_lasting=is_lasting,
        )
        if portion is None or portion.is_first:  # each portion leaves the same rows out
            with connection.cursor() as cursor:
                cursor.executemany(_queries.left_out, [(name, ragged.row, ragged.problem) for ragged in left_out])


class SchemaTables:
    """A live CDM schema, and another of its vocabulary perhaps."""

    def __init__(self, schema: str, vocabulary_schema: str, options: OmopOptions) -> None:
        self._schema, self._vocabulary_schema, self._options = schema, vocabulary_schema, options

    def find(self, connection: Connection) -> dict[str, list[str]]:
        """Tables by what OMOP calls them; person and concept are required."""
        _require_time_zone(connection, self._options.time_zone)
        options = {"--schema": self._schema, "--vocab-schema": self._vocabulary_schema}
        for option, place in options.items():
            _require_schema(connection, place, option)
        found = {
            name: [f"{self._place(name)}.{name}"]
            for name in ("person", "concept", *self._options.optional_tables)
            if _columns(connection, self._place(name), name)
        }
        for name, option in (("person", "--schema"), ("concept", "--vocab-schema")):
            if name not in found:
                raise InputError(f"schema {options[option]} has no table {name}", hint=f"{option} names the schema.")
        return found

    def show(self, connection: Connection, name: str, portion: Portion | None = None) -> None:
        """As a view."""
        self._view(connection, name, lambda *column: _is_in(portion, *column))

    def show_for_long(self, connection: Connection, name: str) -> None:
        """As a view."""
        self.show(connection, name)

    def narrow(self, connection: Connection, name: str, portion: Portion | None = None) -> None:
        """By another view."""
        self._view(connection, name, _is_read)

    def hide(self, connection: Connection, names: Iterable[str]) -> None:
        """Views outlive their transaction."""
        _drop_views(connection, names)

    def unread(self, connection: Connection) -> Iterator[TableReport]:
        """Other tables of the schemas."""
        read = ["person", "concept", *self._options.optional_tables]
        names = [
            f"{schema}.{name}"
            for schema in dict.fromkeys((self._schema, self._vocabulary_schema))
            for (name,) in connection.execute(_queries.unread_tables, {"schema": schema, "read": read})
        ]
        yield from report_unread(names)

    def check_whole(self) -> None:
        """A table loses no row on its way."""

    def _view(self, connection: Connection, name: str, condition: Callable[[str, str], sql.Composable]) -> None:
        place = self._place(name)
        _view_table(connection, name, place, _columns(connection, place, name), self._options.time_zone, condition)

    def _place(self, name: str) -> str:
        return self._vocabulary_schema if _is_vocabulary(name) else self._schema


class OmopByPatients:
    """OMOP by some patients at a time: the vocabulary is read once a session, other tables once a portion.

    Keys that stand twice are found where both are of one portion, as are visits of another patient.
    """

    digests_are_whole = True

    def __init__(self, tables: Tables, options: OmopOptions) -> None:
        self._tables, self._options = tables, options
        self._rules: bytes | None = None

    def bounds(self, connection: Connection, size: int) -> list[int]:
        """By the table person."""
        self._tables.find(connection)
        self._tables.show(connection, "person")
        return [row[0] for row in connection.execute(_queries.bounds, {"size": size})]

    def share(self, connection: Connection) -> tuple[bytes | None, list[TableReport]]:
        """Concepts in pg_temp.omop_vocabulary, relations as they are."""
        places = self._tables.find(connection)
        vocabulary = {name: files for name, files in places.items() if _is_vocabulary(name)}
        for name in vocabulary:
            self._tables.show_for_long(connection, name)
        connection.execute(_queries.omop_tables)
        _read(connection, self._options, "concept", _queries.read_concept, {name: name for name in CONCEPT_FIELDS})
        connection.execute(_queries.tell_apart)
        connection.execute(_queries.index_tables)
        _check(connection, vocabulary, self._options)
        connection.execute(_queries.keep_vocabulary)
        columns = {name: _columns_read(connection, name) for name in vocabulary}
        self._rules = digest_rules(connection, columns, replace(self._options, read_all=False))
        return self._rules, [TableReport(*row) for row in connection.execute(_queries.reports)]

    def stage(self, connection: Connection, portion: Portion) -> Iterator[TableReport]:
        """The portion's rows of every table with patients."""
        places = self._tables.find(connection)
        patients = {name: files for name, files in places.items() if not _is_vocabulary(name)}
        for name in patients:
            self._tables.show(connection, name, portion)
        columns = _found_columns(connection, places)
        if _find_changes(connection, columns, self._rules):
            if not someone_to_read(connection):
                self._tables.hide(connection, patients)
                return
            for name in patients:
                self._tables.narrow(connection, name, portion)
        _read_tables(connection, patients, self._options)
        connection.execute(_queries.narrow_vocabulary)
        connection.execute(_queries.index_tables)
        _check(connection, patients, self._options)
        yield from _map(connection, patients, self._options)
        self._tables.hide(connection, patients)

    def describe(self, connection: Connection) -> Iterator[TableReport]:
        """From the vocabulary; what is not read; and whether every row was."""
        self._tables.check_whole()
        connection.execute(_queries.show_vocabulary)
        _describe(connection, self._tables.find(connection))
        connection.execute(_queries.hide_vocabulary)
        yield from self._tables.unread(connection)


@contextmanager
def viewed_tables(connection: Connection, places: dict[str, str]) -> Iterator[None]:
    """Temporary views raw_<table> over tables of schemas, for as long as the block lasts; each must be there."""
    for name, place in places.items():
        _require_schema(connection, place, "--vocab-schema" if name == "concept" else "--schema")
        rows = _columns(connection, place, name)
        if not rows:
            raise InputError(
                f"schema {place} has no table {name}", hint="--schema and --vocab-schema name the schemas."
            )
        _view_table(connection, name, place, rows, None, lambda *_: sql.SQL("true"))
    yield
    _drop_views(connection, places)


def _require_schema(connection: Connection, schema: str, option: str) -> None:
    """A schema that is not there and one that may not be looked into are two things."""
    row = connection.execute(_queries.schema_standing, {"schema": schema}).fetchone()
    if row is None:
        raise InputError(f"there is no schema {schema}", hint=f"{option} names the schema.")
    if not row[0]:
        raise InputError(
            f"you may not look into schema {schema}",
            hint=f'Its owner runs: grant usage on schema "{schema}" to "{connection.info.user}"; '
            f'grant select on all tables in schema "{schema}" to "{connection.info.user}";',
        )


def _columns(connection: Connection, schema: str, table: str) -> list[tuple[str, str, str, bool]]:
    """Relation, column and type of each column, and whether we may read it."""
    return connection.execute(_queries.columns_of, {"schema": schema, "table": table}).fetchall()


def _view_table(
    connection: Connection,
    name: str,
    schema: str,
    rows: list[tuple[str, str, str, bool]],
    time_zone: str | None,
    condition: Callable[[str, str], sql.Composable],
) -> None:
    """The table as raw_<name>; of patients, those whose id's column (its name and type) meets a condition."""
    table = rows[0][0]
    if len({relation for relation, *_ in rows}) > 1:
        raise InputError(f"both {table} and {rows[-1][0]} hold table {name}", file=schema)
    wanted = [row for row in rows if row[1].lower() in _known(name)]
    for _, column, kind, is_readable in wanted:
        if not is_readable:
            raise InputError(
                "may not be read",
                file=f"{schema}.{table}",
                column=column,
                hint=f'Its owner runs: grant select on "{schema}"."{table}" to "{connection.info.user}"; '
                "What may not be seen is not taken for gone.",
            )
        if kind == WITH_ZONE and time_zone is None:
            raise zone_error(f"{schema}.{table}", column)
    found = [column.lower() for _, column, _, _ in wanted]
    for column in found:
        if found.count(column) > 1:
            raise InputError("is there twice, in two letter cases", file=f"{schema}.{table}", column=column)
    missing = [column for column in _required(name) if column not in found]
    if missing:
        raise InputError("is missing", file=f"{schema}.{table}", column=missing[0])
    columns = sql.SQL(", ").join(
        sql.SQL("({})::text as {}").format(_local_time(column, kind, time_zone), sql.Identifier(column.lower()))
        for _, column, kind, _ in wanted
    )
    person = next(((column, kind) for _, column, kind, _ in wanted if column.lower() == "person_id"), None)
    connection.execute(
        sql.SQL("create or replace temp view {} as select row_number() over () as row, {} from {} where {}").format(
            sql.Identifier(f"raw_{name}"),
            columns,
            sql.Identifier(schema, table),
            condition(*person) if person else sql.SQL("true"),
        )
    )
    _require_readable(connection, name, f"{schema}.{table}")


def _require_readable(connection: Connection, name: str, place: str) -> None:
    """What only shows when one reads: policies on rows, tables beneath a view, materialized views without data."""
    try:
        with connection.transaction():
            connection.execute(sql.SQL("select from {} limit 0").format(sql.Identifier(f"raw_{name}")))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState) as error:
        raise InputError(
            f"cannot be read whole: {error.diag.message_primary}",
            file=place,
            hint=error.diag.message_hint or "What may not be seen is not taken for gone.",
        ) from None


def _require_time_zone(connection: Connection, name: str | None) -> None:
    if name is not None and connection.execute(_queries.time_zone, {"name": name}).fetchone() is None:
        raise InputError(f"{name} is no time zone", hint="For example --time-zone America/New_York.")


def _is_read(column: str, kind: str = "text") -> sql.Composable:
    return sql.SQL("{} in (select patient_id from pg_temp.read_patient)").format(_number(column, kind))


def _is_in(portion: Portion | None, column: str, kind: str = "text") -> sql.Composable:
    if portion is None:
        return sql.SQL("true")
    condition = "({0} between {1} and {2} or {0} is null)" if portion.is_first else "{0} between {1} and {2}"
    return sql.SQL(condition).format(_number(column, kind), sql.Literal(portion.low), sql.Literal(portion.high))


def _number(column: str, kind: str) -> sql.Composable:
    """Numbers are compared as such, so that an index on them serves."""
    return sql.SQL("{}" if kind in WHOLE_NUMBERS else "ehrdb.to_bigint({}::text)").format(sql.Identifier(column))


def _local_time(column: str, kind: str, time_zone: str | None) -> sql.Composable:
    if kind != WITH_ZONE:
        return sql.Identifier(column)
    return sql.SQL("{} at time zone {}").format(sql.Identifier(column), sql.Literal(time_zone))


def _drop_views(connection: Connection, names: Iterable[str]) -> None:
    """Views, unlike temporary tables, outlive their transaction."""
    views = sql.SQL(", ").join(sql.Identifier(f"raw_{name}") for name in names)
    connection.execute(sql.SQL("drop view {}").format(views))


def _required(name: str) -> tuple[str, ...]:
    fixed = {
        "person": PERSON_COLUMNS,
        "concept": CONCEPT_COLUMNS,
        "death": ("person_id", "death_date"),
        "concept_ancestor": ("ancestor_concept_id", "descendant_concept_id"),
        "concept_relationship": ("concept_id_1", "concept_id_2", "relationship_id"),
        "source_to_concept_map": ("source_code", "source_vocabulary_id", "target_concept_id"),
    }
    return fixed.get(name) or next(table.required_columns for table in (*CLINICAL_TABLES, NOTE) if table.name == name)


def _known(name: str) -> set[str]:
    """Columns of a table that are read where they are there."""
    fixed = {
        "person": PERSON_FIELDS,
        "concept": CONCEPT_FIELDS,
        "death": DEATH_FIELDS,
        "concept_ancestor": ("ancestor_concept_id", "descendant_concept_id", "min_levels_of_separation"),
        "concept_relationship": ("concept_id_1", "concept_id_2", "relationship_id", "invalid_reason"),
        "source_to_concept_map": SOURCE_MAP_FIELDS,
    }
    clinical = {table.name: tuple(table.event_columns.values()) for table in (*CLINICAL_TABLES, NOTE)}
    return set((fixed | clinical)[name])


def _stage(connection: Connection, tables: Tables, options: OmopOptions) -> Iterator[TableReport]:
    """Every table as the common stream."""
    places = tables.find(connection)
    for name in places:
        tables.show(connection, name)
    yield from _stage_shown(connection, tables, places, options)
    tables.hide(connection, places)
    yield from tables.unread(connection)


def _stage_shown(
    connection: Connection, tables: Tables, places: dict[str, list[str]], options: OmopOptions
) -> Iterator[TableReport]:
    columns = _found_columns(connection, places)
    vocabulary = {name: found for name, found in columns.items() if "person_id" not in found}
    rules = digest_rules(connection, vocabulary, replace(options, read_all=False))
    if _find_changes(connection, columns, rules):
        if not someone_to_read(connection):
            return
        for name, found in columns.items():
            if "person_id" in found:
                tables.narrow(connection, name)
    _read_tables(connection, places, options)
    connection.execute(_queries.tell_apart)
    connection.execute(_queries.index_tables)
    _check(connection, places, options)
    yield from _map(connection, places, options)
    _describe(connection, places)


def _found_columns(connection: Connection, names: Iterable[str]) -> dict[str, list[str]]:
    """The columns of each table that are read, which the next load must find, too."""
    columns = {name: _columns_read(connection, name) for name in names}
    for name, found in columns.items():
        found_table(connection, name, found)
    return columns


def _is_vocabulary(name: str) -> bool:
    return name in ("concept", *VOCABULARY_TABLES)


def _columns_read(connection: Connection, name: str) -> list[str]:
    return sorted(_known(name) & set(columns_of(connection, name)))


def _find_changes(connection: Connection, columns: dict[str, list[str]], rules: bytes | None) -> bool:
    return find_changes(connection, {name: found for name, found in columns.items() if "person_id" in found}, rules)


def _read_tables(connection: Connection, places: dict[str, list[str]], options: OmopOptions) -> None:
    connection.execute(_queries.omop_tables)
    read = partial(_read, connection, options)
    read("person", _queries.read_person, {name: name for name in PERSON_FIELDS})
    if "concept" in places:
        read("concept", _queries.read_concept, {name: name for name in CONCEPT_FIELDS})
    if "death" in places:
        read("death", _queries.read_death, {name: name for name in DEATH_FIELDS})
    for number, table in enumerate(options.clinical_tables):
        if table.name in places:
            read(table.name, _queries.read_events, table.event_columns, number)
    if NOTE.name in places:
        connection.execute(_queries.remark_cut, {"length": options.note_length})


def _read(
    connection: Connection,
    options: OmopOptions,
    table: str,
    statement: bytes,
    columns: dict[str, str],
    number: int = 0,
) -> None:
    """Run a statement over raw_<table> with the columns it needs, absent ones as null; `words` counts null words.

    In the statement the name of a column stands for what the source calls it, as text.
    """
    present = set(columns_of(connection, table))
    times = [column for column in columns.values() if column in present and column.endswith("_datetime")]
    if times and options.time_zone is None:
        zoned = sql.SQL(" + ").join(map(_has_zone, times))
        query = sql.SQL(_queries.remark_zones.decode())
        raw_table = sql.Identifier(f"raw_{table}")
        connection.execute(query.format(table=sql.Literal(table), zoned=zoned, raw=raw_table))
    words = sql.SQL(" + ").join(_is_word(c) for c in columns.values() if c in present)
    raw = sql.SQL("(select row, {} as words, {} from {})").format(
        words,
        sql.SQL(", ").join(
            sql.SQL("{} as {}").format(_value(column, present, options), sql.Identifier(name))
            for name, column in columns.items()
        ),
        sql.Identifier(f"raw_{table}"),
    )
    template = sql.SQL(statement.decode())
    names = {name: sql.Literal(column) for name, column in columns.items()}
    connection.execute(template.format(raw=raw, number=sql.Literal(number), table=sql.Literal(table), **names))


def _value(column: str, present: set[str], options: OmopOptions) -> sql.Composable:
    """A column of a raw table, or null where it is not there, or holds nothing or a word for nothing."""
    if column not in present:
        return sql.SQL("null::text")
    value: sql.Composable = sql.Identifier(column)
    if options.time_zone is not None and column.endswith("_datetime"):
        value = sql.SQL("ehrdb.to_local_time({}, {})").format(value, sql.Literal(options.time_zone))
    if column == NOTE_TEXT:
        value = sql.SQL("left({}, {})").format(value, sql.Literal(options.note_length))
    return sql.SQL("case when {} in ({}) then null else {} end").format(
        sql.Identifier(column), _words("", column), value
    )


def _has_zone(column: str) -> sql.Composable:
    """1 where a text says its offset from UTC, else 0."""
    return sql.SQL(r"(octet_length({0}) > 16 and {0} ~ '(Z|UTC|:.*[+-]\d\d(:?\d\d)?)\s*$')::integer").format(
        sql.Identifier(column)
    )


def _is_word(column: str) -> sql.Composable:
    return sql.SQL("coalesce({} in ({}), false)::integer").format(sql.Identifier(column), _words(None, column))


def _words(nothing: str | None, column: str) -> sql.Composable:
    is_code = column.endswith(CODE_COLUMNS) and column not in VALUE_COLUMNS
    words = NULL_WORDS if is_code else NULL_WORDS_BUT_OF_CODES
    return sql.SQL(", ").join(sql.Literal(word) for word in (nothing, *words) if word is not None)


def _check(connection: Connection, places: dict[str, list[str]], options: OmopOptions) -> None:
    connection.execute(_queries.check)
    for name, files in places.items():
        name_files(connection, name, files)
    if not options.skip_bad_rows:
        check_problems(
            connection, hint="Correct the file, or load the rest with --skip-bad-rows (every rejected row is counted)."
        )
    connection.execute(_queries.reject)


def _map(connection: Connection, places: dict[str, list[str]], options: OmopOptions) -> Iterator[TableReport]:
    first, second, third = (*options.concept_order, "source_value", "source_value")[:3]
    rules = {
        "first": first,
        "second": second,
        "third": third,
        "end_of_day": options.date_only == "end_of_day",
        "inpatient": list(options.inpatient_concepts),
        "icu": list(options.icu_concepts),
    }
    connection.execute(_queries.stage_events, rules)
    connection.execute(_queries.stage_persons, rules)
    connection.execute(_queries.later_deaths)
    connection.execute(_queries.stage_deaths, rules)
    number_events(connection)
    connection.execute(_queries.stage_patients)
    connection.execute(_queries.remarks)
    if "visit_occurrence" in places:
        connection.execute(_queries.remarks_of_visits)
    reports = {row[0]: TableReport(*row) for row in connection.execute(_queries.reports)}
    patients_tables = {"person", "death", *(table.name for table in options.clinical_tables)} & set(places)
    empty = {name: TableReport(name) for name in patients_tables}
    yield from (report for _, report in sorted((empty | reports).items()))


def _describe(connection: Connection, places: dict[str, list[str]]) -> None:
    """Concepts of the codes that occur, and of those above them."""
    for name in ("concept_relationship", "concept_ancestor"):
        if name in places:
            connection.execute(getattr(_queries, f"stage_parents_from_{name}"))
            break
    connection.execute(_queries.stage_concepts)
