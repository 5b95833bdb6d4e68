"""Encoders without a model: imported vectors, and two encoders side by side."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from ehrdb.cli import app
from ehrdb.config import Settings
from ehrdb.database import Database
from ehrdb.embedding import refresh_all, registry
from ehrdb.embedding.load import load_encoder
from ehrdb.embedding.vectors import import_vectors
from ehrdb.errors import EncoderError, InputError
from ehrdb.prediction import label
from ehrdb.testing import FakeEncoder
from tests.records import Record, add_encoder, add_head, day, write, write_patients

VECTORS = np.eye(4)
Row = tuple[int, datetime, list[float]]
MOMENT = day(25)


@pytest.fixture
def patients(database: Database) -> Database:
    with database.transaction() as connection:
        write_patients(connection, 4)
    return database


def parquet(folder: Path, rows: list[Row]) -> Path:
    path = folder / "vectors.parquet"
    pl.DataFrame(rows, schema=["patient_id", "prediction_time", "embedding"], orient="row").write_parquet(path)
    return path


def rows(moment: datetime = MOMENT) -> list[Row]:
    return [(patient, moment, VECTORS[patient - 1].tolist()) for patient in range(1, 5)]


def ask(database: Database, question: str) -> list[tuple[object, ...]]:
    with database.transaction() as connection:
        return connection.execute(question.encode()).fetchall()


def refresh_joint(database: Database, encoder: registry.RegisteredEncoder) -> None:
    refresh_all(database, encoder, lambda model: FakeEncoder(name=model.name))


@pytest.fixture
def joint(patients: Database, tmp_path: Path) -> registry.RegisteredEncoder:
    """A fake model's vectors, and imported ones as of every patient's last event, side by side."""
    moments = ask(patients, "select patient_id, max(time) from ehr.event group by patient_id order by patient_id")
    file = parquet(tmp_path, [(p, t, VECTORS[p - 1].tolist()) for p, t in moments])  # type: ignore[misc, operator]
    import_vectors(patients, file, "clmbr")
    with patients.transaction() as connection:
        add_encoder(connection)
        made = registry.concatenate(connection, "joint", "fake", "clmbr")
    refresh_joint(patients, made)
    return made


def test_imported_vectors_serve_search(patients: Database, tmp_path: Path) -> None:
    result = import_vectors(patients, parquet(tmp_path, rows()), "clmbr")

    assert (result.rows, result.changed, result.dimension) == (4, 4, 4)
    assert ask(patients, "select ehr.embedding(2)::text") == [("[0,1,0,0]",)]
    assert ask(patients, "select patient_id from ehr.nearest_patients(2, 3, array[4])") == [(4,)]
    assert ask(patients, "select kind, is_serving, max_tokens from ehr.encoder") == [("import", True, None)]


def test_importing_again_changes_nothing(patients: Database, tmp_path: Path) -> None:
    file = parquet(tmp_path, rows())
    import_vectors(patients, file, "clmbr")

    assert import_vectors(patients, file, "clmbr").changed == 0


def test_a_further_file_adds_moments_and_replaces_known_ones(patients: Database, tmp_path: Path) -> None:
    import_vectors(patients, parquet(tmp_path, rows()), "clmbr")
    later = [(1, day(25), [0.0, 0.0, 0.0, 1.0]), (1, day(28), [0.0, 0.0, 1.0, 0.0])]

    assert import_vectors(patients, parquet(tmp_path, later), "clmbr").changed == 2

    assert ask(patients, "select ehr.embedding(1, '2020-01-26')::text") == [("[0,0,0,1]",)]
    assert ask(patients, "select ehr.embedding(1)::text") == [("[0,0,1,0]",)]
    assert ask(patients, "select count(*) from ehrdb.embedding") == [(3,)]  # equal vectors are kept once


def test_a_later_vector_does_not_change_an_earlier_answer(patients: Database, tmp_path: Path) -> None:
    import_vectors(patients, parquet(tmp_path, rows()), "clmbr")
    question = "select * from ehr.nearest_patients(1, 3, as_of => '2020-01-26')"
    before = ask(patients, question)

    import_vectors(patients, parquet(tmp_path, rows(day(28))[::-1]), "clmbr")

    assert ask(patients, question) == before


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((99, day(25), [1.0, 0, 0, 0]), r"row 5, column patient_id: patient 99 is not in the database"),
        ((1, day(25), [1.0, 0, 0, 0]), r"row 1, column prediction_time: patient 1: more than one vector"),
        ((1, day(26), [1.0, 0, 0]), r"row 5, column embedding: patient 1: vector's dimensions differ"),
        ((1, day(26), [1.0, 0, 0, float("nan")]), r"row 5, column embedding: patient 1: vector holds NaN"),
        ((1, day(26), [1e6, 0, 0, 0]), r"row 5, column embedding: patient 1: beyond half precision"),
        ((1, day(26), [0.0, 0, 0, 0]), r"row 5, column embedding: patient 1: a vector of zeros"),
        ((1, day(26), [3e-8, 2e-8, 0, 0]), r"row 5, column embedding: patient 1: too small for half precision"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(patients: Database, tmp_path: Path, bad: Row, message: str) -> None:
    with pytest.raises(InputError, match=message):
        import_vectors(patients, parquet(tmp_path, [*rows(), bad]), "clmbr")

    assert ask(patients, "select count(*) from ehrdb.encoder") == [(0,)]
    assert ask(patients, "select count(*) from ehrdb.embedding_point") == [(0,)]


def test_a_model_cannot_be_imported_into(patients: Database, tmp_path: Path) -> None:
    with patients.transaction() as connection:
        add_encoder(connection)

    with pytest.raises(EncoderError, match="another encoder"):
        import_vectors(patients, parquet(tmp_path, rows()), "fake")


def test_imported_vectors_are_not_refreshed(patients: Database, tmp_path: Path) -> None:
    import_vectors(patients, parquet(tmp_path, rows()), "clmbr")
    with patients.transaction() as connection:
        encoder = registry.find(connection, "clmbr")
        write(connection, [Record(1, day(27), "SNOMED/99")])

    result = refresh_all(patients, encoder, lambda model: pytest.fail("there is no model to load"))

    assert (result.embedded, result.exit_code) == (0, 0)
    assert ask(patients, "select count(*) from ehrdb.embedding_job") == [(0,)]


def test_an_imported_vector_is_stale_once_the_record_goes_on(patients: Database, tmp_path: Path) -> None:
    import_vectors(patients, parquet(tmp_path, rows()), "clmbr")
    with patients.transaction() as connection:
        write(connection, [Record(1, day(27), "SNOMED/99")])
        connection.execute("select ehrdb.plan_refresh()")

    stale = "select patient_id from ehr.nearest_patients('[1,0,0,0]'::public.vector, 4) where is_stale"
    assert ask(patients, stale) == [(1,)]
    assert ask(patients, "select stale from ehr.embedding_status") == [(1,)]


def test_an_encoder_without_a_model_cannot_be_loaded(patients: Database, tmp_path: Path) -> None:
    import_vectors(patients, parquet(tmp_path, rows()), "clmbr")

    with patients.transaction() as connection, pytest.raises(EncoderError, match="no model to run"):
        load_encoder(Settings(home=tmp_path), registry.find(connection, "clmbr"))


def test_a_concatenation_holds_both_vectors(patients: Database, joint: registry.RegisteredEncoder) -> None:
    assert (joint.kind, joint.dimension) == ("concatenation", 12)
    assert ask(
        patients,
        "select ehr.embedding(3, encoder => 'joint')::text ="
        " (ehr.embedding(3, encoder => 'fake') operator(public.||) ehr.embedding(3, encoder => 'clmbr'))::text",
    ) == [(True,)]
    assert ask(patients, "select kind, first_part, second_part from ehr.encoder where name = 'joint'") == [
        ("concatenation", "fake", "clmbr")
    ]


def test_a_concatenation_serves_search(patients: Database, joint: registry.RegisteredEncoder) -> None:
    assert len(ask(patients, "select * from ehr.nearest_patients(3, 3, encoder => 'joint')")) == 3


def test_a_concatenation_follows_its_parts(
    patients: Database, joint: registry.RegisteredEncoder, tmp_path: Path
) -> None:
    import_vectors(patients, parquet(tmp_path, rows(day(30))), "clmbr")
    with patients.transaction() as connection:
        write(connection, [Record(patient, day(30), "SNOMED/99") for patient in (1, 2)])

    refresh_joint(patients, joint)

    assert ask(
        patients,
        "select patient_id from ehrdb.patient_embedding s join ehrdb.encoder e using (encoder_id)"
        " where e.name = 'joint' and s.as_of = '2020-01-30 08:00' order by 1",
    ) == [(1,), (2,)]
    assert ask(
        patients,
        "select count(*) from ehrdb.patient_embedding s join ehrdb.encoder e using (encoder_id) where e.name = 'joint'",
    ) == [(4,)]


def test_a_part_is_embedded_under_the_prompts_of_the_wholes_heads(patients: Database, tmp_path: Path) -> None:
    import_vectors(patients, parquet(tmp_path, rows()), "clmbr")
    label(patients, ["guo_los"])
    with patients.transaction() as connection:
        asked = FakeEncoder(name="asked").manifest.model_copy(update={"prompt_template": True})
        registry.register(connection, asked)
        made = registry.concatenate(connection, "joint", "clmbr", "asked")
        prompt = registry.prompt_id(connection, "a task's prompt")
        connection.execute(
            "insert into ehrdb.head (task, target, encoder_id, prompt_id, weights, intercept, calibration_slope,"
            "                        calibration_shift, provenance)"
            " values ('guo_los', 'guo_los', %s, %s, '[1]', 0, 1, 0, '{}')",
            [made.encoder_id, prompt],
        )

    asked_for = "select count(*) from ehrdb.encoder_prompt join ehrdb.encoder using (encoder_id) where name = '{}'"
    assert ask(patients, asked_for.format("asked")) == [(2,)]
    assert ask(patients, asked_for.format("clmbr")) == [(1,)]


def test_a_part_cannot_be_dropped_before_the_whole(patients: Database, joint: registry.RegisteredEncoder) -> None:
    with patients.transaction() as connection:
        registry.activate(connection, "joint")
        with pytest.raises(EncoderError, match="part of joint"):
            registry.drop(connection, "fake")


def test_activating_names_the_tasks_without_a_head_for_the_encoder(
    patients: Database, joint: registry.RegisteredEncoder
) -> None:
    with patients.transaction() as connection:
        for task, encoder in (("sepsis", "fake"), ("stroke", "fake"), ("stroke", "joint"), ("gout", "clmbr")):
            connection.execute(
                "insert into ehrdb.task values (%s, 'site', 'binary', '', '{\"shape\": \"imported\"}')"
                " on conflict do nothing",
                [task],
            )
            add_head(connection, task, registry.find(connection, encoder))
        assert registry.activate(connection, "joint") == ["gout", "sepsis"]


def test_an_encoder_is_dropped_only_when_that_is_confirmed(patients: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHRDB_DATABASE_URL", patients.url)
    with patients.transaction() as connection:
        add_encoder(connection)
        add_encoder(connection, "second")
    for arguments, typed, status, told in (
        ([], "n\n", 1, "Remove second, its vectors of 0 patients and 0 heads?"),
        ([], "", 1, "Remove second"),
        (["--yes"], "", 0, "second is dropped"),
    ):
        assert names(patients) == ["fake", "second"]
        found = CliRunner().invoke(app, ["encoder", "drop", "second", *arguments], input=typed)
        assert (found.exit_code, told in found.output) == (status, True)
    assert names(patients) == ["fake"]


def names(database: Database) -> list[str]:
    with database.transaction() as connection:
        return [encoder.name for encoder in registry.list_encoders(connection)]


def test_concatenating_again_changes_nothing(patients: Database, joint: registry.RegisteredEncoder) -> None:
    with patients.transaction() as connection:
        assert registry.concatenate(connection, "joint", "fake", "clmbr") == joint


@pytest.mark.parametrize(("first", "second"), [("fake", "fake"), ("fake", "joint")])
def test_what_cannot_be_concatenated_is_refused(
    patients: Database, joint: registry.RegisteredEncoder, first: str, second: str
) -> None:
    with patients.transaction() as connection, pytest.raises(EncoderError, match="two different parts"):
        registry.concatenate(connection, "another", first, second)
