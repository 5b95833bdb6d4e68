"""What a change costs, by the size of what it is a change of: it should cost the same at every size.

    python bench/growth.py [--patients 10000 100000 --events 40 --rounds 5]
    python bench/growth.py --patients 10000 100000 1000000

Made-up records at every size, each in a database of its own; vectors cost nothing, so all that counts is the database.
Sizes take turns. Figures are seconds that the server says its statements ran (medians): nothing changed, status, one
patient changed, one in a hundred changed, and, once, the first plan and the whole first refresh. `slope` is that of
log(seconds) over log(patients): 0 does not grow, 1 grows with the whole.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from time import sleep

import psycopg
from sqlalchemy import make_url

from ehrdb.client import read_status
from ehrdb.config import Settings
from ehrdb.database import Database, closing_pool, open_database
from ehrdb.embedding import refresh, registry
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.embedding.run import plan
from ehrdb.queries import Queries
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder

queries = Queries(Path(__file__).parent, "growth.sql")
made_up = Queries(Path(__file__).parent, "timelines.sql")
Seconds = dict[str, list[float]]
DIMENSION = 64


def main() -> None:
    """Build every size, then let them take turns; on a server of the benchmark's own."""
    options = arguments()
    print(f"{processor()}; {options.events} events a patient")
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-", dir=options.place) as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as server,
        ExitStack() as open_pools,
    ):
        made = {size: open_pools.enter_context(closing_pool(new_database(server, size))) for size in options.patients}
        found = {size: first(database, size, options.events) for size, database in made.items()}
        for round_ in range(options.rounds):
            for size, database in made.items():
                for case, seconds in changes(database, size, round_ + 1).items():
                    found[size].setdefault(case, []).append(seconds)
        report(found)


def first(database: Database, size: int, events: int) -> Seconds:
    """Records, then the first plan and the refresh that follows it."""
    upgrade(database)
    with database.transaction() as connection:
        connection.execute(made_up.vocabulary)
        connection.execute(made_up.patients, {"patients": size})
        connection.execute(queries.records, {"events": events})
        encoder = registry.register(connection, FakeEncoder(DIMENSION).manifest)
    vacuum(database)
    planned = active(database, lambda: plan(database, encoder))
    rest = active(database, lambda: embedded(database))
    vacuum(database)
    return {"first plan": [planned], "first refresh": [planned + rest]}


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


def report(found: dict[int, Seconds]) -> None:
    """Seconds at every size, the ratio of the largest to the smallest, the slope, and the share of a first refresh."""
    sizes = sorted(found)
    print(f"{'seconds of the database':34}" + "".join(f"{size:>12,}" for size in sizes) + "    ratio    slope")
    for case in found[sizes[0]]:
        taken = [median(found[size][case]) for size in sizes]
        ratio = taken[-1] / taken[0]
        slope = math.log(ratio) / math.log(sizes[-1] / sizes[0]) if len(sizes) > 1 else 0
        print(f"{case:34}" + "".join(f"{seconds:12.4f}" for seconds in taken) + f"{ratio:9.2f}{slope:9.2f}")
    shares = [100 * median(found[size]["1 % changed"]) / found[size]["first refresh"][0] for size in sizes]
    print(f"{'1 % changed, % of a first refresh':34}" + "".join(f"{share:12.2f}" for share in shares))


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


def active(database: Database, work: Callable[[], object]) -> float:
    """For how many seconds the server ran statements for it. Sessions that end tell their part at once."""
    before = active_so_far(database)
    work()
    return active_so_far(database) - before


def active_so_far(database: Database) -> float:
    database.engine.dispose()
    sleep(0.2)
    with psycopg.connect(database.url, autocommit=True) as connection:
        row = connection.execute(queries.active_seconds).fetchone()
        assert row is not None
        return float(row[0])


def new_database(server: Database, size: int) -> Database:
    """An empty one on the same server, with the extension."""
    url = make_url(server.url).set(database=f"growth_{size}").render_as_string(hide_password=False)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create database growth_{size} encoding 'UTF8' template template0".encode())
    return Database(url)


def vacuum(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


def processor() -> str:
    """The processor's name, as Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--place", help="folder for the server's files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
