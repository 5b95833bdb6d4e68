"""Scoring a cohort: ehr.predict_cohort against fetching the vectors and scoring them in Python.

    python bench/prediction.py [--patients 100000 --dimension 1024 --heads 15 --rounds 5]

Every way gives the probability of every head for every patient. The ways in Python fetch the vectors in binary form,
by psycopg or by COPY; numpy multiplies once, scikit-learn's pipelines (scaling, regression) are called once a head. The
ways in SQL write a table. All take turns; medians count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector import Vector
from search import build, clustered
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from ehrdb.config import Settings
from ehrdb.database import Connection, open_database, register_vectors
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.queries import Queries
from ehrdb.schema import upgrade

queries = Queries(Path(__file__).parent, "prediction.sql")
Array = npt.NDArray[np.float32]


def main() -> None:
    """Build, then compare; on a server of the benchmark's own."""
    options = arguments()
    with (
        tempfile.TemporaryDirectory(prefix="ehrdb-bench-") as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as database,
    ):
        upgrade(database)
        encoder = build(database, clustered(options.patients, options.dimension))
        heads = trained(options.heads, options.dimension)
        with psycopg.connect(database.url, autocommit=True) as connection:
            register_vectors(connection)
            tasks = store(connection, encoder, heads)
            compare(connection, encoder, heads, tasks, options.rounds)


def compare(
    connection: Connection, encoder: RegisteredEncoder, heads: list[Pipeline], tasks: list[str], rounds: int
) -> None:
    """Seconds of every way, and how far its answers are from scikit-learn's."""
    ways: dict[str, Callable[[], Array | None]] = {
        "fetch, one numpy product": lambda: by_numpy(fetched(connection, encoder), heads),
        "COPY binary, one numpy product": lambda: by_numpy(copied(connection, encoder), heads),
        "fetch, a scikit-learn call a head": lambda: by_sklearn(fetched(connection, encoder), heads),
        "ehr.predict_cohort, a call a head": lambda: written(connection, queries.each, tasks),
        "ehr.predict_cohort, one call": lambda: written(connection, queries.all, tasks),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - started)
    expected = by_sklearn(fetched(connection, encoder), heads)
    rows = connection.execute(queries.scored, {"tasks": tasks}).fetchall()
    difference = np.abs(np.array([row[0] for row in rows], dtype=np.float32) - expected).max()
    slowest = median(taken["fetch, a scikit-learn call a head"])
    baseline = median(taken["fetch, one numpy product"])
    print(f"\n{'':36}       s   numpy   scikit-learn")
    for name, times in taken.items():
        print(f"{name:36} {median(times):7.2f} {baseline / median(times):6.1f}x {slowest / median(times):12.1f}x")
    print(f"largest difference from scikit-learn: {difference:.1e}")


def fetched(connection: Connection, encoder: RegisteredEncoder) -> Array:
    rows = connection.execute(queries.fetch, {"encoder_id": encoder.encoder_id}, binary=True).fetchall()
    return np.stack([row[0].to_numpy() for row in rows]).astype(np.float32)


def copied(connection: Connection, encoder: RegisteredEncoder) -> Array:
    """COPY's binary rows have one width here: a field count, a length, two sizes, the big-endian half floats."""
    with connection.cursor().copy(queries.copy_out, {"encoder_id": encoder.encoder_id}) as copy:
        content = b"".join(copy)
    width = 2 + 4 + 4 + 2 * encoder.dimension
    rows = np.frombuffer(content[19:-2], dtype=np.uint8).reshape(-1, width)
    return np.ascontiguousarray(rows[:, 10:]).view(">f2").astype(np.float32)


def by_numpy(vectors: Array, heads: list[Pipeline]) -> Array:
    folded = [folded_head(head) for head in heads]
    weights = np.stack([weights for weights, _ in folded])
    intercepts = np.array([intercept for _, intercept in folded], dtype=np.float32)
    scores: Array = 1 / (1 + np.exp(-(vectors @ weights.T + intercepts)))
    return scores


def by_sklearn(vectors: Array, heads: list[Pipeline]) -> Array:
    return np.stack([head.predict_proba(vectors)[:, 1] for head in heads], axis=1)


def folded_head(head: Pipeline) -> tuple[Array, float]:
    """Scaling and regression as one inner product."""
    scaler, regression = head[0], head[-1]
    return (regression.coef_[0] / scaler.scale_).astype(np.float32), float(regression.intercept_[0])


def written(connection: Connection, statement: bytes, tasks: list[str]) -> None:
    connection.execute("drop table if exists scored")
    connection.execute("create temp table scored (task text, patient_id bigint, probability float8)")
    connection.execute(statement, {"tasks": tasks})


def trained(count: int, dimension: int) -> list[Pipeline]:
    """Heads on random rows: how well they do does not matter here."""
    random = np.random.default_rng(1)
    rows = random.normal(size=(200, dimension)).astype(np.float32)
    return [
        make_pipeline(MaxAbsScaler(), LogisticRegression()).fit(rows, random.integers(0, 2, 200)) for _ in range(count)
    ]


def store(connection: Connection, encoder: RegisteredEncoder, heads: list[Pipeline]) -> list[str]:
    tasks = [f"task_{number:02}" for number in range(len(heads))]
    for task, head in zip(tasks, heads, strict=True):
        weights, intercept = folded_head(head)
        values = {
            "task": task,
            "encoder_id": encoder.encoder_id,
            "prompt_id": encoder.prompt_id,
            "weights": Vector(weights),
            "intercept": intercept,
        }
        connection.execute(queries.task, values)
        connection.execute(queries.head, values)
    return tasks


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=1024)
    parser.add_argument("--heads", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
