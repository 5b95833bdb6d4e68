"""ehrdb for notebooks and programs: `db = ehrdb.connect()`, and every question is a method.

Whatever comes as a table is a polars or a pandas frame. Who asked what about whom is in the audit before it is
answered. Every error is an `EhrdbError` with a hint: `NotFound`, `ArgumentError`, `NotAllowed`, `WorkerUnavailable`,
`ConfigError`, ...
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import finalize

import numpy as np
import numpy.typing as npt
from pgvector import Vector
from psycopg.types.json import Jsonb

from ehrdb import cohorts, tables
from ehrdb.cohorts import Cohort, OmopCohort
from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database, register_vectors
from ehrdb.embedding import RefreshResult, Snapshot, index_dates, refresh_all, registry
from ehrdb.embedding.load import each_model_once, load_encoder
from ehrdb.errors import ConfigError, EhrdbWarning, EncoderError, ModelIncomplete, NotFound
from ehrdb.failure import translated
from ehrdb.private import private
from ehrdb.queries import Queries
from ehrdb.schema import require_current
from ehrdb.search.answer import embed_query
from ehrdb.tables import Frame, Library
from ehrdb.timeline import Timeline
from ehrdb.timeline import timeline as read_timeline

if TYPE_CHECKING:
    from ehrdb.evaluation.evaluation import Evaluation
    from ehrdb.evaluation.question import Question
    from ehrdb.prediction.reasons import Explanation
    from ehrdb.prediction.stored_counts import Counting

__all__ = ["Client", "Embeddings", "Map", "Matching", "OmopCohort", "Risk", "Status", "Unexplained", "connect"]

Moment = datetime | date | str | None
"""A moment, inclusive, as a datetime or ISO 8601; a date is its midnight; None is everything known."""

At = Any
"""Index dates, patients each with a moment: a SQL query, a table's name, a CSV or parquet file, an OMOP cohort (the end
of the day of entry), a frame with patient_id and as_of (or subject_id, cohort_start_date), or pairs."""

MEANINGLESS = (
    "no concept of these records holds any of these words: in another language than the records', or misspelt, they"
    " mean little to the encoder too. Write them as the records do; search_concepts looks words up."
)
_queries = Queries("ehrdb", "client.sql")


def connect(
    url: str | None = None,
    role: str | None = None,
    *,
    frames: Library | None = None,
    settings: Settings | None = None,
) -> Client:
    """Open a database; close it with `db.close()` or a `with` statement.

    url: as libpq reads it. None: EHRDB_DATABASE_URL, ehrdb.toml, or the embedded server in EHRDB_HOME.
    role: ask with the rights of this role, of which the login must be a member (row-level security included).
    frames: "polars", "pandas", or "rows" (lists of dict). None: polars, else pandas, whichever is installed.
    Raises DatabaseUnavailable, SchemaOutdated, ConfigError; NotAllowed for a role that the login may not take.

    Example: `db = ehrdb.connect(); db.nearest(1, k=5)`
    """
    settings = settings or Settings()
    if url is not None:
        settings = settings.model_copy(update={"database_url": url})
    library = tables.choose_library(frames)
    with ExitStack() as opened, translated():
        database = opened.enter_context(open_database(settings))
        if role is not None:
            database = database.acting_as(role)
        with database.transaction() as connection:
            require_current(connection)
        return Client(database, settings, library, opened.pop_all())


@dataclass(frozen=True)
class Embeddings:
    """Vectors of patients: row i of `vectors` (n, dimension; float32) is of `patient_ids[i]` (ascending).

    without: members of the cohort who are known and have no vector by then.
    """

    patient_ids: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    without: npt.NDArray[np.int64]
    encoder: str

    def __repr__(self) -> str:
        shape = f"{len(self.patient_ids):,} x {self.vectors.shape[1]}"
        return f"Embeddings({shape} by {self.encoder}; {len(self.without):,} patients without)"


@dataclass(frozen=True)
class Matching:
    """Controls for cases. pairs: case_id, control_id, similarity. balance: covariate, mean_cohort, mean_controls,
    standardized_difference (below 0.1 in size is balanced). cases: how many were to be matched."""

    pairs: Frame
    balance: Frame
    cases: int

    def _repr_html_(self) -> str:
        return _shown({"pairs": self.pairs, "balance": self.balance})


@dataclass(frozen=True)
class Risk:
    """A probability and what belongs to it.

    lower, upper: how far the calibration alone would move it, had other validation patients been drawn (95 %; None
    where the head is not calibrated). base_rate: the share of positive labels. known_until: the moment up to which the
    record was known; is_stale: it has changed since. trained_at: when the head was.
    """

    probability: float
    lower: float | None
    upper: float | None
    base_rate: float | None
    known_until: datetime
    is_stale: bool
    trained_at: datetime

    def __str__(self) -> str:
        bounds = "" if self.lower is None else f" (calibration {self.lower:.4f} to {self.upper:.4f})"
        base = "" if self.base_rate is None else f", {self.base_rate:.4f} of the labels positive"
        stale = ", which has changed since" if self.is_stale else ""
        return f"{self.probability:.4f}{bounds}{base}, from the record to {self.known_until:%Y-%m-%d %H:%M:%S}{stale}"


@dataclass(frozen=True)
class Status:
    """loaded: a row for each source. encoders: how far each encoder's vectors have come. faults: in words."""

    loaded: Frame
    encoders: Frame
    faults: list[str]

    def _repr_html_(self) -> str:
        faults = "".join(f"<li>{html.escape(fault)}</li>" for fault in self.faults)
        return f"<ul>{faults}</ul>" + _shown({"loaded": self.loaded, "encoders": self.encoders})


