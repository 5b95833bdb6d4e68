"""Training and evaluating one task by the paper's protocol, against the scikit-learn loop that defines it.

    python bench/evaluation.py [--labels 60000 --dimensions 384 --bootstrap 1000]

The baseline does per run what the reference does: GridSearchCV over 12 values of C, one fit, and for each
metric and bootstrap replicate a draw of patients and a call of scikit-learn's metric with sample weights (its
weights come from one array look-up; the reference counts them label by label in Python). To be done in time it
runs every k once and every metric for `--sampled` replicates; both parts are scaled to the full protocol. Ours
runs in full, in one process; the median of `--rounds`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from statistics import median

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils import resample
from threadpoolctl import threadpool_limits

from ehrdb.evaluation import evaluate
from ehrdb.prediction.heads import C_GRID, Features, Labels
from ehrdb.prediction.sampling import ALL, SHOTS, sample_shots
from ehrdb.prediction.targets import Split, Target

METRICS = {"auroc": roc_auc_score, "auprc": average_precision_score, "brier": brier_score_loss}
REPLICATES = 5


def synthetic_target(labels: int, dimensions: int) -> Target:
    """Unit vectors of intrinsic dimension 24 with a noisy linear outcome of about one in five."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(labels, 24))
    vectors = factors @ random.normal(size=(24, dimensions)) + random.normal(size=(labels, dimensions)) / 2
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    outcome = (factors @ random.normal(size=24) / 5 + random.normal(size=labels) > 1.2).astype(np.int64)
    patient = np.sort(random.integers(0, labels // 9, labels))
    times = np.zeros(labels, dtype="datetime64[us]")
    splits = []
    for third in range(3):
        row = np.flatnonzero(patient % 3 == third)
        splits.append(Split(row, outcome[row], patient[row], times[row]))
    return Target("synthetic", vectors, *splits)


def reference_fit(target: Target, k: int) -> np.ndarray:
    """Test probabilities of one run as the reference computes them."""
    train, val = (sample_shots(split.labels, k, 0) for split in (target.train, target.val))
    x_train, y_train = target.features[target.train.row[train]], target.train.labels[train]
    x_val, y_val = target.features[target.val.row[val]], target.val.labels[val]
    order = np.random.RandomState(len(train)).permutation(len(train))
    x_train, y_train = x_train[order], y_train[order]
    scaler = MaxAbsScaler().fit(x_train)
    x_train, x_val, x_test = (scaler.transform(x) for x in (x_train, x_val, target.features[target.test.row]))
    best = _grid_search(x_train, y_train, x_val, y_val)
    model = LogisticRegression(**best).fit(x_train, y_train)
    for x in (x_train, x_val):
        model.predict_proba(x)
    return np.asarray(model.predict_proba(x_test)[:, 1])


def _grid_search(x_train: Features, y_train: Labels, x_val: Features, y_val: Labels) -> dict[str, float]:
    fold = PredefinedSplit(np.repeat([-1, 0], [len(y_train), len(y_val)]))
    model = LogisticRegression(max_iter=1000, random_state=0)
    search = GridSearchCV(model, {"C": C_GRID}, scoring="roc_auc", cv=fold, refit=False)
    search.fit(np.concatenate([x_train, x_val]), np.concatenate([y_train, y_val]))
    best: dict[str, float] = search.best_params_
    return best


def reference_bootstrap(target: Target, probability: np.ndarray, replicates: int) -> None:
    """The metrics' replicates as the reference computes them, without its Python loop over labels."""
    patients, patient = np.unique(target.test.patient_id, return_inverse=True)
    for metric in METRICS.values():
        for seed in range(replicates):
            drawn = resample(np.arange(len(patients)), random_state=seed)
            weights = np.bincount(drawn, minlength=len(patients))[patient]
            metric(target.test.labels, probability, sample_weight=weights)


def reference_seconds(target: Target, bootstrap: int, sampled: int) -> tuple[float, float]:
    """Seconds of fitting and of bootstrapping in the full protocol, scaled from every k once."""
    fitting = bootstrapping = 0.0
    for k in (*SHOTS, ALL):
        runs = 1 if k == ALL else REPLICATES
        start = time.perf_counter()
        probability = reference_fit(target, k)
        middle = time.perf_counter()
        reference_bootstrap(target, probability, sampled)
        fitting += runs * (middle - start)
        bootstrapping += runs * (time.perf_counter() - middle) * bootstrap / sampled
    return fitting, bootstrapping


def our_seconds(target: Target, bootstrap: int) -> float:
    start = time.perf_counter()
    for _ in evaluate([target], (*SHOTS, ALL), replicates=REPLICATES, bootstrap=bootstrap):
        pass
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("labels", 60_000), ("dimensions", 384), ("bootstrap", 1000), ("sampled", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    target = synthetic_target(options.labels, options.dimensions)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        ours = median(our_seconds(target, options.bootstrap) for _ in range(options.rounds))
        fitting, bootstrapping = reference_seconds(target, options.bootstrap, options.sampled)
    reference = fitting + bootstrapping
    print(f"{options.labels} labels x {options.dimensions}, all k, {REPLICATES} replicates")
    print(f"scikit-learn loop: {reference:8.1f} s, scaled: {fitting:.1f} fitting, {bootstrapping:.1f} bootstrap")
    print(f"ehrdb:             {ours:8.1f} s")
    print(f"ratio:             {reference / ours:8.1f}")


if __name__ == "__main__":
    main()
