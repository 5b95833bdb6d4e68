"""ehrdb: patient timelines, LLM embeddings, similarity and prediction as features of PostgreSQL.

import ehrdb

db = ehrdb.connect()                 # EHRDB_DATABASE_URL, or the embedded server
db.nearest(1, k=5)                   # a polars or pandas frame
print(db.timeline(1, "2020-01-01"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ehrdb.client import Client, OmopCohort, connect
    from ehrdb.errors import EhrdbError, EhrdbWarning

__version__ = "0.1.0"
__all__ = ["Client", "EhrdbError", "EhrdbWarning", "OmopCohort", "__version__", "connect"]


def __getattr__(name: str) -> Any:
    """`import ehrdb` takes no time: what asks a database is imported when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'ehrdb' has no attribute {name!r}")
    from ehrdb import client, errors

    return getattr(errors if name.startswith("Ehrdb") else client, name)


def __dir__() -> list[str]:
    return sorted(__all__)