@dataclass(frozen=True)
class Map:
    """Patients in two dimensions as one self-contained HTML page. It holds patient ids: treat it like the record."""

    page: str
    patients: int

    def save(self, file: str | Path) -> None:
        """Write the page, for its writer alone (0600)."""
        private(Path(file)).write_text(self.page, encoding="utf-8")

    def __repr__(self) -> str:
        return f"Map({self.patients:,} patients)"

    def _repr_html_(self) -> str:
        return f'<iframe sandbox width="100%" height="700" srcdoc="{html.escape(self.page)}"></iframe>'


@dataclass(frozen=True)
class Unexplained:
    """A patient and a moment without an explanation, and why: there is nothing to explain, or it failed."""

    patient_id: int
    as_of: datetime
    reason: str
    is_failure: bool = False


class Client:
    """An open database. Made by `ehrdb.connect`.

    Cohorts are None (everybody), a patient id, ids (list, array, Series), a frame with a column patient_id, a SQL
    query that selects ids, or an `ehrdb.OmopCohort`. Every `as_of` is inclusive; None is everything known. encoder is
    a name; None is EHRDB_ENCODER, else the serving one.
    """

    def __init__(self, database: Database, settings: Settings, library: Library, opened: ExitStack) -> None:
        self.database = database
        self._settings, self._library = settings, library
        # Who forgets to close is closed at the end, while the interpreter is still whole.
        self._closing = finalize(self, opened.close)
        # A model takes seconds to load: once for each encoder.
        self._load = each_model_once(partial(load_encoder, settings))

    def close(self) -> None:
        """Give the connections back."""
        self._closing()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        role = f" as {self.database.role}" if self.database.role else ""
        return f"ehrdb at {self.database.place}{role}"

    def note(self, what: str, patients: Sequence[int] | None = None) -> None:
        """Add to the audit; every method does it by itself. The role that is asked for is named in `what`."""
        acting = f" as {self.database.role}" if self.database.role else ""
        with translated(), self.database.transaction() as connection:
            cohorts.record(connection, what + acting, patients=patients)

    def sql(self, query: str, values: Sequence[Any] | Mapping[str, Any] | None = None) -> Frame:
        """Any statement, with %s or %(name)s for values; its rows, or None for one without.

        In one transaction, committed. It is not in ehrdb's audit (docs/security.md: pgaudit). Names are qualified:
        ehr.patient. Raises ArgumentError for what PostgreSQL cannot parse or does not know.

        Example: `db.sql("select sex, count(*) from ehr.patient group by sex")`
        """
        with translated(quoting_syntax=True), self.database.transaction() as connection:
            return tables.fetch(connection, self._library, query.encode(), values)

    def timeline(
        self,
        patient_id: int,
        as_of: Moment = None,
        format: str = "list_recent",
        *,
        days: float | None = None,
        max_chars: int | None = None,
    ) -> Timeline:
        """The record as an encoder reads it: `.text`; `print()` shows it.

        format: a name of ehr.format, or json, yaml or xml. days: only events of so many days before the moment.
        """
        window = _window(days)
        with self._asked("timeline", [patient_id]) as connection:
            found = read_timeline(
                connection, patient_id, _moment(as_of), format, time_window=window, max_chars=max_chars
            )
        if not (found.text or found.lines_cut):
            self._remark(f"patient {patient_id} has no line of this kind by then; a later as_of may show some")
        return found

    def nearest(
        self,
        to: int | str | npt.ArrayLike,
        k: int = 10,
        cohort: Cohort = None,
        as_of: Moment = None,
        encoder: str | None = None,
        *,
        by_worker: bool = False,
    ) -> Frame:
        """The k patients most similar to a patient (id), a description in words, or a vector; nearest first.

        Columns: rank, patient_id, similarity (cosine), known_until (what the vector knows), is_stale. Words are read by
        the encoder's files here, or with by_worker by a running `ehrdb worker`.

        Example: `db.nearest("72-year-old woman with heart failure", k=5)`
        """
        if isinstance(to, str):
            _refuse_moment(as_of, "a description")
            return self._nearest_to_words(to, k, cohort, encoder, by_worker)
        if np.ndim(to) == 0:
            patient_id = int(to)  # type: ignore[arg-type]
            with self._asked_of("nearest", cohort, patients=[patient_id]) as (connection, members):
                values = {"patient_id": patient_id, "k": k, "as_of": _moment(as_of) or "infinity"}
                return self._fetch(connection, _queries.nearest, values, members, encoder)
        _refuse_moment(as_of, "a vector")
        with self._asked_of("nearest to a vector", cohort) as (connection, members):
            register_vectors(connection)
            values = {"vector": Vector(np.asarray(to, dtype=np.float32)), "k": k}
            return self._fetch(connection, _queries.nearest_to_vector, values, members, encoder)

    def explain(self, patient_a: int, patient_b: int, as_of: Moment = None) -> Frame:
        """Why two are alike: relation (shared, related, only_a, only_b), code, description, weight, last values."""
        with self._asked("explain", [patient_a, patient_b]) as connection:
            values = {"a": patient_a, "b": patient_b, "as_of": _moment(as_of) or "infinity"}
            found = tables.fetch(connection, self._library, _queries.explain, values)
        if not len(found):
            self._remark("neither has a record by then; a later as_of may show some")
        return found

    def search(
        self,
        text: str,
        k: int = 10,
        cohort: Cohort = None,
        encoder: str | None = None,
        *,
        patience: timedelta = timedelta(seconds=30),
    ) -> Frame:
        """The k patients found by the words of a description and by its meaning together.

        Columns: rank, patient_id, rank_by_words, rank_by_meaning (null: not among the first 10 k), found (words that
        their concepts hold), similarity, known_until, is_stale. A running `ehrdb worker` reads the text.
        """
        with self._asked_of("search", cohort) as (connection, members):
            values = {"query": text, "k": k, "patience": patience}
            found = self._fetch(connection, _queries.search_patients, values, members, encoder)
        if len(found) and not any(rank is not None for rank in tables.column(found, "rank_by_words")):
            self._remark(MEANINGLESS)
        return found

    def search_concepts(self, words: str, max_count: int = 20) -> Frame:
        """Concepts with all of the words, or their beginnings: rank, code, description, vocabulary, patients (visible).

        Example: `db.search_concepts("heart fail")`
        """
        with translated(), self.database.transaction() as connection:
            values = {"words": words, "max_count": max_count}
            return tables.fetch(connection, self._library, _queries.search_concepts, values)

    def outcomes(
        self,
        patient_id: int,
        outcome: str,
        as_of: Moment,
        *,
        horizon: timedelta = timedelta(days=365),
        k: int = 100,
        cohort: Cohort = None,
        encoder: str | None = None,
    ) -> Frame:
        """What happened within the horizon after as_of to the k most similar then, beside everybody.

        outcome: a task or a code. Columns: group_name, patients, followed, with_outcome, share; small counts are null.
        """
        with self._asked_of(f"outcomes {outcome}", cohort, patients=[patient_id]) as (connection, members):
            values = {"patient_id": patient_id, "outcome": outcome, "as_of": _moment(as_of), "horizon": horizon, "k": k}
            return self._fetch(connection, _queries.outcomes, values, members, encoder)

    def probability(self, task: str, patient_id: int, as_of: Moment = None, encoder: str | None = None) -> float:
        """The probability of a task's outcome for one patient. Raises NotFound, with why, where there is none."""
        return self.risk(task, patient_id, as_of, encoder).probability

    def risk(self, task: str, patient_id: int, as_of: Moment = None, encoder: str | None = None) -> Risk:
        """The same with its bounds, the base rate, and the moment up to which the record was known."""
        values = {"task": task, "patient_id": patient_id, "as_of": _moment(as_of) or "infinity"}
        with self._asked(f"predict {task}", [patient_id]) as connection:
            row = connection.execute(_queries.predict_one, {**values, "encoder": self._named(encoder)}).fetchone()
        assert row is not None
        return Risk(*row)

    def explain_risk(
        self,
        task: str,
        patient_id: int,
        as_of: Moment = None,
        encoder: str | None = None,
        *,
        most_lines: int = 500,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Explanation:
        """Which lines, kinds of events and visits move a patient's probability: each left out, and the rest read again.

        Needs the encoder's files here; what is in `ehr.risk_reasons` already needs none. No cause is shown.
        """
        self.note(f"explain {task}", [patient_id])
        with translated():
            from ehrdb.prediction.reasons import explain_risk

            with self.database.transaction() as connection:
                registered = registry.find(connection, self._named(encoder))
            how: dict[str, Any] = {"most_lines": most_lines, "progress": progress}
            return explain_risk(self.database, registered, self._load, task, patient_id, _moment(as_of), **how)

    def predict(
        self,
        task: str | Sequence[str],
        cohort: Cohort = None,
        as_of: Moment = None,
        encoder: str | None = None,
        *,
        at: At = None,
    ) -> Frame:
        """Probabilities of one or more tasks for everybody in the cohort who has a vector; most probable first.

        Columns: task, patient_id, probability, known_until (what the vector knows), is_stale, reason, lower, upper and
        base_rate (see `Risk`), head_id. As of a past moment every member has a row; where the record as of then is not
        embedded, probability is null, and reason says so.
        at: patients each as of a moment of their own instead, in the order given: position, task, patient_id, as_of,
        probability, known_until, is_stale, reason, lower, upper, base_rate, head_id.
        """
        names = [task] if isinstance(task, str) else list(task)
        if at is not None:
            _refuse_both(cohort, as_of)
            return self._fetch_pairs(f"predict {', '.join(names)}", _queries.predict_at, at, encoder, tasks=names)
        with self._asked_of(f"predict {', '.join(names)}", cohort) as (connection, members):
            values = {"tasks": names, "as_of": _moment(as_of) or "infinity"}
            return self._fetch(connection, _queries.predict, values, members, encoder)

    def risk_history(
        self, task: str, patient_id: int, moments: Sequence[Moment] | None = None, encoder: str | None = None
    ) -> Frame:
        """How a risk developed: after every visit, or at these moments, from what was known then.

        Columns: as_of, probability, events and last_event known then, known_until, is_stale, head_trained_at, reason.
        `db.refresh(at=[(patient_id, moment), ...])` embeds what has the reason "not embedded as of then".
        """
        chosen = None if moments is None else [_moment(moment) for moment in moments]
        values = {"task": task, "patient_id": patient_id, "moments": chosen, "encoder": self._named(encoder)}
        with self._asked(f"risk history {task}", [patient_id]) as connection:
            return tables.fetch(connection, self._library, _queries.risk_history, values)

    def timelines_at(
        self, at: At, format: str = "list_recent", *, days: float | None = None, max_chars: int | None = None
    ) -> Frame:
        """Records as an encoder reads them, each as of a moment of its own; see `timeline`.

        Columns: position, patient_id, as_of, text (empty where nothing is known), lines_cut.
        """
        how = {"format": format, "time_window": _window(days), "max_chars": max_chars}
        return self._fetch_pairs("timelines", _queries.timelines_at, at, None, **how)

    def explain_risk_at(
        self,
        task: str,
        at: At,
        encoder: str | None = None,
        *,
        most_lines: int = 500,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Explanation | Unexplained]:
        """`explain_risk` of patients, each as of a moment of their own, in the order given; or why there is none.

        progress: called with how many moments are done, of how many.
        """
        with self._asked(f"explain {task}") as connection:
            connection.execute(_queries.require_head, {"task": task, "encoder": self._named(encoder)})
            pairs = index_dates.resolve(connection, at)
        answers = []
        for done, (patient_id, as_of) in enumerate(zip(pairs.patient_ids, pairs.as_ofs, strict=True)):
            progress(done, len(pairs))
            answers.append(self._explained(task, patient_id, as_of, encoder, most_lines))
        return answers

    def _explained(
        self, task: str, patient_id: int, as_of: datetime, encoder: str | None, most_lines: int
    ) -> Explanation | Unexplained:
        try:
            return self.explain_risk(task, patient_id, as_of, encoder, most_lines=most_lines)
        except NotFound as error:
            return Unexplained(patient_id, as_of, str(error))
        except EncoderError as error:
            return Unexplained(patient_id, as_of, str(error), is_failure=True)

    def nearest_at(self, at: At, k: int = 10, candidates: At = None, encoder: str | None = None) -> Frame:
        """The k records most similar to each patient's as of a moment of their own, among candidates as of theirs.

        candidates: None compares the pairs among themselves. Columns: position, patient_id, as_of, rank, neighbour_id,
        neighbour_as_of, similarity, reason (why there is none).
        """
        return self._fetch_pairs("nearest", _queries.nearest_at, at, encoder, candidates, k=k)

    def similarity_at(self, at: At, others: At, encoder: str | None = None) -> Frame:
        """Cosine similarity of records one by one: position, patient and moment of both, similarity, reason."""
        return self._fetch_pairs("similarity", _queries.similarity_at, at, encoder, others)

    def explain_at(self, at: At, others: At) -> Frame:
        """Why records are alike one by one: position, patient and moment of both, then the columns of `explain`."""
        return self._fetch_pairs("explain", _queries.explain_at, at, None, others)

    def outcomes_at(
        self,
        at: At,
        outcome: str,
        *,
        horizon: timedelta = timedelta(days=365),
        k: int = 100,
        candidates: At = None,
        encoder: str | None = None,
    ) -> Frame:
        """What happened to the k records most similar to each, beside all candidates, each from its own moment.

        Columns: position, patient_id, as_of, group_name, patients, followed, with_outcome, share, reason.
        """
        values = {"outcome": outcome, "horizon": horizon, "k": k}
        return self._fetch_pairs(f"outcomes {outcome}", _queries.outcomes_at, at, encoder, candidates, **values)

    def monitor(self, tasks: str | Sequence[str] | None = None, encoder: str | None = None) -> Frame:
        """How heads (None: all) do month by month on labels that they have not learned from.

        Columns: task, month, labels, patients, predicted, observed, population_stability, unknown_codes, verdict,
        head_id; figures of ten patients or fewer are null.
        """
        names = tasks and _names(tasks)
        with self._asked("monitor") as connection:
            values = {"tasks": names, "encoder": self._named(encoder)}
            return tables.fetch(connection, self._library, _queries.monitor, values)

    def embeddings(self, cohort: Cohort = None, as_of: Moment = None, encoder: str | None = None) -> Embeddings:
        """Each member's vector of the record as of a moment (None: the newest), with ids in the same order."""
        with self._asked_of("embeddings", cohort) as (connection, members):
            register_vectors(connection)
            registered = registry.find(connection, self._named(encoder))
            values: dict[str, Any] = {"encoder": registered.name, "as_of": _moment(as_of) or "infinity"}
            values["cohort"] = members
            rows = connection.execute(_queries.embeddings, values, binary=True).fetchall()
        found = [(patient_id, vector.to_numpy()) for patient_id, vector in rows if vector is not None]
        return Embeddings(
            np.array([patient_id for patient_id, _ in found], dtype=np.int64),
            np.array([vector for _, vector in found], dtype=np.float32).reshape(-1, registered.dimension),
            np.array([patient_id for patient_id, vector in rows if vector is None], dtype=np.int64),
            registered.name,
        )

    def labels(self, task: str) -> Frame:
        """A task's labels: task, patient_id, prediction_time, value."""
        with self._asked(f"labels {task}") as connection:
            known = connection.execute(_queries.is_task, {"task": task}).fetchone()
            if not (known and known[0]):
                raise NotFound(f"there is no task {task}", hint="See ehr.task; `ehrdb label` makes the benchmark's.")
            return tables.fetch(connection, self._library, _queries.labels, {"task": task})

    def evaluate(
        self,
        tasks: str | Sequence[str],
        encoder: str | None = None,
        *,
        compare: Sequence[str] = (),
        baselines: Sequence[Literal["counts", "demographics"]] = (),
        with_counts: bool = False,
        heads: Sequence[Literal["forest", "prototypes"]] = (),
        counting: Counting | None = None,
        first: str | None = None,
        k: Sequence[int] | None = None,
        replicates: int = 5,
        bootstrap: Literal["patients", "rows"] = "patients",
        max_iter: int = 100,
        workers: int = 1,
        keep: bool = False,
    ) -> Evaluation:
        """Is the encoder worth it on these records? The paper's protocol (docs/evaluation.md).

        Labels and vectors are made where they are missing. with_counts: the encoder once more, its vectors beside code
        counts in one head (`ehrdb train --with counts`). heads: the encoder again with other heads.
        counting: how that baseline counts (`ehrdb.prediction.stored_counts.Counting`). first: the model that is tested
        against each other one, as the answer names it (default: the encoder). k: examples per class, -1 for every row.
        bootstrap: what the intervals draw. max_iter: of a head's final fit. The answer has `scores()`,
        `table()` (the paper's), `paired_tests()`, `probabilities()` (polars) and `report()` (HTML). keep: the figures
        stay in ehr.evaluation, where the page shows them. Needs the extra `train`.
        """
        with translated():
            from ehrdb.evaluation.evaluation import answer, checked_shots
            from ehrdb.prediction.sampling import ALL, SHOTS

            shots = checked_shots(k or [*SHOTS, ALL])
            compared: dict[str, Any] = {"compare": compare, "baselines": baselines, "with_counts": with_counts}
            asked = self.question(tasks, encoder, heads=heads, counting=counting, keep=keep, **compared)
            how: dict[str, Any] = {"draw": bootstrap, "max_iter": max_iter}
            asked = asked.led_by(first) if first else asked
            return answer(asked, shots, replicates=replicates, workers=workers, **how)

    def evaluate_survival(
        self,
        tasks: str | Sequence[str],
        encoder: str | None = None,
        *,
        compare: Sequence[str] = (),
        baselines: Sequence[Literal["counts", "demographics"]] = (),
    ) -> Frame:
        """The same for tasks that ask when: Harrell's C and the integrated Brier score of every model.

        Columns: task, model, intervals, and c_index, integrated_brier, c_difference (of the first model's C minus this
        one's), each with _lower and _upper from the patient bootstrap; polars. Needs the extra `train`.
        """
        with translated():
            import polars as pl

            from ehrdb.evaluation.timed import answer_timed, as_rows

            question = self.question(tasks, encoder, compare=compare, baselines=baselines)
            if not question.intervals:
                raise ConfigError(f"{', '.join(_names(tasks))} asks whether, not when", hint="Use db.evaluate.")
            return pl.DataFrame(as_rows(answer_timed(question)))

    def question(
        self,
        tasks: str | Sequence[str],
        encoder: str | None = None,
        *,
        compare: Sequence[str] = (),
        baselines: Sequence[str] = (),
        with_counts: bool = False,
        heads: Sequence[str] = (),
        counting: Counting | None = None,
        keep: bool = False,
        tell: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> Question:
        """What `evaluate` answers, embedded where that is missing: for who trains and measures heads otherwise.

        tell: called with what is being embedded, how much of it is done, and of how much.
        """
        with translated():
            from ehrdb.evaluation.question import prepare
            from ehrdb.prediction.stored_counts import PAPER_COUNTING

            self.note("evaluate")
            names = [self._named(name) for name in (encoder, *compare)]
            how: dict[str, Any] = {"with_counts": with_counts, "heads": heads, "keep": keep, "tell": tell}
            how["counting"] = counting or PAPER_COUNTING
            return prepare(self.database, self._load, _names(tasks), names, set(baselines), **how)

    def match(
        self,
        cases: Cohort,
        candidates: Cohort = None,
        *,
        ratio: int = 1,
        caliper: float | None = None,
        same_sex: bool = False,
        age_band: int | None = None,
        as_of: Moment = None,
        encoder: str | None = None,
    ) -> Matching:
        """Controls for cases: up to `ratio` of the most similar candidates (None: everybody else), each used once.

        caliper: largest cosine distance accepted. same_sex, age_band (years): must agree exactly.
        """
        with self._asked_of("match", cases, candidates) as (connection, members, others):
            ids = members or []
            if not ids:
                raise ConfigError("the query selects no cases", hint="Try it: db.sql(...), or `ehrdb psql`.")
            values: dict[str, Any] = {"cohort": ids, "candidates": others}
            values |= {"ratio": ratio, "caliper": caliper, "same_sex": same_sex, "age_band": age_band}
            values |= {"as_of": _moment(as_of) or "infinity", "encoder": self._named(encoder)}
            pairs = tables.fetch(connection, self._library, _queries.match_cohort, values)
            values["controls"] = tables.column(pairs, "control_id")
            balance = tables.fetch(connection, self._library, _queries.cohort_balance, values)
        return Matching(pairs, balance, len(set(ids)))

    def match_at(
        self,
        cases: At,
        candidates: At,
        *,
        ratio: int = 1,
        caliper: float | None = None,
        same_sex: bool = False,
        age_band: int | None = None,
        encoder: str | None = None,
    ) -> Matching:
        """Controls for cases, each as of an index date of their own; who has several as a candidate is used once.

        pairs: position, case_id, case_as_of, control_id, control_as_of, similarity, and the reason of a case without.
        """
        terms = {"ratio": ratio, "caliper": caliper, "same_sex": same_sex, "age_band": age_band}
        with self._asked_of("match", cases, candidates, resolve=index_dates.resolve) as (connection, ids, others):
            values = {**_lists(ids), **_lists(others, "candidate_"), **terms}
            values["encoder"] = self._named(encoder)
            pairs = tables.fetch(connection, self._library, _queries.match_at, values)
            columns = (tables.column(pairs, name) for name in ("control_id", "control_as_of"))
            found = [pair for pair in zip(*columns, strict=True) if isinstance(pair[0], int)]
            values |= _lists(index_dates.listed(found), "control_")
            balance = tables.fetch(connection, self._library, _queries.balance_at, values)
        return Matching(pairs, balance, len(ids))

    def map(
        self,
        task: str | None = None,
        code: str | None = None,
        *,
        method: Literal["pca", "umap"] = "pca",
        cohort: Cohort = None,
        sample: int = 5000,
        encoder: str | None = None,
    ) -> Map:
        """Patients in two dimensions, coloured by sex, a task's labels or whether a code occurs. Needs `report`."""
        if task and code:
            raise ConfigError("task and code exclude each other", hint="One colour a picture.")
        with self._asked_of("map", cohort) as (connection, members):
            from ehrdb.search.map import Point, draw

            register_vectors(connection)
            name = registry.find(connection, self._named(encoder)).name
            values: dict[str, Any] = {"encoder": name, "task": task, "code": code, "sample": sample}
            values["cohort"] = members
            _require_colour(connection, task, code)
            rows = connection.execute(_queries.map_points, values, binary=True).fetchall()
        if len(rows) < 3:
            raise NotFound(f"only {len(rows)} patients have a vector of {name}", hint="Run `ehrdb refresh`.")
        vectors = np.stack([vector.to_numpy() for _, vector, _ in rows]).astype(np.float32)
        points = [Point(patient_id, group or "unknown") for patient_id, _, group in rows]
        return Map(draw(points, vectors, method, name, task or code or "sex"), len(points))

    def refresh(
        self,
        as_of: Moment = None,
        cohort: Cohort = None,
        encoder: str | None = None,
        *,
        at: At = None,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> RefreshResult:
        """Embed every patient whose text is new or changed; with as_of also records as of then, of the cohort.

        at: index dates, each patient as of a moment of his own. Both are kept: later refreshes look after them. Needs
        the encoder's files here, and a role that sees everybody. progress: called with what is done, of how many.
        """
        moment = _moment(as_of)
        if cohort is not None and moment is None:
            raise ConfigError("a cohort needs as_of", hint="It limits a snapshot; the current state covers everybody.")
        with translated():
            with self.database.transaction() as connection:
                registered = registry.find(connection, self._named(encoder))
                snapshot = Snapshot(moment, cohorts.resolve(connection, cohort)) if moment else None
                dates = None if at is None else index_dates.resolve(connection, at)
            return refresh_all(
                self.database, registered, self._load, snapshot=snapshot, index_dates=dates, progress=progress
            )

    def status(self) -> Status:
        """What is loaded, how far each encoder's vectors have come, and what keeps them from being made."""
        with translated(), self.database.transaction() as connection:
            return read_status(connection, self._library)

    def _nearest_to_words(self, text: str, k: int, cohort: Cohort, encoder: str | None, by_worker: bool) -> Frame:
        if not text.strip():
            raise ConfigError("the description is empty", hint='For example: "heart failure".')
        if by_worker:
            return self._nearest_by_worker(text, k, cohort, encoder)
        with self._asked_of("search", cohort) as (connection, members):
            register_vectors(connection)
            registered = registry.find(connection, self._named(encoder))
            try:
                vector = embed_query(connection, registered, self._load(registered), text)
            except ModelIncomplete as error:
                hint = f"{error.hint} Or, where an `ehrdb worker` runs: by_worker=True."
                raise ModelIncomplete(error.message, hint=hint) from None
            return self._fetch(
                connection, _queries.nearest_to_vector, {"vector": vector, "k": k}, members, registered.name
            )

    def _nearest_by_worker(self, text: str, k: int, cohort: Cohort, encoder: str | None) -> Frame:
        """The procedure notes itself in the audit, and commits: it needs a session without a transaction."""
        with translated():
            with self.database.transaction() as connection:
                values: dict[str, Any] = {"cohort": cohorts.resolve(connection, cohort)}
            values |= {"query": text, "k": k, "encoder": self._named(encoder), "patience": timedelta(seconds=30)}
            with self.database.session() as connection:
                row = connection.execute(_queries.search, values).fetchone()
            with self.database.transaction() as connection:
                found = {"found": Jsonb((row and row[0]) or [])}
                return tables.fetch(connection, self._library, _queries.neighbours, found)

    @contextmanager
    def _asked(self, what: str, patients: Sequence[int] | None = None) -> Iterator[Connection]:
        """A transaction to answer in, after the note is safe."""
        self.note(what, patients)
        with translated(), self.database.transaction() as connection:
            yield connection

    @contextmanager
    def _asked_of(
        self,
        what: str,
        *who: Any,
        patients: Sequence[int] | None = None,
        resolve: Callable[[Connection, Any], Any] = cohorts.resolve,
    ) -> Iterator[tuple[Any, ...]]:
        """The same, with who is meant: how many they are is in the audit whatever becomes of the question."""
        self.note(what, patients)
        with translated():
            with self.database.transaction() as connection:
                members = [resolve(connection, each) for each in who]
            with self.database.transaction() as connection:
                yield connection, *members

    def _fetch(
        self,
        connection: Connection,
        query: bytes,
        values: Mapping[str, Any],
        members: list[int] | None,
        encoder: str | None,
    ) -> Frame:
        if members == []:
            self._remark("nobody is in the cohort: see whom it selects, by db.sql(...)")
        who = {"cohort": members, "encoder": self._named(encoder)}
        return tables.fetch(connection, self._library, query, {**values, **who})

    def _fetch_pairs(
        self, what: str, query: bytes, at: At, encoder: str | None, others: At = None, **values: Any
    ) -> Frame:
        """A question about pairs, or about pairs and others."""
        given = [at] if others is None else [at, others]
        with self._asked_of(what, *given, resolve=index_dates.resolve) as (connection, dates, *other):
            compared = _lists(other[0] if other else None, "candidate_")
            who = {**_lists(dates), **compared, "encoder": self._named(encoder)}
            return tables.fetch(connection, self._library, query, {**who, **values})

    def _remark(self, message: str) -> None:
        """What an empty or weak frame does not say itself. Who takes rows is a program, and looks."""
        if self._library != "rows":
            warnings.warn(message, EhrdbWarning, stacklevel=3)

    def _named(self, encoder: str | None) -> str | None:
        return encoder or self._settings.encoder


def read_status(connection: Connection, library: Library) -> Status:
    """See `Client.status`."""
    faults = [str(fault) for (fault,) in connection.execute(_queries.faults)]
    loaded = tables.fetch(connection, library, _queries.loaded)
    return Status(loaded, tables.fetch(connection, library, _queries.embedding_status), faults)


def _moment(as_of: Moment) -> datetime | None:
    """As the database takes it: local time without zone. Raises ConfigError for what is no moment."""
    if isinstance(as_of, str):
        try:
            as_of = datetime.fromisoformat(as_of)
        except ValueError:
            raise ConfigError("as_of is no moment", hint='Write it as "2020-06-30" or "2020-06-30 23:59".') from None
    if isinstance(as_of, datetime):
        if as_of.tzinfo is not None:
            raise ConfigError("as_of has a time zone; records have local times", hint="as_of.replace(tzinfo=None)")
        return as_of
    return None if as_of is None else datetime.combine(as_of, time())


def _names(tasks: str | Sequence[str]) -> list[str]:
    return [tasks] if isinstance(tasks, str) else list(tasks)


def _lists(dates: index_dates.IndexDates | None, prefix: str = "") -> dict[str, Any]:
    """Pairs as two lists."""
    names = (f"{prefix}ids", f"{prefix}as_ofs")
    return dict.fromkeys(names) if dates is None else dict(zip(names, (dates.patient_ids, dates.as_ofs), strict=True))


def _refuse_both(cohort: Cohort, as_of: Moment) -> None:
    if cohort is not None or as_of is not None:
        raise ConfigError("index dates say who and as of when", hint="Leave out the cohort and as_of.")


def _require_colour(connection: Connection, task: str | None, code: str | None) -> None:
    """Raises NotFound for a task or a code that is not there: everybody would have one colour."""
    row = connection.execute(_queries.known_colours, {"task": task, "code": code}).fetchone()
    is_task, is_code = row or (False, False)
    if task is not None and not is_task:
        raise NotFound(f"unknown task {task}", hint="See: select task from ehr.task;")
    if code is not None and not is_code:
        raise NotFound(f"unknown code {code}", hint="See: select code, description from ehr.concept;")


def _window(days: float | None) -> timedelta | None:
    """Raises ConfigError for what is no number of days that a calendar could hold."""
    try:
        return None if days is None else timedelta(days=days)
    except (OverflowError, ValueError):
        raise ConfigError("days is no span of time", hint="A number of days, such as 365.") from None


def _refuse_moment(as_of: Moment, what: str) -> None:
    if as_of is not None:
        raise ConfigError(f"{what} is compared with current records", hint="Leave out as_of, or ask for a patient.")


def _shown(frames: Mapping[str, Frame]) -> str:
    """Frames under their names, as a notebook shows each by itself."""
    return "".join(
        f"<h4>{name}</h4>" + (frame._repr_html_() if hasattr(frame, "_repr_html_") else html.escape(str(frame)))
        for name, frame in frames.items()
    )
