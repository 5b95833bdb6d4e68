"""What a study's first tables say: who is in it, how many labels there are, and what the records are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from ehrdb.database import Database, require_whole
from ehrdb.prediction.tasks import find_task
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "describe.sql")


@dataclass(frozen=True)
class Description:
    """Rows of three tables.

    patients: for each split and for all: patients, women, men, median_age (years, at the last event), and the fewest,
    the mean and the most events and visits of a patient. labels: for each task and split labels, patients, of both the
    positive ones, women and median_age (at the prediction times). categories: of each of the paper's categories events,
    codes, patients, and how many of the events have numbers or texts.
    """

    patients: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    categories: list[dict[str, Any]]


def describe(database: Database, tasks: Sequence[str] = ()) -> Description:
    """Count patients, labels (of these tasks; without, of all that have any) and codes. Raises NotFound for no task."""
    with database.transaction() as connection:
        require_whole(connection)
        for task in tasks:
            find_task(connection, task)
        with connection.cursor(row_factory=dict_row) as cursor:
            asked = {"tasks": list(tasks) or None}
            statements = (_queries.patients, _queries.labels, _queries.categories)
            return Description(*(cursor.execute(statement, asked).fetchall() for statement in statements))
