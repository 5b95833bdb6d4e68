"""What every way of making an encoder shares: a folder that is complete or untouched, and its manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from ehrdb.encoder.manifest import Manifest, Precision, file_digest
from ehrdb.encoder.source import ModelSource
from ehrdb.encoder.usage import Usage

Register = Callable[[Manifest], None]
"""Accepts a manifest, or raises: then no folder is made."""


@contextmanager
def workshop(directory: Path) -> Iterator[Path]:
    """An empty folder beside `directory`, on the same disk, gone afterwards."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".export-") as folder:
        yield Path(folder)


def place(work: Path, directory: Path) -> None:
    """Put a finished folder where another one may be."""
    shutil.rmtree(directory, ignore_errors=True)
    work.rename(directory)


@contextmanager
def made_beside(directory: Path) -> Iterator[Path]:
    """A work folder beside `directory` that takes its place at the end, and vanishes on an error."""
    with workshop(directory) as folder:
        work = folder / "encoder"
        work.mkdir()
        yield work
        place(work, directory)


def describe(
    work: Path, source: ModelSource, usage: Usage, name: str, precision: Precision, tools: Sequence[str]
) -> Manifest:
    """The manifest of the files in `work`; no parity yet."""
    return Manifest(
        name=name,
        source=source.name,
        revision=source.revision,
        weights_digest=source.weights_digest,
        precision=precision,
        parity=None,
        versions={package: version(package) for package in tools},
        files={path.name: file_digest(path) for path in sorted(work.iterdir())},
        **asdict(usage),
    )
