"""From a task's labels to stored probabilities: texts, a model that is tuned or asked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from ehrdb.database import Database
from ehrdb.encoder.prompts import instruction_for, prompt_for
from ehrdb.errors import ConfigError
from ehrdb.prediction.finetune import loop, models
from ehrdb.prediction.finetune.models import Data
from ehrdb.prediction.finetune.prompts import BUDGET, Example, choose_examples, prompt_tokens
from ehrdb.prediction.given import Floats, keep_given, labelled
from ehrdb.prediction.sampling import ALL, sample_shots
from ehrdb.queries import Queries

Way = Literal["encoder", "decoder", "ask"]
"""A fine-tuned encoder, a fine-tuned decoder, or a decoder that is asked as it is."""
_queries = Queries("ehrdb.prediction", "stored.sql")
_PORTION = 500
Tell = Callable[[str], None]
Answer = tuple[Floats, loop.Tuned | None, Any]
"""Probabilities of all rows, how tuning went (None: nothing was tuned), and the model."""


@dataclass(frozen=True)
class Asked:
    """What is done: k and replicate as `ehrdb train` has them; examples: shown to a decoder that is asked."""

    way: Way
    text_format: str = "list_recent"
    k: int = ALL
    replicate: int = 0
    examples: int = 0
    most_tokens: int = BUDGET
    epochs: int = 20
    at_once: int = 1
    seed: int = loop.SEED


@dataclass(frozen=True)
class FinetuneResult:
    """What probabilities were stored under which name, and their scores on the test patients.

    best_epoch and losses: of what was tuned, else null and empty.
    """

    target: str
    name: str
    digest: str
    labels: int
    test: dict[str, float | None]
    best_epoch: int | None
    train_losses: list[float]
    val_losses: list[float]


def finetune(
    database: Database,
    folder: Path,
    target: str,
    name: str,
    asked: Asked,
    tell: Tell = lambda what: None,
) -> FinetuneResult:
    """Tune a model on a task (or ask it), and store its probabilities at every prediction time as those of `name`.

    They are served and evaluated like a head's (`ehrdb.prediction.given`). target: a task, or a finding of a chest
    X-ray. Raises NotFound, TrainingError, EncoderError; nothing is stored then.
    """
    if asked.examples % 2 or asked.examples < 0 or (asked.examples and asked.way != "ask"):
        raise ConfigError("examples are of a decoder that is asked, and half of them positive", hint="2, 4 or 6.")
    if asked.k < 1 and asked.k != ALL:
        raise ConfigError("k must be 1 or more, or -1 for every row")
    task, rows = labelled(database, target)
    tell(f"reading {rows.height} records")
    texts = _texts(database, rows, asked.text_format)
    tell(f"opening {folder.name}")
    data = Data([], rows["value"].to_list(), *(_sample(rows, split, asked) for split in ("train", "val")))
    if asked.way == "encoder":
        prompt = prompt_for(target, asked.text_format, task.question)
        probability, tuned, model = _encoder(folder, prompt, texts, data, asked, tell)
    else:
        instruction = instruction_for(target, asked.text_format, task.question)
        patients: list[int] = rows["patient_id"].to_list()
        probability, tuned, model = _decoder(folder, instruction, texts, data, patients, asked, tell)
    digest = models.digest(folder, model, f"{target} {asked}")
    learned = {"asked": asdict(asked), "model": folder.name, **(asdict(tuned) if tuned else {})}
    test = keep_given(database, task, target, name, digest, rows, probability, learned)
    losses = (tuned.best_epoch, tuned.train_losses, tuned.val_losses) if tuned else (None, [], [])
    return FinetuneResult(target, name, digest, rows.height, test, *losses)


def _texts(database: Database, rows: pl.DataFrame, text_format: str) -> list[str]:
    texts: list[str] = []
    for part in rows.iter_slices(_PORTION):
        values = {
            "patient_ids": part["patient_id"].to_list(),
            "as_ofs": part["prediction_time"].to_list(),
            "format": text_format,
        }
        with database.transaction() as connection:
            texts += [text for (text,) in connection.execute(_queries.texts, values)]
    return texts


def _encoder(folder: Path, prompt: str, texts: list[str], given: Data, asked: Asked, tell: Tell) -> Answer:
    """A tuned encoder's probabilities of all rows."""
    model, tokenizer = models.open_model(folder, "AutoModel")
    data = replace(given, rows=models.encoder_tokens(tokenizer, prompt, texts, asked.most_tokens))
    tell(f"tuning on {len(data.train)} records")
    classifier, tuned = models.tune_encoder(model, tokenizer, data, _recipe(loop.ENCODER, asked))
    tell(f"reading {len(texts)} records")
    return models.encoder_probabilities(classifier, tokenizer, data.rows, asked.at_once), tuned, classifier


def _decoder(
    folder: Path, instruction: str, texts: list[str], given: Data, patients: list[int], asked: Asked, tell: Tell
) -> Answer:
    """A decoder's probabilities of all rows, tuned first where that is asked."""
    model, tokenizer = models.open_model(folder, "AutoModelForCausalLM")
    data = replace(given, rows=_decoder_tokens(tokenizer, instruction, texts, given, patients, asked))
    tuned: loop.Tuned | None = None
    if asked.way == "decoder":
        tell(f"tuning on {len(data.train)} records")
        model, tuned = models.tune_decoder(model, tokenizer, data, _recipe(loop.DECODER, asked))
    tell(f"asking about {len(texts)} records")
    return models.decoder_probabilities(model, tokenizer, data.rows, asked.at_once), tuned, model


def _decoder_tokens(
    tokenizer: Any, instruction: str, texts: list[str], data: Data, patients: list[int], asked: Asked
) -> list[list[int]]:
    """A prompt for each row; examples are training rows of other patients."""
    shown = data.train if asked.examples else []
    pool = [Example(patients[row], texts[row], data.labels[row] == 1) for row in shown]

    trained_on = {each.patient_id for each in pool}

    @cache
    def examples_without(patient: int | None) -> list[Example]:
        return choose_examples([each for each in pool if each.patient_id != patient], asked.examples)

    def tokens(patient: int, text: str) -> list[int]:
        examples = examples_without(patient if patient in trained_on else None)
        return prompt_tokens(tokenizer, instruction, text, examples, asked.most_tokens)

    return [tokens(patient, text) for patient, text in zip(patients, texts, strict=True)]


def _sample(rows: pl.DataFrame, split: str, asked: Asked) -> list[int]:
    """Numbers of the rows that train, or validate, this sample."""
    places = np.flatnonzero((rows["split"] == split).to_numpy())
    labels = rows["value"].to_numpy()[places]
    return [int(places[at]) for at in sample_shots(labels, asked.k, asked.replicate)]


def _recipe(recipe: loop.Recipe, asked: Asked) -> loop.Recipe:
    return replace(recipe, epochs=asked.epochs, at_once=asked.at_once, seed=asked.seed)
