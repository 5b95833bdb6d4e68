"""Which files of a folder hold which table, and what stands there that nobody read."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from ehrdb import __version__
from ehrdb.errors import InputError

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_OTHER_DATA = re.compile(
    r"\.(txt|dat|psv|jsonl?|ndjson|zip|bz2|xz|zst|7z|tar|tgz|xlsx?|feather|arrow|avro|orc|sas7bdat|xpt|dta|rds)$"
)
_NUMBER = r"(?:[-_. ]*(?:part|chunk|shard|of)?[-_. ]*\d+)+"
_OF = re.compile(r"of[-_. ]*(\d+)$")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Part:
    """A file of a table. `constants`: columns that its folders' names hold (`year=2020/`), in lower case."""

    path: Path
    constants: dict[str, str | None] = field(default_factory=dict)


class SourceFolder:
    """A folder of tables. A table is one file, numbered files, or a folder of parts, whatever its letter case and kind.

    `concept.csv`; `measurement_1.csv` and `measurement_2.csv`; `measurement-00000-of-00002.parquet`; `measurement/`
    with files of any name in it. Names that start with a dot or an underscore are no data, by rule of Spark and Hive.
    """

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise InputError("is not a directory", file=directory, hint="Name the folder that holds the files.")
        self.directory = directory
        self._left = {entry for entry in sorted(directory.iterdir()) if not _is_hidden(entry)}
        self._unread: list[Path] = []

    def take(self, table: str) -> list[Part]:
        """The files of a table, in order; none where it is not there. Raises InputError where two forms hold it."""
        found = {form: paths for form in _FORMS if (paths := sorted(p for p in self._left if _holds(p, form, table)))}
        entries = [path for paths in found.values() for path in paths]
        if len(found) > 1 or len(found.get("file", ())) > 1 or len(found.get("folder", ())) > 1:
            raise InputError(f"both {entries[0].name} and {entries[1].name} hold table {table}", file=self.directory)
        if not entries:
            self._refuse_other_kinds(table)
        self._left -= set(entries)
        parts = self._parts_below(entries[0]) if "folder" in found else [Part(path) for path in entries]
        _check_parts(self.directory, table, parts)
        return parts

    def require(self, table: str) -> list[Part]:
        """The same, or an InputError that says what was looked for."""
        if parts := self.take(table):
            return parts
        raise InputError(
            f"has no {table}.csv",
            file=self.directory,
            hint=f"Expected {table} (a file, numbered files or a folder of files) with one of the endings "
            f"{', '.join(SUFFIXES)}, in any letter case.",
        )

    def ignore(self, name: str) -> None:
        """Count an entry as read: somebody else takes it."""
        self._left = {path for path in self._left if path.name.lower() != name}

    @property
    def unread(self) -> list[str]:
        """Names of what stands in the folder and belongs to no table that was taken."""
        return sorted(str(path.relative_to(self.directory)) for path in [*self._left, *self._unread])

    def _refuse_other_kinds(self, table: str) -> None:
        """A table that is there, but not in a form that can be read, is not absent."""
        for path in sorted(self._left):
            if path.name.lower().split(".")[0] == table and _OTHER_DATA.search(path.name.lower()):
                endings = ", ".join(SUFFIXES)
                raise InputError(f"is table {table} in a form that is not read", file=path, hint=f"Expected {endings}.")

    def _parts_below(self, folder: Path) -> list[Part]:
        shown = [
            path
            for path in files_below(folder)
            if not any(map(_is_hidden, [path, *path.relative_to(folder).parents[:-1]]))
        ]
        parts = [Part(path, _constants(path.relative_to(folder))) for path in shown if _suffix(path)]
        self._unread += [path for path in shown if not _suffix(path)]
        if not parts:
            raise InputError(
                "holds no file that can be read", file=folder, hint=f"Expected files with one of {', '.join(SUFFIXES)}."
            )
        return parts


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, in order. Links to folders are followed, each folder is entered once."""
    found: list[Path] = []
    entered: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        found += (Path(root, name) for name in names)
        folders[:] = [name for name in folders if os.path.realpath(Path(root, name)) not in entered]
        entered |= {os.path.realpath(Path(root, name)) for name in folders}
    return sorted(found)


def digest_files(directory: Path, *settings: object) -> bytes:
    """SHA-256 of a folder's data files, by name and content, and of the settings that they are read with."""
    if not directory.is_dir():
        raise InputError("is not a directory", file=directory, hint="Name the folder that holds the files.")
    digest = hashlib.sha256(repr((__version__, settings)).encode())
    for path in files_below(directory):
        digest.update(f"{path.relative_to(directory)}\n".encode() + (content_digest(path) if _suffix(path) else b""))
    return digest.digest()


def content_digest(path: Path) -> bytes:
    """SHA-256 of a file."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None


_FORMS = ("file", "numbered", "folder")


def _holds(path: Path, form: str, table: str) -> bool:
    """Whether an entry is a table, in one of the forms."""
    suffix, name = _suffix(path), path.name.lower()
    stem = name.removesuffix(suffix) if suffix else name
    if form == "folder":
        return path.is_dir() and stem == table
    if path.is_dir() or not suffix:
        return False
    return stem == table if form == "file" else re.fullmatch(re.escape(table) + _NUMBER, stem) is not None


def _check_parts(directory: Path, table: str, parts: list[Part]) -> None:
    """Parts are of one kind, and where they say how many they are, all there."""
    kinds = sorted({_suffix(part.path) for part in parts})
    if len(kinds) > 1:
        raise InputError(f"table {table} has parts of two kinds: {kinds[0]} and {kinds[1]}", file=directory)
    stems = (part.path.name.lower().removesuffix(kinds[0]) for part in parts)
    totals = {int(match[1]) for stem in stems if (match := _OF.search(stem))}
    if totals and totals != {len(parts)}:
        raise InputError(f"table {table} has {len(parts)} parts of {max(totals)}", file=directory)


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "_"))


def _constants(path: Path) -> dict[str, str | None]:
    """Columns that a partitioned table keeps in its folders' names."""
    return dict(_constant(name) for name in path.parts[:-1] if "=" in name)


def _constant(name: str) -> tuple[str, str | None]:
    column, value = name.split("=", 1)
    return column.lower(), None if value == _HIVE_NULL else unquote(value)


def entries(parts: list[Part]) -> Iterator[str]:
    """Paths of parts as text, for messages and reports."""
    return (str(part.path) for part in parts)
