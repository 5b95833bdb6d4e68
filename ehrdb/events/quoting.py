"""Quotes in text files: which rule a file follows, and whether it keeps to it.

RFC 4180 (`quoted`): a field in quotes starts behind a delimiter and ends before one; a quote within is doubled.
Athena's tab-separated vocabularies (`literal`) know no quotes: a quote is a character like any other.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ehrdb.errors import InputError
from ehrdb.events.streams import text_of

csv.field_size_limit(sys.maxsize)

UNUSED_QUOTE = "\b"
"""What COPY is told to take for a quote in files that have none; a file that holds one is refused."""
_QUOTE, _NEWLINE, _RETURN = b'"\n\r'


Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Layout:
    """What a file's first line says, and which table it is of, as the options name it (empty: there are none)."""

    table: str
    header: str
    delimiter: str
    columns: list[str]


class Records:
    """Passes a file's bytes on and counts its records; refuses a quote that is no part of a quoted field."""

    def __init__(self, path: Path, layout: Layout, quoted: bool) -> None:
        self.path, self.layout, self.quoted = path, layout, quoted
        self.problem: InputError | None = None
        self._inside = False
        self._newlines = self._returns = 0
        self._last = b"\n"
        self._open_record = b""

    def check(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks. Raises InputError behind the last good one."""
        for chunk in self.scan(chunks):
            if self.problem is not None:
                raise self.problem
            yield chunk

    def scan(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks; stops with `problem` at the first misplaced quote."""
        following = next(chunks, b"")
        while following:
            chunk, following = following, next(chunks, b"")
            if self.quoted and (self._inside or b'"' in chunk):
                self._count_quoted(chunk, following[:1])
            else:
                self._count(chunk)
            self._last = chunk[-1:]
            yield chunk
            if self.problem:
                return
        if self._inside and self.problem is None:
            self.problem = self._refused("has a quote that is never closed")
            yield b""

    @property
    def count(self) -> int:
        """Records so far, the header's not among them."""
        return (self._newlines or self._returns) + (self._last not in (b"\n", b"\r"))

    def _count(self, chunk: bytes) -> None:
        if not self.quoted and UNUSED_QUOTE.encode() in chunk:
            self.problem = self._refused("holds a backspace character, at this row or below")
        self._newlines += chunk.count(b"\n")
        self._returns += chunk.count(b"\r")
        self._open_record = self._rest(chunk, max(chunk.rfind(b"\n"), chunk.rfind(b"\r")))

    def _rest(self, chunk: bytes, end: int) -> bytes:
        """What belongs to the record that the chunk leaves open."""
        return chunk[end + 1 :] if end >= 0 else self._open_record + chunk

    def _count_quoted(self, chunk: bytes, following: bytes) -> None:
        # Quotes open and close in turns; a doubled one closes and opens again.
        data = np.frombuffer(chunk, np.uint8)
        quotes = np.flatnonzero(data == _QUOTE)
        bad = self._first_bad(data, quotes, following)
        if bad is not None:
            data, quotes = data[:bad], quotes[quotes < bad]
        newlines, returns = (self._outside(np.flatnonzero(data == end), quotes) for end in (_NEWLINE, _RETURN))
        self._newlines += len(newlines)
        self._returns += len(returns)
        end = max([*newlines[-1:], *returns[-1:]], default=-1)
        self._open_record = self._rest(chunk[:bad], int(end))
        if bad is not None:
            self.problem = self._refused("has a quote inside an unquoted field, or text behind a quoted one")
        self._inside ^= bool(len(quotes) % 2)

    def _outside(self, places: Places, quotes: Places) -> Places:
        """Those of the places that are not within quotes."""
        outside: Places = places[(np.searchsorted(quotes, places) + self._inside) % 2 == 0]
        return outside

    def _first_bad(self, data: npt.NDArray[np.uint8], quotes: Places, following: bytes) -> int | None:
        around = np.frombuffer(b"".join((self._last, data.tobytes(), following or b"\n")), np.uint8)
        ends = np.frombuffer(self.layout.delimiter.encode() + b'\n\r"', np.uint8)
        closes = (np.arange(len(quotes)) + self._inside) % 2 == 1
        neighbours = np.where(closes, around[quotes + 2], around[quotes])
        bad = quotes[~np.isin(neighbours, ends)]
        return int(bad[0]) if len(bad) else None

    def _refused(self, problem: str) -> InputError:
        """The problem, with the record that is open now and its last field."""
        inside, field = False, 0
        for character in self._open_record.decode(errors="replace"):
            inside ^= character == '"'
            field += character == self.layout.delimiter and not inside
        columns, table = self.layout.columns, self.layout.table
        return InputError(
            problem,
            file=self.path,
            row=(self._newlines or self._returns) + 2,
            column=columns[min(field, len(columns) - 1)],
            hint=(f"Where the file does not quote (an inch mark is text), add --unquoted {table}. " if table else "")
            + "Otherwise write it again, with quotes doubled inside quoted fields.",
        )


def is_quoted(path: Path, layout: Layout, chunks: Callable[[], Iterator[bytes]]) -> bool:
    """Whether a tab-separated file quotes: R's and pandas' do, Athena's do not.

    Raises InputError where both readings give whole rows, but not the same number of them.
    """
    if not any(b'"' in chunk for chunk in chunks()) or layout.header.lstrip().startswith('"'):
        return True
    records, lines = Records(path, layout, quoted=True), Records(path, layout, quoted=False)
    for _ in records.scan(lines.scan(chunks())):
        pass
    if records.problem is None and records.count == lines.count:
        return True
    if _rows(layout, chunks(), csv.QUOTE_NONE) is None:
        return True
    if _rows(layout, chunks(), csv.QUOTE_MINIMAL) in (None, _rows(layout, chunks(), csv.QUOTE_NONE)):
        return False
    raise InputError(
        "can be read with and without quotes, with different numbers of rows",
        file=path,
        hint=f"Say which is right: --quoted {layout.table} or --unquoted {layout.table}." if layout.table else None,
    )


def _rows(layout: Layout, chunks: Iterator[bytes], quoting: Literal[0, 3]) -> int | None:
    """Rows that a strict reader finds; None where it stops, or finds rows of other widths than the header's."""
    reader = csv.reader(text_of(chunks), delimiter=layout.delimiter, quoting=quoting, strict=True)
    rows = 0
    try:
        for row in reader:
            if len(row) != len(layout.columns):
                return None
            rows += 1
    except (csv.Error, UnicodeDecodeError):
        return None
    return rows
