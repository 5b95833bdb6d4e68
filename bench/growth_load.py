"""The part `load` of growth.py: first loads against a bare COPY, whole and in portions, then nights."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import psycopg
from load import copy_rows, write_rows
from load import queries as of_load
from measure import Figures, active, drop_database, elapsed, new_database, vacuum, watched
from psycopg import ClientCursor

from ehrdb.database import Database
from ehrdb.events import load_omop_schema
from ehrdb.events.merge import Run, load
from ehrdb.events.portions import portioned
from ehrdb.queries import Queries
from ehrdb.schema import upgrade

queries = Queries(Path(__file__).parent, "nightly.sql")
PORTIONS = 8


def loads(server: Database, database: Database, size: int, *, events: int, rounds: int) -> Figures:
    """All of one size. `server` makes databases for what is loaded in portions."""
    prepare(database, size, events)
    whole = first(database, load, "in one transaction")
    bare = bare_copy(database)
    figures = {"bare COPY, indexed: elapsed": [bare], **whole}
    figures["first load, x the speed of the COPY"] = [bare / whole["first load in one transaction: elapsed"][0]]
    for workers in (1, 2):
        other = new_database(server, f"portions_{size}_{workers}")
        prepare(other, size, events)
        name = f"in portions, {workers} side by side"
        figures |= first(other, portioned(workers, -(-size // PORTIONS)), name)
        drop_database(server, other)
    return figures | nights(database, size, rounds)


def prepare(database: Database, size: int, events: int) -> None:
    """ehrdb without records, and a CDM beside it."""
    upgrade(database)
    with database.transaction() as connection:
        ClientCursor(connection).execute(queries.cdm, {"patients": size, "events": events})
    vacuum(database)


def first(database: Database, run: Run, name: str) -> Figures:
    """A first load, with what the server needs for it."""
    taken: list[float] = []
    work = partial(load_omop_schema, database, "cdm", run=run)
    peak = watched(database, lambda: taken.append(elapsed(work)))
    return {
        f"first load {name}: elapsed": taken,
        f"{name}: MiB of its sessions": [peak.all_sessions],
        f"{name}: MiB of disk at most": [peak.disk],
    }


def bare_copy(database: Database) -> float:
    """Seconds of the very rows that a load wrote, into an empty table with the same indexes."""
    with tempfile.NamedTemporaryFile() as rows, psycopg.connect(database.url, autocommit=True) as connection:
        write_rows(connection, Path(rows.name))
        connection.execute(of_load.bare_table)
        connection.execute(of_load.checkpoint)
        seconds = elapsed(lambda: copy_rows(connection, Path(rows.name)))
        connection.execute("drop schema bench cascade")
    return seconds


def nights(database: Database, size: int, rounds: int) -> Figures:
    """Seconds of the server by what changed before the load."""
    taken: Figures = {}
    for round_ in range(rounds):
        for name, step in (("nothing changed", 0), ("one patient changed", size), ("0.5 % changed", 200)):
            with database.transaction() as connection:
                connection.execute(queries.change, {"step": step, "round": round_})
            seconds = active(database, partial(load_omop_schema, database, "cdm"))
            taken.setdefault(f"a night, {name}", []).append(seconds)
    return taken
