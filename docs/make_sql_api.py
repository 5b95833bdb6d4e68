"""Writes docs/sql-api.md from the comments of schema ehr: `make docs`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ehrdb.config import Settings
from ehrdb.database import Connection, open_database
from ehrdb.schema import upgrade

TARGET = Path(__file__).parent / "sql-api.md"
HEAD = """# SQL reference

Schema `ehr`: views and functions, all obeying the rights of who asks. This page is made from the comments in the
database (`\\d+ ehr.*` and `\\df+ ehr.*` show them in `psql`).

Every `as_of` is inclusive and defaults to everything known; `encoder` defaults to the serving one.
"""
ERRORS = """
## Errors

Asking for what is not there raises an error with a hint that says what to run; never a quiet null or an empty result.
An empty cohort (`'{}'`) has an empty answer; a matching or a search for duplicates may find nothing.

| SQLSTATE | means |
|---|---|
| `EH001` | unknown patient, or nobody in the cohort is known |
| `EH002` | unknown format |
| `EH003` | unknown encoder, or none serving |
| `EH004` | nothing embedded for the patient by that time |
| `EH005` | unknown task, or an outcome that is neither task nor code |
| `EH006` | no head trained for the task and encoder |
| `EH007` | patients and moments that do not fit together |
| `EH008` | no worker that could read a text, or no answer in time |
| `EH010` | an argument that cannot be used: a null, NaN, a negative count, a moment of the year 10000 |
| `EH012` | another session plans a refresh or purges, for five minutes now, or keeps a purge waiting |
| `EH013` | the audit is only added to |
"""
VIEWS = """
select relname, array_to_string(array(
           select attname || ' ' || format_type(atttypid, atttypmod) from pg_attribute
            where attrelid = c.oid and attnum > 0 order by attnum), ', '),
       obj_description(oid, 'pg_class')
  from pg_class c where relnamespace = 'ehr'::regnamespace and relkind = 'v' order by relname
"""
FUNCTIONS = """
select proname || '(' || pg_get_function_arguments(oid) || ')' || coalesce(' -> ' || pg_get_function_result(oid), ''),
       obj_description(oid, 'pg_proc')
  from pg_proc where pronamespace = 'ehr'::regnamespace order by proname, pronargs desc, oid::regprocedure::text
"""


def document(connection: Connection) -> str:
    """The page for the schema that the database has."""
    parts = [HEAD, "\n## Functions\n"]
    connection.execute("set local search_path = public, pg_catalog")  # so that types print alike for every user
    for signature, comment in connection.execute(FUNCTIONS.encode()):
        parts.append(f"\n### `{signature}`\n\n{_body(comment)}\n")
    parts.append("\n## Views\n")
    for name, columns, comment in connection.execute(VIEWS.encode()):
        parts.append(f"\n### `{name}`\n\n`{columns}`\n\n{_body(comment)}\n")
    return "".join([*parts, ERRORS])


def _body(comment: str) -> str:
    text, *examples = comment.replace("\n", " ").split("Example: ")
    return text.strip() + "".join(f"\n\n    {example.strip()}" for example in examples)


def main() -> None:
    """Write the page from a fresh database."""
    with (
        tempfile.TemporaryDirectory() as home,
        open_database(Settings(home=Path(home), database_url=None), create=True) as database,
    ):
        upgrade(database)
        with database.transaction() as connection:
            TARGET.write_text(document(connection), encoding="utf-8")


if __name__ == "__main__":
    main()
