"""Faults of the system, told apart from faults of a text: they pass, so they are waited for."""

from __future__ import annotations

from threading import Event

import psycopg
import sqlalchemy.exc
from tenacity import (
    retry,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential,
)

from ehrdb.errors import DatabaseUnavailable

PATIENCE_SECONDS = 120
ENDING = Event()
"""Set when this process is asked to end: nobody waits for the database any longer."""

# psycopg files lost connections, restarts, full disks, exhausted memory, time-outs and deadlocks under
# OperationalError (SQLSTATE classes 08, 40, 53, 57 and 58). A failover shows as a server that only reads for a while.
PASSING = (
    DatabaseUnavailable,
    psycopg.OperationalError,
    psycopg.errors.ReadOnlySqlTransaction,
    sqlalchemy.exc.OperationalError,
)

patiently = retry(
    retry=retry_if_exception_type(PASSING),
    wait=wait_exponential(multiplier=0.5, max=15),
    stop=stop_after_delay(PATIENCE_SECONDS) | stop_when_event_set(ENDING),
    sleep=sleep_using_event(ENDING),
    reraise=True,
)
"""Runs a transaction anew while the database has a passing fault; after two minutes, or when the process is to end, the
fault is raised."""
