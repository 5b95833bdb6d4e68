"""Instructions in front of a text, for encoders trained to follow them (paper, Methods: prompts)."""

from __future__ import annotations

START, END = "Instruct: ", "\nQuery:\n"
"""Qwen3's template, with the line break after `Query:` that the paper adds."""

_FORMS = {
    "list": "as a newline separated list",
    "list_time": "as a newline separated list with dates and times",
    "markdown": "in Markdown format",
    "json": "in JSON format",
    "xml": "in XML format",
    "yaml": "in YAML format",
}
_TASK_SENTENCES = {
    "guo_los": "will the patient stay in the hospital for more than 7 days",
    "guo_readmission": "will the patient be readmitted to the hospital within 30 days",
    "guo_icu": "will the patient be transferred to the intensive care unit",
    "lab_thrombocytopenia": "has the patient thrombocytopenia",
    "lab_hyperkalemia": "has the patient hyperkalemia",
    "lab_hypoglycemia": "has the patient hypoglycemia",
    "lab_hyponatremia": "has the patient hyponatremia",
    "lab_anemia": "has the patient anemia",
    "new_hypertension": "has the patient hypertension",
    "new_hyperlipidemia": "has the patient hyperlipidemia",
    "new_pancan": "has the patient pancreatic cancer",
    "new_celiac": "has the patient celiac disease",
    "new_lupus": "has the patient lupus",
    "new_acutemi": "has the patient an acute myocardial infarction",
    "chexpert": "what are the chest x-ray findings of the patient",
}
_FINDING = "chexpert_"
NEUTRAL_SENTENCE = "what are the key clinical features of the patient to predict future medical events"


def prompt_for(task: str | None, text_format: str, question: str | None = None) -> str:
    """What stands directly in front of the text: the task's sentence, else `question`, else the neutral one."""
    return f"{START}{instruction_for(task, text_format, question)}{END}"


def instruction_for(task: str | None, text_format: str, question: str | None = None) -> str:
    """The instruction alone, without the template's marks."""
    return (
        f"Given a patient's electronic healthcare record (EHR) {_form(text_format)}, "
        f"retrieve relevant passages that answer the query: {_sentence(task or '') or question or NEUTRAL_SENTENCE}"
    )


def split_prompt(text: str) -> tuple[str, str]:
    """The prompt that `prompt_for` put in front (or nothing), and the text behind it."""
    if not text.startswith(START) or END not in text:
        return "", text
    end = text.index(END) + len(END)
    return text[:end], text[end:]


def prompt_behind(prompt: str) -> str:
    """The same instruction for the place behind a text."""
    return f"\n{prompt.removesuffix(END)}" if prompt else ""


def _sentence(task: str) -> str | None:
    """A task's, or a single finding's of a chest X-ray."""
    if task.startswith(_FINDING):
        return f"will the chest x-ray of this patient show {task.removeprefix(_FINDING).replace('_', ' ')}"
    return _TASK_SENTENCES.get(task)


def _form(text_format: str) -> str:
    for name in ("markdown", "json", "xml", "yaml"):
        if text_format.startswith(name):
            return _FORMS[name]
    return _FORMS["list_time" if "_time" in text_format else "list"]
