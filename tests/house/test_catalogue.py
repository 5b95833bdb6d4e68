"""What PostgreSQL's catalogue says of every function: nobody else's objects can slip in, and its promises are true."""

from __future__ import annotations

from ehrdb.database import Connection

PINNED = "search_path=pg_catalog, pg_temp"
# A procedure with a setting could not commit: every name and operator of it is qualified.
UNPINNED = {"ehr.search_text"}
CHANGES_SOMETHING = {
    "ehr.audit_functions",
    "ehr.nearest_to_text",
    "ehr.protect",
    "ehr.request_refresh",
    "ehr.search_patients",
    "ehr.search_text",
    "ehr.unprotect",
}
OURS = "from pg_proc where pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)"


def names(connection: Connection, condition: str) -> set[str]:
    """Our functions of which that is true."""
    rows = connection.execute(f"select oid::regproc::text {OURS} and {condition}".encode()).fetchall()
    return {name for (name,) in rows}


def test_whoever_lends_its_owners_rights_pins_its_search_path(connection: Connection) -> None:
    rows = connection.execute(f"select oid::regproc::text, proconfig {OURS} and prosecdef".encode()).fetchall()
    assert rows
    assert {name for name, settings in rows if PINNED not in settings} == set()


def test_names_are_bound_when_a_function_is_made_or_its_search_path_is_pinned(connection: Connection) -> None:
    is_unbound = "prosqlbody is null and (proconfig is null or not proconfig::text like '%search_path%')"
    assert names(connection, is_unbound) == UNPINNED


def test_a_pinned_search_path_holds_nothing_that_others_may_create_in(connection: Connection) -> None:
    rows = connection.execute(f"select oid::regproc::text, unnest(proconfig) {OURS}".encode()).fetchall()
    paths = {(name, setting) for name, setting in rows if setting.startswith("search_path")}
    assert {name for name, setting in paths if setting != PINNED} == set()


def test_questions_change_nothing(connection: Connection) -> None:
    assert names(connection, "provolatile = 'v' and pronamespace = 'ehr'::regnamespace") == CHANGES_SOMETHING


def test_nothing_that_reads_a_table_says_it_always_gives_the_same(connection: Connection) -> None:
    reads = "pg_get_functiondef(oid) ~ '(from|join) ehr(db)?\\.[a-z_]+\\M(?!\\()'"
    assert names(connection, f"provolatile = 'i' and {reads}") == set()


def test_everything_that_is_not_a_trigger_is_explained(connection: Connection) -> None:
    is_unexplained = "prorettype <> 'trigger'::regtype and obj_description(oid, 'pg_proc') is null"
    assert names(connection, is_unexplained) == set()


def test_the_first_line_of_an_explanation_is_a_short_sentence(connection: Connection) -> None:
    is_public = "pronamespace = 'ehr'::regnamespace"
    is_long = "split_part(obj_description(oid, 'pg_proc'), E'\n', 1) !~ '^.{10,105}[.]$'"
    assert names(connection, f"{is_public} and {is_long}") == set()


def test_every_column_of_a_view_is_explained(connection: Connection) -> None:
    rows = connection.execute(
        "select a.attrelid::regclass::text, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " where c.relkind = 'v' and c.relnamespace = 'ehr'::regnamespace and a.attnum > 0"
        "   and col_description(a.attrelid, a.attnum) is null"
    ).fetchall()
    assert rows == []
