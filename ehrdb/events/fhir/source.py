"""Files of a Bulk Data export or of bundles, resource by resource.

Each line of NDJSON is one; a bundle may be a line too.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from ehrdb.errors import InputError
from ehrdb.events.fhir.models import RESOURCES, Bundle, Read
from ehrdb.events.folder import files_below

_DATA = re.compile(r"\.(ndjson|jsonl|json)(\.gz)?$")
_LINES = re.compile(r"\.(ndjson|jsonl)(\.gz)?$")
_PROBLEMS = {
    "missing": "is missing",
    "string_type": "is no text",
    "float_type": "is no number",
    "int_type": "is no whole number",
    "int_from_float": "is no whole number",
    "finite_number": "is no number",
    "bool_type": "is neither true nor false",
    "list_type": "is no list",
    "model_type": "is no object",
    "dict_type": "is no object",
    "literal_error": "is none of the codes that FHIR has for it",
    "json_invalid": "is no valid JSON",
    "union_tag_not_found": "has no resourceType",
}
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Found:
    """A resource, or why it could not be read: `kind` is its resourceType, `row` its line (or its place in a bundle).

    `resource` is None for a type that is not read. `digest` is of its content. `names`: what references in its bundle
    mean.
    """

    row: int
    kind: str
    resource: Read | None = None
    digest: int = 0
    names: Mapping[str, str] = field(default_factory=dict)
    error: InputError | None = None


def fhir_files(place: Path) -> tuple[list[Path], list[str]]:
    """Files that hold resources, and names of those that do not. Raises InputError where there is none."""
    if place.is_file():
        return [place], []
    if not place.is_dir():
        raise InputError("is not there", file=place, hint="Name a folder, or a file of NDJSON.")
    shown = [p for p in files_below(place) if not any(n.startswith((".", "_")) for n in p.relative_to(place).parts)]
    taken = [path for path in shown if _DATA.search(path.name.lower())]
    if not taken:
        raise InputError(
            "holds no .ndjson and no .json", file=place, hint="Name the folder of a Bulk Data export, or of bundles."
        )
    return taken, [str(path.relative_to(place)) for path in shown if path not in set(taken)]


def resources_of(file: Path) -> Iterator[Found]:
    """Every resource of a file. A JSON file that is no resource (a manifest) is one without a kind.

    Raises InputError where the file cannot be read.
    """
    with _opened(file) as stream:
        first = stream.readline().removeprefix(_MARK)
        if _LINES.search(file.name.lower()) or _is_json(first):
            yield from _of_lines(file, first, stream)
        else:
            yield from _of_text(file, 1, first + stream.read())


def _of_lines(file: Path, first: bytes, stream: IO[bytes]) -> Iterator[Found]:
    row, line = 1, first
    while line:
        if line.strip():
            yield from _of_text(file, row, line)
        row, line = row + 1, stream.readline()


def _of_text(file: Path, row: int, text: bytes) -> Iterator[Found]:
    try:
        found = RESOURCES.validate_json(text)
    except ValidationError as error:
        is_other = _type_of(error) == "union_tag_not_found" and not _LINES.search(file.name.lower())
        yield Found(row, "") if is_other else _faulty(file, row, error)
        return
    if b"\\u0000" in text:  # the server's texts have none
        yield _refused(file, row, found.resourceType, "", "holds a zero byte")
    elif isinstance(found, Bundle):
        yield from _of_bundle(file, found)
    else:
        yield Found(row, found.resourceType, found, hash(text.strip()))


def _of_bundle(file: Path, bundle: Bundle) -> Iterator[Found]:
    """What a bundle holds; its references by URL are those of its own entries."""
    entries = bundle.entry or []
    names = {entry.fullUrl: _name(entry.fullUrl, entry.resource) for entry in entries if entry.fullUrl}
    for row, entry in enumerate(entries, 1):
        if entry.request is not None and entry.request.method == "DELETE":
            yield _refused(
                file, row, "Bundle", "entry.request", "is a deletion", "Load whole exports, not those since a moment."
            )
        elif isinstance(entry.resource, dict):
            yield _of_entry(file, row, _identified(entry.resource, names.get(entry.fullUrl or "")), names)


def _name(url: str, resource: Any) -> str:
    """Type/id of an entry; one without an id has that of its URL."""
    held = resource if isinstance(resource, dict) else {}
    return f"{held.get('resourceType')}/{held.get('id') or url.rstrip('/').replace(':', '/').rsplit('/', 1)[-1]}"


def _identified(resource: dict[str, Any], name: str | None) -> dict[str, Any]:
    return resource if resource.get("id") or name is None else {**resource, "id": name.split("/", 1)[1]}


def _of_entry(file: Path, row: int, resource: dict[str, Any], names: Mapping[str, str]) -> Found:
    try:
        found = RESOURCES.validate_python(resource)
    except ValidationError as error:
        return _faulty(file, row, error)
    if isinstance(found, Bundle):
        return _refused(file, row, "Bundle", "entry.resource", "is a bundle within a bundle")
    return Found(row, found.resourceType, found, hash(repr(resource)), names)


def _faulty(file: Path, row: int, error: ValidationError) -> Found:
    """What is wrong first; never a value. A type that is not read is none of it."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "union_tag_invalid":
        return Found(row, _type_name(first["ctx"]["tag"]))
    kind, *fields = [str(part) for part in first["loc"]] or [""]
    return _refused(file, row, kind, ".".join(fields), _PROBLEMS.get(first["type"], "cannot be understood"))


@cache
def _type_name(tag: str) -> str:
    """A type of FHIR is a word; another text is not shown."""
    return tag if re.fullmatch(r"[A-Z][A-Za-z]{1,60}", tag) else "(no resource of FHIR)"


def _refused(file: Path, row: int, kind: str, field: str, problem: str, hint: str | None = None) -> Found:
    column = ".".join(filter(None, (kind, field))) or None
    return Found(
        row, kind or "(no resource of FHIR)", error=InputError(problem, file=file, row=row, column=column, hint=hint)
    )


def _type_of(error: ValidationError) -> str:
    return error.errors(include_url=False, include_input=False)[0]["type"]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """A file, unpacked where it is packed, whatever it is called."""
    try:
        with file.open("rb") as stream:
            is_packed = stream.peek(2)[:2] == b"\x1f\x8b"
            yield gzip.GzipFile(fileobj=stream) if is_packed else stream  # type: ignore[misc]
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read ({type(error).__name__})", file=file) from None
