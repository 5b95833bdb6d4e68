"""Fine-tuned encoders and decoders, and decoders that are asked: tokens, losses, checkpoints, and what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ehrdb.database import Database
from ehrdb.errors import ConfigError, EncoderError
from ehrdb.evaluation.evaluation import answer
from ehrdb.evaluation.question import prepare
from ehrdb.prediction.finetune import loop
from ehrdb.prediction.finetune.models import Data, decoder_probabilities, open_model, tune_decoder, tune_encoder
from ehrdb.prediction.finetune.prompts import (
    Example,
    answer_tokens,
    choose_examples,
    cut,
    first_token,
    prompt_tokens,
)
from ehrdb.prediction.finetune.run import Asked, finetune
from ehrdb.prediction.given import HEAD, vectors_of
from tests.prediction.ill import ask_who_is_ill

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% if not enable_thinking %}<quiet>{% endif %}{% endif %}"
)
SURFACES = [a + word + b for a in ("", " ") for word in ("Yes", "YES", "yes", "No", "NO", "no") for b in ("", ".", "!")]
FAST = loop.Recipe(learning_rate=2e-2, dropout=0.0, epochs=12, at_once=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal Llama of two layers, with a tokenizer for which most answers are one token."""
    made = tmp_path_factory.mktemp("decoder")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, special_tokens=["<|end|>"])
    tokenizer.train_from_iterator(SURFACES * 20, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", chat_template=TEMPLATE)
    fast.save_pretrained(made)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "initializer_range": 0.2,
    }
    config = LlamaConfig(vocab_size=len(fast), num_attention_heads=4, max_position_embeddings=4096, **sizes)
    LlamaForCausalLM(config).save_pretrained(made)
    return made


@pytest.fixture
def tokenizer(folder: Path) -> Any:
    return open_model(folder, "AutoModelForCausalLM")[1]


def test_the_prompt_is_the_papers(tokenizer: Any) -> None:
    text = tokenizer.decode(prompt_tokens(tokenizer, "will it rain", "a\nb"))
    assert text == (
        "<|system|>Question: will it rain\n\nAnswer STRICTLY with a single token: Yes or No. "
        "No punctuation, no extra words.<|end|><|user|>a\nb<|end|><|assistant|><quiet>Answer: "
    )


def test_examples_stand_in_front_of_the_record(tokenizer: Any) -> None:
    shown = [Example(1, "ill", True), Example(2, "well", False)]
    text = tokenizer.decode(prompt_tokens(tokenizer, "q", "now", shown))
    assert text.split("<|user|>")[1].split("<|end|>")[0] == (
        "In-context examples:\n\nExample 1:\nPatient record:\nill\nAnswer: Yes\n\n"
        "Example 2:\nPatient record:\nwell\nAnswer: No\n\nNow classify this patient record:\nnow"
    )


def test_the_end_of_the_record_is_cut_and_nothing_of_the_question(tokenizer: Any) -> None:
    found = prompt_tokens(tokenizer, "q", "x" * 999, budget=200)
    assert len(found) == 200
    assert tokenizer.decode(found).endswith("xx<|end|><|assistant|><quiet>Answer: ")
    assert cut(tokenizer, "abc", 2) == "ab"
    assert cut(tokenizer, "abc", 0) == ""


def test_answers_are_all_single_tokens_that_say_them(tokenizer: Any) -> None:
    words = {"Yes": ("Yes", "YES", "yes"), "No": ("No", "NO", "no")}
    for answer_word, spelled in words.items():
        said = {a + word + b for a in ("", " ") for word in spelled for b in ("", ".", "!", "?")}
        vocabulary = {tokenizer.decode([number]): number for number in range(len(tokenizer))}
        assert answer_tokens(tokenizer, answer_word) == sorted(vocabulary[text] for text in said & set(vocabulary))
        assert tokenizer.decode([first_token(tokenizer, answer_word)]) == answer_word


def test_a_probability_is_yes_among_yes_and_no(folder: Path, tokenizer: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)
    rows = [[5, 6, 7], [8, 9, 10, 11, 12]]
    found = decoder_probabilities(model, tokenizer, rows, at_once=2)
    for row, probability in zip(rows, found, strict=True):
        chance = model(torch.tensor([row])).logits[0, -1].softmax(-1)
        yes, no = (float(chance[answer_tokens(tokenizer, word)].sum()) for word in ("Yes", "No"))
        assert probability == pytest.approx(yes / (yes + no), abs=1e-5)


def test_examples_are_half_positive_and_the_same_every_time() -> None:
    pool = [Example(patient, str(patient), patient % 3 == 0) for patient in range(30)]
    chosen = choose_examples(pool, 4)
    assert sorted(each.is_positive for each in chosen) == [False, False, True, True]
    assert chosen == choose_examples(pool, 4)


