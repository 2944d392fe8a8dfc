"""Everything that can go wrong, and the exit code with which the command says so.

    TradeschoolError            1   something failed; the message says what, which and what to do
    ├── SettingsError           2   a flag, setting, curriculum file or name is wrong
    ├── GateNotMet              3   the search ended and its result is not good enough
    ├── DataError               4   the candles that are needed are not there, or are not sound
    │   ├── DataIncomplete      4   a dataset is missing, not sealed, or below its coverage
    │   ├── PeriodClosed        4   candles of the sealed period were asked for by a search
    │   ├── InvalidCandles      4   candles break the contract of `tradeschool.candles`
    │   └── ForeignFile         4   a file in the data folder was not written, or was changed, by others
    ├── StoreUnwritable         1   the disk does not take what is to be stored
    ├── ServiceUnreachable      5   Redis, the study database or a provider does not answer
    ├── WorkersFailed           5   the workers that a command started do not get up, or cannot be kept alive
    ├── StrategyNotImported   1   a user's strategy is there, and its module raises, ends its process or does not end
    ├── StrategyFailed        1   a user's strategy raises, ends its process or does not end where a search needs it
    ├── TrialDiffers            1   a recorded trial, run again, came out differently
    ├── StudyChanged            1   another process wrote to the study; its trials have to be read again
    ├── RoleLost                1   the database has taken back the right to go on with a run
    └── ProviderError           1   a provider's answer ends the download of one dataset
        ├── ProviderRejected    1   it refuses the request: product, range, token
        └── ProviderUnusable    1   its answer cannot be read; asked again before it is given up

130, interrupted, has no class: it is Python's own KeyboardInterrupt.
"""

from typing import ClassVar


class TradeschoolError(Exception):
    """Something failed; the message alone tells an operator what, which and what to do."""

    exit_code: ClassVar[int] = 1


class SettingsError(TradeschoolError):
    """A flag, a setting, a curriculum file or a name is wrong; nothing was started."""

    exit_code = 2


class GateNotMet(TradeschoolError):
    """A level's search ended and its winner misses the gate, or nothing was feasible."""

    exit_code = 3


class DataError(TradeschoolError):
    """The candles that are needed are not there, or are not sound."""

    exit_code = 4


class DataIncomplete(DataError):
    """A dataset is missing, not sealed over the window that is needed, or below its coverage."""


class PeriodClosed(DataError):
    """Candles of the sealed period were asked for by a search: they are opened once, when a run is over."""


class InvalidCandles(DataError):
    """Candles break the contract of `tradeschool.candles.Candles`."""


class ForeignFile(DataError):
    """A file in the data folder is not what its seal says: not ours, changed, cut or unreadable."""


class StoreUnwritable(TradeschoolError):
    """The disk does not take what is to be stored: full, read-only or not ours. What was there stays."""


class ServiceUnreachable(TradeschoolError):
    """Redis, the study database or a provider does not answer."""

    exit_code = 5


class WorkersFailed(TradeschoolError):
    """The workers that a command started do not get up, or cannot be kept alive: nothing would ever be evaluated."""

    exit_code = 5


class StudyChanged(TradeschoolError):
    """Another process wrote to the study; what was planned is dropped and its trials are read again."""


class RoleLost(TradeschoolError):
    """An outage has ended the session that held a run's role: another process may be at work on the run by now."""


class TrialDiffers(TradeschoolError):
    """A recorded trial, run again, came out differently: other code, other candles, or a strategy that keeps state."""


class StrategyNotImported(TradeschoolError):
    """The module of a user's strategy raises, ends its process, or does not come to an end."""

    def __init__(self, strategy: str, reason: str, attempts: int = 1) -> None:
        self.strategy, self.reason, self.attempts = strategy, reason, attempts
        super().__init__(f"strategy {strategy} cannot be imported: {reason} ({_counted(attempts)})")


class StrategyFailed(TradeschoolError):
    """A user's strategy raises, ends its process, or does not come to an end in a step of a search."""

    def __init__(self, strategy: str, step: str, reason: str, attempts: int = 1) -> None:
        self.strategy, self.step, self.reason, self.attempts = strategy, step, reason, attempts
        super().__init__(f"strategy {strategy} failed at {step}: {reason} ({_counted(attempts)})")

    def at(self, step: str) -> "StrategyFailed":
        """The same failure by a caller that knows better which step it was."""
        return StrategyFailed(self.strategy, step, self.reason, self.attempts)


def _counted(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"


class ProviderError(TradeschoolError):
    """A provider's answer ends the download of one dataset; the others go on."""


class ProviderRejected(ProviderError):
    """A provider refuses the request for good: unknown product, bad range, wrong token."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the answer."""


class ProviderUnusable(ProviderError):
    """A provider's answer cannot be read: HTML, cut, or of another shape. Worth asking again."""
