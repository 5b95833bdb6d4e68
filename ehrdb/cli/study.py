"""`ehrdb study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ehrdb.cli.common import Json, err, print_json, require_folder
from ehrdb.cli.evaluate import AsTable, Workers, bars, from_database, show

File = Annotated[
    Path, typer.Argument(help="A YAML file (docs/evaluation.md), or one that ships: `paper`, `paper-uk-biobank`.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for tables and report; what is finished stays in it.")]
Encoders = Annotated[
    list[str] | None, typer.Option("--encoder", help="An encoder instead of those of the file; repeat it.")
]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="A task instead of those of the file; repeat it.")]


def study(
    file: File,
    to: Out,
    encoders: Encoders = None,
    tasks: Tasks = None,
    table: AsTable = False,
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Evaluate encoders x tasks x k x samples from one file; run it again, and it goes on where it was.

    Writes scores.csv, means.csv, table.csv, paired_tests.csv and report.html into the folder.

    Example: `ehrdb study paper --encoder all-MiniLM-L6-v2 --task guo_los --task guo_readmission --out study`
    """
    from ehrdb.evaluation.evaluation import warnings
    from ehrdb.evaluation.study import compared, of_files, read_study, run_study

    require_folder(to / "report.html" if to.is_dir() else to)
    asked = read_study(file).instead(encoders or [], tasks or [])
    if asked.labels:
        question = of_files(asked)
    else:
        with from_database(asked.tasks, asked.models[0], **compared(asked)) as question:
            pass  # all that is asked of the database
    for warning in warnings(question):
        err.print(warning)
    with bars() as tell:
        told = lambda name, *done: tell(f"heads on {name}", *done)  # noqa: E731
        found = run_study(asked, question, to, workers=workers, tell=told)
    if json:
        print_json(found.table().to_dicts() if table else found.as_json())
    else:
        show(found, table=table)
