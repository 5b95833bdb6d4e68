"""The whole story on 316 synthetic patients: load, export, refresh, train."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.embedding import Progress, RefreshResult, refresh, registry
from ehrdb.embedding.files import encoder_directory
from ehrdb.embedding.load import load_encoder
from ehrdb.encoder.source import DEFAULT_MODEL
from ehrdb.errors import DatabaseError
from ehrdb.events import LoadResult, load_omop
from ehrdb.queries import Queries
from ehrdb.schema import upgrade

if TYPE_CHECKING:
    from ehrdb.prediction.training import TrainResult

SOURCE = "demo"
TASK = "guo_los"
FORMAT = "list_graded"
_queries = Queries("ehrdb.demo")


@dataclass(frozen=True)
class Statement:
    """A SQL statement for the reader, and what it answers."""

    title: str
    sql: str


def prepare(database: Database) -> LoadResult:
    """Upgrade the schema and load the demo's patients. Raises DatabaseError where other patients live."""
    upgrade(database)
    with database.transaction() as connection:
        row = connection.execute(_queries.others, {"source": SOURCE}).fetchone()
    if row and row[0]:
        raise DatabaseError(
            f"this database holds {row[0]} patients of other sources; the demo keeps away from them",
            hint="Unset EHRDB_DATABASE_URL, or set EHRDB_HOME to an empty folder.",
        )
    with as_file(files("ehrdb.demo") / "omop") as folder:
        return load_omop(database, folder, source=SOURCE)


def ensure_encoder(database: Database, settings: Settings) -> registry.RegisteredEncoder:
    """The demo's encoder: the serving one, or all-MiniLM-L6-v2 on lines of the graded list, made now."""
    with database.transaction() as connection:
        known = registry.list_encoders(connection)
    if known:
        return next(encoder for encoder in known if encoder.is_serving)
    # Imported where needed: onnx and scikit-learn take seconds that other commands need not wait for.
    from ehrdb.encoder.convert import convert

    manifest = convert(encoder_directory(settings, DEFAULT_MODEL), chunking="lines")
    with database.transaction() as connection:
        return registry.register(connection, manifest, FORMAT)


def embed(
    database: Database, settings: Settings, encoder: registry.RegisteredEncoder, progress: Progress
) -> RefreshResult:
    """Embed every patient's current timeline."""
    return refresh(database, encoder, lambda: load_encoder(settings, encoder), progress=progress)


def learn(
    database: Database, settings: Settings, encoder: registry.RegisteredEncoder, progress: Progress
) -> TrainResult:
    """Train the demo's task on embeddings as of each prediction time."""
    from ehrdb.prediction.training import train

    return train(database, encoder, partial(load_encoder, settings), TASK, progress=progress)[0]


def example_patient(database: Database) -> int:
    """A patient worth showing: with an inpatient stay and a record of moderate length."""
    with database.transaction() as connection:
        row = connection.execute(_queries.example_patient).fetchone()
    assert row is not None
    return int(row[0])


def statements(patient_id: int, neighbour: int) -> list[Statement]:
    """Three statements that a reader can paste into `ehrdb psql`."""
    return [
        Statement(
            "Who is most like this patient?",
            f"""select rank, patient_id, round(similarity::numeric, 3) as similarity, known_until
  from ehr.nearest_patients({patient_id:d}, 5);""",  # noqa: S608
        ),
        Statement(
            "What do the two share, rarest first?",
            f"""select description, value_a, value_b, round(weight::numeric, 2) as weight
  from ehr.explain_similarity({patient_id:d}, {neighbour:d}) where relation = 'shared' limit 8;""",  # noqa: S608
        ),
        Statement(
            "Whose next stay is likely to last a week or more?",
            f"""select patient_id, round(probability::numeric, 3) as probability, known_until
  from ehr.predict_cohort('{TASK}') order by probability desc limit 10;""",  # noqa: S608
        ),
    ]


def answer(database: Database, statement: Statement) -> tuple[list[str], list[tuple[object, ...]]]:
    """Column names and rows of a statement."""
    with database.transaction() as connection:
        cursor = connection.execute(statement.sql.encode())
        return [column.name for column in cursor.description or ()], cursor.fetchall()
