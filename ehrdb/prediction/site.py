"""A site's own tasks: a YAML file, checked, that SQL turns into labels (`ehrdb.labels_outcome_in_window`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ehrdb.database import Connection
from ehrdb.declared import read_declared
from ehrdb.errors import ConfigError
from ehrdb.prediction import aces, cohort_task
from ehrdb.prediction.cohort_task import CohortDeclaration, CohortId
from ehrdb.prediction.tasks import Declares, Task, benchmark_tasks, put_task
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "tasks.sql")
SHAPE, SURVIVAL = "outcome_in_window", "survival"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Value(_Part):
    """Which values an event must have; every bound that is given holds. Units are compared, never converted."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    unit: Text | None = None
    texts: list[Text] | None = Field(default=None, min_length=1)


class Selector(_Part):
    """Events: one of the moments that every source has, entries of an OMOP cohort, or codes (`ICD10CM/E11*`: all so).

    except: codes that a * does not stand for. descendants: of codes, or `mapped`: what a map (`ehrdb load map`) says
    to be one of them. spelling: any finds codes whatever a source begins them with, and without dots.
    """

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True, serialize_by_alias=True)
    event: Literal["admission", "discharge", "icu", "death"] | None = None
    cohort: CohortId | None = None
    codes: list[Text] | None = Field(default=None, min_length=1)
    except_: list[Text] | None = Field(default=None, min_length=1, alias="except")
    descendants: bool | Literal["mapped"] = True
    spelling: Literal["any"] | None = None
    value: Value | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Selector:
        if [self.event, self.cohort, self.codes].count(None) != 2:
            raise ValueError("name either an event, a cohort or codes")
        if not self.codes and (self.value or self.except_ or self.spelling):
            raise ValueError("value, except and spelling go with codes")
        return self


class PredictionTime(Selector):
    """When to predict: at each such event, moved by hours, then at the end of that day if so asked."""

    offset_hours: float = 0
    end_of_day: bool = False
    first: bool = False


class Outcome(Selector):
    """What to predict: whether it happens after `from_hours`, within `days` or until discharge."""

    days: int | None = Field(default=None, gt=0)
    until: Literal["discharge"] | None = None
    from_hours: float = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_end(self) -> Outcome:
        if (self.days is None) == (self.until is None):
            raise ValueError("name either days or until: discharge")
        return self


class Exclusion(Selector):
    """Who is left out: those with such an event up to the prediction time, in the last `days` if given."""

    days: int | None = Field(default=None, gt=0)


class _Asked(_Part, Declares):
    """What a site's tasks have in common, whether they ask whether or when."""

    shape: ClassVar[str]
    task: Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,62}$")]
    description: Text
    group: Text = "site"
    question: Text | None = None
    prediction_time: PredictionTime
    outcome: Selector
    exclude: list[Exclusion] = []
    min_age: int | None = Field(default=None, ge=0)

    def codes(self) -> list[str]:
        """Every code that is named as the records have it; those in any spelling are looked for by SQL alone."""
        named = [self.prediction_time, self.outcome, *self.exclude]
        return [code for selector in named if not selector.spelling for code in selector.codes or []]

    def cohorts(self) -> list[int]:
        """The cohorts whose entries are asked about."""
        return [one.cohort for one in (self.prediction_time, self.outcome) if one.cohort is not None]

    def as_task(self) -> Task:
        """The task that SQL labels."""
        rule = self.model_dump(exclude={"task", "group", "description"}, exclude_none=True)
        return Task(self.task, self.group, self.description, {"shape": self.shape, **rule})


class Declaration(_Asked):
    """One task of a site, as its YAML file says it (docs/tasks.md)."""

    shape = SHAPE
    outcome: Outcome
    sex: Literal["female", "male"] | None = None
    full_demographics: bool = False
    observed_around: bool = False
    censoring: Literal["follow_up", "negative"] = "follow_up"


