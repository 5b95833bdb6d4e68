"""Loading FHIR: files into rows, rows into the common stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from ehrdb import __version__
from ehrdb.database import Connection, Database
from ehrdb.errors import InputError
from ehrdb.events.fhir.codes import CODE_ORDER, Vocabularies
from ehrdb.events.fhir.facts import STARTS, Context
from ehrdb.events.fhir.rows import Rows
from ehrdb.events.fhir.source import Found, fhir_files, resources_of
from ehrdb.events.fhir.times import Clock
from ehrdb.events.files import ROWS_PER_PART, name_files
from ehrdb.events.folder import content_digest
from ehrdb.events.merge import (
    NOT_READ,
    LoadOptions,
    LoadResult,
    Run,
    TableReport,
    check_problems,
    found_table,
    load,
    number_events,
)
from ehrdb.events.omop import DatePolicy
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events.fhir", "fhir.sql")
ORDER = ("Patient", *STARTS)
"""Which type comes first within a second."""
INPATIENT = ("IMP", "ACUTE", "NONAC")


@dataclass(frozen=True)
class FhirOptions(LoadOptions):
    """How FHIR's resources become events.

    Attributes:
        time_zone: the clock that times are turned into. None takes their digits as local, as servers mostly write them;
            where some say Z and others an offset, a zone is needed.
        date_only: what a date without its time, day or month means: its last minute (`end_of_day`) or its first
            (`as_is`). Births are at its first.
        inpatient_classes: classes of encounters that are inpatient stays.
        code_order: vocabularies, of which the first names an event whose concept has several codes.
        systems: code systems and what they are called here, as URL=NAME.
        identifier: system of the identifier, a whole number, that is the patient's id; None makes it of the resource's.
        skip_bad_rows: load the other resources and count the rejected ones, instead of refusing the load.
    """

    time_zone: str | None = None
    date_only: DatePolicy = "end_of_day"
    inpatient_classes: tuple[str, ...] = INPATIENT
    code_order: tuple[str, ...] = CODE_ORDER
    systems: tuple[str, ...] = ()
    identifier: str | None = None
    skip_bad_rows: bool = False


def load_fhir(
    database: Database, place: Path, options: FhirOptions | None = None, *, source: str = "fhir", run: Run = load
) -> LoadResult:
    """Load a folder of FHIR R4 (Bulk Data's NDJSON, bundles, packed or not), or one file.

    Raises InputError naming file, line (in a bundle the entry) and field; nothing is written then.
    """
    chosen = options or FhirOptions()
    return run(
        database,
        source,
        lambda connection: _stage(connection, place, chosen),
        chosen,
        digest=lambda: _digest(place, chosen),
    )


def _stage(connection: Connection, place: Path, options: FhirOptions) -> Iterator[TableReport]:
    files, passed_over = fhir_files(place)
    connection.execute(_queries.tables)
    context = _context(options)
    rows = Rows(connection, context, options.identifier)
    for number, file in enumerate(files):
        if not _read(rows, file, number, options.skip_bad_rows):
            passed_over.append(str(file.relative_to(place)) if place.is_dir() else file.name)
    rows.flush()
    _require_one_clock(context.clock, place)
    for kind in sorted(rows.read):
        found_table(connection, kind, ())
    _resolve(connection, [str(file) for file in files], options.skip_bad_rows)
    _put(connection, context)
    yield from _reports(connection, rows)
    yield from _not_read(rows, passed_over)


def _context(options: FhirOptions) -> Context:
    named = dict(_named(text) for text in options.systems)
    zone = _zone(options.time_zone)
    return Context(
        Vocabularies(options.code_order, named),
        Clock(zone, end_of_day=options.date_only == "end_of_day"),
        {"EMER": "emergency", "AMB": "outpatient"} | dict.fromkeys(options.inpatient_classes, "inpatient"),
    )


def _named(text: str) -> tuple[str, str]:
    system, _, name = text.rpartition("=")
    return system, name


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name is not None else None
    except (ValueError, OSError, KeyError):
        raise InputError(f"{name} is no time zone", hint="For example --time-zone America/New_York.") from None


def _read(rows: Rows, file: Path, number: int, skip: bool) -> bool:
    """Take a file's resources; whether it is one of FHIR."""
    for found in resources_of(file):
        if not found.kind:
            return False
        place = number * ROWS_PER_PART + found.row
        try:
            if found.error is not None:
                raise found.error
            rows.add(found, place)
        except InputError as error:
            if not skip:
                raise _placed(error, file, found) from None
            rows.leave_out(found, place, ": ".join(filter(None, (error.column, error.problem))))
    return True


def _placed(error: InputError, file: Path, found: Found) -> InputError:
    """The error with the place of the resource that it is about."""
    if error.file is not None:
        return error
    return InputError(error.problem, file=file, row=found.row, column=error.column, hint=error.hint)


def _require_one_clock(clock: Clock, place: Path) -> None:
    if clock.universal and clock.offset:
        raise InputError(
            f"holds {clock.universal} times in UTC and {clock.offset} with an offset; records keep local times",
            file=place,
            hint="Say whose clock: --time-zone America/New_York.",
        )


def _resolve(connection: Connection, files: list[str], skip: bool) -> None:
    for statement in (_queries.drop_older, _queries.number_patients, _queries.find_medications, _queries.find_visits):
        connection.execute(statement)
    connection.execute(_queries.leave_out)
    connection.execute(_queries.check)
    if not skip:
        name_files(connection, "FHIR", files)
        check_problems(
            connection,
            hint="Correct the export, or load the rest with --skip-bad-rows (every rejected resource is counted).",
        )
    connection.execute(_queries.reject)


def _put(connection: Connection, context: Context) -> None:
    with connection.cursor() as cursor, cursor.copy(_queries.copy_concepts) as copy:
        for concept in context.vocabularies.descriptions():
            copy.write_row(concept)
    connection.execute(_queries.stage_events, {"order": list(ORDER)})
    connection.execute(_queries.stage_patients)
    number_events(connection)
    connection.execute(_queries.remarks)


def _reports(connection: Connection, rows: Rows) -> Iterator[TableReport]:
    reports = {kind: TableReport(kind, count) for kind, count in sorted(rows.read.items())}
    for kind, loaded, unmapped, rejected in connection.execute(_queries.reports):
        report = reports.setdefault(kind, TableReport(kind, rejected))
        report.rows_loaded, report.rows_unmapped, report.rows_rejected = loaded, unmapped, rejected
    for kind, reason, count in connection.execute(_queries.reasons):
        reports[kind].reasons[reason] = count
    for (kind, remark), count in rows.context.remarks.items():
        if count:
            reports[kind].reasons[remark] = count
    yield from reports.values()


def _not_read(rows: Rows, passed_over: list[str]) -> Iterator[TableReport]:
    reasons = {**dict.fromkeys(passed_over, 1), **dict(rows.unread.most_common())}
    if reasons:
        yield TableReport(NOT_READ, reasons=reasons, kind="not read")


def _digest(place: Path, options: FhirOptions) -> bytes:
    """Of the files' names and contents, and of the settings that they are read with."""
    digest = hashlib.sha256(repr((__version__, options)).encode())
    for file in fhir_files(place)[0]:
        digest.update(f"{file.name}\n".encode() + content_digest(file))
    return digest.digest()
