"""What benchmarks of growth share: databases of their own, the server's account of time, memory and disk, slopes."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg
from sqlalchemy import make_url

from ehrdb.database import Database
from ehrdb.queries import Queries

queries = Queries(Path(__file__).parent, "growth.sql")
Figures = dict[str, list[float]]


@dataclass
class Peak:
    """Most that the server used meanwhile: private memory of its largest session, and of all together; disk of the
    database, in MiB, above what it had before."""

    largest_session: float = 0
    all_sessions: float = 0
    disk: float = 0


def active(database: Database, work: Callable[[], object]) -> float:
    """For how many seconds the server ran statements for it. Sessions that end tell their part at once."""
    before = active_so_far(database)
    work()
    return active_so_far(database) - before


def active_so_far(database: Database) -> float:
    database.engine.dispose()
    time.sleep(0.2)
    with psycopg.connect(database.url, autocommit=True) as connection:
        row = connection.execute(queries.active_seconds).fetchone()
        assert row is not None
        return float(row[0])


def elapsed(work: Callable[[], object]) -> float:
    """Seconds by the clock."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def watched(database: Database, work: Callable[[], object]) -> Peak:
    """What the server used at most while it worked, looked at four times a second."""
    peak, is_done = Peak(), threading.Event()

    def look() -> None:
        with psycopg.connect(database.url, autocommit=True) as connection:
            first = size_of(connection)
            while not is_done.wait(0.25):
                pids = [pid for (pid,) in connection.execute(queries.sessions)]
                private = [private_memory(pid) for pid in pids]
                peak.largest_session = max(peak.largest_session, *private, 0)
                peak.all_sessions = max(peak.all_sessions, sum(private))
                peak.disk = max(peak.disk, size_of(connection) - first)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        is_done.set()
        watcher.join()
    return peak


def size_of(connection: psycopg.Connection[tuple[int, ...]]) -> float:
    row = connection.execute(queries.database_size).fetchone()
    return row[0] / 2**20 if row else 0


def private_memory(pid: int) -> float:
    """MiB that a process has for itself, as Linux counts them; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0)


def new_database(server: Database, name: str) -> Database:
    """An empty one on the same server, with the extension."""
    url = make_url(server.url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"create database {name} encoding 'UTF8' template template0".encode())
    return Database(url)


def drop_database(server: Database, database: Database) -> None:
    """Give its room back."""
    database.engine.dispose()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"drop database {make_url(database.url).database} with (force)".encode())


def vacuum(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("vacuum analyze")


def slope(sizes: list[int], taken: list[float]) -> float:
    """Of log(figure) over log(size), from the smallest to the largest: 0 does not grow, 1 grows with the whole."""
    if len(sizes) < 2 or min(taken[0], taken[-1]) <= 0:
        return math.nan
    return math.log(taken[-1] / taken[0]) / math.log(sizes[-1] / sizes[0])


def report(title: str, found: Mapping[int, Figures]) -> None:
    """A row for each figure: its median at every size, the ratio of the largest to the smallest, the slope."""
    sizes = sorted(found)
    print(f"\n{title:44}" + "".join(f"{size:>12,}" for size in sizes) + "    ratio    slope")
    for case in found[sizes[0]]:
        taken = [median(found[size][case]) for size in sizes]
        ratio = taken[-1] / taken[0] if taken[0] else math.nan
        columns = "".join(f"{figure:12.4g}" for figure in taken)
        print(f"{case:44}{columns}{ratio:9.2f}{slope(sizes, taken):9.2f}", flush=True)


def processor() -> str:
    """The processor's name, as Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")
