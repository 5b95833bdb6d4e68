"""What went wrong, in a message and a hint: never a record's values, never a traceback for what a user can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy.exc

from ehrdb.errors import (
    ArgumentError,
    DatabaseError,
    DatabaseUnavailable,
    EhrdbError,
    NotAllowed,
    NotFound,
    WorkerUnavailable,
)
from ehrdb.extras import missing_extra

Explained = tuple[str, str | None]

# What SQLSTATEs mean in Python, by how they begin; any other is a DatabaseError.
_CLASSES: dict[str, type[EhrdbError]] = {
    "EH001": NotFound,
    "EH003": NotFound,
    "EH004": NotFound,
    "EH005": NotFound,
    "EH006": NotFound,
    "EH008": WorkerUnavailable,
    "EH": ArgumentError,
    "42501": NotAllowed,
    "08": DatabaseUnavailable,
    "57P": DatabaseUnavailable,
}
_SYNTAX = "42"  # quotes the statement, never a row


@contextmanager
def translated(*, quoting_syntax: bool = False) -> Iterator[None]:
    """Whatever goes wrong inside, as an EhrdbError with a hint; what only a programmer can mend stays as it is.

    quoting_syntax: PostgreSQL's own words where a statement cannot be parsed or names what is not there.
    """
    try:
        yield
    except EhrdbError:
        raise
    except Exception as error:
        cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
        state = (isinstance(cause, psycopg.Error) and cause.sqlstate) or ""
        explained = explain(error)
        if explained is None:
            raise
        if quoting_syntax and isinstance(cause, psycopg.Error) and state.startswith(_SYNTAX) and state != "42501":
            words = cause.diag
            raise ArgumentError(words.message_primary or "no SQL", hint=words.message_hint, code=state) from None
        kind = next((kind for start, kind in _CLASSES.items() if state.startswith(start)), DatabaseError)
        raise kind(explained[0], hint=explained[1], code=state or None) from None


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
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return "the database takes nothing in: it is a standby, or its transactions are read-only", (
            "Name the primary server in EHRDB_DATABASE_URL (this command writes, if only who asked what); "
            "SQL that only reads is answered by a standby, too."
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "the role that asks has no rights to this", (
            "To read: an administrator grants ehr_analyst to the role. What writes takes a member of ehrdb's owner. "
            "`ehrdb doctor` says what is missing."
        )
    return f"the database reports {type(error).__name__} ({diagnosis.sqlstate or 'no SQLSTATE'})", (
        "The server's log has the details; `ehrdb doctor` says what is missing, rights included."
    )