class SurvivalDeclaration(_Asked):
    """One task of a site that asks when: the hazard of the outcome in each interval after the prediction time.

    `intervals`: their ends in days, ascending.
    """

    shape = SURVIVAL
    kind: Literal["survival"]
    intervals: list[Annotated[int, Field(gt=0)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> SurvivalDeclaration:
        if sorted(set(self.intervals)) != self.intervals:
            raise ValueError("intervals: their ends ascend")
        return self


def declared(task: Task) -> dict[str, Any]:
    """A task as its file would say it; of a site's task, what `ehrdb task add` takes."""
    if task.rule["shape"] == aces.SHAPE:
        return {"description": task.description, **task.rule["config"]}
    fields = {"task": task.name, "group": task.group, "description": task.description, **task.rule}
    if task.rule["shape"] == cohort_task.SHAPE:
        fields.pop("shape")
        return {"kind": "cohort", **CohortDeclaration.model_validate(fields).model_dump(exclude_defaults=True)}
    if task.rule["shape"] == SURVIVAL:
        fields.pop("shape")
        return {"kind": "survival", **SurvivalDeclaration.model_validate(fields).model_dump(exclude_defaults=True)}
    if fields.pop("shape") != SHAPE:
        return {**fields, "shape": task.rule["shape"]}
    return Declaration.model_validate(fields).model_dump(exclude_defaults=True)


_Any = Declaration | CohortDeclaration | SurvivalDeclaration
_KINDS: dict[str, type[_Any]] = {"cohort": CohortDeclaration, "survival": SurvivalDeclaration}


def read_task(file: Path) -> _Any:
    """A task's declaration. Raises InputError with the place and the fault of everything that is wrong."""
    return read_declared(file, _kind, "See docs/tasks.md, or `ehrdb task add --help`.")


def _kind(content: Any) -> type[_Any]:
    named = str(content.get("kind")) if isinstance(content, dict) else ""
    return _KINDS.get(named, Declaration)


def add_task(connection: Connection, declaration: Declares, *, replace: bool = False) -> list[str]:
    """Remember a site's task; returns those of its codes that the records here do not have.

    Raises ConfigError for a cohort without members, a column that no event has, and for the name of another task,
    unless `replace`: its labels and heads go then, for they were of another question.
    """
    if declaration.task in benchmark_tasks():
        raise ConfigError(f"{declaration.task} is a task of the benchmark", hint="Choose another name.")
    if replace:
        connection.execute(_queries.drop_task, {"task": declaration.task})
    elif connection.execute(_queries.find_task, {"task": declaration.task}).fetchone():
        raise ConfigError(
            f"there is a task {declaration.task} already",
            hint="Choose another name, or --replace it: its labels and heads are removed then.",
        )
    put_task(connection, declaration.as_task())
    for cohort, table in connection.execute(_queries.empty_cohorts, {"cohorts": declaration.cohorts()}):
        raise ConfigError(
            f"task {declaration.task}: {table} has no row of cohort {cohort}",
            hint="Generate the cohort there first, or name another table: EHRDB_COHORT_TABLE=schema.table",
        )
    for (column,) in connection.execute(_queries.missing_columns, {"columns": declaration.columns()}):
        raise ConfigError(
            f"task {declaration.task}: no event here has a column {column}",
            hint="Columns that MEDS does not name are kept where a data set has them: ehrdb.event, column extra.",
        )
    asked = {"codes": declaration.codes(), "patterns": declaration.patterns()}
    return [code for (code,) in connection.execute(_queries.missing_codes, asked)]


def remove_task(connection: Connection, name: str) -> None:
    """Forget a task with its labels and heads (one of the benchmark then has its own rule again).

    Raises ConfigError where there is nothing of it.
    """
    if not connection.execute(_queries.drop_task, {"task": name}).rowcount:
        raise ConfigError(f"there is nothing of a task {name} here", hint="See `ehrdb task list`.")
