"""Tasks of ACES on real records: the labels of es-aces 0.7.3, row by row."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from ehrdb.database import Database
from ehrdb.events.meds import load_meds
from tests.conftest import shared
from tests.prediction.test_aces import labels_of

KEPT: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parents[1] / "golden" / "aces_real.yaml").read_text())


def load(database: Database, folder: Path, file: str, codes: str) -> None:
    """The file's events with codes like these."""
    records = pl.read_parquet(shared(f"data/{file}")).filter(pl.col("code").str.contains(codes))
    (folder / "data").mkdir(parents=True)
    records.write_parquet(folder / "data" / "0.parquet")
    shutil.copytree(shared(f"data/{file.split('/')[0]}/metadata"), folder / "metadata")
    load_meds(database, folder)


@pytest.mark.parametrize("name", KEPT)
def test_labels_on_real_records_are_those_of_es_aces(database: Database, tmp_path: Path, name: str) -> None:
    kept = KEPT[name]
    load(database, tmp_path / "records", kept["data"], kept["codes"])
    rows = labels_of(database, tmp_path, kept["config"])
    assert (len(rows), sum(value for *_, value in rows)) == (kept["labels"], kept["positive"])
    lines = "".join(f"{patient}\t{time}\t{int(value)}\n" for patient, time, value in rows)
    assert hashlib.sha256(lines.encode()).hexdigest() == kept["sha256"]
