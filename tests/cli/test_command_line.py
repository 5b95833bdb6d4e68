"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys


def test_help_waits_for_no_heavy_library() -> None:
    code = (
        "import sys; from ehrdb.cli import app; "
        "print([m for m in ('torch', 'transformers', 'sklearn', 'scipy', 'ray') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
