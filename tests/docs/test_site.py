"""The documentation as a site: every link leads somewhere, every page is in the menu, no other host is asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with warnings as errors: a link to nowhere, a page that the menu lacks."""
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=CHECKOUT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return folder


def test_the_site_asks_no_other_host(site: Path) -> None:
    elsewhere = '="(?:https?:)?//'
    loaded = re.compile(f'<(?:script|img|iframe)[^>]+src{elsewhere}|<link[^>]+rel="stylesheet"[^>]+href{elsewhere}')
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert [page.name for page in pages if loaded.search(page.read_text(encoding="utf-8"))] == []


def test_every_public_method_of_the_client_is_in_the_reference(site: Path) -> None:
    from ehrdb.client import Client

    page = (site / "python-reference" / "index.html").read_text(encoding="utf-8")
    methods = [name for name in vars(Client) if not name.startswith("_")]
    assert [name for name in methods if f'id="ehrdb.client.Client.{name}"' not in page] == []


def test_notebooks_are_pages_with_their_answers(site: Path) -> None:
    page = (site / "from-omop-to-a-risk-list" / "index.html").read_text(encoding="utf-8")
    assert "all-MiniLM-L6-v2" in page
    assert "<table" in page