def learnable(tokens: int = 6) -> Data:
    """Forty rows whose first token tells the label."""
    generator = np.random.default_rng(0)
    labels = [place % 2 for place in range(40)]
    rows = [[280 + label, *generator.integers(20, 200, tokens).tolist()] for label in labels]
    return Data(rows, labels, list(range(24)), list(range(24, 40)))


@pytest.mark.parametrize(("kind", "tune"), [("AutoModel", tune_encoder), ("AutoModelForCausalLM", tune_decoder)])
def test_the_loss_falls_and_the_best_checkpoint_comes_back(folder: Path, kind: str, tune: Any) -> None:
    model, tokenizer = open_model(folder, kind)
    tuned_model, tuned = tune(model, tokenizer, learnable(), FAST)
    assert tuned.train_losses[-1] < tuned.train_losses[0] / 2
    assert tuned.best_epoch == int(np.argmin(tuned.val_losses))
    assert not tuned_model.training


@pytest.mark.parametrize("kind", ["AutoModel", "AutoModelForCausalLM"])
def test_a_seed_gives_the_same_model_again(folder: Path, kind: str) -> None:
    tune: Any = tune_encoder if kind == "AutoModel" else tune_decoder
    recipe = loop.Recipe(learning_rate=1e-2, dropout=0.1, epochs=2, at_once=4)
    losses = [tune(*open_model(folder, kind), learnable(), recipe)[1].val_losses for _ in range(2)]
    assert losses[0] == losses[1]


def test_tuning_stops_after_five_epochs_without_a_better_one_and_goes_back() -> None:
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(weight.weight, 1.0)
    # Training pushes the weight down for ever; validation wants it where the first epoch leaves it.
    seen: list[float] = []

    def loss(rows: Any) -> Any:
        value = weight.weight.squeeze()
        if rows[0] == 9:
            seen.append(float(value))
            return (value - seen[0]).square()
        return value

    tuned = loop.tune(weight, loss, [0], [9], loop.Recipe(learning_rate=0.1, dropout=0.0))
    assert (tuned.best_epoch, len(tuned.val_losses)) == (0, 6)
    assert float(weight.weight.detach()) == seen[0]


def test_probabilities_survive_being_vectors() -> None:
    given = np.array([0.0, 1e-9, 0.1234567, 0.5, 0.999999, 1.0])
    kept = vectors_of(given)
    assert np.abs(kept).max(axis=1).min() > 0
    assert HEAD.probability(kept) == pytest.approx(given, abs=1e-6)


@pytest.fixture
def labelled(database: Database) -> Database:
    """Forty patients, every second of whom is ill; who is has a code that tells it."""
    ask_who_is_ill(database, {p: f"SNOMED/{p % 2}" for p in range(1, 41)})
    return database


def test_what_is_stored_is_served_and_evaluated_like_a_head(labelled: Database, folder: Path) -> None:
    result = finetune(labelled, folder, "ill", "asked", Asked("ask", examples=2))
    assert result.best_epoch is None
    with labelled.transaction() as connection:
        rows = connection.execute("select patient_id, probability from ehr.predict_cohort('ill', encoder => 'asked')")
        served = dict(rows.fetchall())
        (digest,) = connection.execute("select digest from ehrdb.encoder where name = 'asked'").fetchone() or ("",)
    assert digest == result.digest
    question = prepare(labelled, lambda encoder: pytest.fail("no model is run"), ["ill"], ["asked"], set())
    run = answer(question, [8, -1], replicates=1).own[0]
    tested = question.targets["asked"][0].test.patient_id
    assert run.probability == pytest.approx([served[patient] for patient in tested.tolist()])
    assert run.metrics.auroc.score == result.test["auroc"]


def test_a_tuned_encoder_learns_what_codes_tell(labelled: Database, folder: Path) -> None:
    result = finetune(labelled, folder, "ill", "tuned", Asked("encoder", epochs=2, at_once=8))
    assert (result.labels, len(result.val_losses)) == (40, 2)
    with labelled.transaction() as connection:
        (of,) = connection.execute("select provenance -> 'asked' ->> 'way' from ehr.head").fetchone() or ("",)
    assert of == "encoder"


def test_another_model_of_the_name_takes_its_place_and_an_encoder_keeps_its_name(
    labelled: Database, folder: Path
) -> None:
    first = finetune(labelled, folder, "ill", "asked", Asked("ask"))
    again = finetune(labelled, folder, "ill", "asked", Asked("ask", examples=2))
    assert first.digest != again.digest
    with labelled.transaction() as connection:
        connection.execute("update ehrdb.encoder set manifest = '{}'")
    with pytest.raises(EncoderError, match="belongs to an encoder"):
        finetune(labelled, folder, "ill", "asked", Asked("ask"))


def test_examples_are_halved(labelled: Database, folder: Path) -> None:
    with pytest.raises(ConfigError, match="half of them positive"):
        finetune(labelled, folder, "ill", "asked", Asked("ask", examples=3))
