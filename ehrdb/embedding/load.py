"""From a registered encoder to a running one."""

from __future__ import annotations

from pathlib import Path

from ehrdb.config import Settings
from ehrdb.embedding.registry import RegisteredEncoder
from ehrdb.encoder import Encoder
from ehrdb.encoder.endpoint import open_endpoint
from ehrdb.encoder.manifest import load_manifest
from ehrdb.encoder.runtime import open_encoder
from ehrdb.errors import DigestMismatch, EncoderError


def encoder_directory(settings: Settings, name: str) -> Path:
    """Where an encoder's files are."""
    return settings.encoder_dir / name.replace("/", "--")


def load_encoder(settings: Settings, registered: RegisteredEncoder) -> Encoder:
    """Load the encoder's files, after making sure that they are the ones the database knows.

    Raises DigestMismatch, ModelIncomplete, ProviderUnavailable or EndpointError; EncoderError where there is no
    model to run.
    """
    if registered.kind != "model":
        raise EncoderError(
            f"{registered.name} has no model to run (kind {registered.kind})",
            hint="Its vectors come with `ehrdb encoder import`, or from the parts of the concatenation.",
        )
    directory = encoder_directory(settings, registered.name)
    manifest = load_manifest(directory)
    if manifest.digest != registered.digest:
        raise DigestMismatch(
            f"{directory} holds another encoder than the database's {registered.name}",
            hint="Copy the right files there, or export and register under another --name.",
        )
    if manifest.endpoint:
        key = settings.endpoint_key.get_secret_value() if settings.endpoint_key else None
        return open_endpoint(directory, manifest, settings.endpoint_list, key)
    return open_encoder(directory, manifest, settings.provider_list, settings.threads)
