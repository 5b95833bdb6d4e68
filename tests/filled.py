"""What many tests begin with: a database filled once, and a copy of it for every test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ehrdb.database import Database
from tests.conftest import created_database


@contextmanager
def filled_once(
    server_url: str, owner_url: str, template: str, name: str, fill: Callable[[Database], object]
) -> Iterator[str]:
    """Name of a database to copy, made of the template and filled; dropped afterwards."""
    with created_database(server_url, owner_url, f"ehrdb_{name}_{os.getpid()}", template) as database:
        fill(database)
        database.engine.dispose()
        yield f"ehrdb_{name}_{os.getpid()}"
