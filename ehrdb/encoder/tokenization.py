"""Texts to chunks of token ids, with the tokenizers library alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from ehrdb.encoder.manifest import AGAIN, TOKENIZER, Manifest
from ehrdb.encoder.prompts import END, START, prompt_behind, split_prompt
from ehrdb.errors import EmptyText, ModelIncomplete

CHUNKED_CHARACTERS = 65_536
"""Of a text for a chunking encoder; what follows is cut, as in the paper."""
PROMPT_ROOM = 64


@dataclass(frozen=True)
class Chunk:
    """Tokens of one pass through the model, special tokens included.

    Pooling leaves out the first `skipped`. The first `shared` are the same under every instruction that
    stands behind the text.
    """

    ids: list[int]
    skipped: int = 0
    shared: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TokenizedText:
    """A text's chunks, and whether some of it was cut."""

    chunks: list[Chunk]
    is_truncated: bool

    @property
    def token_count(self) -> int:
        """Tokens over all chunks."""
        return sum(map(len, self.chunks))


class TextTokenizer:
    """Turns texts into chunks as the manifest says."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        path = directory / TOKENIZER
        if not path.is_file():
            raise ModelIncomplete(f"{path} is missing", hint=AGAIN)
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception:  # the library raises bare Exception
            raise ModelIncomplete(f"{path} is not a tokenizer", hint=AGAIN) from None
        self._tokenizer.no_truncation()  # files may say 128 tokens, whatever the model can take
        self._tokenizer.no_padding()
        self._manifest = manifest
        self._before, self._after = self._special_tokens()
        self._prefix_tokens = len(self._encode([manifest.prefix])[0].ids)

    def __call__(self, texts: Sequence[str]) -> list[TokenizedText]:
        """Tokenize; raises EmptyText (with its index) where nothing is left to embed."""
        for index, text in enumerate(texts):
            if not split_prompt(text)[1].strip():
                raise EmptyText(f"text {index} is empty", index=index)
        if self._manifest.prompt_position == "last":
            return list(self._prompt_last(texts))
        make = self._whole if self._manifest.chunking == "none" else self._chunked
        return list(make(texts))

    def _whole(self, texts: Sequence[str]) -> Iterator[TokenizedText]:
        """One pass each: the end of a longer text is cut, so that prompt and newest events survive."""
        rendered = [self._render(text) for text in texts]
        encodings = self._encode([prompt + text for prompt, text in rendered])
        own = self._encode([text if prompt else "" for prompt, text in rendered])
        for index, (encoding, (prompt, _)) in enumerate(zip(encodings, rendered, strict=True)):
            kept = self._require_tokens(index, encoding.ids)[: self._room(self._manifest.max_tokens)]
            # As LLM2Vec counts: the text's tokens are as many as it has by itself, a blank before it or not.
            in_prompt = max(0, len(encoding.ids) - len(own[index].ids)) if prompt else 0
            if in_prompt >= len(kept):
                raise EmptyText(f"text {index} has no room beside its prompt", index=index)
            ids = self._before + kept + self._after
            skipped = len(self._before) + in_prompt if prompt else self._skipped(texts[index])
            yield TokenizedText([Chunk(ids, skipped)], len(kept) < len(encoding.ids))

    def _prompt_last(self, texts: Sequence[str]) -> Iterator[TokenizedText]:
        """One pass each, the instruction behind the text, which is cut to leave room for it.

        Both are tokenized by themselves, and room is left in steps of PROMPT_ROOM tokens: the text's tokens do
        not depend on what is asked about it.
        """
        parts = [split_prompt(text) for text in texts]
        bodies = self._encode([self._manifest.prefix + body for _, body in parts])
        prompts = self._encode([prompt_behind(prompt) for prompt, _ in parts])
        for index, (body, prompt) in enumerate(zip(bodies, prompts, strict=True)):
            room = self._room(self._manifest.max_tokens) + -len(prompt.ids) // PROMPT_ROOM * PROMPT_ROOM
            kept = self._require_tokens(index, body.ids)[: max(0, room)]
            if not kept:
                raise EmptyText(f"text {index} has no room beside its prompt", index=index)
            shared = self._before + kept
            ids = shared + prompt.ids + self._after
            yield TokenizedText([Chunk(ids, shared=len(shared))], len(kept) < len(body.ids))

    def _chunked(self, texts: Sequence[str]) -> Iterator[TokenizedText]:
        """Pieces of `chunk_tokens` tokens by character offsets, each tokenized anew, as the paper does."""
        cut = [self._manifest.prefix + text[:CHUNKED_CHARACTERS] for text in texts]
        for index, (encoding, text) in enumerate(zip(self._encode(cut), cut, strict=True)):
            pieces = self._pieces(text, encoding)
            kept = pieces[: self._manifest.max_chunks]
            ids = [piece.ids for piece in self._encode(kept)] if len(pieces) > 1 else [encoding.ids]
            self._require_tokens(index, ids[0])
            room = self._room(self._manifest.max_tokens)
            has_prefix = [number == 0 or self._manifest.chunk_prefix == "every" for number in range(len(ids))]
            chunks = [
                Chunk(self._before + piece[:room] + self._after, self._skipped("") if prefixed else 0)
                for piece, prefixed in zip(ids, has_prefix, strict=True)
            ]
            is_truncated = len(kept) < len(pieces) or len(texts[index]) > CHUNKED_CHARACTERS
            yield TokenizedText(chunks, is_truncated)

    def first_pass(self, text: str) -> str:
        """As much of a text as one pass reads: all of it, but for encoders that chunk; one line for those of lines."""
        if self._manifest.chunking == "none":
            return text
        if self._manifest.chunking == "lines":
            text = " ".join(text.split())
        whole = self._manifest.prefix + text[:CHUNKED_CHARACTERS]
        pieces = self._pieces(whole, self._encode([whole])[0]) or [whole]
        return pieces[0].removeprefix(self._manifest.prefix)

    def _pieces(self, text: str, encoding: Encoding) -> list[str]:
        """The text in pieces, with the prefix in front of the first one or of every one."""
        size, prefix = self._manifest.chunk_tokens, self._manifest.prefix
        if self._manifest.chunk_prefix == "first":
            return list(_cut(text, encoding.offsets, size))
        own = [offsets for offsets in encoding.offsets if offsets[1] > len(prefix)]
        room = max(1, size - self._prefix_tokens)
        return [prefix + piece for piece in _cut(text, [(max(start, len(prefix)), end) for start, end in own], room)]

    def _skipped(self, text: str) -> int:
        """Tokens in front that pooling leaves out, counted as sentence-transformers does: the prompt by itself."""
        if self._manifest.include_prompt:
            return 0
        prompt = self._manifest.prefix + split_prompt(text)[0]
        return len(self._before) + len(self._encode([prompt])[0].ids) if prompt else 0

    def _render(self, text: str) -> tuple[str, str]:
        """What stands in front of a text but is not pooled, and all the rest."""
        prompt, rest = split_prompt(text)
        if self._manifest.pooling == "mean_without_prompt" and prompt:
            # LLM2Vec joins the instruction, ended by a colon, and the text with a blank.
            return prompt.removeprefix(START).removesuffix(END).strip(".") + ": ", rest
        return "", self._manifest.prefix + text

    def _encode(self, texts: Sequence[str]) -> list[Encoding]:
        encodings: list[Encoding] = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return encodings

    def _require_tokens(self, index: int, ids: list[int]) -> list[int]:
        if not ids:
            raise EmptyText(f"text {index} has no tokens", index=index)
        return ids

    def _room(self, tokens: int) -> int:
        return tokens - len(self._before) - len(self._after)

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """What the tokenizer puts around a text, read off an encoded one."""
        plain = self._tokenizer.encode("a", add_special_tokens=False).ids
        full = self._tokenizer.encode("a", add_special_tokens=True).ids
        start = next(i for i in range(len(full)) if full[i : i + len(plain)] == plain)
        return full[:start], full[start + len(plain) :]


def _cut(text: str, offsets: list[tuple[int, int]], size: int) -> Iterator[str]:
    for i in range(0, len(offsets), size):
        yield text[offsets[i][0] : offsets[min(i + size, len(offsets)) - 1][1]]
