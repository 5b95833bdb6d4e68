"""Labels and predictions in files: MEDS's and EHRSHOT's labels in, MEDS's out."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ehrdb.database import Database
from ehrdb.errors import ConfigError, InputError, NotFound
from ehrdb.prediction import add_task, find_task, label, read_task, remove_task
from ehrdb.prediction.label_files import export_labels, export_predictions, load_labels
from ehrdb.prediction.training import train
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, day, write

ROWS = {"subject_id": [1, 2, 1], "prediction_time": [day(3), day(2), day(3)], "boolean_value": [True, False, False]}


@pytest.fixture
def records(database: Database) -> Database:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/1") for p in range(1, 41)])
    return database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """MEDS labels of two patients, one with two in one minute."""
    pl.DataFrame(ROWS).write_parquet(tmp_path / "mortality.parquet")
    return tmp_path / "mortality.parquet"


def test_meds_labels_in_are_meds_labels_out(records: Database, file: Path, tmp_path: Path) -> None:
    assert [(r.labels, r.positives) for r in load_labels(records, file, "mortality")] == [(3, 1)]
    with records.transaction() as connection:
        assert export_labels(connection, "mortality", tmp_path / "out.parquet") == 3
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.rows() == [(1, day(3), True), (1, day(3), False), (2, day(2), False)]


def test_exported_labels_are_of_the_meds_schema(records: Database, file: Path, tmp_path: Path) -> None:
    meds = pytest.importorskip("meds", reason="needs the meds extra")
    load_labels(records, file, "mortality")
    with records.transaction() as connection:
        export_labels(connection, "mortality", tmp_path / "out.parquet")
    meds.LabelSchema.validate(pl.read_parquet(tmp_path / "out.parquet").to_arrow())


def test_imported_labels_stay_when_the_task_is_labelled_again(records: Database, file: Path) -> None:
    load_labels(records, file, "guo_los")
    assert [r.labels for r in label(records, ["guo_los"])] == [3]
    with records.transaction() as connection:
        remove_task(connection, "guo_los")
    assert [r.labels for r in label(records, ["guo_los"])] == [0]  # by its own rule: nobody was admitted


def test_published_labels_of_the_benchmark_are_found_by_folder(records: Database, tmp_path: Path) -> None:
    for task, rows in (
        ("guo_icu", "1,2020-01-03T08:00:00,True,boolean\n2,2020-01-03 08:00:00,False,boolean\n"),
        ("chexpert", "1,2020-01-03 08:00,8192,categorical\n"),
    ):
        (tmp_path / task).mkdir()
        header = "patient_id,prediction_time,value,label_type\n"
        (tmp_path / task / "labeled_patients.csv").write_text(header + rows)
    found = {result.task: (result.labels, result.positives) for result in load_labels(records, tmp_path)}
    assert found == {"chexpert": (1, 0), "guo_icu": (2, 1)}
    with records.transaction() as connection:
        assert find_task(connection, "chexpert").kind == "multilabel"


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("patient_id", "x", "row 3, column patient_id: is not a whole number"),
        ("patient_id", "77", "row 3, column patient_id: patient 77 is not in the database"),
        ("prediction_time", "soon", "row 3, column prediction_time: patient 2: is not a date or time"),
        ("value", "2", "row 3, column value: patient 2: is not a class of task guo_los"),
        ("value", "", "row 3, column value: patient 2: is not a class of task guo_los"),
    ],
)
def test_a_bad_label_is_named_and_nothing_is_written(
    records: Database, tmp_path: Path, column: str, value: str, message: str
) -> None:
    row = {"patient_id": "2", "prediction_time": "2020-01-02", "value": "0", column: value}
    lines = ["patient_id,prediction_time,value", "1,2020-01-02,1", ",".join(row.values())]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError) as caught:
        load_labels(records, tmp_path / "labels.csv", "guo_los")
    assert message in str(caught.value)
    with records.transaction() as connection:
        assert connection.execute("select count(*) from ehr.label").fetchone() == (0,)


def test_files_do_not_replace_a_rule_of_the_sites_own(records: Database, file: Path, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "{task: own, description: Dies, prediction_time: {codes: [SNOMED/1]}, outcome: {event: death, days: 3}}"
    )
    with records.transaction() as connection:
        add_task(connection, read_task(tmp_path / "own.yaml"))
    with pytest.raises(ConfigError, match="rule of its own"):
        load_labels(records, file, "own")


def test_a_folder_without_labels_is_refused(records: Database, tmp_path: Path) -> None:
    for task in (None, "mortality"):
        with pytest.raises(InputError, match="holds no labels"):
            load_labels(records, tmp_path, task)


def test_predictions_are_what_sql_says_at_the_labels(records: Database, tmp_path: Path) -> None:
    rows = {"patient_id": list(range(1, 41)), "prediction_time": [day(2)] * 40, "value": [p % 2 for p in range(1, 41)]}
    pl.DataFrame(rows).write_parquet(tmp_path / "labels.parquet")
    load_labels(records, tmp_path / "labels.parquet", "odd")
    with records.transaction() as connection:
        encoder = add_encoder(connection)
        with pytest.raises(NotFound, match="no head"):
            export_predictions(connection, encoder, "odd", tmp_path / "out.parquet")
    train(records, encoder, lambda _: FakeEncoder(), "odd")
    with records.transaction() as connection:
        export_predictions(connection, encoder, "odd", tmp_path / "out.parquet")
        expected = connection.execute(
            "select l.patient_id, l.prediction_time, l.value = 1, p >= 0.5, p"
            "  from ehr.label l, ehr.predict('odd', l.patient_id, l.prediction_time) p"
            " where ehrdb.split_of(l.patient_id) = 'test' order by 1"
        ).fetchall()
    assert pl.read_parquet(tmp_path / "out.parquet").rows() == expected
