"""What PostgreSQL's catalogue says of every function: nobody else's objects can slip in, and its promises are true."""

from __future__ import annotations

from ehrdb.database import Connection

PINNED = (["search_path=pg_catalog, pg_temp"], ["search_path=pg_catalog, public, pg_temp"])
# Inlined into the query that calls them, which a setting would prevent; they name the schema of all that is not
# pg_catalog's and run with the rights of who calls them. A procedure with a setting could not commit.
UNPINNED = {
    "ehr.search_text",
    "ehrdb.aggregate_text",
    "ehrdb.head_probability",
    "ehrdb.is_positive",
    "ehrdb.job_state",
    "ehrdb.line",
    "ehrdb.number_text",
    "ehrdb.split_of",
    "ehrdb.strip",
    "ehrdb.time_prefix",
    "ehrdb.to_bigint",
    "ehrdb.to_time",
    "ehrdb.to_unusual_time",
    "ehrdb.to_value",
    "ehrdb.visible_length",
    "ehrdb.visit_heading",
}
CHANGES_SOMETHING = {"ehr.request_refresh", "ehr.search_text"}
OURS = "from pg_proc where pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)"


def names(connection: Connection, condition: str) -> set[str]:
    """Our functions of which that is true."""
    rows = connection.execute(f"select oid::regproc::text {OURS} and {condition}".encode()).fetchall()
    return {name for (name,) in rows}


def test_whoever_lends_its_owners_rights_pins_its_search_path(connection: Connection) -> None:
    rows = connection.execute(f"select oid::regproc::text, proconfig {OURS} and prosecdef".encode()).fetchall()
    assert rows
    assert {name for name, settings in rows if settings not in PINNED} == set()


def test_names_are_bound_when_a_function_is_made_or_its_search_path_is_pinned(connection: Connection) -> None:
    is_unbound = "prosqlbody is null and (proconfig is null or not proconfig::text like '%search_path%')"
    assert names(connection, is_unbound) == UNPINNED


def test_a_pinned_search_path_ends_with_temporary_objects(connection: Connection) -> None:
    rows = connection.execute(f"select oid::regproc::text, unnest(proconfig) {OURS}".encode()).fetchall()
    paths = {(name, setting) for name, setting in rows if setting.startswith("search_path")}
    assert {name for name, setting in paths if [setting] not in PINNED} == set()


def test_questions_change_nothing(connection: Connection) -> None:
    assert names(connection, "provolatile = 'v' and pronamespace = 'ehr'::regnamespace") == CHANGES_SOMETHING


def test_nothing_that_reads_a_table_says_it_always_gives_the_same(connection: Connection) -> None:
    reads = "pg_get_functiondef(oid) ~ '(from|join) ehr(db)?\\.[a-z_]+\\M(?!\\()'"
    assert names(connection, f"provolatile = 'i' and {reads}") == set()


def test_everything_that_is_not_a_trigger_is_explained(connection: Connection) -> None:
    is_unexplained = "prorettype <> 'trigger'::regtype and obj_description(oid, 'pg_proc') is null"
    assert names(connection, is_unexplained) == set()
