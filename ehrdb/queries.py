"""SQL statements that Python runs: named blocks in `.sql` files beside the code that uses them.

A block starts with a line `-- name: what it does`; parameters are psycopg's `%(name)s`.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

_HEADER = re.compile(r"^-- ([a-z_]+): .+$", re.MULTILINE)


class Queries:
    """The blocks of one file as attributes, ready for `connection.execute`."""

    def __init__(self, place: str | Path, file: str = "queries.sql") -> None:
        """`place` is a package or a folder."""
        folder = place if isinstance(place, Path) else files(place)
        text = (folder / file).read_text(encoding="utf-8")
        _, *parts = _HEADER.split(text)
        self._blocks = dict(zip(parts[::2], parts[1::2], strict=True))

    def __getattr__(self, name: str) -> bytes:
        try:
            return self._blocks[name].strip().encode()
        except KeyError:
            raise AttributeError(name) from None
