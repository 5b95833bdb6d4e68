"""`ehrdb label` warns of labels that say nothing."""

from __future__ import annotations

import pytest

from ehrdb.cli.label import is_suspicious
from ehrdb.prediction import LabelResult


@pytest.mark.parametrize(("labels", "positives", "expected"), [(100, 0, True), (100, 1, False), (0, 0, False)])
def test_labels_that_are_all_negative_are_suspicious(labels: int, positives: int, expected: bool) -> None:
    assert is_suspicious(LabelResult("new_lupus", labels, positives)) is expected
