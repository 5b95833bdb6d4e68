"""Evaluations that the database keeps (ehr.evaluation), for the page and for whoever asks in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from ehrdb.database import Database
from ehrdb.errors import NotAllowed
from ehrdb.queries import Queries

if TYPE_CHECKING:
    from ehrdb.evaluation.evaluation import Evaluation

_queries = Queries("ehrdb.evaluation", "kept.sql")


def require_keeping(database: Database) -> None:
    """Raises NotAllowed for a role that may keep nothing: said before the work, not after it."""
    with database.transaction() as connection:
        may_keep = connection.execute(_queries.may_keep).fetchone() == (True,)
    if not may_keep:
        raise NotAllowed("this role may not keep evaluations", hint="Ask as a member of the owner, or keep nothing.")


def keep(database: Database, found: Evaluation) -> None:
    """Store what an evaluation found beside those of before."""
    evaluated_at = datetime.now(UTC)
    with database.transaction() as connection:
        connection.cursor().executemany(_queries.keep, [row | {"evaluated_at": evaluated_at} for row in rows_of(found)])


def rows_of(found: Evaluation) -> Iterator[dict[str, Any]]:
    """A row for each model, task and k: means over replicates, and the paired test; what does not exist is None."""
    scores = found.scores().drop("best_c")
    means = scores.group_by("model", "task", "k", maintain_order=True).agg(
        pl.exclude("replicate").mean().fill_nan(None), pl.len().alias("replicates")
    )
    tests = {(name, test.task, test.k): test for name, test in found.tests}
    labels = {target.task: len(target.test.labels) for target in found.targets}
    for row in means.iter_rows(named=True):
        test = tests.get((row["model"], row["task"], row["k"]))
        yield row | {
            "is_evaluated": row["model"] == next(iter(found.runs)),
            "test_labels": labels[row["task"]],
            "difference": test and test.delta,
            "difference_lower": test and test.lower,
            "difference_upper": test and test.upper,
            "p_holm": test and test.p_holm,
            "verdict": test and test.outcome,
        }
