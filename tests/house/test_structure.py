"""The plan of the house: the same five stages everywhere, and imports that run one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "ehrdb"
STAGES = ("events", "timeline", "embedding", "search", "prediction")
# A module imports from the rows above its own, never from a neighbour or from below.
FLOORS = (
    {"errors", "private", "queries"},
    {"config", "declared", "extras"},
    {"database", "patience"},
    {"bootstrap", "cohorts", "failure", "sql_files", "tables"},
    {"sql_objects"},
    {"frames", "parquet", "schema"},
    {"encoder"},
    {"events", "timeline"},
    {"embedding"},
    {"search"},
    {"prediction"},
    {"evaluation"},
    {"client"},
    {"assistant", "page"},
    {"check", "worker", "doctor", "testing", "demo"},
    {"cli"},
    {"__main__"},
)
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}


def rooms() -> set[str]:
    """Modules and packages directly under ehrdb/."""
    return {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def imports() -> Iterator[tuple[Path, str, str]]:
    """Every import between rooms: the file, its room, the imported room."""
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "ehrdb":
                yield from ((file, room, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ehrdb."):
                yield file, room, str(node.module).split(".")[1]


def test_every_room_has_its_floor() -> None:
    assert rooms() - {"__init__"} == set(HEIGHT)


def test_imports_run_one_way() -> None:
    upward = {
        f"{file.relative_to(PACKAGE)} imports ehrdb.{imported}"
        for file, room, imported in imports()
        if room != "__init__" and room != imported and imported in HEIGHT and HEIGHT[imported] >= HEIGHT[room]
    }
    assert upward == set()


def test_the_encoder_knows_no_database() -> None:
    assert {imported for _, room, imported in imports() if room == "encoder"} == {"encoder", "errors"}


def test_sql_python_and_tests_speak_of_the_same_stages() -> None:
    sql = sorted(folder.name for folder in (PACKAGE.parent / "sql").iterdir() if folder.is_dir())
    assert [name.split("_", 1)[1] for name in sql] == list(STAGES)
    assert set(STAGES) <= rooms()
    assert set(STAGES) <= {folder.name for folder in (PACKAGE.parent / "tests").iterdir()}
