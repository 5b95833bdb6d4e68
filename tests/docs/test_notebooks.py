"""The notebooks in docs/ run as they are, and hold what they answered."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from docs.make_notebooks import HERE, NAMES, run
from ehrdb.config import Settings
from ehrdb.database import open_database


@pytest.mark.slow
def test_they_run_one_after_the_other_on_a_fresh_database(tmp_path: Path) -> None:
    with open_database(Settings(home=tmp_path, database_url=None), create=True):
        answered = {name: run(name, tmp_path) for name in NAMES}
    text = nbformat.writes(answered[NAMES[0]]) + nbformat.writes(answered[NAMES[1]])
    assert "guo_los" in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_was_answered_without_an_error(name: str) -> None:
    cells = [c for c in nbformat.read(HERE / f"{name}.ipynb", as_version=4).cells if c.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
