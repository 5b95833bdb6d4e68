from __future__ import annotations

import pytest

from ehrdb.encoder.prompts import NEUTRAL_SENTENCE, prompt_for, split_prompt
from ehrdb.prediction import benchmark_tasks


def test_a_prompt_is_the_papers_byte_for_byte() -> None:
    assert prompt_for("guo_readmission", "list_recent") == (
        "Instruct: Given a patient's electronic healthcare record (EHR) as a newline separated list, retrieve "
        "relevant passages that answer the query: will the patient be readmitted to the hospital within 30 days\n"
        "Query:\n"
    )


@pytest.mark.parametrize(
    ("text_format", "form"),
    [
        ("list_first_time", "as a newline separated list with dates and times,"),
        ("list_recent_no_labs", "as a newline separated list,"),
        ("markdown", "in Markdown format,"),
    ],
)
def test_the_prompt_names_the_form_of_the_text(text_format: str, form: str) -> None:
    assert f"(EHR) {form}" in prompt_for(None, text_format)


@pytest.mark.parametrize("task", sorted(benchmark_tasks()))
def test_every_task_of_the_benchmark_has_its_own_sentence(task: str) -> None:
    assert NEUTRAL_SENTENCE not in prompt_for(task, "list_recent")


@pytest.mark.parametrize("task", [None, "a_sites_own_task"])
def test_without_a_sentence_of_its_own_a_task_gets_the_neutral_one(task: str | None) -> None:
    assert NEUTRAL_SENTENCE in prompt_for(task, "list_recent")


def test_a_prompt_can_be_split_off_again() -> None:
    prompt = prompt_for("new_lupus", "list_recent")

    assert split_prompt(f"{prompt}Asthma\nQuery:\n") == (prompt, "Asthma\nQuery:\n")
    assert split_prompt("Asthma") == ("", "Asthma")
