"""The baseline on counts: features of many labels, and LightGBM's grid, against the plain loop over that grid.

    python bench/counts.py [--labels 100000 --codes 20000 --events 40 --rows 16 --rows 128 --rows 400]

Made-up patients with five labels each, codes of which few are frequent, a tenth of the events with a number. Prints the
seconds of `count_features` and the most memory that the process had; then for each number of training rows the seconds
of the grid, beside LGBMClassifier fitted anew for each setting on all columns (three settings of 27, scaled), and
whether the chosen trees give the same probabilities.
"""

from __future__ import annotations

import argparse
import resource
import time
from datetime import datetime

import numpy as np
import polars as pl
from lightgbm import LGBMClassifier
from threadpoolctl import threadpool_limits

from ehrdb.prediction.counts import PAPER_BINS, CountFeatures, count_features
from ehrdb.prediction.heads import Features, Labels, shuffled
from ehrdb.prediction.trees import GBM_GRID, train_trees

LABELS_OF_A_PATIENT = 5
DAYS = 1500
SAMPLED = (4, 13, 22)
"""Settings of the grid that the plain loop fits: depth 6, 25 leaves, each learning rate."""
NO_ANCESTORS = pl.DataFrame(schema={"code": pl.String, "ancestor": pl.String})


def made_up(labels: int, codes: int, events: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Events (so many for each label), and points."""
    random = np.random.default_rng(0)
    patients = labels // LABELS_OF_A_PATIENT
    whole = labels * events
    start = datetime(2015, 1, 1)
    code = (codes * random.random(whole) ** 3).astype(np.int64)
    number = np.where(code % 10 == 0, random.normal(100, 15, whole), np.nan).astype(np.float32)
    minutes = random.integers(0, DAYS * 1440, whole)
    patient = random.integers(0, patients, whole)
    found = pl.DataFrame({"patient_id": patient, "minutes": minutes, "code": code, "numeric_value": number})
    found = found.with_columns(
        time=pl.lit(start) + pl.duration(minutes="minutes"),
        code=pl.format("CODE/{}", "code"),
        numeric_value=pl.col("numeric_value").fill_nan(None),
        text_value=pl.lit(None, pl.String),
    )
    births = pl.DataFrame({"patient_id": np.arange(patients), "time": [start] * patients}).with_columns(
        code=pl.lit("BIRTH"), numeric_value=pl.lit(None, pl.Float32), text_value=pl.lit(None, pl.String)
    )
    times = random.integers(DAYS * 360, DAYS * 1440, labels)
    points = pl.DataFrame({"patient_id": np.repeat(np.arange(patients), LABELS_OF_A_PATIENT), "minutes": times})
    columns = ["patient_id", "time", "code", "numeric_value", "text_value"]
    return pl.concat([found.select(columns), births.select(columns)]), points.with_columns(
        prediction_time=pl.lit(start) + pl.duration(minutes="minutes")
    )


def peak() -> float:
    """Most memory so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def count(labels: int, codes: int, events: int) -> CountFeatures:
    """Features of the made-up records, with what they cost."""
    libraries = peak()
    rows, points = made_up(labels, codes, events)
    made = peak()
    started = time.perf_counter()
    features = count_features(rows, points, NO_ANCESTORS, bins=PAPER_BINS, values=True)
    shape = f"{features.matrix.shape[0]} labels x {features.matrix.shape[1]} columns, {features.matrix.nnz} cells"
    print(f"{shape}: {time.perf_counter() - started:.1f} s; the most memory {peak():.2f} GB")
    print(f"  (libraries {libraries:.2f} GB, with {rows.height} events {made:.2f} GB)", flush=True)
    return features


def plain_seconds(x: Features, y: Labels, x_val: Features) -> float:
    """What the grid takes where every setting reads every column, from a part of it."""
    x, y = shuffled(x, y)
    started = time.perf_counter()
    for setting in SAMPLED:
        classifier = LGBMClassifier(n_jobs=1, verbose=-1, random_state=0, **GBM_GRID[setting]).fit(x, y)
        classifier.predict_proba(x_val)
    return (time.perf_counter() - started) * (len(GBM_GRID) + 1) / len(SAMPLED)


def compare(features: Features, rows: int) -> None:
    """The grid on so many training rows, and as many to choose by."""
    random = np.random.default_rng(rows)
    places = random.permutation(features.shape[0])[: 2 * rows]
    x = features[places]
    weights = random.normal(size=x.shape[1]) * (random.random(x.shape[1]) < 0.2)
    told = x @ weights + random.normal(size=2 * rows) * 2
    y = (told > np.median(told)).astype(np.int64)
    started = time.perf_counter()
    trees = train_trees(x[:rows], y[:rows], x[rows:], y[rows:])
    ours = time.perf_counter() - started
    plain = plain_seconds(x[:rows], y[:rows], x[rows:])
    known = LGBMClassifier(n_jobs=1, verbose=-1, **trees.params).fit(*shuffled(x[:rows], y[:rows]))
    same = (trees.probability(x[rows:]) == known.predict_proba(x[rows:])[:, 1]).all()
    print(
        f"{rows:6} rows: {ours:7.1f} s, each setting on all columns {plain:7.1f} s, {plain / ours:5.1f}x, same: {same}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("labels", 100_000), ("codes", 20_000), ("events", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rows", type=int, action="append")
    options = parser.parse_args()
    with threadpool_limits(1):
        features = count(options.labels, options.codes, options.events)
        for rows in options.rows or [16, 128, 400]:
            compare(features.matrix, rows)


if __name__ == "__main__":
    main()
