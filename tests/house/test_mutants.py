"""The list of known faults follows the code: each is found in its file exactly once, and its tests exist."""

from __future__ import annotations

from tests.mutants.run import read_mutants


def test_every_known_fault_fits_the_tree() -> None:
    assert len(read_mutants()) >= 60
