"""Files into temporary tables, as they are: every column text, with the row's number in its file."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

from ehrdb.database import Connection
from ehrdb.errors import InputError
from ehrdb.events.folder import Part
from ehrdb.events.quoting import UNUSED_QUOTE, Layout, Records, is_quoted
from ehrdb.events.ragged import RaggedRow, even_rows
from ehrdb.events.streams import CHUNK, as_utf8, stream_of
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "files.sql")
ROWS_PER_PART = 1 << 40
"""Rows of a table's second part are numbered from here, and so on: a number says which part and which row."""
_DELIMITERS = "\t,;|"
_SKIP = "Correct the row, or add --skip-bad-rows: such rows are left out and counted."
_CONVERT = "Convert it: iconv -f LATIN1 -t UTF-8."
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_KINDS = (
    (b"\x1f\x8b", "gzip", "Name it .csv.gz."),
    (b"PAR1", "parquet", "Name it .parquet."),
    (b"PK\x03\x04", "a zip archive or a workbook", "Unpack it, or save it as CSV."),
)
_READING = (OSError, EOFError, zlib.error, csv.Error)


@dataclass(frozen=True)
class FileRules:
    """What files do not say themselves.

    Attributes:
        quoted, unquoted: tables whose text files quote by RFC 4180, or do not quote; others are looked at.
        time_zone: where times with a time zone become local times; None refuses them.
        skip_bad_rows: leave ragged rows out and name them, instead of refusing the file.
    """

    quoted: Collection[str] = ()
    unquoted: Collection[str] = ()
    time_zone: str | None = None
    skip_bad_rows: bool = False


_NO_RULES = FileRules()


@dataclass
class Excerpt:
    """Rows of a table's files that are wanted: those for which `condition`, over its columns as text, is true.

    `rows` of the files, without ragged ones, were found so far, of which `taken` were wanted, by file: together,
    excerpts that share no row and leave none out have taken as many as there are.
    """

    condition: sql.Composable
    rows: dict[Path, int] = field(default_factory=dict)
    taken: Counter[Path] = field(default_factory=Counter)


def copy_table(
    connection: Connection,
    parts: list[Part],
    name: str,
    *,
    required: tuple[str, ...] = (),
    rules: FileRules | None = None,
    left_out: list[RaggedRow] | None = None,
    excerpt: Excerpt | None = None,
    is_lasting: bool = False,
) -> int:
    """Copy a table's files into the temporary table `raw_<name>`; returns the number of rows that it took.

    It is there until the transaction ends; where `is_lasting`, until the session does.

    Its columns are text, named as in the header (lower case); `row` is part * ROWS_PER_PART + row of the file, which
    counts from 1 as the header does. Raises InputError for a missing column, parts with different columns, a ragged
    row (unless rows are skipped: then `left_out` names it), quotes that no rule covers, or bytes that are no text.
    """
    chosen = rules or _NO_RULES
    rows = 0
    for number, part in enumerate(parts):
        if len(parts) == 1 or part.path.stat().st_size:
            first = number * ROWS_PER_PART
            target = _Target(connection, part, name, required, chosen, first, left_out is not None, excerpt, is_lasting)
            copy = _copy_parquet if part.path.name.lower().endswith(".parquet") else _copy_text
            rows += copy(target, left_out)
    return rows


def columns_of(connection: Connection, name: str) -> list[str]:
    """Columns of `raw_<name>`; none where it is not there."""
    return [column for (column,) in connection.execute(_queries.columns_of_raw, {"table": name})]


def name_files(connection: Connection, name: str, files: list[str]) -> None:
    """Put a table's recorded problems into the files and rows where they are."""
    connection.execute(_queries.name_files, {"table": name, "files": files, "rows_per_part": ROWS_PER_PART})


class _UnevenRows(InputError):
    """A row has more or fewer fields than the header."""


