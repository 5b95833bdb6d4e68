"""A measurement's course as a small SVG, and in words for who does not see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT, MARGIN = 160, 36, 4


@dataclass(frozen=True)
class Sparkline:
    """Points "x,y x,y ..." in a WIDTH x HEIGHT field, in proportion to time; where the last one lies."""

    points: str
    last: tuple[float, float]
    words: str


def sparkline(moments: Sequence[datetime], figures: Sequence[float]) -> Sparkline:
    """The line through figures at moments (the same number of each, at least one)."""
    seconds = [(moment - moments[0]).total_seconds() for moment in moments]
    xs = _scaled(seconds, MARGIN, WIDTH - MARGIN)
    ys = _scaled(list(figures), HEIGHT - MARGIN, MARGIN)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    span = f"{moments[0]:%Y-%m-%d} to {moments[-1]:%Y-%m-%d}"
    words = f"{len(figures)} values from {span}, {min(figures):g} to {max(figures):g}"
    return Sparkline(points, (round(xs[-1], 1), round(ys[-1], 1)), words)


def _scaled(values: Sequence[float], start: float, end: float) -> list[float]:
    """Values on a line from start (the least) to end (the greatest); all in the middle where they are equal."""
    low, high = min(values), max(values)
    if low == high:
        return [(start + end) / 2] * len(values)
    return [start + (value - low) / (high - low) * (end - start) for value in values]
