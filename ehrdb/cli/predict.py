"""`ehrdb predict TASK PATIENT | --at | --materialize`, `ehrdb risk TASK PATIENT`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from ehrdb.cli.common import (
    AsOf,
    At,
    EncoderName,
    Json,
    current_client,
    err,
    out,
    print_json,
    settings,
    show_rows,
)
from ehrdb.client import Client
from ehrdb.database import require_whole
from ehrdb.errors import ConfigError, NotFound
from ehrdb.queries import Queries

_queries = Queries("ehrdb.cli")
_SHOWN = ("as_of", "probability", "events", "last_event", "reason")
_NOT_EMBEDDED = "not embedded as of then"


def predict(
    task: Annotated[str | None, typer.Argument(help="Task with a trained head, as in ehr.head")] = None,
    patient_id: Annotated[int | None, typer.Argument(help="Patient")] = None,
    as_of: AsOf = None,
    at: At = None,
    encoder: EncoderName = None,
    materialize: Annotated[
        bool, typer.Option("--materialize", help="Keep everybody's probabilities in ehr.prediction; all tasks, or one.")
    ] = False,
    json: Json = False,
) -> None:
    """Show how probable a task's outcome is for a patient, for many, or keep everybody's probabilities for dashboards.

    Example: `ehrdb predict guo_readmission 1`

    Example (each patient as of a moment of their own, embedded by `ehrdb refresh --at`): `ehrdb predict guo_los --at 7`

    Example (crontab, after the nightly refresh): `30 3 * * * ehrdb refresh --once && ehrdb predict --materialize`
    """
    encoder = encoder or settings().encoder
    if materialize:
        if patient_id is not None or as_of:
            raise ConfigError("--materialize takes everybody as of now", hint="Leave out the patient and --as-of.")
        _materialize(task, encoder, json)
    elif at is not None:
        if task is None or patient_id is not None or as_of:
            raise ConfigError("--at takes a task, and says who and as of when", hint="ehrdb predict guo_los --at 7")
        with current_client() as db:
            show_rows(db.predict(task, encoder=encoder, at=at), json)
    elif task is None or patient_id is None:
        raise ConfigError("name a task and a patient, or --materialize", hint="For example: ehrdb predict guo_los 1")
    else:
        with current_client() as db:
            found = db.risk(task, patient_id, as_of, encoder)
        if json:
            print_json({"task": task, "patient_id": patient_id, **asdict(found)})
        else:
            out.print(f"{task}, patient {patient_id}: {found}")


def risk(
    task: Annotated[str, typer.Argument(help="Task with a trained head, as in ehr.head")],
    patient_id: Annotated[int, typer.Argument(help="Patient")],
    moment: Annotated[
        list[datetime] | None,
        typer.Option("--moment", help="At this moment (inclusive; again for others). Default: visits."),
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Embed the record as of these moments first, where that is missing.")
    ] = False,
    encoder: EncoderName = None,
    json: Json = False,
) -> None:
    """Show how a patient's risk developed: after every visit, or at moments, from what was known then.

    Example: `ehrdb risk guo_los 54 --embed`
    """
    encoder = encoder or settings().encoder
    with current_client() as db:
        rows = db.risk_history(task, patient_id, moment, encoder)
        missing = [(patient_id, row["as_of"]) for row in rows if row["reason"] == _NOT_EMBEDDED]
        if missing and embed:
            db.refresh(encoder=encoder, at=missing)
            rows = db.risk_history(task, patient_id, moment, encoder)
        basis = "" if json else _basis(db, task, encoder)
    if json:
        print_json(rows)
    else:
        show_rows([{name: _shown(row[name]) for name in _SHOWN} for row in rows], json)
        out.print(basis, soft_wrap=True)
    if missing and not embed:
        err.print(f"{len(missing)} moments are not embedded: ehrdb risk {task} {patient_id} --embed")


def _shown(value: Any) -> Any:
    """A moment to the minute: a terminal is narrow."""
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value


def _basis(db: Client, task: str, encoder: str | None) -> str:
    """What the probabilities are of, how frequent that is, and what the head may not know."""
    with db.database.transaction() as connection:
        row = connection.execute(_queries.basis, {"task": task, "encoder": encoder}).fetchone()
    assert row is not None
    description, base_rate, trained_at = row
    # Heads of before base rates were kept, and those of survival tasks, have none.
    how_frequent = "" if base_rate is None else f"Of all labels {base_rate:.1%} are positive. "
    return (
        f"{task}: {description}\n{how_frequent}The head was trained on"
        f" {trained_at:%Y-%m-%d}, on the moments of its labels alone: at other moments, or of a record of a few events,"
        " its probability is a guess; and what it learned may be later than these moments."
    )


def _materialize(task: str | None, encoder: str | None, json: bool) -> None:
    values = {"tasks": [task] if task else None, "encoder": encoder}
    with current_client() as db:
        db.note("predict --materialize")
        with db.database.transaction() as connection:
            require_whole(connection)
            row = connection.execute(_queries.store_predictions, values).fetchone()
    assert row is not None
    heads, predicted, written, removed = row
    if not heads:
        raise NotFound("the encoder has no heads", hint="Run `ehrdb train TASK`.")
    if json:
        print_json({"heads": heads, "predicted": predicted, "written": written, "removed": removed})
    else:
        err.print(
            f"{heads} heads: {predicted:,} probabilities, {written:,} of them new or changed, {removed:,} removed"
        )
