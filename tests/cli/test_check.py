"""`ehrdb check`: what a load would find, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ehrdb.database import Database
from tests.cli.conftest import Here

HEADER = "patient_id,start,end,code,value,unit,visit_id,omop_table\n"
ROWS = [
    "1,1950-01-01 00:00:00,,SNOMED/3950001,,,,person",
    "1,2020-03-01 08:00:00,2020-03-11 08:00:00,Visit/IP,,,7,visit_occurrence",
    "1,2020-04-01 08:00:00,,Visit/IP,,,8,visit_occurrence",
    "1,2020-03-31 08:15:00,,LOINC/718-7,12.5,g/dL,7,measurement",
    "1,2020-03-31 08:16:00,,LOINC/718-7,12.5,frobs,7,measurement",
    "1,2020-03-31 08:17:00,,LOINC/718-7,7.5,mmol/L,7,measurement",
    "1,2020-03-31 08:18:00,,LOINC/718-7,<5,,7,measurement",
]


def write(folder: Path, rows: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "ehrshot.csv").write_text(HEADER + "\n".join(rows) + "\n")
    (folder / "concept.csv").write_text("code,description\nSNOMED/3950001,Birth\nLOINC/718-7,<b>Hemoglobin</b>\n")
    (folder / "notes.txt").write_text("")
    return folder


def checked(ehrdb: Here, *arguments: str) -> Any:
    result = ehrdb("check", "ehrshot", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def figures(report: Any, section: str) -> dict[str, int]:
    found: dict[str, int] = next(f["reasons"] for f in report["figures"] if f["source_table"] == section)
    return found


def stored(database: Database) -> list[tuple[Any, ...]]:
    with database.transaction() as connection:
        return connection.execute(
            "select (select count(*) from ehrdb.patient), (select count(*) from ehrdb.event),"
            " (select count(*) from ehrdb.concept), (select count(*) from ehrdb.unit),"
            " (select count(*) from ehrdb.label), (select count(*) from ehrdb.task),"
            " (select count(*) from ehrdb.load_report), (select count(*) from ehrdb.source),"
            " (select count(*) from ehrdb.changed_patient), (select count(*) from ehrdb.turn)"
        ).fetchall()


def test_a_check_counts_what_a_load_would_find(ehrdb: Here, tmp_path: Path) -> None:
    found = checked(ehrdb, str(write(tmp_path / "source", ROWS)))
    assert (found["load"]["new"], found["load"]["tables"][0]["rows_loaded"]) == (1, 7)
    visits = figures(found["load"], "visits")
    assert (visits["inpatient"], visits["end unknown"], visits["end before the start"]) == (2, 1, 0)
    assert figures(found["load"], "values")["texts that begin with a number"] == 1
    units = {use["unit"]: use["standing"] for use in found["units"]}
    assert units == {"g/dL": "does not convert", "mmol/L": "does not convert", "frobs": "unknown to UCUM"}
    tasks = {task["task"]: (task["labels"], task["positives"], task["codes"]) for task in found["tasks"]}
    assert tasks["guo_los"] == (1, 1, None)
    assert tasks["new_lupus"][1:] == (0, 0)


def test_a_unit_converts_where_another_is_known(ehrdb: Here, tmp_path: Path) -> None:
    units = {"A/1": ("mg/dL", "frobs"), "A/2": ("mg/dL", "g/L"), "A/3": ("mg/dL", "")}
    rows = [f"1,2020-04-01 08:00:00,,{code},1,{unit},,lab" for code, pair in units.items() for unit in pair]
    found = {
        (use["code"], use["unit"]): use["standing"] for use in checked(ehrdb, str(write(tmp_path / "x", rows)))["units"]
    }
    assert found == {
        ("A/1", "mg/dL"): "fine",
        ("A/1", "frobs"): "unknown to UCUM",
        ("A/2", "mg/dL"): "converts",
        ("A/2", "g/L"): "converts",
        ("A/3", "mg/dL"): "fine",
        ("A/3", None): "none",
    }


def test_a_check_leaves_the_database_as_it_was(ehrdb: Here, database: Database, tmp_path: Path) -> None:
    source = write(tmp_path / "source", ROWS)
    before = stored(database)
    checked(ehrdb, str(source))
    assert stored(database) == before
    assert ehrdb("load", "ehrshot", str(source)).returncode == 0
    before = stored(database)
    checked(ehrdb, str(write(source, ROWS[:3])))
    assert stored(database) == before


def test_a_load_stores_the_figures_of_a_check_and_says_what_differs(
    ehrdb: Here, database: Database, tmp_path: Path
) -> None:
    source = write(tmp_path / "source", ROWS)
    check = checked(ehrdb, str(source))
    first = json.loads(ehrdb("load", "ehrshot", str(source), "--json").stdout)
    assert (first["figures"], first["differences"]) == (check["load"]["figures"], [])
    with database.transaction() as connection:
        rows = connection.execute("select reasons from ehr.load_report where source_table = 'visits'").fetchall()
        kinds = connection.execute("select array_agg(distinct kind order by kind) from ehr.load_report").fetchone()
    assert kinds == (["figures", "not read", "rules", "table"],)
    assert rows == [(figures(first, "visits"),)]
    again = json.loads(ehrdb("load", "ehrshot", str(write(source, ROWS[:2] + ROWS[3:])), "--json").stdout)
    differs = {(d["source_table"], d["figure"]): (d["before"], d["now"]) for d in again["differences"]}
    assert differs["visits", "end unknown"] == (1, 0)
    assert differs["ehrshot", "read"] == (7, 6)
    assert ("values", "numbers") not in differs


def test_a_check_refuses_what_a_load_refuses(ehrdb: Here, database: Database, tmp_path: Path) -> None:
    source = str(write(tmp_path / "source", [*ROWS, "1,2020-13-01 00:00:00,,LOINC/718-7,1,,,measurement"]))
    assert ehrdb("check", "ehrshot", source).stderr == ehrdb("load", "ehrshot", source).stderr


def test_the_report_says_why_a_task_has_no_labels(ehrdb: Here, tmp_path: Path) -> None:
    shown = ehrdb("check", "ehrshot", str(write(tmp_path / "source", [ROWS[0], ROWS[3]]))).stdout
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "no inpatient stay" in lines["guo_los"]
    assert "none of its codes is in the data" in lines["new_lupus"]
    assert "no findings of reports" in lines["chexpert"]
    assert "0 of 15 tasks have labels of both kinds" in " ".join(shown.split())
    shown = ehrdb("check", "ehrshot", str(write(tmp_path / "stays", ROWS))).stdout
    assert "no stay in intensive care" in next(line for line in shown.splitlines() if "guo_icu" in line)


def test_tasks_of_the_site_are_labelled_too(ehrdb: Here, tmp_path: Path) -> None:
    source = write(tmp_path / "source", ROWS)
    assert ehrdb("load", "ehrshot", str(source)).returncode == 0
    task = tmp_path / "anaemia.yaml"
    task.write_text(
        "task: anaemia\nkind: survival\ndescription: When does it begin?\nprediction_time: {codes: [LOINC/718-7]}\n"
        "outcome: {codes: [Visit/IP]}\nintervals: [30, 365]\n"
    )
    assert ehrdb("task", "add", str(task)).returncode == 0
    found = {each["task"] for each in checked(ehrdb, str(source))["tasks"]}
    assert {"guo_los", "anaemia"} <= found


def test_mapped_codes_are_counted(ehrdb: Here, tmp_path: Path) -> None:
    source = write(tmp_path / "source", [*ROWS, "1,2020-03-31 08:19:00,,ICD10CM/I10,,,7,condition_occurrence"])
    used = figures(checked(ehrdb, str(source))["load"], "codes used")
    assert (used["mapped to standard ones"], used["codes"]) == (0, 4)
    assert ehrdb("load", "map", "--built-in", "icd").returncode == 0
    assert figures(checked(ehrdb, str(source))["load"], "codes used")["mapped to standard ones"] == 1


@pytest.mark.parametrize("format", ["terminal", "page"])
def test_the_report_shows_texts_of_the_source_as_they_are(ehrdb: Here, tmp_path: Path, format: str) -> None:
    page = tmp_path / "report.html"
    result = ehrdb("check", "ehrshot", str(write(tmp_path / "source", ROWS)), "--html", str(page))
    assert (result.returncode, "notes.txt" in result.stdout) == (0, True), result.stderr
    if format == "terminal":
        assert "<b>Hemoglobin</b>" in result.stdout.replace("\n", "")
    else:
        assert "&lt;b&gt;Hemoglobin" in page.read_text()
        assert "http" not in page.read_text()
        assert page.stat().st_mode & 0o777 == 0o600
