"""Why this risk: how a probability changes when lines of the timeline, kinds of events or visits are left out.

Each text without a part is embedded as any other, and scored by the same head. That tells what this head makes of this
text; it is no cause, and nothing that would follow from changing a patient. Lines that say the same twice stand in for
each other: leaving one out changes little. So beside the single effects stands what leaving all of them out changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ehrdb.database import Connection, Database, register_vectors
from ehrdb.embedding.load import LoadEncoder
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.errors import EncoderError, NotFound
from ehrdb.prediction.parts import Kind, Part, list_parts, markdown_parts, numbers_of, without
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "reasons.sql")
SHOWN = 10
"""Lines with the largest effects, of which it is told what leaving all of them out changes."""
MOST_LINES = 500
"""Lines that are left out one by one; those after them are left out as one."""
MOST_VISITS = 100
_BATCH = 64
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Effect:
    """What a part adds: the probability, and the log odds before calibration, with it minus without it.

    text: the line; of a group its name. lines: how many of the text's it holds, and `first` the number of the first.
    """

    kind: Kind
    text: str
    first: int
    lines: int
    probability: float
    log_odds: float


@dataclass(frozen=True)
class Explanation:
    """Why a patient's probability is what it is, largest effects first.

    together: what leaving out all of the `SHOWN` lines with the largest effects changes; added_up: the sum of their
    single effects. Where the two differ, lines stand in for each other or work together, and single effects mislead.
    is_from_cache: nothing was embedded.
    """

    task: str
    patient_id: int
    as_of: datetime
    probability: float
    lines: list[Effect]
    groups: list[Effect]
    together: float
    added_up: float
    is_from_cache: bool = False


@dataclass(frozen=True)
class _Question:
    """A head and the text that it is asked about."""

    head_id: int
    weights: NDArray[np.float64]
    intercept: float
    prompt: str
    kind: str
    as_of: datetime
    text: str
    content: bytes
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Reader:
    """An encoder, which of the text's lines it reads under which prompt, and the weights of its vector."""

    encoder: RegisteredEncoder
    prompt: str
    numbers: Sequence[int]
    weights: NDArray[np.float64]

    def text(self, lines: Sequence[str], left_out: Collection[int]) -> str:
        """What it reads where these lines are left out."""
        return "\n".join(lines[number - 1] for number in self.numbers if number not in left_out)


def explain_risk(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: LoadEncoder,
    task: str,
    patient_id: int,
    as_of: datetime | None = None,
    *,
    most_lines: int = MOST_LINES,
    progress: Progress = lambda done, total: None,
) -> Explanation:
    """Why the head says what it says of the record as of a moment (None: everything known).

    What was found is kept by content where this role may write: asked again, nothing is embedded. Raises NotFound for
    an unknown patient or a text of less than two lines, EncoderError for an encoder without a model of its own. Of a
    concatenation each part that shows a line leaves it out.
    """
    with database.transaction() as connection:
        question = _ask(connection, encoder, task, patient_id, as_of)
        kept = connection.execute(_queries.kept, _key(question, patient_id, most_lines)).fetchone()
        readers = [] if kept else _readers(connection, encoder, question, patient_id)
        parts = [] if kept else _parts(connection, encoder, question, patient_id, most_lines, readers)
    if kept:
        return _told(task, patient_id, question, kept[0], is_from_cache=True)
    odds = _log_odds(load_encoder, readers, question, parts, progress)
    with database.transaction() as connection:
        found = _effects(connection, question, parts, odds)
        connection.execute(_queries.keep, {**_key(question, patient_id, most_lines), "found": json.dumps(found)})
    return _told(task, patient_id, question, found)


def _ask(
    connection: Connection, encoder: RegisteredEncoder, task: str, patient_id: int, as_of: datetime | None
) -> _Question:
    register_vectors(connection)
    values = {"task": task, "encoder_id": encoder.encoder_id, "patient_id": patient_id, "as_of": as_of or "infinity"}
    row = connection.execute(_queries.question, values).fetchone()
    assert row is not None
    head_id, weights, *rest = row
    question = _Question(head_id, weights.to_numpy().astype(np.float64), *rest)
    question.lines.extend(question.text.split("\n"))
    if sum(bool(line.strip()) for line in question.lines) < 2:
        raise NotFound(
            f"patient {patient_id} has nothing to leave out: a text of less than two lines",
            hint="See `ehrdb timeline`: what is known by then?",
        )
    return question


def _key(question: _Question, patient_id: int, most_lines: int) -> dict[str, Any]:
    return {
        "head_id": question.head_id,
        "patient_id": patient_id,
        "content": question.content,
        "as_of": question.as_of,
        "most_lines": most_lines,
    }


def _readers(connection: Connection, encoder: RegisteredEncoder, question: _Question, patient_id: int) -> list[_Reader]:
    """The encoder itself, or the parts of a concatenation. Raises EncoderError where a text could not be read anew."""
    if encoder.kind == "model":
        return [_Reader(encoder, question.prompt, range(1, len(question.lines) + 1), question.weights)]
    values = {"head_id": question.head_id, "patient_id": patient_id, "as_of": question.as_of}
    rows = connection.execute(_queries.parts, {**values, "encoder_id": encoder.encoder_id}).fetchall()
    readers, start = [], 0
    for *row, prompt, text in rows:
        part = RegisteredEncoder(*row)
        numbers = tuple(numbers_of(question.lines, text)) if text else ()
        _require_readable(part, [question.lines[number - 1] for number in numbers], text)
        readers.append(_Reader(part, prompt, numbers, question.weights[start : start + part.dimension]))
        start += part.dimension
    if not readers:
        _require_readable(encoder, [], None)
    return readers


