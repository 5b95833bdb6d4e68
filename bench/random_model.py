"""Full-size models with random weights, where the real ones are out of reach: for speed and memory only.

python bench/random_model.py qwen3-0.6b FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

SHAPES = {
    # config.json of Qwen/Qwen3-Embedding-0.6B
    "qwen3-0.6b": Qwen3Config(
        vocab_size=151_669,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=32_768,
        rope_theta=1_000_000,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    )
}


def write(shape: str, folder: Path, tokenizer: Path | None = None) -> None:
    """Save a model of this shape, stored as bfloat16 as the real one is, with bytes or another model's tokens."""
    torch.manual_seed(0)
    Qwen3Model(SHAPES[shape]).to(torch.bfloat16).save_pretrained(folder)
    if tokenizer:
        AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    else:
        _bytes().save_pretrained(folder)


def _bytes() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 256)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print(__doc__)
    else:
        write(sys.argv[1], *map(Path, sys.argv[2:]))
