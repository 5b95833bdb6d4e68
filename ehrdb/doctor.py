"""What could be wrong, who must do something about it, and what exactly."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ehrdb.bootstrap import MINIMUM_SERVER, Standing, faults, standing
from ehrdb.config import Settings, settings_file
from ehrdb.database import Connection, is_pooled, open_database, require_whole
from ehrdb.embedding import registry
from ehrdb.embedding.files import encoder_directory
from ehrdb.embedding.load import load_encoder
from ehrdb.errors import DatabaseError, EhrdbError
from ehrdb.queries import Queries
from ehrdb.schema import differences, require_current

ADVISED_PGVECTOR = (0, 8, 4)
FREE_DISK_ADVISED = 5 << 30
PLACED_SHARE = 0.5
"""Events with a category by a rule, below which formats that ask for categories leave much out."""
CLOCK_SECONDS = 5.0
MANY = 5
_queries = Queries("ehrdb", "doctor.sql")

Status = Literal["ok", "warning", "fault"]
Who = Literal["you", "owner", "superuser", ""]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check. Where it is not ok, `who` is to do what `advice` says: a command, or SQL.

    A warning is something to know or to do some time; a fault keeps something from working.
    """

    check: str
    status: Status
    found: str
    who: Who = ""
    advice: str = ""


Findings = Iterator[Finding]


def examine(settings: Settings) -> list[Finding]:
    """Run every check that can be run, by whoever asks; a failed one never hides the others, and nothing is changed."""
    findings = [*_settings(settings), _disk(settings), *_runtime(settings)]
    try:
        with open_database(settings) as database:
            with database.session() as session:
                findings += _connection(session, database.place)
            with database.transaction() as connection:
                findings += _database(settings, connection)
    except EhrdbError as error:
        findings.append(Finding("connection", "fault", error.message, "you", error.hint or ""))
    return [replace(found, who="", advice="") if found.status == "ok" else found for found in findings]


def _database(settings: Settings, connection: Connection) -> Findings:
    yield from _guarded("server", connection, lambda: _server(connection))
    found = standing(connection)
    yield from _guarded("rights", connection, lambda: _rights(connection, found))
    yield from _guarded("pgvector", connection, lambda: _pgvector(connection, found))
    if found.owner is None:
        yield Finding("schema", "fault", "ehrdb is not installed here", "owner", "ehrdb upgrade")
        return
    readable = connection.execute(_queries.may_read).fetchone()
    if readable is None or not all(readable):
        advice = _membership(connection, found.role)
        yield Finding("reading", "fault", f"{found.role} may not read ehrdb", "superuser", advice)
        return
    for check, run in {
        "schema": lambda: _schema(connection),
        "objects": lambda: _objects(connection),
        "roles": lambda: _roles(connection, found),
        "strangers": lambda: _strangers(connection, found),
        "audit": lambda: _audit(connection),
        "visibility": lambda: _visibility(connection, found),
        "protection": lambda: _protection(connection),
        "encoders": lambda: _encoders(settings, connection),
        "embeddings": lambda: _embeddings(connection),
        "heads": lambda: _heads(connection),
        "formats": lambda: _formats(connection),
    }.items():
        yield from _guarded(check, connection, run)


def _settings(settings: Settings) -> Findings:
    file = settings_file()
    has_secret = "password" in conninfo_to_dict(settings.database_url or "") and "EHRDB_DATABASE_URL" not in os.environ
    if file is None:
        yield Finding("settings", "ok", "from the environment; there is no ehrdb.toml")
    elif has_secret and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("settings", "fault", f"others may read {file}, which has a password", "you", f"chmod 600 {file}")
    else:
        yield Finding("settings", "ok", f"from the environment, then {file}")


def _connection(connection: Connection, place: str) -> Findings:
    yield Finding("connection", "ok", f"{place} as {connection.info.user}")
    if is_pooled(connection):
        yield Finding(
            "pooler",
            "warning",
            "a pooler stands between: workers hear no notification and look every few seconds",
            "you",
            "For `ehrdb worker`, name the server itself in EHRDB_DATABASE_URL where that is too late.",
        )


def _server(connection: Connection) -> Findings:
    version = connection.info.server_version
    named = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    yield _told("server", version >= MINIMUM_SERVER, named, "superuser", "Upgrade the server to 15 or later.")
    asked = time.time()
    row = connection.execute(_queries.server).fetchone()
    assert row is not None
    if row[0]:
        yield Finding(
            "server", "fault", "read-only: a standby, or set so", "you", "Name the primary server in the URL."
        )
    off = abs(float(row[1]) - (asked + time.time()) / 2)
    advice = "Set both clocks by NTP: leases and retries are times."
    yield Finding("clock", "ok" if off < CLOCK_SECONDS else "warning", f"{off:.1f} s from here", "superuser", advice)
    for name, value in connection.execute(_queries.time_limits):
        advice = _sql("alter role {} set {} = 0;", connection.info.user, name)
        yield Finding("limits", "warning", f"{name} is {value}: loads and index builds may be cut off", "you", advice)


