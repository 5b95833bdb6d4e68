"""The part `search` of growth.py: clustered vectors, made again wherever they are needed, so that any number fits."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from statistics import median, quantiles

import numpy as np
import numpy.typing as npt
import psycopg
from measure import Figures, elapsed, vacuum, watched
from pgvector import HalfVector
from psycopg import sql
from search import Answer, by_value, ours
from search import queries as of_search

from ehrdb.database import Connection, Database, register_vectors
from ehrdb.embedding import registry
from ehrdb.embedding.index import building_bytes, ensure_index
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder

DIMENSION, CLUSTER, CHUNK, ASKED = 1024, 1500, 10_000, 200
WIDTHS = (100, 200, 400, 800)
Vectors = npt.NDArray[np.float32]


def searches(database: Database, size: int) -> Figures:
    """All of one size."""
    upgrade(database)
    encoder, copied = fill(database, size)
    give_room(database, size)
    built: list[float] = []
    peak = watched(database, lambda: built.append(elapsed(lambda: ensure_index(database, encoder))))
    vacuum(database)
    with psycopg.connect(database.url, autocommit=True, prepare_threshold=None) as connection:
        register_vectors(connection)
        table, index = connection.execute(of_search.sizes, {"encoder_id": encoder.encoder_id}).fetchone() or (0, 0)
        figures = {
            "vectors copied: elapsed": [copied],
            "index built: elapsed": built,
            "index built: MiB of its sessions": [peak.all_sessions],
            "table, MiB": [table / 2**20],
            "index, MiB": [index / 2**20],
        }
        return figures | asked(connection, encoder, size) | {"one changed vector, ms": changed(connection, encoder)}


def fill(database: Database, size: int) -> tuple[RegisteredEncoder, float]:
    """The tables as a refresh leaves them; seconds of writing the vectors by patient."""
    with database.transaction() as connection:
        register_vectors(connection)
        connection.execute(of_search.patients, {"patients": size})
        encoder = registry.register(connection, FakeEncoder(DIMENSION).manifest)
        seconds = elapsed(lambda: copy_vectors(connection, encoder, size))
        for statement in of_search.settle.split(b";"):
            if statement.strip():
                connection.execute(statement, {"encoder_id": encoder.encoder_id})
    vacuum(database)
    return encoder, seconds


def give_room(database: Database, size: int) -> None:
    """As much memory as ehrdb's warning asks for, so that the index is built within it."""
    room = f"{1.1 * building_bytes(size, DIMENSION) / 2**20 + 64:.0f}MB"
    with database.transaction() as connection:
        place = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("alter database {} set maintenance_work_mem = {}").format(place, room))
    database.engine.dispose()


def copy_vectors(connection: Connection, encoder: RegisteredEncoder, size: int) -> None:
    with connection.cursor() as cursor, cursor.copy(of_search.copy) as copy:
        copy.set_types(["int4", "int8", "timestamp", "bytea", "halfvec"])
        for first, vectors in chunks(size):
            for patient, vector in enumerate(vectors, start=first):
                content = hashlib.sha256(str(patient).encode()).digest()
                copy.write_row((encoder.encoder_id, patient, datetime(2020, 1, 1), content, HalfVector(vector)))


def chunks(size: int) -> Iterator[tuple[int, Vectors]]:
    """Unit vectors around centroids, 1,500 patients each, as a halfvec holds them; and the first one's patient."""
    centroids = np.random.default_rng(5).normal(size=(max(1, size // CLUSTER), DIMENSION)).astype(np.float32)
    for first in range(0, size, CHUNK):
        random = np.random.default_rng([7, first])
        count = min(CHUNK, size - first)
        vectors = centroids[random.integers(0, len(centroids), count)]
        vectors = vectors + random.normal(size=(count, DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        yield first + 1, vectors.astype(np.float16).astype(np.float32)


def truth(size: int, patients: list[int], step: int) -> tuple[Vectors, list[Answer]]:
    """Vectors of these patients, and the ten nearest to each among every `step`-th patient, themselves left out."""
    wanted = np.array(patients)
    own = np.concatenate([v[wanted[(wanted >= f) & (wanted < f + len(v))] - f] for f, v in chunks(size)])
    best = [np.empty((0, 2))] * len(patients)
    for first, vectors in chunks(size):
        members = np.arange(first, first + len(vectors))
        kept = (members - 1) % step == 0
        similarity = own @ vectors[kept].T
        for place, patient in enumerate(patients):
            pairs = np.stack([similarity[place], members[kept]], axis=1)[members[kept] != patient]
            pairs = np.concatenate([best[place], pairs])
            best[place] = pairs[np.argsort(-pairs[:, 0], kind="stable")[:10]]
    return own, [[int(patient) for patient in pairs[:, 1]] for pairs in best]


def asked(connection: Connection, encoder: RegisteredEncoder, size: int) -> Figures:
    """Milliseconds and recall of the ten nearest, after one round that warms the cache."""
    patients = list(range(1, size + 1, max(1, size // ASKED)))[:ASKED]
    one_percent = list(range(1, size + 1, 100))
    own, exact = truth(size, patients, 1)
    _, exact_in_cohort = truth(size, patients, 100)
    figures: Figures = {}
    for name, cohort, expected in (("", None, exact), ("in 1 %: ", one_percent, exact_in_cohort)):
        answer_all = [partial(ours, connection, encoder, cohort, patient) for patient in patients]
        timed(answer_all)
        taken, answers = timed(answer_all)
        figures |= {
            f"{name}ten nearest, p50 ms": [median(taken)],
            f"{name}ten nearest, p95 ms": [quantiles(taken, n=20)[-1]],
            f"{name}recall@10": [recall(answers, expected)],
        }
    for width in WIDTHS:
        connection.execute(f"set hnsw.ef_search = {width}".encode())
        taken, answers = timed([partial(by_value, connection, encoder, vector) for vector in own])
        others = [[o for o in answer if o != patient] for answer, patient in zip(answers, patients, strict=True)]
        figures |= {
            f"by hand, ef_search {width}: p50 ms": [median(taken)],
            f"by hand, ef_search {width}: recall@10": [recall([answer[:10] for answer in others], exact)],
        }
    return figures


def timed(questions: Sequence[Callable[[], Answer]]) -> tuple[list[float], list[Answer]]:
    """Milliseconds of each, and what was answered."""
    taken, answers = [], []
    for question in questions:
        started = time.perf_counter()
        answers.append(question())
        taken.append(1000 * (time.perf_counter() - started))
    return taken, answers


def recall(answers: list[Answer], exact: list[Answer]) -> float:
    return float(np.mean([len(set(a) & set(e)) / len(e) for a, e in zip(answers, exact, strict=True)]))


def changed(connection: Connection, encoder: RegisteredEncoder) -> list[float]:
    """Milliseconds until another's vector has taken a patient's place, index included; of twenty, one by one."""
    _, vectors = next(chunks(CHUNK))
    taken = []
    for patient in range(1, 21):
        values = {"vector": HalfVector(vectors[-patient]), "patient_id": patient, "encoder_id": encoder.encoder_id}
        taken.append(1000 * elapsed(partial(connection.execute, of_search.change, values)))
    return taken
