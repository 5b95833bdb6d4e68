"""`ehrdb index check | rebuild`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from ehrdb.cli.common import EncoderName, Json, current_database, err, out, print_json, settings
from ehrdb.embedding import registry
from ehrdb.embedding.index import ensure_index
from ehrdb.queries import Queries

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The HNSW index that search uses.")
_queries = Queries("ehrdb.embedding")


@dataclass(frozen=True)
class Recall:
    """What share of the true nearest patients searches find. `is_indexed` false: all are compared."""

    encoder: str
    is_indexed: bool
    queries: int
    recall: float | None
    worst: float | None


@app.command()
def check(
    encoder: EncoderName = None,
    k: Annotated[int, typer.Option(help="How many neighbours.", min=1)] = 10,
    sample: Annotated[int, typer.Option(help="For how many patients.", min=1)] = 100,
    json: Json = False,
) -> None:
    """Measure recall@k of searches among all patients against comparing every one.

    Example: `ehrdb index check --sample 200`
    """
    with current_database() as database, database.transaction() as connection:
        name = registry.find(connection, encoder or settings().encoder).name
        row = connection.execute(_queries.search_recall, {"k": k, "sample": sample, "encoder": name}).fetchone()
        assert row is not None
        found = Recall(name, *row)
    if json:
        print_json(found)
    elif found.recall is None:
        out.print(f"{name}: no vectors yet")
    else:
        way = "HNSW index" if found.is_indexed else "exact: every patient is compared, no index needed"
        out.print(
            f"{name}: recall@{k} {found.recall:.3f}, worst {found.worst:.2f}, {found.queries} patients asked ({way})"
        )


@app.command()
def rebuild(encoder: EncoderName = None) -> None:
    """Build the index anew, beside running searches; after many deletions, or where `check` disappoints.

    Example: `ehrdb index rebuild --encoder Qwen3-Embedding-0.6B`
    """
    with current_database() as database:
        with database.transaction() as connection:
            registered = registry.find(connection, encoder or settings().encoder)
        built = ensure_index(database, registered, rebuild=True)
    err.print(
        f"{registered.name}: index built"
        if built
        else f"{registered.name}: no index needed, so few patients are compared exactly"
    )
