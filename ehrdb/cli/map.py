"""`ehrdb map`: a picture of the patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from ehrdb.cli.common import EncoderName, current_database, err, require_folder, select_cohort, settings
from ehrdb.database import register_vectors
from ehrdb.embedding import registry
from ehrdb.errors import ConfigError, NotFound
from ehrdb.private import private
from ehrdb.queries import Queries

_queries = Queries("ehrdb.cli")


def map_(
    to: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("map.html"),
    task: Annotated[str | None, typer.Option(help="Colour by the patients' labels of this task.")] = None,
    code: Annotated[str | None, typer.Option(help="Colour by whether this code, or a descendant, occurs.")] = None,
    method: Annotated[
        Literal["pca", "umap"], typer.Option(help="pca: straight projection; umap: neighbourhoods (needs umap-learn).")
    ] = "pca",
    cohort: Annotated[str | None, typer.Option(help="Only the patient ids that this SQL query selects.")] = None,
    sample: Annotated[int, typer.Option(help="At most so many patients, always the same.", min=3)] = 5000,
    encoder: EncoderName = None,
) -> None:
    """Draw the patients in two dimensions, alike ones close together; coloured by sex, a task or a code.

    The file holds patient ids: treat it like the record.

    Example: `ehrdb map --out map.html --code SNOMED/44054006`
    """
    if task and code:
        raise ConfigError("--task and --code exclude each other", hint="One colour a picture.")
    require_folder(to)
    from ehrdb.search.map import Point, draw

    with current_database("map") as database, database.transaction() as connection:
        register_vectors(connection)
        name = registry.find(connection, encoder or settings().encoder).name
        values = {"encoder": name, "task": task, "code": code, "sample": sample}
        rows = connection.execute(
            _queries.map_points, {**values, "cohort": select_cohort(connection, cohort)}, binary=True
        ).fetchall()
    if len(rows) < 3:
        raise NotFound(f"only {len(rows)} patients have a vector of {name}", hint="Run `ehrdb refresh`.")
    vectors = np.stack([vector.to_numpy() for _, vector, _ in rows]).astype(np.float32)
    points = [Point(patient_id, group or "unknown") for patient_id, _, group in rows]
    private(to).write_text(draw(points, vectors, method, name, task or code or "sex"), encoding="utf-8")
    err.print(f"{to}: {len(points)} patients, by {task or code or 'sex'}")
