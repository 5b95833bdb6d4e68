"""OMOP CDM 5.3-5.5: from a folder of CSV or parquet files, or from a schema of the same database.

Both become temporary relations `raw_<table>` with text columns; one set of SQL statements does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from psycopg import sql

from ehrdb.database import Connection, Database
from ehrdb.errors import InputError
from ehrdb.events.files import copy_file, digest_files, find_file, require_file
from ehrdb.events.merge import LoadResult, TableReport, check_problems, load, number_events
from ehrdb.events.ragged import RaggedRow
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "omop.sql")

DatePolicy = Literal["end_of_day", "as_is"]
ConceptField = Literal["standard", "source", "source_value"]


@dataclass(frozen=True)
class OmopOptions:
    """How OMOP rows become events.

    Attributes:
        concept_order: which code an event takes first; concept 0 counts as missing. An event without any is
            coded `OMOP/<table>:<source value>` and counted as unmapped.
        date_only: what a date without a time (or at midnight) means: `end_of_day` (23:59, as EHRSHOT has it,
            so that nothing of a day is known before it ends) or `as_is` (00:00). Births stay as they are.
        inpatient_concepts: visit concepts that are inpatient stays.
        icu_concepts: visit_detail concepts that are intensive care (besides ehrdb.icu_care_site).
        skip_bad_rows: load the other rows and count the rejected ones, instead of refusing the load.
    """

    concept_order: tuple[ConceptField, ...] = ("standard", "source", "source_value")
    date_only: DatePolicy = "end_of_day"
    inpatient_concepts: tuple[int, ...] = (9201, 262)
    icu_concepts: tuple[int, ...] = (32037, 581379)
    skip_bad_rows: bool = False
    keep_missing: bool = False


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
DEATH_FIELDS = ("person_id", "death_date", "death_datetime")
VALUE_COLUMNS = (
    "value_as_number",
    "value_as_concept_id",
    "value_as_string",
    "value_source_value",
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
PERSON_COLUMNS = ("person_id", "gender_concept_id", "year_of_birth")
CONCEPT_COLUMNS = ("concept_id", "concept_name", "vocabulary_id", "concept_code")


def load_omop(
    database: Database, directory: Path, options: OmopOptions | None = None, *, source: str = "omop"
) -> LoadResult:
    """Load a folder of CDM files: person and concept are required, other tables may be absent.

    Raises InputError naming file, row and column for structural faults (a missing column, a ragged row, an id
    that is no number, an impossible date, a duplicate key, an unknown person), unless bad rows are skipped.
    Nothing is written then.
    """
    chosen = options or OmopOptions()
    return load(
        database,
        source,
        lambda connection: _stage_directory(connection, directory, chosen),
        digest=digest_files(directory, chosen),
        keep_missing=chosen.keep_missing,
    )


def load_omop_schema(
    database: Database,
    schema: str,
    vocabulary_schema: str | None = None,
    options: OmopOptions | None = None,
    *,
    source: str = "omop",
) -> LoadResult:
    """Load a live CDM schema of the same database, by set-based SQL that only reads it.

    Raises InputError like load_omop; `file` is then the table's name.
    """
    chosen = options or OmopOptions()

    def stage(connection: Connection) -> Iterator[TableReport]:
        files = _view_schema(connection, schema, vocabulary_schema or schema)
        yield from _stage(connection, files, chosen)
        _drop_views(connection, files)

    return load(database, source, stage, keep_missing=chosen.keep_missing)


def _stage_directory(connection: Connection, directory: Path, options: OmopOptions) -> Iterator[TableReport]:
    files = {"person": require_file(directory, "person"), "concept": require_file(directory, "concept")}
    for name in [table.name for table in CLINICAL_TABLES] + [
        "death",
        "concept_ancestor",
        "concept_relationship",
    ]:
        if path := find_file(directory, name):
            files[name] = path
    for name, path in files.items():
        left_out: list[RaggedRow] | None = [] if options.skip_bad_rows else None
        copy_file(connection, path, f"raw_{name}", required=_required(name), left_out=left_out)
        with connection.cursor() as cursor:
            cursor.executemany(_queries.left_out, [(name, ragged.row, ragged.problem) for ragged in left_out or []])
    return _stage(connection, {name: str(path) for name, path in files.items()}, options)


def _view_schema(connection: Connection, schema: str, vocabulary_schema: str) -> dict[str, str]:
    """Temporary views raw_<table> over the schema's tables; returns where each table is."""
    for place, option in ((schema, "--schema"), (vocabulary_schema, "--vocab-schema")):
        _require_schema(connection, place, option)
    found: dict[str, str] = {}
    vocabulary = ("concept", "concept_ancestor", "concept_relationship")
    for name in ["person", "death", *[table.name for table in CLINICAL_TABLES], *vocabulary]:
        place = vocabulary_schema if name in vocabulary else schema
        rows = connection.execute(_queries.columns_of, {"schema": place, "table": name}).fetchall()
        if not rows:
            continue
        found[name] = f"{place}.{name}"
        missing = [column for column in _required(name) if (column,) not in rows]
        if missing:
            raise InputError("is missing", file=found[name], column=missing[0])
        connection.execute(
            sql.SQL("create temp view {} as select row_number() over () as row, {} from {}").format(
                sql.Identifier(f"raw_{name}"),
                sql.SQL(", ").join(
                    sql.SQL("{}::text as {}").format(sql.Identifier(c), sql.Identifier(c.lower())) for (c,) in rows
                ),
                sql.Identifier(place, name),
            )
        )
    for name, place, option in (("person", schema, "--schema"), ("concept", vocabulary_schema, "--vocab-schema")):
        if name not in found:
            raise InputError(
                f"schema {place} has no table {name} that you may read", hint=f"{option} names the schema."
            )
    return found


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
    }
    return fixed.get(name) or next(table.required_columns for table in CLINICAL_TABLES if table.name == name)


