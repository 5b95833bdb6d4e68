"""A hundred real patients, loaded once: MIMIC-IV demo in MEDS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from ehrdb.database import Database
from ehrdb.events.code_map import BUILT_IN, load_built_in_map
from ehrdb.events.meds import MedsOptions, export_meds, load_meds
from ehrdb.prediction import label
from tests.conftest import created_database, shared


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared("data/mimic-iv-demo-meds")


@pytest.fixture(scope="module")
def mimic(folder: Path, server_url: str, owner_url: str, template: str) -> Iterator[Database]:
    with created_database(server_url, owner_url, f"ehrdb_mimic_{os.getpid()}", template) as database:
        assert load_meds(database, folder, MedsOptions(visit_column="hadm_id")).tables[0].rows_loaded == 916_166
        yield database


def test_it_goes_in_and_out_unchanged(mimic: Database, folder: Path, tmp_path: Path) -> None:
    export_meds(mimic, tmp_path / "out", visit_column="hadm_id")
    wanted = pl.read_parquet(folder / "data" / "0.parquet")
    got = pl.read_parquet(tmp_path / "out" / "data" / "0.parquet")
    got = got.with_columns(pl.col("hadm_id").cast(pl.Int64)).select(wanted.columns)
    assert got.drop("unit").equals(wanted.drop("unit"))
    # Units that stood in the codes have a column now.
    assert got["unit"].null_count() < wanted["unit"].null_count()
    assert wanted.filter(pl.col("unit").is_not_null() & (pl.col("unit") != got["unit"])).is_empty()


def test_tasks_have_labels_once_its_codes_are_mapped(mimic: Database) -> None:
    # Counted anew from the files by other means: by regular expressions over codes, admission by admission.
    for name in BUILT_IN:
        load_built_in_map(mimic, name)
    expected = {
        "lab_thrombocytopenia": (2820, 1051),
        "lab_hyperkalemia": (3321, 111),
        "lab_hypoglycemia": (2971, 71),
        "lab_hyponatremia": (3147, 1047),
        "lab_anemia": (2928, 2340),
        "new_hypertension": (115, 9),
        "new_hyperlipidemia": (121, 2),
        "new_pancan": (274, 0),
        "new_celiac": (275, 0),
        "new_lupus": (275, 0),
        "new_acutemi": (236, 5),
    }
    assert {r.task: (r.labels, r.positives) for r in label(mimic, list(expected))} == expected
