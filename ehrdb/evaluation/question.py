"""What is evaluated: an encoder, others, and the baselines that it must beat; from files or from the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from hashlib import file_digest
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl

from ehrdb.database import Connection, Database
from ehrdb.embedding import registry
from ehrdb.embedding.load import LoadEncoder
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import ConfigError
from ehrdb.evaluation.baselines import demographic_targets, with_demographics
from ehrdb.evaluation.kept import require_keeping
from ehrdb.prediction import find_task
from ehrdb.prediction.files import match, read_embeddings, read_labels, read_patients
from ehrdb.prediction.given import given_encoders, train_given
from ehrdb.prediction.heads import Trainer, train_head, train_prototypes
from ehrdb.prediction.stored import SOURCE, stored_embeddings, stored_labels, stored_patients
from ehrdb.prediction.stored_counts import PAPER_COUNTING, Counting, combined_targets, count_targets
from ehrdb.prediction.targets import Target, task_of
from ehrdb.prediction.training import embed_labels
from ehrdb.prediction.trees import train_forest, train_trees

HEADS: dict[str, Trainer] = {"forest": train_forest, "prototypes": train_prototypes}
"""Other heads than logistic regression, as the reference has them: on the first encoder's vectors."""


@dataclass(frozen=True)
class Question:
    """Targets of each model by its name, the evaluated one first, and how each model's heads are trained.

    intervals: of tasks that ask when, their ends in days; empty for those that ask whether. kept_in: where the figures
    of an answer stay (ehr.evaluation); None: nowhere.
    """

    targets: dict[str, list[Target]]
    trainers: dict[str, Trainer]
    patients: pl.DataFrame | None
    provenance: dict[str, str]
    intervals: dict[str, list[int]] = field(default_factory=dict)
    kept_in: Database | None = None

    def with_iterations(self, most: int) -> Question:
        """The same, with another bound of the final fit of logistic regressions."""
        longer: Trainer = partial(train_head, max_iter=most)
        trainers = {name: longer if each is train_head else each for name, each in self.trainers.items()}
        return replace(self, trainers=trainers)

    def led_by(self, name: str) -> Question:
        """The same, another model being the evaluated one. Raises ConfigError where it is not among them."""
        if name not in self.targets:
            raise ConfigError(f"no model here is called {name}", hint=f"Models: {'; '.join(self.targets)}.")
        return replace(self, targets={name: self.targets[name]} | self.targets)


