"""A timeline's text in parts that can be left out: its lines, its kinds of events, its visits."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["line", "category", "visit", "rest"]
_HEADING = re.compile(r"(#{1,4}) (.*)")
_VISIT_LEVEL = 3
_VISIT_SUMMARY = "Past Medical Visits"


@dataclass(frozen=True)
class Part:
    """Lines that are left out together, counted from 1. name: the category, or the visit's start or heading."""

    kind: Kind
    name: str | None
    lines: tuple[int, ...]


def without(lines: Sequence[str], left_out: Collection[int]) -> str:
    """The text with these lines left out."""
    gone = set(left_out)
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in gone)


def list_parts(
    lines: Sequence[str], categories: Mapping[str, str], visits: Sequence[tuple[str, int]], most: int
) -> Iterator[Part]:
    """Parts of a list format.

    categories: the text of each category alone. visits: newest first, each one's start and how many of the first lines
    are of events since then: a visit's lines are those from its start until the next one's.
    """
    yield from _single(list(range(1, len(lines) + 1)), most)
    for name, text in categories.items():
        yield Part("category", name, tuple(numbers_of(lines, text)))
    above = 0
    for start, until in visits:
        yield Part("visit", start, tuple(range(above + 1, until + 1)))
        above = max(above, until)


def markdown_parts(lines: Sequence[str], most: int) -> Iterator[Part]:
    """Parts of a Markdown document: items, sections over all visits, and visits with their lines in the summary."""
    sections: dict[str, list[int]] = defaultdict(list)
    visits: list[tuple[str, list[int]]] = []
    summary: list[int] = []
    path: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        heading = _HEADING.fullmatch(line)
        if heading:
            level = len(heading[1])
            path = {above: title for above, title in path.items() if above < level} | {level: heading[2]}
            if level == _VISIT_LEVEL:
                visits.append((heading[2], []))
        if _VISIT_LEVEL in path:
            visits[-1][1].append(number)
        if line.startswith("- "):
            deepest = path.get(max(path, default=0), "")
            (summary if deepest == _VISIT_SUMMARY else sections[deepest]).append(number)
    yield from _single(sorted(number for of_section in sections.values() for number in of_section), most)
    yield from (Part("category", name, tuple(numbers)) for name, numbers in sections.items())
    for place, (name, numbers) in enumerate(visits):
        yield Part("visit", name, (*summary[place : place + 1], *numbers))


def _single(numbers: Sequence[int], most: int) -> Iterator[Part]:
    yield from (Part("line", None, (number,)) for number in numbers[:most])
    if rest := tuple(numbers[most:]):
        yield Part("rest", None, rest)


def numbers_of(lines: Sequence[str], text: str) -> Iterator[int]:
    """Which lines a text of some of them has."""
    wanted = Counter(text.split("\n"))
    for number, line in enumerate(lines, 1):
        if wanted[line] > 0:
            wanted[line] -= 1
            yield number
