"""Files into temporary tables, as they are: every column text, with the row's number in the file."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psycopg
from psycopg import sql

from ehrdb import __version__
from ehrdb.database import Connection
from ehrdb.errors import InputError
from ehrdb.events.ragged import RaggedRow, even_rows

if TYPE_CHECKING:
    import polars as pl

_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_CHUNK = 1 << 20
_CONVERT = "Convert it: iconv -f LATIN1 -t UTF-8."


def find_file(directory: Path, name: str) -> Path | None:
    """The file of a table, whatever its letter case and kind (csv, tsv, gzipped or not, parquet)."""
    if not directory.is_dir():
        raise InputError("is not a directory", file=directory, hint="Name the folder that holds the files.")
    wanted = {name + suffix for suffix in _SUFFIXES}
    found = sorted(path for path in directory.iterdir() if path.name.lower() in wanted)
    if len(found) > 1:
        raise InputError(f"both {found[0].name} and {found[1].name} hold table {name}", file=directory)
    return found[0] if found else None


def require_file(directory: Path, name: str) -> Path:
    """The same, or an InputError that says what was looked for."""
    path = find_file(directory, name)
    if path is None:
        raise InputError(
            f"has no {name}.csv",
            file=directory,
            hint=f"Expected {name} with one of the endings {', '.join(_SUFFIXES)}, in any letter case.",
        )
    return path


def digest_files(directory: Path, *settings: object) -> bytes:
    """SHA-256 of a folder's data files, by name and content, and of the settings that they are read with."""
    if not directory.is_dir():
        raise InputError("is not a directory", file=directory, hint="Name the folder that holds the files.")
    digest = hashlib.sha256(repr((__version__, settings)).encode())
    for path in sorted(path for path in directory.rglob("*") if path.name.lower().endswith(_SUFFIXES)):
        try:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").digest()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=path) from None
        digest.update(f"{path.relative_to(directory)}\n".encode() + content)
    return digest.digest()


def copy_file(
    connection: Connection,
    path: Path,
    table: str,
    *,
    required: tuple[str, ...] = (),
    left_out: list[RaggedRow] | None = None,
    first_row: int = 2,
) -> int:
    """Copy a file into the temporary table `table`, created on first use: text columns named as in the
    header (lower case), and `row`, counted from `first_row`: the row's line number. Returns the number of rows.

    Raises InputError for a missing column, a ragged row or bytes that are not UTF-8 text. Given a list `left_out`,
    ragged rows are left out and named there instead.
    """
    if path.suffix == ".parquet":
        return _copy_parquet(connection, path, table, required, first_row)
    with _opened(path) as stream:
        header_line = _first_line(path, stream)
        delimiter = "\t" if "\t" in header_line else ","
        columns = _column_names(path, next(csv.reader([header_line], delimiter=delimiter), []), required)
        _create(connection, table, columns, first_row)
        # Tab-separated vocabulary files carry bare quotes; no file holds a backspace.
        quote = "\b" if delimiter == "\t" else '"'
        chunks = iter(lambda: stream.read(_CHUNK), b"")
        try:
            with connection.transaction():
                return _copy(connection, path, table, columns, chunks, delimiter, quote)
        except _UnevenRows:
            if left_out is None:
                raise
    with _opened(path) as stream:
        stream.readline()
        even = even_rows(stream, delimiter, quote == '"', len(columns), left_out)
        return _copy(connection, path, table, ["row", *columns], even, ",", '"')


def _first_line(path: Path, stream: IO[bytes]) -> str:
    try:
        return stream.readline().decode("utf-8-sig", errors="replace")
    except (OSError, EOFError) as error:
        raise InputError(
            f"cannot be read ({type(error).__name__})", file=path, hint="Is it compressed, as its ending .gz says?"
        ) from None


class _UnevenRows(InputError):
    """A row has more or fewer fields than the header."""


