"""Settings of each part, with units and defaults; `tradeschool.settings.model` combines and loads them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from tradeschool.errors import SettingsError
from tradeschool.markets.calendars import check_calendar
from tradeschool.markets.instrument_file import instrument_of
from tradeschool.markets.instruments import Instrument

EVENTS = (
    "dataset_sealed,level_passed,level_failed,level_escalated,run_finished,run_interrupted,recommendation,"
    "worker_lost,search_stalled,search_resumed,provider_paused,provider_banned,download_failed,fetcher_lost,"
    "forward_decided"
)
"""Events that are sent by default."""
SHORTEST_TOKEN = 16
"""Minimum number of characters of the page's access token."""
SHORTEST_KEY = 16
"""Minimum number of characters of the signing key."""


def expanded(path: Path) -> Path:
    """Return a path with `~` replaced by the home folder.

    Raises:
        ValueError: The home folder is not known.
    """
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"~ cannot be expanded to a home folder: {error}") from None


UserPath = Annotated[Path, AfterValidator(expanded)]
"""A path in which a leading `~` is expanded to the home folder."""
Positive = Annotated[float, Field(gt=0)]
Address = Annotated[str, Field(pattern=r"^https?://")]
StrategyName = Annotated[str, Field(pattern=r"^[^\s:,]+:[^\s:,]+$")]
"""`module:NAME`."""


class Section(BaseModel):
    """Base class of a settings section; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ProviderSettings(Section):
    """Settings of one provider; unset values default to those of the provider's module."""

    url: Address | None = None
    """Base URL of the API."""
    rate: Positive | None = None
    """Maximum requests per second, retries included."""
    source: str | None = None
    """Name of the API to use, for a provider with several APIs."""
    token: SecretStr | None = None
    """API token: only from the environment, `.env` or `token_file`."""
    token_file: UserPath | None = None
    """File that contains only the API token."""


class InstrumentSettings(Section):
    """An `[[instruments]]` table: an instrument of any provider, or of the user's own files."""

    provider: str
    """Provider, or the origin of imported candles, such as `dukascopy`."""
    base: str
    """What is traded, such as `SOL`."""
    quote: str
    """Currency of the prices, such as `USD`."""
    kind: str = "crypto"
    """Kind of market: crypto, fx, metal, index, commodity, bond or stock."""
    tick: str
    """Smallest price step as a decimal in quotes, such as `"0.001"`."""
    calendar: str | None = None
    """Trading calendar: 24/7, fx, fx-breaks or a code of exchange_calendars; unset means that of the kind."""
    spread: bool | None = None
    """Whether the candles have a half-spread; unset means the kind's rule."""

    @model_validator(mode="after")
    def _is_an_instrument(self) -> Self:
        try:
            check_calendar(self.instrument().calendar)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        return self

    def instrument(self) -> Instrument:
        """Return the instrument.

        Raises:
            SettingsError: if a value is invalid.
        """
        return instrument_of(self.model_dump(exclude_none=True))


class FetchSettings(Section):
    """Settings of the fetcher: API URLs, request rates and time-outs."""

    coinbase_source: Literal["exchange", "advanced_trade"] = "exchange"
    """Coinbase API to download from: Exchange or Advanced Trade; both return the same candles."""
    coinbase_url: Address | None = None
    """Base URL of the Coinbase Exchange API."""
    coinbase_advanced_url: Address | None = None
    """Base URL of the Coinbase Advanced Trade API."""
    oanda_url: Address | None = None
    """Base URL of the OANDA v20 API; the token must belong to this host (practice or live)."""
    oanda_account: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")] | None = None
    """OANDA account id, whose instruments are listed; unset uses the shipped list of OANDA's usual instruments."""
    coinbase_rate: Positive | None = None
    """Maximum requests per second to Coinbase, retries included."""
    oanda_rate: Positive | None = None
    """Maximum requests per second to OANDA, retries included."""
    shared_limit: bool = False
    """Share the rate limit of each provider among the fetchers of all machines that use the same `redis_url`; otherwise
    a second fetcher of a provider on the same machine waits for the first."""
    providers: dict[str, ProviderSettings] = {}
    """Settings of further providers, by name."""
    total_timeout_seconds: Positive = 60.0
    """Time limit of one attempt, from opening the connection to the last byte."""
    patience_seconds: Positive = 300.0
    """Time for which an unresponsive provider is retried before the run fails."""

    @field_validator("providers", mode="before")
    @classmethod
    def _join_names(cls, value: object) -> object:
        """Accept the tables `ccxt.bitstamp` and so on, which TOML and the environment nest."""
        if not isinstance(value, dict) or not isinstance(value.get("ccxt"), dict):
            return value
        exchanges = {f"ccxt.{name}": each for name, each in value["ccxt"].items()}
        return {name: each for name, each in value.items() if name != "ccxt"} | exchanges

    def provider(self, name: str) -> ProviderSettings:
        """Return the settings of a provider by its name."""
        match name:
            case "coinbase":
                url = self.coinbase_url if self.coinbase_source == "exchange" else self.coinbase_advanced_url
                return ProviderSettings(source=self.coinbase_source, url=url, rate=self.coinbase_rate)
            case "oanda":
                return ProviderSettings(url=self.oanda_url, rate=self.oanda_rate)
            case _:
                return self.providers.get(name, ProviderSettings())


