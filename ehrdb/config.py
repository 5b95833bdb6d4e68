"""Settings: from `EHRDB_*` environment variables, else from a settings file `ehrdb.toml`."""

from __future__ import annotations

import os
import stat
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

from platformdirs import site_config_path, user_config_path, user_data_path
from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ehrdb.errors import ConfigError

FILE = "ehrdb.toml"
FILE_VARIABLE = "EHRDB_CONFIG"


class Settings(BaseSettings):
    """What a deployment decides. The environment wins over the settings file (see `settings_file`).

    Attributes:
        database_url: a PostgreSQL server >= 15 with pgvector, as libpq reads it (`service=name` too); unset: the
            embedded server under `home`, where there is one.
        home: where the embedded server and exported encoders live.
        encoder: name of the encoder to use; unset: the serving one.
        providers: ONNX Runtime execution providers, in order, comma-separated; all must be available.
        threads: threads of one ONNX Runtime session; 0 lets it use every core.
        endpoints: addresses of servers that texts may be sent to for embedding, comma-separated; none by default.
        endpoint_key: what to show to them.
        cohort_table: the site's table of OMOP cohorts (SCHEMA.TABLE), outside ehrdb.
        observation_period_table: the CDM's table of observation periods; unset: a patient's events bound what is known.
        mcp_role: the role as which assistants ask (`ehrdb mcp`); unset: they may not.
        mcp_texts: whether assistants may be told what records say, not ids and figures alone.
    """

    model_config = SettingsConfigDict(env_prefix="EHRDB_", env_ignore_empty=True, extra="ignore")

    database_url: str | None = None
    home: Path = Field(default_factory=lambda: user_data_path("ehrdb"))
    encoder: str | None = None
    providers: str = "CPUExecutionProvider"
    threads: int = Field(default=0, ge=0)
    endpoints: str = ""
    endpoint_key: SecretStr | None = None
    cohort_table: str | None = None
    observation_period_table: str | None = None
    mcp_role: str | None = None
    mcp_texts: bool = False

    @property
    def site_tables(self) -> dict[str, str]:
        """What SQL is told of them in every transaction: ehrdb.cohort_table, ehrdb.observation_period_table."""
        named = {"cohort_table": self.cohort_table, "observation_period_table": self.observation_period_table}
        return {f"ehrdb.{name}": table for name, table in named.items() if table}

    @property
    def encoder_dir(self) -> Path:
        """The folder of exported encoders, one sub-folder per encoder name."""
        return self.home / "encoders"

    @cached_property
    def provider_list(self) -> list[str]:
        """`providers`, split."""
        return [name.strip() for name in self.providers.split(",") if name.strip()]

    @cached_property
    def endpoint_list(self) -> list[str]:
        """`endpoints`, split."""
        return [address.strip() for address in self.endpoints.split(",") if address.strip()]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the settings file."""
        file = settings_file()
        values = _read(file, set(cls.model_fields)) if file else {}
        return init_settings, env_settings, InitSettingsSource(settings_cls, values)


def settings_file() -> Path | None:
    """The first of: EHRDB_CONFIG, `ehrdb.toml` here, in the user's, in the system's configuration folder."""
    if named := os.environ.get(FILE_VARIABLE):
        if not Path(named).is_file():
            raise ConfigError(f"there is no settings file {named}", hint=f"--config or {FILE_VARIABLE} names it.")
        return Path(named)
    folders = (Path.cwd(), user_config_path("ehrdb"), site_config_path("ehrdb"))
    return next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)


def _read(file: Path, known: set[str]) -> dict[str, Any]:
    """What the file says. One that somebody else could have put there, or can change, is refused: it says where
    records go."""
    status = file.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"the settings file {file} is another user's, or everybody may write to it",
            hint=f"Make it yours: chown $USER {file}; chmod o-w {file}",
        )
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"the settings file {file} cannot be read ({type(error).__name__})") from None
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{file}: unknown setting {unknown[0]}", hint=f"There are: {', '.join(sorted(known))}.")
    return values
