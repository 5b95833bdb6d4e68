"""The report of a load or a check: sections with one table each, for the terminal and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from rich.table import Table
from rich.text import Text

from ehrdb.check import Check, TaskCheck
from ehrdb.cli.common import out
from ehrdb.events import LoadResult, TableReport

Cell = str | int | None
UNITS_SHOWN = 20
_LONGEST = 60
RULES = "format rules: "
_RIGHT = ("count", "%", "more")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h2{margin:2rem 0 .4rem;font-size:1.15rem}table{border-collapse:collapse}p{color:#666;margin:.3rem 0}"
    "th,td{padding:.2rem .8rem .2rem 0;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}"
)


@dataclass(frozen=True)
class Section:
    """A table under a title. `note`: what to make of it, in one line."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    note: str = ""


def load_sections(result: LoadResult) -> list[Section]:
    """What a load says: tables, and what differs from the last one."""
    return [_tables(result), *_rules(result), *_unread(result), *_differences(result)]


def check_sections(found: Check, *, whole: bool) -> list[Section]:
    """What a check says; `whole` with all units of all codes."""
    result = found.load
    about = [_tables(result), *_unread(result), _figures(result), *_units(found, whole), *_rules(result)]
    return [*about, _tasks(found), *_differences(result)]


def show_sections(sections: Sequence[Section]) -> None:
    """Print them one below the other."""
    for number, section in enumerate(sections):
        if number:
            out.print()
        if section.title:
            out.print(Text(section.title, "bold"))
        table = Table(show_edge=False)
        for place, name in enumerate(section.columns):
            is_number = name in _RIGHT or any(isinstance(row[place], int) for row in section.rows)
            table.add_column(name, justify="right" if is_number else "left", overflow="fold")
        for row in section.rows:
            table.add_row(*(_written(cell) for cell in row))
        out.print(table)
        if section.note:
            out.print(Text(section.note, "dim"))


def page(title: str, sections: Sequence[Section]) -> str:
    """One HTML file that asks no other host for anything. Every text in it is escaped by the tree that it is in."""
    html = ElementTree.Element("html", lang="en")
    head = ElementTree.SubElement(html, "head")
    ElementTree.SubElement(head, "meta", charset="utf-8")
    ElementTree.SubElement(head, "title").text = title
    ElementTree.SubElement(head, "style").text = _STYLE
    body = ElementTree.SubElement(html, "body")
    ElementTree.SubElement(body, "h1").text = title
    for section in sections:
        _put(body, section)
    return "<!doctype html>\n" + ElementTree.tostring(html, encoding="unicode", method="html")


def _put(body: ElementTree.Element, section: Section) -> None:
    ElementTree.SubElement(body, "h2").text = section.title
    table = ElementTree.SubElement(body, "table")
    names = ElementTree.SubElement(table, "tr")
    for name in section.columns:
        ElementTree.SubElement(names, "th").text = name
    for row in section.rows:
        line = ElementTree.SubElement(table, "tr")
        for name, cell in zip(section.columns, row, strict=True):
            kind = {"class": "n"} if name in _RIGHT or isinstance(cell, int) else {}
            ElementTree.SubElement(line, "td", kind).text = _written(cell)
    ElementTree.SubElement(body, "p").text = section.note


def _written(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) else cell


def _tables(result: LoadResult) -> Section:
    rows = [
        (
            report.source_table,
            report.rows_read,
            report.rows_loaded,
            report.rows_unmapped,
            _share(report.rows_unmapped, report.rows_read),
            report.rows_rejected,
            _remarks(report),
        )
        for report in result.tables
        if report.kind == "table"
    ]
    return Section("Tables", ("table", "read", "loaded", "unmapped", "%", "rejected", "remarks"), rows)


def _remarks(report: TableReport) -> str:
    """Reasons with how many rows they are about; with 0 where they are about the whole table."""
    return ", ".join(f"{reason}: {count:,}" if count else reason for reason, count in report.reasons.items())


