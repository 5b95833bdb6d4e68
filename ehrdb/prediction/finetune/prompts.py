"""What a decoder reads, and which of its tokens say yes or no (the paper's `10b_fit_and_eval_decoder.py`)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

YES, NO = "Yes", "No"
BUDGET = 4096
"""Tokens of a prompt, and of each example in front of it."""
CONTEXT = 32_768
"""Tokens of a prompt with all of its examples."""
SEED = 42
_SYSTEM = "Question: {}\n\nAnswer STRICTLY with a single token: Yes or No. No punctuation, no extra words."
_ANSWER = "Answer: "
_WORDS = {YES: ("Yes", "YES", "yes"), NO: ("No", "NO", "no")}


@dataclass(frozen=True)
class Example:
    """A training patient's record and what came about, as a decoder is shown it."""

    patient_id: int
    text: str
    is_positive: bool


def answer_tokens(tokenizer: Any, answer: str) -> list[int]:
    """Tokens that alone say the answer: the word, perhaps after a blank and before . ! or ?"""
    surfaces = map("".join, product(("", " "), _WORDS[answer], ("", ".", "!", "?")))
    encoded = (tokenizer.encode(surface, add_special_tokens=False) for surface in surfaces)
    return sorted({ids[0] for ids in encoded if len(ids) == 1})


def first_token(tokenizer: Any, answer: str) -> int:
    """What fine-tuning teaches: the first token of the answer."""
    return int(tokenizer.encode(answer, add_special_tokens=False)[0])


def prompt_tokens(
    tokenizer: Any, instruction: str, text: str, examples: Sequence[Example] = (), budget: int = BUDGET
) -> list[int]:
    """The tokens up to where the answer stands; of the record, and of each example, the end is cut."""
    shown = _examples(tokenizer, examples, budget)
    room = (CONTEXT if examples else budget) - len(_chat(tokenizer, instruction, shown))
    return _chat(tokenizer, instruction, shown + cut(tokenizer, text, min(budget, room)))


def cut(tokenizer: Any, text: str, tokens: int) -> str:
    """The beginning of a text that has so many tokens."""
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(offsets) <= tokens:
        return text
    return text[: offsets[tokens - 1][1]] if tokens > 0 else ""


def choose_examples(pool: Sequence[Example], shots: int) -> list[Example]:
    """So many training patients, half of them positive, in the reference's order."""
    generator = random.Random(SEED)
    rows = list(pool)
    generator.shuffle(rows)
    half = shots // 2
    chosen = [row for row in rows if row.is_positive][:half] + [row for row in rows if not row.is_positive][:half]
    generator.shuffle(chosen)
    return chosen


def _examples(tokenizer: Any, examples: Sequence[Example], budget: int) -> str:
    if not examples:
        return ""
    blocks = [
        f"Example {number}:\nPatient record:\n{cut(tokenizer, each.text, budget)}\n"
        f"{_ANSWER}{YES if each.is_positive else NO}\n\n"
        for number, each in enumerate(examples, 1)
    ]
    return f"In-context examples:\n\n{''.join(blocks)}Now classify this patient record:\n"


def _chat(tokenizer: Any, instruction: str, user: str) -> list[int]:
    turns = [{"role": "system", "content": _SYSTEM.format(instruction)}, {"role": "user", "content": user}]
    chat = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    return list(tokenizer.encode(chat + _ANSWER, add_special_tokens=False))
