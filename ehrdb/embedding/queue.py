"""The queue in the database: claim contents, make their texts, store vectors, record failures.

Every function is one short transaction; none is open while a model runs. Those that work depends on are tried
again while the database has a passing fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from pgvector import HalfVector

from ehrdb.database import Connection, Database, register_vectors, require_whole
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoded
from ehrdb.patience import patiently
from ehrdb.queries import Queries

_queries = Queries("ehrdb.embedding")


@dataclass(frozen=True)
class Outlook:
    """What the queue holds for an encoder: contents ready, leased, waiting for a retry, dead."""

    ready: int
    leased: int
    waiting: int
    dead: int


@dataclass(frozen=True)
class Queue:
    """An encoder's queue as one worker sees it. `worker` is unique to a run. `only`: the contents that it looks at
    (None: all). `outdated`: contents that it took off the queue, because no record shows them any more."""

    database: Database
    encoder: RegisteredEncoder
    worker: str
    lease_seconds: int = 900
    only: Sequence[bytes] | None = None
    outdated: list[bytes] = field(default_factory=list)

    @patiently
    def outlook(self) -> Outlook:
        """Counts, from the jobs themselves."""
        with self.database.transaction() as connection:
            statement = _queries.outlook if self.only is None else _queries.outlook_of
            row = connection.execute(statement, {**self._who, "only": self._only}).fetchone()
            assert row is not None
            return Outlook(*row)

    @patiently
    def claim(self, jobs: int) -> list[tuple[bytes, str]]:
        """Lease up to `jobs` contents, longest first: (content hash, prompt and text) each.

        Contents that their record no longer shows are dropped from the queue on the way, and whoever showed them is
        marked for the next plan. Half as many are asked for
        where their texts take longer than the server's statement_timeout.
        """
        while True:
            try:
                found = self._claim(jobs)
            except psycopg.errors.QueryCanceled:
                if jobs == 1:
                    raise
                jobs //= 2
            else:
                if found is not None:
                    return found

    def _claim(self, jobs: int) -> list[tuple[bytes, str]] | None:
        """One attempt; None where everything claimed was out of date."""
        with self.database.transaction() as connection:
            require_whole(connection)
            claimed = connection.execute(_queries.claim, {**self._who, "jobs": jobs, "only": self._only}).fetchall()
            if not claimed:
                return []
            contents, prompt_ids, patient_ids, as_ofs = (list(column) for column in zip(*claimed, strict=True))
            rows = connection.execute(
                _queries.texts,
                {
                    "contents": contents,
                    "prompt_ids": prompt_ids,
                    "patient_ids": patient_ids,
                    "as_ofs": as_ofs,
                    "format": self.encoder.format,
                },
            ).fetchall()
            gone = [content for content, text in rows if text is None]
            connection.execute(_queries.discard, {**self._who, "contents": gone})
        self.outdated.extend(gone)
        return [(content, text) for content, text in rows if text is not None] or None

    @patiently
    def store(self, contents: Sequence[bytes], encoded: Encoded) -> None:
        """Write vectors, hand them to search and take the contents off the queue: all or nothing.

        Only of contents that a patient still shows: whoever was purged meanwhile leaves no vector behind.
        """
        with self.database.transaction() as connection:
            self._copy(connection, contents, encoded)
            connection.execute(_queries.lock_points, self._who)
            connection.execute(_queries.drop_unshown, self._who)
            connection.execute(_queries.store, self._who)
            connection.execute(_queries.serve, self._who)
            connection.execute(_queries.renew, self._who)

    @patiently
    def fail(self, content: bytes, reason: str) -> None:
        """Record a failed attempt; the content is tried again later, and given up after five."""
        with self.database.transaction() as connection:
            connection.execute(_queries.fail, {**self._who, "content": content, "reason": reason})

    def release(self) -> None:
        """Give back what is still leased to this worker."""
        with self.database.transaction() as connection:
            connection.execute(_queries.release, self._who)

    def retry(self) -> int:
        """Give failed and dead contents a new chance at once; returns how many."""
        with self.database.transaction() as connection:
            return connection.execute(_queries.retry, self._who).rowcount

    @patiently
    def start_run(self, planned: int) -> int:
        """Record that a refresh has begun; returns its key."""
        with self.database.transaction() as connection:
            row = connection.execute(_queries.start_run, {**self._who, "planned": planned}).fetchone()
            assert row is not None
            return int(row[0])

    def finish_run(
        self, run_id: int, embedded: int, failed: int, tokens: int, seconds: float, error: str | None
    ) -> None:
        """Record how it ended; `error` is the kind of error that ended it early."""
        figures = {"embedded": embedded, "failed": failed, "tokens": tokens, "seconds": seconds, "error": error}
        with self.database.transaction() as connection:
            connection.execute(_queries.finish_run, {"run_id": run_id, **figures})

    @property
    def _only(self) -> list[bytes] | None:
        return None if self.only is None else list(self.only)

    @property
    def _who(self) -> dict[str, object]:
        return {
            "encoder_id": self.encoder.encoder_id,
            "worker": self.worker,
            "lease_seconds": self.lease_seconds,
        }

    @staticmethod
    def _copy(connection: Connection, contents: Sequence[bytes], encoded: Encoded) -> None:
        register_vectors(connection)
        connection.execute(_queries.vector_table)
        with connection.cursor() as cursor, cursor.copy(_queries.copy_vectors) as copy:
            copy.set_types(["bytea", "int4", "bool", "halfvec"])
            columns = (contents, encoded.token_counts.tolist(), encoded.truncated.tolist(), encoded.vectors)
            for content, tokens, truncated, vector in zip(*columns, strict=True):
                copy.write_row((content, tokens, truncated, HalfVector(vector)))
