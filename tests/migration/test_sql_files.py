"""The order of sql/ follows from what each file names."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from ehrdb.database import Connection
from ehrdb.schema import project_path, sql_files
from ehrdb.sql_files import created_by, in_order, needs

CREATES = re.compile(r"^create (?:or replace )?(?:view|function|procedure|table|type) ([\w.]+)", re.MULTILINE)
# Which function or view uses which other one, as the server knows it: bodies that are kept as text are not in there.
USES = """
with object (oid, name) as (
    select oid, pronamespace::regnamespace || '.' || proname from pg_proc
     where pronamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace)
    union all
    select oid, relnamespace::regnamespace || '.' || relname from pg_class
     where relnamespace in ('ehr'::regnamespace, 'ehrdb'::regnamespace) and relkind = 'v'
)
select distinct user_.name, used.name
  from pg_depend d
  left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
  join object user_ on user_.oid = coalesce(r.ev_class, d.objid)
  join object used on used.oid = d.refobjid
 where user_.oid <> used.oid
"""


def test_a_file_is_named_after_the_one_object_that_it_creates() -> None:
    for path in sql_files():
        created = CREATES.findall(path.read_text(encoding="utf-8"))
        assert set(created) == {created_by(path)}, path.name


def test_everything_that_the_server_knows_to_be_used_comes_before_what_uses_it(connection: Connection) -> None:
    place = {created_by(path): number for number, path in enumerate(sql_files())}
    uses = connection.execute(USES.encode()).fetchall()
    late = [(user, used) for user, used in uses if place[used] > place[user]]
    assert len(uses) > 30
    assert late == []


def test_every_file_comes_after_those_whose_objects_it_names() -> None:
    order = sql_files()
    for path, needed in needs(order).items():
        assert all(order.index(other) < order.index(path) for other in needed), path.name


def test_the_order_does_not_depend_on_how_the_folder_is_listed() -> None:
    paths = list(project_path("sql").glob("*/*.sql"))
    for seed in range(5):
        random.Random(seed).shuffle(paths)
        assert in_order(paths) == sql_files()


def test_files_that_need_each_other_are_named(tmp_path: Path) -> None:
    (tmp_path / "egg.sql").write_text("create view ehr.egg as select from ehr.hen")
    (tmp_path / "hen.sql").write_text("create view ehr.hen as select from ehr.egg")
    with pytest.raises(ValueError, match=r"need each other: (egg\.sql -> hen\.sql|hen\.sql -> egg\.sql)"):
        in_order(tmp_path.glob("*.sql"))


def test_a_name_in_a_comment_or_a_literal_is_not_needed(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("-- see ehr.b\n/* and\nehr.b */ comment on view ehr.a is 'It''s like ehr.b';")
    (tmp_path / "b.sql").write_text("select from ehr.a")
    assert [path.name for path in in_order(tmp_path.glob("*.sql"))] == ["a.sql", "b.sql"]


def test_two_files_of_one_name_are_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path / "1", tmp_path / "2"):
        folder.mkdir()
        (folder / "a.sql").write_text("select 1")
    with pytest.raises(ValueError, match="one name"):
        in_order(tmp_path.rglob("*.sql"))
