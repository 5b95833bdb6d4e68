from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ehrdb.errors import InputError
from ehrdb.prediction.files import match, read_embeddings, read_labels, read_patients
from ehrdb.prediction.targets import FINDINGS, finding_task

START = datetime(2020, 1, 1, 23, 59)


def labels_frame(**columns: list[Any]) -> pl.DataFrame:
    """Six patients, two for each split, one negative and one positive."""
    frame = pl.DataFrame(
        {
            "patient_id": [1, 2, 3, 4, 5, 6],
            "prediction_time": [START] * 6,
            "task": ["icu"] * 6,
            "value": [0, 1] * 3,
            "split": ["train", "train", "val", "val", "test", "test"],
        }
    )
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


def embeddings_frame(**columns: list[Any]) -> pl.DataFrame:
    vectors = pl.Series([[float(patient), 1.0] for patient in range(1, 7)])
    frame = pl.DataFrame({"patient_id": range(1, 7), "prediction_time": [START] * 6, "embedding": vectors})
    return frame.with_columns(**{name: pl.Series(values) for name, values in columns.items()})


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    return tmp_path / "labels.parquet"


@pytest.fixture
def embeddings_file(tmp_path: Path) -> Path:
    return tmp_path / "embeddings.parquet"


def test_rows_are_ordered_by_patient_and_time_and_ties_keep_file_order(labels_file: Path) -> None:
    later = START + timedelta(days=1)
    frame = labels_frame(
        patient_id=[2, 1, 2, 2, 3, 3],
        prediction_time=[later, START, START, START, START, START],
        split=["train", "val", "train", "train", "test", "test"],
    )
    frame.write_parquet(labels_file)
    assert read_labels(labels_file)["row"].to_list() == [1, 2, 3, 0, 4, 5]


def test_labs_are_positive_from_the_first_class_on(labels_file: Path) -> None:
    labels_frame(task=["lab_anemia"] * 6, value=[0, 1, 2, 3, 0, 1]).write_parquet(labels_file)
    assert read_labels(labels_file)["value"].to_list() == [0, 1, 1, 1, 0, 1]


def test_chexpert_becomes_its_findings_with_the_first_as_highest_bit(labels_file: Path) -> None:
    labels_frame(task=["chexpert"] * 6, value=[8192, 1, 0, 0, 0, 0]).write_parquet(labels_file)
    positive = read_labels(labels_file).filter(pl.col("value") == 1).select("patient_id", "task").rows()
    assert positive == [(1, "chexpert_no_finding"), (2, "chexpert_support_devices")]


def test_labels_meet_vectors_of_the_same_minute(labels_file: Path, embeddings_file: Path) -> None:
    labels_frame(prediction_time=[START + timedelta(seconds=30)] * 6).write_parquet(labels_file)
    embeddings_frame().sort("patient_id", descending=True).write_parquet(embeddings_file)
    embeddings = read_embeddings(embeddings_file)
    (target,) = match(read_labels(labels_file), labels_file, embeddings)
    np.testing.assert_array_equal(embeddings.vectors[target.test.row][:, 0], [5, 6])


def test_a_vector_of_each_task_is_matched_by_task(labels_file: Path, embeddings_file: Path) -> None:
    pl.concat([labels_frame(), labels_frame(task=["chexpert"] * 6)]).write_parquet(labels_file)
    shifted = [[-1.0, 0.0]] * 6
    pl.concat(
        [embeddings_frame(task=["icu"] * 6), embeddings_frame(embedding=shifted, task=["chexpert"] * 6)]
    ).write_parquet(embeddings_file)
    embeddings = read_embeddings(embeddings_file)
    targets = list(match(read_labels(labels_file), labels_file, embeddings))
    assert [target.task for target in targets] == ["icu", *map(finding_task, FINDINGS)]
    first = [embeddings.vectors[target.train.row[0], 0] for target in targets]
    assert first == [1.0, *[-1.0] * len(FINDINGS)]


@pytest.mark.parametrize("kind", [pl.Float16, pl.Float32, pl.Float64])
def test_vectors_keep_their_precision(embeddings_file: Path, kind: type[pl.DataType]) -> None:
    embeddings_frame().with_columns(pl.col("embedding").cast(pl.List(kind))).write_parquet(embeddings_file)
    assert read_embeddings(embeddings_file).vectors.dtype.name == kind.__name__.lower()


def test_a_repeated_equal_vector_is_accepted(embeddings_file: Path) -> None:
    pl.concat([embeddings_frame(), embeddings_frame()]).write_parquet(embeddings_file)
    assert len(read_embeddings(embeddings_file).keys) == 6


