"""Timelines in SQL: current and as-of texts against a scan, a lateral query, plain Python, polars and duckdb.

    python bench/timelines.py [--patients 800 --points 1200 --rounds 5 --workers 0]

Rates count the events that a method has to know of: every event for current texts. One process and, unless
--workers says otherwise, one core. Figures are medians; machines differ, so read the ratios. Plain Python is the
same rules over ready-made tuples; polars and duckdb start with the events in memory and do without exact rounding
of ties, sha-256 and concurrent writers.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import duckdb
import polars as pl
import psycopg

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database
from ehrdb.queries import Queries
from ehrdb.schema import upgrade

# Visible events/s of the paper's own serializers in one process, with plain objects.
PAPER = 83_000
PAPER_MARKDOWN = 57_000
queries = Queries(Path(__file__).parent, "timelines.sql")
Event = tuple[datetime, int, str, str | None, float | None, str | None]


def main() -> None:
    """Build the data, run everything, print the figures."""
    options = arguments()
    with benchmark_database() as database:
        build(database, options.patients, options.points)
        with psycopg.connect(database.url, autocommit=True, prepare_threshold=None) as connection:
            connection.execute(f"set max_parallel_workers_per_gather = {options.workers}".encode())
            scan = current_texts(connection, options.rounds)
            points_in_time(connection, options.rounds)
            single_patients(connection, options.points)
            in_memory(connection, options.rounds, scan)


def current_texts(connection: Connection, rounds: int) -> float:
    """Every patient's current text. Returns the events/s of the scan, the baseline of all ratios."""
    events, patients = map(int, one_row(connection, queries.counts))
    print(f"\n{events:,} events of {patients:,} patients\n", flush=True)
    scan = events / seconds(partial(fetch, connection, queries.scan), rounds)
    report("sum over all events (baseline)", scan, scan)
    for name, query in (
        ("ehr.current_timeline", queries.current),
        ("the same with sha-256", queries.current_hashed),
        ("computed from all events", queries.computed),
    ):
        rate = events / seconds(partial(fetch, connection, query), rounds)
        report(name, rate, scan, f"{rate / PAPER:6.0f} x the paper's Python")
    return scan


def points_in_time(connection: Connection, rounds: int) -> None:
    """Texts of many patients at many moments, against a lateral query with the index it likes best."""
    patient_ids, as_ofs = one_row(connection, queries.arrays)
    connection.execute(queries.lateral_index)
    connection.execute("vacuum (analyze) ehrdb.event")
    lateral = seconds(partial(fetch, connection, queries.lateral), rounds)
    connection.execute(queries.drop_lateral_index)
    print(f"\n{len(patient_ids):,} points in time\nlateral distinct on (baseline)   {lateral:8.2f} s", flush=True)
    for name in ("list_recent", "list_first"):
        values = {"patient_ids": patient_ids, "as_ofs": as_ofs, "format": name}
        ours = seconds(partial(fetch, connection, queries.as_of, values), rounds)
        print(f"ehr.timelines, {name:12}      {ours:8.2f} s   {lateral / ours:5.2f} x faster", flush=True)
    values = {"patient_ids": patient_ids[:200], "as_ofs": as_ofs[:200], "format": "markdown"}
    (visible,) = fetch(connection, queries.visible, values)[0]
    rate = visible / seconds(partial(fetch, connection, queries.as_of, values), rounds)
    times = rate / PAPER_MARKDOWN
    print(f"ehr.timelines, markdown          {rate / 1e6:8.2f} M events/s   {times:5.1f} x the paper's Python")


def single_patients(connection: Connection, count: int) -> None:
    """Latency of one text, any patient and moment, and of the ten longest records."""
    patient_ids, as_ofs = one_row(connection, queries.arrays)
    largest = [row[0] for row in connection.execute(queries.largest)]
    print("\none patient                        p50       p95 (ms)")
    for name in ("list_recent", "list_recent_no_labs", "markdown"):
        times = latencies(connection, zip(patient_ids[:500], as_ofs[:500], strict=True), name)
        print(f"{name:28} {median(times):9.2f} {quantiles(times, n=20)[-1]:9.2f}")
        times = latencies(connection, ((patient, datetime.max) for patient in largest * 3), name)
        print(f"{'  ten longest records':28} {median(times):9.2f} {max(times):9.2f} (max)")


def latencies(connection: Connection, points: Iterator[tuple[int, datetime]], name: str) -> list[float]:
    """Milliseconds of each call, the connection warm."""
    values = [{"patient_id": patient, "as_of": as_of, "format": name} for patient, as_of in points]
    connection.execute(queries.one, values[0])
    return [1000 * seconds(partial(fetch, connection, queries.one, value), 1) for value in values]


