"""Faults, for real: processes killed, servers crashed, disks filled. Nothing missing, nothing double, nothing held."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import psycopg
import pytest

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database
from ehrdb.embedding import Engine, refresh
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoded
from ehrdb.errors import DatabaseUnavailable, RefreshError
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write, write_patients

ROUNDS = 50
WORKERS = 3
IMPORTED_LATE = ("sqlalchemy.dialects.postgresql.psycopg", "numpy.random")  # by whoever opens a database, or encodes


class SlowEncoder(FakeEncoder):
    """Takes its time, so that something can happen meanwhile."""

    def encode_batches(self, texts: object) -> Iterator[tuple[list[int], Encoded]]:
        for batch in super().encode_batches(texts):  # type: ignore[arg-type]
            time.sleep(0.03)
            yield batch


def slow(settings: Settings, encoder: RegisteredEncoder) -> FakeEncoder:
    return SlowEncoder()


def dying(settings: Settings, encoder: RegisteredEncoder) -> FakeEncoder:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def refresh_once(url: str, encoder: RegisteredEncoder) -> None:
    """A refresh in a process of its own."""
    database = Database(url)
    refresh(database, encoder, SlowEncoder)
    database.engine.dispose()


def fill(database: Database, patients: int) -> RegisteredEncoder:
    with database.transaction() as connection:
        write_patients(connection, patients)
        return add_encoder(connection)


def require_as_if_undisturbed(database: Database) -> None:
    """Every patient's vector is that of the current text; the queue is empty, no content is kept twice or unused."""
    with database.transaction() as connection:
        texts = connection.execute("select patient_id, text from ehr.current_timeline order by 1").fetchall()
        vectors = connection.execute(
            "select patient_id, embedding::text from ehrdb.patient_embedding order by 1"
        ).fetchall()
        left = connection.execute("select count(*) from ehrdb.embedding_job").fetchone()
    expected = FakeEncoder().encode([text for _, text in texts]).vectors
    found = np.array([np.fromstring(vector[1:-1], sep=",") for _, vector in vectors])
    assert [patient for patient, _ in vectors] == [patient for patient, _ in texts]
    assert np.allclose(found, expected, atol=1e-3)
    assert left == (0,)


def expire_leases(connection: Connection) -> None:
    """What a quarter of an hour does."""
    connection.execute("update ehrdb.embedding_job set leased_until = '-infinity'")


@pytest.mark.slow
def test_workers_killed_at_random_moments_lose_nothing_and_double_nothing(database: Database) -> None:
    encoder = fill(database, 60)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, *IMPORTED_LATE])
    chance = random.Random(7)
    for number in range(ROUNDS):
        with database.transaction() as connection:
            expire_leases(connection)
            changed = chance.sample(range(1, 61), 40)
            write(connection, [Record(p, day(21, number % 24), f"LOINC/{number}", value=float(p)) for p in changed])
        workers = [processes.Process(target=refresh_once, args=(database.url, encoder)) for _ in range(WORKERS)]
        kill_at_work(database, workers, chance.uniform(0, 0.3))
    with database.transaction() as connection:
        expire_leases(connection)
        row = connection.execute("select count(*) from ehrdb.refresh_run where finished_at is null").fetchone()
    assert row is not None
    assert row[0] >= ROUNDS  # that many were killed at work, not before or after it
    refresh(database, encoder, FakeEncoder)
    require_as_if_undisturbed(database)


def kill_at_work(database: Database, workers: Sequence[BaseProcess], seconds: float) -> None:
    """So many seconds after one of them has begun, however long that takes here."""
    before = runs_begun(database)
    for worker in workers:
        worker.start()
    while runs_begun(database) == before and any(worker.is_alive() for worker in workers):
        time.sleep(0.01)
    time.sleep(seconds)
    for worker in workers:
        worker.kill()
        worker.join()


def runs_begun(database: Database) -> int:
    with database.transaction() as connection:
        row = connection.execute("select count(*) from ehrdb.refresh_run").fetchone()
    assert row is not None
    return int(row[0])


def test_two_crons_overlapping_share_the_work(database: Database) -> None:
    encoder = fill(database, 100)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: refresh(database, encoder, SlowEncoder), range(2)))
    assert sum(result.embedded for result in results) == 100
    require_as_if_undisturbed(database)


