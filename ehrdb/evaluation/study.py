"""A study: encoders x tasks x k x replicates from one file, whose finished parts are never done again."""

from __future__ import annotations

from importlib.metadata import Distribution
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from joblib import Memory
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ehrdb.declared import read_declared
from ehrdb.errors import ConfigError
from ehrdb.evaluation.evaluation import Evaluation, Tell, answer
from ehrdb.evaluation.question import Question, from_files
from ehrdb.prediction.heads import MAX_ITER
from ehrdb.prediction.sampling import ALL, SHOTS
from ehrdb.prediction.stored_counts import PAPER_COUNTING, Counting, counting_of
from ehrdb.private import make_private, write_private

PAPER, UK_BIOBANK = Path("paper"), Path("paper-uk-biobank")
"""The studies that ship with ehrdb: the paper's tasks, k, replicates and baselines."""

Shot = Annotated[int, Field(ge=ALL)]


class CountOptions(BaseModel):
    """How the counts baseline counts (`stored_counts.counting_of`): days that end bins, a file of codes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: list[float] = []
    codes: Path | None = None
    demographics: bool = False

    def counting(self) -> Counting:
        """The same for who counts. Raises ConfigError, InputError."""
        return counting_of(self.days, self.codes, demographics=self.demographics)


class Study(BaseModel):
    """What is compared: encoders (each on each of `formats`) and tasks of the database, or files of vectors and labels.

    The first of `encoders` (of `embeddings`), or the model called `first`, is tested against all others. k: examples
    per class, -1 for every row. bootstrap and max_iter as in `evaluation.answer`. Files are relative to the study's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    encoders: list[str] = []
    formats: list[str] = []
    tasks: list[str] = []
    embeddings: list[Path] = []
    labels: Path | None = None
    patients: Path | None = None
    baselines: list[Literal["counts", "demographics"]] = []
    counting: CountOptions | None = None
    with_counts: bool = False
    heads: list[Literal["forest", "prototypes"]] = []
    first: str | None = None
    k: list[Shot] = Field([*SHOTS, ALL], min_length=1)
    replicates: int = Field(5, ge=1)
    bootstrap: Literal["patients", "rows"] = "patients"
    max_iter: int = Field(MAX_ITER, ge=1)

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        in_database, in_files = bool(self.encoders and self.tasks), bool(self.embeddings and self.labels)
        parts_of_database = (
            self.models or self.formats or self.tasks or self.baselines or self.with_counts or self.heads
        )
        parts_of_files = self.embeddings or self.labels or self.patients
        if in_database == in_files or (parts_of_database and parts_of_files):
            raise ValueError("name encoders and tasks (of the database), or embeddings and labels (files)")
        if 0 in self.k:
            raise ValueError("k must be 1 or more, or -1 for every row")
        if self.counting and "counts" not in self.baselines:
            raise ValueError("counting says how the baseline counts: name counts among the baselines")
        return self

    @property
    def models(self) -> list[str]:
        """The encoders, by format where there are formats (`registry.find_reader`)."""
        if not self.formats:
            return self.encoders
        return [f"{encoder}:{text_format}" for encoder, text_format in product(self.encoders, self.formats)]

    def instead(self, encoders: list[str], tasks: list[str]) -> Study:
        """The same with other encoders, or other tasks. Raises ConfigError for a study of files."""
        if (encoders or tasks) and self.labels:
            raise ConfigError("a study of files has its models and tasks from them", hint="Change the file.")
        return self.model_copy(update={"encoders": encoders or self.encoders, "tasks": tasks or self.tasks})


def read_study(file: Path) -> Study:
    """The study in a YAML file, or one that ships (`PAPER`, `UK_BIOBANK`). Raises InputError naming file and place."""
    path = Path(str(files("ehrdb.evaluation") / f"{file}.yaml")) if file in (PAPER, UK_BIOBANK) else file
    study = read_declared(path, lambda content: Study, f"See docs/evaluation.md, or take: ehrdb study {PAPER}")
    beside, counting = path.parent, study.counting
    if counting and counting.codes:
        counting = counting.model_copy(update={"codes": beside / counting.codes})
    return study.model_copy(
        update={
            "embeddings": [beside / file for file in study.embeddings],
            "labels": study.labels and beside / study.labels,
            "patients": study.patients and beside / study.patients,
            "counting": counting,
        }
    )


def compared(study: Study) -> dict[str, Any]:
    """What a study of the database compares its encoders with, as `Client.question` takes it."""
    return {
        "compare": study.models[1:],
        "baselines": study.baselines,
        "with_counts": study.with_counts,
        "heads": study.heads,
        "counting": study.counting.counting() if study.counting else PAPER_COUNTING,
    }


def of_files(study: Study) -> Question:
    """What a study of files asks."""
    assert study.labels is not None
    first, *others = study.embeddings
    return from_files(first, study.labels, others, study.patients)


def run_study(
    study: Study,
    question: Question,
    folder: Path,
    *,
    workers: int = 1,
    tell: Tell = lambda model, done, total: None,
) -> Evaluation:
    """Answer the study's question and write its tables and its report into the folder.

    scores.csv, means.csv, table.csv, paired_tests.csv, report.html; for who runs this alone. What is finished of a
    model, task and k stays in `finished`, by the vectors, the labels and how it was trained: a run that was killed goes
    on from there, and one more encoder costs what is its own. Needs the extra `report`.
    """
    finished = folder / "finished"
    for each in (folder, finished):
        each.mkdir(mode=0o700, exist_ok=True)
    question = question.led_by(study.first) if study.first else question
    memory = Memory(finished / _versions(), verbose=0)
    how: dict[str, Any] = {"replicates": study.replicates, "draw": study.bootstrap, "max_iter": study.max_iter}
    found = answer(question, study.k, workers=workers, memory=memory, tell=tell, **how)
    make_private(finished)
    write_private(folder / "scores.csv", found.scores().write_csv)
    write_private(folder / "means.csv", found.means().write_csv)
    write_private(folder / "table.csv", found.table().write_csv)
    if found.tests:
        write_private(folder / "paired_tests.csv", found.paired_tests().write_csv)
    page = found.report(study.title)
    write_private(folder / "report.html", lambda file: file.write_text(page, encoding="utf-8"))
    return found


def _versions() -> str:
    """What a head's numbers depend on beside its rows: other versions find other ones."""
    packages = ("ehrdb", "lightgbm", "numpy", "scikit-learn", "scipy")
    return " ".join(f"{found.name} {found.version}" for name in packages for found in Distribution.discover(name=name))
