"""Training heads from the database: label, embed as of each prediction time, fit, store with provenance."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from ehrdb.database import Database, require_whole
from ehrdb.embedding import Progress, Queue, refresh, registry
from ehrdb.embedding.drain import worker_name
from ehrdb.embedding.load import LoadEncoder
from ehrdb.embedding.registry import RegisteredEncoder, prompt_id
from ehrdb.encoder import Encoder
from ehrdb.encoder.prompts import prompt_for
from ehrdb.errors import InputError, TrainingError
from ehrdb.prediction import Task, find_task, label
from ehrdb.prediction.calibration import Method
from ehrdb.prediction.enough import Supply, require_enough
from ehrdb.prediction.files import match
from ehrdb.prediction.heads import Floats, FoldedHead, Labels, train_head
from ehrdb.prediction.keep import Made, keep_heads
from ehrdb.prediction.sampling import ALL, sample_shots
from ehrdb.prediction.stored import SOURCE, stored_embeddings, stored_labels
from ehrdb.prediction.stored_counts import Counted, combined_targets
from ehrdb.prediction.targets import SPLITS, Target, task_of
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "training.sql")
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class TrainResult:
    """One head: counts of labels and positives per split, the chosen C, scores on the test patients.

    k: examples per class of each sample, -1 for every row. `test` holds means over the replicates; the head that is
    kept, and `best_c`, are the first one's. is_from_few: made from fewer labels of a class than a head needs.
    base_rate: the share of positive labels. has_counts: counts of codes stand beside the vector.
    """

    target: str
    labels: dict[str, int]
    positives: dict[str, int]
    best_c: float
    is_calibrated: bool
    test: dict[str, float | None]
    k: int = ALL
    replicates: int = 1
    is_from_few: bool = False
    calibration: Method | None = None
    base_rate: float = 0.0
    has_counts: bool = False


def train(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: LoadEncoder,
    task_name: str,
    *,
    k: int = ALL,
    replicates: int = 1,
    calibrate: bool = True,
    calibration: Method = "platt",
    accept_few: bool = False,
    with_counts: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[TrainResult]:
    """Label the task, embed what is missing, fit and store its head.

    Of chexpert 14 on vectors of one instruction; of a finding (chexpert_edema) one, on vectors of its own.

    With `k`, heads are trained on `replicates` samples of k rows per class, as in the paper's few-shot setting; the
    first is kept. `calibrate` adds a calibration, fitted on all validation rows; the paper's heads have none.
    `with_counts` puts counts of codes beside the vector (`ehrdb.prediction.stored_counts`).

    Raises NotFound for an unknown task, TrainingError where a split lacks labels of a class, or has few of them
    (`enough.LEAST`) without `accept_few`. Nothing is stored then.
    """
    prompt = embed_labels(database, encoder, load_encoder, task_name, progress=progress)
    with database.transaction() as connection:
        task = find_task(connection, task_of(task_name))
    if task.kind == "survival":
        raise TrainingError(f"task {task_name} asks when, not whether", hint="Use train_survival (`ehrdb train` does).")
    targets, counted = load_features(database, encoder, task_name, prompt, with_counts=with_counts)
    require_enough(map(supply_of, targets), accept_few=accept_few)
    method = calibration if calibrate else None
    fitted = [_fit(target, k, 1 if k == ALL else replicates, method, with_counts) for target in targets]
    with database.transaction() as connection:
        made = [Made(outcome.target, head, outcome.base_rate, _learned(outcome), counted) for head, outcome in fitted]
        keep_heads(connection, encoder, task, prompt, made)
    return [outcome for _, outcome in fitted]


def load_features(
    database: Database, encoder: RegisteredEncoder, task_name: str, prompt: int, *, with_counts: bool
) -> tuple[list[Target], Counted | None]:
    """A task's labels with their vectors, and counts behind these where wanted, with what they count."""
    targets = load_targets(database, encoder, task_name, prompt)
    if not with_counts:
        return targets, None
    with database.transaction() as connection:
        return combined_targets(connection, targets)


def embed_labels(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: LoadEncoder,
    task_name: str,
    *,
    labels_alone: bool = False,
    progress: Progress = lambda done, total: None,
) -> int:
    """Label the task and embed the timelines at its prediction times; returns the key of the prompt used.

    A finding of X-rays, chexpert_edema, has chexpert's labels and an instruction of its own.
    With `labels_alone` nothing else that waits is embedded: it stays queued. A concatenation has them once both of its
    parts do. Raises TrainingError where some cannot be embedded.
    """
    label(database, [task_of(task_name)])
    with database.transaction() as connection:
        task = find_task(connection, task_of(task_name))
        models = registry.models(connection, encoder)
    for model in models:
        needed = partial(_needed, database, model, task, _plan(database, model, task, task_name))
        failed = embed_all(
            database, model, partial(load_encoder, model), progress, only=needed if labels_alone else None
        )
        if failed:
            raise TrainingError(
                f"task {task_name}: {failed} timelines could not be embedded",
                hint="See `ehrdb status`; run this again when they are.",
            )
    return _plan(database, encoder, task, task_name)