def test_worker_processes_share_one_refresh(database: Database) -> None:
    encoder = fill(database, 80)
    engine = Engine(Settings(database_url=database.url), 2, load=slow)
    assert refresh(database, encoder, SlowEncoder, engine=engine).embedded == 80
    require_as_if_undisturbed(database)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, on start
def test_ray_workers_share_one_refresh(database: Database) -> None:
    pytest.importorskip("ray", reason="needs the ray extra")
    encoder = fill(database, 80)
    engine = Engine(Settings(database_url=database.url, threads=1), 2, "ray", load=slow)
    assert refresh(database, encoder, SlowEncoder, engine=engine).embedded == 80
    require_as_if_undisturbed(database)


def test_a_worker_process_that_dies_is_reported_and_holds_nothing(database: Database) -> None:
    encoder = fill(database, 20)
    engine = Engine(Settings(database_url=database.url), 2, load=dying)
    with pytest.raises(RefreshError, match="died"):
        refresh(database, encoder, FakeEncoder, engine=engine)
    assert refresh(database, encoder, FakeEncoder).embedded == 20


def test_a_time_limit_on_statements_halves_what_is_claimed(database: Database) -> None:
    encoder = fill(database, 40)
    with database.transaction() as connection:
        connection.execute(
            "create function ehrdb.slow_row() returns trigger language plpgsql as"
            " $$ begin perform pg_sleep(0.01); return new; end $$"
        )
        connection.execute(
            "create trigger slow before update on ehrdb.embedding_job for each row execute function ehrdb.slow_row()"
        )
    hurried = Database(f"{database.url}{'&' if '?' in database.url else '?'}options=-cstatement_timeout%3D250ms")
    assert refresh(hurried, encoder, FakeEncoder).embedded == 40
    hurried.engine.dispose()
    require_as_if_undisturbed(database)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Database]:
    """A server to mistreat."""
    with open_database(Settings(home=tmp_path / "home", database_url=None), create=True) as database:
        upgrade(database)
        yield database


def test_a_server_that_crashes_in_the_middle_is_waited_for(own_server: Database) -> None:
    encoder = fill(own_server, 60)
    crashed: list[int] = []

    def crash(done: int, total: int) -> None:
        if done > 20 and not crashed:
            with own_server.transaction() as connection:
                crashed.append(connection.info.backend_pid)
            os.kill(crashed[0], signal.SIGKILL)  # the server drops every session and recovers

    assert refresh(own_server, encoder, SlowEncoder, progress=crash).embedded == 60
    require_as_if_undisturbed(own_server)


def test_a_database_that_stays_away_ends_the_run_and_the_next_one_resumes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = fill(database, 20)
    monkeypatch.setattr("ehrdb.embedding.queue.Queue.store.retry.stop", lambda state: True)
    away = Database("postgresql://nobody@127.0.0.1:1/none")

    def unplug(done: int, total: int) -> None:
        monkeypatch.setattr(Database, "transaction", lambda self: away.begin())

    with pytest.raises(DatabaseUnavailable):
        refresh(database, encoder, SlowEncoder, progress=unplug)
    monkeypatch.undo()
    with database.transaction() as connection:
        expire_leases(connection)
    assert refresh(database, encoder, FakeEncoder).embedded == 16
    require_as_if_undisturbed(database)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_waited_out(own_server: Database, small_disk: Path) -> None:
    owner = Path(own_server_data(own_server)).stat()
    place = small_disk / "tables"
    place.mkdir()
    os.chown(place, owner.st_uid, owner.st_gid)
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        connection.execute(f"create tablespace small location '{place}'".encode())
    encoder = fill(own_server, 60)
    with own_server.transaction() as connection:
        connection.execute("alter table ehrdb.embedding_1 set tablespace small")
    filler = small_disk / "filler"
    fill_disk(filler)
    released = threading.Timer(3, filler.unlink)
    released.start()
    assert refresh(own_server, encoder, SlowEncoder).embedded == 60
    assert not filler.exists()
    require_as_if_undisturbed(own_server)


def own_server_data(database: Database) -> str:
    with database.transaction() as connection:
        row = connection.execute("show data_directory").fetchone()
    assert row is not None
    return str(row[0])


def fill_disk(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return
