"""The paper's table: models side by side, its own figures beneath those of the same tasks."""

from __future__ import annotations

import pytest

from ehrdb.evaluation.aggregate import Mean, family_of, few_shot_means
from ehrdb.evaluation.tables import published, side_by_side
from ehrdb.prediction.sampling import ALL
from ehrdb.prediction.targets import FINDINGS, finding_task
from ehrdb.prediction.tasks import benchmark_tasks
from ehrdb.prediction.uk_biobank import uk_biobank_names

BENCHMARK = [task for task in benchmark_tasks() if task != "chexpert"] + [finding_task(each) for each in FINDINGS]
MEANS = {
    ("guo_", ALL): Mean(0.8, 0.01, 0.78, 0.82),
    ("lab_", ALL): Mean(0.7, 0.01, 0.68, 0.72),
    ("macro", ALL): Mean(0.75, 0.01, 0.73, 0.77),
    ("guo_", 8): Mean(0.6, 0.0, 0.6, 0.6),
}


def test_a_row_has_a_models_means_of_groups_with_their_intervals() -> None:
    whole, few = side_by_side({"mine": MEANS}, ["guo_los", "lab_anemia"]).rows(named=True)
    assert whole == {
        "model": "mine",
        "trained on": "all rows",
        "Operational outcomes": "0.800 (0.780-0.820)",
        "Anticipating lab test results": "0.700 (0.680-0.720)",
        "Mean of the groups": "0.750 (0.730-0.770)",
    }
    assert list(few.values()) == ["mine", "k = 8", "0.600", "", ""]


def test_the_papers_figures_of_the_same_tasks_and_k_stand_beneath() -> None:
    rows = side_by_side({"mine": MEANS}, BENCHMARK).rows(named=True)
    found = {row["model"]: row["Mean of the groups"] for row in rows if "paper" in row["model"]}
    assert found["Qwen3-Embedding-8B (paper, Table 3)"] == "0.769"
    assert found["fine-tuned decoder (paper, Figure 8)"] == "0.632"  # k = 8; 64 and 128 were not asked for
    assert {row["trained on"] for row in rows} == {"all rows", "k = 8", "nothing"}


@pytest.mark.parametrize("tasks", [BENCHMARK[:-15], ["guo_los", "guo_icu"], [*BENCHMARK, "mine"]])
def test_the_papers_figures_do_not_stand_beneath_those_of_other_tasks(tasks: list[str]) -> None:
    assert published(tasks) == []
    assert side_by_side({"mine": MEANS}, tasks).height == 2


def test_the_uk_biobanks_tasks_have_figures_of_their_own() -> None:
    (table,) = published(uk_biobank_names())
    assert (table["source"], table["macro"]["CLMBR-T-Base"]) == ("Table 5", 0.736)


def test_findings_of_an_x_ray_are_of_one_task() -> None:
    assert {family_of(task) for task in BENCHMARK} == set(benchmark_tasks())


def test_the_mean_of_the_groups_at_few_examples_weighs_groups_alike() -> None:
    scores = [("guo_los", 8, 0.8), ("guo_icu", 8, 0.8), ("lab_anemia", 8, 0.6), ("lab_anemia", 4, 0.5)]
    means = few_shot_means(scores)
    assert means["macro", 8].mean == pytest.approx(0.7)
    assert ("macro", 4) not in means  # one group is no mean of groups
