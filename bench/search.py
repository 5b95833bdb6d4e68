"""Search: ehr.nearest_patients against the best query that one would write by hand with pgvector.

    python bench/search.py [--patients 100000 --dimension 1024 --queries 200]
    python bench/search.py --patients 20001 --dimension 4096 [--matryoshka 1024]

Vectors are clustered, not uniform: 200 centroids, noise around them. Hand-written queries know the vector, the index,
the encoder's partition and ef_search, and return ids and similarities; ours also find the patient's vector, decide how
to search, complete the rows and say what is stale. `--matryoshka`: the encoder was trained to be cut there, and its
dimensions matter less the later they come. All take turns on one connection; medians count.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector import HalfVector, Vector

from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database, register_vectors
from ehrdb.embedding import registry
from ehrdb.embedding.index import ensure_index
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.queries import Queries
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder

queries = Queries(Path(__file__).parent, "search.sql")
Vectors = npt.NDArray[np.float32]
Answer = list[int]


def main() -> None:
    """Build, then compare; on a server of the benchmark's own."""
    options = arguments()
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-") as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as database,
    ):
        upgrade(database)
        vectors = clustered(options.patients, options.dimension, options.matryoshka is not None)
        encoder = build(database, vectors, options.matryoshka)
        with psycopg.connect(database.url, autocommit=True, prepare_threshold=None) as connection:
            register_vectors(connection)
            connection.execute("set hnsw.ef_search = 500" if options.dimension > 4000 else "set hnsw.ef_search = 200")
            asked = list(range(1, options.patients + 1, max(1, options.patients // options.queries)))
            compare(connection, encoder, vectors, asked, options.matryoshka)


def compare(
    connection: Connection, encoder: RegisteredEncoder, vectors: Vectors, asked: list[int], matryoshka: int | None
) -> None:
    """Everybody, then cohorts of one patient in a hundred and of half of them."""
    patients = len(vectors)
    everybody, hand = by_hand(encoder, matryoshka)
    exact = {patient: truth(vectors, patient, None) for patient in asked}
    report("all patients", connection, encoder, vectors, asked, None, exact, {everybody: hand, "exact": full_scan})
    for name, step in (("1 % of them", 100), ("50 % of them", 2)):
        cohort = list(range(1, patients + 1, step))
        exact = {patient: truth(vectors, patient, cohort) for patient in asked[:50]}
        hands = {"b-tree filter, exact sort": filtered} if step == 100 else {"iterative HNSW scan": iterative}
        report(name, connection, encoder, vectors, asked[:50], cohort, exact, hands)


def report(
    title: str,
    connection: Connection,
    encoder: RegisteredEncoder,
    vectors: Vectors,
    asked: list[int],
    cohort: list[int] | None,
    exact: dict[int, Answer],
    hands: dict[str, Callable[..., Answer]],
) -> None:
    """Milliseconds and recall@10 of each way, in turns."""
    ways: dict[str, Callable[[int], Answer]] = {
        name: lambda patient, hand=hand: hand(connection, encoder, vectors[patient - 1], cohort, patient)  # type: ignore[misc]
        for name, hand in hands.items()
    }
    ways["ehr.nearest_patients(vector)"] = lambda patient: ours_by_vector(
        connection, encoder, vectors[patient - 1], cohort, patient
    )
    ways["ehr.nearest_patients(patient)"] = lambda patient: ours(connection, encoder, cohort, patient)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for patient in asked:
        for name, way in ways.items():
            started = time.perf_counter()
            answer = way(patient)
            taken[name].append(1000 * (time.perf_counter() - started))
            found[name].append(len(set(answer) & set(exact[patient])) / max(1, len(exact[patient])))
    baseline = median(taken[next(iter(ways))])
    print(f"\n{title}: 10 nearest                     p50       p95 (ms)   ratio   recall@10")
    for name, times in taken.items():
        print(
            f"{name:32} {median(times):9.2f} {quantiles(times, n=20)[-1]:9.2f} {median(times) / baseline:9.2f}x"
            f" {np.mean(found[name]):9.3f}",
            flush=True,
        )


def ours(connection: Connection, encoder: RegisteredEncoder, cohort: list[int] | None, patient: int) -> Answer:
    values = {"patient_id": patient, "cohort": cohort, "encoder": encoder.name}
    return [row[0] for row in connection.execute(queries.nearest, values)]


def ours_by_vector(
    connection: Connection, encoder: RegisteredEncoder, vector: Vectors, cohort: list[int] | None, patient: int
) -> Answer:
    values = {"vector": Vector(vector), "cohort": cohort, "encoder": encoder.name}
    return [row[0] for row in connection.execute(queries.nearest_by_vector, values) if row[0] != patient]


def by_hand(encoder: RegisteredEncoder, matryoshka: int | None) -> tuple[str, Callable[..., Answer]]:
    """The best query for the index that there is."""
    if matryoshka:
        return f"first {matryoshka}, 200 ranked", partial(by_prefix, matryoshka)
    return ("by sign, 500 ranked", by_sign) if encoder.dimension > 4000 else ("HNSW, ef_search 200", by_value)


def by_value(connection: Connection, encoder: RegisteredEncoder, vector: Vectors, *_: Any) -> Answer:
    return run(connection, encoder, vector, "select {columns} from {table} order by {distance} limit 11")


def by_sign(connection: Connection, encoder: RegisteredEncoder, vector: Vectors, *_: Any) -> Answer:
    query = (
        "select {columns} from (select * from {table} order by {sign} limit 500) proposed order by {distance} limit 11"
    )
    return run(connection, encoder, vector, query)


def by_prefix(prefix: int, connection: Connection, encoder: RegisteredEncoder, vector: Vectors, *_: Any) -> Answer:
    query = """select {columns} from (
        select * from {table}
         order by subvector(embedding, 1, PREFIX)::halfvec(PREFIX)
                  <=> subvector(%(vector)b::halfvec, 1, PREFIX)::halfvec(PREFIX)
         limit 200) proposed order by {distance} limit 11"""
    return run(connection, encoder, vector, query.replace("PREFIX", str(prefix)))


def full_scan(connection: Connection, encoder: RegisteredEncoder, vector: Vectors, *_: Any) -> Answer:
    return run(connection, encoder, vector, "select {columns} from {table} order by {distance} + 0 limit 11")


def filtered(
    connection: Connection, encoder: RegisteredEncoder, vector: Vectors, cohort: list[int], patient: int
) -> Answer:
    query = "select {columns} from {table} where patient_id = any (%(cohort)s) order by {distance} + 0 limit 11"
    return [found for found in run(connection, encoder, vector, query, cohort) if found != patient][:10]


def iterative(
    connection: Connection, encoder: RegisteredEncoder, vector: Vectors, cohort: list[int], patient: int
) -> Answer:
    connection.execute("set hnsw.iterative_scan = strict_order")
    query = "select {columns} from {table} where patient_id = any (%(cohort)s) order by {distance} limit 11"
    found = run(connection, encoder, vector, query, cohort)
    connection.execute("reset hnsw.iterative_scan")
    return [other for other in found if other != patient][:10]


def run(
    connection: Connection, encoder: RegisteredEncoder, vector: Vectors, query: str, cohort: list[int] | None = None
) -> Answer:
    """A hand-written query, filled in. The first answer to its own vector is the patient itself."""
    cast = f"halfvec({encoder.dimension})" if encoder.dimension <= 4000 else "halfvec"
    distance = f"(embedding::{cast} <=> %(vector)b::{cast})"
    statement = query.format(
        columns=f"patient_id, 1 - {distance}",
        table=f"ehrdb.patient_embedding_{encoder.encoder_id}",
        distance=distance,
        sign=f"binary_quantize(embedding)::bit({encoder.dimension}) <~> binary_quantize(%(vector)b::halfvec)",
    )
    values = {"vector": HalfVector(vector), "cohort": cohort}
    return [row[0] for row in connection.execute(statement.encode(), values)]


def truth(vectors: Vectors, patient: int, cohort: list[int] | None) -> Answer:
    """The ten nearest by numpy at half precision, as the database keeps them."""
    members = np.arange(1, len(vectors) + 1) if cohort is None else np.array(cohort)
    members = members[members != patient]
    similarity = vectors[members - 1] @ vectors[patient - 1]
    return [int(member) for member in members[np.argsort(-similarity, kind="stable")[:10]]]


def clustered(patients: int, dimension: int, is_fading: bool = False) -> Vectors:
    """Unit vectors around 200 centroids, if asked for with a scale that fades by dimension; as a halfvec holds them."""
    random = np.random.default_rng(5)
    centroids = random.normal(size=(200, dimension)).astype(np.float32)
    noise = random.normal(size=(patients, dimension)).astype(np.float32)
    vectors = centroids[random.integers(0, 200, patients)] + noise
    if is_fading:
        vectors *= np.arange(1, dimension + 1, dtype=np.float32) ** -0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


def build(database: Database, vectors: Vectors, matryoshka: int | None = None) -> RegisteredEncoder:
    """The tables as a refresh leaves them, and the index as it builds it."""
    model = FakeEncoder(vectors.shape[1], matryoshka=(matryoshka,) if matryoshka else ())
    with database.transaction() as connection:
        register_vectors(connection)
        connection.execute(queries.patients, {"patients": len(vectors)})
        encoder = registry.register(connection, model.manifest)
        with connection.cursor() as cursor, cursor.copy(queries.copy) as copy:
            copy.set_types(["int4", "int8", "timestamp", "bytea", "halfvec"])
            for patient, vector in enumerate(vectors, start=1):
                content = hashlib.sha256(str(patient).encode()).digest()
                copy.write_row((encoder.encoder_id, patient, datetime(2020, 1, 1), content, HalfVector(vector)))
        for statement in queries.settle.split(b";"):
            if statement.strip():
                connection.execute(statement, {"encoder_id": encoder.encoder_id})
    started = time.perf_counter()
    ensure_index(database, encoder)
    seconds = time.perf_counter() - started
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
        table, index = connection.execute(queries.sizes, {"encoder_id": encoder.encoder_id}).fetchone() or (0, 0)
    print(f"{len(vectors):,} patients, {vectors.shape[1]:,} dimensions: index built in {seconds:.0f} s")
    print(f"table {table / 2**20:,.0f} MiB, index {index / 2**20:,.0f} MiB", flush=True)
    return encoder


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=1024)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--matryoshka", type=int, help="up to 1,024")
    return parser.parse_args()


if __name__ == "__main__":
    main()
