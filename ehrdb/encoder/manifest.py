"""The manifest: what an exported encoder is, in one file beside its graph."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ehrdb.errors import DigestMismatch, ModelIncomplete

MANIFEST = "manifest.json"
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"

Pooling = Literal["mean", "cls"]
Precision = Literal["fp32", "int8"]


class Parity(BaseModel):
    """How the export compares with the original model on sample texts."""

    model_config = ConfigDict(frozen=True)

    texts: int
    mean_cosine: float
    min_cosine: float
    overlap_at_10: float
    tokens_per_second: float
    original_tokens_per_second: float
    is_accepted_loss: bool = False


class Manifest(BaseModel):
    """What identifies an encoder and how it was made.

    Attributes:
        pooling: how token states become one vector; `chunk_tokens` and `max_chunks` say how longer texts are
            cut into chunks whose vectors are averaged (the paper's way for BERT-size models).
        max_tokens: tokens of a text that the encoder can see, special tokens included.
        prompt_template: whether texts get an instruction in front (ehrdb.encoder.prompts).
        files: sha-256 of every file beside the manifest.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    source: str
    revision: str | None
    architecture: str
    weights_digest: str
    pooling: Pooling
    normalize: bool
    dimension: int
    max_tokens: int
    chunk_tokens: int
    max_chunks: int
    precision: Precision
    prompt_template: bool
    parity: Parity | None
    versions: dict[str, str]
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """sha-256 of everything that decides a vector; a change of any of it makes another encoder."""
        identity = self.model_dump(
            include={
                "weights_digest",
                "architecture",
                "pooling",
                "normalize",
                "dimension",
                "max_tokens",
                "chunk_tokens",
                "max_chunks",
                "precision",
                "prompt_template",
            }
        )
        identity["tokenizer"] = self.files[TOKENIZER]
        identity["graph"] = self.files[GRAPH]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def save(self, directory: Path) -> None:
        """Write the manifest into the encoder's directory."""
        (directory / MANIFEST).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_manifest(directory: Path) -> Manifest:
    """Read the manifest and check every file it names.

    Raises ModelIncomplete for a missing or unreadable file, DigestMismatch for a changed one.
    """
    try:
        text = (directory / MANIFEST).read_text(encoding="utf-8")
    except OSError:
        raise ModelIncomplete(
            f"no encoder in {directory}",
            hint="Run `ehrdb encoder export`, or set EHRDB_HOME to where it ran.",
        ) from None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError:
        raise ModelIncomplete(f"{directory / MANIFEST} is not a manifest", hint="Export the encoder again.") from None
    for name, digest in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise ModelIncomplete(f"{path} is missing", hint="Export the encoder again.")
        if file_digest(path) != digest:
            raise DigestMismatch(f"{path} has changed since the export", hint="Export the encoder again.")
    return manifest


def file_digest(path: Path) -> str:
    """sha-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