def _copy_parquet(connection: Connection, path: Path, table: str, required: tuple[str, ...], first_row: int) -> int:
    # Imported here: CSV files need no polars.
    import polars as pl

    try:
        frame = pl.scan_parquet(path, glob=False)
        names = frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"is not readable parquet ({type(error).__name__})", file=path) from None
    columns = _column_names(path, names, required)
    _create(connection, table, columns, first_row)
    batches = (_as_csv(batch) for batch in frame.collect_batches(chunk_size=200_000))
    try:
        return _copy(connection, path, table, columns, batches, ",", '"')
    except pl.exceptions.PolarsError as error:
        raise InputError(f"cannot be read to its end ({type(error).__name__})", file=path) from None


def _as_csv(batch: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    batch.write_csv(buffer, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S%.f")
    return buffer.getvalue()


def _column_names(path: Path, header: list[str], required: tuple[str, ...]) -> list[str]:
    """Lower-case names; an unnamed index column is called `unnamed`."""
    columns = [name.strip().lower() or "unnamed" for name in header]
    if not any(columns):
        raise InputError("is empty", file=path, hint="The first line names the columns.")
    for name in columns:
        if columns.count(name) > 1:
            raise InputError("stands twice in the header", file=path, row=1, column=name)
    for name in required:
        if name not in columns:
            raise InputError("is missing", file=path, column=name, hint=f"The header has: {', '.join(columns)}.")
    return columns


def _create(connection: Connection, table: str, columns: list[str], first_row: int) -> None:
    connection.execute(
        sql.SQL("create temp table if not exists {} (row bigint, {}) on commit drop").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(c)) for c in columns),
        )
    )
    counter = sql.Identifier("pg_temp", table + "_row")
    connection.execute(sql.SQL("create sequence if not exists {} cache 1000").format(counter))
    connection.execute(sql.SQL("alter sequence {} restart with {}").format(counter, sql.Literal(first_row)))
    connection.execute(
        sql.SQL("alter table {} alter column row set default nextval({})").format(
            sql.Identifier("pg_temp", table), sql.Literal(f"pg_temp.{table}_row")
        )
    )


def _copy(
    connection: Connection,
    path: Path,
    table: str,
    columns: list[str],
    chunks: Iterator[bytes],
    delimiter: str,
    quote: str,
) -> int:
    statement = sql.SQL("copy {} ({}) from stdin (format csv, delimiter {}, quote {})").format(
        sql.Identifier("pg_temp", table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Literal(delimiter),
        sql.Literal(quote),
    )
    with connection.cursor() as cursor:
        try:
            with cursor.copy(statement) as copy:
                for chunk in chunks:
                    copy.write(chunk)
        except psycopg.errors.DataError as error:
            raise _input_error(path, error) from None
        except UnicodeDecodeError:
            raise InputError("is not valid UTF-8 text", file=path, hint=_CONVERT) from None
        except (OSError, EOFError, csv.Error) as error:
            raise InputError(f"cannot be read to its end ({type(error).__name__})", file=path) from None
        return cursor.rowcount


def _input_error(path: Path, error: psycopg.Error) -> InputError:
    """What COPY found, without the row's contents: its context line quotes them."""
    line = re.search(r", line (\d+)", error.diag.context or "")
    row = int(line[1]) + 1 if line else None
    if isinstance(error, psycopg.errors.BadCopyFileFormat):
        found = (error.diag.message_primary or "").replace('"', "")
        if found.startswith("missing data"):
            return _UnevenRows("has too few fields", file=path, row=row, column=found.rsplit(" ", 1)[-1])
        return _UnevenRows("has too many fields or an unclosed quote", file=path, row=row)
    return InputError("is not valid UTF-8 text", file=path, row=row, hint=_CONVERT)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    opener: Callable[[Path], IO[bytes]] = gzip.open if path.suffix == ".gz" else open  # type: ignore[assignment]
    try:
        stream = opener(path, "rb")  # type: ignore[call-arg]
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None
    with stream:
        yield stream
