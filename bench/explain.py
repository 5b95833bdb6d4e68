"""Ten neighbours with their explanations, from one statement: milliseconds against the ten neighbours alone.

    python bench/explain.py [--patients 1000 --queries 60]

Synthetic records of about 6,200 events and 600 codes, 20,000 concepts under 500 parents.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import psycopg

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database
from ehrdb.embedding import refresh, registry
from ehrdb.queries import Queries
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder

queries = Queries(Path(__file__).parent, "explain.sql")
made_up = Queries(Path(__file__).parent, "timelines.sql")


def main() -> None:
    """Build, embed with made-up vectors, ask."""
    options = arguments()
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-") as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as database,
    ):
        upgrade(database)
        build(database, options.patients)
        with psycopg.connect(database.url, autocommit=True, prepare_threshold=None) as connection:
            patients = range(1, options.patients + 1, max(1, options.patients // options.queries))
            alone = [milliseconds(connection, queries.nearest, patient) for patient in patients]
            explained = [milliseconds(connection, queries.explained, patient) for patient in patients]
    for name, times in (("ten neighbours (baseline)", alone), ("ten neighbours, explained", explained)):
        print(f"{name:28} p50 {median(times):7.1f} ms   p95 {quantiles(times, n=20)[-1]:7.1f} ms")


def build(database: Database, patients: int) -> None:
    """Synthetic events, the same on every run."""
    with database.transaction() as connection:
        connection.execute("select setseed(0.5)")
        connection.execute(made_up.vocabulary)
        connection.execute(queries.parents)
        connection.execute(made_up.patients, {"patients": patients})
        connection.execute(made_up.records)
        connection.execute(made_up.events)
        encoder = registry.register(connection, FakeEncoder(384).manifest)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    refresh(database, encoder, lambda: FakeEncoder(384, batch=64))


def milliseconds(connection: Connection, query: bytes, patient: int) -> float:
    """Of one answer, all rows fetched."""
    started = time.perf_counter()
    connection.execute(query, {"patient_id": patient}).fetchall()
    return 1000 * (time.perf_counter() - started)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    main()