def _require_readable(part: RegisteredEncoder, lines: Sequence[str], text: str | None) -> None:
    if part.kind != "model":
        raise EncoderError(f"{part.name} has no model that could read a text anew", hint="Name another: --encoder.")
    if "\n".join(lines) != text:
        raise EncoderError(
            f"{part.name} reads {part.format}, other lines than the parts beside it",
            hint="A concatenation is explained whose parts read one list, or its categories.",
        )


def _parts(
    connection: Connection,
    encoder: RegisteredEncoder,
    question: _Question,
    patient_id: int,
    most: int,
    readers: Sequence[_Reader],
) -> list[Part]:
    """What is left out of what is read, each leaving something."""
    read = {number for reader in readers for number in reader.numbers}
    if question.kind == "markdown":
        found = list(markdown_parts(question.lines, most))
    else:
        values = {"patient_id": patient_id, "as_of": question.as_of, "format": encoder.format, "most": MOST_VISITS}
        categories: dict[str, str] = dict(connection.execute(_queries.categories, values).fetchall())
        visits = connection.execute(_queries.visits, values).fetchall()
        found = list(list_parts(question.lines, categories, visits, most))
    found = [replace(part, lines=tuple(number for number in part.lines if number in read)) for part in found]
    return [part for part in found if part.lines and _leaves_something(question.lines, part.lines)]


def _leaves_something(lines: Sequence[str], left_out: Sequence[int]) -> bool:
    return bool(without(lines, left_out).strip())


def _log_odds(
    load_encoder: LoadEncoder, readers: Sequence[_Reader], question: _Question, parts: list[Part], progress: Progress
) -> list[float]:
    """Of the whole text, without each part, and without the lines of the largest effects together."""
    odds = _scored(load_encoder, readers, question, [(), *(part.lines for part in parts)], progress)
    strongest = _strongest(parts, odds)
    together = [number for part in strongest for number in part.lines]
    while not _leaves_something(question.lines, together):
        together.pop()
    return [*odds, *_scored(load_encoder, readers, question, [together], lambda done, total: None)]


def _strongest(parts: list[Part], odds: Sequence[float]) -> list[Part]:
    ranked = sorted(zip(parts, odds[1:], strict=False), key=lambda pair: -abs(odds[0] - pair[1]))
    return [part for part, _ in ranked if part.kind == "line"][:SHOWN]


def _scored(
    load_encoder: LoadEncoder,
    readers: Sequence[_Reader],
    question: _Question,
    left_out: Sequence[Collection[int]],
    progress: Progress,
) -> list[float]:
    """Log odds of the text without lines, each distinct text embedded once; an empty one is a vector of zeros."""
    total = np.full(len(left_out), question.intercept)
    read = [[reader.prompt + reader.text(question.lines, set(each)) for each in left_out] for reader in readers]
    distinct = [list(dict.fromkeys(text for text in texts if text)) for texts in read]
    done, of = 0, sum(map(len, distinct))
    for reader, texts, each in zip(readers, read, distinct, strict=True):
        if not each:
            continue
        found, model = {"": 0.0}, load_encoder(reader.encoder)
        for start in range(0, len(each), _BATCH):
            some = each[start : start + _BATCH]
            vectors = model.encode(some).vectors.astype(np.float64)
            found.update(zip(some, (vectors @ reader.weights).tolist(), strict=True))
            done += len(some)
            progress(done, of)
        total += [found[text] for text in texts]
    return [float(odds) for odds in total]


def _effects(connection: Connection, question: _Question, parts: list[Part], odds: list[float]) -> dict[str, Any]:
    """What is kept: numbers of lines, no text of them."""
    rows = connection.execute(_queries.probabilities, {"odds": odds, "head_id": question.head_id}).fetchall()
    whole, *others = [probability for (probability,) in rows]
    return {
        "probability": whole,
        "together": whole - others[-1],
        "parts": [
            {**asdict(part), "probability": whole - left, "log_odds": odds[0] - odd}
            for part, left, odd in zip(parts, others[:-1], odds[1:-1], strict=True)
        ],
    }


def _told(
    task: str, patient_id: int, question: _Question, found: dict[str, Any], *, is_from_cache: bool = False
) -> Explanation:
    effects = [
        Effect(
            part["kind"],
            question.lines[part["lines"][0] - 1] if part["kind"] == "line" else part["name"] or "all other lines",
            part["lines"][0],
            len(part["lines"]),
            part["probability"],
            part["log_odds"],
        )
        for part in found["parts"]
    ]
    effects.sort(key=lambda effect: (-abs(effect.log_odds), effect.first))
    lines = [effect for effect in effects if effect.kind in ("line", "rest")]
    return Explanation(
        task,
        patient_id,
        question.as_of,
        found["probability"],
        lines,
        [effect for effect in effects if effect.kind not in ("line", "rest")],
        found["together"],
        sum(effect.probability for effect in [line for line in lines if line.kind == "line"][:SHOWN]),
        is_from_cache,
    )
