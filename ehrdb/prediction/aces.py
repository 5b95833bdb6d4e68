"""Task configurations of ACES (Xu et al., ICLR 2025) as tasks here: read, checked, and brought into the form that
`ehrdb.aces_statement` makes one SQL statement of.

A configuration names predicates, a trigger and windows. A window has a root (the boundary that refers to the trigger or
to another window) and a far end, so that all boundaries form a tree under the trigger: `_Tree` walks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    ValidationError,
    model_validator,
)

from ehrdb.declared import faults, read_yaml
from ehrdb.errors import InputError
from ehrdb.prediction.tasks import Declares, Task

SHAPE = "aces"
ANY_EVENT, RECORD_START, RECORD_END = "_ANY_EVENT", "_RECORD_START", "_RECORD_END"
TRIGGER = "trigger"
_SPECIAL = {ANY_EVENT, RECORD_START, RECORD_END}
_UNITS = {"weeks": 604800, "days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}
_SPAN = re.compile(
    r"\s*(?:(?P<weeks>[\d.]+)\s*w(?:ks?|eeks?)?\s*[,/]?)?\s*(?:(?P<days>[\d.]+)\s*d(?:a?ys?)?\s*[,/]?)?"
    r"\s*(?:(?P<hours>[\d.]+)\s*h(?:rs?|ours?)?\s*[,/]?)?\s*(?:(?P<minutes>[\d.]+)\s*m(?:ins?|inutes?)?\s*[,/]?)?"
    r"\s*(?:(?P<seconds>[\d.]+)\s*s(?:ecs?|econds?)?)?\s*",
    re.IGNORECASE,
)
# What the two dialects of regular expressions write alike; \b and \B have other names in PostgreSQL.
_ESCAPE = re.compile(r"\\(?:([dDwWsS]|[^\w\s])|([bB])|(.?))", re.DOTALL)
_FOREIGN = re.compile(r"\(\?(?!:)|\[\[(?!:)|&&|--|~~|[*+?}]\+")


class AcesError(ValueError):
    """What a configuration says that has no meaning here."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Codes(_Part):
    """Several codes, or all that a regular expression finds."""

    regex: StrictStr | None = Field(default=None, min_length=1)
    any: list[StrictStr] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Codes:
        if (self.regex is None) == (self.any is None):
            raise ValueError("name either regex or any")
        return self


