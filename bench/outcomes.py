"""Real outcomes: do small encoders predict them, beside counts and demographics?

    python bench/outcomes.py FOLDER --set physionet-2012-meds --task in_hospital_death

FOLDER holds MEDS data sets, each with labels/TASK.parquet. Everything is what a user would type: an embedded database
in a temporary folder, `ehrdb load`, `ehrdb encoder export`, `ehrdb evaluate`. The heads are chosen on the tuning split;
the held-out split is looked at once, by the last command. Prints AUROC for each number of examples per class, the
seconds of each command, and the ratio to counts with LightGBM in the same run.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from ehrdb.config import Settings
from ehrdb.database import open_database

ENCODERS = {
    "whole records, list_recent": ("--format", "list_recent"),
    "lines, list_graded": ("--chunking", "lines", "--format", "list_graded"),
}


def main(
    folder: Path,
    data: Annotated[list[str], typer.Option("--set", help="Data sets of the folder.")],
    task: Annotated[list[str], typer.Option(help="Tasks, one for each data set.")],
    k: Annotated[list[int] | None, typer.Option(help="Examples per class.")] = None,
) -> None:
    """Evaluate each encoder and the baselines on each task."""
    for name, chosen in zip(data, task, strict=True):
        with tempfile.TemporaryDirectory(prefix="ehrdb-outcomes-") as home:
            print(f"\n== {name}: {chosen}")
            _show(_evaluated(Path(home), folder / name, chosen, k or [8, 64, -1]))


def _evaluated(home: Path, source: Path, task: str, ks: list[int]) -> dict[str, list[dict[str, Any]]]:
    with open_database(Settings(home=home, database_url=None), create=True):
        run(home, "upgrade")
        run(home, "load", "meds", str(with_parents(source, home / "source")))
        run(home, "load", "labels", str(source / "labels" / f"{task}.parquet"), "--task", task)
        for name, options in ENCODERS.items():
            run(home, "encoder", "export", "--name", _name(name), *options)
        one, *others = ENCODERS
        compared = [part for other in others for part in ("--compare", _name(other))]
        asked = [part for number in ks for part in ("--k", str(number))]
        baselines = ("--baseline", "counts", "--baseline", "demographics", "--with", "counts")
        output = run(home, "evaluate", task, "--encoder", _name(one), *compared, *baselines, *asked, "--json")
    answer = json.loads(output)
    return {_name(one): answer["results"], **answer["others"]}


def with_parents(source: Path, copy: Path) -> Path:
    """The data set with its codes' LOINC, where a column of that name has it, as MEDS's parent codes."""
    (copy / "metadata").mkdir(parents=True)
    (copy / "data").symlink_to((source / "data").resolve())
    for file in (source / "metadata").iterdir():
        (copy / "metadata" / file.name).write_bytes(file.read_bytes())
    codes = pl.read_parquet(source / "metadata" / "codes.parquet")
    if "loinc" in codes.columns:
        parents = pl.when(pl.col("loinc").is_not_null()).then(pl.concat_list(pl.lit("LOINC/") + pl.col("loinc")))
        codes.with_columns(parent_codes=parents).drop("loinc").write_parquet(copy / "metadata" / "codes.parquet")
    return copy


def run(home: Path, *arguments: str) -> str:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "ehrdb", *arguments],
        env=os.environ | {"EHRDB_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(f"{time.perf_counter() - started:8.1f} s  ehrdb {' '.join(arguments)}", flush=True)
    return done.stdout


def _name(encoder: str) -> str:
    return encoder.replace(",", "").replace(" ", "-")


def _show(runs: dict[str, list[dict[str, Any]]]) -> None:
    means = {model: _means(own) for model, own in runs.items()}
    trees = next((by_k for model, by_k in means.items() if "LightGBM" in model), {})
    for model, by_k in means.items():
        shown = (f"k={k}: {mean:.3f} ({mean / trees.get(k, mean):.2f}x)" for k, mean in by_k.items())
        print(f"{model:40} {'  '.join(shown)}")


def _means(runs: list[dict[str, Any]]) -> dict[int, float]:
    scores: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        scores[run["k"]].append(run["auroc"]["score"])
    return {k: statistics.mean(values) for k, values in scores.items()}


if __name__ == "__main__":
    typer.run(main)