def _rights(connection: Connection, found: Standing) -> Findings:
    needed = faults(found, connection.info.server_version)
    if found.owner and not found.is_owner:
        yield Finding("rights", "ok", f"{found.role} reads; {found.owner} owns and upgrades")
        return
    for fault in needed:
        yield Finding("rights", "fault", fault.message, "superuser", fault.hint or "")
    if not needed:
        yield Finding("rights", "ok", f"{found.role} may install and upgrade")


def _pgvector(connection: Connection, found: Standing) -> Findings:
    row = connection.execute(_queries.vector_version).fetchone()
    if row is None:
        if found.is_available:
            advice = f"In database {found.database}: create extension vector;"
            yield Finding("pgvector", "fault", "the extension vector is not created", "superuser", advice)
        return
    installed, newest = row
    numbers = tuple(int(part) for part in installed.split(".")[:3])
    # Complete filtered searches need 0.8 (iterative scans); vacuum of HNSW had bugs until 0.8.4.
    status: Status = "ok" if numbers >= ADVISED_PGVECTOR else "warning" if numbers >= (0, 8) else "fault"
    advice = "alter extension vector update;" if newest not in (None, installed) else "Install pgvector 0.8.4 or later."
    yield Finding("pgvector", status, f"{installed} in schema {found.extension_schema}", "superuser", advice)


def _schema(connection: Connection) -> Findings:
    require_current(connection)
    yield Finding("schema", "ok", "of this version")


def _objects(connection: Connection) -> Findings:
    wrong = differences(connection)
    for name, what in wrong[:MANY]:
        yield Finding("objects", "fault", f"{name} {'is missing' if what == 'missing' else 'was changed'}", *_REAPPLY)
    if len(wrong) > MANY:
        yield Finding("objects", "fault", f"and {len(wrong) - MANY} more", *_REAPPLY)
    if not wrong:
        yield Finding("objects", "ok", "tables, views and functions are as installed")


_REAPPLY: tuple[Who, str] = ("owner", "ehrdb upgrade --force (a table or index that is missing: restore the dump)")


def _roles(connection: Connection, found: Standing) -> Findings:
    """The three roles, and whether each has its rights and no other."""
    wrong = False
    for role, is_there, is_member in connection.execute(_queries.roles):
        if not is_there:
            who: Who = "owner" if found.can_create_role else "superuser"
            advice = _sql("create role {} nologin;", role) + f"  then, as {found.owner}: ehrdb upgrade"
            yield Finding("roles", "warning", f"there is no role {role}", who, advice)
        elif not is_member:
            advice = _sql("grant {} to {};", str(found.owner), role)
            yield Finding(
                "roles", "warning", f"{role} is no member of {found.owner}: it can do nothing", "superuser", advice
            )
        wrong |= not (is_there and is_member)
    rights = connection.execute(_queries.grant_faults).fetchall()
    for role, fault, what, advice, who in rights[:MANY]:
        yield Finding("roles", "fault", f"{role} {fault}: {what}", who, advice)
    if len(rights) > MANY:
        yield Finding("roles", "fault", f"and {len(rights) - MANY} more", "owner", "ehrdb upgrade")
    if not (wrong or rights):
        yield Finding("roles", "ok", "each has its rights, and no other")


def _strangers(connection: Connection, found: Standing) -> Findings:
    """Who could put something in the way of the extension's names."""
    schema = found.extension_schema
    row = connection.execute(_queries.open_schema, {"schema": schema}).fetchone()
    if schema and row and row[0]:
        advice = _sql("revoke create on schema {} from public;", schema)
        yield Finding("strangers", "warning", f"everybody may create objects in schema {schema}", "superuser", advice)
    else:
        yield Finding("strangers", "ok", "not everybody may create objects beside the extension")


def _audit(connection: Connection) -> Findings:
    for (setting,) in connection.execute(_queries.quoted_questions):
        advice = "alter system set log_min_error_statement = fatal; select pg_reload_conf();"
        yield Finding("audit", "fault", f"{setting}: the log quotes questions in words", "superuser", advice)


def _visibility(connection: Connection, found: Standing) -> Findings:
    """Whether row-level security hides something from this role, which then reads but changes nothing."""
    try:
        with connection.transaction():
            require_whole(connection)
        yield Finding("visibility", "ok", f"{found.role} sees every row")
    except DatabaseError as error:
        yield Finding("visibility", "warning", error.message, "superuser", error.hint or "")
    finally:
        connection.execute(_queries.filtered)


def _protection(connection: Connection) -> Findings:
    """Whether what decides who is seen tells no more than that."""
    for schema, view in connection.execute(_queries.leaking_protection):
        found = f"{schema}.{view} decides who is seen, and is no barrier: functions see the rows that it leaves out"
        advice = _sql("alter view {}.{} set (security_barrier);", schema, view)
        yield Finding("protection", "fault", found, "owner", advice)
    for table, fault, advice in connection.execute(_queries.open_tables):
        yield Finding("protection", "fault", f"table {table} {fault}", "owner", advice)
    if connection.execute(_queries.may_read_protection).fetchone() == (True,):
        for (visible,) in connection.execute(_queries.renamed_protection):
            found = f"{visible}, which decides who is seen, has another name now: new tables would be open"
            advice = "select ehr.protect('site.visible'); with the name that it has"
            yield Finding("protection", "fault", found, "owner", advice)


