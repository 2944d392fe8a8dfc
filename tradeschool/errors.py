"""Exception classes of tradeschool and the exit code of each.

    TradeschoolError            1   an operation failed; the message says what, which and what to do
    ├── SettingsError           2   a flag, setting, curriculum file or name is invalid
    ├── GateNotMet              3   the search ended and its winner failed the gate
    ├── DataError               4   required candles are missing or invalid
    │   ├── DataIncomplete      4   a dataset is missing, not sealed, or below its minimum coverage
    │   ├── HoldoutClosed       4   a search requested candles of the holdout period
    │   ├── InvalidCandles      4   candles violate the contract of `tradeschool.ohlcv.frame`
    │   ├── ForeignFile         4   a file in the data folder was written or changed by another program
    │   └── SealConflict        4   another fetcher has sealed other candles in the same bucket
    ├── StoreUnwritable         1   a file cannot be written
    ├── ServiceUnreachable      5   Redis, the study database, object storage or a provider does not respond
    │   ├── ProviderBanned      5   a provider refuses requests for longer than a download waits
    │   └── StorageRefused      5   object storage refuses: no such bucket, or wrong or expired credentials
    ├── WorkersFailed           5   the workers that a command started do not start or keep crashing
    ├── StrategyNotImported     1   a user's strategy cannot be imported or prepared
    ├── StrategyFailed          1   a user's strategy raises, ends its process or does not end where a search needs it
    ├── TrialDiffers            1   re-running a recorded trial gave a different result
    ├── ForwardTestChanged      1   rule, parameters, code or a recorded day of a forward test changed
    ├── StudyChanged            1   another process wrote to the study; its trials must be read again
    ├── LeadershipLost          1   this process no longer holds the leadership lock of a run
    └── ProviderError           1   a provider's response ends the download of one dataset
        ├── ProviderRejected    1   the provider rejects the request: product, range or token
        └── ProviderUnusable    1   the response cannot be read, also after retries

Exit code 130 (interrupted) has no class here: it stands for Python's KeyboardInterrupt.
"""

from typing import ClassVar


class TradeschoolError(Exception):
    """Base class of all errors; the message names the failure, the object and the remedy."""

    exit_code: ClassVar[int] = 1


class SettingsError(TradeschoolError):
    """A flag, setting, curriculum file or name is invalid; nothing was started."""

    exit_code = 2


class GateNotMet(TradeschoolError):
    """A level's search ended and its winner failed the gate, or no trial was feasible."""

    exit_code = 3


class DataError(TradeschoolError):
    """Required candles are missing or invalid."""

    exit_code = 4


class DataIncomplete(DataError):
    """A dataset is missing, not sealed over the required window, or below its minimum coverage."""


class HoldoutClosed(DataError):
    """A search requested candles of the holdout period, which is read once, after a run has ended."""


class InvalidCandles(DataError):
    """Candles violate the contract of `tradeschool.ohlcv.frame.Candles`."""


class ForeignFile(DataError):
    """A file in the data folder does not match its seal: missing, changed, truncated or unreadable."""


class SealConflict(DataError):
    """Another fetcher has sealed other candles of the same range in the same bucket; its seal is kept."""


class StoreUnwritable(TradeschoolError):
    """A file cannot be written: the disk is full, read-only or owned by another user. Existing files are unchanged."""


class ServiceUnreachable(TradeschoolError):
    """Redis, the study database, object storage or a provider does not respond."""

    exit_code = 5


class ProviderBanned(ServiceUnreachable):
    """A provider asks for a longer pause than a download waits; the downloads of this provider end."""


class StorageRefused(ServiceUnreachable):
    """Object storage refuses: the bucket does not exist, or the credentials are wrong or have expired."""


class WorkersFailed(TradeschoolError):
    """The workers that a command started do not start or keep crashing, so no trial would ever be evaluated."""

    exit_code = 5


class StudyChanged(TradeschoolError):
    """Another process wrote to the study; planned trials are dropped and the stored trials are read again."""


class LeadershipLost(TradeschoolError):
    """An outage ended the database session that held a run's leadership lock; another process may hold it now."""


class TrialDiffers(TradeschoolError):
    """Re-running a recorded trial gave a different result: code, candles or a stateful strategy changed it."""


class ForwardTestChanged(TradeschoolError):
    """A forward test cannot continue: its rule, parameters, code or a recorded day is not what it was."""


class StrategyNotImported(TradeschoolError):
    """The module of a user's strategy raises, ends its process or does not end. No trial is recorded as failed."""

    def __init__(self, strategy: str, reason: str, attempts: int = 1, kind: str = "strategy") -> None:
        """`kind`: what the user's code is: a strategy, an objective or a sampler."""
        self.strategy, self.reason, self.attempts, self.kind = strategy, reason, attempts, kind
        super().__init__(f"{kind} {strategy} cannot be imported: {reason} ({attempts_in_words(attempts)})")


class StrategyFailed(TradeschoolError):
    """A user's strategy raises, ends its process or does not end in a step of a search."""

    def __init__(self, strategy: str, step: str, reason: str, attempts: int = 1, kind: str = "strategy") -> None:
        """`kind` as in `StrategyNotImported`."""
        self.strategy, self.step, self.reason, self.attempts, self.kind = strategy, step, reason, attempts, kind
        super().__init__(f"{kind} {strategy} failed at {step}: {reason} ({attempts_in_words(attempts)})")

    def at(self, step: str) -> "StrategyFailed":
        """Return the same failure with a more precise step."""
        return StrategyFailed(self.strategy, step, self.reason, self.attempts, self.kind)


def attempts_in_words(attempts: int) -> str:
    """Return a number of attempts, such as `1 attempt`."""
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


class ProviderError(TradeschoolError):
    """A provider's response ends the download of one dataset; other downloads continue."""


class ProviderRejected(ProviderError):
    """A provider rejects the request permanently: unknown product, bad range or wrong token."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the response."""


class ProviderUnusable(ProviderError):
    """A provider's response cannot be read: HTML, truncated or of an unexpected shape. Worth a retry."""


def first_line(error: Exception) -> str:
    """Return the first line of a library's error message, its class name if the message is empty."""
    return (str(error) or type(error).__name__).splitlines()[0]