def _code(value: object) -> object:
    """A code as it is written: one fault is told, not one for each form."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise ValueError("a code is text, {any: [...]} or {regex: ...}")
    return Codes.model_validate(value)


Code = Annotated[str | Codes | None, BeforeValidator(_code)]


class Plain(BaseModel):
    """Events with a code, within bounds of value; other keys are columns that must hold this value."""

    model_config = ConfigDict(extra="allow")
    code: Code
    value_min: float | None = None
    value_max: float | None = None
    value_min_inclusive: bool | None = None
    value_max_inclusive: bool | None = None
    static: StrictBool = False

    def rule(self) -> dict[str, Any]:
        """As SQL reads it."""
        return {
            **self._codes(),
            **(
                {"at_least" if self.value_min_inclusive else "above": self.value_min}
                if self.value_min is not None
                else {}
            ),
            **(
                {"at_most" if self.value_max_inclusive else "below": self.value_max}
                if self.value_max is not None
                else {}
            ),
            **({"columns": self.model_extra} if self.model_extra else {}),
        }

    def _codes(self) -> dict[str, Any]:
        if isinstance(self.code, Codes):
            return {"pattern": postgres_pattern(self.code.regex)} if self.code.regex else {"codes": self.code.any}
        return {"codes": [] if self.code is None else [self.code]}


class Derived(_Part):
    """Moments at which all or any of other predicates hold."""

    expr: Annotated[str, Field(pattern=r"^(and|or)\(.*\)$")]
    static: StrictBool = False

    @property
    def inputs(self) -> list[str]:
        """The names in its brackets."""
        return [name.strip() for name in self.expr[self.expr.index("(") + 1 : -1].split(",")]

    @model_validator(mode="after")
    def _two(self) -> Derived:
        if len(self.inputs) < 2:
            raise ValueError("an expression takes two predicates or more")
        return self

    def rule(self) -> dict[str, Any]:
        """As SQL reads it."""
        return {"all" if self.expr.startswith("and") else "any": self.inputs}


def _bounds(text: object) -> object:
    """`(1, None)` as a pair."""
    if not isinstance(text, str):
        raise ValueError("bounds are written as (min, max)")
    parts = [part.strip() for part in text.strip("()").split(",")]
    if len(parts) != 2:
        raise ValueError("bounds are written as (min, max)")
    low, high = (None if part in ("None", "") else int(part) for part in parts)
    if (low is None and high is None) or (low is not None and high is not None and high < low):
        raise ValueError(f"no count lies within ({low}, {high})")
    return low, high


Bounds = Annotated[tuple[int | None, int | None], BeforeValidator(_bounds)]


class Window(_Part):
    """A stretch of a record between two boundaries, with what it must hold."""

    start: StrictStr | None
    end: StrictStr | None
    start_inclusive: StrictBool
    end_inclusive: StrictBool
    has: dict[str, Bounds] = {}
    label: StrictStr | None = None
    index_timestamp: Literal["start", "end"] | None = None


class Demographic(_Part):
    """What must stand among a patient's facts without a time."""

    code: Code
    value_min: float | None = None
    value_max: float | None = None
    value_min_inclusive: bool | None = None
    value_max_inclusive: bool | None = None


class _Config(_Part):
    trigger: StrictStr
    predicates: dict[str, Any] = {}
    patient_demographics: dict[str, Demographic] = {}
    windows: dict[str, Window] = {}


@dataclass(frozen=True)
class AcesTask(Declares):
    """A task of ACES: its name here, its configuration as written, and the rule that SQL labels by."""

    task: str
    description: str
    config: dict[str, Any]
    rule: dict[str, Any]

    def codes(self) -> list[str]:
        """Every code that its predicates name; patterns are `patterns`."""
        return [code for predicate in self.rule["predicates"] for code in predicate.get("codes", [])]

    def patterns(self) -> list[str]:
        """Every regular expression, as PostgreSQL writes them."""
        return [predicate["pattern"] for predicate in self.rule["predicates"] if "pattern" in predicate]

    def columns(self) -> list[str]:
        """Every column that its predicates ask for and that only some data sets have."""
        asked = {column for predicate in self.rule["predicates"] for column in predicate.get("columns", {})}
        return sorted(asked - {"unit", "text_value"})

    def as_task(self) -> Task:
        """The task that SQL labels."""
        return Task(self.task, "site", self.description, {"shape": SHAPE, "config": self.config, **self.rule})


def read_aces(file: Path, predicates: Path | None = None, *, task: str | None = None) -> AcesTask:
    """The task of an ACES configuration; predicates of another file take the place of its own.

    Raises InputError with the place of what cannot be expressed.
    """
    config, text = _load(file)
    if predicates is not None:
        other, _ = _load(predicates)
        if unknown := set(other) - {"predicates", "patient_demographics", "description", "metadata"}:
            raise InputError(f"has no place for {', '.join(sorted(unknown))}", file=predicates)
        for key in ("predicates", "patient_demographics"):
            if merged := {**(config.get(key) or {}), **(other.get(key) or {})}:
                config[key] = merged
    try:
        return AcesTask(_name(task or file.stem), text or f"ACES: {file.stem}", config, compiled(config))
    except ValidationError as error:
        raise InputError(faults(error), file=file, hint="See docs/tasks.md.") from None
    except AcesError as error:
        raise InputError(str(error), file=file, hint="See docs/tasks.md.") from None


