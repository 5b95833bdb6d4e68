"""Fine-tuned models and decoders that are asked, on real outcomes, beside an encoder and counts on the same few stays.

    python bench/finetune.py FOLDER SmolLM2-135M-Instruct.gguf --set physionet-2012-meds --task in_hospital_death

FOLDER holds MEDS data sets, each with labels/TASK.parquet. Of one of them k patients of each class train and k
validate, and so many held-out patients as they come are tested, drawn with a seed: all models see the same. Everything
is what a user would type, in an embedded database in a temporary folder. Prints each command with its seconds, AUROC
and the paired tests against the encoder.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from outcomes import few_labels, run, with_parents

from ehrdb.config import Settings
from ehrdb.database import open_database

WAYS = {
    "asked": ("ask",),
    "tuned-encoder": ("encoder",),
    "tuned-decoder": ("decoder",),
    "asked-2": ("ask", "--examples", "2"),
}


def main(
    folder: Path,
    model: Annotated[Path, typer.Argument(help="A decoder: a folder of transformers, or a .gguf file.")],
    data: Annotated[str, typer.Option("--set", help="A data set of the folder.")],
    task: Annotated[str, typer.Option(help="Its task.")],
    k: Annotated[int, typer.Option(help="Patients of each class to train on, and to validate on.")] = 32,
    tests: Annotated[int, typer.Option("--test", help="Held-out patients.")] = 300,
    tokens: Annotated[int, typer.Option(help="Of a record.")] = 256,
    epochs: Annotated[int, typer.Option(help="At most.")] = 5,
    text_format: Annotated[
        str, typer.Option("--format", help="Of the records that the decoder reads.")
    ] = "list_graded",
) -> None:
    """Tune and ask, then compare."""
    with tempfile.TemporaryDirectory(prefix="ehrdb-finetune-") as name, _database(Path(name)):
        home = Path(name)
        source = with_parents(folder / data, home / "source")
        labels = _few(source, folder / data / "labels" / f"{task}.parquet", k, tests)
        run(home, "upgrade")
        run(home, "load", "meds", str(source))
        run(home, "load", "labels", str(labels), "--task", task)
        run(home, "encoder", "export", "--name", "lines", "--chunking", "lines", "--format", text_format)
        for way, (verb, *options) in WAYS.items():
            told = [] if verb == "ask" else ["--k", str(k), "--epochs", str(epochs)]
            read = ("--format", text_format, "--tokens", str(tokens), "--json")
            found = run(home, "finetune", verb, str(model), task, "--name", way, *options, *told, *read)
            print(" " * 12, found, flush=True)
        compared = [part for way in WAYS for part in ("--compare", way)]
        beside = ("--baseline", "counts", "--k", str(k), "--replicates", "1", "--json")
        _show(json.loads(run(home, "evaluate", task, "--encoder", "lines", *compared, *beside)))


def _database(home: Path) -> Any:
    return open_database(Settings(home=home, database_url=None), create=True)


def _few(source: Path, labels: Path, k: int, tests: int) -> Path:
    """Leave so few patients in the data set at `source`; their labels' file."""
    few = few_labels(labels, source / "metadata" / "subject_splits.parquet", k, tests)
    whole = (source / "data").readlink()
    (source / "data").unlink()
    for split in ("train", "tuning", "held_out"):
        (source / "data" / split).mkdir(parents=True)
        events = pl.scan_parquet(f"{whole}/{split}/*.parquet").filter(
            pl.col("subject_id").is_in(few["subject_id"].implode())
        )
        events.collect().write_parquet(source / "data" / split / "0.parquet")
    few.drop("split").write_parquet(source / "labels.parquet")
    return source / "labels.parquet"


def _show(answer: dict[str, Any]) -> None:
    for name, runs in {"lines": answer["results"], **answer["others"]}.items():
        auroc = runs[0]["auroc"]
        print(f"{name:40} {auroc['score']:.3f} ({auroc['lower']:.3f} to {auroc['upper']:.3f})")
    for test in answer["paired_tests"]:
        print(f"  against {test['against']:31} {test['delta']:+.3f}  p (Holm) {test['p_holm']:.3f}")


if __name__ == "__main__":
    typer.run(main)
