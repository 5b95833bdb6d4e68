"""MEDS data sets (Medical Event Data Standard 0.3.3 and 0.4): parquet in, parquet out."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from ehrdb import __version__
from ehrdb.database import Connection, Database
from ehrdb.errors import ConfigError, InputError
from ehrdb.events import changes
from ehrdb.events.folder import content_digest, digest_files, files_below
from ehrdb.events.merge import (
    EVERYBODY,
    LoadOptions,
    LoadResult,
    Portion,
    Run,
    TableReport,
    found_table,
    load,
    number_events,
    report_unread,
)
from ehrdb.events.shards import Shard, Shards
from ehrdb.events.units import known_units
from ehrdb.extras import missing_extra
from ehrdb.parquet import is_time
from ehrdb.private import make_private
from ehrdb.queries import Queries

_queries = Queries("ehrdb.events", "meds.sql")
_BATCH = 200_000
LONGEST_CODE = 2000
"""Bytes of a code: what the server's index takes."""
_SPLITS = {"train": "train", "tuning": "val", "held_out": "test"}
_SPLIT_NAMES = {
    **_SPLITS,
    **dict.fromkeys(("training",), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "heldout"), "test"),
}
_VOCABULARIES = {"loinc": "LOINC", "snomed": "SNOMED", "rxnorm": "RxNorm"}
_METADATA = ("metadata/codes.parquet", "metadata/subject_splits.parquet", "metadata/dataset.json")
_END_COLUMNS = ("end", "end_time", "time_end", "end_datetime")
_VISIT_CLASSES = ("inpatient", "emergency", "outpatient", "icu", "other")
_VISIT_NAMES = {"visit_occurrence_id", "hadm_id", "encounter_id", "visit_id", "stay_id", "admission_id"}
_UNIT_NAMES = {"units", "unit_source_value", "unit_concept_id", "valueuom", "uom"}
"""Columns that may be what an option should name."""
_KNOWN = {"subject_id", "time", "code", "numeric_value", "text_value", "table", "visit_class"}
_EXPORTED = ("unit", "end", "visit_class", "table")
"""What an export adds to the columns of MEDS, beside the visit."""
_EVENT_TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "subject_id": pl.Int64,
    "time": pl.Datetime("us"),
    "code": pl.String,
    "numeric_value": pl.Float32,
    "text_value": pl.String,
}


@dataclass(frozen=True)
class MedsOptions(LoadOptions):
    """What MEDS leaves to the data set.

    Attributes:
        visit_column: column that names the visit of an event (MIMIC: hadm_id); None takes visit_id where it is there.
        unit_column: column that holds the unit of a number.
        end_column: column that holds the end of an event; None takes end, end_time, time_end or end_datetime.
        admission, discharge: prefixes of the codes that start and end an inpatient visit.
        icu_admission, icu_discharge: the same for intensive care.
        units_in_codes: a number without a unit takes the one that its code ends with (`LAB//50912//mg/dL`).
    """

    visit_column: str | None = None
    unit_column: str = "unit"
    end_column: str | None = None
    admission: str = "HOSPITAL_ADMISSION"
    discharge: str = "HOSPITAL_DISCHARGE"
    icu_admission: str = "ICU_ADMISSION"
    icu_discharge: str = "ICU_DISCHARGE"
    units_in_codes: bool = True


def load_meds(
    database: Database, directory: Path, options: MedsOptions | None = None, *, source: str = "meds", run: Run = load
) -> LoadResult:
    """Load `data/**/*.parquet` with `metadata/codes.parquet` and `subject_splits.parquet` where present.

    Events without time are static: known always. Columns that MEDS does not name are kept. Raises InputError
    naming the file and column; nothing is written then.
    """
    chosen = options or MedsOptions()
    by_patients = MedsByPatients(directory, chosen)
    return run(
        database,
        source,
        by_patients.whole,
        chosen,
        digest=lambda: digest_files(directory, chosen),
        by_patients=by_patients,
    )


