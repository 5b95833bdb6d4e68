"""Real outcomes: does an encoder predict them, alone and beside counts, as well as counts and demographics?

    python bench/outcomes.py FOLDER                                        # seven tasks of three data sets
    python bench/outcomes.py FOLDER --set nafld-meds --home KEPT --encoder "mpnet=all-mpnet-base-v2 --chunking lines"

FOLDER holds MEDS data sets, each with labels/TASK.parquet. What a user would type loads them and exports the encoders,
in an embedded database for each set; the answer is that of `ehrdb evaluate TASK --encoder NAME --with counts --baseline
counts --baseline demographics`. Heads are chosen on the tuning split, the held-out split is looked at once. Prints the
seconds of each command and of each model's heads, AUROC for each number of examples per class (at all rows with its
interval), and the paired tests against both heads on counts: of the encoder beside counts, then of the encoder alone,
p values adjusted (Holm) over all tasks of such a question and one k. With --home databases and finished heads stay: one
more encoder costs what is its own.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from joblib import Memory

import ehrdb
from ehrdb.config import Settings
from ehrdb.database import open_database
from ehrdb.evaluation.evaluation import Evaluation, answer
from ehrdb.evaluation.paired import PairedTest, holm
from ehrdb.prediction.sampling import ALL

SETS = {
    "physionet-2012-meds": ["in_hospital_death"],
    "nafld-meds": ["death_5y", "diabetes_5y", "heart_failure_5y", "stroke_5y", "myocardial_infarction_5y"],
    "diabetes-130-meds": ["readmission_30d"],
}
LOADING = {"diabetes-130-meds": ("--visit-column", "encounter_id")}
MINILM = "minilm=all-MiniLM-L6-v2 --chunking lines --format list_graded"
COUNTS = ("counts, LightGBM", "counts, logistic regression")
SEED = 42
ASKED = ("{} with counts", "{}")
"""The models that are tested against counts, for an encoder's name."""
MOST = {"diabetes-130-meds": 1024}
"""Examples per class in place of all rows: with 69,626 of them C takes hours to find beside vectors."""


def main(
    folder: Path,
    data: Annotated[
        list[str] | None, typer.Option("--set", help="Data sets of the folder; default: all three.")
    ] = None,
    encoder: Annotated[list[str] | None, typer.Option(help="NAME=MODEL and options of `ehrdb encoder export`.")] = None,
    k: Annotated[list[int] | None, typer.Option(help="Examples per class.")] = None,
    few: Annotated[
        int | None, typer.Option(help="Train on so many labels of each class, and choose on so many.")
    ] = None,
    held_out: Annotated[int, typer.Option("--test", help="With --few: held-out labels.")] = 400,
    home: Annotated[Path | None, typer.Option(help="Databases and finished heads stay here.")] = None,
) -> None:
    """Evaluate each encoder, alone and beside counts, and the baselines on each task of the sets."""
    models = dict(each.split("=", 1) for each in encoder or [MINILM])
    tests: dict[str, list[tuple[str, PairedTest]]] = defaultdict(list)
    with _kept(home) as homes:
        for name in data or SETS:
            print(f"\n== {name}", flush=True)
            at = homes / name
            with open_database(_settings(at), create=True):
                _load(at, folder / name, models)
                tasks = _label(at, folder / name, (few, held_out) if few else None)
            for model in models:
                found = _answered(at, tasks, model, k or [8, 64, MOST.get(name, ALL)])
                _show(found)
                for first, each in zip(ASKED, found, strict=False):
                    tests[first.format(model)] += _of_family(each, MOST.get(name, ALL))
    for first, own in tests.items():
        _show_tests(first, own)


