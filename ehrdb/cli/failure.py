"""What went wrong, in a message and a hint: never a record's values, never a traceback for what a user can mend."""

from __future__ import annotations

import psycopg
import sqlalchemy.exc

from ehrdb.errors import EhrdbError
from ehrdb.extras import missing_extra

Explained = tuple[str, str | None]


def explain(error: BaseException) -> Explained | None:
    """Message and hint; None for what only a programmer can mend."""
    if isinstance(error, EhrdbError):
        return error.message, error.hint
    if isinstance(error, sqlalchemy.exc.DBAPIError) and isinstance(error.orig, psycopg.Error):
        return _of_database(error.orig)
    if isinstance(error, psycopg.Error):
        return _of_database(error)
    if isinstance(error, ModuleNotFoundError):
        missing = missing_extra(error)
        return (missing.message, missing.hint) if missing else None
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}", None
    return None


def _of_database(error: psycopg.Error) -> Explained:
    """Only what ehrdb itself raised is quoted: others may carry a record's values."""
    diagnosis = error.diag
    if diagnosis.sqlstate and diagnosis.sqlstate.startswith("EH"):
        return diagnosis.message_primary or "", diagnosis.message_hint
    return f"the database reports {type(error).__name__} ({diagnosis.sqlstate or 'no SQLSTATE'})", (
        "The server's log has the details; `ehrdb doctor` says what is missing, rights included."
    )
