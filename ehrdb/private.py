"""Files that tell of patients: only who runs the program may read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def private(file: Path) -> Path:
    """The file, made if it is not there, with the rights 0600."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    return file


def write_private(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file whole or not at all, for who runs this alone."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        write(private(part))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def make_private(folder: Path) -> None:
    """The same for all files of a folder; 0700 for the folders."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
