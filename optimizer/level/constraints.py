"""Optional limits of a level beyond its gate: further constraints, stress limits and analyses."""

import math
import re
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from optimizer.level.days import with_days
from optimizer.level.metric_names import GATE_DRAWDOWN, METRICS
from tradeschool.errors import SettingsError
from tradeschool.markets.catalogue import find_instrument
from tradeschool.markets.windows import Window

Fraction = Annotated[float, Field(ge=0, le=1)]
CONSTRAINT = re.compile(r"\s*([a-z_]+)\s*(<=|>=)\s*(\S+)\s*")


class StrictModel(BaseModel):
    """Frozen model; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Analysis(StrEnum):
    """Additional analyses of a level's winner; each writes one file."""

    SIMILARITY = "similarity"
    """Distance of the parameters from the previous level's."""
    REGIMES = "regimes"
    """Profit and loss by trend and volatility regime."""
    STABILITY = "stability"
    """Results of neighbouring parameters, and parameters at the edge of their range."""
    REGIME_SETS = "regime_sets"
    """Whether parameters chosen by trend regime beat the single set out of sample; for levels with both directions."""


class Constraint(StrictModel):
    """Bound on one metric: on train for the search and on validation for the gate."""

    metric: str
    """A name of `metric_names.METRICS`."""
    at_least: float | None = None
    at_most: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a text such as `calmar >= 1.5`.

        Raises:
            ValueError: the text has another form.
        """
        found = CONSTRAINT.fullmatch(text)
        if found is None:
            raise ValueError(f"expected METRIC <= NUMBER or METRIC >= NUMBER, was {text!r}")
        metric, sign, number = found.groups()
        metric = GATE_DRAWDOWN if metric == "drawdown" else metric
        return cls.model_validate({"metric": metric, "at_least" if sign == ">=" else "at_most": number})

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: object) -> object:
        return cls.parse(value).model_dump() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one_bound_on_a_known_metric(self) -> Self:
        if self.metric not in METRICS:
            raise ValueError(f"unknown metric {self.metric!r}: expected one of {', '.join(METRICS)}")
        if (self.at_least is None) == (self.at_most is None) or not math.isfinite(self.bound):
            raise ValueError(f"{self.metric}: expected one finite number, at_least or at_most")
        return self

    @property
    def bound(self) -> float:
        """The numeric bound."""
        return self.at_most if self.at_least is None else self.at_least  # type: ignore[return-value]  # one is set

    @property
    def name(self) -> str:
        """Such as `calmar >= 1.5`."""
        return f"{self.metric} {'<=' if self.at_least is None else '>='} {self.bound:g}"

    def violation(self, value: float) -> float:
        """Return the violation as a fraction of the bound, or absolute for bounds below one; zero or less if met."""
        if math.isnan(value):
            return 1.0
        missed = value - self.bound if self.at_least is None else self.bound - value
        return min(max(missed / max(abs(self.bound), 1.0), -FAR), FAR)


FAR = 1e6
"""Limit of a violation, which must be finite even for an infinite profit factor."""


class StressWindow(StrictModel):
    """Period of a known market crisis."""

    name: str
    start: date
    end: date
    """First day after the period."""
    pairs: tuple[str, ...] = ()
    """Affected pairs, such as `GBP/USD`; all pairs of a level if empty."""

    _days = model_validator(mode="before")(with_days)

    @model_validator(mode="after")
    def _is_a_range_of_known_pairs(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"{self.name}: start {self.start} must come before end {self.end}")
        for pair in self.pairs:
            try:
                find_instrument(pair)
            except SettingsError as error:
                raise ValueError(f"{self.name}: {error}") from None
        return self

    @property
    def window(self) -> Window:
        """The period from midnight to midnight UTC."""
        return Window(_midnight(self.start), _midnight(self.end))


NAMED_WINDOWS = (
    StressWindow(name="covid crash", start=date(2020, 3, 8), end=date(2020, 3, 21)),
    StressWindow(name="china ban", start=date(2021, 5, 10), end=date(2021, 5, 26)),
    StressWindow(name="terra", start=date(2022, 5, 5), end=date(2022, 5, 21)),
    StressWindow(name="celsius", start=date(2022, 6, 10), end=date(2022, 6, 23)),
    StressWindow(name="gilts", start=date(2022, 9, 21), end=date(2022, 10, 15), pairs=("GBP/USD",)),
    StressWindow(name="ftx", start=date(2022, 11, 5), end=date(2022, 11, 21)),
    StressWindow(name="bank run", start=date(2023, 3, 8), end=date(2023, 3, 21)),
)


class StressLimits(StrictModel):
    """Stress-test limits for a level's winner. NaN fails the gate."""

    windows: tuple[StressWindow, ...] = NAMED_WINDOWS
    window_drawdown: Fraction = 0.20
    """Maximum intrabar drawdown inside each window, on train and validation; test is not read."""
    costs_factor: Annotated[float, Field(ge=1)] = 2.0
    """Multiplier of fees, slippage and half-spreads."""
    costs_profit_factor: Annotated[float, Field(gt=0)] = 1.0
    """Minimum profit factor at multiplied costs."""
    costs_sharpe_kept: Fraction = 0.5
    """Minimum share of the Sharpe ratio retained at multiplied costs."""
    late_sharpe_kept: Fraction = 0.7
    """Minimum share of the Sharpe ratio retained if every order fills one bar later."""
    missing_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of bars removed at random."""
    missing_sharpe_kept: Fraction = 0.7
    """Minimum share of the Sharpe ratio retained without those bars."""
    shuffled_drawdown: Fraction = 0.25
    """Maximum of the 95th percentile of drawdowns over random trade orders."""


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
