"""What a change costs, by the size of what it is a change of: it should cost the same at every size.

    python bench/growth.py [--patients 10000 100000 --events 40 --rounds 5]
    python bench/growth.py --patients 10000 100000 1000000 --place /folder/with/room
    python bench/growth.py --parts search --patients 1000000

Made-up records at every size; vectors of the first part cost nothing, so all that counts is the database. Three parts,
each with a table of every size, its ratios and slopes (`slope` is that of log(figure) over log(patients): 0 does not
grow, 1 grows with the whole):

- `refresh`: nothing changed, status, one patient changed, one in a hundred; once, the first plan and the first refresh.
- `load`: a first load of a live OMOP schema against a bare COPY of the rows that it wrote, in one transaction and in
  portions by one and by two workers, with the server's memory and disk; then nights: nothing, one patient, 0.5 %.
- `search`: clustered vectors of 1,024 dimensions: building the index, the ten nearest (p50, p95, recall@10, also by
  hand with other values of ef_search), in a cohort of 1 %, one changed vector, memory and disk.

Seconds are those for which the server says its statements ran, unless they are called elapsed. The disk that a million
patients of 40 events need is some 60 GB, one part at a time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from growth_load import loads
from growth_search import searches
from measure import Figures, active, drop_database, new_database, processor, queries, report, vacuum

from ehrdb.client import read_status
from ehrdb.config import Settings
from ehrdb.database import Database, closing_pool, open_database
from ehrdb.embedding import refresh, registry
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.embedding.run import plan
from ehrdb.queries import Queries
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder

made_up = Queries(Path(__file__).parent, "timelines.sql")
DIMENSION = 64
PARTS = ("refresh", "load", "search")


def main() -> None:
    """One part after the other, on a server of the benchmark's own."""
    options = arguments()
    print(f"{processor()}; {options.events} events a patient")
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-", dir=options.place) as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as server,
    ):
        parts: dict[str, Callable[[], object]] = {
            "refresh": lambda: refreshes(server, options.patients, options.events, options.rounds),
            "load": lambda: each_size(
                "load", server, options.patients, partial(loads, server, events=options.events, rounds=options.rounds)
            ),
            "search": lambda: each_size("search", server, options.patients, searches),
        }
        for part in options.parts:
            parts[part]()


def each_size(title: str, server: Database, sizes: list[int], measure: Callable[[Database, int], Figures]) -> None:
    """A database for each size, dropped when it is measured."""
    found = {}
    for size in sizes:
        database = new_database(server, f"{title}_{size}")
        found[size] = measure(database, size)
        drop_database(server, database)
    report(title, found)


def refreshes(server: Database, sizes: list[int], events: int, rounds: int) -> None:
    """Build every size, then let them take turns."""
    with ExitStack() as open_pools:
        made = {size: open_pools.enter_context(closing_pool(new_database(server, f"growth_{size}"))) for size in sizes}
        found = {size: first(database, size, events) for size, database in made.items()}
        for round_ in range(rounds):
            for size, database in made.items():
                for case, seconds in changes(database, size, round_ + 1).items():
                    found[size].setdefault(case, []).append(seconds)
        for figures in found.values():
            share = 100 * median(figures["1 % changed"]) / figures["first refresh"][0]
            figures["1 % changed, % of a first refresh"] = [share]
    report("refresh: seconds", found)
    for database in made.values():
        drop_database(server, database)


def first(database: Database, size: int, events: int) -> Figures:
    """Records, then the first plan and the refresh that follows it."""
    upgrade(database)
    with database.transaction() as connection:
        connection.execute(made_up.vocabulary)
        connection.execute(made_up.patients, {"patients": size})
        connection.execute(queries.records, {"events": events})
        encoder = registry.register(connection, FakeEncoder(DIMENSION).manifest)
        sizes = connection.execute(queries.event_bytes).fetchone()
    vacuum(database)
    planned = active(database, lambda: plan(database, encoder))
    rest = active(database, lambda: embedded(database))
    vacuum(database)
    return {
        "bytes of an event, indexes included": [float(sizes[0]) if sizes else 0],
        "first plan": [planned],
        "first refresh": [planned + rest],
    }


def changes(database: Database, size: int, round_: int) -> dict[str, float]:
    """What a refresh costs after nothing, one patient, one in a hundred has changed; and what status costs."""
    taken = {
        "nothing changed": active(database, lambda: embedded(database)),
        "status": active(database, lambda: status(database)),
    }
    for number, (name, step) in enumerate((("one patient changed", size), ("1 % changed", 100))):
        event = partial(change, database, round_ + 1000 * number, step)
        taken[f"{name}: its events"] = active(database, event)
        taken[name] = active(database, lambda: embedded(database))
    return taken


def embedded(database: Database) -> None:
    """A refresh with vectors that cost nothing."""
    refresh(database, encoder_of(database), lambda: FakeEncoder(DIMENSION, batch=256))


def encoder_of(database: Database) -> RegisteredEncoder:
    with database.transaction() as connection:
        return registry.find(connection, None)


def change(database: Database, round_: int, step: int) -> None:
    """Every `step`-th patient gets an event."""
    with database.transaction() as connection:
        connection.execute(queries.changed, {"round": round_, "step": step})


def status(database: Database) -> None:
    """What `ehrdb status` asks."""
    with database.transaction() as connection:
        read_status(connection, "rows")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--place", help="folder for the server's files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
