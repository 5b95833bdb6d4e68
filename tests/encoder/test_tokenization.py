from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from ehrdb.encoder.manifest import Manifest
from ehrdb.encoder.prompts import prompt_for
from ehrdb.encoder.runtime import BatchingEncoder
from ehrdb.encoder.tokenization import TextTokenizer

LINES = "\n".join(f"Creatinine (mg/dL): {value}" for value in range(400))


@pytest.fixture
def tokenizer(minilm: BatchingEncoder, minilm_directory: Path) -> TextTokenizer:
    return TextTokenizer(minilm_directory, minilm.manifest)


def test_ids_are_those_of_transformers(tokenizer: TextTokenizer, minilm_directory: Path) -> None:
    transformers = pytest.importorskip("transformers")
    original = transformers.PreTrainedTokenizerFast(tokenizer_file=str(minilm_directory / "tokenizer.json"))

    assert tokenizer(["Müller's sign: 3.5 %"])[0].chunks[0].ids == original("Müller's sign: 3.5 %")["input_ids"]


def test_a_long_text_becomes_chunks_of_504_tokens_beside_special_ones(tokenizer: TextTokenizer) -> None:
    text = tokenizer(["blood " * 600])[0]

    assert [len(chunk) for chunk in text.chunks] == [506, 98]
    assert not text.is_truncated


def test_a_word_cut_between_chunks_is_tokenized_anew(tokenizer: TextTokenizer) -> None:
    text = tokenizer(["blood " * 503 + "tokenization"])[0]

    assert text.chunks[1].ids == tokenizer(["ization"])[0].chunks[0].ids


def test_at_most_16_chunks_are_kept(tokenizer: TextTokenizer) -> None:
    text = tokenizer([LINES * 20])[0]

    assert len(text.chunks) == 16
    assert text.is_truncated


def test_a_long_texts_vector_is_the_mean_of_its_chunks(minilm: BatchingEncoder) -> None:
    line = "blood " * 504  # one token each, so that chunks are known
    other = "heart " * 252

    whole = minilm.encode([line + other]).vectors[0]
    parts = _without_scaling(minilm).encode([line, other]).vectors

    np.testing.assert_allclose(whole, parts.mean(axis=0) / np.linalg.norm(parts.mean(axis=0)), atol=1e-5)


def test_without_chunks_the_end_of_the_text_is_cut(minilm: BatchingEncoder, minilm_directory: Path) -> None:
    manifest = minilm.manifest.model_copy(update={"chunking": "none", "max_tokens": 8})

    text = TextTokenizer(minilm_directory, manifest)([LINES])[0]
    whole = TextTokenizer(minilm_directory, minilm.manifest)([LINES])[0]

    assert text.is_truncated
    assert text.chunks[0].ids[:-1] == whole.chunks[0].ids[:7]
    assert text.chunks[0].ids[-1] == whole.chunks[0].ids[-1]


def test_llm2vec_counts_the_texts_tokens_as_they_are_without_a_blank_before(
    minilm: BatchingEncoder, tmp_path: Path
) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = {symbol: i for i, symbol in enumerate([*alphabet, "ĠA"])}
    backend = Tokenizer(models.BPE(merged, [("Ġ", "A")]))  # a blank and the A behind it are one token
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.save(str(tmp_path / "tokenizer.json"))
    changes = {"pooling": "mean_without_prompt", "chunking": "none", "prompt_template": True}
    tokenizer = TextTokenizer(tmp_path, minilm.manifest.model_copy(update=changes))

    (chunk,) = tokenizer([prompt_for(None, "list_recent") + "Asthma"])[0].chunks

    assert len(chunk) - chunk.skipped == len("Asthma")
    assert chunk.ids[chunk.skipped] == merged["ĠA"]


def test_a_prefix_stands_in_front_of_every_text(minilm: BatchingEncoder, minilm_directory: Path) -> None:
    manifest = minilm.manifest.model_copy(update={"prefix": "query: "})

    with_prefix = TextTokenizer(minilm_directory, manifest)(["asthma"])[0]

    assert with_prefix.chunks == TextTokenizer(minilm_directory, minilm.manifest)(["query: asthma"])[0].chunks


def test_a_prefix_can_stand_in_front_of_every_chunk(minilm: BatchingEncoder, minilm_directory: Path) -> None:
    manifest = minilm.manifest.model_copy(update={"prefix": "query: ", "chunk_prefix": "every"})

    chunks = TextTokenizer(minilm_directory, manifest)(["blood " * 600])[0].chunks

    alone = TextTokenizer(minilm_directory, minilm.manifest)(["query: blood"])[0].chunks[0].ids
    assert [chunk.ids[:4] for chunk in chunks] == [alone[:4]] * 2
    assert [len(chunk) for chunk in chunks] == [506, 102]  # 502 and 98 of the text, two of the prompt, two special


def test_a_prompt_that_is_not_pooled_is_counted_with_the_token_before_it(
    minilm: BatchingEncoder, minilm_directory: Path
) -> None:
    changes = {"prefix": "query: ", "chunk_prefix": "every", "include_prompt": False}
    tokenizer = TextTokenizer(minilm_directory, minilm.manifest.model_copy(update=changes))

    assert [chunk.skipped for chunk in tokenizer(["blood " * 600])[0].chunks] == [3, 3]


def test_one_pass_of_a_text_is_its_first_chunk(minilm: BatchingEncoder, minilm_directory: Path) -> None:
    manifest = minilm.manifest.model_copy(update={"prefix": "query: ", "chunk_prefix": "every"})
    tokenizer = TextTokenizer(minilm_directory, manifest)
    text = "blood " * 600

    assert tokenizer([tokenizer.first_pass(text)])[0].chunks == tokenizer([text])[0].chunks[:1]


def _without_scaling(encoder: BatchingEncoder) -> BatchingEncoder:
    manifest: Manifest = encoder.manifest.model_copy(update={"normalize": False})
    return BatchingEncoder(manifest, encoder._tokenizer, encoder._forward, 512, 1)