def export_meds(database: Database, directory: Path, *, visit_column: str = "visit_id") -> int:
    """Write all events as a MEDS 0.4 data set into a new folder; returns their number.

    Written beside and renamed at the end. Raises InputError where the folder exists, ConfigError for the name of
    another column.
    """
    try:
        import pyarrow  # noqa: F401  # before anything is written
    except ModuleNotFoundError as error:
        raise missing_extra(error) or error from None
    if directory.exists():
        raise InputError("exists already", file=directory, hint="Name a new folder.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent) as temporary, database.transaction() as connection:
        work = Path(temporary) / "meds"
        (work / "data").mkdir(parents=True)
        (work / "metadata").mkdir()
        events = _export_events(connection, work, visit_column)
        _export_codes(connection, work)
        _export_splits(connection, work)
        _write_dataset(work)
        make_private(work)
        shutil.move(work, directory)
    return events


class MedsByPatients:
    """MEDS by some subjects at a time: of each shard that holds one of them who is to be read, their rows.

    A subject is to be read where a shard that holds them is another than at the last load, or their split is.
    """

    digests_are_whole = False

    def __init__(self, directory: Path, options: MedsOptions) -> None:
        self._directory, self._options = directory, options
        self._shards = Shards({})
        self._columns: set[str] = set()
        self._visits_are_named = False
        self._rules = b""

    def bounds(self, connection: Connection, size: int) -> list[int]:
        """By all shards' subjects."""
        return list(self._look().subjects().gather_every(size))

    def share(self, connection: Connection) -> tuple[bytes | None, list[TableReport]]:
        """Nothing but the rules: descriptions come with each portion, who needs some of them."""
        return self._rules, []

    def stage(self, connection: Connection, portion: Portion) -> Iterator[TableReport]:
        """Their events, visits and demographics."""
        list(_stage_codes(connection, _codes(self._directory)))
        yield self._stage_rows(connection, portion)

    def describe(self, connection: Connection) -> Iterator[TableReport]:
        """All codes that the data set describes."""
        yield from _stage_codes(connection, _codes(self._directory))
        yield from _not_read(self._directory)

    def whole(self, connection: Connection) -> Iterator[TableReport]:
        """Everybody who is to be read, and the codes."""
        self._look()
        codes = list(_stage_codes(connection, _codes(self._directory)))
        yield self._stage_rows(connection, EVERYBODY)
        yield from codes
        yield from _not_read(self._directory)

    def _stage_rows(self, connection: Connection, portion: Portion) -> TableReport:
        found_table(connection, "data", _meant(self._options) & self._columns)
        splits = _splits(connection, self._directory / "metadata" / "subject_splits.parquet")
        digests = self._shards.digests(portion.low, portion.high, splits)
        _copy(connection, _queries.copy_digests, digests)
        subjects, wanted = digests["patient_id"], pl.col("subject_id").is_between(portion.low, portion.high)
        if len(subjects) and changes.compare_digests(connection, self._rules):
            subjects = pl.Series(changes.to_read(connection), dtype=pl.Int64)
            wanted = pl.col("subject_id").is_in(subjects.implode())
        files = self._shards.holding(subjects)
        report = _stage_events(connection, files, wanted, self._options)
        self._make_visits(connection, report)
        report.reasons |= _unused(self._shards.files, self._options)
        _stage_patients(connection, splits.filter(wanted))
        return report

    def _make_visits(self, connection: Connection, report: TableReport) -> None:
        """Of admissions, where no file says itself which events are visits; and number the events."""
        if "visit_class" not in self._columns:
            connection.execute(_queries.mark_visits, vars(self._options))
            connection.execute(_queries.mark_encounters)
        if not self._visits_are_named:
            inside = connection.execute(_queries.stand_in_visits).rowcount
            report.reasons |= _without_zeros({"put into a visit by their time": inside})
        connection.execute(_queries.remarks)
        number_events(connection)

    def _look(self) -> Shards:
        files = _files(self._directory, self._options)
        self._shards = Shards({file: _shard(file) for file in files})
        self._columns = _columns(files)
        self._visits_are_named = any(_names_visits(file, self._options) for file in files)
        self._rules = self._digest_rules()
        return self._shards

    def _digest_rules(self) -> bytes:
        """Of what all subjects are read by: settings, this program, what some file has, names of races."""
        of_files = (self._visits_are_named, "visit_class" in self._columns, _names_of_races(_codes(self._directory)))
        settings = (__version__, replace(self._options, read_all=False))
        return hashlib.sha256(repr((settings, of_files)).encode()).digest()


def _files(directory: Path, options: MedsOptions) -> list[Path]:
    files = [path for path in files_below(directory / "data") if _is_data(path.relative_to(directory))]
    if not files:
        raise InputError("has no data/**/*.parquet", file=directory, hint="Name the root of a MEDS data set.")
    _require_columns(directory / "data", files, options)
    return files


def _columns(files: list[Path]) -> set[str]:
    return {name for file in files for name in _schema(file)}


def _codes(directory: Path) -> Path:
    return directory / "metadata" / "codes.parquet"


def _shard(file: Path) -> Shard:
    _check_columns(file, _schema(file))
    subject = pl.col("subject_id").cast(pl.Int64, strict=False).unique()
    digest = content_digest(file)
    try:
        found = pl.scan_parquet(file, hive_partitioning=False, glob=False).select(subject).collect().to_series()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"is not readable parquet ({type(error).__name__})", file=file) from None
    return Shard(digest, found.drop_nulls(), has_nobody=bool(found.null_count()) or found.is_empty())