BAD_LABELS = {
    "no split": (labels_frame().drop("split"), "column split: must be there"),
    "an unknown split": (
        labels_frame(split=["train"] * 5 + ["dev"]),
        "row 6, column split: patient 6, task icu",
    ),
    "a missing split": (
        labels_frame(split=["train"] * 5 + [None]),
        "row 6, column split: patient 6, task icu",
    ),
    "a patient in two splits": (
        labels_frame(patient_id=[1, 1, 1, 4, 5, 6]),
        "row 1, column split: patient 1",
    ),
    "a value outside 0 and 1": (
        labels_frame(value=[0, 1, 0, 2, 0, 1]),
        "row 4, column value: patient 4, task icu",
    ),
    "a fraction": (
        labels_frame(value=[0.0, 0.5, 0.0, 1.0, 0.0, 1.0]),
        "row 2, column value: patient 2, task icu",
    ),
    "text values": (labels_frame(value=["no", "yes"] * 3), "column value: must be there and hold numbers"),
    "a lab class of 4": (labels_frame(task=["lab_x"] * 6, value=[4, 1] * 3), "row 1, column value"),
    "text ids": (
        labels_frame(patient_id=list("abcdef")),
        "column patient_id: must be there and hold integers",
    ),
    "text dates": (labels_frame(prediction_time=["2020-01-01"] * 6), "row 1, column prediction_time"),
    "times as numbers": (labels_frame(prediction_time=[1] * 6), "column prediction_time: must be there"),
    "no rows": (labels_frame().clear(), "has no rows"),
}


@pytest.mark.parametrize("problem", BAD_LABELS)
def test_bad_labels_are_refused(labels_file: Path, problem: str) -> None:
    frame, message = BAD_LABELS[problem]
    frame.write_parquet(labels_file)
    with pytest.raises(InputError) as error:
        read_labels(labels_file)
    assert str(labels_file) in error.value.message
    assert message in error.value.message


NAN = float("nan")
BAD_EMBEDDINGS = {
    "another vector": (
        pl.concat([embeddings_frame(), embeddings_frame()[:1].with_columns(embedding=pl.Series([[9.0, 9.0]]))]),
        "row 7, column embedding: patient 1: a second, different vector",
    ),
    "NaN": (
        embeddings_frame(embedding=[[1.0, 2.0]] * 5 + [[1.0, NAN]]),
        "row 6, column embedding: patient 6",
    ),
    "unequal dimensions": (embeddings_frame(embedding=[[1.0, 2.0]] * 5 + [[1.0]]), "row 6, column embedding"),
    "no vector": (
        embeddings_frame(embedding=[[1.0, 2.0]] * 5 + [None]),
        "row 6, column embedding: patient 6",
    ),
    "whole numbers": (
        embeddings_frame(embedding=[[1, 2]] * 6),
        "column embedding: must be there and hold lists",
    ),
    "no embedding": (embeddings_frame().drop("embedding"), "column embedding: must be there"),
}


@pytest.mark.parametrize("problem", BAD_EMBEDDINGS)
def test_bad_embeddings_are_refused(embeddings_file: Path, problem: str) -> None:
    frame, message = BAD_EMBEDDINGS[problem]
    frame.write_parquet(embeddings_file)
    with pytest.raises(InputError) as error:
        read_embeddings(embeddings_file)
    assert message in error.value.message


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"patient_id": [1, 1]}, "row 1, column patient_id: patient 1: more than one row"),
        ({"birth_time": ["1950", "1960"]}, "column birth_time: must be there and hold timestamps"),
        ({"sex": [1, 2]}, "column sex: must be there and hold text"),
    ],
)
def test_bad_patients_are_refused(tmp_path: Path, frame: dict[str, list[Any]], message: str) -> None:
    good = {"patient_id": [1, 2], "birth_time": [START, None], "sex": ["F", None], "race": ["a", "b"]}
    pl.DataFrame({**good, **frame}).write_parquet(tmp_path / "patients.parquet")
    with pytest.raises(InputError) as error:
        read_patients(tmp_path / "patients.parquet")
    assert message in error.value.message


def test_a_label_without_vector_is_refused(labels_file: Path, embeddings_file: Path) -> None:
    labels_frame().write_parquet(labels_file)
    embeddings_frame()[:4].write_parquet(embeddings_file)
    with pytest.raises(InputError, match=r"row 5.*patient 5, task icu: no embedding") as error:
        list(match(read_labels(labels_file), labels_file, read_embeddings(embeddings_file)))
    assert "2 such rows" in error.value.message


@pytest.mark.parametrize("content", [None, b"not parquet"])
def test_an_unreadable_file_is_refused(labels_file: Path, content: bytes | None) -> None:
    if content:
        labels_file.write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.parquet: (no such file|cannot be read as parquet)"):
        read_labels(labels_file)


@pytest.mark.parametrize("text", ["2020-01-01 23:59:00", "2020-01-01T23:59:00", "2020-01-01T23:59:00.000"])
def test_times_may_be_text(labels_file: Path, text: str) -> None:
    labels_frame(prediction_time=[text] * 6).write_parquet(labels_file)
    assert read_labels(labels_file)["prediction_time"].unique().to_list() == [START]


def test_text_that_is_no_time_is_refused_by_its_row(labels_file: Path) -> None:
    labels_frame(prediction_time=["2020-01-01 23:59:00"] * 5 + ["soon"]).write_parquet(labels_file)
    with pytest.raises(InputError, match="prediction_time is not"):
        read_labels(labels_file)
