"""Training heads from the database: label, embed as of each prediction time, fit, store with provenance."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version

import numpy as np
from pgvector import Vector
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from ehrdb.database import Connection, Database, register_vectors, require_whole
from ehrdb.embedding import Progress, Queue, refresh, registry
from ehrdb.embedding.drain import worker_name
from ehrdb.embedding.load import LoadEncoder
from ehrdb.embedding.registry import RegisteredEncoder, prompt_id
from ehrdb.encoder import Encoder
from ehrdb.encoder.prompts import prompt_for
from ehrdb.errors import InputError, TrainingError
from ehrdb.prediction import Task, find_task, label
from ehrdb.prediction.enough import Supply, require_enough
from ehrdb.prediction.files import match
from ehrdb.prediction.heads import Features, FoldedHead, Labels, train_head
from ehrdb.prediction.sampling import ALL, sample_shots
from ehrdb.prediction.stored import SOURCE, stored_embeddings, stored_labels
from ehrdb.prediction.targets import SPLITS, Split, Target
from ehrdb.queries import Queries

_queries = Queries("ehrdb.prediction", "training.sql")
_LOOK_SECONDS = 1.0
Parts = dict[str, tuple[Features, Labels]]


@dataclass(frozen=True)
class TrainResult:
    """One head: counts of labels and positives per split, the chosen C, scores on the test patients.

    k: examples per class of each sample, -1 for every row. `test` holds means over the replicates; the head that is
    kept, and `best_c`, are the first one's. is_from_few: made from fewer labels of a class than a head needs.
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


