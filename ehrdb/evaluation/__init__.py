"""The paper's evaluation (Hegselmann et al. 2026): few-shot samples, heads, metrics, intervals, tests, means.

Works on arrays and parquet files; it needs no database.
"""

from ehrdb.evaluation.aggregate import Mean, few_shot_means, group_means, group_of
from ehrdb.evaluation.files import Embeddings, match, read_embeddings, read_labels, read_patients
from ehrdb.evaluation.metrics import Estimate, Metrics, draw_patients, measure
from ehrdb.evaluation.paired import Comparison, PairedTest, compare, holm, paired_test
from ehrdb.evaluation.run import Run, Split, Target, evaluate
from ehrdb.evaluation.sampling import ALL, SHOTS, sample_shots

__all__ = [
    "ALL",
    "SHOTS",
    "Comparison",
    "Embeddings",
    "Estimate",
    "Mean",
    "Metrics",
    "PairedTest",
    "Run",
    "Split",
    "Target",
    "compare",
    "draw_patients",
    "evaluate",
    "few_shot_means",
    "group_means",
    "group_of",
    "holm",
    "match",
    "measure",
    "paired_test",
    "read_embeddings",
    "read_labels",
    "read_patients",
    "sample_shots",
]
