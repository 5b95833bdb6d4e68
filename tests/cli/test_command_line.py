"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

from ehrdb import __version__


def test_help_waits_for_no_heavy_library() -> None:
    code = (
        "import sys; from ehrdb.cli import app; "
        "print([m for m in ('torch', 'transformers', 'sklearn', 'scipy', 'ray') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_version_is_printed() -> None:
    found = subprocess.run([sys.executable, "-m", "ehrdb", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == __version__
