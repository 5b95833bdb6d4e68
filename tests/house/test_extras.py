"""A base installation runs what it can, and names the extra of whatever it cannot."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ehrdb.extras import EXTRAS

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = PROJECT["dependencies"]
OPTIONAL: dict[str, list[str]] = PROJECT["optional-dependencies"]

# Without their extra these cannot be imported; everything else can.
NEEDS_AN_EXTRA = {
    "ehrdb.assistant": "mcp",
    "ehrdb.embedding.metrics": "prometheus_client",
    "ehrdb.embedding.vector_files": "polars",
    "ehrdb.embedding.vectors": "polars",
    "ehrdb.encoder.candidates": "onnx",
    "ehrdb.encoder.convert": "onnx",
    "ehrdb.encoder.cuda": "onnx",
    "ehrdb.encoder.decoder": "onnx",
    "ehrdb.encoder.export": "onnx",
    "ehrdb.encoder.fusion": "onnx",
    "ehrdb.encoder.graph": "onnx",
    "ehrdb.encoder.integers": "onnx",
    "ehrdb.encoder.onnx_files": "onnx",
    "ehrdb.encoder.original": "torch",
    "ehrdb.encoder.runtime": "onnxruntime",
    "ehrdb.encoder.tail": "onnx",
    "ehrdb.encoder.tuning": "onnxruntime",
    "ehrdb.encoder.weights": "torch",
    "ehrdb.events.meds": "polars",
    "ehrdb.events.parquet_table": "polars",
    "ehrdb.events.shards": "polars",
    "ehrdb.frames": "polars",
    "ehrdb.parquet": "polars",
    "ehrdb.page.app": "jinja2",
    "ehrdb.page.cohort": "threadpoolctl",
    "ehrdb.page.doors": "starlette",
    "ehrdb.prediction.boosting": "polars",
    "ehrdb.prediction.calibration": "scipy",
    "ehrdb.prediction.counts": "polars",
    "ehrdb.prediction.files": "polars",
    "ehrdb.prediction.finetune.loop": "torch",
    "ehrdb.prediction.finetune.models": "torch",
    "ehrdb.prediction.finetune.run": "polars",
    "ehrdb.prediction.given": "polars",
    "ehrdb.prediction.heads": "scipy",
    "ehrdb.prediction.keep": "scipy",
    "ehrdb.prediction.label_files": "polars",
    "ehrdb.prediction.stored": "polars",
    "ehrdb.prediction.stored_counts": "polars",
    "ehrdb.prediction.survival": "scipy",
    "ehrdb.prediction.targets": "polars",
    "ehrdb.prediction.training": "sklearn",
    "ehrdb.prediction.trees": "scipy",
    "ehrdb.search.map": "jinja2",
}
OF_THE_USERS_CHOICE = {"pandas", "umap"}  # said where they are asked for
EVALUATION = "ehrdb.evaluation"  # all of it needs the extra train

WITHOUT_EXTRAS = f"""
import importlib, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {set(EXTRAS)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
"""


def without_extras(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code where no package of any extra can be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + code, *arguments],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def modules() -> list[str]:
    paths = sorted((CHECKOUT / "ehrdb").rglob("*.py"))
    names = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return [name for name in names if not name.endswith("__main__")]


def brought_by(extra: str) -> set[str]:
    """Normalized package names of an extra, those of extras it names included."""
    found: set[str] = set()
    for requirement in OPTIONAL[extra]:
        if inner := re.fullmatch(r"ehrdb\[(.*)\]", requirement):
            found |= set().union(*(brought_by(each) for each in inner[1].split(",")))
        else:
            found.add(normalized(requirement))
    return found


def normalized(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return name[0].lower().replace("_", "-").replace(".", "-")


@cache
def distributions() -> Mapping[str, list[str]]:
    """Which distributions bring each package here: read from all of them once."""
    return packages_distributions()


def imported_packages() -> set[str]:
    """Every package outside the standard library that ehrdb imports, anywhere."""
    found: set[str] = set()
    for path in (CHECKOUT / "ehrdb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - {"ehrdb"}


def test_whatever_is_imported_is_declared() -> None:
    base = {normalized(requirement) for requirement in BASE}
    undeclared = {
        package
        for package in imported_packages() - set(EXTRAS) - OF_THE_USERS_CHOICE
        if not base & {normalized(name) for name in distributions().get(package, [package])}
    }
    assert undeclared == set()


@pytest.mark.parametrize(("package", "extra"), EXTRAS.items())
def test_every_hinted_extra_brings_its_package(package: str, extra: str) -> None:
    names = {normalized(name) for name in distributions().get(package, [package])}
    assert names & brought_by(extra)


def test_a_base_installation_imports_all_but_what_needs_an_extra() -> None:
    code = """
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, error.name.split(".")[0])
"""
    ended = without_extras(code, *(name for name in modules() if not name.startswith(EVALUATION)))
    assert ended.returncode == 0, ended.stderr
    assert dict(line.split() for line in ended.stdout.splitlines()) == NEEDS_AN_EXTRA


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        ("demo", "embedded"),
        ("load meds nowhere", "files"),
        ("train guo_los", "train"),
        ("encoder export", "minilm"),
        ("encoder export Qwen/Qwen3-Embedding-0.6B", "export"),
        ("worker --metrics-port 9464", "metrics"),
    ],
)
def test_a_command_names_the_extra_it_lacks(arguments: str, extra: str, tmp_path: Path) -> None:
    ended = without_extras(
        f"import os; os.environ['EHRDB_HOME'] = {str(tmp_path)!r}; from ehrdb.cli import main; main()",
        *arguments.split(),
    )
    assert ended.returncode == 2
    assert f"pip install 'ehrdb[{extra}]'" in ended.stderr