class WorkSettings(Section):
    """Settings of trial evaluation by workers."""

    trial_timeout_seconds: Annotated[int, Field(gt=0)] = 600
    """Time limit of one trial; a trial that exceeds it counts as crashed."""
    surrogate_timeout_seconds: Annotated[int, Field(gt=0, lt=1_000_000)] = 86_400
    """Time limit of one surrogate market of a null test, in which a worker repeats the whole curriculum."""
    lease_seconds: Annotated[int, Field(ge=5)] = 15
    """Lease of a trial: a worker without a heartbeat for this long loses its trial."""
    trials_per_job: Annotated[int, Field(ge=1)] = 1
    """Number of trials per job; does not change any result."""
    trials_per_process: Annotated[int, Field(ge=1)] = 100
    """Number of trials after which a worker replaces its work horse process; 1 starts a process per job."""
    trial_memory_mb: Annotated[int, Field(ge=16)] | None = None
    """Memory limit of a trial, an import or a warm-up in megabytes; Linux only; unset means half of the memory of the
    machine or control group."""
    import_timeout_seconds: Annotated[int, Field(gt=0)] = 10
    """Processor time that the import of a user's strategy, objective or sampler may take; it may take twice as long in
    all, and so may a warm-up in a worker."""
    strategies: Annotated[tuple[StrategyName, ...], NoDecode] = ()
    """Further strategies and objectives that workers may import, as `module:NAME`; separated by commas in the
    environment."""
    signing_key: SecretStr | None = None
    """Key that coordinators and workers of all machines share to sign their messages, at least 16 characters: only from
    the environment, `.env` or `work.signing_key_file`; the embedded server has its own key."""
    signing_key_file: UserPath | None = None
    """File that contains only the signing key."""

    @field_validator("strategies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Accept a list or a text such as `a:X,b:Y`."""
        if isinstance(value, str):
            return tuple(name for each in value.split(",") if (name := each.strip()))
        return value

    def key(self) -> bytes | None:
        """Return the key that signs trial requests and results, None if it is not configured.

        Raises:
            SettingsError: if the key file cannot be read, or the key is not a single word or too short.
        """
        key = secret_of("work.signing_key", self.signing_key, self.signing_key_file)
        if key is not None and len(key) < SHORTEST_KEY:
            raise SettingsError(f"work.signing_key: expected at least {SHORTEST_KEY} characters, was {len(key)}")
        return key.encode() if key else None


class ObjectStorageSettings(Section):
    """Settings of candles in a bucket; unset access data are those of the provider's usual environment variables."""

    endpoint: Address | None = None
    """URL of a server that is compatible with S3 or Azure, such as that of MinIO; unset means the provider's own."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    """Region of an S3 bucket."""
    access_key_id: Annotated[str, Field(pattern=r"^\S{1,128}$")] | None = None
    """Access key of S3."""
    secret_access_key: SecretStr | None = None
    """Secret of that key: only from the environment, `.env` or `secret_access_key_file`."""
    secret_access_key_file: UserPath | None = None
    """File that contains only the secret."""
    cache_dir: UserPath | None = None
    """Folder of downloaded candles, shared by all processes of the machine; unset is `objects` in `state_dir`."""
    cache_mb: Annotated[int, Field(ge=1)] = 10_000
    """Size of that folder in megabytes; the least recently used candles are removed first."""
    refresh_seconds: Annotated[float, Field(ge=0)] = 15.0
    """Age at which the local copy of the seals is compared with the bucket again."""
    patience_seconds: Positive = 60.0
    """Time for which a failing request is repeated before the command fails."""

    def secret(self) -> str | None:
        """Return the secret of the access key, None if it is not configured.

        Raises:
            SettingsError: if its file cannot be read, or it is not a single word.
        """
        name = "object_storage.secret_access_key"
        return secret_of(name, self.secret_access_key, self.secret_access_key_file)


class ServeSettings(Section):
    """Settings of the web page: address and access token."""

    host: str = "127.0.0.1"
    """Address to listen on; any address other than loopback requires a token."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8765
    """Port to listen on; 0 selects a free port."""
    token: SecretStr | None = None
    """Access token of the page, at least 16 characters: only from the environment, `.env` or `token_file`."""
    token_file: UserPath | None = None
    """File that contains only the access token."""


class NotifySettings(Section):
    """Settings of notifications; none are sent if no channel is configured."""

    webhook_url: SecretStr | None = None
    """URL that receives each message as JSON."""
    slack_url: SecretStr | None = None
    """Incoming webhook of Slack or of a compatible service."""
    smtp_url: SecretStr | None = None
    """Mail server: smtp://user:password@host:587 (a password requires STARTTLS) or smtps://host:465."""
    mail_from: str | None = None
    """Sender address of mails."""
    mail_to: str | None = None
    """Recipient addresses of mails, separated by commas."""
    events: str = EVENTS
    """Events to send, separated by commas."""
    digest_minutes: Annotated[float, Field(ge=0)] = 30.0
    """Interval between digests while a run or download is in progress, in minutes; 0 disables them."""

    @property
    def is_set(self) -> bool:
        """Whether a channel is configured."""
        return any((self.webhook_url, self.slack_url, self.smtp_url))


def secret_of(setting: str, token: SecretStr | None, file: Path | None) -> str | None:
    """Return a secret from its setting or from the file named by its `_file` setting, None if both are unset."""
    if token:
        return _one_word(setting, token.get_secret_value())
    if file is None:
        return None
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{setting}_file: cannot read {file}: {error}") from error
    return _one_word(f"{setting}_file: {file}", text)


def _one_word(where: str, text: str) -> str:
    """Strip surrounding white space from a secret; inner white space is an error, as it is invalid in a header."""
    words = text.split()
    if len(words) != 1:
        raise SettingsError(f"{where}: expected one word, was {len(words)} words")
    return words[0]
