"""A measurement's course as a small SVG, and in words for who does not see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT, MARGIN = 160, 36, 4


@dataclass(frozen=True)
class Sparkline:
    """Points "x,y x,y ..." in a WIDTH x HEIGHT field, in proportion to time; where the last one lies.

    band: from where to where down the field usual figures lie; None where none of it is in the field.
    """

    points: str
    last: tuple[float, float]
    words: str
    band: tuple[float, float] | None = None


def sparkline(
    moments: Sequence[datetime],
    figures: Sequence[float],
    usual_low: float | None = None,
    usual_high: float | None = None,
) -> Sparkline:
    """The line through figures at moments (the same number of each, at least one), and where usual ones lie."""
    seconds = [(moment - moments[0]).total_seconds() for moment in moments]
    xs = _scaled(seconds, MARGIN, WIDTH - MARGIN)
    ys = _scaled(list(figures), HEIGHT - MARGIN, MARGIN)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    span = f"{moments[0]:%Y-%m-%d} to {moments[-1]:%Y-%m-%d}"
    words = f"{len(figures)} values from {span}, {min(figures):g} to {max(figures):g}"
    return Sparkline(points, (round(xs[-1], 1), round(ys[-1], 1)), words, _band(figures, usual_low, usual_high))


def _band(figures: Sequence[float], low: float | None, high: float | None) -> tuple[float, float] | None:
    """Where an interval, open where an end is None, lies in the field; nowhere where figures have no scale."""
    least, most = min(figures), max(figures)
    if least == most or (low is None and high is None):
        return None
    scale = (HEIGHT - 2 * MARGIN) / (most - least)
    top = 0.0 if high is None else max(0.0, MARGIN + (most - high) * scale)
    bottom = float(HEIGHT) if low is None else min(float(HEIGHT), MARGIN + (most - low) * scale)
    return (round(top, 1), round(bottom, 1)) if top < bottom else None


def usual(low: float | None, high: float | None) -> str:
    """An interval in words; empty without one."""
    if low is None or high is None:
        return "" if low is high else f"to {high:.3g}" if low is None else f"from {low:.3g}"
    return f"{low:.3g} to {high:.3g}"


def _scaled(values: Sequence[float], start: float, end: float) -> list[float]:
    """Values on a line from start (the least) to end (the greatest); all in the middle where they are equal."""
    low, high = min(values), max(values)
    if low == high:
        return [(start + end) / 2] * len(values)
    return [start + (value - low) / (high - low) * (end - start) for value in values]
