"""`ehrdb load omop | meds | ehrshot | fhir | labels | map`; `ehrdb check` takes the same sources and options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import Parameter
from inspect import signature as signature_of
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.table import Table

from ehrdb.check import Load
from ehrdb.cli.check_report import load_sections, show_sections
from ehrdb.cli.common import Json, current_database, err, out, print_json
from ehrdb.cli.label import show_labels
from ehrdb.errors import ConfigError
from ehrdb.events import (
    ConceptField,
    DatePolicy,
    EhrshotOptions,
    LoadResult,
    OmopOptions,
    load_ehrshot,
    load_omop,
    load_omop_schema,
)
from ehrdb.events.code_map import MapResult, drop_map, load_built_in_map, load_map, load_map_schema
from ehrdb.events.merge import load
from ehrdb.events.portions import PATIENTS, portioned

app = typer.Typer(no_args_is_help=True, help="Load records from OMOP, MEDS, EHRSHOT or FHIR; again and again.")
SOURCES: list[Callable[..., Load]] = []
Directory = Annotated[Path, typer.Argument(help="Folder with the files")]
Source = Annotated[str | None, typer.Option(help="Name of the source; a load replaces only its own patients.")]
KeepMissing = Annotated[bool, typer.Option(help="Keep patients that the source no longer has.")]
AllowMissing = Annotated[
    list[str] | None,
    typer.Option(help="Table (or table.column) that the last load had and that may be gone; repeatable."),
]
AllowReturn = Annotated[bool, typer.Option(help="Take in patients who were purged.")]
Quoted = Annotated[list[str] | None, typer.Option(help="Table whose files quote by RFC 4180; repeatable.")]
Unquoted = Annotated[
    list[str] | None, typer.Option(help="Table whose files do not quote: a quote is text; repeatable.")
]


ReadAll = Annotated[
    bool, typer.Option(help="Read patients too whose rows are as at the last load. The report is of all then.")
]
Workers = Annotated[int | None, typer.Option(min=1, max=64, help="Load in portions of patients, so many side by side.")]
PortionSize = Annotated[
    int | None, typer.Option("--portion", min=1, max=2**31 - 1, help=f"Patients of a portion (default: {PATIENTS}).")
]


def source_command(read: Callable[..., Load], *, in_portions: bool = False) -> Callable[..., Load]:
    """Add `ehrdb load NAME`, with the options of what reads the source, and those of portions where it has some."""

    def command(*, workers: int | None = None, portion: int | None = None, json: bool, **options: Any) -> None:
        chosen = read(**options)
        run = portioned(workers or 1, portion or PATIENTS) if workers or portion else load
        with current_database() as database:
            show(chosen(database, run), json)

    command.__doc__ = read.__doc__
    further = {"workers": Workers, "portion": PortionSize} if in_portions else {}
    app.command(read.__name__)(with_options(command, read, **further, json=Json))
    SOURCES.append(read)
    return read


def with_options(command: Callable[..., None], read: Callable[..., Load], **further: Any) -> Callable[..., None]:
    """The command as typer sees it: what `read` takes, and further options, which are off."""
    signature = signature_of(read, eval_str=True)
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None if name != "json" else False, annotation=kind)
        for name, kind in further.items()
    ]
    taken = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
    command.__signature__ = signature.replace(parameters=[*taken, *options])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in [*taken, *options]}
    return command


@partial(source_command, in_portions=True)
def omop(
    directory: Annotated[Path | None, typer.Argument(help="Folder with CDM tables as CSV or parquet")] = None,
    schema: Annotated[str | None, typer.Option(help="Or: a CDM schema of the same database.")] = None,
    vocab_schema: Annotated[str | None, typer.Option(help="Where its vocabulary is, if elsewhere.")] = None,
    source: Source = "omop",
    keep_missing: KeepMissing = False,
    allow_missing: AllowMissing = None,
    allow_return: AllowReturn = False,
    skip_bad_rows: Annotated[
        bool, typer.Option(help="Load the rest and count rejected rows, instead of refusing the load.")
    ] = False,
    date_only: Annotated[
        DatePolicy, typer.Option(help="What a date without a time means: 23:59 of that day, or 00:00.")
    ] = OmopOptions.date_only,
    concept_order: Annotated[
        str, typer.Option(help="Which concept an event takes, the first that is there; 0 counts as missing.")
    ] = ",".join(OmopOptions.concept_order),
    inpatient_concept: Annotated[
        list[int] | None, typer.Option(help="Visit concept of inpatient stays; repeatable (default: 9201 and 262).")
    ] = None,
    icu_concept: Annotated[
        list[int] | None,
        typer.Option(help="Visit detail concept of intensive care; repeatable (default: 32037 and 581379)."),
    ] = None,
    quoted: Quoted = None,
    unquoted: Unquoted = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Clock of the patients, where times have a time zone (America/New_York).")
    ] = None,
    notes: Annotated[bool, typer.Option(help="Read table note too: its texts become events.")] = False,
    note_length: Annotated[
        int, typer.Option(help="Characters of a note that are kept, from its beginning.")
    ] = OmopOptions.note_length,
    read_all: ReadAll = False,
) -> Load:
    """Load OMOP CDM 5.3-5.5 tables.

    Example: `ehrdb load omop exports/` or `ehrdb load omop --schema cdm --vocab-schema vocab`

    Source codes before standard ones: `ehrdb load omop exports/ --concept-order source,standard`
    """
    if (directory is None) == (schema is None):
        raise ConfigError("name either a folder or --schema", hint="See `ehrdb load omop --help`.")
    options = OmopOptions(
        concept_order=_concept_order(concept_order),
        date_only=date_only,
        inpatient_concepts=tuple(inpatient_concept or OmopOptions.inpatient_concepts),
        icu_concepts=tuple(icu_concept or OmopOptions.icu_concepts),
        skip_bad_rows=skip_bad_rows,
        keep_missing=keep_missing,
        allow_missing=tuple(allow_missing or ()),
        allow_return=allow_return,
        quoted=tuple(quoted or ()),
        unquoted=tuple(unquoted or ()),
        time_zone=time_zone,
        notes=notes,
        note_length=note_length,
        read_all=read_all,
    )
    name = source or "omop"
    if schema:
        return lambda database, run: load_omop_schema(database, schema, vocab_schema, options, source=name, run=run)
    assert directory is not None
    return lambda database, run: load_omop(database, directory, options, source=name, run=run)


def _concept_order(text: str) -> tuple[ConceptField, ...]:
    known: tuple[ConceptField, ...] = get_args(ConceptField)
    chosen = tuple(name for word in text.split(",") for name in known if name == word.strip())
    if len(chosen) != len(set(chosen)) or len(chosen) != len(text.split(",")):
        raise ConfigError(f"--concept-order {text} is unknown", hint=f"Choose from {', '.join(known)}, each once.")
    return chosen


@source_command
def ehrshot(
    directory: Directory,
    source: Source = "ehrshot",
    keep_missing: KeepMissing = False,
    allow_missing: AllowMissing = None,
    allow_return: AllowReturn = False,
    quoted: Quoted = None,
    unquoted: Unquoted = None,
) -> Load:
    """Load an EHRSHOT folder: ehrshot.csv (or data/*.csv) with its vocabulary, and splits where it has them.

    Labels as published: `ehrdb load labels EHRSHOT_ASSETS/benchmark`, afterwards.

    Example: `ehrdb load ehrshot EHRSHOT_ASSETS/`
    """
    options = EhrshotOptions(
        keep_missing,
        tuple(allow_missing or ()),
        allow_return,
        quoted=tuple(quoted or ()),
        unquoted=tuple(unquoted or ()),
    )
    return lambda database, run: load_ehrshot(database, directory, options, source=source or "ehrshot", run=run)


@app.command()
def labels(
    path: Annotated[Path, typer.Argument(help="Parquet or CSV file, or a folder of them")],
    task: Annotated[
        str | None, typer.Option(help="Whose labels; without it, a folder of TASK/labeled_patients.csv.")
    ] = None,
    json: Json = False,
) -> None:
    """Load labels made elsewhere (MEDS's label schema, EHRSHOT's CSV) in the place of what rules give.

    `ehrdb task remove TASK` removes them; a task of the benchmark then has its own rule again.

    Example: `ehrdb load labels mortality.parquet --task mortality`
    """
    from ehrdb.prediction.label_files import load_labels

    with current_database() as database:
        show_labels(load_labels(database, path, task), json)


@app.command("map")
def load_maps(
    file: Annotated[Path | None, typer.Argument(help="The map, as CSV or parquet")] = None,
    built_in: Annotated[
        list[str] | None, typer.Option(help="Or: icd, loinc or mimic, made for the benchmark's tasks; repeatable.")
    ] = None,
    schema: Annotated[str | None, typer.Option(help="Or: source_to_concept_map of a schema of this database.")] = None,
    vocab_schema: Annotated[str | None, typer.Option(help="Where its concept table is, if elsewhere.")] = None,
    drop: Annotated[str | None, typer.Option(help="Or: forget the map of this name.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the map; it replaces the one of that name.")] = None,
    vocabulary: Annotated[str | None, typer.Option(help="Vocabulary of codes that come without one (Usagi).")] = None,
    concepts: Annotated[
        Path | None, typer.Option(help="Athena's CONCEPT.csv, for target concepts that no load brought along.")
    ] = None,
    json: Json = False,
) -> None:
    """Map a source's codes to standard ones, so that tasks, categories and explanations understand them.

    The file has the columns code,standard_code (ICD10CM/I10,SNOMED/59621000; a * at the end of a code: all that begin
    so), or is a source_to_concept_map, a file of Usagi, or codes of MEDS with parent_codes. No event is changed.

    Example: `ehrdb load map --built-in icd --built-in loinc` or `ehrdb load map local.csv`
    """
    if sum(map(bool, (file, built_in, schema, drop))) != 1:
        raise ConfigError("name one of: a file, --built-in, --schema, --drop", hint="See `ehrdb load map --help`.")
    with current_database() as database:
        if drop:
            results = [MapResult(drop, 0, 0, patients=drop_map(database, drop))]
        elif schema:
            results = [load_map_schema(database, schema, vocab_schema, name=name or "source_to_concept_map")]
        elif file:
            results = [load_map(database, file, name=name, vocabulary=vocabulary, concepts=concepts)]
        else:
            results = [load_built_in_map(database, chosen) for chosen in built_in or ()]
    _show_maps(results, json)


def _show_maps(results: list[MapResult], json: bool) -> None:
    if json:
        print_json(results)
        return
    table = Table("map", "read", "loaded", "left out", "codes here", "patients to look at", show_edge=False)
    for result in results:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in result.left_out.items())
        counts = (f"{count:,}" for count in (result.rows_read, result.rows_loaded))
        table.add_row(result.map, *counts, reasons, f"{result.codes:,}", f"{result.patients:,}")
    out.print(table)
    for result in results:
        if result.prefix_sql:
            err.print(
                f"{result.map} has no code of here, but some end as its do. If they are the same: {result.prefix_sql}"
            )
    if any(result.patients for result in results):
        err.print("next: `ehrdb label`, then `ehrdb refresh`")


@partial(source_command, in_portions=True)
def meds(
    directory: Directory,
    visit_column: Annotated[
        str | None, typer.Option(help="Column that names an event's visit (MIMIC: hadm_id).")
    ] = None,
    unit_column: Annotated[str, typer.Option(help="Column that holds the unit of a number.")] = "unit",
    end_column: Annotated[str | None, typer.Option(help="Column that holds the end of an event.")] = None,
    admission: Annotated[str, typer.Option(help="Prefix of the codes that start a stay.")] = "HOSPITAL_ADMISSION",
    discharge: Annotated[str, typer.Option(help="Prefix of the codes that end a stay.")] = "HOSPITAL_DISCHARGE",
    icu_admission: Annotated[
        str, typer.Option(help="Prefix of the codes that start intensive care.")
    ] = "ICU_ADMISSION",
    icu_discharge: Annotated[str, typer.Option(help="Prefix of the codes that end intensive care.")] = "ICU_DISCHARGE",
    units_in_codes: Annotated[
        bool,
        typer.Option(
            "--units-in-codes/--no-units-in-codes",
            help="A number without a unit takes the one that its code ends with (LAB//50912//mg/dL).",
        ),
    ] = True,
    source: Source = "meds",
    keep_missing: KeepMissing = False,
    allow_missing: AllowMissing = None,
    allow_return: AllowReturn = False,
    read_all: ReadAll = False,
) -> Load:
    """Load a MEDS data set: data/**/*.parquet with its metadata.

    Example: `ehrdb load meds mimic-iv-demo-meds/ --visit-column hadm_id`
    """
    # Imported here: MEDS needs polars, other loads do not.
    from ehrdb.events.meds import MedsOptions, load_meds

    options = MedsOptions(
        visit_column=visit_column,
        unit_column=unit_column,
        end_column=end_column,
        admission=admission,
        discharge=discharge,
        icu_admission=icu_admission,
        icu_discharge=icu_discharge,
        units_in_codes=units_in_codes,
        keep_missing=keep_missing,
        allow_missing=tuple(allow_missing or ()),
        allow_return=allow_return,
        read_all=read_all,
    )
    return lambda database, run: load_meds(database, directory, options, source=source or "meds", run=run)


@source_command
def fhir(
    path: Annotated[Path, typer.Argument(help="Folder of a Bulk Data export or of bundles, or one file")],
    time_zone: Annotated[
        str | None, typer.Option(help="Clock of the patients; without it the digits of times are taken as local.")
    ] = None,
    date_only: Annotated[
        DatePolicy, typer.Option(help="What a date without time, day or month means: its last minute, or its first.")
    ] = "end_of_day",
    inpatient_class: Annotated[
        list[str] | None,
        typer.Option(help="Class of encounters that are inpatient stays; repeatable (default: IMP, ACUTE, NONAC)."),
    ] = None,
    code_order: Annotated[
        str | None, typer.Option(help="Vocabularies, of which the first names an event that has several codes.")
    ] = None,
    system: Annotated[
        list[str] | None, typer.Option(help="What a code system is called here, as URL=NAME; repeatable.")
    ] = None,
    identifier: Annotated[
        str | None, typer.Option(help="System of the identifier that is the patient's id, a whole number.")
    ] = None,
    skip_bad_rows: Annotated[
        bool, typer.Option(help="Load the rest and count rejected resources, instead of refusing the load.")
    ] = False,
    source: Source = "fhir",
    keep_missing: KeepMissing = False,
    allow_missing: AllowMissing = None,
    allow_return: AllowReturn = False,
) -> Load:
    """Load FHIR R4: the NDJSON of a Bulk Data export, or bundles.

    Example: `ehrdb load fhir export/` or `ehrdb load fhir bundles/ --time-zone America/New_York`
    """
    # Imported here: its models take a while, and other loads need none.
    from ehrdb.events.fhir import FhirOptions, load_fhir

    options = FhirOptions(
        time_zone=time_zone,
        date_only=date_only,
        inpatient_classes=tuple(inpatient_class or FhirOptions.inpatient_classes),
        code_order=tuple(code_order.split(",")) if code_order else FhirOptions.code_order,
        systems=tuple(system or ()),
        identifier=identifier,
        skip_bad_rows=skip_bad_rows,
        keep_missing=keep_missing,
        allow_missing=tuple(allow_missing or ()),
        allow_return=allow_return,
    )
    return lambda database, run: load_fhir(database, path, options, source=source or "fhir", run=run)


def show(result: LoadResult, json: bool) -> None:
    """Print what a load did."""
    if json:
        print_json(result)
        return
    show_sections(load_sections(result))
    counts_text = f"{result.new} new, {result.changed} changed, {result.unchanged} unchanged, {result.removed} removed"
    err.print(counts_text if result.anything_changed else f"nothing changed ({result.unchanged} patients)")
    if result.unread:
        err.print(f"the tables are of the others: the rows of {result.unread} patients are as before (--read-all)")
    if result.concepts or result.affected:
        err.print(f"{result.concepts} codes described or related otherwise, {result.affected} patients looked at again")
    if result.left_out:
        err.print(f"{result.left_out} purged patients left out (--allow-return takes them in)")
