"""The demo's tables, as they are shipped: complete, consistent, small, and enough to learn from."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ehrdb.demo.make_data import convert

DEMO = files("ehrdb.demo") / "omop"
# Table: its concept, its start and, where it has one, its end.
CLINICAL = {
    "visit_occurrence": ("visit_concept_id", "visit_start_datetime", "visit_end_datetime"),
    "condition_occurrence": ("condition_concept_id", "condition_start_datetime", "condition_end_datetime"),
    "drug_exposure": ("drug_concept_id", "drug_exposure_start_datetime", "drug_exposure_end_datetime"),
    "procedure_occurrence": ("procedure_concept_id", "procedure_datetime", None),
    "measurement": ("measurement_concept_id", "measurement_datetime", None),
    "observation": ("observation_concept_id", "observation_datetime", None),
}
TABLES = [*CLINICAL, "person", "observation_period", "death", "concept"]
MEBIBYTE = 1 << 20


@cache
def table(name: str) -> pl.DataFrame:
    """A shipped table, times parsed."""
    frame = pl.read_csv((DEMO / f"{name}.csv.gz").read_bytes(), infer_schema_length=None)
    return frame.with_columns(pl.col("^.*_datetime$").cast(pl.Utf8).str.to_datetime())


@cache
def lives() -> pl.DataFrame:
    """Birth and death of every person."""
    born = pl.datetime("year_of_birth", "month_of_birth", "day_of_birth").alias("birth")
    return table("person").select("person_id", born).join(table("death"), on="person_id", how="left")


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_rows(name: str) -> None:
    assert table(name).height > 0


@pytest.mark.parametrize("name", [name for name in TABLES if name not in ("death", "concept")])
def test_primary_keys_count_up_from_one(name: str) -> None:
    assert table(name)[f"{name}_id"].to_list() == list(range(1, table(name).height + 1))


@pytest.mark.parametrize("name", [name for name in TABLES if name != "concept"])
def test_every_concept_is_in_the_concept_table(name: str) -> None:
    known = table("concept")["concept_id"].implode()
    for column in [column for column in table(name).columns if column.endswith("_concept_id")]:
        used = table(name)[column].drop_nulls()
        assert used.filter(~used.is_in(known) & (used != 0)).is_empty(), column


def test_every_concept_of_the_source_is_used() -> None:
    used = pl.concat([table(name)[concept].cast(pl.Int64) for name, (concept, *_) in CLINICAL.items()])
    local = table("concept").filter(pl.col("concept_id") >= 2_000_000_000)["concept_id"]
    assert local.filter(~local.is_in(used.implode())).is_empty()
    assert table("concept").select("vocabulary_id", "concept_code").is_unique().all()


@pytest.mark.parametrize("name", [*CLINICAL, "observation_period", "death"])
def test_every_row_belongs_to_a_person(name: str) -> None:
    assert table(name).join(table("person"), on="person_id", how="anti").is_empty()


@pytest.mark.parametrize("name", [name for name in CLINICAL if name != "visit_occurrence"])
def test_every_visit_is_one_of_the_same_person(name: str) -> None:
    linked = table(name).filter(pl.col("visit_occurrence_id").is_not_null())
    keys = ["visit_occurrence_id", "person_id"]
    assert linked.height > 0
    assert linked.join(table("visit_occurrence"), on=keys, how="anti").is_empty()


@pytest.mark.parametrize("name", CLINICAL)
def test_nothing_happens_before_birth_or_after_death(name: str) -> None:
    _, start, end = CLINICAL[name]
    rows = table(name).drop("death_datetime", strict=False).join(lives(), on="person_id")
    assert rows.filter(pl.col(start) < pl.col("birth")).is_empty()
    assert rows.filter(pl.col(start) > pl.col("death_datetime")).is_empty()
    if end:
        assert rows.filter(pl.col(end) < pl.col(start)).is_empty()


def test_visits_last_as_long_as_their_kind_does() -> None:
    length = pl.col("visit_end_datetime") - pl.col("visit_start_datetime")
    visits = table("visit_occurrence").with_columns(length.alias("length"))
    inpatient = visits.filter(pl.col("visit_concept_id") == 9201)["length"]
    emergency = visits.filter(pl.col("visit_concept_id") == 9203)["length"]
    assert inpatient.is_between(pl.duration(hours=24), pl.duration(days=60)).all()
    assert emergency.is_between(pl.duration(), pl.duration(days=3)).all()


def test_long_stay_can_be_learned() -> None:
    stays = table("visit_occurrence").filter(pl.col("visit_concept_id") == 9201)
    is_long = stays["visit_end_datetime"] - stays["visit_start_datetime"] >= pl.duration(days=7)
    assert stays.filter(is_long)["person_id"].n_unique() >= 30
    assert stays.filter(~is_long)["person_id"].n_unique() >= 30


def test_the_data_stays_small() -> None:
    sizes = [len((DEMO / f"{name}.csv.gz").read_bytes()) for name in TABLES]
    assert max(sizes) < 3 * MEBIBYTE
    assert sum(sizes) < 4 * MEBIBYTE


def test_a_stay_ends_with_the_patients_death(tmp_path: Path) -> None:
    visits = converted(tmp_path, [stay("2010-03-01", "2010-03-20")], death="2010-03-05T12:00:00+00:00")
    assert visits["visit_end_datetime"].to_list() == ["2010-03-05 12:00:00"]


@pytest.mark.parametrize(
    ("start", "end"),
    [("1999-12-01", "1999-12-09"), ("2010-03-01", "2011-03-01"), ("2025-12-20", "2026-01-03")],
    ids=["before the record", "never closed", "still open"],
)
def test_an_implausible_stay_is_left_out(tmp_path: Path, start: str, end: str) -> None:
    visits = converted(tmp_path, [stay("2010-01-01", "2010-01-03"), stay(start, end)])
    assert visits["visit_start_date"].to_list() == ["2010-01-01"]


def test_an_admission_of_hours_is_an_outpatient_visit(tmp_path: Path) -> None:
    visits = converted(tmp_path, [stay("2010-03-01", "2010-03-01"), diagnosis("2010-03-01")])
    assert visits["visit_concept_id"].to_list() == [9202]


def converted(tmp_path: Path, resources: list[dict[str, Any]], death: str | None = None) -> pl.DataFrame:
    """The visits of one patient who has these resources."""
    patient = {
        "resourceType": "Patient",
        "birthDate": "1950-01-31",
        "gender": "female",
        "extension": [category("race", "2106-3"), category("ethnicity", "2186-5")],
    }
    if death:
        patient["deceasedDateTime"] = death
    bundle = {"entry": [{"resource": resource} for resource in [patient, *resources]]}
    (tmp_path / "one.json").write_text(json.dumps(bundle))
    convert(tmp_path, tmp_path / "out")
    return pl.read_csv((tmp_path / "out" / "visit_occurrence.csv.gz").read_bytes())


def category(kind: str, code: str) -> dict[str, Any]:
    """A US Core extension."""
    value = {"url": "ombCategory", "valueCoding": {"code": code}}
    return {"url": f"http://hl7.org/fhir/us/core/StructureDefinition/us-core-{kind}", "extension": [value]}


def stay(start: str, end: str) -> dict[str, Any]:
    """An inpatient encounter from eight to noon of these days."""
    period = {"start": f"{start}T08:00:00+00:00", "end": f"{end}T12:00:00+00:00"}
    return {"resourceType": "Encounter", "id": start, "class": {"code": "IMP"}, "period": period}


def diagnosis(day: str) -> dict[str, Any]:
    """A condition found at the encounter of this day."""
    coding = {
        "system": "http://snomed.info/sct",
        "code": "44054006",
        "display": "Diabetes mellitus type 2 (disorder)",
    }
    return {
        "resourceType": "Condition",
        "code": {"coding": [coding]},
        "onsetDateTime": f"{day}T08:00:00+00:00",
        "encounter": {"reference": f"urn:uuid:{day}"},
    }
