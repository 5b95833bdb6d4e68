"""A hook of MkDocs: the executed notebooks as pages, with what they answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Beside each notebook its page."""
    for notebook in Path(config.docs_dir).glob("*.ipynb"):
        files.append(File.generated(config, f"{notebook.stem}.md", content=markdown(notebook)))
    return files


def on_page_markdown(text: str, **_: Any) -> str:
    """Links to a notebook go to its page."""
    return text.replace(".ipynb)", ".md)")


def markdown(notebook: Path) -> str:
    """Text, code and answers, one after the other."""
    parts = []
    for cell in nbformat.read(notebook, as_version=4).cells:
        is_code = cell.cell_type == "code"
        parts.append(f"```python\n{cell.source}\n```" if is_code else cell.source)
        parts += [_answer(output) for output in cell.get("outputs", [])]
    return "\n\n".join(parts)


def _answer(output: Any) -> str:
    if output.output_type == "stream":
        return f"```text\n{output.text.rstrip()}\n```"
    shown = output.data
    if "text/html" in shown:
        # A block of HTML ends at an empty line.
        return "\n".join(line for line in shown["text/html"].splitlines() if line.strip())
    return f"```text\n{shown['text/plain'].rstrip()}\n```"
