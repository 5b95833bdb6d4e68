"""Named blocks of SQL."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ehrdb
from ehrdb.queries import Queries


def queries(folder: Path, text: str) -> Queries:
    (folder / "queries.sql").write_text(text)
    return Queries(folder)


def test_a_comment_with_a_colon_stays_in_its_block(tmp_path: Path) -> None:
    text = "-- name: one\n-- all of it\nselect 1\n-- note: not a block\n     + 1;\n\n-- name: two\nselect 2;\n"
    found = queries(tmp_path, text)
    assert found.one == b"-- all of it\nselect 1\n-- note: not a block\n     + 1;"
    assert found.two == b"select 2;"


@pytest.mark.parametrize("text", ["-- name: one\nselect 1;\n-- name: one\nselect 2;", "-- one: it\nselect 1;"])
def test_two_blocks_of_one_name_and_sql_before_a_block_are_errors(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"queries\.sql"):
        queries(tmp_path, text)


def test_a_block_that_is_not_there_is_an_attribute_error(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="two"):
        queries(tmp_path, "-- name: one\nselect 1;").two  # noqa: B018


def test_every_block_is_used() -> None:
    package = Path(ehrdb.__file__).parent
    used: dict[str, str] = {}
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name, place, file in re.findall(r'^(\w+) = Queries\("([\w.]+)"(?:, "(\w+\.sql)")?\)', text, re.MULTILINE):
            key = f"{place.replace('.', '/')}/{file or 'queries.sql'}"
            names = re.findall(rf"\b{name}(?:\.|, f\")(\w+)", text)
            used[key] = " ".join([used.get(key, ""), *names])
    files = {f"ehrdb/{path.relative_to(package).as_posix()}": path for path in package.rglob("*.sql")}
    blocks = {key: re.findall(r"^-- name: (\w+)$", path.read_text(), re.MULTILINE) for key, path in files.items()}
    unused = [
        f"{key} {block}"
        for key, names in blocks.items()
        if not key.startswith("ehrdb/_database/")
        for block in names
        if not any(block == word or (word.endswith("_") and block.startswith(word)) for word in used[key].split())
    ]
    assert sum(map(len, blocks.values())) > 100
    assert unused == []


def test_no_query_says_where_the_extension_lives() -> None:
    files = Path(ehrdb.__file__).parent.rglob("*.sql")
    assert [path.name for path in files if re.search(r"\bpublic\.\w", path.read_text(encoding="utf-8"))] == []
