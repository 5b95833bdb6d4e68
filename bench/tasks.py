"""All tasks of a timeline in one pass against a pass for each: what `--prompt-position last` saves.

    python bench/tasks.py MODEL [--precision int8] [--tokens 2048] [--texts 2] [--file TEXTS.json]

MODEL: a causal decoder with last-token pooling. They take turns; medians of this process's seconds on the processors
count, so that other programs do not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from ehrdb.encoder.export import export
from ehrdb.encoder.manifest import Manifest, PromptPosition
from ehrdb.encoder.parity import made_up_texts
from ehrdb.encoder.prompts import prompt_for
from ehrdb.encoder.runtime import open_encoder
from ehrdb.prediction import benchmark_tasks


def main() -> None:
    arguments = _arguments()
    if not arguments.model:
        print(__doc__)
        return
    texts = json.loads(arguments.file.read_text()) if arguments.file else made_up_texts(arguments.texts)
    prompts = [prompt_for(task, "list_recent") for task in sorted(benchmark_tasks())]
    with tempfile.TemporaryDirectory() as folder:
        last = _encoder(arguments, Path(folder) / "last", "last")
        first = _encoder(arguments, Path(folder) / "first", "first")
        longest = sorted(texts, key=len)[-arguments.texts :]
        asked = [prompt + text for text in longest for prompt in prompts]
        contenders: dict[str, Callable[[], Any]] = {
            "one task, instruction first: a plain causal pass": lambda: first.encode(
                [prompts[0] + text for text in longest]
            ),
            "one task, instruction last": lambda: last.encode([prompts[0] + text for text in longest]),
            "15 tasks, instruction last": lambda: last.encode(asked),
            "15 tasks, instruction first": lambda: first.encode(asked),
        }
        _report(contenders, arguments.rounds)


def _report(contenders: dict[str, Callable[[], Any]], rounds: int) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    plain = median(next(iter(seconds.values())))
    for name, taken in seconds.items():
        print(f"{name:50} {median(taken):8.2f} s  {median(taken) / plain:6.2f}x", flush=True)


def _encoder(arguments: argparse.Namespace, directory: Path, position: PromptPosition) -> Any:
    manifest: Manifest = export(
        arguments.model,
        directory,
        name="bench",
        precision=arguments.precision,
        max_tokens=arguments.tokens,
        prompt_position=position,
        sample_texts=["Asthma"],
        accept_quality_loss=True,
    )
    return open_encoder(directory, manifest, threads=arguments.threads)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--texts", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
