"""Refresh: what a check costs, what a change costs, what the database adds to the encoder's own time.

    python bench/refresh.py [--patients 100000 --events 30] [--texts 200 --rounds 3]

First many patients with vectors that cost next to nothing: the baseline is the full refresh of the same run, so all
that is seen is the database's work. Then fewer, longer records with MiniLM: the baseline is the encoder alone on the
same texts. Figures are medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from ehrdb.config import Settings
from ehrdb.database import Database, open_database
from ehrdb.embedding import Engine, refresh, registry
from ehrdb.embedding.files import encoder_directory
from ehrdb.embedding.load import load_encoder
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.queries import Queries
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder

queries = Queries(Path(__file__).parent, "refresh.sql")
made_up = Queries(Path(__file__).parent, "timelines.sql")


def main() -> None:
    """Both parts, each on a server of its own that is removed afterwards."""
    options = arguments()
    for part in (checks, shares):
        with tempfile.TemporaryDirectory(prefix="ehrdb-bench-") as home:
            settings = Settings(home=Path(home), database_url=None)
            with open_database(settings, create=True) as database:
                upgrade(database)
                part(database, settings, options)


def checks(database: Database, settings: Settings, options: argparse.Namespace) -> None:
    """What the database does for a full refresh, for nothing, for nothing that shows, for one patient in a hundred."""
    build(database, options.patients, options.events)
    with database.transaction() as connection:
        encoder = registry.register(connection, FakeEncoder(384).manifest)
    print(f"\n{options.patients:,} patients of {options.events} events; vectors cost next to nothing")
    full = seconds(lambda: embedded(database, encoder))
    print(f"full refresh (baseline)        {full:8.2f} s")
    cases: list[tuple[str, Callable[[int], None]]] = [
        ("nothing changed", lambda round_: None),
        ("1 % touched, text the same", lambda round_: execute(database, queries.touched)),
        ("1 % changed", lambda round_: execute(database, queries.changed, {"round": round_ + 1})),
    ]
    for name, change in cases:
        taken, contents = [], 0
        for round_ in range(options.rounds):
            change(round_)
            started = time.perf_counter()
            contents = embedded(database, encoder)
            taken.append(time.perf_counter() - started)
        print(f"{name:30} {median(taken):8.2f} s   {100 * median(taken) / full:6.2f} %   {contents:,} embedded")


def shares(database: Database, settings: Settings, options: argparse.Namespace) -> None:
    """MiniLM: the encoder alone, a refresh by one worker, a refresh by two."""
    build(database, options.texts, 300)
    with database.transaction() as connection:
        texts = [text for (text,) in connection.execute(queries.texts)]
    encoder = exported(database, settings)
    model = load_encoder(settings, encoder)
    contenders: dict[str, Callable[[], Any]] = {
        "encoder alone (baseline)": lambda: model.encode(texts),
        "refresh, one worker": lambda: refresh(database, encoder, lambda: model),
        "refresh, two workers": lambda: refresh(database, encoder, lambda: model, engine=Engine(settings, 2)),
    }
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, run in contenders.items():
            execute(database, queries.drop_vectors)
            taken[name].append(seconds(run))
    alone = median(taken["encoder alone (baseline)"])
    print(f"\nMiniLM, {len(texts)} patients of 300 events; two workers start two processes and load two models")
    for name, times in taken.items():
        share = 100 * (1 - alone / median(times))
        print(f"{name:30} {median(times):8.2f} s   {alone / median(times):5.2f}x   {share:5.1f} % not the encoder")


def build(database: Database, patients: int, events: int) -> None:
    """Synthetic events, the same on every run."""
    with database.transaction() as connection:
        connection.execute(made_up.vocabulary)
        connection.execute(made_up.patients, {"patients": patients})
        connection.execute(queries.records, {"events": events})
        connection.execute(queries.looked_at)
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


def exported(database: Database, settings: Settings) -> RegisteredEncoder:
    """MiniLM, exported and registered."""
    from ehrdb.encoder.export import DEFAULT_MODEL, export  # here, so that worker processes do not import torch

    manifest = export(DEFAULT_MODEL, encoder_directory(settings, "minilm"), name="minilm")
    with database.transaction() as connection:
        return registry.register(connection, manifest)


def embedded(database: Database, encoder: RegisteredEncoder) -> int:
    """Contents that a refresh with made-up vectors embeds."""
    return refresh(database, encoder, lambda: FakeEncoder(384, batch=64)).embedded


def execute(database: Database, query: bytes, values: dict[str, object] | None = None) -> None:
    """One statement in a transaction of its own."""
    with database.transaction() as connection:
        connection.execute(query, values)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=30)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
