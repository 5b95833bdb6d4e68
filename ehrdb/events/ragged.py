"""Text files with rows of unequal length: the even ones, and what is wrong with the others."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ehrdb.events.streams import text_of

_BATCH = 50_000


@dataclass(frozen=True)
class RaggedRow:
    """A row that was left out, and why; rows count from 1, the header's."""

    row: int
    problem: str


def even_rows(
    chunks: Iterator[bytes], delimiter: str, quoted: bool, width: int, first_row: int, left_out: list[RaggedRow]
) -> Iterator[bytes]:
    """Rows of `width` fields as CSV for COPY, each behind its number; the others go to `left_out`.

    Empty fields beyond the last column say nothing and are dropped. Raises UnicodeDecodeError.
    """
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(text_of(chunks), delimiter=delimiter, quoting=quoting, strict=True)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    for number, fields in enumerate(reader, start=first_row + 2):
        while len(fields) > width and not fields[-1]:
            fields.pop()
        if len(fields) == width:
            writer.writerow([number, *fields])
        else:
            problem = "is blank" if not fields else f"has too {'few' if len(fields) < width else 'many'} fields"
            left_out.append(RaggedRow(number, problem))
        if number % _BATCH == 0:
            yield _taken(buffer)
    yield _taken(buffer)


def _taken(buffer: io.StringIO) -> bytes:
    content = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return content