@dataclass(frozen=True)
class _Target:
    """A part on its way into a table."""

    connection: Connection
    part: Part
    name: str
    required: tuple[str, ...]
    rules: FileRules
    first_row: int
    may_skip: bool
    excerpt: Excerpt | None
    is_lasting: bool

    @property
    def path(self) -> Path:
        return self.part.path

    def columns(self, header: list[str]) -> list[str]:
        """Lower-case names; an unnamed column, as of an index, is called by its place."""
        names = [name.strip().lower() for name in header]
        columns = [name or f"unnamed {place}" for place, name in enumerate(names, start=1)]
        if not any(header):
            raise InputError("is empty", file=self.path, hint="The first line names the columns.")
        # The line itself is not shown: where it is no header, it is a patient's.
        missing = [name for name in self.required if name not in {*columns, *self.part.constants}]
        if missing and len(missing) == len(self.required):
            expected = ", ".join(self.required)
            if all(any(name in column for column in columns) for name in missing):
                hint = "Write it again, with commas, tabs, semicolons or bars between unquoted or double-quoted names."
                raise InputError("has a header whose names cannot be told apart", file=self.path, row=1, hint=hint)
            raise InputError("has no header", file=self.path, row=1, hint=f"The first line must name: {expected}.")
        if missing:
            raise InputError("is missing", file=self.path, column=missing[0], hint="See the first line of the file.")
        for name in columns:
            if columns.count(name) > 1:
                raise InputError("stands twice in the header", file=self.path, row=1, column=name)
        return columns

    def create(self, columns: list[str], rows_before: int) -> None:
        """The table where it is not there yet, ready to count this part's rows."""
        table = sql.Identifier("pg_temp", f"raw_{self.name}")
        constants = {name: value for name, value in self.part.constants.items() if name not in columns}
        names = [*columns, *constants]
        present = set(columns_of(self.connection, self.name))
        if present and present != {"row", *names}:
            odd = min(present.symmetric_difference({"row", *names}))
            raise InputError("is not in all parts of the table", file=self.path, column=odd)
        if not present:
            definitions = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(name)) for name in names)
            self.connection.execute(
                sql.SQL("create temp table {} (row bigint, {}) on commit {}").format(
                    table, definitions, sql.SQL("preserve rows" if self.is_lasting else "drop")
                )
            )
            # A sequence outlives the transaction.
            self.connection.execute(sql.SQL("create sequence if not exists {} cache 1000").format(self._counter))
        first = sql.Literal(self.first_row + rows_before + 1)
        self.connection.execute(sql.SQL("alter sequence {} restart with {}").format(self._counter, first))
        defaults: list[tuple[str, sql.Composable]] = [
            ("row", sql.SQL("nextval({})").format(sql.Literal(f"pg_temp.raw_{self.name}_row"))),
            *((column, sql.Literal(value)) for column, value in constants.items()),
        ]
        for column, value in defaults:
            self.connection.execute(
                sql.SQL("alter table {} alter column {} set default {}").format(table, sql.Identifier(column), value)
            )

    @property
    def _counter(self) -> sql.Identifier:
        return sql.Identifier("pg_temp", f"raw_{self.name}_row")

    def copy(self, columns: list[str], chunks: Iterator[bytes], delimiter: str = ",", quote: str = '"') -> int:
        """COPY of text; returns the rows that the server took."""
        statement = sql.SQL("copy {} ({}) from stdin (format csv, delimiter {}, quote {}) where {}").format(
            sql.Identifier("pg_temp", f"raw_{self.name}"),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.Literal(delimiter),
            sql.Literal(quote),
            self.excerpt.condition if self.excerpt else sql.SQL("true"),
        )
        with self.connection.cursor() as cursor:
            try:
                with cursor.copy(statement) as copy:
                    for chunk in chunks:
                        copy.write(chunk)
            except psycopg.errors.DataError as error:
                raise _input_error(self.path, error, _SKIP if self.may_skip else None) from None
            except UnicodeDecodeError:
                raise InputError("is not valid text", file=self.path, hint=_CONVERT) from None
            except _READING as error:
                raise InputError(f"cannot be read to its end ({type(error).__name__})", file=self.path) from None
            return cursor.rowcount


def _copy_text(target: _Target, left_out: list[RaggedRow] | None) -> int:
    path = target.path
    header = _header(path)
    delimiter = max(_DELIMITERS, key=lambda d: (len(next(csv.reader([header], delimiter=d), [])), d == ","))
    columns = target.columns(next(csv.reader([header], delimiter=delimiter), []))
    layout = Layout(target.name if target.rules is not _NO_RULES else "", header, delimiter, columns)
    quoted = _quoting(path, layout, target.rules)
    target.create(columns, rows_before=1)
    records = Records(path, layout, quoted)
    try:
        with target.connection.transaction(), _rows(path) as chunks:
            quote = '"' if quoted else UNUSED_QUOTE
            copied = target.copy(columns, records.check(chunks), delimiter, quote)
    except _UnevenRows:
        if left_out is None or not target.rules.skip_bad_rows:
            raise
        copied, count = _copy_even_rows(target, layout, quoted, left_out)
    else:
        count = records.count
    return _all_rows(target, copied, count)


def _copy_even_rows(target: _Target, layout: Layout, quoted: bool, left_out: list[RaggedRow]) -> tuple[int, int]:
    """The rows that the server took, and those of the file that it could take."""
    records = Records(target.path, layout, quoted)
    found: list[RaggedRow] = []
    with _rows(target.path) as chunks:
        even = even_rows(records.check(chunks), layout.delimiter, quoted, len(layout.columns), target.first_row, found)
        copied = target.copy(["row", *layout.columns], even)
    left_out += found
    return copied, records.count - len(found)


def _all_rows(target: _Target, copied: int, count: int) -> int:
    """What was copied, where the server took as many rows as the file's line ends and quotes make."""
    if target.excerpt is not None:
        target.excerpt.rows[target.path] = count
        target.excerpt.taken[target.path] += copied
    elif copied != count:
        raise _lost_rows(target.path, count, copied)
    return copied


