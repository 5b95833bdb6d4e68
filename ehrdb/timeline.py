"""Timelines in Python: the database's text, and the formats that libraries make of its Markdown.

The text itself is SQL (`ehr.timeline`, docs/timeline-formats.md). `json`, `yaml` and `xml` are the Markdown text
through markdown_to_json, PyYAML and json2xml, as in the paper; they need the extra `formats`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import yaml

from ehrdb.database import Connection
from ehrdb.extras import missing_extra
from ehrdb.queries import Queries

_queries = Queries("ehrdb", "timeline.sql")


@dataclass(frozen=True)
class Timeline:
    """A patient's text, and how many lines `max_chars` kept out of it."""

    text: str
    lines_cut: int

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap">{html.escape(self.text)}</pre>'


def timeline(
    connection: Connection,
    patient_id: int,
    as_of: datetime | None = None,
    format: str = "list_recent",
    *,
    time_window: timedelta | None = None,
    max_chars: int | None = None,
) -> Timeline:
    """The patient's record as text, from events at or before `as_of` (None: everything known).

    `format` is a name of the view ehr.format, or json, yaml or xml (markdown_json, ... mean the same).
    `time_window` keeps events of that long before `as_of`; `max_chars` leaves out lines that begin later.
    Raises psycopg.Error with SQLSTATE EH001 for an unknown patient, EH002 for an unknown format, EH007 for
    max_chars < 1; ConfigError where the libraries for json and xml are missing.
    """
    convert = CONVERSIONS.get(format.removeprefix("markdown_"))
    values = {
        "patient_id": patient_id,
        "as_of": as_of or "infinity",
        "format": "markdown" if convert else format,
        "time_window": time_window,
        "max_chars": max_chars,
    }
    row = connection.execute(_queries.timeline, values).fetchone()
    assert row is not None
    text, lines_cut = row
    return Timeline(convert(text) if convert else text, lines_cut)


def to_json(markdown: str) -> str:
    """A Markdown timeline as JSON: headings become keys, lists become arrays."""
    try:
        import markdown_to_json
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None
    return str(markdown_to_json.jsonify(markdown))


def to_yaml(markdown: str) -> str:
    """A Markdown timeline as YAML."""
    return yaml.dump(json.loads(to_json(markdown)), allow_unicode=True, sort_keys=False)


def to_xml(markdown: str) -> str:
    """A Markdown timeline as XML."""
    try:
        from json2xml.json2xml import Json2xml
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None
    return str(Json2xml(json.loads(to_json(markdown)), wrapper="all", pretty=True).to_xml())


CONVERSIONS: dict[str, Callable[[str], str]] = {"json": to_json, "yaml": to_yaml, "xml": to_xml}
