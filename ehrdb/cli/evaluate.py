"""`ehrdb evaluate`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ehrdb.cli.common import Beside, EncoderName, Json, current_client, err, out, print_json, require_folder
from ehrdb.cli.refresh import progress_bar
from ehrdb.errors import ConfigError
from ehrdb.private import write_private

if TYPE_CHECKING:
    from ehrdb.evaluation import PairedTest, Run
    from ehrdb.evaluation.evaluation import Evaluation
    from ehrdb.evaluation.question import Question
    from ehrdb.prediction.stored_counts import Counting


class Drawn(StrEnum):
    """What intervals draw."""

    PATIENTS = "patients"
    ROWS = "rows"


class Baseline(StrEnum):
    """What an encoder must beat."""

    COUNTS = "counts"
    DEMOGRAPHICS = "demographics"


class OtherHead(StrEnum):
    """What may stand on vectors instead of a logistic regression."""

    FOREST = "forest"
    PROTOTYPES = "prototypes"


Tasks = Annotated[
    list[str] | None, typer.Argument(help="Tasks of the database, as in `ehrdb label`; or findings: chexpert_edema.")
]
Baselines = Annotated[
    list[Baseline] | None,
    typer.Option("--baseline", help="Compare with code counts (two heads) or with age, sex and race; repeat it."),
]
WithCounts = Annotated[
    list[Beside] | None,
    typer.Option("--with", help="Compare with one head on the vector and code counts together (`ehrdb train --with`)."),
]
OtherHeads = Annotated[
    list[OtherHead] | None,
    typer.Option("--head", help="Compare with another head on the same vectors (a forest: on counts, too); repeat it."),
]
CountDays = Annotated[
    list[float] | None,
    typer.Option(
        "--count-days", help="Ends of the counts' age bins, in days; repeat it. Default: 30, 180, 365, 99999."
    ),
]
CountCodes = Annotated[
    Path | None,
    typer.Option("--count-codes", help="Count the codes in this file alone, one a line: those an encoder knows."),
]
CountDemographics = Annotated[
    bool, typer.Option("--count-demographics", help="Sex and race beside the counts, as in the UK Biobank study.")
]
Embeddings = Annotated[Path | None, typer.Option(help="Parquet: patient_id, prediction_time, embedding, task if any.")]
LabelFile = Annotated[
    Path | None, typer.Option("--labels", help="Parquet: patient_id, prediction_time, task, value, split.")
]
Shots = Annotated[
    list[int] | None,
    typer.Option("--k", help="Examples per class, -1 for every row; repeat it. Default: all of the paper's."),
]
Others = Annotated[
    list[str] | None,
    typer.Option("--compare", help="Another encoder to test against (with files: its embeddings); repeat it."),
]
First = Annotated[
    str | None,
    typer.Option(
        help="The model that is tested against each other one, by its name in the tables. Default: the encoder."
    ),
]
PatientFile = Annotated[
    Path | None,
    typer.Option(
        "--patients",
        help="Parquet: patient_id, birth_time, sex, race; adds a demographics baseline, subgroups.",
    ),
]
Probabilities = Annotated[Path | None, typer.Option(help="Write the test probabilities here (parquet).")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="Write one self-contained HTML file here.")]
AsTable = Annotated[
    bool,
    typer.Option(
        "--table", help="Print the paper's table: means of groups, model by model, above the figures that it published."
    ),
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the figures in ehr.evaluation, where the page shows them.")]
Workers = Annotated[int, typer.Option(help="Processes; the numbers do not depend on it.", min=1, max=256)]


def evaluate(
    tasks: Tasks = None,
    encoder: EncoderName = None,
    baselines: Baselines = None,
    beside: WithCounts = None,
    heads: OtherHeads = None,
    count_days: CountDays = None,
    count_codes: CountCodes = None,
    count_demographics: CountDemographics = False,
    others: Others = None,
    first: First = None,
    embeddings: Embeddings = None,
    labels: LabelFile = None,
    patients: PatientFile = None,
    k: Shots = None,
    replicates: Annotated[int, typer.Option(help="Samples for each k.", min=1)] = 5,
    probabilities: Probabilities = None,
    report: ReportFile = None,
    table: AsTable = False,
    keep: Keep = False,
    bootstrap: Annotated[Drawn, typer.Option(help="What the intervals draw.")] = Drawn.PATIENTS,
    max_iter: Annotated[int, typer.Option(help="Most iterations of a head's final fit.", min=1)] = 100,
    workers: Workers = 1,
    json: Json = False,
) -> None:
    """Evaluate an encoder by the paper's protocol: few-shot heads, metrics with intervals, paired tests.

    With tasks: the database's labels and vectors, made where they are missing; tasks that ask when (`kind: survival`)
    have C index and integrated Brier score. With --embeddings and --labels: files.

    Example: `ehrdb evaluate guo_los guo_readmission --baseline counts --baseline demographics --report report.html`

    Example (do vectors add to counts?): `ehrdb evaluate guo_los --with counts --baseline counts --first
    "all-MiniLM-L6-v2 with counts"`

    Example (figures for the page's Models): `ehrdb evaluate guo_los --baseline counts --k -1 --keep`

    Example (model by model, as in the paper): `ehrdb evaluate guo_los new_lupus --baseline counts --k -1 --table`

    Example: `ehrdb evaluate --embeddings vectors.parquet --labels labels.parquet --k 8 --k -1`
    """
    # Imported here: scikit-learn takes a second that other commands need not wait for.
    from ehrdb.evaluation.evaluation import checked_shots, warnings
    from ehrdb.evaluation.question import from_files
    from ehrdb.prediction.sampling import ALL, SHOTS

    asking: AbstractContextManager[Question]
    shots = checked_shots(k or [*SHOTS, ALL])
    require_folder(probabilities, report)
    if report:
        import ehrdb.evaluation.report  # noqa: F401  # a missing extra is said before the work, not after it
    if keep and (embeddings or labels):
        raise ConfigError("figures from files are not the database's", hint="Leave out --keep, or name tasks.")
    counting = _counting(count_days, count_codes, count_demographics, baselines or [])
    if tasks and not (embeddings or labels or patients):
        compared: dict[str, Any] = {"compare": others or [], "baselines": baselines or [], "with_counts": bool(beside)}
        compared |= {"heads": heads or [], "counting": counting}
        asking = from_database(tasks, encoder, keep=keep, **compared)
    elif embeddings and labels and not (tasks or encoder or baselines or beside or heads):
        asking = nullcontext(from_files(embeddings, labels, [Path(other) for other in others or []], patients))
    else:
        raise ConfigError(
            "name tasks to evaluate the database, or --embeddings and --labels to evaluate files",
            hint="For example: ehrdb evaluate guo_los --baseline counts",
        )
    how: dict[str, Any] = {"replicates": replicates, "workers": workers, "draw": bootstrap, "max_iter": max_iter}
    with asking as question:
        if first:
            question = question.led_by(first)
        for warning in warnings(question):
            err.print(warning)
        if question.intervals:
            _answer_timed(question, json, shots if k else [], [probabilities, report, table])
        else:
            _answer(question, shots, report, probabilities, table, json, **how)


def _counting(days: list[float] | None, codes: Path | None, demographics: bool, baselines: list[Baseline]) -> Counting:
    """How the baseline counts."""
    from ehrdb.prediction.stored_counts import counting_of

    if (days or codes or demographics) and Baseline.COUNTS not in baselines:
        raise ConfigError("how counts are made is said, but they are not asked for", hint="Add --baseline counts.")
    return counting_of(days or [], codes, demographics=demographics)


def _answer(
    question: Question,
    shots: list[int],
    report: Path | None,
    probabilities: Path | None,
    table: bool,
    json: bool,
    **how: Any,
) -> None:
    """Few-shot heads of each model, and what is asked for of them."""
    from ehrdb.evaluation.evaluation import answer

    with bars() as tell:
        found = answer(question, shots, tell=lambda name, *done: tell(f"heads on {name}", *done), **how)
    if report:
        page = found.report()
        write_private(report, lambda file: file.write_text(page, encoding="utf-8"))
    if probabilities:
        write_private(probabilities, found.probabilities().write_parquet)
    if json:
        print_json(found.table().to_dicts() if table else found.as_json())
    else:
        show(found, table=table)
    if question.kept_in:
        err.print("the figures are kept in ehr.evaluation")


def _answer_timed(question: Question, json: bool, shots: list[int], asked: list[Path | bool | None]) -> None:
    """Tasks that ask when: C index and integrated Brier score of each model."""
    from ehrdb.evaluation.timed import answer_timed

    if any(asked) or question.kept_in or set(shots) - {-1}:
        raise ConfigError(
            f"{', '.join(question.intervals)} asks when: there are scores alone, of heads on every row",
            hint="Leave out --k, --report, --probabilities, --table and --keep.",
        )
    with bars() as tell:
        runs = answer_timed(question, tell=tell)
    if json:
        print_json(runs)
        return
    table = Table("task", "model", "C index", "integrated Brier", "C of the first minus this", show_edge=False)
    for run in runs:
        cells = (run.c_index, run.integrated_brier, run.c_difference)
        shown = ("" if cell is None else f"{cell.score:.3f} [{cell.lower:.3f}, {cell.upper:.3f}]" for cell in cells)
        table.add_row(run.task, run.model, *shown)
    out.print(table)


@contextmanager
def from_database(tasks: Sequence[str], encoder: str | None, **compared: Any) -> Iterator[Question]:
    """See `Client.question`; what is embedded is shown. The database stays open, as it may keep the answer."""
    with current_client() as db:
        with bars() as tell:
            question = db.question(tasks, encoder, tell=tell, **compared)
        yield question


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """One progress bar after another, each under its label."""
    current: list[tuple[str, progress_bar]] = []

    def tell(label: str, done: int, total: int) -> None:
        if not current or current[-1][0] != label:
            end()
            current.append((label, progress_bar(label).__enter__()))
        current[-1][1].update(done, total)

    def end() -> None:
        while current:
            current.pop()[1].__exit__()

    try:
        yield tell
    finally:
        end()


def show(found: Evaluation, *, table: bool = False) -> None:
    """A table of AUROC for each model, and the paired tests; or the paper's table."""
    if table:
        frame = found.table()
        means = Table(*frame.columns, title="mean AUROC with 95 % interval", title_justify="left", show_edge=False)
        for row in frame.iter_rows():
            means.add_row(*row)
        out.print(means)
        return
    for name, of_model in found.runs.items():
        out.print(_scores(f"AUROC of {name}", of_model))
    if found.tests:
        out.print(_verdicts(found.tests))


def _scores(title: str, runs: list[Run]) -> Table:
    from ehrdb.evaluation import few_shot_means
    from ehrdb.evaluation.tables import trained_on

    shots = list(dict.fromkeys(run.k for run in runs))
    table = Table(title, *map(trained_on, shots), show_edge=False)
    by_task: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        by_task[run.task][run.k].append(run.metrics.auroc.score)
    for task, scores in by_task.items():
        table.add_row(task, *(f"{sum(scores[k]) / len(scores[k]):.3f}" for k in shots))
    table.add_section()
    means = few_shot_means((run.task, run.k, run.metrics.auroc.score) for run in runs)
    for group in dict.fromkeys(group for group, _ in means):
        cells = (f"{means[group, k].mean:.3f}" if (group, k) in means else "" for k in shots)
        table.add_row(Text.assemble((group, "bold"), " (mean)"), *cells)
    return table


def _verdicts(tests: list[tuple[str, PairedTest]]) -> Table:
    from ehrdb.evaluation.tables import trained_on

    table = Table("task", "trained on", "against", "AUROC difference", "p (Holm)", "verdict", show_edge=False)
    for name, test in tests:
        difference = f"{test.delta:+.3f} ({test.lower:+.3f} to {test.upper:+.3f})"
        table.add_row(test.task, trained_on(test.k), name, difference, f"{test.p_holm:.4f}", test.outcome)
    return table
