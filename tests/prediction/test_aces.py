"""Tasks of ACES: the labels of es-aces, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from ehrdb.database import Database
from ehrdb.errors import ConfigError, InputError
from ehrdb.prediction import add_task, declared, find_task, label, read_aces
from tests.prediction.aces_cases import KEPT, Config, Event, configs, es_aces, moment, records

EXAMPLES = int(os.environ.get("EHRDB_ACES_EXAMPLES", "100"))
TASK: Config = {
    "predicates": {"admission": {"code": "A"}, "death": {"code": "D"}},
    "trigger": "admission",
    "windows": {
        "input": {
            "start": None,
            "end": "trigger + 24h",
            "start_inclusive": True,
            "end_inclusive": True,
            "index_timestamp": "end",
        },
        "target": {
            "start": "input.end",
            "end": "start + 7 days",
            "start_inclusive": False,
            "end_inclusive": True,
            "label": "death",
        },
    },
}


def fill(database: Database, drawn: list[Event]) -> None:
    """These records and no others."""
    with database.transaction() as connection:
        connection.execute("truncate ehrdb.event; delete from ehrdb.patient")
        for ordinal, (patient, minute, code, value, unit) in enumerate(drawn):
            time = "-infinity" if minute is None else moment(minute)
            connection.execute(
                "insert into ehrdb.patient (patient_id, source, fingerprint) values (%s, 'test', '')"
                " on conflict do nothing",
                [patient],
            )
            connection.execute(
                "insert into ehrdb.concept (code, vocabulary) values (%s, '') on conflict do nothing", [code]
            )
            connection.execute("insert into ehrdb.unit (unit) values (%s) on conflict do nothing", [unit or "none"])
            connection.execute(
                "insert into ehrdb.event (patient_id, ordinal, time, code_id, numeric_value, unit_id)"
                " select %s, %s, %s, c.code_id, %s, u.unit_id"
                "   from ehrdb.concept c left join ehrdb.unit u on u.unit = %s where c.code = %s",
                [patient, ordinal, time, value, unit, code],
            )


def labels_of(database: Database, folder: Path, config: Config) -> list[list[Any]]:
    file = folder / "aces.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    with database.transaction() as connection:
        add_task(connection, read_aces(file), replace=True)
    label(database, ["aces"])
    with database.transaction() as connection:
        rows = connection.execute("select patient_id, prediction_time, value from ehr.label").fetchall()
    return sorted([patient, str(time), value] for patient, time, value in rows)


def test_labels_are_those_that_es_aces_gave(database: Database, tmp_path: Path) -> None:
    for number, case in enumerate(json.loads(KEPT.read_text())):
        fill(database, case["records"])
        assert (number, labels_of(database, tmp_path, case["config"])) == (number, case["labels"])


def test_who_lacks_a_static_fact_of_the_configuration_has_no_labels(database: Database, tmp_path: Path) -> None:
    """Also where it is among the patient's facts with a time alone."""
    events: list[Event] = [
        (patient, minute, code, None, None) for patient in (1, 2, 3) for minute, code in ((0, "A"), (60, "B"))
    ]
    fill(database, [*events, (1, None, "S", None, None), (2, 30, "S", None, None)])
    window = {"start": "trigger", "end": "start + 1d", "start_inclusive": False, "end_inclusive": True}
    config: Config = {
        "predicates": {"a": {"code": "A"}, "b": {"code": "B"}},
        "patient_demographics": {"s": {"code": "S"}},
        "trigger": "a",
        "windows": {"target": window | {"label": "b", "index_timestamp": "start"}},
    }
    assert [patient for patient, _, _ in labels_of(database, tmp_path, config)] == [1]
    del config["patient_demographics"]
    assert [patient for patient, _, _ in labels_of(database, tmp_path, config)] == [1, 2, 3]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """es-aces in its own environment."""
    if "EHRDB_ACES_PYTHON" not in os.environ:
        pytest.skip("needs EHRDB_ACES_PYTHON, the Python of an environment that has es-aces (pip install es-aces)")
    with es_aces(tmp_path_factory.mktemp("aces")) as ask:
        yield ask


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(configs(), records)
def test_any_configuration_gives_the_labels_of_es_aces(
    reference: Any, database: Database, tmp_path: Path, config: Config, drawn: list[Event]
) -> None:
    expected = reference(config, drawn)
    fill(database, drawn)
    try:
        found: Any = {"labels": labels_of(database, tmp_path, config)}
    except InputError as error:
        # There es-aces takes the window's other end.
        found = expected if "starts a span before its end" in str(error) else {"error": expected.get("error")}
    assert found == expected


def changed(**changes: Any) -> Config:
    """TASK, with the parts at dotted places (`windows__target__end`) put in their place."""
    config: Config = json.loads(json.dumps(TASK))
    for place, value in changes.items():
        *path, last = place.split("__")
        part = config
        for name in path:
            part = part[name]
        part[last] = value
    return config


