"""Runs the notebooks in docs/ on a database of their own and keeps what they answer: `make notebooks`, two minutes.

    python docs/make_notebooks.py [FOLDER]

FOLDER: where the executed ones go; docs/ itself by default.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_output

from ehrdb.config import Settings
from ehrdb.database import open_database

HERE = Path(__file__).parent
# In this order: the second asks the database that the first fills.
NAMES = ("from-omop-to-a-risk-list", "is-the-encoder-worth-it")
DEMO = """"$(python -c 'import ehrdb.demo; print(ehrdb.demo.__path__[0])')/omop\""""
SECONDS = 600


def run(name: str, home: Path, records: Path | None = None) -> Any:
    """The notebook with its answers, asked of the embedded server under `home`. Raises CellExecutionError.

    records: a folder of OMOP tables to load instead of the demo's.
    """
    notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells if records else ():
        cell.source = cell.source.replace(DEMO, f'"{records}"')
    scripts = str(Path(sys.executable).parent)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("EHRDB_")},
        "EHRDB_HOME": str(home),
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PYTHONWARNINGS": "ignore",
    }
    client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(home)}})
    with client.setup_kernel(env=environment):
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if cell.cell_type == "code":
            cell.outputs = _kept(cell.outputs, str(home))
    return notebook


def _kept(outputs: list[Any], home: str) -> list[Any]:
    """What was printed in one piece; without progress (on stderr), colours, and where this machine keeps things."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    plain = re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", printed).replace(home, "HOME")
    others = [output for output in outputs if output.output_type != "stream"]
    return ([new_output("stream", name="stdout", text=plain)] if plain else []) + others


def main(folder: Path) -> None:
    """Run them all on a fresh database."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), database_url=None)
        with open_database(settings, create=True):
            for name in NAMES:
                nbformat.write(run(name, Path(home)), folder / f"{name}.ipynb")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
