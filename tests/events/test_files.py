"""Files as they come: quotes, delimiters, line ends, encodings, parts. Every row is read, or the file is refused."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ehrdb.database import Connection
from ehrdb.errors import InputError
from ehrdb.events.files import FileRules, copy_table
from ehrdb.events.folder import Part, SourceFolder
from ehrdb.events.ragged import RaggedRow
from tests.conftest import shared

Rows = list[tuple[str, ...]]


def read(connection: Connection, source: Path, rules: FileRules | None = None, left_out: Any = None) -> Rows:
    """Rows of a file, or of the table `t` of a folder, as copy_table reads them."""
    parts = SourceFolder(source).take("t") if source.is_dir() else [Part(source)]
    with connection.transaction(force_rollback=True):
        count = copy_table(connection, parts, "t", required=("a",), rules=rules or FileRules(), left_out=left_out)
        rows = connection.execute("select * from pg_temp.raw_t order by row").fetchall()
    assert len(rows) == count
    return [tuple(value or "" for value in row[1:]) for row in rows]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


# --- quotes -------------------------------------------------------------------------------------------------------


def test_a_bare_quote_in_a_comma_file_is_refused_with_its_place_and_the_option(
    connection: Connection, tmp_path: Path
) -> None:
    path = written(tmp_path / "t.csv", 'a,b,c\n1,plain,x\n2,nail 5" titanium,x\n3,nail 6" titanium,x\n')
    with pytest.raises(InputError) as caught:
        read(connection, path)
    assert str(caught.value).startswith(f"{path}, row 3, column b: has a quote inside an unquoted field")
    assert "--unquoted t" in str(caught.value.hint)
    assert "titanium" not in str(caught.value)


def test_a_file_said_not_to_quote_is_read_as_it_stands(connection: Connection, tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", 'a,b\n1,nail 5" titanium\n2,"plain"\n3,nail 6" titanium\n')
    rows = read(connection, path, FileRules(unquoted=("t",)))
    assert rows == [("1", 'nail 5" titanium'), ("2", '"plain"'), ("3", 'nail 6" titanium')]


@pytest.mark.parametrize("field", ['"half', '"a" b', '"a\\" b"'])
def test_quotes_that_end_nowhere_or_amid_a_field_are_refused(
    connection: Connection, tmp_path: Path, field: str
) -> None:
    path = written(tmp_path / "t.csv", f"a,b\n1,x\n2,{field}\n3,x\n")
    with pytest.raises(InputError, match=r"row 3, column b: has a quote"):
        read(connection, path)


def test_tab_files_of_athena_do_not_quote(connection: Connection, tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", 'a\tb\n1\t"Foo" bar\n2\t5" nail\n3\t"open\n')
    assert read(connection, path) == [("1", '"Foo" bar'), ("2", '5" nail'), ("3", '"open')]


@pytest.mark.parametrize("header", ['"a"\t"b"', "a\tb"])
def test_tab_files_of_r_and_pandas_quote(connection: Connection, tmp_path: Path, header: str) -> None:
    path = written(tmp_path / "t.tsv", header + '\n1\t"Type 2 ""adult"" diabetes"\n2\t"two\nlines"\n')
    assert read(connection, path) == [("1", 'Type 2 "adult" diabetes'), ("2", "two\nlines")]


def test_a_tab_file_with_two_readings_is_refused_until_told(connection: Connection, tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", 'a\tb\n1\t"open\n2\tclosed"\n')
    with pytest.raises(InputError, match="different numbers of rows") as caught:
        read(connection, path)
    assert "--quoted t or --unquoted t" in str(caught.value.hint)
    assert read(connection, path, FileRules(quoted=("t",))) == [("1", "open\n2\tclosed")]
    assert read(connection, path, FileRules(unquoted=("t",))) == [("1", '"open'), ("2", 'closed"')]


def test_what_copy_takes_for_the_end_loses_nothing(connection: Connection, tmp_path: Path) -> None:
    try:
        rows = read(connection, written(tmp_path / "t.csv", "a\n\\.\n1\n"))
    except InputError as error:  # servers before 18
        assert "holds 2 rows, but 0 were read" in str(error)  # noqa: PT017
    else:
        assert rows == [("\\.",), ("1",)]


def test_skipping_ragged_rows_reads_quotes_alike(connection: Connection, tmp_path: Path) -> None:
    left_out: list[RaggedRow] = []
    rules = FileRules(skip_bad_rows=True)
    path = written(tmp_path / "t.csv", 'a,b\n1,"x, y"\n2\n3,"say ""so"""\n')
    assert read(connection, path, rules, left_out) == [("1", "x, y"), ("3", 'say "so"')]
    assert left_out == [RaggedRow(3, "has too few fields")]
    with pytest.raises(InputError, match="row 4, column b: has a quote"):
        read(connection, written(tmp_path / "t.csv", 'a,b\n1,x\n2\n3,5" nail\n'), rules, [])


