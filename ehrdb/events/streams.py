"""Iterators of bytes as streams."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

CHUNK = 1 << 20


def text_of(chunks: Iterator[bytes]) -> io.TextIOWrapper:
    """UTF-8 bytes as text, line ends as they are."""
    return io.TextIOWrapper(stream_of(chunks), encoding="utf-8", newline="")


def stream_of(chunks: Iterator[bytes]) -> io.BufferedReader:
    """Bytes to read from."""
    return io.BufferedReader(_Chunks(chunks))


def as_utf8(stream: io.BufferedReader, encoding: str) -> Iterator[bytes]:
    """A text in another encoding. Raises UnicodeDecodeError."""
    decoder = codecs.getincrementaldecoder(encoding)()
    while chunk := stream.read(CHUNK):
        yield decoder.decode(chunk).encode()
    yield decoder.decode(b"", final=True).encode()


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        # An empty chunk is not the end.
        self._chunks = filter(None, chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._rest = self._rest or memoryview(next(self._chunks, b""))
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
