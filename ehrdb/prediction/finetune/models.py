"""The three kinds of model: a tuned encoder, a decoder that is asked, a tuned decoder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ehrdb.errors import EncoderError
from ehrdb.prediction.finetune import loop
from ehrdb.prediction.finetune.loop import Recipe, Tuned
from ehrdb.prediction.finetune.prompts import NO, YES, answer_tokens, first_token

Floats = NDArray[np.float64]
Rows = Sequence[Sequence[int]]
FLOOR = 1e-12


@dataclass(frozen=True)
class Data:
    """Tokens and label (0 or 1) of every row, and the numbers of those that train and that validate."""

    rows: Rows
    labels: Sequence[int]
    train: Sequence[int]
    val: Sequence[int]


class Classifier(torch.nn.Module):  # type: ignore[misc]
    """An encoder with a linear layer on its last token's state, which is not normalized."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.dropout = torch.nn.Dropout(0.1)
        self.score = torch.nn.Linear(model.config.hidden_size, 2, device=model.device, dtype=torch.float32)

    def forward(self, **batch: Any) -> Any:
        """Logits of no and yes, (rows, 2); rows are padded on the left."""
        states = self.model(**batch).last_hidden_state
        return self.score(self.dropout(states[:, -1].float()))


def open_model(folder: Path, kind: str) -> tuple[Any, Any]:
    """Model and tokenizer of a folder, or of a GGUF file; kind: `AutoModel` or `AutoModelForCausalLM`.

    Nothing is fetched and no code of the folder is run. Raises EncoderError for what is no such model.
    """
    import transformers

    where: dict[str, Any] = {"local_files_only": True}
    if folder.suffix == ".gguf":
        where, folder = {**where, "gguf_file": folder.name}, folder.parent
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **where)
        found = getattr(transformers, kind).from_pretrained(folder, dtype=loop.precision(), **where)
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(
            f"{folder} holds no model of transformers ({type(error).__name__})",
            hint="Name a folder with config.json, weights and tokenizer, or a .gguf file.",
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = found.to(loop.device()).eval()
    if loop.device() == "cuda":
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    return model, tokenizer


def encoder_tokens(tokenizer: Any, prompt: str, texts: Sequence[str], most: int) -> list[list[int]]:
    """What a tuned encoder reads: prompt and text, the end cut."""
    return [tokenizer(prompt + text, truncation=True, max_length=most)["input_ids"] for text in texts]


def tune_encoder(model: Any, tokenizer: Any, data: Data, recipe: Recipe) -> tuple[Classifier, Tuned]:
    """The encoder with adapters and a linear layer, tuned on these rows by cross-entropy."""
    loop.seeded(recipe.seed)
    classifier = Classifier(loop.with_lora(model, recipe, None))
    loss = _loss(lambda part: classifier(**_padded(tokenizer, part, model.device)), data.rows, data.labels)
    return classifier, loop.tune(classifier, loss, data.train, data.val, recipe)


def tune_decoder(model: Any, tokenizer: Any, data: Data, recipe: Recipe) -> tuple[Any, Tuned]:
    """The decoder with adapters, tuned to say Yes or No: the loss is on that token alone."""
    loop.seeded(recipe.seed)
    tuned = loop.with_lora(model, recipe, "CAUSAL_LM")
    answers = [first_token(tokenizer, NO), first_token(tokenizer, YES)]
    loss = _loss(lambda part: _next(tuned, tokenizer, part), data.rows, [answers[label] for label in data.labels])
    return tuned, loop.tune(tuned, loss, data.train, data.val, recipe)


def encoder_probabilities(classifier: Classifier, tokenizer: Any, rows: Rows, at_once: int = 1) -> Floats:
    """Of the outcome, for every row."""
    logits = _in_parts(lambda part: classifier(**_padded(tokenizer, part, classifier.model.device)), rows, at_once)
    return np.asarray(logits.softmax(-1)[:, 1].double(), dtype=np.float64)


def decoder_probabilities(model: Any, tokenizer: Any, rows: Rows, at_once: int = 1) -> Floats:
    """Yes against no, of all the probability that the next token has, for every row."""
    yes, no = (answer_tokens(tokenizer, answer) for answer in (YES, NO))
    if not yes or not no:
        raise EncoderError("the model's tokenizer has no token that says Yes, or none that says No")
    chance = _in_parts(lambda part: _next(model, tokenizer, part), rows, at_once).double().softmax(-1)
    p_yes, p_no = chance[:, yes].sum(-1), chance[:, no].sum(-1)
    return np.asarray(p_yes / (p_yes + p_no).clamp_min(FLOOR), dtype=np.float64)


def digest(folder: Path, model: Any, how: str) -> str:
    """What a probability depends on: the model's files, what was tuned of it, and how it was asked."""
    found = hashlib.sha256(how.encode())
    files = [folder] if folder.is_file() else sorted(file for file in folder.iterdir() if file.is_file())
    for file in files:
        with file.open("rb") as content:
            found.update(f"\n{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            found.update(name.encode() + weight.detach().float().cpu().numpy().tobytes())
    return found.hexdigest()


def _loss(logits: Callable[[Rows], Any], rows: Rows, answers: Sequence[int]) -> Callable[[Sequence[int]], Any]:
    def loss(part: Sequence[int]) -> Any:
        found = logits([rows[row] for row in part]).float()
        wanted = torch.tensor([answers[row] for row in part], device=found.device)
        return torch.nn.functional.cross_entropy(found, wanted)

    return loss


def _next(model: Any, tokenizer: Any, rows: Rows) -> Any:
    """Logits of the token behind each row."""
    return model(**_padded(tokenizer, rows, model.device), logits_to_keep=1).logits[:, -1]


def _padded(tokenizer: Any, rows: Rows, device: Any) -> dict[str, Any]:
    """Rows of one length, padded on the left, where neither attention nor positions see it."""
    longest = max(map(len, rows))
    ids = [[tokenizer.pad_token_id] * (longest - len(row)) + list(row) for row in rows]
    seen = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    mask = torch.tensor(seen, device=device)
    places = (mask.cumsum(-1) - 1).clamp_min(0)
    return {"input_ids": torch.tensor(ids, device=device), "attention_mask": mask, "position_ids": places}


def _in_parts(logits: Callable[[Rows], Any], rows: Rows, at_once: int) -> Any:
    with torch.inference_mode():
        parts = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
        return torch.cat([logits(part).float().cpu() for part in parts])
