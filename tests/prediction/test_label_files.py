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

ROWS = {"subject_id": [1, 2, 1], "prediction_time": [day(3), day(2), day(4)], "boolean_value": [True, False, False]}


@pytest.fixture
def records(database: Database) -> Database:
    with database.transaction() as connection:
        write(connection, [Record(p, day(1), "SNOMED/1") for p in range(1, 41)])
    return database


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """MEDS labels of two patients, one with two."""
    pl.DataFrame(ROWS).write_parquet(tmp_path / "mortality.parquet")
    return tmp_path / "mortality.parquet"


def test_meds_labels_in_are_meds_labels_out(records: Database, file: Path, tmp_path: Path) -> None:
    assert [(r.labels, r.positives) for r in load_labels(records, file, "mortality")] == [(3, 1)]
    with records.transaction() as connection:
        assert export_labels(connection, "mortality", tmp_path / "out.parquet") == 3
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.rows() == [(1, day(3), True), (1, day(4), False), (2, day(2), False)]


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


# --- folders and contradictions ---------------------------------------------------------------------------------------


def labels_of(task: str, records: Database) -> list[tuple[int, int]]:
    with records.transaction() as connection:
        query = "select patient_id, value from ehr.label where task = %s order by 1, 2"
        return connection.execute(query, [task]).fetchall()


@pytest.mark.parametrize("name", ["{}/labeled_patients.csv", "{}.csv", "{}/train/0.csv"])
def test_of_a_folder_of_several_tasks_one_is_taken_or_all_are_refused(
    records: Database, tmp_path: Path, name: str
) -> None:
    for value, task in enumerate(("death", "fall")):
        path = tmp_path / name.format(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"patient_id,prediction_time,value\n{value + 1},2020-01-02,{value}\n")
    load_labels(records, tmp_path, "fall")
    assert labels_of("fall", records) == [(2, 1)]
    with pytest.raises(
        InputError, match=r"holds labels of several tasks \(death, fall\), none of them named mortality"
    ):
        load_labels(records, tmp_path, "mortality")


def test_shards_of_one_set_of_labels_are_put_together(records: Database, tmp_path: Path) -> None:
    for patient, name in enumerate(("train/0", "train/1", "held_out/0"), start=1):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        columns = {"subject_id": [patient], "prediction_time": [day(2)], "boolean_value": [True]}
        pl.DataFrame(columns).write_parquet(tmp_path / f"{name}.parquet")
    load_labels(records, tmp_path, "mortality")
    assert labels_of("mortality", records) == [(1, 1), (2, 1), (3, 1)]


def test_a_file_of_several_tasks_gives_the_one_that_is_named(records: Database, tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("patient_id,prediction_time,task,value\n1,2020-01-02,a,0\n1,2020-01-02,b,1\n")
    load_labels(records, tmp_path / "all.csv", "b")
    assert labels_of("b", records) == [(1, 1)]
    with pytest.raises(InputError, match="holds no labels of task c"):
        load_labels(records, tmp_path / "all.csv", "c")


def test_two_values_at_one_moment_are_refused_but_of_the_benchmark(records: Database, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "patient_id,prediction_time,value\n1,2020-01-02,0\n1,2020-01-02,0\n1,2020-01-02,1\n"
    )
    with pytest.raises(InputError, match="row 4, column value: patient 1: has another value at the same moment above"):
        load_labels(records, tmp_path / "x.csv", "mortality")
    load_labels(records, tmp_path / "x.csv", "lab_anemia")


def test_rows_of_parquet_count_from_one(records: Database, tmp_path: Path) -> None:
    pl.DataFrame({**ROWS, "subject_id": [1, 2, 77]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="row 3, column patient_id: patient 77 is not in the database"):
        load_labels(records, tmp_path / "x.parquet", "mortality")
