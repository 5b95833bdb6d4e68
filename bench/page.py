"""Every page among 100,000 patients: milliseconds and KiB sent, against the page that asks nothing.

    python bench/page.py [--patients 100000 --dimension 384 --home FOLDER]

Made-up records of forty events, vectors around 200 centroids, an index, a head, a label each. `--home` keeps the
database there, and uses what is there. CPU is of this process and the database's (Linux): what counts where others
use the machine too.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Event, Thread

import psycopg
from search import build, clustered
from starlette.testclient import TestClient

from ehrdb.config import Settings
from ehrdb.database import Database, open_database
from ehrdb.page.app import make_app
from ehrdb.page.doors import HeaderDoor
from ehrdb.page.limit import Limit
from ehrdb.queries import Queries
from ehrdb.schema import upgrade
from ehrdb.search.answer import answer_searches
from ehrdb.testing import FakeEncoder

queries = Queries(Path(__file__).parent, "page.sql")
made_up = Queries(Path(__file__).parent, "timelines.sql")
TIMES = 7


def main() -> None:
    """Build, then ask for each page some times, another patient each time."""
    options = arguments()
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-") as temporary,
        open_database(Settings(home=Path(options.home or temporary), database_url=None), create=True) as database,
    ):
        upgrade(database)
        with database.transaction() as connection:
            is_empty = connection.execute("select not exists (select from ehrdb.patient)").fetchone() == (True,)
            row = connection.execute("select session_user::text").fetchone()
        assert row is not None
        if is_empty:
            fill(database, options.patients, options.dimension)
        limit = Limit(10**6, 1)
        app = make_app(database, Settings(), HeaderDoor("X-User"), hosts=["testserver"], limit=limit, attempts=limit)
        with answering(database, options.dimension), TestClient(app, headers={"X-User": row[0]}) as browser:
            measure(browser, options.patients, cpu_of(database))


def fill(database: Database, patients: int, dimension: int) -> None:
    """Patients, vectors and their index, then records."""
    build(database, clustered(patients, dimension))
    with database.transaction() as connection:
        connection.execute("select setseed(0.5)")
        for statements in (made_up.vocabulary, queries.people, queries.events, queries.head, queries.seen):
            for statement in filter(bytes.strip, statements.split(b";")):
                connection.execute(statement)
        connection.execute("select ehrdb.recount_concepts()")
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


@contextmanager
def answering(database: Database, dimension: int) -> Iterator[None]:
    """Something that reads descriptions, at no cost."""
    stop = Event()
    thread = Thread(target=answer_searches, args=(database, lambda _: FakeEncoder(dimension), stop))
    thread.start()
    time.sleep(1)
    yield
    stop.set()
    thread.join()


def cpu_of(database: Database) -> Callable[[], float]:
    """A clock of the seconds that this process and all of the database's have used."""
    with database.transaction() as connection:
        row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    parent = stat(row[0])[1]
    ticks = os.sysconf("SC_CLK_TCK")

    def seconds() -> float:
        used = [stat(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return time.process_time() + sum(of[11] + of[12] for of in used if of[1] == parent) / ticks

    return seconds


def stat(pid: int) -> list[int]:
    """What the kernel says of a process after its name: state (as 0), parent, ...; nothing of one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [0] * 50
    return [int(field) if field.lstrip("-").isdigit() else 0 for field in fields]


def measure(browser: TestClient, patients: int, cpu: Callable[[], float]) -> None:
    """Each page's median and worst time, what it uses of the processors, and its size."""
    token = re.search(r'name="token" value="([^"]+)"', browser.get("/find").text)
    assert token is not None
    some = [1 + (7919 * n) % patients for n in range(1, TIMES + 1)]

    def sends(path: str, **fields: str) -> Callable[[int], tuple[int, int]]:
        def ask(patient: int) -> tuple[int, int]:
            values = {name: value.format(patient=patient) for name, value in fields.items()}
            address = path.format(patient=patient)
            answer = browser.post(address, data={"token": token[1], **values}) if fields else browser.get(address)
            return answer.status_code, len(answer.content)

        return ask

    pages = {
        "a page that asks nothing (baseline)": sends("/sign-in"),
        "home": sends("/"),
        "find by words and meaning": sends("/find", kind="words", asked="concept number 17 of description"),
        "find concepts": sends("/find", kind="concept", asked="number 17"),
        "find those with a code": sends("/find", kind="code", asked="SNOMED/7"),
        "patient": sends("/patients/{patient}"),
        "patient as of 2015": sends("/patients/{patient}?as_of=2015-01-01"),
        "patient as of a day with vectors": sends("/patients/{patient}?as_of=2020-01-02"),
        "compare": sends("/patients/{patient}/and/1"),
        "what happened after": sends("/patients/{patient}/outcomes", as_of="2020-01-02", outcome="SNOMED/7"),
        "cohort: everybody by risk": sends("/cohort", show="members", task="bench"),
        "cohort: a code by risk": sends("/cohort", show="members", task="bench", code="SNOMED/7"),
        "cohort: balance": sends("/cohort", show="balance", code="SNOMED/7"),
        "cohort: map": sends("/cohort", show="map", colour="age"),
        "models": sends("/models"),
        "model": sends("/models/bench"),
    }
    print(f"{'page':38} {'status':>6} {'p50 ms':>8} {'worst ms':>9} {'CPU ms':>7} {'KiB':>6}")
    for name, ask in pages.items():
        ask(1)  # what is read from disk once
        before = cpu()
        found = [timed(ask, patient) for patient in some]
        used = 1000 * (cpu() - before) / TIMES
        status, size = found[-1][1]
        times = [milliseconds for milliseconds, _ in found]
        print(
            f"{name:38} {status:>6} {median(times):8.0f} {max(times):9.0f} {used:7.0f} {size / 1024:6.0f}", flush=True
        )


def timed(ask: Callable[[int], tuple[int, int]], patient: int) -> tuple[float, tuple[int, int]]:
    started = time.perf_counter()
    answer = ask(patient)
    return 1000 * (time.perf_counter() - started), answer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--home", type=Path, help="a folder to keep the database in")
    return parser.parse_args()


if __name__ == "__main__":
    main()
