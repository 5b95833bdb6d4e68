"""`ehrdb finetune encoder | decoder | ask`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from ehrdb.cli.common import Json, current_database, err, out, print_json

if TYPE_CHECKING:
    from ehrdb.prediction.finetune.run import FinetuneResult, Way

app = typer.Typer(
    no_args_is_help=True, help="Fine-tuned models, and decoders that are asked: probabilities like a head's."
)
Model = Annotated[Path, typer.Argument(help="Folder of a model of transformers, or a .gguf file.")]
TaskName = Annotated[str, typer.Argument(help="A task, or one finding: chexpert_edema.")]
Name = Annotated[str, typer.Option(help="What the probabilities are called: an encoder's name that is free.")]
Format = Annotated[str, typer.Option("--format", help="Text format (ehr.format).")]
Shots = Annotated[int, typer.Option("--k", help="Tune on so many examples per class; -1 for every row.", min=-1)]
Replicate = Annotated[int, typer.Option(help="Which sample of k, from 0.", min=0)]
Tokens = Annotated[int, typer.Option(help="Tokens that are read; the end is cut.", min=64)]
Epochs = Annotated[int, typer.Option(help="At most; it stops after five without a lower validation loss.", min=1)]
AtOnce = Annotated[int, typer.Option(help="Rows that are computed together; a step sees eight.", min=1, max=8)]
Seed = Annotated[int, typer.Option(help="The same seed, data and machine give the same probabilities.", min=0)]


@app.command()
def encoder(
    model: Model,
    task: TaskName,
    name: Name,
    text_format: Format = "list_recent",
    k: Shots = -1,
    replicate: Replicate = 0,
    tokens: Tokens = 4096,
    epochs: Epochs = 20,
    at_once: AtOnce = 1,
    seed: Seed = 42,
    json: Json = False,
) -> None:
    """Tune an encoder (LoRA) with a linear layer on its last token, as the paper does, and store what it says.

    Example: `ehrdb finetune encoder Qwen3-Embedding-0.6B guo_los --name los-tuned --k 64`
    """
    how: dict[str, Any] = {"text_format": text_format, "k": k, "replicate": replicate, "seed": seed}
    _finetune(model, task, name, json, "encoder", most_tokens=tokens, epochs=epochs, at_once=at_once, **how)


@app.command()
def decoder(
    model: Model,
    task: TaskName,
    name: Name,
    text_format: Format = "list_recent",
    k: Shots = -1,
    replicate: Replicate = 0,
    tokens: Tokens = 4096,
    epochs: Epochs = 20,
    at_once: AtOnce = 1,
    seed: Seed = 42,
    json: Json = False,
) -> None:
    """Tune a decoder (LoRA) to answer Yes or No about a record, and store what it says.

    Example: `ehrdb finetune decoder Qwen3-8B guo_los --name los-decoder --k 64`
    """
    how: dict[str, Any] = {"text_format": text_format, "k": k, "replicate": replicate, "seed": seed}
    _finetune(model, task, name, json, "decoder", most_tokens=tokens, epochs=epochs, at_once=at_once, **how)


@app.command()
def ask(
    model: Model,
    task: TaskName,
    name: Name,
    examples: Annotated[int, typer.Option(help="Training records shown, half positive: 0, 2, 4 or 6.", min=0)] = 0,
    text_format: Format = "list_recent",
    tokens: Tokens = 4096,
    at_once: AtOnce = 1,
    json: Json = False,
) -> None:
    """Ask a decoder as it is, or after examples, and store what it says.

    Example: `ehrdb finetune ask Qwen3-8B guo_los --name los-asked --examples 2`
    """
    how: dict[str, Any] = {"text_format": text_format, "examples": examples}
    _finetune(model, task, name, json, "ask", most_tokens=tokens, at_once=at_once, **how)


def _finetune(model: Path, task: str, name: str, json: bool, way: Way, **how: Any) -> None:
    """Do it, and show what came of it."""
    # Imported here: torch takes seconds that help need not wait for.
    from ehrdb.prediction.finetune.run import Asked, finetune

    with current_database() as database:
        result = finetune(database, model, task, name, Asked(way, **how), tell=err.print)
    if json:
        print_json(result)
    else:
        out.print(_table(result))
        err.print(f"stored as {name}: `ehrdb evaluate {task} --compare {name}`")


def _table(result: FinetuneResult) -> Table:
    table = Table("task", "labels", "epochs", "best", "AUROC", "AUPRC", "Brier", show_edge=False)
    scores = ("-" if score is None else f"{score:.3f}" for score in result.test.values())
    best = "-" if result.best_epoch is None else str(result.best_epoch + 1)
    table.add_row(result.target, str(result.labels), str(len(result.val_losses)), best, *scores)
    return table
