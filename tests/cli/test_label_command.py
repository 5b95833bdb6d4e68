"""`ehrdb label` warns of labels that say nothing."""

from __future__ import annotations

import pytest

from ehrdb.cli.label import warnings_of
from ehrdb.prediction import LabelResult


@pytest.mark.parametrize(("labels", "positives", "warned"), [(100, 0, True), (100, 1, False), (0, 0, False)])
def test_labels_that_are_all_negative_are_suspicious(labels: int, positives: int, warned: bool) -> None:
    assert any("no positive label" in w for w in warnings_of([LabelResult("new_lupus", labels, positives)])) is warned


def test_one_line_names_all_tasks_whose_codes_nobody_has() -> None:
    results = [
        LabelResult("new_lupus", 9, 0, False),
        LabelResult("lab_anemia", 0, 0, False),
        LabelResult("guo_los", 2, 1),
    ]
    (warning,) = warnings_of(results)
    assert "new_lupus, lab_anemia" in warning
    assert "ehrdb load map" in warning
