"""SQL statements that Python runs: named blocks in `.sql` files beside the code that uses them.

A block starts with the line `-- name: its_name`, and a comment that says what it does; parameters are psycopg's
`%(name)s`. No other comment starts a block.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

_HEADER = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


class Queries:
    """The blocks of one file as attributes, ready for `connection.execute`."""

    def __init__(self, place: str | Path, file: str = "queries.sql") -> None:
        """`place` is a package or a folder. Raises ValueError where the file is not made of named blocks."""
        folder = place if isinstance(place, Path) else files(place)
        text = (folder / file).read_text(encoding="utf-8")
        before, *parts = _HEADER.split(text)
        names = parts[::2]
        if before.strip() or len(set(names)) < len(names):
            raise ValueError(f"{file}: SQL before the first block, or two blocks of one name")
        self._blocks = dict(zip(names, parts[1::2], strict=True))

    def __getattr__(self, name: str) -> bytes:
        try:
            return self._blocks[name].strip().encode()
        except KeyError:
            raise AttributeError(name) from None
