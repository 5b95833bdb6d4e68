"""Settings, read from `EHRDB_*` environment variables (12-factor; no file of our own)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from platformdirs import user_data_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a deployment decides.

    Attributes:
        database_url: a PostgreSQL server >= 15 with pgvector; unset: the embedded server under `home`.
        home: where the embedded server and exported encoders live.
        encoder: name of the encoder to use; unset: the serving one.
        providers: ONNX Runtime execution providers, in order, comma-separated; all must be available.
        threads: threads of one ONNX Runtime session; 0 lets it use every core.
    """

    model_config = SettingsConfigDict(env_prefix="EHRDB_", extra="ignore")

    database_url: str | None = None
    home: Path = Field(default_factory=lambda: user_data_path("ehrdb"))
    encoder: str | None = None
    providers: str = "CPUExecutionProvider"
    threads: int = Field(default=0, ge=0)

    @property
    def encoder_dir(self) -> Path:
        """The folder of exported encoders, one sub-folder per encoder name."""
        return self.home / "encoders"

    @cached_property
    def provider_list(self) -> list[str]:
        """`providers`, split."""
        return [name.strip() for name in self.providers.split(",") if name.strip()]
