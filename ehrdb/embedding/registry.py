"""Encoders that the database knows: register, activate, drop, look up."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ehrdb.database import Connection
from ehrdb.encoder.manifest import Manifest
from ehrdb.encoder.prompts import prompt_for
from ehrdb.errors import EncoderError, NotFound
from ehrdb.queries import Queries

MAX_DIMENSION = 16_000  # of a vector in pgvector
_queries = Queries("ehrdb.embedding", "registry.sql")


@dataclass(frozen=True)
class RegisteredEncoder:
    """One row of ehr.encoder, as far as Python needs it.

    `kind`: model (a graph to run), import (vectors made elsewhere) or concatenation (of two others).
    """

    encoder_id: int
    name: str
    kind: str
    digest: str
    dimension: int
    format: str
    prompt_id: int
    is_serving: bool


def register(connection: Connection, manifest: Manifest, text_format: str = "list_recent") -> RegisteredEncoder:
    """Make an exported encoder known and give it storage; the first one becomes the serving one.

    Registering the same encoder again changes nothing. Raises EncoderError where the name is taken by
    different weights, settings or text format.
    """
    known = _find(connection, manifest.name)
    if known and (known.digest, known.format) != (manifest.digest, text_format):
        raise _name_taken(known)
    if known:
        return known
    values = {
        "name": manifest.name,
        "digest": manifest.digest,
        "dimension": manifest.dimension,
        "max_tokens": manifest.max_tokens,
        "pooling": manifest.pooling,
        "precision": manifest.precision,
        "format": text_format,
        "prompt_id": prompt_id(connection, prompt_of(manifest, None, text_format)),
        "manifest": manifest.model_dump_json(),
    }
    connection.execute(_queries.register, values)
    return find(connection, manifest.name)


def concatenate(connection: Connection, name: str, first: str, second: str) -> RegisteredEncoder:
    """Register the vectors of two encoders side by side, each as it is, as one encoder, and fill it.

    It has a vector where both parts know a patient as of the same moment (the paper's LLM + CLMBR). No model
    is run for it: a refresh of its parts, or an import, brings it up to date. Raises EncoderError.
    """
    parts = [find(connection, part) for part in (first, second)]
    _require_parts(connection, parts)
    digest = hashlib.sha256("+".join(part.digest for part in parts).encode()).hexdigest()
    known = _find(connection, name)
    if known and known.digest != digest:
        raise _name_taken(known)
    if known is None:
        values = {"name": name, "digest": digest, "first_id": parts[0].encoder_id, "second_id": parts[1].encoder_id}
        connection.execute(_queries.register_concatenation, values)
    made = find(connection, name)
    connection.execute(_queries.concatenate, {"encoder_id": made.encoder_id})
    return made


def models(connection: Connection, encoder: RegisteredEncoder) -> list[RegisteredEncoder]:
    """The encoders whose models are run to fill this one: itself, or those of its parts that are models."""
    return [RegisteredEncoder(*row) for row in connection.execute(_queries.models, {"encoder_id": encoder.encoder_id})]


def find(connection: Connection, name: str | None) -> RegisteredEncoder:
    """The encoder of that name (None: the serving one). Raises NotFound."""
    found = _find(connection, name)
    if found is None:
        wanted = f"no encoder is named {name}" if name else "no encoder is serving"
        raise NotFound(wanted, hint="See `ehrdb encoder list`; make one with `ehrdb encoder export`.")
    return found


def list_encoders(connection: Connection) -> list[RegisteredEncoder]:
    """All registered encoders, oldest first."""
    return [RegisteredEncoder(*row) for row in connection.execute(_queries.list_encoders)]


def activate(connection: Connection, name: str) -> list[str]:
    """Make this encoder the serving one, in one statement: no query ever sees two or none.

    Returns the tasks that heads of other encoders predict and that it has no head for.
    """
    encoder_id = {"encoder_id": find(connection, name).encoder_id}
    connection.execute(_queries.activate, encoder_id)
    return [task for (task,) in connection.execute(_queries.without_heads, encoder_id)]


def droppable(connection: Connection, name: str) -> tuple[RegisteredEncoder, int, int]:
    """An encoder that may go, how many patients have a vector of it, and its heads.

    Raises EncoderError for the serving one, and for a part of another.
    """
    encoder = find(connection, name)
    if encoder.is_serving:
        raise EncoderError(f"{name} is serving", hint="Activate another encoder first.")
    user = connection.execute(_queries.used_by, {"encoder_id": encoder.encoder_id}).fetchone()
    if user:
        raise EncoderError(f"{name} is part of {user[0]}", hint=f"Drop {user[0]} first.")
    patients, heads = connection.execute(_queries.holdings, {"encoder_id": encoder.encoder_id}).fetchone() or (0, 0)
    return encoder, patients, heads


def drop(connection: Connection, name: str) -> None:
    """Remove an encoder with its vectors, heads and jobs. Raises EncoderError for one that may not go."""
    encoder, _, _ = droppable(connection, name)
    connection.execute(_queries.drop, {"encoder_id": encoder.encoder_id})


def prompt_of(manifest: Manifest, task: str | None, text_format: str) -> str:
    """What stands in front of the text for a task (None: the neutral prompt); empty for encoders without."""
    return prompt_for(task, text_format) if manifest.prompt_template else ""


def prompt_id(connection: Connection, prompt: str) -> int:
    """Key of a prompt, remembered on first use."""
    row = connection.execute(_queries.prompt_id, {"prompt": prompt}).fetchone()
    assert row is not None
    return int(row[0])


def _require_parts(connection: Connection, parts: list[RegisteredEncoder]) -> None:
    first, second = parts
    if "concatenation" in (first.kind, second.kind) or first == second:
        raise EncoderError("a concatenation has two different parts, none itself a concatenation")
    if first.dimension + second.dimension > MAX_DIMENSION:
        raise EncoderError(
            f"{first.name} and {second.name} together have more than {MAX_DIMENSION} dimensions",
            hint="Cut one with `ehrdb encoder export --dimension`.",
        )
    ids = {"first_id": first.encoder_id, "second_id": second.encoder_id}
    forms = connection.execute(_queries.prompt_forms, ids).fetchone()
    if forms and forms[0] > 1:
        raise EncoderError(
            f"{first.name} and {second.name} take prompts about different text formats",
            hint="Concatenate encoders that read the same --format.",
        )


def _name_taken(known: RegisteredEncoder) -> EncoderError:
    return EncoderError(
        f"the name {known.name} belongs to another encoder (digest {known.digest[:12]})",
        hint="Choose another --name; vectors of two encoders are never mixed.",
    )


def _find(connection: Connection, name: str | None) -> RegisteredEncoder | None:
    row = connection.execute(_queries.find, {"name": name}).fetchone()
    return RegisteredEncoder(*row) if row else None
