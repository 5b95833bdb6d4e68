"""`ehrdb refresh | worker | retry | repair`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ehrdb import cohorts, embedding
from ehrdb.cli.common import At, EncoderName, Json, current_database, err, print_json, settings, visible
from ehrdb.embedding import Engine, Queue, RefreshResult, Snapshot, index_dates, refresh_all, registry
from ehrdb.embedding.load import each_model_once, load_encoder
from ehrdb.errors import ConfigError
from ehrdb.patience import ENDING
from ehrdb.worker import Vitals, work


def refresh(
    encoder: EncoderName = None,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", help="Embed records as of this moment too (inclusive): a snapshot to search."),
    ] = None,
    cohort: Annotated[
        str | None,
        typer.Option(help="Limit the snapshot to the patient ids that this SQL query selects, or of this OMOP cohort."),
    ] = None,
    at: At = None,
    once: Annotated[
        bool, typer.Option("--once", help="What refresh does anyway: embed what changed, then end.")
    ] = False,
    workers: Annotated[
        int, typer.Option(help="Embed in so many processes, each with its own model.", min=1, max=256)
    ] = 1,
    engine: Annotated[
        Literal["process", "ray"], typer.Option(help="Where workers run: on this machine, or on a Ray cluster.")
    ] = "process",
    json: Json = False,
) -> None:
    """Embed every patient whose text is new or changed; nothing else is touched.

    Exit status: 0 all done, 1 some texts failed, or changed under it again and again, 2 nothing could be embedded, 3
    another refresh holds what is left.

    Example (crontab): `*/15 * * * * ehrdb refresh --once --json >> refresh.log`

    With --at, records as of index dates too, each patient as of a moment of his own; those are kept, as a snapshot is.

    Example (index dates): `ehrdb refresh --at "select subject_id, cohort_start_date from results.cohort"`

    Example (snapshot): `ehrdb refresh --as-of 2020-01-01 --cohort "select patient_id from ehr.patient where sex = 'F'"`
    """
    if cohort and not as_of:
        raise ConfigError("--cohort needs --as-of", hint="It limits a snapshot; the current state covers everybody.")
    configured = settings()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # free what is leased on the way out
    with current_database() as database:
        with database.transaction() as connection:
            registered = registry.find(connection, encoder or configured.encoder)
            snapshot = Snapshot(as_of, cohorts.resolve(connection, cohort)) if as_of else None
            dates = index_dates.resolve(connection, at) if at else None
        with progress_bar(f"embedding with {registered.name}") as report, _told_when_interrupted(report):
            result = refresh_all(
                database,
                registered,
                each_model_once(partial(load_encoder, configured)),
                snapshot=snapshot,
                index_dates=dates,
                engine=Engine(configured, workers, engine) if workers > 1 or engine == "ray" else None,
                progress=report.update,
            )
    if json:
        print_json(result)
    else:
        err.print(describe(result))
        if result.moments:
            err.print(describe_moments(result))
    raise typer.Exit(result.exit_code)


@contextmanager
def _told_when_interrupted(report: progress_bar) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        report.__exit__()
        err.print(
            f"interrupted: {report.done} texts were embedded and are kept, what was claimed is free again; "
            "`ehrdb refresh` goes on from there"
        )
        raise typer.Exit(130) from None


def worker(
    poll: Annotated[int, typer.Option(help="Look for changes at least every so many seconds.", min=1, max=86400)] = 60,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve Prometheus metrics at this port, under /metrics.", min=1, max=65535)
    ] = None,
    metrics_host: Annotated[
        str, typer.Option(help="At which address: this machine only, unless you say otherwise (0.0.0.0: at all).")
    ] = "127.0.0.1",
) -> None:
    """Keep the serving encoder's embeddings up to date until stopped; woken by `ehr.request_refresh()`.

    SIGTERM and Ctrl-C finish the batch in hand. Restarts, failovers and lost connections of the database are waited
    for; where a part of the worker itself dies, the process ends with status 2. Logs go to standard error: one JSON
    object a line, or readable lines on a terminal.

    Example: `ehrdb worker --metrics-port 9464`
    """
    if metrics_port:
        # Imported here: the extra is needed for nothing else.
        from ehrdb.embedding.metrics import serve_metrics
    vitals = Vitals()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ENDING.set())
    with current_database() as database:
        if metrics_port:
            serve_metrics(database, metrics_host, metrics_port, vitals.figures)
        work(database, settings(), ENDING, poll_seconds=poll, vitals=vitals)


def retry(encoder: EncoderName = None) -> None:
    """Give contents that failed, the given-up ones included, a new chance at the next refresh."""
    with current_database() as database:
        with database.transaction() as connection:
            registered = registry.find(connection, encoder or settings().encoder)
        count = Queue(database, registered, "retry").retry()
    err.print(f"{count} failed contents will be tried again: run `ehrdb refresh`")


def repair(json: Json = False) -> None:
    """Compare what is kept by difference with the data, and put it right.

    Loads and refreshes change counts by what changed and look at what changed alone. This reads everything, once:
    counts of patients with each concept, the figures of `ehrdb status`, vectors that nobody's text needs any more,
    texts without a vector or a place in the queue. For now and then: by a weekly cron, or after a restored dump.

    Exit status: 0 nothing was wrong, 1 something was, and is right now.

    Example: `ehrdb repair --json`
    """
    with current_database() as database:
        repaired = embedding.repair(database)
    if json:
        print_json(repaired)
    else:
        err.print(
            f"{repaired.wrong_frequencies} counts of concepts and {repaired.wrong_figures} figures were wrong; "
            f"{repaired.unused} contents dropped that nobody shows, {repaired.lost} queued that were lost"
        )
    raise typer.Exit(0 if repaired.is_clean else 1)


def describe(result: RefreshResult) -> str:
    """One line for people."""
    if not (result.embedded or result.failed):
        left = f"; {result.leased} held by another refresh" if result.leased else ""
        left += f"; {result.waiting} waiting for a retry" if result.waiting else ""
        left += f"; {result.dead} given up (see `ehrdb retry`)" if result.dead else ""
        left += f"; {result.outdated} changed meanwhile: refresh again" if result.outdated else ""
        return f"nothing changed: every patient's text is embedded{left}" if not left else f"nothing to do{left}"
    rate = result.tokens / result.seconds if result.seconds else 0
    failed = f", {result.failed} failed (reasons: `ehrdb status`)" if result.failed else ""
    failed += f", {result.outdated} changed meanwhile: refresh again" if result.outdated else ""
    slow = "; the search index is for the owner to build: `ehrdb index rebuild`" if result.unindexed else ""
    return f"embedded {result.embedded} texts in {result.seconds:.1f} s ({rate:,.0f} tokens/s){failed}{slow}"


def describe_moments(result: RefreshResult) -> str:
    """One line about index dates."""
    nothing = f"; of {result.without:,} there is nothing to embed" if result.without else ""
    return f"{result.moments:,} index dates are kept{nothing}"


class progress_bar:  # noqa: N801 - used as a with-statement's verb
    """A progress bar on a terminal, silence elsewhere; moves without figures until they are known."""

    def __init__(self, label: str) -> None:
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        )
        self.done = 0
        self._task = self._bar.add_task(visible(label), total=None)

    def __enter__(self) -> progress_bar:
        if err.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if err.is_terminal:
            self._bar.stop()

    def update(self, done: int, total: int) -> None:
        """Show that `done` of `total` contents are embedded."""
        self.done = done
        self._bar.update(self._task, completed=done, total=total)
