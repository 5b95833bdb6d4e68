"""Files that tell of patients: only who runs the program may read them."""

from __future__ import annotations

from pathlib import Path


def private(file: Path) -> Path:
    """The file, made if it is not there, with the rights 0600."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    return file


def make_private(folder: Path) -> None:
    """The same for all files of a folder; 0700 for the folders."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
