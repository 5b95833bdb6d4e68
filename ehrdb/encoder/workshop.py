"""Where an encoder's folder is made: beside its place, which is complete or untouched at any moment."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ehrdb.encoder.manifest import Manifest

Register = Callable[[Manifest], None]
"""Accepts a manifest, or raises before anything is replaced."""


@contextmanager
def workshop(directory: Path) -> Iterator[Path]:
    """An empty folder beside `directory`, on the same disk, gone afterwards."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".export-") as folder:
        yield Path(folder)


def place(work: Path, directory: Path, manifest: Manifest, register: Register) -> None:
    """Complete `work` with its manifest and, after `register` has accepted it, make it `directory`."""
    manifest.save(work)
    register(manifest)
    shutil.rmtree(directory, ignore_errors=True)
    work.rename(directory)
