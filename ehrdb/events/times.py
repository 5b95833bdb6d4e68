"""Whose clock a time is of."""

from __future__ import annotations

from pathlib import Path

from ehrdb.errors import InputError


def zone_error(place: Path | str, column: str) -> InputError:
    """Times with a time zone need to be told where the patients were."""
    return InputError(
        "holds times with a time zone; records keep local times",
        file=place,
        column=column,
        hint="Say whose clock: --time-zone America/New_York.",
    )
