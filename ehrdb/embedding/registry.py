"""Encoders that the database knows: register, activate, drop, look up."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from ehrdb.database import Connection
from ehrdb.encoder.manifest import Manifest
from ehrdb.encoder.prompts import prompt_for
from ehrdb.errors import EncoderError, NotFound
from ehrdb.queries import Queries

MAX_DIMENSION = 16_000  # of a vector in pgvector
CATEGORIES = ("demographics", "visits", "conditions", "medications", "procedures", "labs")
"""Of events, in the order of the paper's MEME."""
_queries = Queries("ehrdb.embedding", "registry.sql")


@dataclass(frozen=True)
class RegisteredEncoder:
    """One row of ehr.encoder, as far as Python needs it.

    `kind`: model (a graph to run), import (vectors made elsewhere) or concatenation (of others). `model`: the name that
    its model's files have, another encoder's where both read texts of different formats with one model.
    """

    encoder_id: int
    name: str
    kind: str
    digest: str
    dimension: int
    format: str
    prompt_id: int
    is_serving: bool
    model: str


def register(connection: Connection, manifest: Manifest, text_format: str = "list_recent") -> RegisteredEncoder:
    """Make an exported encoder known and give it storage; it serves where none does.

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


def concatenate(connection: Connection, name: str, *parts: str) -> RegisteredEncoder:
    """Register the vectors of several encoders side by side, each as it is, as one encoder, and fill it.

    A part is an encoder's name, or name:format: its model on texts of that format. Such a part embeds what is empty as
    well (under an instruction like any text, without one as zeros), so that the whole has a vector unless all are
    empty: the paper's MEME. Other parts must all know a patient as of the same moment (the paper's LLM + CLMBR). No
    model is run for the whole: a refresh of its parts, or an import, brings it up to date. Raises EncoderError,
    NotFound.
    """
    found = [_part(connection, part) for part in parts]
    _require_parts(connection, [encoder for encoder, _ in found])
    identity = [f"{encoder.digest}:{read}" if read else encoder.digest for encoder, read in found]
    digest = hashlib.sha256("+".join(identity).encode()).hexdigest()
    known = _find(connection, name)
    if known and known.digest != digest:
        raise _name_taken(known)
    if known is None:
        ids, names = [encoder.encoder_id for encoder, _ in found], _part_names(found)
        connection.execute(
            _queries.register_concatenation, {"name": name, "digest": digest, "part_ids": ids, "part_names": names}
        )
    made = find(connection, name)
    connection.execute(_queries.concatenate, {"encoder_id": made.encoder_id})
    return made


def modalities(encoder: str) -> list[str]:
    """The parts of the paper's MEME on one encoder: each category of the record as a text of its own."""
    return [f"{encoder}:list_recent_only_{category}" for category in CATEGORIES]


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


def find_reader(connection: Connection, name: str | None) -> RegisteredEncoder:
    """The same; of name:format, that encoder's model on texts of the format (the empty ones too), made where it is
    missing. Raises NotFound, EncoderError for an encoder without a model."""
    return _part(connection, name)[0] if name else find(connection, name)


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


def _part(connection: Connection, part: str) -> tuple[RegisteredEncoder, str | None]:
    """A part's encoder, made where it is the model of another on texts of a format; and that format."""
    name, _, text_format = part.rpartition(":")
    known = _find(connection, part)
    if known or not name:
        found = known or find(connection, part)
        return found, found.format if found.model != found.name else None
    base = find(connection, name)
    if base.kind != "model":
        raise EncoderError(f"{name} has no model to run (kind {base.kind})", hint="Name it without a format.")
    values = {"encoder_id": base.encoder_id, "name": part, "format": text_format}
    row = connection.execute(_queries.register_reader, {**values, "prompt": prompt_for(None, text_format)}).fetchone()
    assert row is not None
    return find(connection, row[0]), text_format


def _part_names(parts: list[tuple[RegisteredEncoder, str | None]]) -> list[str]:
    """What weights call the parts: the category of a text that holds one alone, else the encoder's name."""
    of_category = [re.fullmatch(r".*_only_([a-z]+)", text_format or "") for _, text_format in parts]
    short = [match[1] if match else encoder.name for match, (encoder, _) in zip(of_category, parts, strict=True)]
    return [name if short.count(name) == 1 else encoder.name for name, (encoder, _) in zip(short, parts, strict=True)]


def _require_parts(connection: Connection, parts: list[RegisteredEncoder]) -> None:
    ids = [part.encoder_id for part in parts]
    if len(parts) < 2 or "concatenation" in {part.kind for part in parts} or len(set(ids)) < len(ids):
        raise EncoderError("a concatenation has at least two different parts, none itself a concatenation")
    if (dimension := sum(part.dimension for part in parts)) > MAX_DIMENSION:
        raise EncoderError(
            f"the parts have {dimension} dimensions together, more than {MAX_DIMENSION}",
            hint=f"Cut each, where its model allows it: ehrdb encoder export --dimension {MAX_DIMENSION // len(parts)}",
        )
    forms = connection.execute(_queries.prompt_forms, {"part_ids": ids}).fetchone()
    if forms and forms[0] > 1:
        raise EncoderError(
            f"{', '.join(part.name for part in parts)} take prompts about different text formats",
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