def _names_visits(file: Path, options: MedsOptions) -> bool:
    name = options.visit_column or "visit_id"
    if name not in _schema(file):
        return False
    batches = pl.scan_parquet(file, hive_partitioning=False, glob=False).select(name).collect_batches(chunk_size=_BATCH)
    return any(batch.select(_id_column(batch, name).is_not_null().any()).item() for batch in batches)


def _stage_events(connection: Connection, files: list[Path], wanted: pl.Expr, options: MedsOptions) -> TableReport:
    """The files' rows that are wanted as events."""
    rows = taken = from_codes = 0
    is_unit = known_units(connection)
    for file in files:
        read = 0
        for batch in _batches(file):
            _check_rows(file, batch, read)
            staged = _as_staged(file, batch, options, rows).filter(wanted)
            if options.units_in_codes:
                staged, count = _with_units_of_codes(staged, is_unit)
                from_codes += count
            _copy(connection, _queries.copy_events, staged)
            read += len(batch)
            rows += len(batch)
            taken += len(staged)
    return TableReport("data", taken, taken, reasons=_without_zeros({"units taken from the code": from_codes}))


def _stage_patients(connection: Connection, splits: pl.DataFrame) -> None:
    connection.execute(_queries.split_table)
    _copy(connection, _queries.copy_splits, splits)
    connection.execute(_queries.stage_patients)


def _meant(options: MedsOptions) -> set[str]:
    """Columns whose meaning ehrdb knows."""
    named = {options.unit_column, options.visit_column or "visit_id", options.end_column or "end"}
    return {*_KNOWN, *named}


def _unused(files: list[Path], options: MedsOptions) -> dict[str, int]:
    """Columns that are kept but not understood, where they may be what an option should name."""
    present = {name.lower(): name for file in files for name in _schema(file)}
    found = {}
    if options.visit_column is None and "visit_id" not in present:
        found["--visit-column"] = _VISIT_NAMES & set(present)
    if options.unit_column not in present:
        found["--unit-column"] = _UNIT_NAMES & set(present)
    return {
        f"column {present[name]} is not used: see {option}": 0
        for option, names in found.items()
        for name in sorted(names)
    }


def _is_data(path: Path) -> bool:
    return path.parts[0] == "data" and path.name.lower().endswith(".parquet") and not _is_hidden(path)


def _is_hidden(path: Path) -> bool:
    return any(name.startswith((".", "_")) for name in path.parts)


def _require_columns(data: Path, files: list[Path], options: MedsOptions) -> None:
    """Columns that the options name are in some file: a misspelt one would lose all visits."""
    present = sorted({name for file in files for name in _schema(file)})
    for name in filter(None, (options.visit_column, options.end_column)):
        if name not in present:
            raise InputError(
                "is in none of the files", file=data, column=name, hint=f"They have: {', '.join(present)}."
            )


