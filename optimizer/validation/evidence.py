"""Evidence on a winner beyond its gate: selection bias, robustness, excess return, and the holdout period.

These are stored values; `optimizer.validation.evidence_collection` and `optimizer.validation.null_test`
compute them, and `optimizer.validation.recommendation` decides by them. Non-finite numbers are None.
"""

from enum import StrEnum

from optimizer.validation.gate import Criterion
from optimizer.validation.stored_model import StoredModel


class Benchmark(StrEnum):
    """Passive benchmark that a winner is compared with."""

    HOLD_LONG = "buy and hold"
    HOLD_SHORT = "short and hold"


class ExcessReturn(StoredModel):
    """Excess return over buy-and-hold: mean daily difference of returns, annualised."""

    part: str
    benchmark: Benchmark
    """Buy and hold for long-only levels, short and hold for short-only levels, else the better of both; with a risk
    budget, at the size that has the same risk on train.
    """
    a_year: float | None
    low: float | None
    """Lower limit of the 95 % interval, from the stationary bootstrap."""
    high: float | None
    sharpe: float | None
    benchmark_sharpe: float | None


class DeflatedSharpe(StoredModel):
    """Deflated Sharpe ratio of one account; ratios are annualised."""

    sharpe: float | None
    days: int
    trials: int
    """On train: all completed and pruned trials of every level and retry, each counted once. Out of sample: the
    attempts that read any of its days.
    """
    expected_maximum: float | None
    """SR0: expected maximum Sharpe ratio of that many trials without skill."""
    probability: float | None
    """DSR: probability that the true Sharpe ratio exceeds SR0."""
    effective_trials: float
    """Effective number of independent trials, extrapolated from the level's trials to all."""
    effective_probability: float | None
    """DSR with the effective number of trials."""


class BacktestOverfitting(StoredModel):
    """Probability of backtest overfitting (PBO) by CSCV over the trials of a level."""

    probability: float | None
    trials: int
    """Complete trials with varying returns."""
    left_out: int
    """Pruned and failed trials, which have no complete return series."""
    parts: int


class CrossValidation(StoredModel):
    """Combinatorial purged cross-validation (CPCV) of the choice among a level's complete trials on train.

    Ratios are annualised. It is reported and decides nothing.
    """

    folds: int
    test_folds: int
    splits: int
    purge_days: int
    """Days removed from train on both sides of a test fold: the longest trade of the winner."""
    embargo_days: int
    trials: int
    sharpes: tuple[float, ...]
    """Sharpe ratio of each path out of sample, ascending."""
    mean: float
    deviation: float
    """Sample standard deviation over the paths; they share days and are not independent."""
    share_above_zero: float


class Skill(StoredModel):
    """Skill of one account: the t-statistic of its alpha against buy-and-hold of the same datasets."""

    part: str
    first_day: int
    """In days since 1970-01-01, as `last_day`."""
    last_day: int
    days: int
    """Number of days judged."""
    alpha_a_year: float
    """Mean return that the benchmark does not explain, annualised."""
    standard_error_a_year: float
    """Newey-West standard error of alpha, annualised."""
    beta: float
    t: float
    """Alpha over its standard error; 0 for an account without a trade."""
    lags: int
    """Lags of the Newey-West estimator."""
    p: float
    """One-sided p-value of t by Student's t distribution."""
    sharpe: float | None
    """Annualised."""
    sharpe_low: float | None
    """Lower limit of the 95 % interval, from the stationary bootstrap."""
    sharpe_high: float | None
    skewness: float | None
    kurtosis: float | None


class RobustnessCase(StoredModel):
    """Robustness case: the winner on validation under one adverse change."""

    name: str
    sharpe: float | None
    sharpe_kept: float | None
    """Ratio to the Sharpe ratio of the base case."""
    profit_factor: float | None
    max_drawdown_intrabar: float | None
    trades: int


class HoldoutResult(StoredModel):
    """The winner on the holdout period, which no search reads."""

    window: str
    datasets: tuple[str, ...]
    readings: tuple[Criterion, ...]
    """Each criterion of the gate with its 95 % interval."""
    metrics: dict[str, float | None]
    psr: float | None
    """PSR: probability that the true Sharpe ratio is above zero."""
    days_needed: float | None
    """MinTRL: days until the PSR reaches 95 % at this ratio; null if never."""
    benchmark: Benchmark
    """Benchmark of the series in `buy_and_hold`."""
    days: tuple[int, ...]
    """Days since 1970-01-01, index of the three series below."""
    equity: tuple[float, ...]
    drawdown: tuple[float, ...]
    buy_and_hold: tuple[float, ...]
    skill: Skill


class Evidence(StoredModel):
    """All evidence on the winner of one level."""

    level: str
    attempt: int
    trial: int
    parameters: dict[str, int | float]
    out_of_sample: Skill | None
    """Skill of the attempt's account on the days that selected nothing; None if it was not measured."""
    deflation: DeflatedSharpe
    out_of_sample_deflation: DeflatedSharpe | None
    """DSR of that account, over the attempts that read any of its days."""
    overfit: BacktestOverfitting
    cross_validation: CrossValidation | None = None
    """None with fewer than two trials or too few days."""
    excess: tuple[ExcessReturn, ...]
    looks_ahead: str | None
    """Description of a signal that depends on later bars; null if none of 60 cuts changed one."""
    robustness: tuple[RobustnessCase, ...]
    break_even_bps: float | None
    """Break-even slippage per side in basis points, at which the profit factor on validation falls to 1."""
    holdout: HoldoutResult | None
    holdout_missing: str | None
    """Reason why the holdout period was not opened."""


class NullRun(StoredModel):
    """Result of the whole curriculum in one surrogate market."""

    surrogate: int
    t: float
    """Statistic of the account out of sample, as `Skill.t`; 0 if no trial was feasible, because cash has no alpha."""
    sharpe: float | None
    """Sharpe ratio of that account; None without a winner."""
    attempts: int
    """Number of attempts over all levels."""
    passed: tuple[str, ...]
    """Levels whose gate passed."""
    mandate: bool
    """Whether the gate of every level passed with unchanged targets."""


class NullTest(StoredModel):
    """Null test: the whole curriculum in surrogate markets without skill."""

    surrogates: int
    t: tuple[float, ...]
    """Statistics out of sample, in order of the surrogate markets."""
    sharpe: tuple[float | None, ...]
    """5 %, 50 % and 95 % quantiles of the Sharpe ratios out of sample; null without a winner."""
    mandates: int
    """Number of surrogate markets in which every gate passed."""
    pass_rate: float
    """Share of them: the false-positive rate of the mandate."""
    low: float
    """Lower limit of the rate's 95 % Wilson interval."""
    high: float
    passed: dict[str, float]
    """Share of surrogate markets in which each level's gate passed."""
    block_days: float
    """Mean block length of the surrogate markets in days."""

    @property
    def sentence(self) -> str:
        """Human-readable summary."""
        return (
            f"null test: the curriculum was repeated in {self.surrogates} surrogate market"
            f"{'' if self.surrogates == 1 else 's'} without skill; largest t out of sample {max(self.t):.2f}; every "
            f"gate passed in {self.mandates} (false-positive rate {self.pass_rate:.0%}, 95 % interval {self.low:.0%} "
            f"to {self.high:.0%})"
        )
