"""Training heads from the database: label, embed as of each prediction time, fit, store with provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from pgvector import Vector
from pgvector.psycopg import register_vector
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from ehrdb.database import Connection, Database
from ehrdb.encoder import Encoder
from ehrdb.encoder.prompts import prompt_for
from ehrdb.encoder.registry import RegisteredEncoder, prompt_id
from ehrdb.errors import TrainingError
from ehrdb.heads import Features, FoldedHead, Labels, train_head
from ehrdb.queries import Queries
from ehrdb.refresh import Progress, refresh
from ehrdb.tasks import Task, find_task, label

_queries = Queries("ehrdb", "training.sql")
SPLITS = ("train", "val", "test")
FINDINGS = (
    "no_finding",
    "enlarged_cardiomediastinum",
    "cardiomegaly",
    "lung_lesion",
    "lung_opacity",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural_effusion",
    "pleural_other",
    "fracture",
    "support_devices",
)


@dataclass(frozen=True)
class TrainResult:
    """One head: counts of labels and positives per split, the chosen C, scores on the test patients."""

    target: str
    labels: dict[str, int]
    positives: dict[str, int]
    best_c: float
    is_calibrated: bool
    test: dict[str, float | None]


@dataclass(frozen=True)
class TrainingData:
    """A task's labelled vectors in the protocol's order: rows by patient and prediction time."""

    vectors: Features
    values: Labels
    splits: npt.NDArray[np.str_]


def train(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: Callable[[], Encoder],
    task_name: str,
    *,
    calibrate: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[TrainResult]:
    """Label the task, embed what is missing, fit and store its head (14 for chexpert).

    `calibrate` adds Platt scaling, fitted on the validation patients; the paper's heads have none.

    Raises NotFound for an unknown task, TrainingError where a split lacks labels of a class.
    """
    task = find_task(task_name)
    prompt = embed_labels(database, encoder, load_encoder, task_name, progress=progress)
    data = _read(database, encoder, task, prompt)
    fitted = [(target, *_fit(target, data, labels, calibrate)) for target, labels in targets(task, data.values)]
    with database.transaction() as connection:
        for _, head, outcome in fitted:
            _store(connection, encoder, task, prompt, head, outcome)
    return [outcome for _, _, outcome in fitted]


def embed_labels(
    database: Database,
    encoder: RegisteredEncoder,
    load_encoder: Callable[[], Encoder],
    task_name: str,
    *,
    progress: Progress = lambda done, total: None,
) -> int:
    """Label the task and embed the timelines at its prediction times; returns the key of the prompt used.

    A concatenation has them once both of its parts do. Raises TrainingError where some cannot be embedded.
    """
    label(database, [task_name])
    prompt = _plan(database, encoder, find_task(task_name))
    result = refresh(database, encoder, load_encoder, progress=progress)
    if result.failed or result.leased:
        raise TrainingError(
            f"task {task_name}: {result.failed + result.leased} timelines could not be embedded",
            hint="See `ehrdb status`; run this again when they are.",
        )
    return prompt


def targets(task: Task, values: Labels) -> Iterator[tuple[str, Labels]]:
    """What heads are trained for: the task itself, or each finding; with 0/1 labels."""
    if task.kind == "multilabel":
        for position, finding in enumerate(FINDINGS):
            yield f"{task.name}_{finding}", (values >> (13 - position)) & 1
    else:
        yield task.name, (values >= 1).astype(np.int64)


def _plan(database: Database, encoder: RegisteredEncoder, task: Task) -> int:
    with database.transaction() as connection:
        row = connection.execute(_queries.uses_prompts, {"encoder_id": encoder.encoder_id}).fetchone()
        prompt = prompt_for(task.name, encoder.format) if row and row[0] else ""
        key = prompt_id(connection, prompt)
        connection.execute(
            _queries.plan_labels, {"encoder_id": encoder.encoder_id, "task": task.name, "prompt_id": key}
        )
    return key


def _read(database: Database, encoder: RegisteredEncoder, task: Task, prompt: int) -> TrainingData:
    values = {"encoder_id": encoder.encoder_id, "task": task.name, "prompt_id": prompt}
    with database.transaction() as connection:
        register_vector(connection)
        rows = connection.execute(_queries.labelled_vectors, values, binary=True).fetchall()
        missing = connection.execute(_queries.labels_without_vectors, values).fetchone()
    if encoder.kind != "model" and missing and missing[0]:
        raise TrainingError(
            f"task {task.name}: {missing[0]} prediction times have no vector of {encoder.name}",
            hint="Import vectors as of every prediction time (`ehr.label` lists them).",
        )
    if not rows:
        raise TrainingError(f"task {task.name} has no labels here", hint="See `ehrdb label`: what can be labelled?")
    splits, labels, vectors = zip(*rows, strict=True)
    return TrainingData(
        np.stack([vector.to_numpy() if isinstance(vector, Vector) else vector for vector in vectors]),
        np.array(labels, dtype=np.int64),
        np.array(splits),
    )


def _fit(target: str, data: TrainingData, labels: Labels, calibrate: bool) -> tuple[FoldedHead, TrainResult]:
    parts = {split: (data.vectors[data.splits == split], labels[data.splits == split]) for split in SPLITS}
    for split in ("train", "val"):
        if len(set(parts[split][1].tolist())) < 2:
            raise TrainingError(
                f"task {target}: the {split} patients have labels of one class only",
                hint="Load more patients, or choose another task (`ehrdb label` shows counts).",
            )
    model = train_head(*parts["train"], *parts["val"])
    head = model.fold().calibrated(*parts["val"]) if calibrate else model.fold()
    outcome = TrainResult(
        target,
        {split: len(labels) for split, (_, labels) in parts.items()},
        {split: int(labels.sum()) for split, (_, labels) in parts.items()},
        model.params["C"],
        calibrate,
        _scores(head, *parts["test"]),
    )
    return head, outcome


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
    register_vector(connection)
    provenance = {
        **{name: value for name, value in asdict(outcome).items() if name != "target"},
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
