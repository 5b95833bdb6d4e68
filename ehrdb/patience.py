"""Faults of the system, told apart from faults of a text: they pass, so they are waited for."""

from __future__ import annotations

import psycopg
import sqlalchemy.exc
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

from ehrdb.errors import DatabaseUnavailable

PATIENCE_SECONDS = 120

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
    stop=stop_after_delay(PATIENCE_SECONDS),
    reraise=True,
)
"""Runs a transaction anew while the database has a passing fault; after two minutes the fault is raised."""
