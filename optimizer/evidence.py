"""What speaks for and against a winner, beside its gate: how far it may be luck, and the period nobody has seen.

These are the facts as they are kept; `optimizer.weighing` and `optimizer.null` find them, and
`optimizer.recommendation` decides by them. What is no finite number is None.
"""

from enum import StrEnum

from optimizer.gate import Reading
from optimizer.kept import Kept


class Benchmark(StrEnum):
    """What the same money would have done without a strategy."""

    HOLD_LONG = "buy and hold"
    HOLD_SHORT = "short and hold"


class Excess(Kept):
    """The winner beside who only held: mean daily difference of returns, a year."""

    part: str
    benchmark: Benchmark
    """Buying and holding of a level that only buys, shorting and holding of one that only sells, else the better."""
    a_year: float | None
    low: float | None
    """Of the 95 % interval, from days resampled in blocks."""
    high: float | None
    sharpe: float | None
    benchmark_sharpe: float | None


class Deflation(Kept):
    """The winner's Sharpe ratio on train beside what luck finds in as many trials; ratios are of a year."""

    sharpe: float | None
    days: int
    trials: int
    """All that completed or were pruned, of every level and retry, each counted once."""
    luck: float | None
    """SR0: the best ratio that luck alone finds in so many trials."""
    probability: float | None
    """DSR: how likely the true ratio is above it."""
    effective_trials: float
    """Independent trials that the level's own amount to, scaled up to all."""
    effective_probability: float | None
    """DSR with that number."""


class Overfit(Kept):
    """PBO: how often the best trial of one half of train's days is below the middle on the other half."""

    probability: float | None
    trials: int
    """Complete ones whose returns vary."""
    left_out: int
    """Pruned and failed ones, which have no whole history."""
    parts: int


class Hardship(Kept):
    """The winner on validation where something is worse than it was."""

    name: str
    sharpe: float | None
    sharpe_kept: float | None
    """As a share of the ratio without it."""
    profit_factor: float | None
    max_drawdown_intrabar: float | None
    trades: int


class SealedLook(Kept):
    """The winner on the period that no search could read."""

    window: str
    datasets: tuple[str, ...]
    readings: tuple[Reading, ...]
    """Each criterion of the gate, with its 95 % interval."""
    metrics: dict[str, float | None]
    skill: float | None
    """PSR: how likely the true Sharpe ratio is above zero."""
    days_needed: float | None
    """MinTRL: after how many days at this ratio that is 95 % likely; null where it never is."""
    benchmark: Benchmark
    """Who held what in `hold`."""
    days: tuple[int, ...]
    """Since 1970-01-01, of the three columns below."""
    equity: tuple[float, ...]
    drawdown: tuple[float, ...]
    hold: tuple[float, ...]


class Evidence(Kept):
    """All of it, for the winner of one level."""

    level: str
    attempt: int
    trial: int
    parameters: dict[str, int | float]
    deflation: Deflation
    overfit: Overfit
    excess: tuple[Excess, ...]
    looks_ahead: str | None
    """Which signal depends on the future; null where none of 60 cuts changed one."""
    hardships: tuple[Hardship, ...]
    break_even_bps: float | None
    """The slippage a side, in hundredths of a percent, at which the edge on validation is gone."""
    sealed: SealedLook | None
    sealed_missing: str | None
    """Why the sealed period was not opened."""


class Draw(Kept):
    """What the search came to in one surrogate market."""

    surrogate: int
    attempts_allowed: int
    """As many as the real search took."""
    attempts: int
    passed: bool
    values: dict[str, float | None]
    """Of the last attempt's winner on validation, by criterion; empty where no trial was feasible."""
    met: tuple[str, ...]
    """The criteria that it met."""


class Null(Kept):
    """How often luck alone passes a gate."""

    surrogates: int
    passed: int
    pass_rate: float
    low: float
    """Of the rate's 95 % interval."""
    high: float
    attempts: int
    """Within how many attempts."""
    block_days: float
    """Mean length of the blocks of days that the surrogates are made of."""
    met: dict[str, float]
    """By criterion, the share of surrogates whose winner met it."""
    quantiles: dict[str, tuple[float | None, ...]]
    """By criterion, what 5, 50 and 95 of 100 winners stay below; null where no winner has a figure."""

    @property
    def sentence(self) -> str:
        """For people."""
        tries = f" within {self.attempts} attempts" if self.attempts > 1 else ""
        return (
            f"a search like this passes this gate{tries} in {self.pass_rate:.0%} of markets without skill "
            f"({self.passed} of {self.surrogates}; 95 % interval {self.low:.0%} to {self.high:.0%})"
        )
