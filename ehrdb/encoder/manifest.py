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
AGAIN = "Export the encoder again."

DESCRIPTIVE = {
    *("name", "source", "revision", "matryoshka_dimensions", "similarity", "parity", "versions"),
    *("row_scales", "wide_products", "tuning", "endpoint"),  # what they say is in the graph, whose digest counts
}
"""Fields that leave an encoder the same encoder."""

Pooling = Literal["mean", "cls", "last_token", "mean_without_prompt", "max", "mean_sqrt_len", "weighted_mean", "served"]
"""How token states become one vector; served: an endpoint does it."""
Chunking = Literal["none", "mean", "unit_mean", "concat", "lines"]
"""What happens to a text that is too long: its end is cut, or its chunks' vectors are averaged or joined.

lines: each line of any text is embedded by itself, and the vectors are averaged.
"""
Precision = Literal["fp32", "fp16", "bf16", "int8", "int7", "int4", "served"]
"""How products are computed; served: as an endpoint does.

int7: as int8, with weights of 7 bits, for processors that lack exact products of 8 bits or are slow at them.
"""
ChunkPrefix = Literal["first", "every"]
"""Which chunks of a text the prefix stands in front of."""
PromptPosition = Literal["first", "last"]
"""Where a task's instruction stands. Behind the text, all tasks of a timeline share one pass over it."""


class Parity(BaseModel):
    """How the export compares with the original model on sample texts.

    `length_error`: by how much of itself a vector's length differs at most (0: exported before it was measured);
    cosines do not see whether vectors are scaled to one. `overlap_at_10`: share of each text's ten nearest neighbours
    that both agree on. Both speeds are of the export's own run, the original in PyTorch at full precision (None:
    compared with vectors it gave earlier).
    """

    model_config = ConfigDict(frozen=True)

    texts: int
    mean_cosine: float
    min_cosine: float
    length_error: float = 0.0
    overlap_at_10: float
    tokens_per_second: float
    original_tokens_per_second: float | None
    is_accepted_loss: bool = False


class Machine(BaseModel):
    """A processor, as far as it decides which graph is fastest. `flags`: its instructions for small numbers."""

    model_config = ConfigDict(frozen=True)

    processor: str
    flags: tuple[str, ...]
    cores: int


class Candidate(BaseModel):
    """A precision that was tried, with its figures; `tokens_per_second` is absent where the gate refused it."""

    model_config = ConfigDict(frozen=True)

    precision: Precision
    mean_cosine: float
    overlap_at_10: float
    tokens_per_second: float | None


class Tuning(BaseModel):
    """Which candidates were timed on which machine, when the encoder's precision was chosen."""

    model_config = ConfigDict(frozen=True)

    machine: Machine
    providers: tuple[str, ...]
    candidates: tuple[Candidate, ...]


class Manifest(BaseModel):
    """What identifies an encoder and how it was made.

    Attributes:
        source, revision: the model it was made of: a folder's or hub repository's name, and its commit.
        weights_digest: sha-256 over the original weight files.
        pooling, chunking, normalize: how token states become a text's vector.
        dimension: of the vector; below the model's own where a Matryoshka model was cut.
        max_tokens: tokens of one pass, special tokens included; what is longer is cut on the right, or
            chunked: up to `max_chunks` of `chunk_tokens` tokens each.
        prefix: what the model wants in front of every text; `chunk_prefix`: of its first chunk, or of every one.
        include_prompt: whether pooling counts the prefix or instruction in front.
        prompt_position: whether that instruction goes before or behind the text.
        prompt_template: whether texts come with an instruction in front (ehrdb.encoder.prompts).
        matryoshka_dimensions: dimensions that the model was trained to be cut to.
        row_scales: whether activations are scaled row by row where they become integers; older exports scale
            a whole run, in which texts side by side change each other.
        wide_products: how many products stay at full precision where the others multiply integers.
        endpoint: the server that runs it, where that is not this program.
        tuning: how its precision was chosen by measurement, if it was.
        similarity: what the model was trained to be compared by; searches compare by cosine.
        files: sha-256 of every file beside the manifest.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    source: str
    revision: str | None
    architecture: str
    weights_digest: str
    pooling: Pooling
    chunking: Chunking
    normalize: bool
    dimension: int
    max_tokens: int
    chunk_tokens: int
    max_chunks: int
    precision: Precision
    prefix: str
    prompt_template: bool
    prompt_position: PromptPosition = "first"
    include_prompt: bool = True
    chunk_prefix: ChunkPrefix = "first"
    matryoshka_dimensions: tuple[int, ...]
    row_scales: bool = False
    wide_products: int = 0
    endpoint: str | None = None
    similarity: str = "cosine"
    parity: Parity | None
    tuning: Tuning | None = None
    versions: dict[str, str]
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """sha-256 of everything that decides a vector; a change of any of it makes another encoder."""
        identity = self.model_dump(mode="json", exclude=DESCRIPTIVE)
        for name in ("include_prompt", "chunk_prefix"):  # later fields: without them, an encoder is what it was
            if identity[name] == type(self).model_fields[name].default:
                del identity[name]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    def save(self, directory: Path) -> None:
        """Write the manifest into the encoder's directory."""
        (directory / MANIFEST).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_manifest(directory: Path) -> Manifest:
    """Read the manifest and check every file it names.

    Raises ModelIncomplete for a missing or unreadable file, DigestMismatch for a changed one.
    """
    try:
        manifest = Manifest.model_validate_json((directory / MANIFEST).read_text(encoding="utf-8"))
    except OSError:
        raise ModelIncomplete(
            f"no encoder in {directory}", hint="Run `ehrdb encoder export`, or set EHRDB_HOME to where it ran."
        ) from None
    except (ValidationError, UnicodeDecodeError):
        raise ModelIncomplete(f"{directory / MANIFEST} is not a manifest", hint=AGAIN) from None
    for name, digest in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise ModelIncomplete(f"{path} is missing", hint=AGAIN)
        if file_digest(path) != digest:
            raise DigestMismatch(f"{path} has changed since the export", hint=AGAIN)
    return manifest


def file_digest(path: Path) -> str:
    """sha-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