def check_excerpts(excerpts: Iterable[Excerpt]) -> None:
    """Raise InputError where excerpts that together are whole tables have not taken every row of a file."""
    rows: dict[Path, int] = {}
    taken: Counter[Path] = Counter()
    for excerpt in excerpts:
        rows |= excerpt.rows
        taken += excerpt.taken
    for path, count in rows.items():
        if taken[path] != count:
            raise _lost_rows(path, count, taken[path])


def _lost_rows(path: Path, rows: int, taken: int) -> InputError:
    return InputError(f"holds {rows} rows, but {taken} were read", file=path)


def _quoting(path: Path, layout: Layout, rules: FileRules) -> bool:
    if layout.table in rules.unquoted:
        return False
    if layout.table in rules.quoted or layout.delimiter != "\t":
        return True

    def chunks() -> Iterator[bytes]:
        with _rows(path) as opened:
            yield from opened

    try:
        return is_quoted(path, layout, chunks)
    except (UnicodeDecodeError, *_READING) as error:
        raise InputError(f"cannot be read to its end ({type(error).__name__})", file=path) from None


def _header(path: Path) -> str:
    with _opened(path) as stream:
        try:
            line = _first_line(stream).decode()
        except UnicodeDecodeError:
            raise InputError("is not valid UTF-8 text", file=path, row=1, hint=_CONVERT) from None
        except _READING as error:
            raise _unreadable(path, error) from None
    if "\0" in line:
        raise InputError("is not UTF-8 text", file=path, hint="Convert it: iconv -f UTF-16LE -t UTF-8.")
    if line.count('"') % 2:
        raise InputError("has a quote that is not closed in the header", file=path, row=1)
    return line


def _unreadable(path: Path, error: Exception) -> InputError:
    is_packed = path.name.lower().endswith(".gz")
    hint = "Is it compressed, as its ending .gz says?" if is_packed else None
    return InputError(f"cannot be read ({type(error).__name__})", file=path, hint=hint)


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[bytes]]:
    """What follows the header, in chunks."""
    with _opened(path) as stream:
        _first_line(stream)
        yield iter(lambda: stream.read(CHUNK), b"")


def _first_line(stream: io.BufferedReader) -> bytes:
    """Up to and without the first line end, which is \\n, \\r\\n or \\r."""
    line = bytearray()
    while (byte := stream.read(1)) not in (b"", b"\n", b"\r") and len(line) < CHUNK:
        line += byte
    if byte == b"\r" and stream.peek(1)[:1] == b"\n":
        stream.read(1)
    return bytes(line)


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    """A file's text as UTF-8 without a byte order mark, decompressed."""
    opener: Callable[[Path], IO[bytes]] = gzip.open if path.name.lower().endswith(".gz") else open  # type: ignore[assignment]
    try:
        stream = opener(path, "rb")  # type: ignore[call-arg]
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    with stream:
        buffered = stream if isinstance(stream, io.BufferedReader) else stream_of(iter(lambda: stream.read(CHUNK), b""))
        try:
            start = buffered.peek(4)[:4]
        except _READING as error:
            raise _unreadable(path, error) from None
        _require_text(path, start)
        encoding = next((name for mark, name in _MARKS if start.startswith(mark)), None)
        if encoding == "utf-8":
            buffered.read(len(codecs.BOM_UTF8))
        yield buffered if encoding in (None, "utf-8") else stream_of(as_utf8(buffered, encoding))


def _require_text(path: Path, start: bytes) -> None:
    """What programs put in front of files that are no text."""
    for mark, kind, hint in _OTHER_KINDS:
        if start.startswith(mark):
            raise InputError(f"is {kind}, as its name does not say", file=path, hint=hint)


def _copy_parquet(target: _Target, _: list[RaggedRow] | None) -> int:
    # Imported here: CSV files need no polars.
    from ehrdb.events.parquet_table import open_parquet

    names, batches = open_parquet(target.path, target.rules.time_zone)
    columns = target.columns(names)
    target.create(columns, rows_before=0)
    return target.copy(columns, batches)


def _input_error(path: Path, error: psycopg.Error, uneven: str | None) -> InputError:
    """What COPY found, without the row's contents: its context line quotes them."""
    line = re.search(r", line (\d+)", error.diag.context or "")
    row = int(line[1]) + (0 if path.name.lower().endswith(".parquet") else 1) if line else None
    found = (error.diag.message_primary or "").replace('"', "")
    if isinstance(error, psycopg.errors.BadCopyFileFormat):
        if found.startswith("missing data"):
            return _UnevenRows("has too few fields", file=path, row=row, column=found.rsplit(" ", 1)[-1], hint=uneven)
        if "newline" in found or "carriage return" in found:
            hint = "Give all lines one end: tr -d '\\r' < FILE > CLEAN makes it the newline."
            return InputError("ends its lines in different ways", file=path, row=row, hint=hint)
        return _UnevenRows("has too many fields or an unclosed quote", file=path, row=row, hint=uneven)
    if "0x00" in found:
        return InputError("holds a zero byte", file=path, row=row, hint=r"Remove it: tr -d '\000' < FILE > CLEAN.")
    return InputError("is not valid UTF-8 text", file=path, row=row, hint=_CONVERT)
