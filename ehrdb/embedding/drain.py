"""One worker: claim, embed and store until nothing is left to claim."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

from ehrdb.embedding.embed import Failure, embed
from ehrdb.embedding.queue import Queue
from ehrdb.encoder import Encoder

FIRST_CLAIM, LARGEST_CLAIM = 8, 256
CLAIM_SECONDS = 10

Progress = Callable[[int, int], None]
"""Called with contents done and contents known to be to do."""


@dataclass
class RefreshResult:
    """What a refresh did. `leased` and `dead`: contents that others hold, and that were given up. `unindexed`: encoders
    whose search index is to be built, which this role may not. `moments`: index dates that were asked for; `without`:
    of how many there is nothing to embed. `outdated`: contents whose records had changed when their turn came, and that
    no plan has looked at since."""

    patients: int = 0
    queued: int = 0
    embedded: int = 0
    failed: int = 0
    tokens: int = 0
    seconds: float = 0.0
    leased: int = 0
    waiting: int = 0
    dead: int = 0
    unindexed: int = 0
    moments: int = 0
    without: int = 0
    outdated: int = 0

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some failed or keep changing, 2 nothing could be embedded, 3 others hold what is left."""
        if self.failed:
            return 1 if self.embedded else 2
        if self.outdated:
            return 1
        return 3 if self.leased and not self.embedded else 0


def add_up(results: Sequence[RefreshResult]) -> RefreshResult:
    """The sums of all figures."""
    names = [field.name for field in fields(RefreshResult)]
    return RefreshResult(**{name: sum(getattr(result, name) for result in results) for name in names})


def drain(
    queue: Queue,
    load_encoder: Callable[[], Encoder],
    *,
    result: RefreshResult | None = None,
    progress: Progress = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RefreshResult:
    """Empty the queue. However this ends, what was stored stays, and what is still leased becomes free.

    Counts in `result` as it goes, so that a run that is cut short is told truly.
    """
    result = result or RefreshResult()
    started = time.monotonic()
    total = queue.outlook().ready
    encoder = load_encoder()
    jobs = FIRST_CLAIM
    try:
        while not should_stop() and (claimed := queue.claim(jobs)):
            claimed_at = time.monotonic()
            for _ in _embed_claimed(queue, encoder, claimed, result):
                done = result.embedded + result.failed
                progress(done, max(done, total))
                if should_stop():
                    break
            jobs = _next_claim(jobs, time.monotonic() - claimed_at)
    finally:
        queue.release()
    result.outdated = len(queue.outdated)
    result.seconds = time.monotonic() - started
    return result


def _next_claim(jobs: int, seconds: float) -> int:
    """How many to claim after a claim took so long: seconds of work, so that nobody sits on what others could do."""
    if seconds > CLAIM_SECONDS:
        return max(1, jobs // 2)
    return min(2 * jobs, LARGEST_CLAIM) if seconds < CLAIM_SECONDS / 2 else jobs


def worker_name() -> str:
    """Unique to one worker's run: machine, process and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def _embed_claimed(
    queue: Queue, encoder: Encoder, claimed: list[tuple[bytes, str]], result: RefreshResult
) -> Iterator[None]:
    """Embed and store, one step per batch or failure."""
    contents = [content for content, _ in claimed]
    for outcome in embed(encoder, [text for _, text in claimed]):
        if isinstance(outcome, Failure):
            queue.fail(contents[outcome.index], outcome.reason)
            result.failed += 1
        else:
            queue.store([contents[i] for i in outcome.indices], outcome.encoded)
            result.embedded += len(outcome.indices)
            result.tokens += int(outcome.encoded.token_counts.sum())
        yield
