"""The cost of row-level security (ehr.protect): the same questions of the same reader with and without it.

    python bench/protect.py [--patients 20001 --dimension 384 --rounds 30]

The reader may see every second patient, by a table of the site's. Everybody's probabilities are twice as many without
row-level security: so those of the reader's half, asked for as a cohort, are compared as well. Medians count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import psycopg
from pgvector import Vector
from search import build, clustered
from sqlalchemy import make_url

from ehrdb.config import Settings
from ehrdb.database import Database, open_database
from ehrdb.queries import Queries
from ehrdb.schema import upgrade

queries = Queries(Path(__file__).parent, "protect.sql")
QUESTIONS = {"nearest": 1, "nearest_in_cohort": 1, "timeline": 1, "predict": 10, "predict_half": 10}
"""Each question, and how many rounds of the others make one of it."""


def main() -> None:
    """Build, then ask with and without, in turns; on a server of the benchmark's own."""
    options = arguments()
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-") as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as database,
    ):
        upgrade(database)
        encoder = build(database, clustered(options.patients, options.dimension))
        weights = Vector(clustered(1, options.dimension)[0])
        with psycopg.connect(database.url, autocommit=True) as connection:
            values = {
                "encoder_id": encoder.encoder_id,
                "prompt_id": encoder.prompt_id,
                "weights": str(weights.to_list()),
            }
            for statement in queries.head.split(b";\n"):
                connection.execute(statement, values if b"%(" in statement else None)
            connection.execute(queries.records)
            connection.execute(queries.site)
            connection.execute("analyze")
        report(*(asked(database, options, is_on) for is_on in (False, True)))


def asked(database: Database, options: argparse.Namespace, is_on: bool) -> dict[str, list[float]]:
    """Milliseconds of each question, as the reader asks it."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(queries.protect if is_on else queries.unprotect)
    url = make_url(database.url).set(username="bench_reader").render_as_string(hide_password=False)
    taken: dict[str, list[float]] = {name: [] for name in QUESTIONS}
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as reader:
        for number in range(options.rounds):
            patient = 2 * (1 + number * 37 % (options.patients // 2))
            for name, seldom in QUESTIONS.items():
                if number % seldom == 0:
                    started = time.perf_counter()
                    reader.execute(
                        getattr(queries, name), {"patient_id": patient, "patients": options.patients}
                    ).fetchall()
                    taken[name].append(1000 * (time.perf_counter() - started))
    return taken


def report(without: dict[str, list[float]], with_it: dict[str, list[float]]) -> None:
    """Medians and their ratio."""
    print(f"\n{'':20}   without      with (ms)   ratio")
    for name in QUESTIONS:
        off, on = median(without[name]), median(with_it[name])
        print(f"{name:20} {off:9.2f} {on:9.2f} {on / off:12.2f}x")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=20_001)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=30)
    return parser.parse_args()


if __name__ == "__main__":
    main()
