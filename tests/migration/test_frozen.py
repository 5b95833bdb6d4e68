"""Shipped migrations never change: a database that ran one will not run it again."""

from __future__ import annotations

import hashlib
import json

from ehrdb.schema import project_path


def test_every_migration_is_as_it_was_shipped() -> None:
    folder = project_path("migrations")
    frozen = json.loads((folder / "frozen.json").read_text())
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "versions").glob("*.sql"))
    }
    assert digests == frozen