REFUSED = {
    "'1y' is no span": changed(windows__target__end="start + 1y"),
    "boundary 'start + 1h + 1h' has two operators": changed(windows__target__end="start + 1h + 1h"),
    "boundary 'start -> _RECORD_START': _RECORD_START lies the other way": changed(
        windows__target__end="start -> _RECORD_START"
    ),
    "window target: it does not start before it ends": changed(windows__target__end="start - 1h"),
    "window target: its start is counted from its end, or its end from its start": changed(
        windows__target__end="trigger + 48h"
    ),
    "window target: there is no inpt.end to count its start from": changed(windows__target__start="inpt.end"),
    "windows refer to each other in a circle": changed(windows__target__start="target.end"),
    "predicate death is not defined": changed(predicates={"admission": {"code": "A"}}),
    "predicate death is '???', no definition: give one with --predicates": changed(predicates__death="???"),
    "predicate death: code: Value error, a code is text": changed(predicates__death={"code": 3}),
    "predicate death: code: Value error, name either regex or any": changed(predicates__death={"code": {}}),
    "predicate death is derived from itself": changed(predicates__death={"expr": "or(death, admission)"}),
    "predicate death: _ANY_EVENT is no input": changed(predicates__death={"expr": "or(_ANY_EVENT, admission)"}),
    "target: death is static, it has no moments": changed(predicates__death={"code": "D", "static": True}),
    "(? is not understood here": changed(predicates__death={"code": {"regex": "D(?=x)"}}),
    "bad escape \\p": changed(predicates__death={"code": {"regex": r"\pL"}}),
    r"\A is not understood here": changed(predicates__death={"code": {"regex": r"\AD"}}),
    "regex 'D(': missing )": changed(predicates__death={"code": {"regex": "D("}}),
    "no window has label": changed(windows__target__label=None),
    "windows input, target have each index_timestamp": changed(windows__target__index_timestamp="start"),
    "window input: index_timestamp of a window that starts a span before its end": changed(
        windows__input__start="end - 24h"
    ),
    "windows.target.has.death: Value error, no count lies within (2, 1)": changed(
        windows__target__has={"death": "(2, 1)"}
    ),
    "windows.target.end_inclusive: Field required": changed(
        windows__target={"start": None, "end": "trigger", "start_inclusive": True}
    ),
    "outcome: Extra inputs are not permitted": changed(outcome=1),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_expressed_is_refused_by_name(tmp_path: Path, message: str) -> None:
    (tmp_path / "aces.yaml").write_text(yaml.safe_dump(REFUSED[message]))
    with pytest.raises(InputError, match=r"aces\.yaml") as caught:
        read_aces(tmp_path / "aces.yaml")
    assert message in str(caught.value)


def test_predicates_of_another_file_take_the_place_of_its_own(database: Database, tmp_path: Path) -> None:
    fill(database, [(1, 0, "A", None, None), (1, 2000, "DEATH", None, None)])
    (tmp_path / "aces.yaml").write_text(yaml.safe_dump(TASK))
    (tmp_path / "here.yaml").write_text(yaml.safe_dump({"predicates": {"death": {"code": "DEATH"}}}))
    with database.transaction() as connection:
        assert add_task(connection, read_aces(tmp_path / "aces.yaml", tmp_path / "here.yaml", task="dies")) == []
    assert [(found.labels, found.positives) for found in label(database, ["dies"])] == [(1, 1)]


def test_a_predicate_may_ask_for_any_column_that_events_have(database: Database, tmp_path: Path) -> None:
    fill(
        database,
        [(1, 0, "A", None, None), (1, 2000, "D", None, None), (2, 0, "A", None, None), (2, 2000, "D", None, None)],
    )
    with database.transaction() as connection:
        connection.execute('update ehrdb.event set extra = \'{"route": "IV", "stay": 7}\' where patient_id = 1')
    config = changed(predicates__death={"code": "D", "route": "IV", "stay": 7})
    assert labels_of(database, tmp_path, config) == [[1, "2020-01-02 00:00:00", 1], [2, "2020-01-02 00:00:00", 0]]
    with pytest.raises(ConfigError, match="no event here has a column ward"):
        labels_of(database, tmp_path, changed(predicates__death={"code": "D", "ward": "x"}))


def test_a_configuration_that_is_shown_can_be_added_again(database: Database, tmp_path: Path) -> None:
    fill(database, [(1, 0, "A", None, None), (1, 2000, "D", None, None)])
    labels_of(database, tmp_path, TASK)
    with database.transaction() as connection:
        (tmp_path / "aces.yaml").write_text(yaml.safe_dump(shown := declared(find_task(connection, "aces"))))
    assert {name: shown[name] for name in TASK} == TASK
    assert read_aces(tmp_path / "aces.yaml").config == TASK


def test_codes_and_patterns_that_nothing_here_has_are_named(database: Database, tmp_path: Path) -> None:
    fill(database, [(1, 0, "A", None, None)])
    config = changed(predicates__death={"code": {"regex": "^MEDS_DEATH"}})
    (tmp_path / "aces.yaml").write_text(yaml.safe_dump(config))
    with database.transaction() as connection:
        assert add_task(connection, read_aces(tmp_path / "aces.yaml")) == ["^MEDS_DEATH"]
