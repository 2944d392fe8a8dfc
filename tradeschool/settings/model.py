"""Settings of a process, loaded from flags, environment, `.env`, `tradeschool.toml` and defaults, in this order.

Only this module reads the environment. An unknown key is an error in every source. The environment variable of a
setting is `TRADESCHOOL_` and its path, joined by `__`: `TRADESCHOOL_FETCH__COINBASE_RATE`. Three variables of other
tools are read as well: `OPTUNA_STORAGE`, `RQ_REDIS_URL` and `OANDA_API_TOKEN`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import INSTRUMENTS
from tradeschool.object_storage.bucket_config import BucketConfig, DataLocation
from tradeschool.object_storage.bucket_url import BucketUrl, is_bucket_url, parse_bucket_url
from tradeschool.settings.sections import (
    SHORTEST_TOKEN,
    FetchSettings,
    InstrumentSettings,
    NotifySettings,
    ObjectStorageSettings,
    ProviderSettings,
    ServeSettings,
    UserPath,
    WorkSettings,
    expanded,
    secret_of,
)
from tradeschool.settings.services import DatabaseSettings, RedisSettings
from tradeschool.settings.urls import sqlite_url

PREFIX = "TRADESCHOOL_"
DELIMITER = "__"
SETTINGS_FILE = Path("tradeschool.toml")
DOTENV_FILE = Path(".env")
BORROWED_NAMES = {
    "OPTUNA_STORAGE": "storage_url",
    "RQ_REDIS_URL": "redis_url",
    "OANDA_API_TOKEN": "oanda_api_token",
}
"""Environment variables of other tools, and the setting that each one sets."""
OLDEST_PROVIDERS = ("coinbase", "oanda")
"""Providers with top-level fetch settings such as `fetch.coinbase_url`, which other programs rely on."""
PROVIDERS = ("fetch", "providers")
"""Path of the table with one section of settings per further provider."""
FURTHER_PROVIDERS = tuple(dict.fromkeys(each.provider for each in INSTRUMENTS if each.provider not in OLDEST_PROVIDERS))
"""Providers that are configured in that table."""
CCXT_SETTING = re.compile(r"fetch\.providers\.ccxt\.[a-z0-9]+\.(url|rate)")
"""Settings of an exchange of ccxt, in the table `fetch.providers.ccxt.NAME`."""
MEGABYTE = 1_000_000


def _parsed_location(value: object) -> object:
    if not isinstance(value, str) or not is_bucket_url(value):
        return expanded(Path(value)) if isinstance(value, str | Path) else value
    try:
        return parse_bucket_url(value)
    except SettingsError as error:
        raise ValueError(str(error)) from None


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        extra="ignore",  # _refuse_unknown rejects unknown names, with the source in its message
        frozen=True,
        use_attribute_docstrings=True,
    )

    data_dir: Annotated[BucketUrl | Path, BeforeValidator(_parsed_location)] = Path("data")
    """Folder of the stored candles, or a bucket: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`."""
    results_dir: UserPath = Path("results")
    """Folder of each run's tables, verdict and plots."""
    state_dir: UserPath = Path(".tradeschool")
    """Folder of the embedded server, the SQLite study, locks and logs; if the path is too long for a socket or contains
    characters such as a space, the socket is in `/tmp/tradeschool-UID`, which no other user can open."""
    redis_url: SecretStr | None = None
    """URL of Redis or Valkey: redis://, rediss:// (TLS), unix://, redis-sentinel://; unset: the embedded server."""
    storage_url: SecretStr | None = None
    """SQLAlchemy URL of the Optuna study; unset uses SQLite in `state_dir`."""
    oanda_api_token: SecretStr | None = None
    """OANDA API token: only from the environment, `.env` or `oanda_api_token_file`."""
    oanda_api_token_file: UserPath | None = None
    """File that contains only the OANDA API token."""
    min_coverage: Annotated[float, Field(ge=0.60, le=1)] = 0.99
    """Minimum fraction of expected candles that are accounted for, stored or confirmed empty, before a level starts."""
    costs: str = ""
    """Cost presets of levels and backtests that set no costs, such as `coinbase.taker.10k,oanda.spread`."""
    log_format: Literal["text", "json"] = "text"
    """Log format on standard error: text or JSON lines."""
    instruments: tuple[InstrumentSettings, ...] = ()
    """Instruments that no provider lists, or with another tick or calendar: one `[[instruments]]` table each."""
    redis: RedisSettings = RedisSettings()
    database: DatabaseSettings = DatabaseSettings()
    fetch: FetchSettings = FetchSettings()
    work: WorkSettings = WorkSettings()
    object_storage: ObjectStorageSettings = ObjectStorageSettings()
    serve: ServeSettings = ServeSettings()
    notify: NotifySettings = NotifySettings()

    _file: ClassVar[Path] = SETTINGS_FILE

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence, highest first."""
        del dotenv_settings, file_secret_settings
        return (
            init_settings,
            env_settings,
            _Names(settings_cls, _borrowed(os.environ)),
            _Names(settings_cls, _own(dotenv_values_by_name()) | _borrowed(dotenv_values_by_name())),
            TomlConfigSettingsSource(settings_cls, toml_file=cls._file),
        )

    @property
    def data_root(self) -> Path:
        """Local folder of seals, instruments and page ledger: `data_dir`, or that of its bucket in `state_dir`."""
        if isinstance(self.data_dir, BucketUrl):
            return self.state_dir / "buckets" / self.data_dir.folder_name
        return self.data_dir

    def data_location(self) -> DataLocation:
        """Return where candles are, with the access to a bucket.

        Raises:
            SettingsError: if the file of the secret cannot be read.
        """
        if not isinstance(self.data_dir, BucketUrl):
            return DataLocation(self.data_dir)
        given = self.object_storage
        bucket = BucketConfig(
            url=self.data_dir,
            cache_dir=given.cache_dir or self.state_dir / "objects",
            cache_bytes=given.cache_mb * MEGABYTE,
            endpoint=given.endpoint,
            region=given.region,
            access_key_id=given.access_key_id,
            secret_access_key=given.secret(),
            patience_seconds=given.patience_seconds,
            refresh_seconds=given.refresh_seconds,
        )
        return DataLocation(self.data_root, bucket)

    @property
    def storage(self) -> str:
        """SQLAlchemy URL of the study, including its password; do not display it.

        Raises:
            SettingsError: if a file of `database` cannot be read.
        """
        url = self.storage_url.get_secret_value() if self.storage_url else None
        return self.database.complete(url or sqlite_url(self.state_dir.resolve() / "study.sqlite3"))

    @property
    def redis_server(self) -> str | None:
        """URL of the configured Redis server, including its password; None for the embedded server.

        Raises:
            SettingsError: if a file of `redis` cannot be read, or the URL has no use for it.
        """
        if self.redis_url:
            return self.redis.complete(self.redis_url.get_secret_value())
        if given := [name for name, value in self.redis if value is not None]:
            raise SettingsError(f"redis.{given[0]} needs a server of your own; set redis_url")
        return None

    def oanda_token(self) -> str | None:
        """Return the OANDA API token, None if it is not configured.

        Raises:
            SettingsError: if the token file cannot be read, or the token is not a single word.
        """
        return secret_of("oanda_api_token", self.oanda_api_token, self.oanda_api_token_file)

    def page_token(self) -> str | None:
        """Return the access token of the web page, None if it is not configured.

        Raises:
            SettingsError: as `oanda_token`, and if the token is shorter than 16 characters.
        """
        token = secret_of("serve.token", self.serve.token, self.serve.token_file)
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise SettingsError(f"serve.token: expected at least {SHORTEST_TOKEN} characters, was {len(token)}")
        return token

    def token(self, provider: str) -> str | None:
        """Return a provider's API token, None if it is not configured.

        Raises:
            SettingsError: as `oanda_token`.
        """
        if provider == "oanda":
            return self.oanda_token()
        given = self.fetch.provider(provider)
        return secret_of(".".join((*PROVIDERS, provider, "token")), given.token, given.token_file)


def setting_names(
    model: type[BaseModel] = Settings, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Yield the path, such as `("fetch", "coinbase_rate")`, and the field of every setting."""
    for name, field in model.model_fields.items():
        if (*path, name) == PROVIDERS:
            for provider in FURTHER_PROVIDERS:
                yield from setting_names(ProviderSettings, (*PROVIDERS, provider))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, (*path, name))
        else:
            yield (*path, name), field


def is_setting(name: str) -> bool:
    """Return whether a name such as `fetch.coinbase_rate` is that of a setting."""
    return any(".".join(path) == name for path, _ in setting_names()) or bool(CCXT_SETTING.fullmatch(name))


def environment_name(path: tuple[str, ...]) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + DELIMITER.join(path).upper()


class _Names(PydanticBaseSettingsSource):
    """Settings source that returns a fixed nested mapping."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self._values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._values


def dotenv_values_by_name() -> dict[str, str]:
    """Read `.env`; names are converted to upper case, as environment names are case-insensitive."""
    try:
        values = dotenv_values(DOTENV_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{DOTENV_FILE} cannot be read: {error}") from error
    return {name.upper(): value for name, value in values.items() if value is not None}


def _borrowed(names: Mapping[str, str]) -> dict[str, Any]:
    return {setting: names[name] for name, setting in BORROWED_NAMES.items() if name in names}


def _own(names: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, _ in setting_names():
        if environment_name(path) in names:
            section = values
            for part in path[:-1]:
                section = section.setdefault(part, {})
            section[path[-1]] = names[environment_name(path)]
    return values
