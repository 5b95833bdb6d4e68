"""Fine-tuning as the paper does it: LoRA, AdamW, a cosine, the best checkpoint by validation loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import get_cosine_schedule_with_warmup

from ehrdb.errors import TrainingError

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"]
BATCH, WARMUP, SEED = 8, 0.03, 42


@dataclass(frozen=True)
class Recipe:
    """How a model is tuned; the paper's values but for the learning rate, which differs by kind of model.

    batch: rows that one step of the optimizer sees; they are computed `at_once` at a time.
    """

    learning_rate: float
    dropout: float
    epochs: int = 20
    patience: int = 5
    seed: int = SEED
    at_once: int = 1


ENCODER = Recipe(learning_rate=5e-5, dropout=0.1)
DECODER = Recipe(learning_rate=2e-4, dropout=0.05)


@dataclass(frozen=True)
class Tuned:
    """Losses of every epoch that was run, and which of them the model has come back from (counted from 0)."""

    train_losses: list[float]
    val_losses: list[float]
    best_epoch: int


def device() -> str:
    """Where models are tuned: the GPU that there is, else the processor."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision() -> torch.dtype:
    """bf16 on a GPU that has it, else fp16; the processor computes in float32."""
    if device() == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def seeded(seed: int) -> None:
    """Same seed, same machine: same weights."""
    torch.manual_seed(seed)


def with_lora(model: Any, recipe: Recipe, task_type: str | None) -> Any:
    """The model frozen, with adapters of rank 8 on attention and feed-forward. Raises TrainingError without such."""
    config = LoraConfig(
        r=8, lora_alpha=32, lora_dropout=recipe.dropout, target_modules=TARGETS, task_type=task_type, bias="none"
    )
    try:
        return get_peft_model(model, config)
    except ValueError:
        raise TrainingError(
            f"the model has no layers named {', '.join(TARGETS)}", hint="Llama, Qwen, Mistral and Gemma have them."
        ) from None


def tune(
    model: Any, loss: Callable[[Sequence[int]], Any], train: Sequence[int], val: Sequence[int], recipe: Recipe
) -> Tuned:
    """Tune what of the model can be; it comes back as it was after the epoch of the lowest validation loss.

    loss: the mean over rows, which are named by numbers. Raises TrainingError where it is no number.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    steps = math.ceil(len(train) / BATCH) * recipe.epochs
    schedule = get_cosine_schedule_with_warmup(optimizer, math.ceil(WARMUP * steps), steps)
    order = torch.Generator().manual_seed(recipe.seed)
    train_losses: list[float] = []
    val_losses: list[float] = []
    best: list[Any] = []
    for epoch in range(recipe.epochs):
        shuffled = [train[place] for place in torch.randperm(len(train), generator=order).tolist()]
        train_losses.append(_epoch(model, loss, shuffled, recipe, weights, optimizer, schedule))
        val_losses.append(_mean_loss(model, loss, val, recipe.at_once))
        if not math.isfinite(train_losses[-1] + val_losses[-1]):
            raise TrainingError("the loss is no number any more", hint="Take a smaller learning rate.")
        best_epoch = val_losses.index(min(val_losses))
        if best_epoch == epoch:
            best = [copy.deepcopy(weight.detach()) for weight in weights]
        if epoch - best_epoch >= recipe.patience:
            break
    with torch.no_grad():
        for weight, kept in zip(weights, best, strict=True):
            weight.copy_(kept)
    model.eval()
    return Tuned(train_losses, val_losses, best_epoch)


def _epoch(
    model: Any, loss: Callable[[Sequence[int]], Any], rows: Sequence[int], recipe: Recipe, weights: Any, *stepped: Any
) -> float:
    model.train()
    total = 0.0
    optimizer, schedule = stepped
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        for at in range(0, len(batch), recipe.at_once):
            part = batch[at : at + recipe.at_once]
            found = loss(part) * (len(part) / len(batch))
            found.backward()
            total += float(found.detach()) * len(batch)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return total / len(rows)


def _mean_loss(model: Any, loss: Callable[[Sequence[int]], Any], rows: Sequence[int], at_once: int) -> float:
    model.eval()
    with torch.no_grad():
        parts = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
        return sum(float(loss(part)) * len(part) for part in parts) / len(rows)
