"""Prompts and cut lists of well-known models: data in families.yaml, each with its source."""

from __future__ import annotations

from fnmatch import fnmatch
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict


class Family(BaseModel):
    """What a family's model cards say; see families.yaml for the fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str
    prompt: str = ""
    instructions: bool | None = None
    dimensions: tuple[int, ...] = ()


UNKNOWN = Family(name="*", source="")


def family_of(model: str) -> Family:
    """The family that a model's name says it is of (UNKNOWN where none is known)."""
    name = model.rsplit("/", 1)[-1].lower()
    return next((family for family in families() if fnmatch(name, family.name.lower())), UNKNOWN)


@cache
def families() -> tuple[Family, ...]:
    """All families that are known, in the order in which they are tried."""
    text = (files("ehrdb.encoder") / "families.yaml").read_text(encoding="utf-8")
    return tuple(Family.model_validate(each) for each in yaml.safe_load(text))
