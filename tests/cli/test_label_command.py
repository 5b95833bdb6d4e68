"""`ehrdb label` warns of labels that say nothing."""

from __future__ import annotations

import pytest

from ehrdb.cli.label import notes_of, warnings_of
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


def test_stays_without_an_end_are_a_line_where_there_are_any() -> None:
    results = [
        LabelResult("a", 2, 1, in_open_stays=1234),
        LabelResult("b", 2, 1, in_open_stays=0),
        LabelResult("c", 2, 1),
    ]
    assert list(notes_of(results)) == ["a: 1,234 more are asked in stays without an end, so they have no label yet"]