def _not_read(directory: Path) -> Iterator[TableReport]:
    """What stands in the folders and is no part of a MEDS data set."""
    names = (path.relative_to(directory) for path in files_below(directory))
    yield from report_unread(str(name) for name in names if not _is_known(name))


def _is_known(path: Path) -> bool:
    return _is_hidden(path) or _is_data(path) or str(path) in _METADATA


def _schema(file: Path) -> pl.Schema:
    try:
        return pl.scan_parquet(file, hive_partitioning=False).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"is not readable parquet ({type(error).__name__})", file=file) from None


def _batches(file: Path) -> Iterator[pl.DataFrame]:
    _check_columns(file, _schema(file))
    try:
        yield from pl.scan_parquet(file, hive_partitioning=False, glob=False).collect_batches(
            chunk_size=_BATCH, maintain_order=True
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"is not readable parquet ({type(error).__name__})", file=file) from None


def _check_columns(file: Path, schema: pl.Schema) -> None:
    for name in ("subject_id", "time", "code"):
        if name not in schema:
            raise InputError("is missing", file=file, column=name)
    if not schema["subject_id"].is_integer():
        raise InputError("does not hold whole numbers", file=file, column="subject_id")
    time = schema["time"]
    if time != pl.Null and (not isinstance(time, pl.Datetime) or time.time_zone is not None):
        raise InputError(
            "does not hold timestamps without time zone",
            file=file,
            column="time",
            hint="MEDS times are local; drop the zone when you write the file.",
        )
    number = schema.get("numeric_value", pl.Null())
    if number != pl.Null and not number.is_numeric():
        raise InputError("does not hold numbers", file=file, column="numeric_value")
    for name in ("code", "text_value"):
        if name in schema and schema[name].is_nested():
            raise InputError("does not hold texts", file=file, column=name)


def _check_rows(file: Path, batch: pl.DataFrame, first_row: int) -> None:
    """Raise InputError for the first row that no event can be made of."""
    code, time = pl.col("code").cast(pl.String), pl.col("time")
    rules = (
        *_rules_of_visits(batch),
        ("subject_id", pl.col("subject_id").cast(pl.Int64, strict=False).is_null(), "is not a 64-bit whole number"),
        ("code", code.is_null() | (code == ""), "is empty"),
        ("code", code.str.len_bytes() > LONGEST_CODE, f"is longer than {LONGEST_CODE} bytes"),
        ("code", code.str.contains("\x00", literal=True), "holds a zero byte"),
        (
            "time",
            ~time.cast(pl.Datetime("us")).is_between(datetime(1, 1, 1), datetime(9999, 12, 31)),
            "is outside the years 1 to 9999",
        ),
    )
    for column, broken, problem in rules:
        found = batch.select(broken.fill_null(False)).to_series()
        if found.any():
            raise InputError(problem, file=file, row=first_row + int(found.arg_max() or 0) + 1, column=column)


def _rules_of_visits(batch: pl.DataFrame) -> list[tuple[str, pl.Expr, str]]:
    if "visit_class" not in batch.columns:
        return []
    unknown = ~pl.col("visit_class").cast(pl.String).is_in(_VISIT_CLASSES)
    return [("visit_class", unknown, f"is none of {', '.join(_VISIT_CLASSES)}")]


