"""`ehrdb explain TASK PATIENT`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from ehrdb.cli.common import AsOf, At, EncoderName, Json, current_client, out, print_json, require_who
from ehrdb.cli.refresh import progress_bar
from ehrdb.client import Unexplained
from ehrdb.prediction.reasons import MOST_LINES, SHOWN, Effect, Explanation

_GROUPS = 8


def explain(
    task: Annotated[str, typer.Argument(help="Task with a trained head, as in ehr.head")],
    patient_id: Annotated[int | None, typer.Argument(help="Patient; none with --at")] = None,
    as_of: AsOf = None,
    at: At = None,
    encoder: EncoderName = None,
    lines: Annotated[
        int, typer.Option(help="Leave out so many lines one by one; those after them as one.", min=1, max=100_000)
    ] = MOST_LINES,
    json: Json = False,
) -> None:
    """Show which parts of a patient's record move a probability most.

    Lines, kinds of events and visits are left out of the text, which is embedded and scored again. That tells what this
    head makes of this text: it is no cause, and nothing that would follow from treating a patient otherwise. What was
    found is kept by content, and `ehr.risk_reasons` reads it.

    Example: `ehrdb explain guo_los 5`

    Example (each patient as of a moment of their own): `ehrdb explain guo_los --at cases.csv --json`; exit status 1
    where one of them failed, which is said in its place.
    """
    hint = "ehrdb explain guo_los 5 --as-of 2020-01-01, or ehrdb explain guo_los --at cases.csv"
    require_who(patient_id, at, as_of, hint)
    if patient_id is None:
        with current_client() as db, progress_bar("explaining each moment") as report:
            answers = db.explain_risk_at(task, at, encoder, most_lines=lines, progress=report.update)
        _show_all(answers, json)
        raise typer.Exit(any(isinstance(answer, Unexplained) and answer.is_failure for answer in answers))
    with current_client() as db, progress_bar(f"reading patient {patient_id} anew") as report:
        found = db.explain_risk(task, patient_id, as_of, encoder, most_lines=lines, progress=report.update)
    if json:
        print_json(asdict(found))
    else:
        _show(found)


def _show_all(answers: list[Explanation | Unexplained], json: bool) -> None:
    """One after the other; whoever has nothing to explain is told by the reason."""
    if json:
        print_json([asdict(answer) for answer in answers])
        return
    for answer in answers:
        if isinstance(answer, Unexplained):
            out.print(f"patient {answer.patient_id}, as known at {answer.as_of:%Y-%m-%d %H:%M}: {answer.reason}")
        else:
            _show(answer)
        out.print()


def _show(found: Explanation) -> None:
    out.print(
        f"{found.task}, patient {found.patient_id}, as known at {found.as_of:%Y-%m-%d %H:%M}: {found.probability:.4f}"
    )
    out.print(_table("line", found.lines[:SHOWN], found.probability))
    if found.groups:
        out.print(_table("left out together", found.groups[:_GROUPS], found.probability))
    out.print(_check(found), soft_wrap=True)


def _table(title: str, effects: list[Effect], probability: float) -> Table:
    """Probabilities alone: log odds before calibration, of which the JSON tells, look like odds and are none."""
    table = Table(title, "lines", "probability without", "adds", show_edge=False)
    for effect in effects:
        text = effect.text if effect.kind in ("line", "rest") else f"{effect.kind} {effect.text}"
        table.add_row(text, str(effect.lines), f"{probability - effect.probability:.4f}", f"{effect.probability:+.4f}")
    return table


def _check(found: Explanation) -> str:
    return (
        f"Together the strongest lines add {found.together:+.4f}; their single effects add up to {found.added_up:+.4f}."
        " Where the two differ, lines stand in for each other or work together. No cause is shown: only what this head"
        " makes of this text."
    )