def _unread(result: LoadResult) -> Iterator[Section]:
    for report in result.tables:
        if report.kind == "not read":
            names = (f"{name} ({count:,})" if count > 1 else name for name, count in report.reasons.items())
            yield Section("Not read", ("files, tables or resources",), [(", ".join(names),)])


def _rules(result: LoadResult) -> Iterator[Section]:
    found: dict[tuple[int, int], list[str]] = {}
    for report in result.tables:
        if report.kind == "rules":
            names = found.setdefault((report.rows_loaded, report.rows_read), [])
            names.append(report.source_table.removeprefix(RULES))
    rows = [(", ".join(names), placed, _share(placed, of)) for (placed, of), names in found.items()]
    if rows:
        yield Section("Events whose category the formats know", ("rules", "events", "%"), rows)


def _figures(result: LoadResult) -> Section:
    """The first figure of a section is the whole of which the others are a part; what is not there has no line."""
    rows = [
        (report.source_table, name, _count(name, count), _part(name, count, report.rows_read))
        for report in result.figures
        for number, (name, count) in enumerate(report.reasons.items())
        if count or not number
    ]
    starts = [number == 0 or row[0] != rows[number - 1][0] for number, row in enumerate(rows)]
    shown = [(row[0] if start else "", *row[1:]) for row, start in zip(rows, starts, strict=True)]
    return Section("What the events hold", ("", "", "count", "%"), shown)


def _count(name: str, count: int) -> str:
    return str(count) if name.endswith("year") else f"{count:,}"


def _part(name: str, count: int, whole: int) -> str:
    is_part = not name.endswith("year") and not name.startswith(("codes", "other events", "events"))
    return _share(count, whole) if is_part else ""


def _share(part: int, whole: int) -> str:
    if not part or not whole:
        return ""
    share = 100 * part / whole
    return "<0.1" if share < 0.1 else f"{share:.1f}"


def _units(found: Check, whole: bool) -> Iterator[Section]:
    """A code's units: all on a page, in a terminal the first, which deserve a look most."""
    uses = found.units if whole else found.units[:UNITS_SHOWN]
    rows = [(use.code, _line(use.description, whole), use.unit, use.numbers, use.standing) for use in uses]
    left = len(found.units) - len(uses)
    note = f"{left:,} further pairs of code and unit: --html or --json shows them." if left else ""
    if rows:
        yield Section("Units by code", ("code", "description", "unit", "numbers", "unit is"), rows, note)


def _line(description: str | None, whole: bool) -> str | None:
    """A description in one line, which a terminal has room for."""
    line = " ".join((description or "").split())
    return line if whole or len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def _tasks(found: Check) -> Section:
    kinds = {name for report in found.load.figures for name, count in report.reasons.items() if count}
    rows = [(t.task, t.labels, t.positives, t.codes, _remark(t, kinds)) for t in found.tasks]
    usable = sum(1 for t in found.tasks if 0 < t.positives < t.labels)
    note = f"{usable} of {len(rows)} tasks have labels of both kinds."
    if any(t.codes == 0 for t in found.tasks):
        note += (
            " Codes that are not standard? `ehrdb load map --built-in icd`, or a map of your own, lets tasks know them."
        )
    return Section("Tasks", ("task", "labels", "positive", "codes here", ""), rows, note)


def _remark(task: TaskCheck, kinds: set[str]) -> str:
    if task.codes == 0:
        return "none of its codes is in the data"
    if not task.labels:
        return (
            "no findings of reports"
            if task.task == "chexpert"
            else "nothing to label"
            if "inpatient" in kinds
            else "no inpatient stay"
        )
    if task.positives:
        return ""
    return "no stay in intensive care" if task.task == "guo_icu" and "icu" not in kinds else "no positive label"


def _differences(result: LoadResult) -> Iterator[Section]:
    rows = [
        (d.source_table, d.figure, d.before, d.now, f"{d.now - d.before:+,}", _change(d.before, d.now))
        for d in result.differences
    ]
    if rows:
        yield Section("Since the last load", ("table", "figure", "before", "now", "more", "%"), rows)


def _change(before: int, now: int) -> str:
    return f"{100 * (now - before) / before:+.1f}" if before else ""
