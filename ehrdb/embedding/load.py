"""From a registered encoder to a running one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ehrdb.config import Settings
from ehrdb.embedding.files import registered_files
from ehrdb.embedding.registry import RegisteredEncoder

if TYPE_CHECKING:
    from ehrdb.encoder.runtime import BatchingEncoder


def load_encoder(settings: Settings, registered: RegisteredEncoder) -> BatchingEncoder:
    """Load the encoder's files, after making sure that they are the ones the database knows.

    A host that has none fetches them from the database, where they are published. Raises DigestMismatch,
    ModelIncomplete or ProviderUnavailable; EncoderError where there is no model to run.
    """
    # Imported here: most commands run no model, and need no runtime for one.
    from ehrdb.encoder.runtime import open_encoder

    directory, manifest = registered_files(settings, registered)
    return open_encoder(directory, manifest, settings.provider_list, settings.threads)