@contextmanager
def _kept(home: Path | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ehrdb-outcomes-") as name:
        yield home or Path(name)


def _load(home: Path, source: Path, models: dict[str, str]) -> None:
    _once(home, "upgrade")
    _once(home, "load", "meds", str(with_parents(source, home / "source")), *LOADING.get(source.name, ()))
    for name, model in models.items():
        _once(home, "encoder", "export", *shlex.split(model), "--name", name)


def _label(home: Path, source: Path, sample: tuple[int, int] | None) -> list[str]:
    """The set's tasks, labelled; of a sample (see `few_labels`) they have names of their own."""
    tasks = {task: source / "labels" / f"{task}.parquet" for task in SETS[source.name]}
    if sample:
        splits = source / "metadata" / "subject_splits.parquet"
        for task in list(tasks):
            name = f"{task}_{sample[0]}_{sample[1]}"
            tasks[name] = home / f"{name}.parquet"
            few_labels(tasks.pop(task), splits, *sample).drop("split").write_parquet(tasks[name])
    for task, labels in tasks.items():
        _once(home, "load", "labels", str(labels), "--task", task)
    return list(tasks)


def few_labels(labels: Path, splits: Path, k: int, tests: int) -> pl.DataFrame:
    """Of each class k that train and k that choose, and so many held-out ones as they come, drawn with a seed."""
    known = pl.read_parquet(labels).join(pl.read_parquet(splits), on="subject_id")
    known = known.sample(fraction=1, shuffle=True, seed=SEED)
    balanced = known.filter(pl.col("split").is_in(["train", "tuning"]))
    parts = [part.head(k) for part in balanced.partition_by("split", "boolean_value")]
    return pl.concat([*parts, known.filter(pl.col("split") == "held_out").head(tests)])


def _settings(home: Path) -> Settings:
    return Settings(home=home, database_url=None)


def with_parents(source: Path, copy: Path) -> Path:
    """The data set with its codes' LOINC, where a column of that name has it, as MEDS's parent codes."""
    if copy.exists():
        return copy
    (copy / "metadata").mkdir(parents=True)
    (copy / "data").symlink_to((source / "data").resolve())
    for file in (source / "metadata").iterdir():
        (copy / "metadata" / file.name).write_bytes(file.read_bytes())
    codes = pl.read_parquet(source / "metadata" / "codes.parquet")
    if "loinc" in codes.columns:
        parents = pl.when(pl.col("loinc").is_not_null()).then(pl.concat_list(pl.lit("LOINC/") + pl.col("loinc")))
        codes.with_columns(parent_codes=parents).drop("loinc").write_parquet(copy / "metadata" / "codes.parquet")
    return copy


def _once(home: Path, *arguments: str) -> None:
    """Run what this home has not run before."""
    done = home / "done.txt"
    command = shlex.join(arguments)
    if not done.is_file() or command not in done.read_text().splitlines():
        run(home, *arguments)
        with done.open("a") as file:
            file.write(f"{command}\n")


def run(home: Path, *arguments: str) -> str:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "ehrdb", *arguments],
        env=os.environ | {"EHRDB_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(f"{time.perf_counter() - started:8.1f} s  ehrdb {' '.join(arguments)}", flush=True)
    return done.stdout


def _answered(home: Path, tasks: list[str], encoder: str, ks: list[int]) -> list[Evaluation]:
    """What `ehrdb evaluate` answers about each model of ASKED and counts; no head of this home is trained twice."""
    clock = Clock()
    with ehrdb.connect(settings=_settings(home)) as db:
        question = db.question(tasks, encoder, baselines=["counts", "demographics"], with_counts=True)
    clock.tell("vectors and counts")
    memory = Memory(home / "finished", verbose=0)
    asked = [[first.format(encoder), *COUNTS] for first in ASKED]
    parts = [replace(question, targets={name: question.targets[name] for name in names}) for names in asked]
    alone = replace(question, targets={"demographics only": question.targets["demographics only"]})
    found = []
    for part in [*parts, alone]:
        found.append(answer(part, ks, memory=memory, tell=clock.tell))
        clock.tell("paired tests")
    clock.show()
    return found


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def tell(self, what: str, done: int = 1, total: int = 1) -> None:
        """What has been done since the last call."""
        now = time.perf_counter()
        self._seconds[what] += now - self._last
        self._last = now

    def show(self) -> None:
        """A line for each."""
        for what, seconds in self._seconds.items():
            print(f"{seconds:8.1f} s  {what}", flush=True)


def _show(found: list[Evaluation]) -> None:
    """AUROC of each model, the mean of its samples; of all rows with its interval."""
    runs = {model: runs for each in found for model, runs in each.runs.items()}
    for model, own in runs.items():
        scores: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        for each in own:
            scores[each.task][each.k].append(each.metrics.auroc.score)
        whole = {each.task: each.metrics.auroc for each in own if each.k == ALL}
        for task, by_k in scores.items():
            means = " / ".join(f"{statistics.mean(values):.3f}" for values in by_k.values())
            interval = f" ({whole[task].lower:.3f} to {whole[task].upper:.3f})" if task in whole else ""
            print(f"{model:32} {task:26} {means}{interval}", flush=True)


def _show_tests(first: str, tests: list[tuple[str, PairedTest]]) -> None:
    """Of one model against each head on counts, p adjusted over all tasks; and on how many of them it is ahead."""
    adjusted = holm([test for _, test in tests])
    print(f"\n== {first}, against")
    won: dict[tuple[int, str], list[str]] = defaultdict(list)
    for (other, _), test in sorted(zip(tests, adjusted, strict=True), key=lambda pair: (pair[1].k == ALL, pair[1].k)):
        difference = f"{test.delta:+.3f} ({test.lower:+.3f} to {test.upper:+.3f})"
        said = f"p {test.p:.4f}, Holm {test.p_holm:.4f}: {test.outcome}"
        print(f"{_told(test.k):6} {test.task:26} {other:28} {difference}  {said}")
        won[test.k, other] += [test.task] if test.outcome == "win" else []
    for (k, other), tasks in won.items():
        print(f"{_told(k):6} ahead of {other} on {len(tasks)} tasks: {', '.join(tasks)}", flush=True)


def _of_family(found: Evaluation, most: int) -> list[tuple[str, PairedTest]]:
    """Its tests; those of the most examples count among those of all rows."""
    return [(other, replace(test, k=ALL) if test.k == most else test) for other, test in found.tests]


def _told(k: int) -> str:
    return "most" if k == ALL else f"k={k}"


if __name__ == "__main__":
    typer.run(main)
