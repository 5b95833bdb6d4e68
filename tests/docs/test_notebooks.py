"""The notebooks in docs/ run as they are, and hold what they answered."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from docs.make_notebooks import HERE, NAMES, run
from ehrdb.config import Settings
from ehrdb.database import open_database
from ehrdb.demo import __path__ as demo

PATIENTS = {54, *range(121, 271)}  # the notebooks' own, and half of the others: of each class enough to train and test
THINNED = ("measurement", "drug_exposure", "procedure_occurrence", "observation")


@pytest.fixture
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patients of the demo with their visits and conditions, and every tenth row of the rest: embedded sooner."""
    folder = tmp_path_factory.mktemp("omop")
    for file in (Path(demo[0]) / "omop").iterdir():
        with gzip.open(file, "rt") as whole, gzip.open(folder / file.name, "wt", compresslevel=1) as part:
            part.write(next(whole))
            is_kept = _is_kept(file.name.removesuffix(".csv.gz"))
            part.writelines(line for line in whole if is_kept(line.split(",", 2)))
    return folder


def _is_kept(table: str) -> Callable[[list[str]], bool]:
    """Whether a row, of which the first two fields are given, is of what is loaded."""
    if table == "concept":
        return lambda fields: True
    place = 0 if table in ("person", "death") else 1
    return lambda fields: int(fields[place]) in PATIENTS and (table not in THINNED or fields[0].endswith("0"))


@pytest.mark.slow
def test_they_run_one_after_the_other_on_a_fresh_database(tmp_path: Path, records: Path) -> None:
    with open_database(Settings(home=tmp_path, database_url=None), create=True):
        answered = {name: run(name, tmp_path, records) for name in NAMES}
    assert str(records) in nbformat.writes(answered[NAMES[0]])
    text = nbformat.writes(answered[NAMES[0]]) + nbformat.writes(answered[NAMES[1]])
    assert "guo_los" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_was_answered_without_an_error(name: str) -> None:
    cells = [c for c in nbformat.read(HERE / f"{name}.ipynb", as_version=4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
