"""`make mutants`: put faults in one at a time and see a test notice each.

The faults stand in mutants.yaml. Each is put into a copy of the tree, where the tests that should notice it run; one
that they let pass is a survivor. Exit status 0: all noticed; 1: survivors; 2: the list, or the tree without a fault, is
not as it should be, or a fault's tests could not run (the others are tried all the same).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field

from tests.conftest import in_memory, started_server

CHECKOUT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.yaml")
PARTS = ("docs", "ehrdb", "migrations", "sql", "tests", "pyproject.toml", "README.md", "docker-compose.yml")
PASSED, FAILED = 0, 1
PATIENCE_SECONDS = 900


class Fault(Exception):
    """The list, or the tree before any fault, is not as it should be."""


class Mutant(BaseModel):
    """One fault: in `file`, the text `from`, found exactly once, becomes `to`; one of `tests` should notice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: str
    file: str
    before: str = Field(alias="from")
    after: str = Field(alias="to")
    tests: tuple[str, ...] = Field(min_length=1)

    def put_into(self, tree: Path) -> None:
        """Write the fault into a copy of the tree."""
        path = tree / self.file
        path.write_text(path.read_text(encoding="utf-8").replace(self.before, self.after), encoding="utf-8")


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """The list; Fault where one does not fit the tree."""
    mutants = [Mutant.model_validate(entry) for entry in yaml.safe_load(path.read_text(encoding="utf-8"))]
    problems = [f"{mutant.fault}: {problem}" for mutant in mutants for problem in _problems(mutant)]
    if problems:
        raise Fault("\n".join(problems))
    return mutants


def _problems(mutant: Mutant) -> Iterable[str]:
    path = CHECKOUT / mutant.file
    found = path.read_text(encoding="utf-8").count(mutant.before) if path.is_file() else 0
    if found != 1:
        yield f"{mutant.file} has {found} times, not once: {mutant.before}"
    if mutant.before == mutant.after:
        yield "nothing would change"
    yield from (f"no test {test}" for test in mutant.tests if not _is_defined(test))


def _is_defined(test: str) -> bool:
    file, _, name = test.partition("[")[0].partition("::")
    path = CHECKOUT / file
    if not name:
        return path.exists()
    return path.is_file() and re.search(rf"^def {re.escape(name)}\(", path.read_text("utf-8"), re.MULTILINE) is not None


def main(
    only: Annotated[str, typer.Option(help="Only faults whose words or file match this regular expression.")] = "",
    jobs: Annotated[int, typer.Option(help="How many at once.")] = os.cpu_count() or 1,
) -> None:
    """Put faults in one at a time and see a test notice each."""
    try:
        mutants = [mutant for mutant in read_mutants() if re.search(only, f"{mutant.fault} {mutant.file}")]
        with tempfile.TemporaryDirectory(prefix="ehrdb-mutants-", dir=in_memory()) as place, started_server() as url:
            os.environ["EHRDB_TEST_DATABASE_URL"] = url  # one server for all: each run makes databases of its own
            verdicts = _try_all(Path(place) / "untouched", mutants, jobs)
    except Fault as fault:
        print(fault, file=sys.stderr)
        raise typer.Exit(2) from None
    survivors, untried = verdicts.count(False), verdicts.count(None)
    print(f"{len(mutants)} faults, {survivors} survivors, {untried} whose tests could not run")
    raise typer.Exit(2 if untried else 1 if survivors else 0)


def _try_all(untouched: Path, mutants: Sequence[Mutant], jobs: int) -> list[bool | None]:
    """Whether the tests notice each of them; None where they could not run."""
    _copy(CHECKOUT, untouched)
    _require_green(untouched, mutants, jobs)
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda numbered: _try(untouched, *numbered), enumerate(mutants)))


def _require_green(tree: Path, mutants: Sequence[Mutant], jobs: int) -> None:
    """The tests must pass without any fault: else they would notice everything."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    status, output = _pytest(tree, tests, "-n", str(jobs), patience=None)
    if status != PASSED:
        raise Fault(f"the tests do not pass without a fault (exit status {status}):\n{output}")


def _try(untouched: Path, number: int, mutant: Mutant) -> bool | None:
    """Whether the tests notice this fault; says so as soon as it is known."""
    tree = untouched.with_name(f"{number:03}")
    _copy(untouched, tree)
    mutant.put_into(tree)
    status, output = _pytest(tree, mutant.tests)
    shutil.rmtree(tree)
    if status not in (PASSED, FAILED) or (status == FAILED and not re.search(r"\b[1-9]\d* failed", output)):
        print(f"NOT RUN   {mutant.file}: {mutant.fault} (exit status {status}):\n{output}", flush=True)
        return None
    print(f"{'noticed ' if status == FAILED else 'SURVIVED'}  {mutant.file}: {mutant.fault}", flush=True)
    return status == FAILED


def _copy(source: Path, tree: Path) -> None:
    tree.mkdir()
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(source / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source / part, tree / part)


def _pytest(
    tree: Path, tests: Sequence[str], *options: str, patience: float | None = PATIENCE_SECONDS
) -> tuple[int, str]:
    """Exit status and output of these tests in that tree; tests that hang have noticed something."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=line", *options, *tests]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        return FAILED, "1 failed to end"
    return ended.returncode, ended.stdout + ended.stderr


if __name__ == "__main__":
    typer.run(main)
