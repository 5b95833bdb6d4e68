"""What a load of a live OMOP schema costs when few patients changed, against a first load and the check alone.

    python bench/nightly.py [--patients 10000 100000 --events 40 --rounds 3]

Made-up records in a schema beside ehrdb, each size in a database of its own. Figures are seconds that the server says
its statements ran; `% of first` is the share of the first load at the same size.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from growth import active, new_database, processor
from psycopg import ClientCursor

from ehrdb.config import Settings
from ehrdb.database import Database, closing_pool, open_database
from ehrdb.events import load_omop_schema
from ehrdb.queries import Queries
from ehrdb.schema import upgrade

queries = Queries(Path(__file__).parent, "nightly.sql")


def main() -> None:
    """Each size: a first load, then rounds of nothing, one patient and one in two hundred changed."""
    options = arguments()
    print(f"{processor()}; {options.events} events a patient; seconds of the database")
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-", dir=options.place) as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as server,
        ExitStack() as open_pools,
    ):
        for size in options.patients:
            database = open_pools.enter_context(closing_pool(new_database(server, size)))
            report(size, nights(database, size, options.events, options.rounds))


def nights(database: Database, size: int, events: int, rounds: int) -> dict[str, list[float]]:
    """Seconds by what changed before the load."""
    upgrade(database)
    with database.transaction() as connection:
        ClientCursor(connection).execute(queries.cdm, {"patients": size, "events": events})
    with database.session() as session:
        session.execute("vacuum analyze")
    taken = {"first load": [active(database, partial(load_omop_schema, database, "cdm"))]}
    for round_ in range(rounds):
        for name, step in (("nothing changed", 0), ("one patient changed", size), ("0.5 % changed", 200)):
            with database.transaction() as connection:
                connection.execute(queries.change, {"step": step, "round": round_})
            seconds = active(database, partial(load_omop_schema, database, "cdm"))
            taken.setdefault(name, []).append(seconds)
    return taken


def report(size: int, taken: dict[str, list[float]]) -> None:
    """Medians, and shares of the first load."""
    whole = taken["first load"][0]
    for name, seconds in taken.items():
        print(
            f"{size:>10,} patients  {name:20} {median(seconds):9.2f} s {100 * median(seconds) / whole:8.2f} % of first"
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--events", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--place", help="folder for the server's files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
