"""What users declare in YAML files: read, and refused with its place where it is not what it should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ehrdb.errors import InputError

Declared = TypeVar("Declared", bound=BaseModel)


def read_declared(file: Path, kind: Callable[[Any], type[Declared]], hint: str) -> Declared:
    """The file's content as what `kind` takes it for. Raises InputError with place and fault of all that is wrong."""
    content = read_yaml(file)
    try:
        return kind(content).model_validate(content)
    except ValidationError as error:
        raise InputError(faults(error), file=file, hint=hint) from None


def read_yaml(file: Path) -> Any:
    """A YAML file's content. Raises InputError with its line where it is none."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", file=file) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not UTF-8 text"
        raise InputError(f"is not YAML: {problem}", file=file, row=mark.line + 1 if mark else None) from None


def faults(error: ValidationError) -> str:
    """Everything that is written wrong, each with its place."""
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors())
