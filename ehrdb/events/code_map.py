"""Maps: which standard code a source's code stands for. They change no event; SQL applies them (ehrdb.mapped_code)."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

from ehrdb.database import Connection, Database, require_whole
from ehrdb.errors import ConfigError, InputError, NotFound
from ehrdb.events.files import columns_of, copy_table
from ehrdb.events.folder import Part
from ehrdb.events.omop import viewed_tables
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "code_map.sql")
BUILT_IN = ("icd", "loinc", "mimic")
"""Maps that come with ehrdb, for the codes of the benchmark's tasks."""
# By the columns that only they have.
_FORMS = {
    "plain": ("code", "standard_code"),
    "source_to_concept_map": ("source_code", "source_vocabulary_id", "target_concept_id"),
    "usagi": ("sourcecode", "conceptid"),
    "meds": ("code", "parent_codes"),
}


@dataclass
class MapResult:
    """What became of a map: its rows, the codes here that it fits, and the patients to look at again.

    `prefix_sql`: where it fits none but codes here end as its codes do, what would say that they are the same.
    """

    map: str
    rows_read: int
    rows_loaded: int
    left_out: dict[str, int] = field(default_factory=dict)
    codes: int = 0
    patients: int = 0
    prefix_sql: str | None = None


def load_map(
    database: Database,
    file: Path,
    *,
    name: str | None = None,
    vocabulary: str | None = None,
    concepts: Path | None = None,
) -> MapResult:
    """Put a map in the place of the one of that name (default: the file's), and mark the patients whom it changes.

    Reads code,standard_code; OMOP's source_to_concept_map; Usagi's file; codes of MEDS with parent_codes; CSV or
    parquet. `vocabulary`: of codes that come without one. `concepts`: a concept table, for target concepts that no
    load brought along. Raises InputError naming file, row and column; nothing is written then.
    """
    with database.transaction() as connection:
        if not file.is_file():
            raise InputError("is not a file", file=file, hint="Name the file of a map.")
        copy_table(connection, [Part(file)], "map")
        if concepts:
            copy_table(connection, [Part(concepts)], "concept", required=_CONCEPT_COLUMNS)
        return _put(connection, name or file.name.split(".")[0], str(file), vocabulary)


def load_map_schema(
    database: Database, schema: str, vocabulary_schema: str | None = None, *, name: str = "source_to_concept_map"
) -> MapResult:
    """The same from the table source_to_concept_map of a CDM schema of this database."""
    with database.transaction() as connection:
        places = {"source_to_concept_map": schema, "concept": vocabulary_schema or schema}
        with viewed_tables(connection, places):
            connection.execute(_queries.copy_schema)
        connection.execute(_queries.name_copy)
        return _put(connection, name, f"{schema}.source_to_concept_map", None)


def load_built_in_map(database: Database, name: str) -> MapResult:
    """A map that comes with ehrdb: `icd` (ICD-9-CM and ICD-10-CM), `loinc`, `mimic` (its laboratory items).

    Raises ConfigError for another name.
    """
    if name not in BUILT_IN:
        raise ConfigError(f"there is no built-in map {name}", hint=f"Choose from {', '.join(BUILT_IN)}.")
    with as_file(files("ehrdb.events") / "maps" / f"{name}.csv") as file:
        return load_map(database, file, name=name)


def drop_map(database: Database, name: str) -> int:
    """Forget a map; returns how many patients are marked. Raises NotFound where there is none of that name."""
    with database.transaction() as connection:
        require_whole(connection)
        connection.execute(_queries.lock_maps)
        before = _count(connection, _queries.marks)
        if not connection.execute(_queries.drop_map, {"map": name}).rowcount:
            raise NotFound(f"there is no map {name}", hint="See: select distinct map from ehr.code_map;")
        return _count(connection, _queries.marks) - before


_CONCEPT_COLUMNS = ("concept_id", "concept_name", "vocabulary_id", "concept_code")


def _put(connection: Connection, name: str, file: str, vocabulary: str | None) -> MapResult:
    require_whole(connection)
    form = _form(file, set(columns_of(connection, "map")))
    if form == "usagi" and not vocabulary:
        raise InputError("does not say of which vocabulary its codes are", file=file, hint="Add --vocabulary NAME.")
    connection.execute(_queries.lock_maps)
    connection.execute(_queries.map_tables)
    connection.execute(_queries.known_concepts)
    if columns_of(connection, "concept"):
        connection.execute(_queries.read_concepts)
    connection.execute(getattr(_queries, f"stage_{form}"), {"vocabulary": vocabulary or ""})
    _check(connection, file)
    result = MapResult(name, *_row(connection, _queries.reasons))
    before = _count(connection, _queries.marks)
    connection.execute(_queries.put_map, {"map": name})
    result.patients = _count(connection, _queries.marks) - before
    result.codes = _count(connection, _queries.codes_here, {"map": name})
    if not result.codes:
        found = connection.execute(_queries.like_here, {"map": name}).fetchone()
        result.prefix_sql = found[0] if found else None
    return result


def _form(file: str, columns: set[str]) -> str:
    for form, needed in _FORMS.items():
        if columns.issuperset(needed):
            return form
    raise InputError(
        "is no map: it lacks the columns of one",
        file=file,
        hint="Expected code,standard_code; source_to_concept_map; a file of Usagi; or codes of MEDS with parent_codes.",
    )


def _check(connection: Connection, file: str) -> None:
    problem = connection.execute(_queries.map_problem).fetchone()
    if problem:
        raise InputError(problem[1], file=file, row=problem[0], hint="Correct the file; nothing was written.")
    if _count(connection, "select count(*) from pg_temp.map_staging where left_out is null") == 0:
        raise InputError("maps nothing", file=file, hint="To forget a map: ehrdb load map --drop NAME.")


def _row(connection: Connection, query: bytes) -> tuple[int, int, dict[str, int]]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _count(connection: Connection, query: bytes | str, values: dict[str, str] | None = None) -> int:
    row = connection.execute(query.encode() if isinstance(query, str) else query, values).fetchone()
    assert row is not None
    return int(row[0])
