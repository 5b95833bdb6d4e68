"""Loading against a bare COPY of the same rows, reloading, one changed patient, and dirty tracking; the same as MEDS.

    python bench/load.py [--patients 330 --rounds 3 --shards 20]

The folder is synthetic and of EHRSHOT's shape: some 6,200 events a patient (6,739 patients make its 41.6 million).
Baseline: the very rows that a load wrote, copied into an empty table with the same indexes. Everything runs on one
embedded server; machines differ, so read the ratios.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import psycopg

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database
from ehrdb.events import load_ehrshot
from ehrdb.events.meds import load_meds
from ehrdb.queries import Queries
from ehrdb.schema import upgrade

queries = Queries(Path(__file__).parent, "load.sql")
CODES = 20_000
VOCABULARIES = ("SNOMED", "LOINC", "RxNorm", "SNOMED", "CPT4", "LOINC", "ICD10PCS")


def main() -> None:
    """Write the folder, load it in every way, print the ratios."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="ehrdb-bench-", dir=options.place) as place:
        folder = Path(place) / "ehrshot"
        write_folder(folder, options.patients)
        with open_database(Settings(home=Path(place) / "home", database_url=None), create=True) as database:
            upgrade(database)
            measure(database, folder, Path(place) / "rows", options.rounds)
            measure_meds(database, folder, Path(place) / "meds", options.shards)
    print(f"Python's peak memory             {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8,.0f} MiB")


def measure(database: Database, folder: Path, rows: Path, rounds: int) -> None:
    """First load, reload, one changed patient; then the baseline and dirty tracking on the rows just loaded."""
    first = seconds(lambda: load_ehrshot(database, folder))
    with psycopg.connect(database.url, autocommit=True) as connection:
        found = connection.execute(queries.events).fetchone()
        events = found[0] if found else 0
        write_rows(connection, rows)
        bare, tracked = copies(connection, rows, rounds)
    again = median(seconds(lambda: load_ehrshot(database, folder)) for _ in range(rounds))
    change_one_patient(folder)
    changed = seconds(lambda: load_ehrshot(database, folder))
    print(f"\n{events:,} events")
    print(f"bare COPY, indexed (baseline)    {bare:8.1f} s   {events / bare:10,.0f} events/s")
    print(f"first load                       {first:8.1f} s   {bare / first:6.2f} x the speed of the bare COPY")
    print(f"reload, nothing changed          {again:8.1f} s   {first / again:6.2f} x faster than the first load")
    print(f"reload, one patient changed      {changed:8.1f} s   {first / changed:6.2f} x faster")
    print(f"bare COPY with dirty tracking    {tracked:8.1f} s   {tracked / bare - 1:+6.1%}")


def measure_meds(database: Database, folder: Path, meds: Path, shards: int) -> None:
    """The same events of other patients in so many files: first load, then with one event more in one of them."""
    write_meds(folder, meds, shards)
    first = seconds(lambda: load_meds(database, meds))
    file = meds / "data" / "0.parquet"
    pl.concat([pl.read_parquet(file), pl.read_parquet(file).tail(1)]).write_parquet(file)
    changed = seconds(lambda: load_meds(database, meds))
    print(f"MEDS, {shards} files, first load {first:15.1f} s")
    print(f"one patient of one file changed  {changed:8.1f} s   {first / changed:6.2f} x faster")


def write_meds(folder: Path, meds: Path, shards: int) -> None:
    (meds / "data").mkdir(parents=True)
    rows = pl.scan_csv(folder / "ehrshot.csv", infer_schema=False).select(
        pl.col("patient_id").cast(pl.Int64).alias("subject_id") + 1_000_000,
        pl.col("start").str.to_datetime(time_unit="us").alias("time"),
        "code",
        pl.col("value").cast(pl.Float32, strict=False).alias("numeric_value"),
        "visit_id",
    )
    for shard in range(shards):
        rows.filter(pl.col("subject_id") % shards == shard).sink_parquet(meds / "data" / f"{shard}.parquet")


def copies(connection: Connection, rows: Path, rounds: int) -> tuple[float, float]:
    """Median seconds of a bare COPY and of one with dirty tracking, in turns."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for is_tracked in times:
            connection.execute(queries.bare_table)
            if is_tracked:
                connection.execute(queries.tracked)
            connection.execute(queries.checkpoint)
            times[is_tracked].append(seconds(lambda: copy_rows(connection, rows)))
    return median(times[False]), median(times[True])


def write_rows(connection: Connection, rows: Path) -> None:
    with rows.open("wb") as stream, connection.cursor() as cursor, cursor.copy(queries.write_rows) as copy:
        for chunk in copy:
            stream.write(chunk)


def copy_rows(connection: Connection, rows: Path) -> None:
    with rows.open("rb") as stream, connection.cursor() as cursor, cursor.copy(queries.copy_rows) as copy:
        while chunk := stream.read(1 << 20):
            copy.write(chunk)


def write_folder(folder: Path, patients: int) -> None:
    """Patients of log-normal length, each with codes of its own, a few used often; the same on every run."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(20240101)
    with (folder / "ehrshot.csv").open("wb") as stream:
        for patient in range(1, patients + 1):
            length = int(np.clip(random.lognormal(np.log(3_500), 1.05), 20, 60_000))
            events(random, patient, length).write_csv(stream, include_header=patient == 1)
    codes = pl.Series("code", [code(number) for number in range(CODES)])
    pl.DataFrame({"code": codes, "description": "Text of " + codes}).write_csv(folder / "concept.csv")


def events(random: np.random.Generator, patient: int, length: int) -> pl.DataFrame:
    """One patient: minutes with two or three events each, 28 in 100 with numbers, 6 in 100 with texts."""
    own = random.integers(0, CODES, 700)
    numbers = own[(700 * random.random(length) ** 2.5).astype(int)]
    moments = max(1, length * 2 // 5)
    seconds_of_life = np.sort(random.integers(0, moments, length)) * (5_500 * 86_400 // moments)
    kind = random.random(length)
    value = np.char.mod("%.4g", random.lognormal(3, 1, length))
    return pl.DataFrame(
        {
            "patient_id": np.full(length, patient),
            "start": (np.datetime64("2000-01-01", "ms") + seconds_of_life.astype("timedelta64[s]")),
            "end": pl.Series([None] * length, dtype=pl.String),
            "code": [code(number) for number in numbers],
            "value": np.where(kind < 0.28, value, np.where(kind < 0.34, "Negative", "")),
            "unit": np.where(kind < 0.28, "mg/dL", ""),
            "visit_id": 1_000_000 * patient + np.arange(length) // 40,
            "omop_table": np.where(kind < 0.34, "measurement", "condition_occurrence"),
        }
    ).with_columns(pl.col("start").dt.to_string("%Y-%m-%d %H:%M:%S"))


def code(number: int) -> str:
    return f"{VOCABULARIES[number % 7]}/{number}"


def change_one_patient(folder: Path) -> None:
    with (folder / "ehrshot.csv").open("a") as stream:
        stream.write("1,2024-01-01 00:00:00,,SNOMED/0,,,,observation\n")


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=330, help="330: some two million events")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, default=20, help="files of the MEDS data set")
    parser.add_argument("--place", type=Path, help="folder for the files and the server (default: a temporary one)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
