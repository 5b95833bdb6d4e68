"""What refreshes keep up to date by difference, compared with the data itself."""

from __future__ import annotations

from dataclasses import dataclass

from ehrdb.database import Database, require_whole
from ehrdb.queries import Queries

_queries = Queries("ehrdb.embedding")


@dataclass(frozen=True)
class Repaired:
    """What was wrong and is right now.

    Attributes:
        wrong_frequencies: concepts whose number of patients was wrong.
        wrong_figures: sources and encoders of which a figure of `ehrdb status` was wrong.
        unused: vectors and queued contents that nobody's record shows, dropped.
        lost: contents that had neither vector nor place in the queue, queued.
    """

    wrong_frequencies: int
    wrong_figures: int
    unused: int
    lost: int

    @property
    def is_clean(self) -> bool:
        """Whether nothing had to be repaired."""
        return self == Repaired(0, 0, 0, 0)


def repair(database: Database) -> Repaired:
    """Read everything, once, and put right what differs; all or nothing. Refreshes wait meanwhile, readers do not."""
    with database.transaction() as connection:
        require_whole(connection)
        connection.execute(_queries.unhurried)
        row = connection.execute(_queries.repair).fetchone()
    assert row is not None
    return Repaired(*row)