def _as_staged(file: Path, batch: pl.DataFrame, options: MedsOptions, first_row: int) -> pl.DataFrame:
    """A batch in the columns of event_staging that COPY fills."""
    optional = {"numeric_value": pl.Float32, "text_value": pl.String}
    batch = batch.with_columns(
        *(pl.lit(None, kind).alias(name) for name, kind in optional.items() if name not in batch.columns)
    )
    # PostgreSQL's text has no zero bytes; nothing else of a text is changed.
    batch = batch.with_columns(pl.col(pl.String).str.replace_all("\x00", "", literal=True))
    visit_column = options.visit_column or "visit_id"
    end_column = options.end_column or next((name for name in _END_COLUMNS if name in batch.columns), None)
    named = {options.unit_column, visit_column, end_column}
    others = [name for name in batch.columns if name not in _KNOWN | named]
    bare = [pl.col(name).bin.encode("hex") for name in others if batch.schema[name] == pl.Binary]  # JSON has no bytes
    batch = batch.with_columns(bare)
    return batch.select(
        pl.col("subject_id").cast(pl.Int64),
        pl.int_range(first_row, first_row + pl.len()),
        pl.col("time").cast(pl.Datetime("us")).dt.to_string("%Y-%m-%d %H:%M:%S%.6f").fill_null("-infinity"),
        pl.col("code").cast(pl.String),
        pl.col("numeric_value").cast(pl.Float32),
        pl.col("text_value").cast(pl.String),
        _column(batch, options.unit_column).alias("unit"),
        _id_column(batch, visit_column).alias("visit"),
        _column(batch, "visit_class").alias("visit_class"),
        _column(batch, "table").alias("table"),
        _end_column(file, batch, end_column).alias("end_time"),
        (pl.struct(others).struct.json_encode() if others else pl.lit(None, pl.String)).alias("extra"),
    )


def _with_units_of_codes(staged: pl.DataFrame, is_unit: Callable[[str], bool]) -> tuple[pl.DataFrame, int]:
    """Numbers without a unit take the one behind the second or a later // of their code; returns how many did."""
    bare = pl.col("unit").is_null() & pl.col("numeric_value").is_not_null()
    parts = pl.col("code").str.split("//")  # of two the second is what was measured: LAB//pH
    ending = pl.when(parts.list.len() > 2).then(parts.list.last())
    endings = staged.filter(bare).select(ending.unique().drop_nulls()).to_series()
    units = [unit for unit in endings if is_unit(unit)]
    found = bare & ending.is_in(units)
    count = int(staged.select(found.sum()).item() or 0)
    return staged.with_columns(pl.when(found).then(ending).otherwise(pl.col("unit")).alias("unit")), count


def _column(batch: pl.DataFrame, name: str | None) -> pl.Expr:
    return pl.col(name).cast(pl.String) if name in batch.columns else pl.lit(None, pl.String).alias("none")


def _id_column(batch: pl.DataFrame, name: str) -> pl.Expr:
    """Ids as text, 11 and 11.0 alike; NaN is none."""
    if name in batch.columns and batch.schema[name].is_float():
        number = pl.col(name).fill_nan(None)
        whole = number.cast(pl.Int64, strict=False)
        return pl.when(whole == number).then(whole.cast(pl.String)).otherwise(number.cast(pl.String))
    return _column(batch, name).str.replace(r"^\s*([+-]?\d+)(\.0*)?\s*$", "$1").replace(["", "NaN", "nan"], None)


def _end_column(file: Path, batch: pl.DataFrame, name: str | None) -> pl.Expr:
    if name is None or name not in batch.columns or batch.schema[name] == pl.Null:
        return pl.lit(None, pl.String)
    if batch.schema[name] == pl.Date or not is_time(batch.schema[name]):
        raise InputError("does not hold timestamps without time zone", file=file, column=name)
    return pl.col(name).dt.to_string("%Y-%m-%d %H:%M:%S%.6f")