def embed_all(
    database: Database,
    model: RegisteredEncoder,
    load_encoder: Callable[[], Encoder],
    progress: Progress,
    *,
    only: Callable[[], list[bytes]] | None = None,
) -> int:
    """Embed what is queued (`only`: of these contents), and wait for what others (a running worker) hold: theirs counts
    as well, and what they let go of is embedded here. Returns how many failed."""
    result = refresh(database, model, load_encoder, progress=progress, only=only)
    failed = result.failed
    while result.leased:
        queue = Queue(database, model, worker_name(), only=only() if only else None)
        while (outlook := queue.outlook()).leased and not outlook.ready:
            time.sleep(_LOOK_SECONDS)
        result = refresh(database, model, load_encoder, progress=progress, only=only)
        failed += result.failed
    return failed


def _needed(database: Database, model: RegisteredEncoder, task: Task, prompt: int) -> list[bytes]:
    """Contents at a task's prediction times that have no vector yet."""
    values = {"encoder_id": model.encoder_id, "task": task.name, "prompt_id": prompt}
    with database.transaction() as connection:
        return [content for (content,) in connection.execute(_queries.needed, values)]


def _plan(database: Database, encoder: RegisteredEncoder, task: Task, target: str) -> int:
    with database.transaction() as connection:
        row = connection.execute(_queries.uses_prompts, {"encoder_id": encoder.encoder_id}).fetchone()
        prompt = prompt_for(target, encoder.format, task.question) if row and row[0] else ""
        key = prompt_id(connection, prompt)
        connection.execute(
            _queries.plan_labels, {"encoder_id": encoder.encoder_id, "task": task.name, "prompt_id": key}
        )
    return key


def load_targets(database: Database, encoder: RegisteredEncoder, task_name: str, prompt: int) -> list[Target]:
    """A task's, or finding's, labels with their vectors. Raises TrainingError where one has none."""
    with database.transaction() as connection:
        require_whole(connection)
        labels = stored_labels(connection, [task_name])
        vectors = stored_embeddings(connection, encoder, {task_name: prompt})
    try:
        return list(match(labels, SOURCE, vectors))
    except InputError as error:
        if encoder.kind == "model":
            raise
        raise TrainingError(str(error), hint="Import vectors as of every prediction time (`ehr.label`).") from None


def supply_of(target: Target) -> Supply:
    """What its head has to learn from."""
    labels = {name: getattr(target, name).labels for name in SPLITS}
    return Supply(
        f"task {target.task}",
        {name: len(of_split) for name, of_split in labels.items()},
        {name: int(of_split.sum()) for name, of_split in labels.items()},
    )


def _fit(
    target: Target, k: int, replicates: int, method: Method | None, has_counts: bool
) -> tuple[FoldedHead, TrainResult]:
    heads, chosen = zip(*(_fit_sample(target, k, replicate, method) for replicate in range(replicates)), strict=True)
    supply = supply_of(target)
    test = target.features[target.test.row]
    outcome = TrainResult(
        target.task,
        dict(supply.labels),
        dict(supply.positives),
        chosen[0],
        method is not None,
        _mean([scores(head.probability(test), target.test.labels) for head in heads]),
        k,
        replicates,
        bool(supply.short),
        method,
        supply.base_rate,
        has_counts,
    )
    return heads[0], outcome


def _fit_sample(target: Target, k: int, replicate: int, method: Method | None) -> tuple[FoldedHead, float]:
    """One sample's head, and the C that its validation rows chose.

    It is calibrated on all validation rows: a sample of k per class does not know how common the outcome is.
    """
    train, val = target.train, target.val
    x_train, x_val = target.features[train.row], target.features[val.row]
    rows, val_rows = sample_shots(train.labels, k, replicate), sample_shots(val.labels, k, replicate)
    model = train_head(x_train[rows], train.labels[rows], x_val[val_rows], val.labels[val_rows])
    return model.fold().calibrated(method, x_val, val.labels, val.patient_id), model.params["C"]


def _mean(scores: list[dict[str, float | None]]) -> dict[str, float | None]:
    return {
        name: None if scores[0][name] is None else float(np.mean([score[name] for score in scores]))
        for name in scores[0]
    }


def scores(probabilities: Floats, labels: Labels) -> dict[str, float | None]:
    """AUROC, AUPRC and Brier score; null where the test patients have labels of one class only."""
    if len(set(labels.tolist())) < 2:
        return {"auroc": None, "auprc": None, "brier": None}
    return {
        "auroc": float(roc_auc_score(labels, probabilities)),
        "auprc": float(average_precision_score(labels, probabilities)),
        "brier": float(brier_score_loss(labels, probabilities)),
    }


def _learned(outcome: TrainResult) -> dict[str, Any]:
    return {name: value for name, value in asdict(outcome).items() if name != "target"}
