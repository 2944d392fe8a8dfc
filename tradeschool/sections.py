"""The knobs of each part, with their units and defaults; `tradeschool.settings` puts them together and reads them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from tradeschool.errors import SettingsError

EVENTS = (
    "dataset_sealed,level_passed,level_missed,level_escalated,run_finished,run_interrupted,recommendation,"
    "worker_lost,search_stalled,search_moves,provider_paused,provider_banned,download_failed,fetcher_lost"
)
"""The events that are told where nothing is said of it."""
SHORTEST_TOKEN = 16
"""Characters of the page's token."""
SHORTEST_KEY = 16
"""Characters of a key that signs orders and answers."""


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"no home folder stands for ~ here: {error}") from None


UserPath = Annotated[Path, AfterValidator(_expanded)]
"""A path in which `~` stands for a home folder, as in a shell."""
Positive = Annotated[float, Field(gt=0)]
Address = Annotated[str, Field(pattern=r"^https?://")]
StrategyName = Annotated[str, Field(pattern=r"^[^\s:,]+:[^\s:,]+$")]
"""`module:NAME`."""


class Section(BaseModel):
    """Settings of one part; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ProviderSettings(Section):
    """What a user says of one provider; where nothing is said, what the provider's own file says."""

    url: Address | None = None
    """Where its API is."""
    rate: Positive | None = None
    """Requests a second, all attempts counted."""
    source: str | None = None
    """Which of its APIs is asked, where it has several."""
    token: SecretStr | None = None
    """From the environment, `.env` or `token_file` only."""
    token_file: UserPath | None = None
    """A file that holds nothing but the token."""


class FetchSettings(Section):
    """What the fetcher asks, where, and how fast."""

    coinbase_source: Literal["exchange", "advanced_trade"] = "exchange"
    """Which of Coinbase's public APIs answers for its datasets; their candles are the same."""
    coinbase_url: Address | None = None
    """Where Coinbase Exchange's public API is."""
    coinbase_advanced_url: Address | None = None
    """Where Coinbase Advanced Trade's public API is."""
    oanda_url: Address | None = None
    """Where OANDA's v20 API is; the token must be of the same host."""
    coinbase_rate: Positive | None = None
    """Requests a second, all attempts counted."""
    oanda_rate: Positive | None = None
    """Requests a second, all attempts counted."""
    shared_limit: bool = False
    """Whether all fetchers that use the same `redis_url` keep one limit together; else each provider has one."""
    providers: dict[str, ProviderSettings] = {}
    """Every further provider, by its name."""
    total_timeout_seconds: Positive = 60.0
    """Of one attempt, from asking for a connection to the last byte."""
    patience_seconds: Positive = 300.0
    """How long a provider that does not answer is asked again before the run gives up."""

    def provider(self, name: str) -> ProviderSettings:
        """What is said of a provider, under whichever names."""
        match name:
            case "coinbase":
                url = self.coinbase_url if self.coinbase_source == "exchange" else self.coinbase_advanced_url
                return ProviderSettings(source=self.coinbase_source, url=url, rate=self.coinbase_rate)
            case "oanda":
                return ProviderSettings(url=self.oanda_url, rate=self.oanda_rate)
            case _:
                return self.providers.get(name, ProviderSettings())


class WorkSettings(Section):
    """How trials are handed out and watched."""

    trial_timeout_seconds: Annotated[int, Field(gt=0)] = 600
    """A trial that takes longer counts as crashed."""
    lease_seconds: Annotated[int, Field(ge=5)] = 15
    """A worker that has not been heard of for so long has lost its trial."""
    trials_per_job: Annotated[int, Field(ge=1)] = 1
    """How many trials a worker takes at once; changes no result."""
    trials_per_process: Annotated[int, Field(ge=1)] = 100
    """After so many trials a worker's evaluating process is replaced by a fresh one; 1 for one a job."""
    trial_memory_mb: Annotated[int, Field(ge=16)] | None = None
    """How much a worker's evaluating process may allocate, in megabytes; Linux only; none is without limit."""
    strategies: Annotated[tuple[StrategyName, ...], NoDecode] = ()
    """Strategies that workers evaluate besides the built-in ones, as `module:NAME`; in the environment joined by
    commas."""
    signing_key: SecretStr | None = None
    """Shared by conductors and workers, who then sign orders and answers: from the environment or
    `work.signing_key_file` only."""
    signing_key_file: UserPath | None = None
    """A file that holds nothing but the signing key."""

    @field_validator("strategies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A list, or a text such as `a:X,b:Y`."""
        if isinstance(value, str):
            return tuple(name for each in value.split(",") if (name := each.strip()))
        return value

    def key(self) -> bytes | None:
        """The key with which orders and answers are signed, None where there is none.

        Raises:
            SettingsError: where its file cannot be read, what is there is not one word, or it is too short.
        """
        key = secret_of("work.signing_key", self.signing_key, self.signing_key_file)
        if key is not None and len(key) < SHORTEST_KEY:
            raise SettingsError(f"work.signing_key: expected at least {SHORTEST_KEY} characters, was {len(key)}")
        return key.encode() if key else None


class ServeSettings(Section):
    """Where the page is, and who may see it."""

    host: str = "127.0.0.1"
    """The address to listen on; other machines reach any but loopback, and then a token is needed."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8765
    """0 takes one that is free."""
    token: SecretStr | None = None
    """What has to be shown before anything is: from the environment, `.env` or `token_file` only."""
    token_file: UserPath | None = None
    """A file that holds nothing but the token."""


class NotifySettings(Section):
    """Who is told what, elsewhere; nobody where no address is set."""

    webhook_url: SecretStr | None = None
    """An address that takes each message as JSON."""
    slack_url: SecretStr | None = None
    """An incoming webhook of Slack, or of what understands the same."""
    smtp_url: SecretStr | None = None
    """smtp://user:password@host:587, which has to offer STARTTLS to get a password, or smtps://host:465."""
    mail_from: str | None = None
    """The sender's address."""
    mail_to: str | None = None
    """The receivers' addresses, joined by commas."""
    events: str = EVENTS
    """Which events are told, joined by commas."""
    digest_minutes: Annotated[float, Field(ge=0)] = 30.0
    """Between two digests while a run or a download goes on; 0 for none."""

    @property
    def is_set(self) -> bool:
        """Whether there is anybody to tell."""
        return any((self.webhook_url, self.slack_url, self.smtp_url))


def secret_of(knob: str, token: SecretStr | None, file: Path | None) -> str | None:
    """What a knob, or the file that another one names, holds."""
    if token:
        return _one_word(knob, token.get_secret_value())
    if file is None:
        return None
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{knob}_file: cannot read {file}: {error}") from error
    return _one_word(f"{knob}_file: {file}", text)


def _one_word(where: str, text: str) -> str:
    """A secret without the white space around it; one with any inside could not be sent as a header."""
    words = text.split()
    if len(words) != 1:
        raise SettingsError(f"{where}: expected one word, was {len(words)} words")
    return words[0]
