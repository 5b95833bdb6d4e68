"""Charts as geometry: where a template draws what, in SVG without script or style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

WIDTH, HEIGHT = 600, 200
CALIBRATION = 240
LOVE_WIDTH, LOVE_LIMIT = 200, 1.0
COURSE_WIDTH, COURSE_HEIGHT = 300, 80


@dataclass(frozen=True)
class Bar:
    """A bar from the bottom of a WIDTH x height field."""

    x: float
    y: float
    width: float
    height: float


def bars(values: Sequence[float], height: float = 60, places: int = 20) -> list[Bar]:
    """One bar a value, side by side in at least so many places, the greatest as high as the field."""
    step, most = WIDTH / max(len(values), places), max([*values, 1e-9])
    heights = [0.0 if value <= 0 else max(2.0, height * value / most) for value in values]
    return [
        Bar(round(number * step + 1, 1), round(height - high, 1), round(step - 2, 1), round(high, 1))
        for number, high in enumerate(heights)
    ]


def curve(points: Sequence[tuple[float, float]], longest: float, highest: float) -> str:
    """Points (x from 0 to longest, y from 0 to highest) as "x,y x,y ..." in a WIDTH x HEIGHT field."""
    return " ".join(f"{WIDTH * x / longest:.1f},{HEIGHT * (1 - y / highest):.1f}" for x, y in points)


def square(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points with coordinates from 0 to 1 in a CALIBRATION x CALIBRATION field."""
    return [(round(CALIBRATION * x, 1), round(CALIBRATION * (1 - y), 1)) for x, y in points]


def love(difference: float | None) -> float | None:
    """Where a standardized difference lies on a line LOVE_WIDTH long, 0 in the middle, LOVE_LIMIT at the ends."""
    if difference is None:
        return None
    return round(LOVE_WIDTH / 2 * (1 + max(-LOVE_LIMIT, min(LOVE_LIMIT, difference)) / LOVE_LIMIT), 1)


@dataclass(frozen=True)
class Course:
    """Probabilities over time in a COURSE_WIDTH x COURSE_HEIGHT field, from 0 to `highest`; `base` is how high the base
    rate lies, None where it is not known."""

    dots: list[tuple[float, float]]
    highest: float
    base: float | None


def course(moments: Sequence[datetime], probabilities: Sequence[float], base_rate: float | None) -> Course:
    """Where each probability lies, in proportion to time from edge to edge; one alone is in the middle."""
    most = max([*probabilities, base_rate or 0])
    highest = next(limit for limit in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if most <= limit)
    seconds = [(moment - moments[0]).total_seconds() for moment in moments]
    xs = [COURSE_WIDTH * second / seconds[-1] if seconds[-1] else COURSE_WIDTH / 2 for second in seconds]
    ys = [COURSE_HEIGHT * (1 - probability / highest) for probability in probabilities]
    base = None if base_rate is None else round(COURSE_HEIGHT * (1 - base_rate / highest), 1)
    return Course([(round(x, 1), round(y, 1)) for x, y in zip(xs, ys, strict=True)], highest, base)
