"""The files of sql/: what each creates, what it needs, and so the order they are applied in.

`name.sql` creates the public `ehr.name`, `_name.sql` the internal `ehrdb.name`. A file needs the files whose objects
it names (`ehr.x`, `ehrdb.x`), wherever it names them: in the body of a function as well, so that they can be read in
the order they are applied in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

_EXTENSION_SCHEMA = re.compile(rb"\bpublic(?=\.[\w<|])")
_NOT_CODE = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_NAME = re.compile(r"\behr(?:db)?\.\w+")


def created_by(path: Path) -> str:
    """Name of the object that a file is about: ehr.name, or ehrdb.name for _name.sql."""
    return f"ehrdb.{path.stem[1:]}" if path.stem.startswith("_") else f"ehr.{path.stem}"


def named_in(path: Path) -> set[str]:
    """Qualified names of schemas ehr and ehrdb in a file, those in comments and literals left out."""
    return set(_NAME.findall(_NOT_CODE.sub("", path.read_text(encoding="utf-8"))))


def needs(paths: Iterable[Path]) -> dict[Path, set[Path]]:
    """Which other files must come before each file. Raises ValueError where two would create one object."""
    creator: dict[str, Path] = {}
    for path in paths:
        if (other := creator.setdefault(created_by(path), path)) != path:
            raise ValueError(f"two files of sql/ have one name: {other}, {path}")
    return {path: {creator[name] for name in named_in(path) & creator.keys()} - {path} for path in creator.values()}


def in_order(paths: Iterable[Path]) -> list[Path]:
    """The files in an order in which each finds what it needs; by path where that leaves a choice.

    Raises ValueError naming the files that need each other.
    """
    sorter = TopologicalSorter(needs(paths))
    try:
        sorter.prepare()
    except CycleError as error:
        names = " -> ".join(path.name for path in error.args[1])
        raise ValueError(f"these files of sql/ need each other: {names}") from None
    ordered: list[Path] = []
    ready: list[Path] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        ordered.append(ready.pop(0))
        sorter.done(ordered[-1])
    return ordered


def as_applied(path: Path, schema: bytes) -> bytes:
    """A file of sql/ or migrations/ for a database where the extension vector lives in `schema`, quoted where need be.

    The files say `public`, where it is by default: `public.halfvec`, `operator(public.<=>)`.
    """
    return _EXTENSION_SCHEMA.sub(schema.replace(b"\\", rb"\\"), path.read_bytes())
