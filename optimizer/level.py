"""A level of the curriculum: what is searched, over which candles, and what its winner must reach.

A level is a Python file in `optimizer/levels/` or a `[[level]]` table of a TOML file; both have these fields.
"""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from optimizer.limits import Analysis, Constraint, Fraction, StressLimits, Strict
from optimizer.metric_names import GATE_DRAWDOWN
from tradeschool.errors import SettingsError
from tradeschool.market import Dataset, Window, find_dataset


class Direction(StrEnum):
    """Which positions a level may take."""

    LONG = "long"
    SHORT = "short"
    BOTH = "both"


class Mode(StrEnum):
    """What a new trial learns from."""

    LAGGED = "lagged"
    """Trials 0..n-lag, whatever else is finished: the same trials for any number of workers."""
    ASYNC = "async"
    """Whatever is finished: not to be repeated, for it depends on who finished first."""


class Part(StrEnum):
    """The three parts of each dataset of a level, in time order."""

    TRAIN = "train"
    """What the search sees."""
    VALIDATION = "validation"
    """What chooses the winner and what the gate reads."""
    TEST = "test"
    """Opened once after the gate; reported, decides nothing."""


class LevelDataset(Strict):
    """A dataset and the days of it that a level looks at."""

    dataset: str
    """Such as `coinbase/BTC-USD/M5`."""
    start: date
    end: date
    """The first day that is not looked at any more."""

    @model_validator(mode="after")
    def _is_known_and_not_empty(self) -> Self:
        try:
            find_dataset(self.dataset)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        if self.start >= self.end:
            raise ValueError(f"{self.dataset}: start {self.start} must come before end {self.end}")
        return self

    @property
    def source(self) -> Dataset:
        """The dataset by its name."""
        return find_dataset(self.dataset)

    @property
    def window(self) -> Window:
        """All of the level's days of this dataset."""
        return Window(_midnight(self.start), _midnight(self.end))


class Split(Strict):
    """How each dataset's days are shared out, in time order, as fractions of its whole length."""

    train: Fraction = 0.6
    validation: Fraction = 0.2
    test: Fraction = 0.2
    embargo_days: Annotated[int, Field(ge=0)] = 1
    """Days left out at the start of validation and of test. The warm-up comes on top: each part's first bars
    feed indicators only, so that no judged bar of a part depends on a candle of the part before."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        total = self.train + self.validation + self.test
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise ValueError(f"train + validation + test must be 1, was {total:g}")
        return self


class Gate(Strict):
    """What a level's winner must reach on validation, by metric. A reading that is no number keeps the gate shut."""

    win_rate: Fraction
    """At least this share of closed trades has a net above zero."""
    sharpe: float
    """At least this Sharpe ratio, a year."""
    max_drawdown_intrabar: Fraction
    """At most this intrabar drawdown of the portfolio, as a fraction of its peak."""
    profit_factor: Annotated[float, Field(gt=0)]
    """At least this sum of gains over sum of losses."""

    @model_validator(mode="before")
    @classmethod
    def _accept_short_name(cls, given: object) -> object:
        """`max_drawdown`, as curriculum files name it, is the intrabar drawdown here."""
        if isinstance(given, Mapping) and "max_drawdown" in given and GATE_DRAWDOWN not in given:
            return {GATE_DRAWDOWN if name == "max_drawdown" else name: value for name, value in given.items()}
        return given


class MinTrades(Strict):
    """How many closed trades a trial needs before its figures count."""

    train: Annotated[int, Field(ge=0)] = 30
    validation: Annotated[int, Field(ge=0)] = 10


class Costs(Strict):
    """What trading costs, a side. Half-spread and slippage fall on market and stop fills, not on targets.

    FX pays the half-spread that is stored with its candles; crypto has none stored and pays slippage.
    """

    crypto_fee_bps: Annotated[float, Field(ge=0)] = 5.0
    """Of the notional, in hundredths of a percent."""
    crypto_slippage_bps: Annotated[float, Field(ge=0)] = 2.0
    """Of the price, in hundredths of a percent."""
    fx_fee_bps: Annotated[float, Field(ge=0)] = 0.0
    fx_slippage_bps: Annotated[float, Field(ge=0)] = 0.0
    crypto_financing_bps: Annotated[float, Field(ge=0)] = 0.0
    """Of the notional at entry, for each midnight (UTC) over which a position is held."""
    fx_financing_bps: Annotated[float, Field(ge=0)] = 0.0


Bounds = tuple[float, float]
Parameters = dict[str, float]
"""A strategy's parameters by name; whole numbers are integers."""


class Level(Strict):
    """One step of the curriculum."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,16}$")]
    title: str
    direction: Direction
    strategy: str = "sma_cross"
    """A built-in strategy's name, or `module:NAME`."""
    trials: Annotated[int, Field(ge=1)]
    lag: Annotated[int, Field(ge=1)] = 8
    """Trial n is asked for once trials 0..n-lag are finished, and the sampler sees exactly those."""
    mode: Mode = Mode.LAGGED
    datasets: Annotated[tuple[LevelDataset, ...], Field(min_length=1)]
    split: Split = Split()
    gate: Gate
    min_trades: MinTrades = MinTrades()
    costs: Costs = Costs()
    position_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Notional of a new position as a fraction of the equity at its fill."""
    drawdown_limit: Annotated[float, Field(gt=0, le=1)] = 0.30
    """A trial is pruned once the account's intrabar drawdown passes this, datasets not run yet taken as flat."""
    ranges: dict[str, Bounds]
    """Lowest and highest value searched, both included; a parameter of the strategy that is not named keeps its
    default."""
    narrow: bool = False
    """Whether only the quarter of each range to either side of the level before's winner is searched."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a missed gate is tried again, with more trials and wider ranges."""
    relax: Fraction = 0.0
    """By this share of itself each retry lowers every target of the gate, on train too; shown wherever it counts."""
    early_stop: Annotated[int, Field(ge=1)] | None = None
    """The search ends after so many trials without a better feasible one."""
    constraints: tuple[Constraint, ...] = ()
    """Further rules, such as `calmar >= 1`, kept on train by the search and on validation by the gate."""
    stress: StressLimits | None = None
    """What the gate asks of the winner under stress; nothing where not said."""
    analyses: tuple[Analysis, ...] = ()
    """What else the winner is looked at for; none of it decides anything."""

    @field_validator("ranges")
    @classmethod
    def _ranges_are_ordered(cls, ranges: dict[str, Bounds]) -> dict[str, Bounds]:
        for name, (low, high) in ranges.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"{name}: expected [low, high] with low <= high, was [{low:g}, {high:g}]")
        return ranges

    def window(self, dataset: LevelDataset, part: Part) -> Window:
        """The days of one part of a dataset, embargo left out, cut at whole UTC days.

        Raises:
            SettingsError: where the part is left without a day.
        """
        whole, split = dataset.window, self.split
        days = (whole.end - whole.start).days
        first_end = round(days * split.train)
        second_end = round(days * (split.train + split.validation))
        embargo = split.embargo_days
        start_day, end_day = {
            Part.TRAIN: (0, first_end),
            Part.VALIDATION: (first_end + embargo, second_end),
            Part.TEST: (second_end + embargo, days),
        }[part]
        return Window(whole.start + timedelta(days=start_day), whole.start + timedelta(days=end_day))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
