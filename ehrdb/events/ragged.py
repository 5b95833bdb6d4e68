"""CSV files with rows of unequal length: the even ones, and what is wrong with the others."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

_BATCH = 50_000
csv.field_size_limit(sys.maxsize)


@dataclass(frozen=True)
class RaggedRow:
    """A row that was left out; rows count from 1, the header's."""

    row: int
    problem: str


def even_rows(
    stream: IO[bytes], delimiter: str, quoted: bool, width: int, left_out: list[RaggedRow]
) -> Iterator[bytes]:
    """Rows of `width` fields as CSV for COPY, each behind its number; the others go to `left_out`.

    Empty fields beyond the last column say nothing and are dropped. Raises UnicodeDecodeError.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    reader = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for number, fields in enumerate(reader, start=2):
        while len(fields) > width and not fields[-1]:
            fields.pop()
        if len(fields) == width:
            writer.writerow([number, *fields])
        elif fields:
            left_out.append(RaggedRow(number, "has too few fields" if len(fields) < width else "has too many fields"))
        if number % _BATCH == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    content = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return content