def train(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: LoadEncoder,
    task_name: str,
    *,
    k: int = ALL,
    replicates: int = 1,
    calibrate: bool = True,
    accept_few: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[TrainResult]:
    """Label the task, embed what is missing, fit and store its head (14 for chexpert).

    With `k`, heads are trained on `replicates` samples of k rows per class, as in the paper's few-shot setting; the
    first is kept. `calibrate` adds Platt scaling, fitted on all validation rows; the paper's heads have none.

    Raises NotFound for an unknown task, TrainingError where a split lacks labels of a class, or has few of them
    (`enough.LEAST`) without `accept_few`. Nothing is stored then.
    """
    prompt = embed_labels(database, encoder, load_encoder, task_name, progress=progress)
    with database.transaction() as connection:
        task = find_task(connection, task_name)
    if task.kind == "survival":
        raise TrainingError(f"task {task_name} asks when, not whether", hint="Use train_survival (`ehrdb train` does).")
    targets = load_targets(database, encoder, task, prompt)
    require_enough(map(_supply, targets), accept_few=accept_few)
    fitted = [_fit(target, k, 1 if k == ALL else replicates, calibrate) for target in targets]
    with database.transaction() as connection:
        for head, outcome in fitted:
            _store(connection, encoder, task, prompt, head, outcome)
    return [outcome for _, outcome in fitted]


def embed_labels(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: LoadEncoder,
    task_name: str,
    *,
    progress: Progress = lambda done, total: None,
) -> int:
    """Label the task and embed the timelines at its prediction times; returns the key of the prompt used.

    A concatenation has them once both of its parts do. Raises TrainingError where some cannot be embedded.
    """
    label(database, [task_name])
    with database.transaction() as connection:
        task = find_task(connection, task_name)
        models = registry.models(connection, encoder)
    for model in models:
        _plan(database, model, task)
        failed = embed_all(database, model, partial(load_encoder, model), progress)
        if failed:
            raise TrainingError(
                f"task {task_name}: {failed} timelines could not be embedded",
                hint="See `ehrdb status`; run this again when they are.",
            )
    return _plan(database, encoder, task)


def embed_all(
    database: Database, model: RegisteredEncoder, load_encoder: Callable[[], Encoder], progress: Progress
) -> int:
    """Embed what is queued, and wait for what others (a running worker) hold: theirs counts as well, and what they
    let go of is embedded here. Returns how many failed."""
    queue = Queue(database, model, worker_name())
    result = refresh(database, model, load_encoder, progress=progress)
    failed = result.failed
    while result.leased:
        while (outlook := queue.outlook()).leased and not outlook.ready:
            time.sleep(_LOOK_SECONDS)
        result = refresh(database, model, load_encoder, progress=progress)
        failed += result.failed
    return failed


def _plan(database: Database, encoder: RegisteredEncoder, task: Task) -> int:
    with database.transaction() as connection:
        row = connection.execute(_queries.uses_prompts, {"encoder_id": encoder.encoder_id}).fetchone()
        prompt = prompt_for(task.name, encoder.format, task.question) if row and row[0] else ""
        key = prompt_id(connection, prompt)
        connection.execute(
            _queries.plan_labels, {"encoder_id": encoder.encoder_id, "task": task.name, "prompt_id": key}
        )
    return key


def load_targets(database: Database, encoder: RegisteredEncoder, task: Task, prompt: int) -> list[Target]:
    """A task's labels with their vectors. Raises TrainingError where one has none."""
    with database.transaction() as connection:
        require_whole(connection)
        labels = stored_labels(connection, [task.name])
        vectors = stored_embeddings(connection, encoder, {task.name: prompt})
    try:
        return list(match(labels, SOURCE, vectors))
    except InputError as error:
        if encoder.kind == "model":
            raise
        raise TrainingError(str(error), hint="Import vectors as of every prediction time (`ehr.label`).") from None


def _supply(target: Target) -> Supply:
    labels = {name: getattr(target, name).labels for name in SPLITS}
    return Supply(
        f"task {target.task}",
        {name: len(of_split) for name, of_split in labels.items()},
        {name: int(of_split.sum()) for name, of_split in labels.items()},
    )


def _fit(target: Target, k: int, replicates: int, calibrate: bool) -> tuple[FoldedHead, TrainResult]:
    splits: dict[str, Split] = {name: getattr(target, name) for name in SPLITS}
    parts = {name: (target.features[split.row], split.labels) for name, split in splits.items()}
    heads, chosen = zip(*(_fit_sample(parts, k, replicate, calibrate) for replicate in range(replicates)), strict=True)
    supply = _supply(target)
    outcome = TrainResult(
        target.task,
        dict(supply.labels),
        dict(supply.positives),
        chosen[0],
        calibrate,
        _mean([_scores(head, *parts["test"]) for head in heads]),
        k,
        replicates,
        bool(supply.short),
    )
    return heads[0], outcome


def _fit_sample(parts: Parts, k: int, replicate: int, calibrate: bool) -> tuple[FoldedHead, float]:
    """One sample's head, and the C that its validation rows chose.

    It is calibrated on all validation rows: a sample of k per class does not know how common the outcome is.
    """
    (x_train, y_train), (x_val, y_val) = parts["train"], parts["val"]
    train, val = sample_shots(y_train, k, replicate), sample_shots(y_val, k, replicate)
    model = train_head(x_train[train], y_train[train], x_val[val], y_val[val])
    head = model.fold()
    return head.calibrated(x_val, y_val) if calibrate else head, model.params["C"]


def _mean(scores: list[dict[str, float | None]]) -> dict[str, float | None]:
    return {
        name: None if scores[0][name] is None else float(np.mean([score[name] for score in scores]))
        for name in scores[0]
    }


def _scores(head: FoldedHead, vectors: Features, labels: Labels) -> dict[str, float | None]:
    """AUROC, AUPRC and Brier score; null where the test patients have labels of one class only."""
    if len(set(labels.tolist())) < 2:
        return {"auroc": None, "auprc": None, "brier": None}
    probabilities = head.probability(vectors)
    return {
        "auroc": float(roc_auc_score(labels, probabilities)),
        "auprc": float(average_precision_score(labels, probabilities)),
        "brier": float(brier_score_loss(labels, probabilities)),
    }


def _store(
    connection: Connection,
    encoder: RegisteredEncoder,
    task: Task,
    prompt: int,
    head: FoldedHead,
    outcome: TrainResult,
) -> None:
    register_vectors(connection)
    found = connection.execute(_queries.provenance, {"task": task.name}).fetchone()
    assert found is not None
    provenance = {
        **{name: value for name, value in asdict(outcome).items() if name != "target"},
        **found[0],
        "encoder_digest": encoder.digest,
        "versions": {package: version(package) for package in ("numpy", "scikit-learn", "scipy")},
    }
    connection.execute(
        _queries.store_head,
        {
            "task": task.name,
            "target": outcome.target,
            "encoder_id": encoder.encoder_id,
            "prompt_id": prompt,
            "weights": Vector(head.weights),
            "intercept": head.intercept,
            "slope": head.slope,
            "shift": head.shift,
            "provenance": json.dumps(provenance),
        },
    )
