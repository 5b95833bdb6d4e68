"""Shipped migrations never change: a database that ran one will not run it again."""

from __future__ import annotations

import hashlib
import json

from alembic.config import Config
from alembic.script import ScriptDirectory

from ehrdb.schema import _revisions, project_path


def test_every_migration_is_as_it_was_shipped() -> None:
    folder = project_path("migrations")
    frozen = json.loads((folder / "frozen.json").read_text())
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "versions").glob("*.sql"))
    }
    assert digests == frozen


def test_files_are_named_after_the_migrations_that_alembic_finds_in_that_order() -> None:
    config = Config()
    config.set_main_option("script_location", str(project_path("migrations")))
    assert [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()] == _revisions()
