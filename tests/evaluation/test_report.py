from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from datetime import datetime
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from ehrdb.evaluation import Estimate, compare, evaluate, holm
from ehrdb.evaluation.aggregate import MACRO
from ehrdb.evaluation.report import Model, Report, intervals, render
from ehrdb.prediction.targets import Split, Target

PATIENTS = 240


def target(task: str, *, positive_test_patients: int = 40) -> Target:
    """240 patients, a third in each split; the first dimension tells the outcome."""
    random = np.random.default_rng(0)
    patient = np.arange(PATIENTS)
    outcome = (patient // 3 < positive_test_patients).astype(np.int64)
    vectors = outcome[:, None] + random.normal(size=(PATIENTS, 4))
    times = np.full(PATIENTS, np.datetime64("2020-01-01", "us"))
    rows = [np.flatnonzero(patient % 3 == third) for third in range(3)]
    return Target(task, vectors, *(Split(row, outcome[row], patient[row], times[row]) for row in rows))


def report(*targets: Target, shots: tuple[int, ...] = (8, -1)) -> Report:
    runs = list(evaluate(targets, shots, replicates=2, bootstrap=50))
    patients = pl.DataFrame(
        {
            "patient_id": range(PATIENTS),
            "birth_time": [datetime(1950, 1, 1)] * PATIENTS,
            "sex": ["F", "M"] * (PATIENTS // 2),
            "race": ["rare"] * 9 + ["common"] * (PATIENTS - 9),
        }
    )
    models = [Model("our encoder", runs), Model("<other>", runs)]
    tests = holm(compare(targets, runs, runs, replicates=200))
    return Report("Evaluation of our encoder", targets, models, tests, patients, {"data": "made for the test"})


@pytest.fixture(scope="module")
def page() -> str:
    return render(report(target("guo_icu"), target("new_celiac", positive_test_patients=10)))


def test_page_asks_nothing_of_the_network(page: str) -> None:
    assert "http" not in page.replace("http-equiv", "")
    assert set(re.findall(r'(?:src|href)="(data:|#|[^"]*)', page)) == {"data:", "#"}
    assert "default-src 'none'" in page


def test_page_has_every_section(page: str) -> None:
    for section in ("summary", "curves", "tasks", "scores", "data", "provenance"):
        assert f'<h2 id="{section}">' in page
        assert f'href="#{section}"' in page
    assert "made for the test" in page


def test_figures_are_readable_svgs_with_words(page: str) -> None:
    images = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]+)">', page)
    for title in ("ROC curve", "Precision and recall", "Calibration", "Decision curve", "AUROC by subgroup"):
        assert any(words.startswith(title) for _, words in images)
    for source, _ in images:
        assert ElementTree.fromstring(b64decode(source)).tag.endswith("svg")


def test_three_tasks_and_more_stand_on_a_radar_with_every_model() -> None:
    runs = report(target("guo_icu"), target("guo_los"), target("lab_anemia"), shots=(-1,))
    names = [f"model {number}" for number in range(9)]
    page = render(replace(runs, models=[Model(name, runs.models[0].runs) for name in names], tests=()))
    ((source, words),) = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="(AUROC by task[^"]*)">', page)
    assert words == "AUROC by task, all rows"
    drawn = b64decode(source).decode()
    assert all(f">{word}<" in drawn for word in (*names, "guo_icu", "guo_los", "lab_anemia"))


def test_two_tasks_stand_on_no_radar(page: str) -> None:
    assert "AUROC by task" not in page


def test_positives_of_few_patients_are_not_counted(page: str) -> None:
    row = re.search(r"<tr><td></td><td>test</td>.*", page[page.index("<td>new_celiac</td><td>train") :])
    assert row is not None
    assert "fewer than 11 patients" in row.group()
    assert ">10 (" not in row.group()


def test_rare_levels_are_not_shown(page: str) -> None:
    assert "rare" not in page


def test_names_are_escaped(page: str) -> None:
    assert "&lt;other&gt;" in page
    assert "<other>" not in page


def test_a_model_compared_with_itself_is_a_tie(page: str) -> None:
    assert '<span class="tie">tie</span> +0.000' in page


def test_one_training_size_has_no_curves() -> None:
    page = render(report(target("guo_icu"), shots=(-1,)))
    assert "Few-shot curves" not in page


def test_same_runs_give_the_same_page() -> None:
    same = report(target("guo_icu"), shots=(-1,))
    assert render(same) == render(same)


def test_a_task_has_one_interval_throughout_the_report() -> None:
    page = render(report(target("guo_icu"), target("new_celiac"), shots=(-1,)))
    summary, scores = page[: page.index('id="tasks"')], page[page.index('id="scores"') :]
    found = re.search(r"<tr><td>guo_icu</td><td>all rows</td><td>(.*?)</td>", scores)
    assert found is not None
    assert f"<tr><td>Operational outcomes</td><td>{found.group(1)}</td>" in summary
    assert "Mean of the groups" in summary


def test_a_single_group_has_no_mean_of_groups() -> None:
    assert "Mean of the groups" not in render(report(target("guo_icu"), shots=(-1,)))


def test_intervals_of_means_stay_within_what_a_metric_can_be() -> None:
    wide = Estimate(0.02, 0.5, 0.001, 0.9, 0.1)
    found = intervals({"guo_icu": wide, "guo_los": wide, "new_lupus": wide})
    assert [(mean.lower, mean.upper) for mean in found.values()] == [
        (0, pytest.approx(0.02 + 1.96 * 0.5 / 2**0.5)),
        (0.001, 0.9),
        (0, pytest.approx(0.02 + 1.96 * found[MACRO].sd)),
    ]
