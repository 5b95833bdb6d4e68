"""Bringing a database's views, functions and triggers in line with sql/: applied is only what differs.

The database remembers of every file its digest and the objects that it created. A file is applied when it has changed,
when an object of it is missing, and when it needs one that is applied. Objects that no file creates any more are
dropped: those of a file that is gone, and signatures that a file no longer has. What users built on them would go with
them, so then nothing is done, and the error names what they built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg.sql import Identifier

from ehrdb.database import Connection
from ehrdb.errors import DatabaseError
from ehrdb.queries import Queries
from ehrdb.sql_files import as_applied, needs

# What `create or replace` cannot do: another result type, other argument names, fewer columns of a view.
_NOT_REPLACEABLE = (psycopg.errors.InvalidFunctionDefinition, psycopg.errors.InvalidTableDefinition)
_DROPPABLE = ("view", "materialized view", "function", "procedure", "policy", "trigger")
_PASSING = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_queries = Queries("ehrdb", "schema.sql")


class Kept(NamedTuple):
    """What the database remembers of a file; objects as `drop` names them: `function ehr.similarity(...)`."""

    sha256: str
    objects: frozenset[str]


class Version(NamedTuple):
    """An object of the database and what changes with every new definition of it."""

    classid: int
    oid: int
    place: str


def bring_in_line(connection: Connection, paths: list[Path], schema: Identifier, *, force: bool) -> None:
    """Apply those of the files (given in their order) that differ, or all (force), and drop what none creates.

    `schema` is where the extension vector lives. Raises DatabaseError where a file cannot be applied, or where users'
    objects need what would be dropped.
    """
    kept = _kept(connection)
    statements = {path: as_applied(path, schema.as_bytes()) for path in paths}
    gone = {name: kept.pop(name) for name in kept.keys() - {path.name for path in paths}}
    retired = _ours(gone)
    before = _versions(connection)
    for path in _due(statements, kept, _names(connection, before), force=force):
        old = kept.pop(path.name, Kept("", frozenset())).objects
        _apply(connection, path, statements[path], old, _ours(kept) | retired)
        after = _versions(connection)
        made = _names(connection, after - before) - _ours(kept)
        before = after
        kept[path.name] = Kept(_digest(statements[path]), made)
        _drop(connection, old - made, _ours(kept) | retired)
        values = {"name": path.name, "sha256": kept[path.name].sha256, "objects": sorted(made)}
        connection.execute(_queries.keep_file, values)
    _drop(connection, retired - _ours(kept), _ours(kept))
    for name in gone:
        connection.execute(_queries.drop_file, {"name": name})


def _digest(statements: bytes) -> str:
    return hashlib.sha256(statements).hexdigest()


def _due(statements: dict[Path, bytes], kept: dict[str, Kept], existing: frozenset[str], *, force: bool) -> list[Path]:
    """What to apply, in order."""
    due: list[Path] = []
    needed = needs(statements)
    for path in statements:
        known = kept.get(path.name)
        is_same = known is not None and known.sha256 == _digest(statements[path]) and known.objects <= existing
        if force or not is_same or not needed[path].isdisjoint(due):
            due.append(path)
    return due


def _apply(connection: Connection, path: Path, statements: bytes, old: frozenset[str], ours: frozenset[str]) -> None:
    """Run a file. Where its old objects are in the way they are dropped first."""
    try:
        try:
            with connection.transaction():
                connection.execute(statements)
        except _NOT_REPLACEABLE:
            _drop(connection, old, ours)
            connection.execute(statements)
    except _PASSING:
        raise
    except psycopg.Error as error:
        raise DatabaseError(f"{path.name} could not be applied: {error}") from error


def _drop(connection: Connection, objects: Iterable[str], ours: frozenset[str]) -> None:
    """Drop these objects with those of ours that need them (they are applied anew); never a user's."""
    for name in sorted(objects):
        rows = connection.execute(_queries.dependants, {"object": name}).fetchall()
        others = {described: named for described, named in rows if named not in ours and named not in set(objects)}
        if others:
            raise DatabaseError(
                f"this version of ehrdb no longer has {name}, which is needed by {', '.join(others)}",
                hint=f"Nothing was changed. {_put_aside(others.values())}",
            )
        kind, identity = name.split(" ", 1)
        connection.execute(f"drop {kind} if exists {identity} cascade".encode())


def _put_aside(names: Iterable[str]) -> str:
    """What to run for users' objects, whose definitions are not shown here: they may quote what is in records.

    All that needs any of them is among them, so that cascade takes nothing else.
    """
    found = [
        (kind, name.removeprefix(f"{kind} ")) for name in names for kind in _DROPPABLE if name.startswith(f"{kind} ")
    ]
    views = [f"select pg_get_viewdef('{name}'::regclass);" for kind, name in found if kind.endswith("view")]
    drops = [f"drop {kind} if exists {name} cascade;" for kind, name in found]
    return (
        f"Keep what they are: {' '.join(views)} Then: {' '.join(drops)} Run `ehrdb upgrade` again, and create them anew"
        " with the names of now: see CHANGELOG.md."
    )


def _kept(connection: Connection) -> dict[str, Kept]:
    rows = connection.execute(_queries.kept_files)
    return {name: Kept(sha256, frozenset(objects)) for name, sha256, objects in rows}


def _ours(kept: dict[str, Kept]) -> frozenset[str]:
    return frozenset().union(*(file.objects for file in kept.values()))


def _versions(connection: Connection) -> set[Version]:
    """All views, functions and triggers of schemas ehr and ehrdb."""
    return {Version(*row) for row in connection.execute(_queries.object_versions)}


def _names(connection: Connection, versions: Collection[Version]) -> frozenset[str]:
    """Asked only of what is new: to name all objects after each file takes as long as all else."""
    objects = {"classids": [v.classid for v in versions], "oids": [v.oid for v in versions]}
    return frozenset(name for (name,) in connection.execute(_queries.object_names, objects))