def _load(file: Path) -> tuple[dict[str, Any], str | None]:
    """A YAML file's content, and its description."""
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise InputError("holds no configuration of ACES", file=file)
    metadata = content.pop("metadata", None)
    described = content.pop("description", None) or (
        metadata.get("description") if isinstance(metadata, dict) else None
    )
    return content, " ".join(str(described).split()) if described else None


def _name(given: str) -> str:
    name = given.lower().replace("-", "_")
    if not re.fullmatch("[a-z][a-z0-9_]{0,62}", name):
        raise AcesError(f"{given} is no name of a task: small letters, digits and _, or --task NAME")
    return name


def compiled(content: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as the rule that SQL labels by.

    Raises ValidationError for what is written wrong, AcesError for what has no meaning.
    """
    config = _Config.model_validate(content)
    predicates = _predicates(config)
    windows = _Tree(config, predicates)
    static = [name for name, predicate in predicates.items() if predicate.static]
    label, index = _one(config, "label"), _one(config, "index_timestamp")
    return {
        "predicates": [{"name": name, **predicates[name].rule()} for name in _in_order(predicates)],
        "static": static,
        "trigger": windows.countable(config.trigger, TRIGGER),
        "nodes": windows.nodes,
        "label": {"node": windows.far_node(label), "predicate": windows.countable(_label(config, label), label)},
        "index": windows.index(index),
    }


def _one(config: _Config, key: str) -> str:
    """The window that alone says this."""
    found = [name for name, window in config.windows.items() if getattr(window, key)]
    if len(found) != 1:
        what = "no window has" if not found else f"windows {', '.join(found)} have each"
        raise AcesError(f"{what} {key}: a task here has one")
    return found[0]


def _label(config: _Config, window: str) -> str:
    return config.windows[window].label or ""


def _predicates(config: _Config) -> dict[str, Plain | Derived]:
    """Those that anything refers to, and all demographics."""
    written = {**config.predicates, **config.patient_demographics}
    found: dict[str, Plain | Derived] = {
        name: Plain(**demographic.model_dump(), static=True)
        for name, demographic in config.patient_demographics.items()
    }
    waiting = list(_referenced(config))
    while waiting:
        name = waiting.pop()
        if name in found or name in _SPECIAL:
            continue
        if name not in written:
            raise AcesError(f"predicate {name} is not defined")
        found[name] = predicate = _predicate(name, written[name])
        if isinstance(predicate, Derived):
            if special := _SPECIAL & set(predicate.inputs):
                raise AcesError(f"predicate {name}: {special.pop()} is no input of an expression")
            waiting += predicate.inputs
    return found


def _predicate(name: str, content: object) -> Plain | Derived:
    if not re.fullmatch(r"\w+", name):
        raise AcesError(f"predicate {name}: a name is made of letters, digits and _")
    if not isinstance(content, dict):
        raise AcesError(f"predicate {name} is {content!r}, no definition: give one with --predicates FILE")
    try:
        return (Derived if "expr" in content else Plain).model_validate(content)
    except ValidationError as error:
        raise AcesError(f"predicate {name}: {faults(error)}") from None


def _referenced(config: _Config) -> Iterator[str]:
    yield config.trigger
    for window in config.windows.values():
        yield from window.has
        if window.label:
            yield window.label
        for boundary in (window.start, window.end):
            if boundary and (event := _boundary(boundary).event):
                yield event


def _in_order(predicates: Mapping[str, Plain | Derived]) -> list[str]:
    """Names, inputs before what is derived from them."""
    done: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise AcesError(f"predicate {name} is derived from itself")
        predicate = predicates[name]
        for needed in predicate.inputs if isinstance(predicate, Derived) else []:
            visit(needed, (*path, name))
        if name not in done:
            done.append(name)

    for name in predicates:
        visit(name, ())
    return done


@dataclass(frozen=True)
class _Boundary:
    """What a boundary is counted from, and how: by a span, to the next or the last event, or not at all."""

    after: str
    microseconds: int = 0
    event: str | None = None
    is_forward: bool = True

    @property
    def direction(self) -> int:
        """1 later than what it is counted from, -1 earlier, 0 the same moment."""
        if self.event:
            return 1 if self.is_forward else -1
        return (self.microseconds > 0) - (self.microseconds < 0)


def _boundary(text: str) -> _Boundary:
    operators = [operator for operator in ("->", "<-") if operator in text]
    if not operators:
        operators = [operator for operator in "+-" if operator in text]
    if len(operators) > 1 or (operators and text.count(operators[0]) > 1):
        raise AcesError(f"boundary {text!r} has two operators")
    if not operators:
        return _Boundary(_reference(text))
    reference, what = text.split(operators[0])
    after = _reference(reference)
    if operators[0] in ("+", "-"):
        return _Boundary(after, span(what, text) * (1 if operators[0] == "+" else -1))
    event, is_forward = what.strip(), operators[0] == "->"
    if event == (RECORD_START if is_forward else RECORD_END):
        raise AcesError(f"boundary {text!r}: {event} lies the other way")
    return _Boundary(after, event=event, is_forward=is_forward)


def _reference(text: str) -> str:
    if not re.fullmatch(r"\w+|\w+\.(start|end)", text.strip()):
        raise AcesError(f"{text.strip()!r} is neither trigger, start, end nor a window's start or end")
    return text.strip()


def span(text: str, whole: str) -> int:
    """Microseconds of `1 day 2 hours`, `30d`, `36h`, `1:30:00`. Raises AcesError for what is no span."""
    clock = re.fullmatch(
        r"\s*(?:(?P<days>\d+)\s*d(?:a?ys?)?\s*,?\s+)?(?P<hours>\d+):(?P<minutes>\d\d):(?P<seconds>\d\d)\s*", text, re.I
    )
    found = clock or _SPAN.fullmatch(text)
    parts = {name: value for name, value in found.groupdict().items() if value} if found else {}
    try:
        seconds = sum(_UNITS[name] * float(value) for name, value in parts.items())
    except ValueError:
        parts = {}
    if not parts:
        raise AcesError(f"boundary {whole!r}: {text.strip()!r} is no span like 24h, 30 days or 1 day 12 hours")
    return round(seconds * 1_000_000)


class _Tree:
    """Boundaries as nodes under the trigger: each with its moment, and the stretch from the one before it.

    `nodes` is ordered so that each comes after the one that it is counted from; boundaries of one moment share a node.
    """

    def __init__(self, config: _Config, predicates: Mapping[str, Plain | Derived]) -> None:
        self._windows = config.windows
        self._predicates = predicates
        self._boundaries = {name: self._parse(name, window) for name, window in config.windows.items()}
        self._node = {TRIGGER: "w0"}
        self.nodes: list[dict[str, Any]] = []
        for name in config.windows:
            self._place(f"{name}.end", ())
            self._place(f"{name}.start", ())

    def _parse(self, name: str, window: Window) -> dict[str, _Boundary]:
        if not re.fullmatch(r"\w+", name):
            raise AcesError(f"window {name}: a name is made of letters, digits and _")
        start = _boundary(window.start) if window.start is not None else _Boundary("end", 0, RECORD_START, False)
        end = _boundary(window.end) if window.end is not None else _Boundary("start", 0, RECORD_END)
        if (start.after == "end") == (end.after == "start"):
            raise AcesError(f"window {name}: its start is counted from its end, or its end from its start; one of them")
        far = start if start.after == "end" else end
        if far.direction != (-1 if far is start else 1):
            raise AcesError(f"window {name}: it does not start before it ends")
        return {"start": start, "end": end}

    def _root(self, name: str) -> str:
        return "end" if self._boundaries[name]["start"].after == "end" else "start"

    def _far(self, name: str) -> str:
        return "start" if self._root(name) == "end" else "end"

    def _place(self, place: str, path: tuple[str, ...]) -> str:
        """The node of a boundary, made if it is not there yet."""
        if place in path:
            raise AcesError(f"windows refer to each other in a circle: {' -> '.join([*path, place])}")
        if place not in self._node:
            name, _, side = place.partition(".")
            before = self._place(self._counted_from(name, side), (*path, place))
            self._node[place] = self._made(name, side, before)
        return self._node[place]

    def _counted_from(self, name: str, side: str) -> str:
        if side == self._far(name):
            return f"{name}.{self._root(name)}"
        after = self._boundaries[name][side].after
        if after != TRIGGER and ("." not in after or after.partition(".")[0] not in self._windows):
            raise AcesError(f"window {name}: there is no {after} to count its {side} from")
        return after

    def _made(self, name: str, side: str, before: str) -> str:
        boundary, window = self._boundaries[name][side], self._windows[name]
        if boundary.direction == 0:
            return before
        is_far = side == self._far(name)
        includes_start, includes_end = (window.start_inclusive, window.end_inclusive) if is_far else (False, False)
        key = f"w{len(self.nodes) + 1}"
        low, high = (before, key) if boundary.direction > 0 else (key, before)
        node: dict[str, Any] = {"node": key, "after": before, "low": low, "high": high}
        node |= {"includes_low": includes_start, "includes_high": includes_end}
        node |= self._reach(boundary, name)
        counted = window.has.items() if is_far else ()
        node["has"] = [[self.countable(what, name, has=True), *bounds] for what, bounds in counted]
        self.nodes.append(node)
        return key

    def _reach(self, boundary: _Boundary, name: str) -> dict[str, Any]:
        if boundary.event is None:
            return {"microseconds": boundary.microseconds}
        return {"event": self.countable(boundary.event, name, has=True), "is_forward": boundary.is_forward}

    def countable(self, predicate: str, where: str, *, has: bool = False) -> str:
        """The predicate's name, if moments of it can be counted."""
        if predicate in _SPECIAL and (has or where == TRIGGER):
            return predicate
        if predicate not in self._predicates:
            raise AcesError(f"{where}: {predicate} is no predicate that can stand here")
        if self._predicates[predicate].static:
            raise AcesError(f"{where}: {predicate} is static, it has no moments")
        return predicate

    def far_node(self, name: str) -> str:
        """The node at a window's far end: its stretch is the window."""
        return self._node[f"{name}.{self._far(name)}"]

    def index(self, name: str) -> str:
        """The node of the prediction time."""
        side = self._windows[name].index_timestamp
        far = self._boundaries[name][self._far(name)]
        if far.event is None and far.direction < 0:
            # es-aces takes the window's other end then; neither answer would be what both mean.
            raise AcesError(
                f"window {name}: index_timestamp of a window that starts a span before its end; name another"
            )
        return self._node[f"{name}.{side}"]


def postgres_pattern(regex: str) -> str:
    """A regular expression of Rust (which ACES has by polars) as PostgreSQL writes it.

    Raises AcesError for what only one of the two knows.
    """
    try:
        re.compile(regex)
    except re.error as error:
        raise AcesError(f"regex {regex!r}: {error}") from None
    rest = regex.removeprefix("(?i)")
    if found := _FOREIGN.search(_ESCAPE.sub("", rest)):
        raise AcesError(f"regex {regex!r}: {found.group()} is not understood here")

    def translated(match: re.Match[str]) -> str:
        same, boundary, other = match.groups()
        if other is not None:
            raise AcesError(f"regex {regex!r}: \\{other} is not understood here")
        return f"\\{same}" if same else {"b": r"\y", "B": r"\Y"}[boundary]

    return regex[: len(regex) - len(rest)] + _ESCAPE.sub(translated, rest)
