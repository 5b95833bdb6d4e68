"""`ehrdb demo`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ehrdb import demo as story
from ehrdb.cli.common import err, out, settings, visible
from ehrdb.cli.refresh import describe, progress_bar
from ehrdb.cli.train import table as train_table
from ehrdb.database import Database, open_database
from ehrdb.queries import Queries

_queries = Queries("ehrdb.cli")
TIMELINE_LINES = 18


def demo() -> None:
    """The whole story on 316 synthetic patients: load, encode, refresh, search, predict. A minute or two.

    Run again at once, it finds that nothing changed and shows the same answers.
    """
    configured = settings()
    started = time.monotonic()
    with open_database(configured, create=True) as database:
        with _step("Schema and 316 synthetic patients (Synthea, OMOP tables)"):
            loaded = story.prepare(database)
        out.print(f"  {loaded.new} new, {loaded.changed} changed, {loaded.unchanged} unchanged patients")
        with _step("Encoder: all-MiniLM-L6-v2 as optimized ONNX, line by line, compared with the original's vectors"):
            encoder = story.ensure_encoder(database, configured)
        with _step("Refresh: every patient's timeline into pgvector"), progress_bar("embedding") as report:
            refreshed = story.embed(database, configured, encoder, report.update)
        out.print(f"  {describe(refreshed)}")
        with (
            _step(f"Task {story.TASK}: label in SQL, embed as of each admission, train"),
            progress_bar("embedding") as report,
        ):
            trained = story.learn(database, configured, encoder, report.update)
        out.print(train_table([trained]))
        _show(database)
        role = _role(database)
    out.print(
        f"\nDone in {time.monotonic() - started:.0f} s. Paste the statements into `ehrdb psql`, or look at the "
        f"patients in a browser: `ehrdb serve --role {role}`."
    )
    out.print(
        "The patients are made up, and this small encoder is not the paper's: it shows the path, not the "
        "performance. With real data, export an LLM encoder such as Qwen3-Embedding.",
        style="dim",
    )


def _role(database: Database) -> str:
    with database.transaction() as connection:
        (role,) = connection.execute("select current_user").fetchone() or ("",)
    return str(role)


def _show(database: Database) -> None:
    patient_id = story.example_patient(database)
    with database.transaction() as connection:
        row = connection.execute(_queries.timeline, {"patient_id": patient_id}).fetchone()
        nearest = connection.execute(_queries.most_like, {"patient_id": patient_id}).fetchone()
    assert row is not None
    assert nearest is not None
    lines = row[0].split("\n")
    text = Text(visible("\n".join(lines[:TIMELINE_LINES])))
    if len(lines) > TIMELINE_LINES:
        text.append(f"\n... {len(lines) - TIMELINE_LINES} more lines", "dim")
    title = f"select ehr.timeline({patient_id}, format => '{story.FORMAT}')"
    out.print(Panel(text, title=title, title_align="left", expand=False))
    for statement in story.statements(patient_id, nearest[0]):
        out.print(f"\n{statement.title}", style="bold")
        out.print(Syntax(statement.sql, "sql", theme="ansi_dark", background_color="default"))
        names, rows = story.answer(database, statement)
        found = Table(*names, show_edge=False)
        for values in rows:
            found.add_row(*("" if value is None else str(value) for value in values))
        out.print(found)


@contextmanager
def _step(title: str) -> Iterator[None]:
    started = time.monotonic()
    out.print(Text(">", "bold cyan"), title)
    yield
    err.print(f"  {time.monotonic() - started:.1f} s", style="dim")
