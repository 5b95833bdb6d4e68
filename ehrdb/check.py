"""What a load would do and find, before the first one: a load that is undone, and a look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ehrdb.database import Connection, Database
from ehrdb.events import LoadResult
from ehrdb.events.merge import Run, rehearsal
from ehrdb.prediction.tasks import benchmark_tasks, label_in
from ehrdb.queries import Queries

_queries = Queries("ehrdb", "check.sql")

Load = Callable[[Database, Run], LoadResult]
"""A load of a source that is done by what it is given: `load_omop(..., run=run)`, say."""


@dataclass(frozen=True)
class UnitUse:
    """Numbers of a code in a unit. `standing`: fine, converts, does not convert, unknown to UCUM, or none."""

    code: str
    description: str | None
    unit: str | None
    numbers: int
    standing: str


@dataclass(frozen=True)
class TaskCheck:
    """How many labels a task would have among the source's patients. `codes`: how many of the codes that its rule
    names, or that stand below them, occur in the source; None for a rule without codes.
    """

    task: str
    labels: int
    positives: int
    codes: int | None


@dataclass
class Check:
    """What a load of the source would report, units by code (those of several units first), and tasks."""

    load: LoadResult
    units: list[UnitUse] = field(default_factory=list)
    tasks: list[TaskCheck] = field(default_factory=list)


def check(database: Database, load: Load) -> Check:
    """Read a source exactly as a load would, report, and leave the database as it was.

    All is done in one transaction that is rolled back, so it needs the rights and the room of a load, and another
    load or check of the same source is refused until it ends. Raises what the load would raise.
    """
    units: list[UnitUse] = []
    tasks: list[TaskCheck] = []

    def look(connection: Connection) -> None:
        connection.execute(_queries.analyze)
        units.extend(UnitUse(*row) for row in connection.execute(_queries.units))
        names = [*benchmark_tasks(), *(name for (name,) in connection.execute(_queries.site_tasks))]
        label_in(connection, names)
        tasks.extend(TaskCheck(*row) for row in connection.execute(_queries.tasks, {"tasks": names}))

    return Check(load(database, rehearsal(look)), units, tasks)
