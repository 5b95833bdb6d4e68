"""`ehrdb timeline`: colours and conversions that need no database."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from ehrdb.cli.timeline import colour_headings
from ehrdb.errors import ConfigError
from ehrdb.timeline import to_xml


def test_headings_are_coloured_and_nothing_else_changes() -> None:
    markdown = "\n\n# Record\n\n## Visits\n\n- [bold]not markup[/]\n"
    text = colour_headings(markdown)
    assert text.plain == markdown
    assert [markdown[span.start : span.end] for span in text.spans] == ["# Record", "## Visits"]


def test_missing_libraries_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_libraries(name: str, *rest: Any) -> Any:
        if name.startswith(("markdown_to_json", "json2xml")):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_libraries)
    with pytest.raises(ConfigError) as caught:
        to_xml("# Record\n\n- line")
    assert caught.value.hint == "Install it: pip install 'ehrdb[formats]'"
