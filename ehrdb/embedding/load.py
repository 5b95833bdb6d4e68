"""From a registered encoder to a running one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from ehrdb.config import Settings
from ehrdb.embedding.files import registered_files
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoder

if TYPE_CHECKING:
    from ehrdb.encoder import Encoder

LoadEncoder = Callable[[RegisteredEncoder], Encoder]
"""Gives the encoder that runs a registered one."""


def each_model_once(load: LoadEncoder, keep: int = 2) -> LoadEncoder:
    """Loads a model once for all encoders that read texts of different formats with it; the last `keep` stay loaded."""
    loaded: OrderedDict[str, Encoder] = OrderedDict()

    def found(registered: RegisteredEncoder) -> Encoder:
        if registered.digest not in loaded:
            loaded[registered.digest] = load(registered)
        loaded.move_to_end(registered.digest)
        while len(loaded) > keep:
            loaded.popitem(last=False)
        return loaded[registered.digest]

    return found


def load_encoder(settings: Settings, registered: RegisteredEncoder) -> Encoder:
    """Load the encoder's files, after making sure that they are the ones the database knows.

    A host that has none fetches them from the database, where they are published. Raises DigestMismatch,
    ModelIncomplete, ProviderUnavailable or EndpointError; EncoderError where there is no model to run.
    """
    directory, manifest = registered_files(settings, registered)
    # Imported here: most commands run no model, and need no runtime for one.
    if manifest.endpoint:
        from ehrdb.encoder.endpoint import open_endpoint

        key = settings.endpoint_key.get_secret_value() if settings.endpoint_key else None
        return open_endpoint(directory, manifest, settings.endpoint_list, key)
    from ehrdb.encoder.runtime import open_encoder

    return open_encoder(directory, manifest, settings.provider_list, settings.threads)
