"""Paired tests, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ehrdb.evaluation import PairedTest, holm
from ehrdb.evaluation.paired import Comparison, _two_sided, paired_test


def made(p: float, k: int = -1) -> PairedTest:
    return PairedTest("guo_icu", k, 0.1, 0.0, 0.2, p, p, "tie")


def test_holm_steps_down_and_never_falls() -> None:
    adjusted = holm([made(0.03), made(0.01), made(0.02)])
    assert [test.p_holm for test in adjusted] == pytest.approx([0.04, 0.03, 0.04])


def test_the_tests_of_each_k_are_a_family_of_their_own() -> None:
    assert [test.p_holm for test in holm([made(0.03, 8), made(0.03, -1)])] == [0.03, 0.03]


def test_a_significant_difference_is_a_win_after_the_adjustment_only() -> None:
    assert [test.outcome for test in holm([made(0.04)])] == ["win"]
    assert [test.outcome for test in holm([made(0.04), made(0.04)])] == ["tie", "tie"]


def test_p_is_twice_the_share_of_replicates_on_the_other_side() -> None:
    assert _two_sided(np.array([-1.0] * 10 + [1.0] * 89)) == pytest.approx(2 * 11 / 100)


def test_models_that_say_the_same_do_not_differ() -> None:
    labels, scores = np.array([0, 1] * 20), np.linspace(0, 1, 40)
    test = paired_test("guo_icu", -1, [Comparison(labels, scores, scores, np.arange(40))], replicates=200)
    assert (test.delta, test.p, test.outcome) == (0, 1, "tie")
