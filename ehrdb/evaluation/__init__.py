"""The paper's evaluation (Hegselmann et al. 2026): metrics, intervals, paired tests, means, baselines, report.

Works on arrays; labels, vectors and samples come from `ehrdb.prediction`.
"""

from ehrdb.evaluation.aggregate import Mean, few_shot_means, group_means, group_of
from ehrdb.evaluation.metrics import Metrics, measure
from ehrdb.evaluation.paired import Comparison, PairedTest, compare, holm, paired_test
from ehrdb.evaluation.run import Run, evaluate
from ehrdb.prediction.bootstrap import Estimate, draw_patients

__all__ = [
    "Comparison",
    "Estimate",
    "Mean",
    "Metrics",
    "PairedTest",
    "Run",
    "compare",
    "draw_patients",
    "evaluate",
    "few_shot_means",
    "group_means",
    "group_of",
    "holm",
    "measure",
    "paired_test",
]