def in_memory(connection: Connection, rounds: int, scan: float) -> None:
    """Current texts of up to 800 patients by programs that hold all their events in memory."""
    buffer = io.BytesIO()
    with connection.cursor().copy(queries.export) as copy:
        for data in copy:
            buffer.write(data)
    frame = pl.read_csv(buffer.getvalue(), try_parse_dates=True, schema_overrides={"numeric_value": pl.Float32})
    print(f"\nin memory (polars {pl.__version__} on {pl.thread_pool_size()} threads, duckdb {duckdb.__version__} on 1)")
    report("polars", frame.height / seconds(lambda: polars_texts(frame), rounds), scan)
    memory = duckdb.connect()
    memory.execute("set threads = 1")
    memory.register("frame", frame.to_arrow())
    memory.execute("create table event as select *, row_number() over () as row from frame")
    report("duckdb", frame.height / seconds(lambda: memory.execute(DUCKDB).fetchall(), rounds), scan)
    events = list(frame.head(300_000).iter_rows())
    patients = [[row[1:] for row in rows] for _, rows in groupby(events, key=lambda row: row[0])]
    report("plain Python", len(events) / seconds(lambda: [python_text(record) for record in patients], rounds), scan)


def polars_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Current texts in polars."""
    number = pl.col("numeric_value").round(2).cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")
    unit = pl.concat_str(pl.lit(" ("), "unit", pl.lit(")")).fill_null("")
    value = pl.coalesce(
        pl.concat_str(unit, pl.lit(": "), number), pl.concat_str(pl.lit(": "), "text_value"), pl.lit("")
    )
    return (
        frame.sort("patient_id", "time", descending=[False, True], maintain_order=True)
        .unique(["patient_id", "code_id"], keep="first", maintain_order=True)
        .group_by("patient_id", maintain_order=True)
        .agg(pl.concat_str("text", value).str.join("\n"))
    )


# Statements of another database program, not of ours.
DUCKDB = """
select patient_id, string_agg(text || coalesce(coalesce(' (' || unit || '): ', ': ') ||
           rtrim(rtrim(printf('%.2f', numeric_value::double), '0'), '.'), ': ' || text_value, ''), chr(10)
           order by time desc, row)
  from (select * from event
        qualify row_number() over (partition by patient_id, code_id order by time desc, row) = 1) k
 group by patient_id
"""


def python_text(events: list[Event]) -> str:
    """Current text in plain Python."""
    seen: set[int] = set()
    lines = []
    for _, code_id, text, unit, number, value in sorted(events, key=lambda event: event[0], reverse=True):
        if code_id in seen:
            continue
        seen.add(code_id)
        if number is not None:
            shown = f"{number:.2f}".rstrip("0").rstrip(".")
            lines.append(f"{text} ({unit}): {shown}" if unit else f"{text}: {shown}")
        else:
            lines.append(f"{text}: {value}" if value else text)
    return "\n".join(lines)


@contextmanager
def benchmark_database() -> Iterator[Database]:
    """An embedded server of the benchmark's own, removed afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-") as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as database,
    ):
        upgrade(database)
        yield database


def build(database: Database, patients: int, points: int) -> None:
    """Synthetic events, the same on every run."""
    with database.transaction() as connection:
        connection.execute("select setseed(0.5)")
        connection.execute(queries.vocabulary)
        connection.execute(queries.patients, {"patients": patients})
        connection.execute(queries.records)
        print(f"writing the events: {seconds(lambda: connection.execute(queries.events), 1):.0f} s")
        connection.execute(queries.point_table)
        connection.execute(queries.points, {"points": points})
    with psycopg.connect(database.url, autocommit=True) as connection:
        for statement in queries.settle.split(b";"):
            if statement.strip():
                connection.execute(statement)


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median duration; a first round warms up unless there is only one."""
    times = []
    for _ in range(rounds + (rounds > 1)):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times[rounds > 1 :])


def report(name: str, rate: float, baseline: float, more: str = "") -> None:
    print(f"{name:32} {rate / 1e6:8.2f} M events/s   {rate / baseline:5.2f} x scan   {more}")


def fetch(connection: Connection, query: bytes, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    return connection.execute(query, values).fetchall()


def one_row(connection: Connection, query: bytes) -> tuple[Any, ...]:
    return fetch(connection, query)[0]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=800)
    parser.add_argument("--points", type=int, default=1200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0, help="parallel workers of PostgreSQL (default: none)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
