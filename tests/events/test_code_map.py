"""Maps: a source's codes stand for standard ones, and whatever asks for those finds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from ehrdb.database import Connection, Database
from ehrdb.errors import ConfigError, InputError, NotFound
from ehrdb.events import load_omop
from ehrdb.events.code_map import drop_map, load_built_in_map, load_map, load_map_schema
from ehrdb.prediction import label
from tests.conftest import created_database, run, same_database
from tests.events.test_odd_omop import cdm
from tests.records import Record, day, write

HYPERTENSION = "SNOMED/59621000"


def write_map(folder: Path, text: str, name: str = "local") -> Path:
    file = folder / f"{name}.csv"
    file.write_text("\n".join(line.strip() for line in text.strip().splitlines()) + "\n", encoding="utf-8")
    return file


def ask(database: Database, question: str) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute(question.encode()).fetchall()


def do(database: Database, *statements: str) -> None:
    with database.transaction() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def parents(database: Database) -> dict[str, list[str]]:
    rows = ask(database, "select code, parents from ehr.concept where parents <> '{}'")
    return {str(code): list(found) for code, found in rows}  # type: ignore[call-overload]


def marked(database: Database) -> set[object]:
    """Whom the next refresh looks at; then nobody any more."""
    return {patient for (patient,) in ask(database, "delete from ehrdb.changed_patient returning patient_id")}


def relation(parent: str) -> str:
    """Hemoglobin below another code, as a load has it."""
    codes = "ehrdb.concept c, ehrdb.concept p"
    return (
        f"insert into ehrdb.concept_parent select c.code_id, p.code_id, array['omop'] from {codes}"  # noqa: S608
        f" where c.code = 'LOINC/718-7' and p.code = '{parent}'"
    )


@pytest.fixture
def coded(database: Database) -> Database:
    """Three patients: one with hypertension in ICD-9-CM, one in ICD-10-CM as MIMIC has it, one without."""
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "ICD9CM/401.9"), Record(2, day(1), "DIAGNOSIS//ICD//10//I10")])
        write(connection, [Record(3, day(1), "ICD10CM/C50.9"), Record(3, day(2), "LOINC/718-7", 9.5)])
    marked(database)
    return database


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("ICD10CM/E11.9", "ICD10CM/E119"),
        ("ICD10CM/e119", "ICD10CM/E119"),
        ("ICD10/E11.9", "ICD10CM/E119"),
        ("ICD10CM/E11.9X", "ICD10CM/E119"),
        ("DIAGNOSIS//ICD//10//E119", "ICD10CM/E119"),
        ("DIAGNOSIS//ICD10CM//E11.9", "ICD10CM/E119"),
        ("DIAGNOSIS//ICD//9//25000", "ICD9CM/25000"),
        ("ICD9CM/250.00", "ICD9CM/25000"),
        ("ICD9/V45.81", "ICD9CM/V4581"),
        ("ICD10CM/C25.*", "ICD10CM/C25*"),
        ("ICD10PCS/0DTJ4ZX", "ICD10PCS/0DTJ4ZX"),
        ("SNOMED/1.5x", "SNOMED/1.5x"),
    ],
)
def test_codes_of_icd_are_one_however_they_are_written(connection: Connection, code: str, key: str) -> None:
    assert connection.execute("select ehrdb.map_key(%s)", [code]).fetchone() == (key,)


def test_a_mapped_code_is_below_its_standard_code(coded: Database) -> None:
    result = load_built_in_map(coded, "icd")
    assert parents(coded) == {"ICD9CM/401.9": [HYPERTENSION], "DIAGNOSIS//ICD//10//I10": [HYPERTENSION]}
    assert (result.codes, result.patients, marked(coded)) == (2, 2, {1, 2})


def test_the_same_map_again_marks_nobody(coded: Database) -> None:
    load_built_in_map(coded, "icd")
    marked(coded)
    assert load_built_in_map(coded, "icd").patients == 0
    assert marked(coded) == set()


def test_a_changed_row_marks_who_has_its_codes_and_nobody_else(coded: Database, tmp_path: Path) -> None:
    load_map(coded, write_map(tmp_path, "code,standard_code\nICD9CM/401*,SNOMED/1\nICD10CM/I10,SNOMED/1"))
    marked(coded)
    load_map(coded, write_map(tmp_path, "code,standard_code\nICD9CM/401*,SNOMED/1\nICD10CM/I10,SNOMED/2"))
    assert marked(coded) == {2}


def test_patients_with_codes_below_a_mapped_one_are_marked(coded: Database, tmp_path: Path) -> None:
    do(coded, "insert into ehrdb.concept (code, vocabulary) values ('LOINC/group', 'LOINC')", relation("LOINC/group"))
    load_map(coded, write_map(tmp_path, "code,standard_code\nLOINC/group,SNOMED/5"))
    assert marked(coded) == {3}


def test_a_dropped_map_leaves_no_parents_and_marks_its_patients(coded: Database) -> None:
    load_built_in_map(coded, "icd")
    marked(coded)
    assert drop_map(coded, "icd") == 2
    assert (parents(coded), marked(coded)) == ({}, {1, 2})
    with pytest.raises(NotFound, match="there is no map icd"):
        drop_map(coded, "icd")


def test_a_parent_that_a_load_brought_outlives_the_map(coded: Database, tmp_path: Path) -> None:
    do(coded, relation("ICD9CM/401.9"))
    load_map(coded, write_map(tmp_path, "code,standard_code\nLOINC/718-7,ICD9CM/401.9"))
    drop_map(coded, "local")
    assert parents(coded) == {"LOINC/718-7": ["ICD9CM/401.9"]}


def test_codes_that_come_later_are_mapped_when_they_come(coded: Database) -> None:
    load_built_in_map(coded, "icd")
    marked(coded)
    with coded.transaction() as connection:
        write(connection, [Record(3, day(3), "ICD10CM/E78.00")])
    assert parents(coded)["ICD10CM/E78.00"] == ["SNOMED/55822004"]
    assert marked(coded) == {3}


def test_a_standard_code_that_is_mapped_itself_goes_on(coded: Database, tmp_path: Path) -> None:
    load_built_in_map(coded, "loinc")
    load_map(coded, write_map(tmp_path, "code,standard_code\nICD10CM/C50.9,LOINC/2345-7"))
    assert parents(coded)["LOINC/2345-7"] == ["SNOMED/33747003"]


def test_rows_by_hand_and_prefixes_of_a_site_hold_at_once(coded: Database) -> None:
    do(coded, "insert into ehrdb.code_map (map, code, standard_code) values ('own', 'ICD9CM/50*', 'SNOMED/9')")
    assert parents(coded) == {}
    do(coded, "insert into ehrdb.vocabulary_prefix values ('ICD10CM/C', 'ICD9CM')")
    assert parents(coded) == {"ICD10CM/C50.9": ["SNOMED/9"]}
    do(coded, "update ehrdb.code_map set code = 'ICD9CM/60*'")
    assert parents(coded) == {}
    do(coded, "update ehrdb.code_map set code = 'ICD9CM/509'")
    assert parents(coded) == {"ICD10CM/C50.9": ["SNOMED/9"]}
    do(coded, "delete from ehrdb.vocabulary_prefix where prefix = 'ICD10CM/C'")
    assert parents(coded) == {}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("ICD9CM/4*,SNOMED/1\nICD9CM/40*,SNOMED/2", ["SNOMED/2"]),
        ("ICD9CM/4*,SNOMED/1\nICD9CM/401.9,SNOMED/2\nICD9CM/4019*,SNOMED/3", ["SNOMED/2"]),
        ("ICD9CM/401*,SNOMED/1\nICD9CM/401*,SNOMED/2", ["SNOMED/1", "SNOMED/2"]),
        ("ICD9CM/401*,SNOMED/1\nICD9CM/401.9,", None),
        ("ICD9CM/401.91*,SNOMED/1", None),
    ],
)
def test_the_row_that_says_most_of_a_code_counts(
    coded: Database, tmp_path: Path, rows: str, expected: list[str] | None
) -> None:
    load_map(coded, write_map(tmp_path, f"code,standard_code\n{rows}"))
    assert parents(coded).get("ICD9CM/401.9") == expected


CODE = st.text(alphabet="AB", min_size=1, max_size=4)


@given(codes=st.sets(CODE, min_size=1), rows=st.sets(st.tuples(CODE, st.booleans(), st.sampled_from("xyz"))))
def test_every_code_finds_what_a_search_by_hand_finds(
    property_connection: Connection, codes: set[str], rows: set[tuple[str, bool, str]]
) -> None:
    expected = set()
    for code in codes:
        fitting = [(row, star, to) for row, star, to in rows if row == code or (star and code.startswith(row))]
        exact = [row for row in fitting if row[:2] == (code, False)]
        longest = max((len(row) for row, *_ in fitting), default=0)
        expected |= {(code, f"S/{to}") for row, _, to in exact or [row for row in fitting if len(row[0]) == longest]}
    with property_connection.transaction(force_rollback=True):
        for row, star, to in rows:
            property_connection.execute(
                "insert into ehrdb.code_map (map, code, standard_code) values ('m', %s, %s)",
                [f"V/{row}{'*' if star else ''}", f"S/{to}"],
            )
        for code in codes:
            property_connection.execute("insert into ehrdb.concept (code, vocabulary) values (%s, 'V')", [f"V/{code}"])
        found = property_connection.execute(
            "select substr(c.code, 3), unnest(c.parents) from ehr.concept c where c.vocabulary = 'V'"
        ).fetchall()
    assert set(found) == expected


@pytest.fixture(scope="module")
def property_connection(server_url: str, owner_url: str, template: str) -> Iterator[Connection]:
    with (
        created_database(server_url, owner_url, f"ehrdb_map_{os.getpid()}", template) as found,
        found.transaction() as opened,
    ):
        yield opened


def test_a_code_without_a_name_takes_that_of_the_map(database: Database, tmp_path: Path) -> None:
    load_omop(database, cdm(tmp_path, condition_occurrence="1,1,0,2020-01-01,"))
    do(
        database,
        "insert into ehrdb.concept (code, vocabulary, description) values ('OMOP/x:I10', 'OMOP', 'I10')",
        "insert into ehrdb.concept (code, vocabulary) values ('L/1', 'L'), ('L/2', 'L')",
    )
    load_map(
        database,
        write_map(
            tmp_path,
            """code,standard_code,description,standard_description
            OMOP/x:I10,SNOMED/59621000,Hoher Blutdruck,Essential hypertension
            L/1,SNOMED/59621000,,Essential hypertension
            L/2,,Nothing known,
            Gender/M,SNOMED/1,renamed,renamed""",
        ),
    )
    texts = ask(database, "select code, text from ehrdb.concept_text join ehrdb.concept using (code_id)")
    names = {code: text for code, text in texts}  # noqa: C416  # rows are tuples of any length
    found = [names[code] for code in ("OMOP/x:I10", "L/1", "L/2", "Gender/M")]
    assert found == ["Hoher Blutdruck", "Essential hypertension", "Nothing known", "MALE"]


def test_patients_whose_text_a_map_changes_are_marked(coded: Database, tmp_path: Path) -> None:
    do(coded, "update ehrdb.concept set description = null where code = 'ICD10CM/C50.9'")
    marked(coded)
    load_map(coded, write_map(tmp_path, "code,standard_code,description\nICD10CM/C50.9,,Breast cancer"))
    assert marked(coded) == {3}
    assert ask(coded, "select ehr.timeline(3)")[0][0] == "text of LOINC/718-7: 9.5\nBreast cancer"


def test_a_mapped_code_has_the_category_and_the_measure_of_its_standard_code(
    database: Database, tmp_path: Path
) -> None:
    with database.transaction() as connection:
        write(
            connection,
            [Record(1, day(1), "SNOMED/3950001"), Record(1, day(2), "OMOP/measurement:51222", 9.5, unit="g/dL")],
        )
    before = str(ask(database, "select ehr.timeline(1, format => 'markdown_corrected')")[0][0])
    load_map(database, write_map(tmp_path, "code,standard_code\nOMOP/measurement:51222,LOINC/718-7"))
    category = (
        "select distinct category from ehrdb.concept_category join ehrdb.concept using (code_id)"
        " where code = 'OMOP/measurement:51222'"
    )
    assert ask(database, category) == [("labs",)]
    after = str(ask(database, "select ehr.timeline(1, format => 'markdown_corrected')")[0][0])
    assert ("- Hemoglobin: No recent data" in before, "- Hemoglobin (g/dL): 9.5 (low)" in after) == (True, True)


def test_codes_of_two_vocabularies_meet_in_an_explanation(coded: Database) -> None:
    load_built_in_map(coded, "icd")
    question = "select relation, code, description from ehr.explain_similarity(1, 2)"
    assert ask(coded, question) == [("related", HYPERTENSION, "Essential hypertension")]


def test_a_task_says_whether_anybody_has_its_codes(coded: Database) -> None:
    has_codes = [result.has_codes for result in label(coded, ["new_hypertension", "guo_los"])]
    load_built_in_map(coded, "icd")
    assert [*has_codes, label(coded, ["new_hypertension"])[0].has_codes] == [False, None, True]


def test_readers_see_maps_and_what_they_make_of_records(coded: Database, analyst: Database) -> None:
    load_built_in_map(coded, "icd")
    assert ask(analyst, "select count(*) from ehr.code_map where map = 'icd'") == [(22,)]
    assert ask(analyst, "select count(*) from ehr.explain_similarity(1, 2)") == [(1,)]
    assert "text of LOINC/718-7" in str(ask(analyst, "select ehr.timeline(3, format => 'list_recent')"))
    assert "9.5 (low)" in str(ask(analyst, "select ehr.timeline(3, format => 'markdown')"))


SOURCE_MAP = """source_code,source_concept_id,source_vocabulary_id,source_code_description,target_concept_id,\
target_vocabulary_id,valid_start_date,valid_end_date,invalid_reason
401.9,0,ICD9CM,Hypertension,320128,SNOMED,1970-01-01,2099-12-31,
I10,0,ICD10CM,Hypertension,320128,SNOMED,1970-01-01,2099-12-31,
C50.9,0,ICD10CM,Breast cancer,0,None,1970-01-01,2099-12-31,
C50.9,0,ICD10CM,Breast cancer,320128,SNOMED,1970-01-01,1971-12-31,D
E10,0,ICD10CM,Diabetes,4711,SNOMED,1970-01-01,2099-12-31,
E11,0,ICD10CM,Diabetes,many,SNOMED,1970-01-01,2099-12-31,
"""
CONCEPT = "concept_id\tconcept_name\tvocabulary_id\tconcept_code\n320128\tEssential hypertension\tSNOMED\t59621000\n"


def test_source_to_concept_map_is_read_as_omop_has_it(coded: Database, tmp_path: Path) -> None:
    (tmp_path / "CONCEPT.csv").write_text(CONCEPT)
    file = write_map(tmp_path, SOURCE_MAP, "source_to_concept_map")
    result = load_map(coded, file, concepts=tmp_path / "CONCEPT.csv")
    assert parents(coded) == {"ICD9CM/401.9": [HYPERTENSION], "DIAGNOSIS//ICD//10//I10": [HYPERTENSION]}
    assert (result.map, result.rows_read, result.rows_loaded) == ("source_to_concept_map", 6, 3)
    assert result.left_out == {
        "is no longer valid": 1,
        "has a target concept that is not known here": 1,
        "has no number as target_concept_id": 1,
    }


def test_source_to_concept_map_of_a_schema_is_read_with_its_concepts(
    coded: Database, server_url: str, owner_url: str
) -> None:
    owner = make_url(owner_url).username
    run(same_database(server_url, coded), f'create schema cdm authorization "{owner}"')
    do(
        coded,
        "create table cdm.concept (concept_id integer, concept_name text, vocabulary_id text, concept_code text)",
        "create table cdm.source_to_concept_map (source_code text, source_vocabulary_id text,"
        " source_code_description text, target_concept_id integer, invalid_reason text)",
        "insert into cdm.concept values (320128, 'Essential hypertension', 'SNOMED', '59621000')",
        "insert into cdm.source_to_concept_map values ('401.9', 'ICD9CM', null, 320128, null)",
    )
    result = load_map_schema(coded, "cdm")
    assert (result.codes, parents(coded)) == (1, {"ICD9CM/401.9": [HYPERTENSION]})
    do(coded, "drop table cdm.source_to_concept_map")
    with pytest.raises(InputError, match="schema cdm has no table source_to_concept_map"):
        load_map_schema(coded, "cdm")


def test_what_usagi_approved_is_read(coded: Database, tmp_path: Path) -> None:
    (tmp_path / "CONCEPT.csv").write_text(CONCEPT)
    file = write_map(
        tmp_path,
        """sourceCode,sourceName,matchScore,mappingStatus,conceptId,conceptName,mappingType
        401.9,Hypertension,0.9,APPROVED,320128,Essential hypertension,MAPS_TO
        C50.9,Breast cancer,0.4,UNCHECKED,320128,Essential hypertension,MAPS_TO
        402.0,Heart,0.4,APPROVED,320128,Essential hypertension,MAPS_TO_VALUE""",
    )
    with pytest.raises(InputError, match="does not say of which vocabulary"):
        load_map(coded, file)
    result = load_map(coded, file, vocabulary="ICD9CM", concepts=tmp_path / "CONCEPT.csv")
    assert parents(coded) == {"ICD9CM/401.9": [HYPERTENSION]}
    assert result.left_out == {"is not approved": 1, "maps to a value or a unit": 1}


def test_parents_of_meds_are_read_as_a_map(coded: Database, tmp_path: Path) -> None:
    file = tmp_path / "codes.parquet"
    pl.DataFrame(
        {
            "code": ["DIAGNOSIS//ICD//10//I10", "A//1"],
            "description": ["h", None],
            "parent_codes": [[HYPERTENSION, "X/2"], None],
        }
    ).write_parquet(file)
    load_map(coded, file)
    assert parents(coded) == {"DIAGNOSIS//ICD//10//I10": [HYPERTENSION, "X/2"]}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a,b\n1,2", "is no map"),
        ("code,standard_code\nA/1,SNOMED/1\n,SNOMED/2", "row 3: has no code"),
        ("code,standard_code\nA/1,SNOMED", "row 2: has a standard code that is not VOCABULARY/CODE"),
        ("code,standard_code\nA/1,SNOMED/1,x", "row 2"),
        ("code,standard_code", "maps nothing"),
    ],
)
def test_what_is_no_map_is_refused_and_nothing_is_written(
    coded: Database, tmp_path: Path, text: str, fault: str
) -> None:
    with pytest.raises(InputError) as refused:
        load_map(coded, write_map(tmp_path, text))
    assert fault in f"row {refused.value.row}: {refused.value.message}"
    assert ask(coded, "select from ehr.code_map") == []


def test_an_unknown_built_in_map_is_refused(database: Database) -> None:
    with pytest.raises(ConfigError, match="no built-in map icd11"):
        load_built_in_map(database, "icd11")


def test_a_map_that_fits_nothing_says_what_its_codes_look_like_here(database: Database, tmp_path: Path) -> None:
    with database.transaction() as connection:
        write(connection, [Record(1, day(1), "OMOP/measurement:51222", 9.5)])
    result = load_map(database, write_map(tmp_path, "code,standard_code\nMIMIC lab item/51222,LOINC/718-7"))
    expected = "insert into ehrdb.vocabulary_prefix values ('OMOP/measurement:', 'MIMIC lab item');"
    assert (result.codes, result.prefix_sql) == (0, expected)
    do(database, expected)
    assert parents(database) == {"OMOP/measurement:51222": ["LOINC/718-7"]}