def _stage(connection: Connection, files: dict[str, str], options: OmopOptions) -> Iterator[TableReport]:
    connection.execute(_queries.omop_tables)
    _read(connection, "person", _queries.read_person, {name: name for name in PERSON_FIELDS})
    _read(connection, "concept", _queries.read_concept, {name: name for name in CONCEPT_FIELDS})
    if "death" in files:
        _read(connection, "death", _queries.read_death, {name: name for name in DEATH_FIELDS})
    for number, table in enumerate(CLINICAL_TABLES):
        if table.name in files:
            _read(connection, table.name, _queries.read_events, table.event_columns, number)
    connection.execute(_queries.index_tables)
    _check(connection, files, options)
    return _map(connection, files, options)


def _read(connection: Connection, table: str, statement: bytes, columns: dict[str, str], number: int = 0) -> None:
    """Run a statement over raw_<table> with the columns it needs, absent ones as null."""
    present = _columns(connection, table)
    raw = sql.SQL("(select row, {} from {})").format(
        sql.SQL(", ").join(
            sql.SQL("{} as {}").format(_column_or_null(column, present), sql.Identifier(name))
            for name, column in columns.items()
        ),
        sql.Identifier(f"raw_{table}"),
    )
    template = sql.SQL(statement.decode())
    connection.execute(template.format(raw=raw, number=sql.Literal(number), table=sql.Literal(table)))


def _columns(connection: Connection, table: str) -> set[str]:
    return {name for (name,) in connection.execute(_queries.columns_of_raw, {"table": f"raw_{table}"})}


def _column_or_null(column: str, present: set[str]) -> sql.Composable:
    if column not in present:
        return sql.SQL("null::text")
    return sql.SQL("nullif({}, '')").format(sql.Identifier(column))


def _check(connection: Connection, files: dict[str, str], options: OmopOptions) -> None:
    connection.execute(_queries.check)
    for name, file in files.items():
        connection.execute(_queries.name_file, {"table": name, "file": file})
    if not options.skip_bad_rows:
        check_problems(
            connection, hint="Correct the file, or load the rest with --skip-bad-rows (every rejected row is counted)."
        )
    connection.execute(_queries.reject)


def _map(connection: Connection, files: dict[str, str], options: OmopOptions) -> Iterator[TableReport]:
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
    connection.execute(_queries.stage_deaths, rules)
    number_events(connection)
    connection.execute(_queries.stage_patients)
    connection.execute(_queries.stage_concepts)
    for name in ("concept_relationship", "concept_ancestor"):
        if name in files:
            connection.execute(getattr(_queries, f"stage_parents_from_{name}"))
            break
    for row in connection.execute(_queries.reports):
        yield TableReport(*row)
