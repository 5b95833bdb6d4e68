"""Every error that ehrdb raises on purpose.

    EhrdbError                      message + hint (what to do next)
    ├── ConfigError                 a setting that cannot be used
    ├── DatabaseError               the server cannot serve ehrdb
    │   ├── DatabaseUnavailable     no connection
    │   ├── SchemaOutdated          `ehrdb upgrade` is needed
    │   ├── SchemaNewer             this program is older than the database
    │   ├── SchemaBusy              other sessions are in the way of an upgrade
    │   ├── NotAllowed              the role may not do that
    │   ├── WorkerUnavailable       no worker that could read a text, or none in time
    │   └── NotFound                an unknown patient, task, encoder or head
    ├── ArgumentError               a question that cannot be asked: a negative count, a statement that is no SQL
    ├── InputError                  a file or row that cannot be loaded (file, row, column)
    ├── EncoderError
    │   ├── ModelNotSupported       architecture or pooling that cannot be exported
    │   ├── ModelIncomplete         a file of the model is missing or truncated
    │   ├── DigestMismatch          files changed since the manifest was written
    │   ├── QualityGateFailed       the export differs too much from the original
    │   ├── ProviderUnavailable     an execution provider asked for is not there
    │   ├── EndpointError           a server of embeddings fails, or is not the one of the export
    │   └── ItemError               one text of a batch (carries its index, never the text)
    │       ├── EmptyText
    │       └── NonFiniteVector
    ├── RefreshError                a refresh that could not do its work
    └── TrainingError               labels or vectors that no head can be trained on

Messages name files, rows, ids and tasks; they never carry clinical text, values or vectors.
"""

from __future__ import annotations

from pathlib import Path


class EhrdbError(Exception):
    """Base of all ehrdb errors: what went wrong, a hint that says what to do, and `code`: the SQLSTATE of what the
    database refused (EH001 and so on: ehrdb's own), None of what it was not asked."""

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        # Where Python, or a notebook, prints the error itself.
        if hint:
            self.add_note(f"hint: {hint}")
        if code:
            self.add_note(f"code: {code}")


class ConfigError(EhrdbError):
    """A setting cannot be used."""


class DatabaseError(EhrdbError):
    """The server cannot serve ehrdb."""


class DatabaseUnavailable(DatabaseError):
    """No connection to the database."""


class SchemaOutdated(DatabaseError):
    """The schema is missing or older than this program."""


class SchemaNewer(DatabaseError):
    """The schema is of a newer ehrdb than this program."""


class SchemaBusy(DatabaseError):
    """Other sessions held what an upgrade needs for longer than it waited."""


class NotAllowed(DatabaseError):
    """The role may not do that."""


class WorkerUnavailable(DatabaseError):
    """No worker could read a text, or none answered in time."""


class ArgumentError(EhrdbError):
    """A question that cannot be asked as it is."""


class NotFound(DatabaseError):
    """An unknown patient, task, encoder or head was asked for."""


class EhrdbWarning(UserWarning):
    """An answer that is less than it looks: nobody is in the cohort, no concept holds any of the words."""


class InputError(EhrdbError):
    """A file or row cannot be loaded; nothing was written. `problem`: the message without its place."""

    def __init__(
        self,
        message: str,
        *,
        file: Path | str | None = None,
        row: int | None = None,
        column: str | None = None,
        hint: str | None = None,
    ) -> None:
        place = [str(file)] if file is not None else []
        place += [f"row {row}"] if row is not None else []
        place += [f"column {column}"] if column is not None else []
        super().__init__(f"{', '.join(place)}: {message}" if place else message, hint=hint)
        self.problem, self.file, self.row, self.column = message, file, row, column


class EncoderError(EhrdbError):
    """An encoder cannot be exported, loaded or run."""


class ModelNotSupported(EncoderError):
    """The model's architecture or pooling cannot be exported."""


class ModelIncomplete(EncoderError):
    """A file that the model needs is missing or truncated."""


class DigestMismatch(EncoderError):
    """The encoder's files are not the ones its manifest describes."""


class QualityGateFailed(EncoderError):
    """The exported graph differs too much from the original model."""


class ProviderUnavailable(EncoderError):
    """An execution provider that was asked for is not available here."""


class EndpointError(EncoderError):
    """A server of embeddings cannot be asked, or does not answer as it did at the export."""


class ItemError(EncoderError):
    """One text of a batch failed; `index` is its position in the batch."""

    def __init__(self, message: str, *, index: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.index = index


class EmptyText(ItemError):
    """There is nothing to embed."""


class NonFiniteVector(ItemError):
    """The model's output holds NaN or infinity."""


class RefreshError(EhrdbError):
    """A refresh could not do its work."""


class TrainingError(EhrdbError):
    """No head can be trained on these labels and vectors."""
