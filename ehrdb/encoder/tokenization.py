"""Texts to chunks of token ids, with the tokenizers library alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ehrdb.encoder.manifest import TOKENIZER, Manifest
from ehrdb.errors import EmptyText, ModelIncomplete

MAX_CHARACTERS = 65_536  # of a text for a chunking encoder, as in the paper


@dataclass(frozen=True)
class TokenizedText:
    """A text's chunks, each with special tokens; how many tokens the text has, and whether some were cut."""

    chunks: list[list[int]]
    token_count: int
    is_truncated: bool

    @property
    def longest(self) -> int:
        """Tokens of the longest chunk."""
        return max(map(len, self.chunks))


class TextTokenizer:
    """Cuts texts as the manifest says: up to `max_chunks` chunks of `chunk_tokens` content tokens."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        except Exception:  # the library raises bare Exception
            raise ModelIncomplete(f"{directory / TOKENIZER} is not a tokenizer") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._manifest = manifest
        self._prefix, self._suffix = self._special_tokens()

    def __call__(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Tokenize; raises EmptyText (with its index) where nothing is left to embed."""
        for index, text in enumerate(texts):
            if not text.strip():
                raise EmptyText(f"text {index} is empty", index=index)
        cut = [text[:MAX_CHARACTERS] for text in texts]
        encodings = self._tokenizer.encode_batch_fast(cut, add_special_tokens=False)
        return [
            self._chunked(index, encoding.ids, len(text) > MAX_CHARACTERS)
            for index, (encoding, text) in enumerate(zip(encodings, texts, strict=True))
        ]

    def _chunked(self, index: int, ids: list[int], is_cut: bool) -> TokenizedText:
        if not ids:
            raise EmptyText(f"text {index} has no tokens", index=index)
        size = self._manifest.max_tokens - len(self._prefix) - len(self._suffix)
        if len(ids) > size:
            size = self._manifest.chunk_tokens
        kept = ids[: size * self._manifest.max_chunks]
        chunks = [self._prefix + kept[i : i + size] + self._suffix for i in range(0, len(kept), size)]
        return TokenizedText(chunks, sum(map(len, chunks)), is_cut or len(kept) < len(ids))

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts around a text, read off an encoded one."""
        plain = self._tokenizer.encode("a", add_special_tokens=False).ids
        full = self._tokenizer.encode("a", add_special_tokens=True).ids
        start = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
        return full[:start], full[start + len(plain) :]