def prepare(
    database: Database,
    load: LoadEncoder,
    tasks: Sequence[str],
    encoders: Sequence[str | None],
    baselines: AbstractSet[str],
    *,
    with_counts: bool = False,
    heads: Sequence[str] = (),
    counting: Counting = PAPER_COUNTING,
    keep: bool = False,
    tell: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Question:
    """The same for tasks and encoders by name (None: the serving one), labelled and embedded where that is missing.

    An encoder may be name:format, its model on texts of another format.

    keep: what is answered stays in the database; raises NotAllowed at once for a role that may keep nothing. `tell` is
    called with what is being embedded, how much of it is done, and of how much.
    """
    if keep:
        require_keeping(database)
    with database.transaction() as connection:
        found = [registry.find_reader(connection, name) for name in encoders]
    prompts: dict[str, dict[str, int]] = {encoder.name: {} for encoder in found}
    for encoder, task in product(found, dict.fromkeys(tasks)):
        progress = partial(tell, f"embedding {task} with {encoder.name}")
        prompts[encoder.name][task] = embed_labels(database, encoder, load, task, labels_alone=True, progress=progress)
    with database.transaction() as connection:
        how: dict[str, Any] = {"with_counts": with_counts, "heads": heads, "counting": counting}
        question = from_database(connection, found, prompts, baselines, **how)
    return replace(question, kept_in=database if keep else None)


def from_database(
    connection: Connection,
    encoders: Sequence[RegisteredEncoder],
    prompts: dict[str, dict[str, int]],
    baselines: AbstractSet[str],
    *,
    with_counts: bool = False,
    heads: Sequence[str] = (),
    counting: Counting = PAPER_COUNTING,
) -> Question:
    """The stored labels and vectors of tasks: one model for each encoder and baseline.

    prompts: for each encoder's name, its tasks with the prompt_id that their vectors have. baselines: `counts` (two
    heads on code counts), `demographics` (a head on age, sex and race alone). with_counts: the first encoder once more,
    its vectors beside counts in one head. heads: the first encoder again with other heads (`HEADS`), counts with a
    forest too where both are asked for. counting: how that baseline counts. Raises ConfigError where some tasks ask
    when and others whether.
    """
    tasks = list(prompts[encoders[0].name])
    intervals = _intervals(connection, tasks)
    labels, patients = stored_labels(connection, tasks), stored_patients(connection)
    targets = {
        encoder.name: list(match(labels, SOURCE, stored_embeddings(connection, encoder, prompts[encoder.name])))
        for encoder in encoders
    }
    own = targets[encoders[0].name]
    if with_counts:
        targets[f"{encoders[0].name} with counts"] = combined_targets(connection, own)[0]
    trainers: dict[str, Trainer] = dict.fromkeys(targets, train_head)
    trainers |= _given(connection, targets)
    for head in heads:
        name = f"{encoders[0].name}, {head}"
        targets[name], trainers[name] = own, HEADS[head]
    if "counts" in baselines:
        counts = count_targets(connection, own, counting)
        if counting.demographics:
            counts = with_demographics(counts, patients)
        targets |= {"counts, LightGBM": counts, "counts, logistic regression": counts}
        trainers |= {"counts, LightGBM": train_trees, "counts, logistic regression": train_head}
        if "forest" in heads:
            targets["counts, forest"], trainers["counts, forest"] = counts, train_forest
    if "demographics" in baselines:
        _add_demographics(targets, trainers, patients)
    digests = {f"encoder {encoder.name}": f"digest {encoder.digest}" for encoder in encoders}
    provenance = {**_provenance([]), **digests, "tasks": ", ".join(tasks)}
    return Question(targets, trainers, patients, provenance, intervals)


def _given(connection: Connection, targets: dict[str, list[Target]]) -> dict[str, Trainer]:
    """Models that gave probabilities are taken as they are. Raises ConfigError for a task that one knows nothing of."""
    given = {name: target for name, target in given_encoders(connection).items() if name in targets}
    for name, target in given.items():
        if {each.task for each in targets[name]} != {target}:
            raise ConfigError(f"{name} gave probabilities of {target} alone", hint=f"ehrdb evaluate {target}")
    return dict.fromkeys(given, train_given)


def _intervals(connection: Connection, tasks: Sequence[str]) -> dict[str, list[int]]:
    """Of tasks that ask when. Raises ConfigError where others ask whether."""
    asked = [find_task(connection, task_of(task)) for task in tasks]
    timed = {task.name: [int(end) for end in task.rule["intervals"]] for task in asked if task.kind == "survival"}
    if timed and len(timed) < len(asked):
        raise ConfigError(f"{', '.join(timed)} asks when, the others whether", hint="Evaluate them apart.")
    return timed


def from_files(embeddings: Path, labels: Path, others: Sequence[Path], patients: Path | None) -> Question:
    """Vectors and labels of parquet files; `patients` adds the demographics baseline."""
    targets = _read_models(embeddings, labels, others)
    trainers: dict[str, Trainer] = dict.fromkeys(targets, train_head)
    known = read_patients(patients) if patients else None
    if known is not None:
        _add_demographics(targets, trainers, known)
    return Question(
        targets, trainers, known, _provenance(file for file in (embeddings, labels, *others, patients) if file)
    )


def _add_demographics(targets: dict[str, list[Target]], trainers: dict[str, Trainer], patients: pl.DataFrame) -> None:
    own = next(iter(targets.values()))
    targets["demographics only"], trainers["demographics only"] = demographic_targets(own, patients), train_head


def _read_models(embeddings: Path, labels: Path, others: Sequence[Path]) -> dict[str, list[Target]]:
    """Targets of every embeddings file by its name (its path where names repeat), the evaluated one first."""
    asked = read_labels(labels)
    files = list(dict.fromkeys([embeddings, *others]))
    stems = [file.stem for file in files]
    return {
        file.stem if stems.count(file.stem) == 1 else str(file): list(match(asked, labels, read_embeddings(file)))
        for file in files
    }


def _provenance(files: Iterable[Path]) -> dict[str, str]:
    found = {"written": date.today().isoformat()}
    for file in files:
        with file.open("rb") as content:
            found[file.name] = "sha256 " + file_digest(content, "sha256").hexdigest()
    packages = ("ehrdb", "numpy", "scipy", "scikit-learn")
    return {**found, "versions": ", ".join(f"{package} {version(package)}" for package in packages)}