def _encoders(settings: Settings, connection: Connection) -> Findings:
    known = registry.list_encoders(connection)
    if not known:
        yield Finding("encoders", "warning", "none is registered", "you", "ehrdb encoder export")
        return
    serving = registry.find(connection, settings.encoder)
    for encoder in registry.models(connection, serving):
        load_encoder(settings, encoder).encode(["essential hypertension"])
        yield Finding("encoders", "ok", f"{encoder.name} embeds on {', '.join(settings.provider_list)}")
    for encoder in known:
        if encoder.kind == "model" and not encoder_directory(settings, encoder.model).is_dir():
            advice = f"ehrdb encoder register DIR, or where its files are: ehrdb encoder publish {encoder.name}"
            place = encoder_directory(settings, encoder.model)
            yield Finding("encoders", "warning", f"{encoder.name} has no files here ({place})", "you", advice)


def _embeddings(connection: Connection) -> Findings:
    given_up = connection.execute(_queries.given_up).fetchall()
    for name, count in given_up:
        advice = f"ehrdb retry --encoder {name} && ehrdb refresh"
        yield Finding("embeddings", "warning", f"{name}: {count} texts were given up", "you", advice)
    if not given_up:
        yield Finding("embeddings", "ok", "no text was given up")
    for name, patients in connection.execute(_queries.unindexed):
        found = f"{name} has no search index: each search compares all of its {patients:,} patients"
        yield Finding("embeddings", "warning", found, "owner", f"ehrdb index rebuild --encoder {name}")


def _heads(connection: Connection) -> Findings:
    empty = connection.execute(_queries.encoders_without_vectors).fetchall()
    for name, heads in empty:
        advice = f"ehrdb refresh --encoder {name}"
        yield Finding("heads", "fault", f"{heads} heads of {name}, which has no vectors", "you", advice)
    headless = connection.execute(_queries.tasks_without_head).fetchall()
    for (task,) in headless:
        found = f"task {task} has labels and no head of the serving encoder"
        yield Finding("heads", "warning", found, "you", f"ehrdb train {task}")
    if not (empty or headless):
        yield Finding("heads", "ok", "every labelled task can be asked")


def _formats(connection: Connection) -> Findings:
    """Category and Markdown formats are as good as their rules know the codes."""
    for source, rules, share in connection.execute(_queries.placed):
        found = f"{share:.0%} of the events of {source} have a category by the rules {rules}"
        advice = "Add rules to ehrdb.category_rule, or parents to the codes (docs/loading.md)"
        yield Finding("formats", "ok" if share >= PLACED_SHARE else "warning", found, "you", advice)


def _runtime(settings: Settings) -> Findings:
    if find_spec("onnxruntime") is None:
        advice = "pip install 'ehrdb[cpu]' or 'ehrdb[gpu]'"
        yield Finding("onnxruntime", "fault", "not installed: nothing can be embedded here", "you", advice)
        return
    import onnxruntime

    available = onnxruntime.get_available_providers()
    missing = [name for name in settings.provider_list if name not in available]
    found = f"{onnxruntime.__version__} with {', '.join(available)}"
    yield _told("onnxruntime", not missing, found, "you", f"EHRDB_PROVIDERS asks for {', '.join(missing)}.")


def _disk(settings: Settings) -> Finding:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    status: Status = "ok" if free >= FREE_DISK_ADVISED else "warning"
    advice = "Free at least 5 GiB or move EHRDB_HOME."
    return Finding("disk", status, f"{free >> 30} GiB free at {folder}", "you", advice)


def _told(check: str, is_ok: bool, found: str, who: Who, advice: str) -> Finding:
    return Finding(check, "ok" if is_ok else "fault", found, who, advice)


def _guarded(check: str, connection: Connection, run: Callable[[], Findings]) -> list[Finding]:
    """What a check finds; where it cannot be made, that is what it finds."""
    try:
        with connection.transaction():
            return list(run())
    except EhrdbError as error:
        return [Finding(check, "fault", error.message, "you", error.hint or "")]
    except psycopg.errors.InsufficientPrivilege:
        advice = _membership(connection, connection.info.user)
        return [Finding(check, "warning", "this role may not look", "superuser", advice)]
    except psycopg.Error as error:
        found = f"the database reports {type(error).__name__} ({error.diag.sqlstate or 'no SQLSTATE'})"
        return [Finding(check, "fault", found, "owner", "ehrdb upgrade --force")]


def _membership(connection: Connection, role: str) -> str:
    row = connection.execute(_queries.reading_role).fetchone()
    return _sql("grant {} to {};", row[0] if row else "ehr_analyst", role)


def _sql(statement: str, *names: str) -> str:
    return sql.SQL(statement).format(*map(sql.Identifier, names)).as_string()