def test_a_row_with_a_value_too_many_is_left_out_and_named_not_cut(connection: Connection, tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a,b\n1,x\n2,x,lost\n3,x,\n")
    left_out: list[RaggedRow] = []
    assert read(connection, path, FileRules(skip_bad_rows=True), left_out) == [("1", "x"), ("3", "x")]
    assert left_out == [RaggedRow(3, "has too many fields")]


# --- one invariant: the standard library's strict reader, or a refusal -----------------------------------------------

FIELD = st.text(alphabet='ab1" ,;\t|\\.\n\rä', max_size=4)
ODD_FIELD = FIELD | st.text(alphabet="a'\0\b\x1a\ufeff\"ä", max_size=3)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Files as programs write them, and some that none would write."""
    delimiter = draw(st.sampled_from(",\t;|"))
    rows = draw(st.lists(st.tuples(ODD_FIELD, ODD_FIELD, ODD_FIELD), max_size=5))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    if draw(st.booleans()):
        buffer = io.StringIO()
        quoting: Any = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows([("a", "b", "c"), *rows])
        text = buffer.getvalue()
    else:
        text = end.join(delimiter.join(row) for row in [("a", "b", "c"), *rows]) + end
    return text.removesuffix(end) if draw(st.booleans()) else text


def strictly(text: str, delimiter: str, quoting: Any) -> Rows | None:
    """What the standard library's strict reader finds; None where that is no table."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, quoting=quoting))
    except csv.Error:
        return None
    return [tuple(row) for row in rows[1:]] if all(len(row) == 3 for row in rows) else None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=texts(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "utf-16-le"]),
    packed=st.booleans(),
)
def test_any_file_gives_what_a_strict_reader_finds_or_is_refused(
    connection: Connection, tmp_path: Path, text: str, encoding: str, packed: bool
) -> None:
    content = text.encode(encoding, errors="replace")
    text = content.decode(encoding)
    path = tmp_path / ("t.csv.gz" if packed else "t.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    delimiter = next(character for character in text if character in ",\t;|")
    found = strictly(text, delimiter, csv.QUOTE_MINIMAL)
    literal = strictly(text, delimiter, csv.QUOTE_NONE)
    try:
        rows = read(connection, path)
    except InputError:
        return
    assert rows in (found, literal if delimiter == "\t" else found)
    assert found is None or len(rows) == len(found)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.just("x"), FIELD, FIELD), min_size=1, max_size=6),
    delimiter=st.sampled_from(",\t;|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cut=st.integers(0, 6),
    kind=st.sampled_from(["csv", "csv.gz", "parquet"]),
)
def test_what_a_program_wrote_in_parts_is_read_whole(
    connection: Connection, tmp_path_factory: pytest.TempPathFactory, rows: Rows, delimiter: str, end: str, cut: int,
    kind: str,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("parts")
    for number, part in enumerate((rows[:cut], rows[cut:])):
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
        writer.writerows([("a", "b", "c"), *part])
        content = buffer.getvalue().encode()
        path = folder / f"t_{number}.{kind}"
        if kind == "parquet":
            pl.DataFrame(part, schema=dict.fromkeys("abc", pl.String), orient="row").write_parquet(path)
        else:
            path.write_bytes(gzip.compress(content) if kind.endswith("gz") else content)
    try:
        found = read(connection, folder)
    except InputError as error:
        assert (delimiter, kind != "parquet") == ("\t", True)
        assert "different numbers of rows" in str(error)  # noqa: PT017
        return
    assert found == rows


# --- encodings, line ends, headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_to_read(connection: Connection, tmp_path: Path, encoding: str) -> None:
    assert read(connection, written(tmp_path / "t.csv", "a,b\n1,ä\n", encoding)) == [("1", "ä")]


@pytest.mark.parametrize(("encoding", "problem"), [("utf-16-le", "is not UTF-8 text"), ("latin-1", "is not valid")])
def test_other_encodings_are_refused(connection: Connection, tmp_path: Path, encoding: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read(connection, written(tmp_path / "t.csv", "a,b\n1,ä\n", encoding))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do_but_not_two(connection: Connection, tmp_path: Path, end: str) -> None:
    assert read(connection, written(tmp_path / "t.csv", f"a,b{end}1,x{end}2,y")) == [("1", "x"), ("2", "y")]
    other = "\r" if end == "\n" else "\n"
    with pytest.raises(InputError, match=r"ends its lines in different ways|too"):
        read(connection, written(tmp_path / "t.csv", f"a,b{end}1,x{end}2,y{other}3,z{end}"))


def test_a_file_without_header_is_refused_without_showing_its_first_row(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no header") as caught:
        read(connection, written(tmp_path / "t.csv", "700,HIV positive,700\n701,x,y\n"))
    assert "HIV" not in f"{caught.value} {caught.value.hint}"


def test_a_header_of_another_delimiter_is_told_from_none(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has a header whose names cannot be told apart"):
        read(connection, written(tmp_path / "t.csv", "a^b\n1^x\n"))


def test_columns_without_a_name_are_no_matter_and_two_of_a_name_are(connection: Connection, tmp_path: Path) -> None:
    assert read(connection, written(tmp_path / "t.csv", ",a,\n0,1,\n")) == [("0", "1", "")]
    with pytest.raises(InputError, match="row 1, column a: stands twice in the header"):
        read(connection, written(tmp_path / "t.csv", "a,A\n0,1\n"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(b"a\n1\n", mtime=0), "is gzip"),
        (b"PAR1....", "is parquet"),
        (b"PK\x03\x04..", "is a zip archive"),
        (b"a\n1\n\x00\n", "row 3: holds a zero byte"),
    ],
)
def test_what_is_no_text_is_told_as_what_it_is(
    connection: Connection, tmp_path: Path, content: bytes, problem: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=problem):
        read(connection, tmp_path / "t.csv")


def test_a_ragged_row_is_refused_with_the_option_that_leaves_it_out(connection: Connection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 3, column b: has too few fields") as caught:
        read(connection, written(tmp_path / "t.csv", "a,b\n1,x\n2\n"), left_out=[])
    assert "--skip-bad-rows" in str(caught.value.hint)


# --- which files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("t.csv",),
        ("T.CSV.GZ",),
        ("T.PARQUET",),
        ("t_1.csv", "t_2.csv"),
        ("t-00000-of-00002.parquet", "t-00001-of-00002.parquet"),
        ("t000000000000.csv.gz", "t000000000001.csv.gz"),
        ("t/x.csv", "t/y.csv"),
        ("T/a=1/part-0.csv", "T/a=2/part-0.csv"),
        ("t.csv/part-00000-0c1d.csv.gz", "t.csv/part-00001-0c1d.csv.gz", "t.csv/_SUCCESS", "t.csv/.part-00000.crc"),
        ("t.parquet/part-00000.snappy.parquet", "t.parquet/part-00001.snappy.parquet", "t.parquet/_SUCCESS"),
    ],
)
def test_a_table_is_a_file_numbered_files_or_a_folder(
    connection: Connection, tmp_path: Path, names: tuple[str, ...]
) -> None:
    files = [name for name in names if name.lower().endswith((".csv", ".gz", ".parquet")) and "/." not in name]
    for name in set(names) - set(files):
        written(tmp_path / name, "not data")
    for number, name in enumerate(files, start=1):
        path, in_name = tmp_path / name, "=" in name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame({"b": ["x"]} if in_name else {"a": [str(number)], "b": ["x"]})
        if name.lower().endswith(".parquet"):
            frame.write_parquet(path)
        else:
            content = frame.write_csv().encode()
            path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    found = sorted(tuple(sorted(row)) for row in read(connection, tmp_path))
    assert found == [(str(number), "x") for number in range(1, len(files) + 1)]
    assert SourceFolder(tmp_path).unread == sorted({name.split("/")[0] for name in names})


def test_rows_of_parts_are_numbered_in_their_own_file(connection: Connection, tmp_path: Path) -> None:
    written(tmp_path / "t_1.csv", "a,b\n1,x\n")
    written(tmp_path / "t_2.csv", "a,b\n2,x\n3\n")
    with pytest.raises(InputError, match=r"t_2\.csv, row 3, column b: has too few fields"):
        read(connection, tmp_path)


def test_what_belongs_to_no_table_is_named(tmp_path: Path) -> None:
    for name in ("t.csv", "t_era.csv", "notes.xlsx", "u.csv.bz2", "_SUCCESS", ".hidden", "more/x.csv"):
        written(tmp_path / name, "a\n")
    folder = SourceFolder(tmp_path)
    assert [part.path.name for part in folder.take("t")] == ["t.csv"]
    assert folder.unread == ["more", "notes.xlsx", "t_era.csv", "u.csv.bz2"]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("t.csv", "t.parquet"), "both t.csv and t.parquet hold table t"),
        (("t.csv", "t_2.csv"), "both t.csv and t_2.csv hold table t"),
        (("t/a.csv", "t/b.parquet"), "parts of two kinds"),
        (("t-0-of-3.csv", "t-1-of-3.csv"), "has 2 parts of 3"),
        (("t/readme.txt",), "holds no file that can be read"),
    ],
)
def test_folders_that_leave_doubt_are_refused(tmp_path: Path, names: tuple[str, ...], problem: str) -> None:
    for name in names:
        written(tmp_path / name, "a\n")
    with pytest.raises(InputError, match=problem):
        SourceFolder(tmp_path).take("t")