def _copy(connection: Connection, statement: bytes, frame: pl.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.write_csv(buffer, include_header=False)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(buffer.getvalue())


def _stage_codes(connection: Connection, file: Path) -> Iterator[TableReport]:
    if not file.exists():
        return
    codes = _read_metadata(file, "code")
    found_table(connection, "codes", {"code", "description", "parent_codes"} & set(codes.columns))
    for name in ("description", "parent_codes"):
        if name not in codes.columns:
            codes = codes.with_columns(pl.lit(None, pl.String).alias(name))
    # The tools of MEDS add a row without code that sums up all others, and rows of one code that differ in a modifier.
    named = codes.filter(pl.col("code").is_not_null()).select(
        pl.col("code").cast(pl.String), _joined(file, codes, "description"), _listed(file, codes, "parent_codes")
    )
    described = named.group_by("code", maintain_order=True).agg(pl.col("description").drop_nulls().first())
    _copy(connection, _queries.copy_codes, described)
    parents = named.select("code", "parent_codes").explode("parent_codes")
    parents = pl.concat([parents, *_mapped(codes)])
    _copy(connection, _queries.copy_parents, parents.drop_nulls().unique(maintain_order=True))
    yield _codes_report(len(codes), named, len(described))


def _names_of_races(file: Path) -> list[tuple[object, ...]]:
    """Descriptions that become what a patient is."""
    if not file.exists():
        return []
    codes = _read_metadata(file, "code").with_columns(pl.col("code").cast(pl.String))
    is_race = pl.col("code").str.starts_with("Race/") | pl.col("code").str.starts_with("Ethnicity/")
    return codes.filter(is_race).select(pl.col("^(code|description)$")).rows()


def _mapped(codes: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Parents from columns that are named after a vocabulary and hold its codes."""
    columns = {name: name.lower().removesuffix("_code") for name in codes.columns}
    for name, vocabulary in columns.items():
        if vocabulary in _VOCABULARIES and codes.schema[name] == pl.String:
            code = pl.concat_str(pl.lit(_VOCABULARIES[vocabulary] + "/"), pl.col(name).replace("", None))
            yield codes.select(pl.col("code").cast(pl.String), code.alias("parent_codes"))


def _codes_report(rows: int, named: pl.DataFrame, codes: int) -> TableReport:
    texts = named.group_by("code").agg(pl.col("description").drop_nulls().n_unique())
    reasons = {
        "rows without a code, left out": rows - len(named),
        "further rows of a code": len(named) - codes,
        "codes with several descriptions, the first taken": int((texts["description"] > 1).sum()),
    }
    return TableReport("codes", rows, len(named), rows_rejected=rows - len(named), reasons=_without_zeros(reasons))


def _without_zeros(reasons: dict[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in reasons.items() if count}


def _joined(file: Path, frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column of texts, or of lists of texts, as text."""
    kind = frame.schema[name]
    if isinstance(kind, pl.List) and kind.inner in (pl.String, pl.Null):
        return pl.col(name).cast(pl.List(pl.String)).list.drop_nulls().list.join("; ").replace("", None)
    _require_text(file, name, kind)
    return pl.col(name).cast(pl.String)


def _listed(file: Path, frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column of lists of texts, or of texts, as lists."""
    kind = frame.schema[name]
    if isinstance(kind, pl.List) and kind.inner in (pl.String, pl.Null):
        return pl.col(name).cast(pl.List(pl.String))
    _require_text(file, name, kind)
    text = pl.col(name).cast(pl.String)
    is_list = text.str.contains(r"^\s*\[.*\]\s*$")  # a list that was written as text
    return pl.when(is_list).then(text.str.extract_all(r"[^\[\]'\",\s][^\[\]'\",]*")).otherwise(pl.concat_list(text))


def _require_text(file: Path, column: str, kind: pl.DataType) -> None:
    if kind not in (pl.String, pl.Null, pl.Categorical, pl.Enum):
        raise InputError("holds neither texts nor lists of texts", file=file, column=column)


def _splits(connection: Connection, file: Path) -> pl.DataFrame:
    """subject_id, split: ours; each subject once."""
    if not file.exists():
        return pl.DataFrame(schema={"subject_id": pl.Int64, "split": pl.String})
    splits = _read_metadata(file, "subject_id", "split")
    found_table(connection, "subject_splits", ("subject_id", "split"))
    if not splits.schema["subject_id"].is_integer():
        raise InputError("does not hold whole numbers", file=file, column="subject_id")
    _refuse(file, splits, "subject_id", pl.col("subject_id").is_null() | pl.col("subject_id").is_duplicated())
    name = pl.col("split").cast(pl.String).str.to_lowercase().str.replace_all(r"[ -]", "_")
    unknown = splits.filter(name.is_not_null() & ~name.is_in(list(_SPLIT_NAMES)))
    if len(unknown):
        raise InputError(
            f"split {unknown['split'][0]!r} is unknown",
            file=file,
            column="split",
            hint="MEDS names them train, tuning and held_out; training, validation and test are understood.",
        )
    return splits.select(pl.col("subject_id").cast(pl.Int64), name.replace_strict(_SPLIT_NAMES, default=None))


def _refuse(file: Path, frame: pl.DataFrame, column: str, bad: pl.Expr) -> None:
    found = frame.select(bad).to_series()
    if found.any():
        raise InputError("is empty or stands twice", file=file, row=int(found.arg_max() or 0) + 1, column=column)


def _read_metadata(file: Path, *required: str) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(file, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"is not readable parquet ({type(error).__name__})", file=file) from None
    for name in required:
        if name not in frame.columns:
            raise InputError("is missing", file=file, column=name)
    return frame


def _export_events(connection: Connection, work: Path, visit_column: str) -> int:
    extra = _extra_columns(connection)
    if visit_column in {*_EVENT_TYPES, *_EXPORTED, *extra}:
        raise ConfigError(
            f"--visit-column {visit_column} is a column of its own in this data",
            hint="Name the visits' column otherwise.",
        )
    buffered = work / "events.csv"
    with buffered.open("wb") as stream, connection.cursor() as cursor, cursor.copy(_queries.export_events) as copy:
        for chunk in copy:
            stream.write(chunk)
    frame = pl.scan_csv(
        buffered,
        schema={**_EVENT_TYPES, "time": pl.String, **dict.fromkeys(("visit", *_EXPORTED, "extra"), pl.String)},
        glob=False,
    ).with_columns(pl.col("time", "end").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us"))
    if extra:
        frame = frame.with_columns(pl.col("extra").str.json_decode(pl.Struct(extra))).unnest("extra")
    else:
        frame = frame.drop("extra")
    frame.rename({"visit": visit_column}).sink_parquet(work / "data" / "0.parquet")
    buffered.unlink()
    return _with_plain_strings(work / "data" / "0.parquet")


def _extra_columns(connection: Connection) -> dict[str, pl.DataType]:
    kinds: dict[str, pl.DataType] = {"number": pl.Float64(), "boolean": pl.Boolean(), "integer": pl.Int64()}
    rows = connection.execute(_queries.extra_columns)
    return {name: kinds.get(kind, pl.String()) for name, kind in rows}


def _export_codes(connection: Connection, work: Path) -> None:
    rows = connection.execute(_queries.export_codes).fetchall()
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "code": pl.String,
        "description": pl.String,
        "parent_codes": pl.List(pl.String),
    }
    pl.DataFrame(rows, schema, orient="row").write_parquet(work / "metadata" / "codes.parquet")
    _with_plain_strings(work / "metadata" / "codes.parquet")


def _export_splits(connection: Connection, work: Path) -> None:
    names = {ours: theirs for theirs, ours in _SPLITS.items()}
    rows = [(patient, names.get(split, split)) for patient, split in connection.execute(_queries.export_splits)]
    frame = pl.DataFrame(rows, {"subject_id": pl.Int64, "split": pl.String}, orient="row")
    frame.write_parquet(work / "metadata" / "subject_splits.parquet")
    _with_plain_strings(work / "metadata" / "subject_splits.parquet")


def _with_plain_strings(file: Path) -> int:
    """Rewrite a file that polars wrote: MEDS's schemas want Arrow's plain strings and lists, all but for text_value.

    Returns the number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    def plain(kind: pa.DataType) -> pa.DataType:
        if pa.types.is_large_list(kind):
            return pa.list_(plain(kind.value_type))
        return pa.string() if pa.types.is_large_string(kind) else kind

    part = file.with_suffix(".part")
    with pq.ParquetFile(file) as source:
        fields = [f if f.name == "text_value" else f.with_type(plain(f.type)) for f in source.schema_arrow]
        schema = pa.schema(fields)
        with pq.ParquetWriter(part, schema) as writer:
            for batch in source.iter_batches():
                writer.write_table(pa.Table.from_batches([batch]).cast(schema))
        rows = source.metadata.num_rows
    part.replace(file)
    return int(rows)


def _write_dataset(work: Path) -> None:
    metadata = {
        "dataset_name": "ehrdb export",
        "etl_name": "ehrdb",
        "etl_version": __version__,
        "meds_version": "0.4.0",
        "created_at": datetime.now().isoformat(timespec="seconds"),
    }
    (work / "metadata" / "dataset.json").write_text(json.dumps(metadata, indent=1), encoding="utf-8")
