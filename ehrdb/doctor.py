"""What could be wrong, and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from ehrdb.config import Settings
from ehrdb.database import Connection, open_database
from ehrdb.embedding import registry
from ehrdb.embedding.load import load_encoder
from ehrdb.errors import EhrdbError
from ehrdb.queries import Queries
from ehrdb.schema import MINIMUM_SERVER, require_current

ADVISED_PGVECTOR = (0, 8, 4)
FREE_DISK_ADVISED = 5 << 30
_queries = Queries("ehrdb", "schema.sql")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check; `advice` says what to do where it failed."""

    check: str
    ok: bool
    found: str
    advice: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Run every check that can be run; a failed one never hides the others."""
    findings = [_disk(settings), _runtime(settings)]
    try:
        with open_database(settings) as database, database.transaction() as connection:
            findings.append(Finding("connection", True, database.place))
            findings += _server_checks(connection)
            findings.append(_guarded("encoder", lambda: _encoder(settings, connection)))
    except EhrdbError as error:
        findings.append(Finding("connection", False, error.message, error.hint or ""))
    return findings


def _server_checks(connection: Connection) -> Iterator[Finding]:
    version = connection.info.server_version
    yield Finding(
        "server",
        version >= MINIMUM_SERVER,
        f"PostgreSQL {version // 10_000}.{version % 10_000}",
        "Use 15 or later.",
    )
    yield _pgvector(connection)
    yield _guarded("schema", lambda: _schema(connection))


def _pgvector(connection: Connection) -> Finding:
    row = connection.execute(_queries.vector_version).fetchone()
    if row is None:
        return Finding("pgvector", False, "not installed", "Install pgvector on the server, then run `ehrdb upgrade`.")
    numbers = tuple(int(part) for part in row[0].split(".")[:3])
    # Complete filtered searches need 0.8 (iterative scans); vacuum of HNSW had bugs until 0.8.4.
    return Finding(
        "pgvector",
        numbers >= (0, 8),
        f"{row[0]}{'' if numbers >= ADVISED_PGVECTOR else ' (0.8.4 advised)'}",
        "Upgrade pgvector to 0.8.4 or later.",
    )


def _schema(connection: Connection) -> Finding:
    require_current(connection)
    return Finding("schema", True, "current")


def _encoder(settings: Settings, connection: Connection) -> Finding:
    require_current(connection)
    registered = registry.find(connection, settings.encoder)
    encoder = load_encoder(settings, registered)
    encoder.encode(["essential hypertension"])
    return Finding("encoder", True, f"{registered.name} on {', '.join(settings.provider_list)}")


def _runtime(settings: Settings) -> Finding:
    if find_spec("onnxruntime") is None:
        return Finding("onnxruntime", False, "not installed", "pip install 'ehrdb[cpu]' or 'ehrdb[gpu]'.")
    import onnxruntime

    available = onnxruntime.get_available_providers()
    missing = [name for name in settings.provider_list if name not in available]
    return Finding(
        "onnxruntime",
        not missing,
        f"{onnxruntime.__version__} with {', '.join(available)}",
        f"EHRDB_PROVIDERS asks for {', '.join(missing)}.",
    )


def _disk(settings: Settings) -> Finding:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk",
        free >= FREE_DISK_ADVISED,
        f"{free >> 30} GiB free at {folder}",
        "Free at least 5 GiB or move EHRDB_HOME.",
    )


def _guarded(check: str, run: Callable[[], Finding]) -> Finding:
    try:
        return run()
    except EhrdbError as error:
        return Finding(check, False, error.message, error.hint or "")