def test_parts_with_other_columns_are_refused(connection: Connection, tmp_path: Path) -> None:
    written(tmp_path / "t_1.csv", "a,b\n1,x\n")
    written(tmp_path / "t_2.csv", "a,c\n2,x\n")
    with pytest.raises(InputError, match=r"t_2\.csv, column b: is not in all parts"):
        read(connection, tmp_path)


def test_parquet_times_with_a_zone_need_to_be_told_whose_clock(connection: Connection, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": ["2020-01-01 05:30:00"]}).with_columns(pl.col("a").str.to_datetime(time_zone="UTC"))
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column a: holds times with a time zone") as caught:
        read(connection, tmp_path)
    assert "--time-zone" in str(caught.value.hint)
    assert read(connection, tmp_path, FileRules(time_zone="America/New_York")) == [("2020-01-01 00:30:00",)]


def test_parquet_columns_of_any_kind_are_read(connection: Connection, tmp_path: Path) -> None:
    columns = {
        "a": [b"x"],
        "b": [{"c": [1]}],
        "c": [timedelta(days=1)],
        "d": pl.Series([[1, 2]], dtype=pl.Array(int, 2)),
    }
    pl.DataFrame({**columns, "e": [Decimal("1.50")], "f": [time(8)]}).write_parquet(tmp_path / "t.parquet")
    assert read(connection, tmp_path) == [("x", '{"c":[1]}', "P1D", "[1,2]", "1.50", "08:00:00.000000000")]


def test_links_are_followed_once(connection: Connection, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    written(elsewhere / "x.csv", "a\n1\n")
    written(tmp_path / "source" / "t" / "y.csv", "a\n2\n")
    (tmp_path / "source" / "t" / "linked").symlink_to(elsewhere)
    (elsewhere / "again").symlink_to(elsewhere)
    assert read(connection, tmp_path / "source") == [("1",), ("2",)]


def test_a_column_of_the_file_comes_before_one_of_its_folder(connection: Connection, tmp_path: Path) -> None:
    written(tmp_path / "t" / "b=9" / "x.csv", "a,b\n1,2\n")
    assert read(connection, tmp_path) == [("1", "2")]


def test_names_of_files_are_no_patterns(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    pl.DataFrame({"a": ["1"]}).write_parquet(tmp_path / "t" / "[a]*.parquet")
    assert read(connection, tmp_path) == [("1",)]


@pytest.mark.parametrize("form", ["utf16", "cr-only", "upper-gz", "upper-parquet"])
def test_shared_file_forms_are_read(connection: Connection, form: str) -> None:
    folder = SourceFolder(shared(f"cases/24-file-forms/{form}"))
    with connection.transaction(force_rollback=True):
        assert [copy_table(connection, folder.require(name), name) for name in ("person", "measurement")] == [2, 2]
