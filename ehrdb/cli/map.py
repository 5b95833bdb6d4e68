"""`ehrdb map`: a picture of the patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ehrdb.cli.common import Cohort, EncoderName, current_client, err, require_folder


def map_(
    to: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("map.html"),
    task: Annotated[str | None, typer.Option(help="Colour by the patients' labels of this task.")] = None,
    code: Annotated[str | None, typer.Option(help="Colour by whether this code, or a descendant, occurs.")] = None,
    method: Annotated[
        Literal["pca", "umap"], typer.Option(help="pca: straight projection; umap: neighbourhoods (needs umap-learn).")
    ] = "pca",
    cohort: Cohort = None,
    sample: Annotated[int, typer.Option(help="At most so many patients, always the same.", min=3)] = 5000,
    encoder: EncoderName = None,
) -> None:
    """Draw the patients in two dimensions, alike ones close together; coloured by sex, a task or a code.

    The file holds patient ids: treat it like the record.

    Example: `ehrdb map --out map.html --code SNOMED/44054006`
    """
    require_folder(to)
    with current_client() as db:
        found = db.map(task, code, method=method, cohort=cohort, sample=sample, encoder=encoder)
    found.save(to)
    err.print(f"{to}: {found.patients} patients, by {task or code or 'sex'}")
