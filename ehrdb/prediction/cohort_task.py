"""A task between cohorts of the OMOP CDM, with the settings of OHDSI's PatientLevelPrediction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from ehrdb.errors import ConfigError
from ehrdb.prediction.tasks import Declares, Task

SHAPE = "cohort"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
CohortId = Annotated[int, Field(ge=0, lt=2**31)]
Anchor = Literal["cohort start", "cohort end"]


class CohortDeclaration(BaseModel, Declares):
    """Who of a target cohort begins an outcome cohort within the time at risk after the index day.

    Days count from the index day (the row's cohort_start_date), or from its cohort_end_date where an anchor says so.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    task: Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,62}$")]
    kind: Literal["cohort"] = "cohort"
    description: Text
    group: Text = "site"
    question: Text | None = None
    target: CohortId
    outcome: CohortId
    exclude: list[CohortId] = []
    risk_window_start: int = Field(default=1, ge=1)
    start_anchor: Anchor = "cohort start"
    risk_window_end: int = 365
    end_anchor: Anchor = "cohort start"
    restrict_tar_to_cohort_end: bool = False
    first_exposure_only: bool = False
    washout_period: int = Field(default=0, ge=0)
    remove_subjects_with_prior_outcome: bool = True
    prior_outcome_lookback: int = Field(default=99999, ge=0)
    require_time_at_risk: bool = True
    min_time_at_risk: int | None = Field(default=None, ge=0)
    include_all_outcomes: bool = True

    @model_validator(mode="after")
    def _time_at_risk(self) -> CohortDeclaration:
        if self.start_anchor == self.end_anchor and self.risk_window_end < self.risk_window_start:
            raise ValueError("the time at risk ends before it starts")
        if self.require_time_at_risk and self.min_time_at_risk is None and self.start_anchor != self.end_anchor:
            raise ValueError("min_time_at_risk: say it, as the time at risk is not equally long for all")
        return self

    def as_task(self) -> Task:
        """The task that SQL labels. Unless said otherwise, negatives are at risk for the whole time."""
        rule = self.model_dump(exclude={"task", "group", "description", "kind"}, exclude_none=True)
        rule.setdefault("min_time_at_risk", max(0, self.risk_window_end - self.risk_window_start))
        return Task(self.task, self.group, self.description, {"shape": SHAPE, **rule})

    def cohorts(self) -> list[int]:
        """Target and outcome: without members there is no task."""
        return [self.target, self.outcome]


def between_cohorts(target: int, outcome: int, task: str) -> CohortDeclaration:
    """Whether who is in the target cohort begins the outcome cohort within a year, with the usual settings.

    Raises ConfigError for a name that no task may have.
    """
    description = f"In OMOP cohort {outcome} within a year of beginning cohort {target}?"
    try:
        return CohortDeclaration(task=task, description=description, target=target, outcome=outcome)
    except ValidationError:
        raise ConfigError(f"{task} is no name of a task", hint="Small letters, digits and _: --task stroke.") from None
